"""Our tokenizer against sentencepiece itself, on a model trained here and on upstream's small one."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from talking_points.model.prompts import SPECIAL_TOKENS
from talking_points.omg_llava.tokenizer import write_internlm2_tokenizer
from tests.omg_llava.small_parity import SMALL

PUBLISHED = SMALL / "published"

NAMED = (
    "<|action_start|>",
    "<|im_end|>",
    "<|im_start|>",
)  # over the unused pieces 4, 5 and 6; 3 keeps its name
FRAGMENTS = (
    *SPECIAL_TOKENS,
    *NAMED,
    *("<s>", "</s>", "<unk>", "[UNUSED_TOKEN_0]", "[UNUSED_TOKEN_3]", "[UNUSED", "<|im", "</", "p>"),
    *(" ", "  ", "\t", "\n", "\r\n", "\x00", "\u00a0", "\u3000", "\ufeff", "\u200b", "\u0301"),
    *("the", " point", "keypoint", "nose", "aaaa", "-----", "a", "0", "1", ".", ",", "|", "<"),
    *("\u00e9", "\u6f22\u5b57", "\U0001f600"),
)


def train(folder: Path, *, model_type: str = "bpe") -> Path:
    """InternLM2's kind of folder around a sentencepiece model of a few sentences."""
    folder.mkdir()
    rng = random.Random(0)
    words = re.findall(r"\w+", "the a point keypoint nose dog left right front wheel shirt sleeve on of in near 12")
    lines = [" ".join(rng.choices(words, k=9)).capitalize() + "." for _ in range(200)]
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "tokenizer"),
        model_type=model_type,
        vocab_size=360,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=[f"[UNUSED_TOKEN_{i}]" for i in range(4)],
        minloglevel=2,
    )
    names = {"0": "<unk>", "1": "<s>", "2": "</s>"} | {str(4 + i): name for i, name in enumerate(NAMED)}
    config = {
        "added_tokens_decoder": {id: {"content": name, "special": True} for id, name in names.items()},
        "additional_special_tokens": list(NAMED),
        **{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def convert(source: Path, out: Path) -> PreTrainedTokenizerBase:
    out.mkdir()
    count = write_internlm2_tokenizer(source, out)
    # A Llama folder's config: AutoTokenizer must not put transformers' LlamaTokenizer in ours' place.
    (out / "config.json").write_text('{"model_type": "llama"}')
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert len(tokenizer) == count
    return tokenizer


def reference(source: Path, tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[int]]:
    """Plain sentencepiece on each stretch between added tokens."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(source / "tokenizer.model"))
    ids = {token.content: id for id, token in tokenizer.added_tokens_decoder.items()}
    longest_first = sorted(ids, key=len, reverse=True)
    cut = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    def encode(text: str) -> list[int]:
        stretches = [part for part in cut.split(text) if part]
        return [id for part in stretches for id in ([ids[part]] if part in ids else pieces.Encode(part))]

    return encode


def random_texts(count: int) -> list[str]:
    rng = random.Random(1)

    def fragment() -> str:
        if rng.random() < 0.7:
            return rng.choice(FRAGMENTS)
        return chr(rng.choice([rng.randrange(32, 127), rng.randrange(1, 0x3000), rng.randrange(0x10000, 0x1FFFF)]))

    return ["".join(fragment() for _ in range(rng.randrange(25))) for _ in range(count)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("tokenizer") / "internlm2")


@pytest.fixture(scope="module")
def tokenizer(trained: Path) -> PreTrainedTokenizerBase:
    return convert(trained, trained.parent / "converted")


def test_ids_are_sentencepieces_between_added_tokens(trained: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    encode = reference(trained, tokenizer)
    for text in ["", " ", "the point", *FRAGMENTS, *random_texts(1000)]:
        assert tokenizer.encode(text, add_special_tokens=False) == encode(text), repr(text)


def test_decoding_gives_the_text_back(tokenizer: PreTrainedTokenizerBase) -> None:
    for text in ["", " ", "  two  spaces", "<p> keypoint </p> [SEG].", *random_texts(300)]:
        if "[UNUSED" in text:  # a reserved piece reads back under the added token's name
            continue
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_special_tokens_follow_the_last_piece(trained: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(trained / "tokenizer.model"))
    first = pieces.GetPieceSize()
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(first, first + 5))
    assert len(tokenizer) == first + 5
    assert tokenizer.convert_tokens_to_ids(list(NAMED)) == [4, 5, 6]


def test_bos_stands_before_a_text_and_nothing_after(tokenizer: PreTrainedTokenizerBase) -> None:
    plain = tokenizer.encode("the nose", add_special_tokens=False)
    assert tokenizer.encode("the nose") == [tokenizer.bos_token_id, *plain]
    pair = tokenizer("the nose", "the nose")["input_ids"]
    assert pair == [tokenizer.bos_token_id, *plain, tokenizer.bos_token_id, *plain]


def test_chat_template_is_internlm2s(tokenizer: PreTrainedTokenizerBase) -> None:
    turns = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Where?"},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<s><|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    assert ids == tokenizer.encode(text, add_special_tokens=False)
    assert ids.count(tokenizer.bos_token_id) == 1


def test_saving_and_loading_changes_nothing(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in random_texts(50):
        assert again.encode(text) == tokenizer.encode(text)


def test_another_type_of_model_is_refused(tmp_path: Path) -> None:
    source = train(tmp_path / "unigram", model_type="unigram")
    with pytest.raises(ValueError, match="type UNIGRAM; only BPE"):
        convert(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["added_tokens_decoder"].pop("6"), r"gives no id to \['<\|im_start\|>'\]"),
        (
            lambda c: c["added_tokens_decoder"].update({"99999": {"content": "<x>"}}),
            "the id 99999, but the last",
        ),
        (
            lambda c: c["added_tokens_decoder"].update({"3": {"content": "<x>", "lstrip": True}}),
            "'<x>' strips",
        ),
        (
            lambda c: c["added_tokens_decoder"].update({"3": {"content": "[SEG]"}}),
            r"already holds \['\[SEG\]'\]",
        ),
        (lambda c: c["added_tokens_decoder"].update({"3": {"content": "the"}}), "twice|cannot be converted"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    trained: Path, tmp_path: Path, change: Callable[[dict], object], message: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokenizer.model").write_bytes((trained / "tokenizer.model").read_bytes())
    config = json.loads((trained / "tokenizer_config.json").read_text())
    change(config)
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        convert(source, tmp_path / "out")


def test_a_file_that_is_no_sentencepiece_model_is_refused(trained: Path, tmp_path: Path) -> None:
    for content in (b"", b"not a model at all"):
        (tmp_path / "tokenizer.model").write_bytes(content)
        (tmp_path / "tokenizer_config.json").write_bytes((trained / "tokenizer_config.json").read_bytes())
        with pytest.raises(ValueError, match="is not a sentencepiece model"):
            write_internlm2_tokenizer(tmp_path, tmp_path)


def test_a_missing_tokenizer_is_named(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_bytes((trained / "tokenizer_config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="tokenizer.model"):
        write_internlm2_tokenizer(tmp_path, tmp_path)


def test_upstreams_ids(tmp_path: Path) -> None:
    tokenizer = convert(PUBLISHED / "internlm2-chat", tmp_path / "out")
    cases = json.loads((PUBLISHED / "tokens.json").read_text())
    assert len(cases) >= 7
    for case in cases:
        text = case["text"]
        assert tokenizer(text)["input_ids"] == case["ids"], text
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == case["ids_plain"], text
        # Ours gives the text back; upstream's decoding adds spaces around added tokens.
        assert tokenizer.decode(case["ids_plain"]) == text
        if "<" not in text:
            assert tokenizer.decode(case["ids_plain"]) == case["decoded"]


def test_upstreams_tokenizer_on_random_texts(tmp_path: Path) -> None:
    source = PUBLISHED / "internlm2-chat"
    tokenizer = convert(source, tmp_path / "out")
    encode = reference(source, tokenizer)
    for text in random_texts(1000):
        assert tokenizer.encode(text, add_special_tokens=False) == encode(text), repr(text)
