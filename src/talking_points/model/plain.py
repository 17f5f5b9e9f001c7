"""A small model's language side, read to answer only: without transformers and PEFT, whose import takes seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import nn

from talking_points.model.llama import Llama, build, merged
from talking_points.model.tokenizer import PlainTokenizer
from talking_points.model.weights import save_tensors

LARGEST_BYTES = 2**26
"""Most that language model and adapters may have on disk. Ours: each role in memory is one more copy of the blocks."""
LANGUAGE = "language_model"
LANGUAGE_FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
OPTIONAL_FILES = {"generation_config.json"}
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

# What the settings must be so that there is nothing to them but what is read here; None: not set, or nothing.
LLAMA = {"model_type": "llama", "hidden_act": "silu"} | dict.fromkeys(
    ("attention_bias", "mlp_bias", "quantization_config")
)
TOKENIZER = {"tokenizer_class": "TokenizersBackend", "clean_up_tokenization_spaces": None}
LORA = {"peft_type": "LORA", "bias": "none"}
LORA_INITS = (True, False, "gaussian")
"""Others change the base."""
# Settings that are read, or that change no answer. Any other that is set asks for transformers or PEFT.
TOKENIZER_KNOWN = {
    *("bos_token", "eos_token", "pad_token", "unk_token", "extra_special_tokens", "tokenizer_class", "backend"),
    *("is_local", "local_files_only", "model_max_length", "padding_side", "clean_up_tokenization_spaces"),
}
LORA_KNOWN = {
    *("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "init_lora_weights", "bias"),
    *("base_model_name_or_path", "inference_mode", "megatron_core", "peft_version", "qalora_group_size", "revision"),
}


class MergedAdapters:
    """The roles as whole Llamas, adapters added to the weights; a `language.Adapters`.

    Blocks are a role's own, embedding and norms are shared; so is the head where no adapter changes it.
    """

    def __init__(self, llamas: Mapping[str, Llama]) -> None:
        """llamas: "base", and the roles'; the first role acts until another is told to."""
        self._llamas = dict(llamas)
        self.roles = tuple(name for name in llamas if name != "base")
        self._acting = next(iter(self.roles), "base")

    @property
    def llama(self) -> Llama:
        return self._llamas[self._acting]

    @contextmanager
    def acting_as(self, role: str) -> Iterator[None]:
        before, self._acting = self._acting, role
        try:
            yield
        finally:
            self._acting = before


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainLanguage:
    """What `PointNetwork` needs of a checkpoint's language side."""

    llamas: nn.ModuleDict
    adapters: MergedAdapters
    tokenizer: PlainTokenizer
    files: dict[str, bytes]
    """As they were read, by their paths in the checkpoint: what saving such a network writes from."""


class _NotPlain(Exception):
    """There is more to the files than is read here."""


def read_plain(folder: Path, *, roles: Sequence[str], dtype: torch.dtype, quantize: str | None) -> PlainLanguage | None:
    """Read a checkpoint's language model, tokenizer and adapters, or say by None that they are transformers' to read.

    Plain networks are in fp32, not quantized, have `LARGEST_BYTES` on disk at most, a Llama and LoRA adapters without
    special settings, and a tokenizer that its file describes.

    Args:
        folder: the checkpoint's.
        roles: adapters to read, of those that the folder holds.
        dtype, quantize: as `load_checkpoint` takes them.
    """
    if dtype != torch.float32 or quantize is not None:
        return None
    try:
        return _read(folder, [role for role in roles if (folder / role).is_dir()])
    except Exception:  # special or broken, in any way: transformers reads it, or says what is wrong
        return None


def save_files(files: Mapping[str, bytes], folder: Path, dtype: torch.dtype) -> None:
    """Write `PlainLanguage.files` into a checkpoint's folder as they were read, but for the type of the weights."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".safetensors":
            save_tensors(load(content), path, dtype)
        elif name == f"{LANGUAGE}/config.json":
            config = {**json.loads(content), "dtype": str(dtype).removeprefix("torch.")}
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        else:
            path.write_bytes(content)


def _read(folder: Path, roles: Sequence[str]) -> PlainLanguage:
    files = _read_files(folder, roles)
    config = json.loads(files[f"{LANGUAGE}/config.json"])
    _check(config, LLAMA)
    if config["rope_parameters"] != {"rope_type": "default", "rope_theta": config["rope_parameters"]["rope_theta"]}:
        raise _NotPlain
    base = {name: t.float() for name, t in load(files[f"{LANGUAGE}/model.safetensors"]).items()}
    weights = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in base.items()}
    if config["tie_word_embeddings"]:
        if "lm_head.weight" in weights:
            raise _NotPlain
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    llamas = {"base": build(config, weights)}
    for role in roles:
        settings = json.loads(files[f"{role}/adapter_config.json"])
        _check(settings, LORA, LORA_KNOWN)
        if settings["init_lora_weights"] not in LORA_INITS or type(settings["target_modules"]) is not list:
            raise _NotPlain
        adapter = load(files[f"{role}/adapter_model.safetensors"])
        targets, rank = set(settings["target_modules"]), settings["r"]
        llamas[role] = build(config, merged(weights, adapter, targets, rank, settings["lora_alpha"] / rank))
    tokenizer = _read_tokenizer(files)
    return PlainLanguage(
        llamas=nn.ModuleDict(llamas), adapters=MergedAdapters(llamas), tokenizer=tokenizer, files=files
    )


def _read_files(folder: Path, roles: Sequence[str]) -> dict[str, bytes]:
    """Contents by path; none may be missing, of another kind, or too large."""
    inside = {path.name for path in (folder / LANGUAGE).iterdir()}
    names = [f"{LANGUAGE}/{name}" for name in sorted(inside)]
    names += [f"{role}/{name}" for role in roles for name in ADAPTER_FILES]
    known = LANGUAGE_FILES <= inside <= LANGUAGE_FILES | OPTIONAL_FILES
    if not known or sum((folder / name).stat().st_size for name in names) > LARGEST_BYTES:
        raise _NotPlain
    return {name: (folder / name).read_bytes() for name in names}


def read_plain_tokenizer(folder: Path) -> PlainTokenizer:
    """The tokenizer of a checkpoint's `language_model/`, which must be a plain one."""
    names = ("tokenizer.json", "tokenizer_config.json")
    return _read_tokenizer({f"{LANGUAGE}/{name}": (folder / name).read_bytes() for name in names})


def _read_tokenizer(files: Mapping[str, bytes]) -> PlainTokenizer:
    """All that transformers' `TokenizersBackend` does stands in tokenizer.json; others change what they find there."""
    content = files[f"{LANGUAGE}/tokenizer.json"].decode()
    settings = json.loads(files[f"{LANGUAGE}/tokenizer_config.json"])
    _check(settings, TOKENIZER, TOKENIZER_KNOWN)
    extra = settings.get("extra_special_tokens") or []
    special = {token["content"] for token in json.loads(content)["added_tokens"] if token["special"]}
    named = {settings[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token") if settings.get(name)}
    if type(extra) is not list or not named | set(extra) <= special:
        raise _NotPlain
    return PlainTokenizer(content, bos_token=settings.get("bos_token"))


def _check(settings: Mapping[str, Any], needed: Mapping[str, Any], known: set[str] | None = None) -> None:
    """Settings must be as needed and, where `known` is given, no others may be set."""
    if any((settings.get(name) or None) != value for name, value in needed.items()):
        raise _NotPlain
    if known is not None and any(value for name, value in settings.items() if name not in known):
        raise _NotPlain
