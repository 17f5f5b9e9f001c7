"""A small model's language side, read to answer only: without transformers and PEFT, whose import takes seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from talking_points.model.llama import Llama, LlamaSizes, build, merged
from talking_points.model.tokenizer import PlainTokenizer, reads_plainly
from talking_points.model.weights import check_names_and_shapes

LARGEST_BYTES = 2**26
"""Most that language model and adapters may have on disk. Ours: each role in memory is one more copy of the blocks."""
LANGUAGE = "language_model"
LANGUAGE_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
OPTIONAL_FILES = ("generation_config.json",)
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
NEUTRAL = (
    *("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "init_lora_weights", "bias"),
    *("base_model_name_or_path", "inference_mode", "megatron_core", "peft_version", "qalora_group_size", "revision"),
)
"""Settings of an adapter that a plain LoRA has, or that change no answer. Any other that is set asks for PEFT."""


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


def read_plain(folder: Path, *, roles: Sequence[str], dtype: torch.dtype, quantize: str | None) -> PlainLanguage | None:
    """Read a checkpoint's language model, tokenizer and adapters, or say that they are transformers' to read.

    This is the one rule of which networks are plain: fp32, not quantized, `LARGEST_BYTES` on disk at most, a Llama
    and LoRA adapters without special settings, a tokenizer that its file describes. Everything else, files that are
    missing or not JSON among it, is None: transformers reads it, or says what is wrong.

    Args:
        folder: the checkpoint's.
        roles: adapters to read, of those that the folder holds.
        dtype, quantize: as `load_checkpoint` takes them.

    Raises:
        ValueError: tensors that are broken, missing, unknown or misshaped; they are named.
    """
    if dtype != torch.float32 or quantize is not None:
        return None
    roles = [role for role in roles if (folder / role).is_dir()]
    files = _read_files(folder, roles)
    if files is None:
        return None
    config, tokenizer, tokenizer_config = (
        _json(files[f"{LANGUAGE}/{name}"]) for name in ("config.json", "tokenizer.json", "tokenizer_config.json")
    )
    adapters = {role: _json(files[f"{role}/adapter_config.json"]) for role in roles}
    sizes = LlamaSizes.of_config(config)
    if sizes is None or not reads_plainly(tokenizer_config, tokenizer) or not all(map(_is_lora, adapters.values())):
        return None

    names = f"{LANGUAGE}/model.safetensors"
    base = _base_weights(sizes, files[names], folder / names)
    llamas = {"base": build(sizes, base)}
    for role, settings in adapters.items():
        name = f"{role}/adapter_model.safetensors"
        adapter = _tensors(files[name], folder / name)
        expected = _adapter_shapes(base, settings)
        check_names_and_shapes(
            expected, _shapes(adapter), model_name=f"the {role}'s adapter", source=str(folder / name)
        )
        llamas[role] = build(sizes, merged(base, adapter, settings["lora_alpha"] / settings["r"]))
    path = folder / LANGUAGE / "tokenizer.json"
    try:
        words = PlainTokenizer(files[f"{LANGUAGE}/tokenizer.json"].decode(), tokenizer_config)
    except Exception as error:  # tokenizers raises Exception itself
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    return PlainLanguage(llamas=nn.ModuleDict(llamas), adapters=MergedAdapters(llamas), tokenizer=words, files=files)


def _read_files(folder: Path, roles: Sequence[str]) -> dict[str, bytes] | None:
    """Contents by path; None where one is missing, the folder has files of another kind, or they are too large."""
    inside = {path.name for path in (folder / LANGUAGE).glob("*")}
    if not {*LANGUAGE_FILES} <= inside <= {*LANGUAGE_FILES, *OPTIONAL_FILES}:
        return None
    names = [f"{LANGUAGE}/{name}" for name in sorted(inside)]
    names += [f"{role}/{name}" for role in roles for name in ADAPTER_FILES]
    if not all((folder / name).is_file() for name in names):
        return None
    if sum((folder / name).stat().st_size for name in names) > LARGEST_BYTES:
        return None
    return {name: (folder / name).read_bytes() for name in names}


def _json(data: bytes) -> dict[str, Any]:
    """An object; an empty one for anything else, which no rule passes."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_lora(settings: Mapping[str, Any]) -> bool:
    """Whether W + alpha / r * B A is all there is to an adapter."""
    targets, rank, alpha = (settings.get(name) for name in ("target_modules", "r", "lora_alpha"))
    return (
        settings.get("peft_type") == "LORA"
        and settings.get("bias") == "none"
        and settings.get("init_lora_weights") in (True, False, "gaussian")  # others change the base
        and not any(value for name, value in settings.items() if name not in NEUTRAL)
        and isinstance(targets, list)
        and all(target in ADAPTED for target in targets)
        and type(rank) is int
        and rank > 0
        and type(alpha) in (int, float)
    )


def _base_weights(sizes: LlamaSizes, data: bytes, path: Path) -> dict[str, Tensor]:
    """The base's weights as parameters, which Llamas of several roles share."""
    with torch.device("meta"):
        own = _shapes(Llama(sizes).state_dict())
    if sizes.tie_word_embeddings:
        own.pop("lm_head.weight")
    given = _tensors(data, path)
    check_names_and_shapes(own, _shapes(given), model_name="LlamaForCausalLM", source=str(path.parent))
    weights: dict[str, Tensor] = {name: nn.Parameter(t, requires_grad=False) for name, t in given.items()}
    if sizes.tie_word_embeddings:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return weights


def _adapter_shapes(base: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, weight in base.items():
        layer = name.removesuffix(".weight")
        if layer.split(".")[-1] in settings["target_modules"]:
            outputs, inputs = weight.shape
            shapes[f"base_model.model.{layer}.lora_A.weight"] = (settings["r"], inputs)
            shapes[f"base_model.model.{layer}.lora_B.weight"] = (outputs, settings["r"])
    return shapes


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """A file's tensors in fp32."""
    try:
        return {name: tensor.float() for name, tensor in load(data).items()}
    except SafetensorError as error:
        raise ValueError(f"{path} is broken: {error}; get it again") from None


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in weights.items()}
