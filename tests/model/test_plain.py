"""The plain Llama beside transformers and PEFT: the same numbers, the same folder, and the rule of which is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlamaConfig, LlamaForCausalLM

from talking_points import PointDescriptor, Sampling, TalkingPoints
from talking_points.model import plain
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.hugging_face import attach_role, lora_config
from talking_points.model.language import LlamaLike
from talking_points.model.network import PointNetwork
from talking_points.model.plain import read_plain
from talking_points.model.shared_prefix import read_prefix
from talking_points.pointing.pretrained import find_checkpoint, load_network
from tests.tiny import TEXTS, tiny_network

ROLES = ("base", "descriptor", "localizer")
WORDS = (
    *TEXTS,
    "the point is on the person, more precisely on the person's coat, close to the top edge of the person.",
    "a wheel",
    "  Left of it: naïve café, 12.5 px\n\tand 日本 \U0001f600 more ",
    "<|im_start|>user\n[SEG] <p> keypoint </p><mark>",
    "",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "checkpoint"
    save_checkpoint(tiny_network(), folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that may be changed."""
    save_checkpoint(tiny_network(), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def both(folder: Path) -> tuple[PointNetwork, PointNetwork]:
    """Plain, and with transformers."""
    ours, theirs = load_checkpoint(folder, answers_only=True), load_checkpoint(folder)
    assert ours.language_files is not None and theirs.language_files is None
    return ours, theirs


def plain_logits(llama: LlamaLike, ids_BT: torch.Tensor) -> torch.Tensor:
    embeds = llama.get_input_embeddings()(ids_BT)
    hidden, _ = read_prefix(llama, embeds, [ids_BT.shape[1]] * len(ids_BT))
    return llama.lm_head(llama.model.norm(hidden))


@torch.no_grad()
def largest_difference(ours: PointNetwork, theirs: PointNetwork, ids_BT: torch.Tensor) -> float:
    """Of the logits of all roles: ours through the walk, theirs through transformers' own forward pass."""
    differences = []
    for role in ("base", *ours.roles):
        with ours.acting_as(role), theirs.acting_as(role):
            differences.append((plain_logits(ours.llama, ids_BT) - theirs.llama(ids_BT).logits).abs().max())
    return float(torch.stack(differences).max())


@pytest.mark.parametrize("model", ["tiny", "mini"])
def test_logits_are_those_of_transformers_and_peft(model: str, tiny: Path) -> None:
    ours, theirs = both(tiny if model == "tiny" else find_checkpoint("mini"))
    assert ours.roles == theirs.roles == ROLES[1:]
    generator = torch.Generator().manual_seed(0)
    vocabulary = ours.llama.config.vocab_size
    assert largest_difference(ours, theirs, torch.randint(vocabulary, (3, 300), generator=generator)) < 1e-4
    for text in WORDS[:4]:
        ids = torch.tensor([ours.prompts.prefix() + ours.prompts.answer(text)])
        assert largest_difference(ours, theirs, ids) < 1e-4


@pytest.mark.parametrize(
    "sizes",
    [
        {"tie_word_embeddings": False},
        {"head_dim": 6, "num_key_value_heads": 1, "rms_norm_eps": 1e-3},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
    ],
)
def test_llamas_of_other_sizes(sizes: dict[str, Any], tmp_path: Path) -> None:
    model = tiny_network(roles=())
    torch.manual_seed(1)
    llama = LlamaForCausalLM(LlamaConfig(**{**model.language.config.to_dict(), **sizes}))  # type: ignore[union-attr]
    network = PointNetwork(model.config, llama, model.prompts.tokenizer)
    attach_role(network, "descriptor", lora_config("descriptor", rank=3, alpha=5))
    with torch.no_grad():
        for name, parameter in network.language.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    save_checkpoint(network, tmp_path / "checkpoint")
    assert largest_difference(*both(tmp_path / "checkpoint"), torch.tensor([[4, 9, 2, 30, 7, 7]])) < 1e-4


def test_token_ids_and_texts_are_those_of_transformers() -> None:
    ours, theirs = (network.prompts.tokenizer for network in both(find_checkpoint("mini")))
    assert ours.get_vocab() == theirs.get_vocab() and ours.bos_token_id == theirs.bos_token_id
    rng = np.random.default_rng(0)
    some = ["".join(map(chr, rng.integers(32, 1000, 40))) for _ in range(20)]
    for text in (*WORDS, *some):
        for special in (False, True):
            ids = ours(text, add_special_tokens=special)["input_ids"]
            assert ids == theirs(text, add_special_tokens=special)["input_ids"]
            assert ours.decode(ids, skip_special_tokens=special) == theirs.decode(ids, skip_special_tokens=special)
    for ids in rng.integers(0, len(ours.get_vocab()), (20, 30)).tolist():
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)
        assert [ours.convert_ids_to_tokens(i) for i in ids] == theirs.convert_ids_to_tokens(ids)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.7, top_p=0.9, samples=3)])
def test_samples_and_places_are_the_same(sampling: Sampling, tiny: Path) -> None:
    """Texts, log-probabilities within 1e-4, places within 0.01 px."""
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 70, 3), dtype=np.uint8))
    points = [(3.5, 4.0), (69.9, 39.9), (35.0, 20.0)]
    drawn, found = [], []
    for network in both(tiny):
        drawn.append(PointDescriptor(network).sample(photo, points, sampling, seed=3))
        found.append(TalkingPoints.over(network).localize(photo, list(TEXTS)))
    for ours, theirs in zip(*drawn, strict=True):
        assert [(one.text, one.ended) for one in ours] == [(one.text, one.ended) for one in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine.logprobs, other.logprobs, atol=1e-4)
    np.testing.assert_allclose(*found, atol=0.01)


def test_roles_come_and_go(tiny: Path) -> None:
    ours, _ = both(tiny)
    first = ours.llama
    with ours.acting_as("localizer"):
        assert ours.llama is not first
        with ours.acting_as("base"):
            base = ours.llama
        assert ours.llama not in (first, base)
        with pytest.raises(KeyError), ours.acting_as("descriptor"):
            assert ours.llama is first
            raise KeyError
    assert ours.llama is first
    alone = load_checkpoint(tiny, roles=("localizer",), answers_only=True)
    with (
        pytest.raises(ValueError, match="has no descriptor.*--descriptor mini --localizer DIR "),
        alone.acting_as("descriptor"),
    ):
        pass
    with load_checkpoint(tiny, roles=(), answers_only=True).acting_as("base"):
        pass


@torch.no_grad()
def test_two_threads_get_their_own_roles(tiny: Path) -> None:
    ours, _ = both(tiny)
    ids = torch.tensor([[5, 6, 7]])

    def answer(role: str) -> torch.Tensor:
        with torch.no_grad(), ours.acting_as(role):
            return plain_logits(ours.llama, ids)

    alone = {role: answer(role) for role in ROLES}
    with ThreadPoolExecutor(4) as pool:
        for role, logits in [(r, pool.submit(answer, r)) for r in ROLES * 20]:
            assert torch.equal(logits.result(), alone[role])


def test_memory_is_a_copy_of_the_blocks_for_each_role() -> None:
    """Embedding and norms are shared, and the tied head where no adapter changes it."""
    ours = load_network("mini", device="cpu")
    sizes = {p.data_ptr(): p.numel() * p.element_size() for p in ours.language.parameters()}
    llama = ours.llama.config
    D, inner = llama.hidden_size, llama.intermediate_size
    blocks = llama.num_hidden_layers * (4 * D * D + 3 * D * inner) * 4
    head, norms = llama.vocab_size * D * 4, (2 * llama.num_hidden_layers + 1) * D * 4
    assert sum(sizes.values()) == 3 * blocks + 2 * head + norms
    assert not any(p.requires_grad for p in ours.parameters())


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("roles", [("descriptor", "localizer"), ("localizer",), ()])
def test_what_is_saved_is_byte_for_byte_what_transformers_saves(
    tmp_path: Path, tiny: Path, roles: tuple[str, ...], dtype: torch.dtype | None
) -> None:
    for name in ("plain", "transformers"):
        save_checkpoint(load_checkpoint(tiny, roles=roles, answers_only=name == "plain"), tmp_path / name, dtype=dtype)
    plain, theirs = (contents(tmp_path / name) for name in ("plain", "transformers"))
    # transformers adds to a tokenizer's settings where it was read from.
    settings = [json.loads(files.pop("language_model/tokenizer_config.json")) for files in (plain, theirs)]
    assert plain == theirs and settings[1] == {**settings[0], "is_local": True, "local_files_only": True}
    again = load_checkpoint(tmp_path / "plain", roles=roles, answers_only=True)
    assert again.language_files is not None and again.roles == roles


def test_mini_comes_back_as_it_is(tmp_path: Path) -> None:
    mini = find_checkpoint("mini")
    TalkingPoints.from_pretrained("mini", device="cpu").save_pretrained(tmp_path / "mini", dtype=torch.float16)
    saved, kept = contents(tmp_path / "mini"), contents(mini)
    assert {name: saved[name] for name in saved if name.endswith(".safetensors")} == {
        name: kept[name] for name in kept if name.endswith(".safetensors")
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_it_is_not_to_be_trained(tiny: Path) -> None:
    with pytest.raises(ValueError, match=r"loaded to answer only; load it with load_checkpoint\(folder\) to train it"):
        attach_role(load_checkpoint(tiny, answers_only=True), "descriptor", lora_config("descriptor"))


def edited(path: str, **changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = json.loads((folder / path).read_text())
        (folder / path).write_text(json.dumps(data | changes))

    return edit


def written(path: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).write_text(text) and None


@pytest.mark.parametrize(
    "change",
    [
        edited("language_model/config.json", rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}),
        edited("language_model/config.json", rope_parameters={"rope_type": "default"}),
        edited("language_model/config.json", attention_bias=True),
        edited("language_model/config.json", hidden_act="gelu"),
        edited("language_model/config.json", model_type="mistral"),
        edited("language_model/config.json", num_attention_heads=3),
        edited("language_model/config.json", head_dim=None),
        edited("language_model/config.json", hidden_size="wide"),
        edited("language_model/config.json", hidden_size=-1),
        edited("language_model/config.json", quantization_config={"load_in_4bit": True}),
        edited("language_model/tokenizer_config.json", tokenizer_class="LlamaTokenizer"),
        edited("language_model/tokenizer_config.json", clean_up_tokenization_spaces=True),
        edited("language_model/tokenizer_config.json", add_bos_token=True),
        edited("language_model/tokenizer_config.json", bos_token="<new>"),
        edited("language_model/tokenizer_config.json", extra_special_tokens={"image": "<image>"}),
        edited("descriptor/adapter_config.json", use_dora=True),
        edited("descriptor/adapter_config.json", use_rslora=True),
        edited("descriptor/adapter_config.json", rank_pattern={"q_proj": 2}),
        edited("descriptor/adapter_config.json", target_modules="all-linear"),
        edited("descriptor/adapter_config.json", bias="all"),
        edited("descriptor/adapter_config.json", peft_type="IA3"),
        edited("descriptor/adapter_config.json", init_lora_weights="pissa"),
        edited("localizer/adapter_config.json", r=0),
        edited("localizer/adapter_config.json", a_setting_to_come=[1]),
        written("language_model/chat_template.jinja", "{{ messages }}"),
        written("language_model/config.json", "not json"),
        lambda folder: (folder / "localizer" / "adapter_config.json").unlink(),
        lambda folder: (folder / "language_model" / "tokenizer.json").unlink(),
    ],
)
def test_whatever_is_special_is_left_to_transformers(folder: Path, change: Callable[[Path], None]) -> None:
    arguments: dict[str, Any] = {"roles": ROLES[1:], "dtype": torch.float32, "quantize": None}
    assert read_plain(folder, **arguments) is not None
    change(folder)
    assert read_plain(folder, **arguments) is None


def test_large_half_and_quantized_models_are_left_to_transformers(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_plain(tiny, roles=(), dtype=torch.bfloat16, quantize=None) is None
    assert read_plain(tiny, roles=(), dtype=torch.float32, quantize="nf4") is None
    size = sum(p.stat().st_size for p in (tiny / "language_model").iterdir())
    monkeypatch.setattr(plain, "LARGEST_BYTES", size)
    assert read_plain(tiny, roles=(), dtype=torch.float32, quantize=None) is not None
    monkeypatch.setattr(plain, "LARGEST_BYTES", size - 1)
    assert read_plain(tiny, roles=(), dtype=torch.float32, quantize=None) is None
    network = load_network(tiny, device="cpu")
    assert network.language_files is None and isinstance(network.llama, LlamaForCausalLM)


def test_transformers_draws_no_bar(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_checkpoint(tiny)
    assert capfd.readouterr() == ("", "")
