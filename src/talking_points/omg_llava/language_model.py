"""OMG-LLaVA's language model as a plain transformers Llama, a layer at a time.

InternLM2 is a Llama with q, k and v interleaved in one matrix. The LoRA that OMG-LLaVA trained is merged into it. The
real base was NF4-quantised while the LoRA was trained; merging into the unquantised weights is the usual, slightly
different, choice.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from talking_points.files import read_json
from talking_points.model.prompts import CHAT_TOKENS
from talking_points.model.weights import check_names_and_shapes
from talking_points.omg_llava.names import INTERNLM2, rename
from talking_points.omg_llava.weight_files import WeightFile, open_folder, write_json, write_shards
from talking_points.progress import OnProgress, unheard

PROJECTOR_PREFIXES = ("projector.", "projector_text2vision.")
"""Of what is not the language model's in OMG-LLaVA's file."""


LLM = "llm.base_model.model."
"""PEFT's prefix inside OMG-LLaVA's file."""
EMBEDDINGS = "model.tok_embeddings"
HEAD = "output"
ROWS_AT_ONCE = 8192
"""fp32 working copies are this many rows at a time, so that none of a whole head exists."""
LORA_SCALE = 0.5
"""alpha / rank, which is not in the file: OMG-LLaVA's 256 and 512, and the paper's "effective scaling 0.5"."""
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
    """The files and InternLM2's sizes, checked against each other."""

    base: WeightFile
    trained: WeightFile
    config: dict[str, Any]
    """InternLM2's."""
    tokens: int
    """Token ids; the last, <mark>, is the only one without rows in OMG-LLaVA's file."""

    @property
    def width(self) -> int:
        return int(self.config["hidden_size"])

    @property
    def layers(self) -> range:
        return range(self.config["num_hidden_layers"])

    def linears(self, layer: int) -> dict[str, tuple[int, int]]:
        """Shapes of a layer's linear modules; every one carries LoRA."""
        width, inner, heads = self.width, self.config["intermediate_size"], self.config["num_attention_heads"]
        return {
            f"model.layers.{layer}.attention.wqkv": (
                (heads + 2 * self.config["num_key_value_heads"]) * (width // heads),
                width,
            ),
            f"model.layers.{layer}.attention.wo": (width, width),
            f"model.layers.{layer}.feed_forward.w1": (inner, width),
            f"model.layers.{layer}.feed_forward.w3": (inner, width),
            f"model.layers.{layer}.feed_forward.w2": (width, inner),
        }

    def llama(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """InternLM2 weights of these sizes under transformers' Llama names."""
        heads, groups = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        return llama_state(weights, num_heads=heads, num_kv_heads=groups, source=self.base.source)

    @staticmethod
    def norms(layer: int) -> list[str]:
        return [f"model.layers.{layer}.{name}" for name in ("attention_norm", "ffn_norm")]


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
    if missing := [key for key in _SIZES if not isinstance(config.get(key), int) or config[key] < 1]:
        raise ValueError(f"{path}: no whole number above 0 under {missing}")
    width, heads, groups = (config[k] for k in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    if width % heads or heads % groups:
        raise ValueError(
            f"{path}: hidden_size {width} must be a multiple of num_attention_heads {heads}, "
            f"and that of num_key_value_heads {groups}"
        )
    plan = LanguageModelPlan(base=base, trained=trained, config=config, tokens=tokens)
    _check_shapes(plan)
    return plan


def _check_shapes(plan: LanguageModelPlan) -> None:
    """What the two files must hold, by their own names."""
    linears = {name: shape for i in plan.layers for name, shape in plan.linears(i).items()}
    norms = [norm for i in plan.layers for norm in plan.norms(i)] + ["model.norm"]
    vocabulary = (plan.config["vocab_size"], plan.width)
    modules = {EMBEDDINGS: vocabulary, **linears, **dict.fromkeys(norms, (plan.width,)), HEAD: vocabulary}
    own = {f"{name}.weight": shape for name, shape in modules.items()}
    base, trained = plan.base, plan.trained
    check_names_and_shapes(own, base.shapes, model_name="InternLM2 of its config.json", source=base.source)

    among = {name: shape for name, shape in trained.shapes.items() if not name.startswith(PROJECTOR_PREFIXES)}
    check_names_and_shapes(
        trained_shapes(plan, trained), among, model_name=f"OMG-LLaVA over {base.source}", source=trained.source
    )


def trained_shapes(plan: LanguageModelPlan, trained: WeightFile) -> dict[str, tuple[int, ...]]:
    """What OMG-LLaVA saves of its language model, at the rank that most of the file's LoRA has."""
    enlarged = (plan.tokens - 1, plan.width)
    expected: dict[str, tuple[int, ...]] = {
        f"{LLM}{EMBEDDINGS}.weight": enlarged,
        f"{LLM}{HEAD}.base_layer.weight": enlarged,
    }
    ranks = [shape[0] for name, shape in trained.shapes.items() if ".lora_A." in name and shape]
    rank = statistics.mode(ranks or [0])
    linears = {name: shape for i in plan.layers for name, shape in plan.linears(i).items()}
    for name, (rows, columns) in {**linears, HEAD: enlarged}.items():
        expected[f"{LLM}{name}.lora_A.default.weight"] = (rank, columns)
        expected[f"{LLM}{name}.lora_B.default.weight"] = (rows, rank)
    return expected


def llama_state(weights: Mapping[str, Tensor], *, num_heads: int, num_kv_heads: int, source: str) -> dict[str, Tensor]:
    """InternLM2 weights under transformers' Llama names.

    Rows of its fused `wqkv` are grouped by key-value head: its query heads, then its key, then its value.
    """
    plain, state = {}, {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"model\.layers\.(\d+)\.attention\.wqkv\.weight", name)
        if not match:
            plain[name] = tensor
            continue
        groups = tensor.view(num_kv_heads, num_heads // num_kv_heads + 2, -1, tensor.shape[1])
        for letter, part in (("q", groups[:, :-2]), ("k", groups[:, -2]), ("v", groups[:, -1])):
            state[f"model.layers.{match[1]}.self_attn.{letter}_proj.weight"] = part.reshape(-1, tensor.shape[1])
    return {**state, **rename(plain, INTERNLM2, source=source)}


def write_language_model(
    plan: LanguageModelPlan, dtype: torch.dtype, out: Path, on_progress: OnProgress = unheard
) -> None:
    """Write the Llama's configs and its weights: the embeddings, every layer and the head, a file each."""
    _write_configs(plan, dtype, out)
    write_shards(out, _shards(plan, dtype, on_progress), len(plan.layers) + 2)


def _shards(plan: LanguageModelPlan, dtype: torch.dtype, on_progress: OnProgress) -> Iterator[dict[str, Tensor]]:
    """Every weight of the Llama, under its name there; nothing of a shard is kept once it is given."""

    def norms(modules: list[str]) -> dict[str, Tensor]:
        names = [f"{module}.weight" for module in modules]
        # Copies: a mapped page must not wait in a shard.
        return {name: t.to(dtype, copy=True) for name, t in zip(names, plan.base.read(*names), strict=True)}

    yield plan.llama(
        {f"{EMBEDDINGS}.weight": with_mean_row(plan.trained.read(f"{LLM}{EMBEDDINGS}.weight")[0].to(dtype))}
    )
    on_progress("layers", 0, len(plan.layers))
    for layer in plan.layers:
        weights = norms(plan.norms(layer))
        for module in plan.linears(layer):
            name = f"{module}.weight"
            weights[name] = merged(plan.base.read(name)[0], plan.trained, module, dtype)
        yield plan.llama(weights)
        del weights
        on_progress("layers", layer + 1, len(plan.layers))
    # The head's own weight was trained too (the rule that leaves heads out does not know its name), so the
    # base's is not read.
    [head] = plan.trained.read(f"{LLM}{HEAD}.base_layer.weight")
    head = with_mean_row(merged(head, plan.trained, HEAD, dtype))
    yield plan.llama({**norms(["model.norm"]), f"{HEAD}.weight": head})


def read_lora(trained: WeightFile, module: str) -> tuple[Tensor, Tensor]:
    """A (rank, columns) and B (rows, rank) of a linear module of InternLM2."""
    a, b = trained.read(*(f"{LLM}{module}.lora_{half}.default.weight" for half in "AB"))
    return a, b


def merged(weight: Tensor, trained: WeightFile, module: str, dtype: torch.dtype) -> Tensor:
    """weight + `LORA_SCALE` B A, summed in fp32."""
    a, b = read_lora(trained, module)
    result = torch.empty(weight.shape, dtype=dtype)
    for rows, summed in with_lora(weight, a, b):
        result[rows] = summed
    return result


def with_lora(weight: Tensor, a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """weight + `LORA_SCALE` B A in fp32, some rows after the other."""
    a = a.float()
    for start in range(0, len(weight), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        yield rows, torch.addmm(weight[rows].float(), b[rows].float(), a, alpha=LORA_SCALE)


def with_mean_row(rows: Tensor) -> Tensor:
    """Append the row of <mark>, which has an id but was given no row upstream.

    Its embedding is never looked up: the keypoint's token takes its place. In the head the mean of all rows
    makes its logit the mean of all logits, never the largest; a zero row would win wherever all are negative.
    """
    mean = rows.mean(0, keepdim=True, dtype=torch.float32)
    return torch.cat([rows, mean.to(rows.dtype)])


def _write_configs(plan: LanguageModelPlan, dtype: torch.dtype, out: Path) -> None:
    published = plan.config
    scaling = published.get("rope_scaling")
    rope: dict[str, Any] = {"rope_type": "default"}
    if scaling is not None:
        if not isinstance(scaling, dict) or scaling.get("type") not in ("dynamic", "linear"):
            raise ValueError(f"config.json: rope_scaling is {scaling}; type 'dynamic' or 'linear' is converted")
        rope = {"rope_type": scaling["type"], "factor": scaling["factor"]}
    tokenizer_config = read_json(out / "tokenizer_config.json")
    id_of = {entry["content"]: int(id) for id, entry in tokenizer_config["added_tokens_decoder"].items()}
    special = {f"{name}_token_id": id_of[tokenizer_config[f"{name}_token"]] for name in ("bos", "eos", "pad")}
    rope_theta = published.get("rope_theta", 10000.0)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{key: published[key] for key in _SIZES},
        "vocab_size": plan.tokens,
        "head_dim": plan.width // published["num_attention_heads"],
        "hidden_act": published.get("hidden_act", "silu"),
        "rms_norm_eps": published.get("rms_norm_eps", 1e-6),
        "initializer_range": published.get("initializer_range", 0.02),
        # transformers 5 reads rope_parameters, 4 the other two; each falls back to defaults in silence.
        "rope_parameters": {**rope, "rope_theta": rope_theta},
        "rope_theta": rope_theta,
        "rope_scaling": None if scaling is None else rope,
        **dict.fromkeys(("attention_bias", "mlp_bias", "tie_word_embeddings"), False),
        "use_cache": True,
        "torch_dtype": str(dtype).removeprefix("torch."),
        **special,
    }
    generation = {**special, "eos_token_id": [special["eos_token_id"], id_of[CHAT_TOKENS[-1]]]}
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", generation)
