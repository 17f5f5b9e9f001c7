"""OMG-LLaVA's language model as a plain transformers Llama, a layer at a time.

InternLM2 is a Llama with q, k and v interleaved in one matrix. The LoRA that OMG-LLaVA trained is merged into it. The
real base was NF4-quantised while the LoRA was trained; merging into the unquantised weights is the usual, slightly
different, choice.
"""

from __future__ import annotations

import logging
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from talking_points.model.prompts import CHAT_TOKENS
from talking_points.model.weights import check_names_and_shapes, read_json
from talking_points.omg_llava.names import INTERNLM2, rename
from talking_points.omg_llava.weight_files import WeightFile, open_folder, write_json, write_shards

PROJECTOR_PREFIXES = ("projector.", "projector_text2vision.")
"""Of what is not the language model's in OMG-LLaVA's file."""

_log = logging.getLogger(__name__)

_LLM = "llm.base_model.model."  # PEFT's prefix inside OMG-LLaVA's file
_EMBEDDINGS = "model.tok_embeddings"
_HEAD = "output"
# fp32 working copies are this many rows at a time, so that none of a whole head exists.
_ROWS_AT_ONCE = 8192
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModelPlan:
    """The files and InternLM2's sizes, read from its config.json and checked against every shape in both."""

    base: WeightFile
    trained: WeightFile
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


def plan_language_model(folder: Path, trained: WeightFile, tokens: int) -> LanguageModelPlan:
    """Check InternLM2's folder, OMG-LLaVA's file and the number of token ids against each other.

    Raises:
        FileNotFoundError: a file of the folder is missing.
        ValueError: it is no InternLM2, or a tensor is missing, unknown or misshaped (named).
    """
    base = open_folder(folder)
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
    plan = LanguageModelPlan(
        base=base,
        trained=trained,
        config=config,
        width=width,
        layers=config["num_hidden_layers"],
        heads=heads,
        key_value_heads=groups,
        tokens=tokens,
    )
    _check_shapes(plan)
    return plan


def write_language_model(plan: LanguageModelPlan, dtype: torch.dtype, out: Path) -> None:
    """Write the Llama's configs and its weights: the embeddings, every layer and the head, a file each."""
    _write_configs(plan, dtype, out)
    write_shards(out, _shards(plan, dtype), plan.layers + 2)


def llama_state(weights: Mapping[str, Tensor], *, num_heads: int, num_kv_heads: int, source: str) -> dict[str, Tensor]:
    """InternLM2 weights under transformers' Llama names."""
    plain, state = {}, {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"model\.layers\.(\d+)\.attention\.wqkv\.weight", name)
        if not match:
            plain[name] = tensor
            continue
        parts = split_wqkv(tensor, num_heads=num_heads, num_kv_heads=num_kv_heads)
        for letter, part in zip("qkv", parts, strict=True):
            state[f"model.layers.{match[1]}.self_attn.{letter}_proj.weight"] = part
    return {**state, **rename(plain, INTERNLM2, source=source)}


def split_wqkv(wqkv: Tensor, *, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split InternLM2's fused projection (rows, in) into q, k, v rows.

    Rows are grouped by key-value head: its query heads, then its key, then its value.
    """
    per_group = num_heads // num_kv_heads
    head_dim, rest = divmod(wqkv.shape[0], num_heads + 2 * num_kv_heads)
    if rest or num_heads % num_kv_heads:
        raise ValueError(f"wqkv has {wqkv.shape[0]} rows, which {num_heads} heads over {num_kv_heads} cannot share")
    groups = wqkv.view(num_kv_heads, per_group + 2, head_dim, -1)
    return (
        groups[:, :per_group].reshape(num_heads * head_dim, -1),
        groups[:, per_group].reshape(num_kv_heads * head_dim, -1),
        groups[:, per_group + 1].reshape(num_kv_heads * head_dim, -1),
    )


# --- What the two files must hold


def _check_shapes(plan: LanguageModelPlan) -> None:
    linears = {name: shape for i in range(plan.layers) for name, shape in _linear_shapes(plan, i).items()}
    norms = [norm for i in range(plan.layers) for norm in _norms(i)] + ["model.norm"]
    vocabulary = (plan.config["vocab_size"], plan.width)
    modules = {_EMBEDDINGS: vocabulary, **linears, **dict.fromkeys(norms, (plan.width,)), _HEAD: vocabulary}
    own = {f"{name}.weight": shape for name, shape in modules.items()}
    base, trained = plan.base, plan.trained
    check_names_and_shapes(own, base.shapes, model_name="InternLM2 of its config.json", source=base.source)

    among = {name: shape for name, shape in trained.shapes.items() if not name.startswith(PROJECTOR_PREFIXES)}
    enlarged = (plan.tokens - 1, plan.width)
    expected: dict[str, tuple[int, ...]] = {
        f"{_LLM}{_EMBEDDINGS}.weight": enlarged,
        f"{_LLM}{_HEAD}.base_layer.weight": enlarged,
    }
    ranks = [shape[0] for name, shape in among.items() if ".lora_A." in name and shape]
    rank = statistics.mode(ranks or [0])
    for name, (rows, columns) in {**linears, _HEAD: enlarged}.items():
        expected[f"{_LLM}{name}.lora_A.default.weight"] = (rank, columns)
        expected[f"{_LLM}{name}.lora_B.default.weight"] = (rows, rank)
    check_names_and_shapes(expected, among, model_name=f"OMG-LLaVA over {base.source}", source=trained.source)


def _linear_shapes(plan: LanguageModelPlan, layer: int) -> dict[str, tuple[int, int]]:
    """InternLM2's linear modules of a layer; every one carries LoRA."""
    width, inner = plan.width, plan.config["intermediate_size"]
    shapes = {
        "attention.wqkv": ((plan.heads + 2 * plan.key_value_heads) * plan.head_dim, width),
        "attention.wo": (width, width),
        "feed_forward.w1": (inner, width),
        "feed_forward.w3": (inner, width),
        "feed_forward.w2": (width, inner),
    }
    return {f"model.layers.{layer}.{name}": shape for name, shape in shapes.items()}


def _norms(layer: int) -> list[str]:
    return [f"model.layers.{layer}.{name}" for name in ("attention_norm", "ffn_norm")]


# --- Weights


def _shards(plan: LanguageModelPlan, dtype: torch.dtype) -> Iterator[dict[str, Tensor]]:
    """Every weight of the Llama, under its name there; nothing of a shard is kept once it is given."""
    [embeddings] = plan.trained.read(f"{_LLM}{_EMBEDDINGS}.weight")
    weights = {f"{_EMBEDDINGS}.weight": _with_mean_row(embeddings.to(dtype))}
    del embeddings
    yield _llama(plan, weights)
    del weights
    for layer in range(plan.layers):
        yield _llama(plan, _merged_layer(plan, layer, dtype))
        _log.info("merged layer %d of %d", layer + 1, plan.layers)
    # The head's own weight was trained too (the rule that leaves heads out does not know its name), so the
    # base's is not read.
    [head] = plan.trained.read(f"{_LLM}{_HEAD}.base_layer.weight")
    head = _with_mean_row(_merged(head, plan.trained, _HEAD, dtype))
    yield _llama(plan, {**_copies(plan.base, ["model.norm"], dtype), f"{_HEAD}.weight": head})


def _llama(plan: LanguageModelPlan, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    sizes = {"num_heads": plan.heads, "num_kv_heads": plan.key_value_heads}
    return llama_state(weights, **sizes, source=plan.base.source)


def _merged_layer(plan: LanguageModelPlan, layer: int, dtype: torch.dtype) -> dict[str, Tensor]:
    weights = _copies(plan.base, _norms(layer), dtype)
    for module in _linear_shapes(plan, layer):
        [weight] = plan.base.read(f"{module}.weight")
        weights[f"{module}.weight"] = _merged(weight, plan.trained, module, dtype)
    return weights


def _copies(base: WeightFile, modules: Iterable[str], dtype: torch.dtype) -> dict[str, Tensor]:
    names = [f"{module}.weight" for module in modules]
    # Copies: a mapped page must not wait in a shard.
    return {name: weight.to(dtype, copy=True) for name, weight in zip(names, base.read(*names), strict=True)}


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


# --- Configs


def _write_configs(plan: LanguageModelPlan, dtype: torch.dtype, out: Path) -> None:
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
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", generation)
