"""Turn OMG-LLaVA's published files into a checkpoint folder of ours, once, tensor by tensor.

The language model becomes a plain transformers Llama: InternLM2 is one with q, k and v interleaved in one
matrix. The LoRA that OMG-LLaVA trained is merged into it. The real base was NF4-quantised while the LoRA was
trained; merging into the unquantised weights is the usual, slightly different, choice.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import re
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from talking_points.internlm2_tokenizer import write_internlm2_tokenizer
from talking_points.model.checkpoint import BASE_PARTS
from talking_points.model.config import ModelConfig, VisionConfig
from talking_points.model.localizer_head import TextToVision
from talking_points.model.projector import Projector
from talking_points.model.prompts import CHAT_TOKENS
from talking_points.model.segmenter import Segmenter
from talking_points.model.upstream import (
    PROJECTOR_NAMES,
    SEGMENTER_NAMES,
    TEXT_TO_VISION_NAMES,
    has_unit_norm,
    llama_state,
    open_clip_trunk,
    projector_state,
    segmenter_state,
    text_to_vision_state,
    vision_config_of,
)
from talking_points.model.weights import check_names_and_shapes, read_json
from talking_points.weight_files import ShardedFolder, ShardWriter, WeightFile, open_weights, read_one_tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_log = logging.getLogger(__name__)

_LLM = "llm.base_model.model."  # PEFT's prefix inside OMG-LLaVA's file
_EMBEDDINGS = "model.tok_embeddings"
_HEAD = "output"
_PROJECTORS = ("projector.", "projector_text2vision.")
# fp32 working copies are this many rows at a time, so that none of a whole head exists.
_ROWS_AT_ONCE = 8192


def import_omg_llava(
    *,
    llm: Path,
    segmenter: Path,
    class_embed: Path,
    llava: Path,
    clip: Path | None = None,
    dtype: str = "bfloat16",
    out: Path,
    shard_bytes: int = 1_000_000_000,
) -> None:
    """Write the checkpoint folder `out` from the published files.

    One tensor is in memory at a time, and the shard waiting to be written. Nothing appears at `out` unless
    all of it does: the folder is made beside it and renamed.

    Args:
        llm: InternLM2-chat's folder: config.json, safetensors and index, tokenizer.model and its config.
        segmenter: OMG-Seg's .pth; without `backbone.*` in it, `clip` gives the trunk.
        class_embed: .pth of one (classes, prototypes, dim) tensor.
        llava: OMG-LLaVA's .pth: LoRA, token embeddings, head, projectors. LoRA's alpha is not in the file;
            it is taken as half the rank, as in OMG-LLaVA's configuration (256 and 512).
        clip: open_clip's convnext_large_d_320, .safetensors or a pickle of tensors; its visual trunk is read.
        dtype: "float32" or "bfloat16", of the written language model. The vision weights stay float32: they
            are few, and masks are cut at thresholds.
        out: a folder that does not exist yet, or is empty.
        shard_bytes: largest size of one file of language model weights.

    Raises:
        FileNotFoundError: a file that an argument names, or that its folder needs.
        ValueError: a missing, unknown or misshaped tensor (named), a file that is not plain tensors, an
            unknown dtype, or an `out` that is in use.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; allowed: {', '.join(DTYPES)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; choose another --out")

    base, trained = ShardedFolder(llm), open_weights(llava)
    out.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        language_model = new / "language_model"
        language_model.mkdir()
        plan = _plan_language_model(llm, base, trained, write_internlm2_tokenizer(llm, language_model))
        config, vision = _vision(trained, open_weights(segmenter), class_embed, clip, plan.width)
        _write_json(new / "config.json", config.to_dict())
        save_file(vision, new / "vision.safetensors", metadata={"format": "pt"})
        del vision
        _write_llama_config(plan, DTYPES[dtype], language_model)
        writer = ShardWriter(language_model, shard_bytes)
        for name, tensor in _llama_tensors(plan, base, trained, DTYPES[dtype]):
            writer.add(name, tensor)
        writer.finish()
        if out.exists():
            out.rmdir()
        new.chmod(0o755)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)


# --- The language model


@dataclass(frozen=True, kw_only=True, slots=True)
class _LanguagePlan:
    """InternLM2's sizes, read from its config.json and checked against every shape in both files."""

    config: dict[str, Any]
    width: int
    layers: int
    heads: int
    key_value_heads: int
    tokens: int
    """Token ids; the last, <mark>, is the only one without rows in OMG-LLaVA's file."""

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


def _plan_language_model(folder: Path, base: WeightFile, trained: WeightFile, tokens: int) -> _LanguagePlan:
    path = folder / "config.json"
    config = read_json(path)
    if config.get("model_type") != "internlm2":
        raise ValueError(f"{path}: model_type is {config.get('model_type')!r}, expected 'internlm2'")
    if config.get("bias", False) or config.get("tie_word_embeddings", False):
        raise ValueError(f"{path}: biases and tied embeddings are not converted; InternLM2-chat has neither")
    missing = [key for key in _SIZES if not isinstance(config.get(key), int)]
    if missing:
        raise ValueError(f"{path}: no whole number under {missing}")
    width, heads, groups = (config[k] for k in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    if width % heads or heads % groups:
        raise ValueError(
            f"{path}: hidden_size {width} must be a multiple of num_attention_heads {heads}, "
            f"and that of num_key_value_heads {groups}"
        )
    plan = _LanguagePlan(
        config=config,
        width=width,
        layers=config["num_hidden_layers"],
        heads=heads,
        key_value_heads=groups,
        tokens=tokens,
    )
    linears = _linear_shapes(plan)
    vocabulary = (config["vocab_size"], width)
    modules = {_EMBEDDINGS: vocabulary, **linears, **_norm_shapes(plan), _HEAD: vocabulary}
    own = {f"{name}.weight": shape for name, shape in modules.items()}
    check_names_and_shapes(own, base.shapes, model_name="InternLM2 of its config.json", source=base.source)

    among = {name: shape for name, shape in trained.shapes.items() if not name.startswith(_PROJECTORS)}
    enlarged = (tokens - 1, width)
    expected: dict[str, tuple[int, ...]] = {
        f"{_LLM}{_EMBEDDINGS}.weight": enlarged,
        f"{_LLM}{_HEAD}.base_layer.weight": enlarged,
    }
    ranks = [shape[0] for name, shape in among.items() if ".lora_A." in name and shape]
    rank = statistics.mode(ranks or [0])
    for name, (rows, columns) in {**linears, _HEAD: enlarged}.items():
        expected[f"{_LLM}{name}.lora_A.default.weight"] = (rank, columns)
        expected[f"{_LLM}{name}.lora_B.default.weight"] = (rows, rank)
    check_names_and_shapes(expected, among, model_name=f"OMG-LLaVA over {folder}", source=trained.source)
    return plan


_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)


def _linear_shapes(plan: _LanguagePlan) -> dict[str, tuple[int, int]]:
    """InternLM2's linear modules inside the layers; every one carries LoRA."""
    width, inner = plan.width, plan.config["intermediate_size"]
    shapes = {
        "attention.wqkv": ((plan.heads + 2 * plan.key_value_heads) * plan.head_dim, width),
        "attention.wo": (width, width),
        "feed_forward.w1": (inner, width),
        "feed_forward.w3": (inner, width),
        "feed_forward.w2": (width, inner),
    }
    return {f"model.layers.{i}.{name}": shape for i in range(plan.layers) for name, shape in shapes.items()}


def _norm_shapes(plan: _LanguagePlan) -> dict[str, tuple[int]]:
    names = [f"model.layers.{i}.{name}" for i in range(plan.layers) for name in ("attention_norm", "ffn_norm")]
    return dict.fromkeys([*names, "model.norm"], (plan.width,))


def _llama_tensors(
    plan: _LanguagePlan, base: WeightFile, trained: WeightFile, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Every weight of the Llama, a few at a time."""

    def llama(weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        sizes = {"num_heads": plan.heads, "num_kv_heads": plan.key_value_heads}
        yield from llama_state(weights, **sizes, source=base.source).items()

    [embeddings] = trained.read(f"{_LLM}{_EMBEDDINGS}.weight")
    yield from llama({f"{_EMBEDDINGS}.weight": _with_mean_row(embeddings.to(dtype))})
    del embeddings
    for module in _linear_shapes(plan):
        [weight] = base.read(f"{module}.weight")
        yield from llama({f"{module}.weight": _merged(weight, trained, module, dtype)})
        _log.info("merged %s", module)
    for module in _norm_shapes(plan):
        [weight] = base.read(f"{module}.weight")
        # A copy: a mapped page must not wait in a shard.
        yield from llama({f"{module}.weight": weight.to(dtype, copy=True)})
    # The head's own weight was trained too (the rule that leaves heads out does not know its name), so the
    # base's is not read.
    [weight] = trained.read(f"{_LLM}{_HEAD}.base_layer.weight")
    yield from llama({f"{_HEAD}.weight": _with_mean_row(_merged(weight, trained, _HEAD, dtype))})


def _merged(weight: Tensor, trained: WeightFile, module: str, dtype: torch.dtype) -> Tensor:
    """weight + alpha / rank * B A, summed in fp32; alpha is half the rank."""
    a, b = trained.read(*(f"{_LLM}{module}.lora_{half}.default.weight" for half in "AB"))
    a = a.float()
    merged = torch.empty(weight.shape, dtype=dtype)
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        merged[rows] = torch.addmm(weight[rows].float(), b[rows].float(), a, alpha=0.5)
    return merged


def _with_mean_row(rows: Tensor) -> Tensor:
    """Append the row of <mark>, which has an id but was given no row upstream.

    Its embedding is never looked up: the keypoint's token takes its place. In the head the mean of all rows
    makes its logit the mean of all logits, never the largest; a zero row would win wherever all are negative.
    """
    mean = rows.mean(0, keepdim=True, dtype=torch.float32)
    return torch.cat([rows, mean.to(rows.dtype)])


def _write_llama_config(plan: _LanguagePlan, dtype: torch.dtype, out: Path) -> None:
    published = plan.config
    scaling = published.get("rope_scaling")
    if scaling is None:
        rope: dict[str, Any] = {"rope_type": "default"}
    elif scaling.get("type") in ("dynamic", "linear"):
        rope = {"rope_type": scaling["type"], "factor": scaling["factor"]}
    else:
        raise ValueError(f"config.json: rope_scaling is {scaling}; type 'dynamic' or 'linear' is converted")
    tokenizer_config = read_json(out / "tokenizer_config.json")
    id_of = {entry["content"]: int(id) for id, entry in tokenizer_config["added_tokens_decoder"].items()}
    special = {f"{name}_token_id": id_of[tokenizer_config[f"{name}_token"]] for name in ("bos", "eos", "pad")}
    rope_theta = published.get("rope_theta", 10000.0)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": plan.tokens,
        **{key: published[key] for key in _SIZES if key != "vocab_size"},
        "head_dim": plan.head_dim,
        "hidden_act": published.get("hidden_act", "silu"),
        "rms_norm_eps": published.get("rms_norm_eps", 1e-6),
        "initializer_range": published.get("initializer_range", 0.02),
        # transformers 5 reads rope_parameters, 4 the other two; each falls back to defaults in silence.
        "rope_parameters": {**rope, "rope_theta": rope_theta},
        "rope_theta": rope_theta,
        "rope_scaling": None if scaling is None else rope,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "use_cache": True,
        "torch_dtype": str(dtype).removeprefix("torch."),
        **special,
    }
    generation = {**special, "eos_token_id": [special["eos_token_id"], id_of[CHAT_TOKENS[-1]]]}
    for name, value in (("config.json", config), ("generation_config.json", generation)):
        _write_json(out / name, value)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


# --- Vision


def _vision(
    trained: WeightFile, segmenter: WeightFile, class_embed: Path, clip: Path | None, llm_width: int
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The sizes, and the weights of `vision.safetensors`, checked against the modules that will hold them."""
    published = _all_of(segmenter)
    if any(name.startswith("backbone.") for name in published):
        if clip is not None:
            raise ValueError(f"{segmenter.source} holds a trunk (backbone.*); leave out --clip")
    elif clip is None:
        raise ValueError(f"{segmenter.source} holds no trunk (backbone.*); give open_clip's file with --clip")
    else:
        published |= open_clip_trunk(_all_of(open_weights(clip)), source=str(clip))
    embedding = read_one_tensor(class_embed)
    if embedding.dim() != 3 or not has_unit_norm(embedding):
        raise ValueError(
            f"{class_embed} holds {tuple(embedding.shape)} numbers, expected (classes, prototypes, dim) "
            "with every prototype of length 1"
        )
    to_llm, to_vision = (_all_of(trained, prefix) for prefix in _PROJECTORS)
    states = {
        "segmenter": segmenter_state(published, embedding, source=segmenter.source),
        "projector": projector_state(to_llm, source=trained.source),
        "text_to_vision": text_to_vision_state(to_vision, source=trained.source),
    }
    with _published_names(SEGMENTER_NAMES, segmenter.source):
        config = vision_config_of(states["segmenter"])
        with torch.device("meta"):
            _check(Segmenter(config), states["segmenter"])
    config = dataclasses.replace(config, pixel_shuffle=_pixel_shuffle(config, states["projector"]))
    with _published_names(PROJECTOR_NAMES, trained.source), torch.device("meta"):
        channels = config.token_channels - 2 * config.width
        projector = Projector(image_channels=channels, query_channels=2 * config.width, llm_width=llm_width)
        _check(projector, states["projector"])
    with _published_names(TEXT_TO_VISION_NAMES, trained.source), torch.device("meta"):
        _check(TextToVision(llm_width, 2 * config.width), states["text_to_vision"])
    weights = {
        f"{part}.{name}": tensor.float().contiguous()
        for part in BASE_PARTS
        if part != "heatmap"  # ours: the published model's coordinates are regressed
        for name, tensor in states[part].items()
    }
    return ModelConfig(name="omg-llava", vision=config), weights


def _pixel_shuffle(config: VisionConfig, projector: Mapping[str, Tensor]) -> int:
    """From the projector's input: the last stage's channels, folded, and two query vectors."""
    if "image_mlp.0.weight" not in projector:
        return config.pixel_shuffle  # reported as missing by the check that follows
    folded = projector["image_mlp.0.weight"].shape[-1] - 2 * config.width
    return max(1, math.isqrt(max(0, folded) // config.trunk_dims[-1]))


def _check(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    own, given = ({name: tuple(t.shape) for name, t in tensors.items()} for tensors in (module.state_dict(), state))
    check_names_and_shapes(own, given, model_name=type(module).__name__, source="the file")


@contextmanager
def _published_names(names: Mapping[str, str], source: str) -> Iterator[None]:
    """Errors inside the block name the file, and tensors as they are called in it."""
    try:
        yield
    except ValueError as error:
        message = re.sub(r"[\w.]+(weight|bias|gamma)\b", lambda m: published_name(m[0], names), str(error))
        if names is SEGMENTER_NAMES and "missing" not in message:
            told = ", ".join(published_name(name, names) for name in _TELL_SIZES)
            message += f". Sizes are read off {told}: one of these may be the wrong one"
        raise ValueError(f"{source}: {message}") from None


_TELL_SIZES = (
    "trunk.stem.0.weight",
    "trunk.stages.1.downsample.1.weight",
    "trunk.stages.2.downsample.1.weight",
    "trunk.stages.3.downsample.1.weight",
    "mask_decoder.query_feat.weight",
    "mask_decoder.layers.0.fc1.weight",
    "pixel_decoder.layers.0.fc1.weight",
    "pixel_decoder.layers.0.attention.attention_weights.weight",
)


def published_name(ours: str, names: Mapping[str, str]) -> str:
    """The published name of one of our tensors, by a table of `model.upstream`; `ours` if no row fits."""
    candidates = (_renamed_back(ours, pattern, template) for pattern, template in names.items())
    return next((name for name in candidates if name), ours)


def _renamed_back(ours: str, pattern: str, template: str) -> str | None:
    """Read one row of a table from right to left."""
    groups = re.findall(r"\([^()]*\)", pattern)
    shifts = {int(n): -1 if plus else 1 for plus, n in re.findall(r"\{(\+?)\\(\d)\}", template)}
    plain = re.sub(r"\{\+?(\\\d)\}", r"\1", template).replace(".", r"\.")
    match = re.fullmatch(re.sub(r"\\(\d)", lambda m: f"(?P<g{m[1]}>{groups[int(m[1]) - 1][1:-1]})", plain), ours)
    if not match:
        return None
    values = iter(
        str(int(match[f"g{n}"]) + shifts[n]) if n in shifts else match[f"g{n}"] for n in range(1, len(groups) + 1)
    )
    return re.sub(r"\([^()]*\)", lambda _: next(values), pattern).replace("\\.", ".")


def _all_of(weights: WeightFile, prefix: str = "") -> dict[str, Tensor]:
    names = [name for name in weights.shapes if name.startswith(prefix)]
    return dict(zip(names, weights.read(*names), strict=True))
