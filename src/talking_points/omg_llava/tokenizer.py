"""InternLM2's sentencepiece tokenizer, converted once to a plain `tokenizer.json` that needs no code of ours.

Its ids are those of plain sentencepiece on every stretch of text between added tokens, the dummy prefix put
before every stretch; transformers' own `LlamaTokenizer` treats stretches otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from talking_points.files import read_json
from talking_points.model.prompts import CHAT_TOKENS, SPECIAL_TOKENS
from talking_points.omg_llava.weight_files import write_json

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""InternLM2-chat's markup. It starts with bos: tokenise the rendered text with add_special_tokens=False."""

_SPECIAL = ("bos", "eos", "unk", "pad")
_SPACE = "\u2581"  # sentencepiece's visible space
_PROBES = (
    "The point is on the dog's nose.",
    "  two  spaces, a tab\tand a newline\n",
    "\u00fcn\u00efc\u00f6d\u00e9 \u6f22\u5b57 \U0001f600",
    "0.25, (1024 x 768) == ----- ......",
)


def write_internlm2_tokenizer(source: Path, out: Path) -> int:
    """Write `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` into `out`.

    Pieces that the config's `added_tokens_decoder` renames (`<|im_start|>` over an unused one) keep their ids;
    `SPECIAL_TOKENS` follow the last piece. `AutoTokenizer.from_pretrained(out)` opens the result.

    Args:
        source: the published folder, with `tokenizer.model` and `tokenizer_config.json`.

    Returns:
        The number of token ids, `SPECIAL_TOKENS` included.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: the sentencepiece model is not of the kind InternLM2 uses, the two files contradict each
            other, or the result does not reproduce sentencepiece's ids.
    """
    config_path, model_path = source / "tokenizer_config.json", source / "tokenizer.model"
    config = read_json(config_path)
    if not model_path.is_file():
        raise FileNotFoundError(f"no such file: {model_path}; InternLM2's folder must hold its tokenizer too")
    named = {entry["content"] for entry in config.get("added_tokens_decoder", {}).values()}
    needed = [*(config.get(f"{kind}_token") for kind in _SPECIAL), *CHAT_TOKENS]
    if unnamed := [name for name in needed if name not in named]:
        raise ValueError(f"{config_path}: added_tokens_decoder gives no id to {unnamed}; is it InternLM2-chat's?")
    tokenizer = _converted(model_path, config)
    _check_against_sentencepiece(tokenizer, model_path)

    tokenizer.save(str(out / "tokenizer.json"))
    special: dict[str, Any] = {f"{name}_token": config[f"{name}_token"] for name in _SPECIAL}
    special["additional_special_tokens"] = [*config.get("additional_special_tokens", []), *SPECIAL_TOKENS]
    added = {str(id): token.__getstate__() for id, token in sorted(tokenizer.get_added_tokens_decoder().items())}
    written = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": added,
        **special,
        "clean_up_tokenization_spaces": False,
        # Upstream states no limit here; the checkpoint's config.json does.
        "model_max_length": config.get("model_max_length", int(1e30)),
        "padding_side": "left",
        "chat_template": CHAT_TEMPLATE,
    }
    write_json(out / "tokenizer_config.json", written)
    write_json(out / "special_tokens_map.json", special)
    return tokenizer.get_vocab_size()


def _converted(model_path: Path, config: dict[str, Any]) -> Tokenizer:
    model = _read_sentencepiece(model_path)
    pieces, kinds = model.pieces, type(model.pieces[0])
    names, renamed = _names(model_path, [piece.piece for piece in pieces], config["added_tokens_decoder"])
    # sentencepiece cuts user-defined pieces out before any merging, and they open no new stretch: the
    # pre-tokenizer isolates them and ignore_merges gives them their id whole. (A byte piece's name, "<0x41>",
    # straight after one is then taken for that byte. Nobody writes that.)
    whole = [renamed.get(p.piece, p.piece) for p in pieces if p.type == kinds.USER_DEFINED]
    bpe = BPE(
        vocab={name: id for id, name in enumerate(names)},
        merges=_merges({p.piece: (-p.score, id) for id, p in enumerate(pieces) if p.type == kinds.NORMAL}),
        unk_token=names[model.trainer_spec.unk_id],
        fuse_unk=True,
        byte_fallback=True,
        ignore_merges=bool(whole),
    )
    tokenizer = Tokenizer(bpe)
    replaced = [normalizers.Replace(old, new) for old, new in {" ": _SPACE, **renamed}.items()]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), *replaced])
    if whole:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_any_of(whole)), behavior="isolated")

    added = [entry["content"] for _, entry in sorted(config["added_tokens_decoder"].items())] + list(SPECIAL_TOKENS)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in added])
    before = [config["bos_token"]] if config.get("add_bos_token", True) else []
    after = [config["eos_token"]] if config.get("add_eos_token", False) else []
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *after],
        pair=[*before, "$A", *after, *(f"{part}:1" for part in (*before, "$B", *after))],
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in {*before, *after}],
    )
    # One prefix was put before every stretch, so one is taken away after every added token.
    prefix = decoders.Replace(Regex(rf"(?<=\A|{_any_of(added)}){_SPACE}"), "")
    plain = [decoders.ByteFallback(), decoders.Fuse(), prefix, decoders.Replace(_SPACE, " ")]
    tokenizer.decoder = decoders.Sequence(plain)
    return tokenizer


def _names(model_path: Path, names: list[str], added: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Every id's name, and what the pieces that added tokens rename were called."""
    renamed: dict[str, str] = {}
    for key, entry in added.items():
        id, name = int(key), entry["content"]
        if id >= len(names):
            raise ValueError(
                f"tokenizer_config.json gives {name!r} the id {id}, but the last one of {model_path} is "
                f"{len(names) - 1}; are the two files of one model?"
            )
        if any(entry.get(flag) for flag in ("lstrip", "rstrip", "single_word", "normalized")):
            raise ValueError(f"added token {name!r} strips or normalises what is around it; InternLM2's do not")
        if names[id] != name:
            renamed[names[id]] = name
            names[id] = name
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"{model_path} with tokenizer_config.json names pieces twice: {twice}")
    if already := [name for name in SPECIAL_TOKENS if name in names]:
        raise ValueError(f"{model_path} already holds {already}, which OMG-LLaVA adds after the last piece")
    return names, renamed


def _read_sentencepiece(model_path: Path) -> Any:
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise ImportError(f"tokenizer.model cannot be read ({error}); pip install sentencepiece protobuf") from error
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(model_path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{model_path} is not a sentencepiece model") from error
    if not model.pieces:
        raise ValueError(f"{model_path} is not a sentencepiece model: it holds no pieces")
    if model.normalizer_spec.precompiled_charsmap:
        raise ValueError(f"{model_path} rewrites characters before it cuts, which InternLM2's does not")
    trainer = model.trainer_spec
    if trainer.model_type != trainer.BPE:
        kind = trainer.ModelType.Name(trainer.model_type)
        raise ValueError(f"{model_path} is a sentencepiece model of type {kind}; only BPE, InternLM2's, is read")
    return model


def _merges(ranks: dict[str, tuple[float, int]]) -> list[tuple[str, str]]:
    """Every way to join two mergeable pieces into a third, best rank first.

    sentencepiece joins the neighbours whose union scores best; a merge list says the same by its order.
    """
    joined = [
        (*rank, cut, piece[:cut], piece[cut:])
        for piece, rank in ranks.items()
        for cut in range(1, len(piece))
        if piece[:cut] in ranks and piece[cut:] in ranks
    ]
    return [(left, right) for *_, left, right in sorted(joined)]


def _check_against_sentencepiece(tokenizer: Tokenizer, model_path: Path) -> None:
    """Refuse a file on which we and sentencepiece itself differ, on any of its pieces or on a few lines."""
    from sentencepiece import SentencePieceProcessor

    reference = SentencePieceProcessor(model_file=str(model_path))
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    texts = [reference.IdToPiece(id) for id in range(reference.GetPieceSize()) if not reference.IsByte(id)]
    texts = [text.replace(_SPACE, " ") for text in texts if text not in added] + list(_PROBES)
    for text, encoding in zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
        expected = reference.Encode(text)
        if encoding.ids != expected:
            raise ValueError(
                f"{model_path} cannot be converted exactly: {text!r} gives {encoding.ids}, "
                f"sentencepiece gives {expected}"
            )


def _any_of(texts: list[str]) -> str:
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
