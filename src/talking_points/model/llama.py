"""Llama in plain PyTorch, for answering: what `generation` walks through, without transformers' five seconds of import.

Modules and weights have transformers' names, so that a checkpoint's tensors are taken as they are. The walk itself
(positions, keys and values, attention) is `generation`'s, the same for this Llama and for transformers'.
"""

# D width, I inside of the MLP, H head width, V vocabulary

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaSizes:
    """Of the transformers config what a Llama is built from, under its names."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    tie_word_embeddings: bool

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> LlamaSizes | None:
        """Read `language_model/config.json`; None where it leaves something open or asks for what is not built here."""
        rope = config.get("rope_parameters")
        if not isinstance(rope, dict) or rope.keys() != {"rope_type", "rope_theta"} or rope["rope_type"] != "default":
            return None
        extras = (config.get(name) for name in ("attention_bias", "mlp_bias", "quantization_config"))
        if config.get("model_type") != "llama" or config.get("hidden_act") != "silu" or any(extras):
            return None
        given = {**config, "rope_theta": rope["rope_theta"]}
        kinds = {"int": (int,), "float": (int, float), "bool": (bool,)}
        own = fields(cls)
        if not all(type(given.get(field.name)) in kinds[str(field.type)] for field in own):
            return None
        if not all(given[field.name] > 0 for field in own if field.type != "bool"):
            return None
        heads = given["num_attention_heads"]
        if heads % given["num_key_value_heads"] or given["hidden_size"] % heads or given["head_dim"] % 2:
            return None
        return cls(**{field.name: given[field.name] for field in own})


class Llama(nn.Module):
    """Embedding, blocks, final norm and head; a `language.LlamaLike`."""

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.config = sizes
        self.model = _Trunk(sizes)
        self.lm_head = _linear(sizes.hidden_size, sizes.vocab_size)

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens


class _Trunk(nn.Module):
    gradient_checkpointing = False

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        # Random numbers on the meta device would import PyTorch's compiler.
        self.embed_tokens = nn.Embedding.from_pretrained(torch.empty(sizes.vocab_size, sizes.hidden_size))
        self.layers = nn.ModuleList(_Block(sizes) for _ in range(sizes.num_hidden_layers))
        self.norm = nn.RMSNorm(sizes.hidden_size, eps=sizes.rms_norm_eps)
        self.rotary_emb = _Rotary(sizes.head_dim, sizes.rope_theta)


class _Block(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(sizes.hidden_size, eps=sizes.rms_norm_eps)
        self.self_attn = _Projections(sizes)
        self.post_attention_layernorm = nn.RMSNorm(sizes.hidden_size, eps=sizes.rms_norm_eps)
        self.mlp = _MLP(sizes.hidden_size, sizes.intermediate_size)


class _Projections(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        D, self.head_dim = sizes.hidden_size, sizes.head_dim
        self.q_proj = _linear(D, sizes.num_attention_heads * self.head_dim)
        self.k_proj = _linear(D, sizes.num_key_value_heads * self.head_dim)
        self.v_proj = _linear(D, sizes.num_key_value_heads * self.head_dim)
        self.o_proj = _linear(sizes.num_attention_heads * self.head_dim, D)


class _MLP(nn.Module):
    def __init__(self, D: int, I: int) -> None:  # noqa: E741
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = _linear(D, I), _linear(D, I), _linear(I, D)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class _Rotary(nn.Module):
    """Cosine and sine of every position's angles, (..., H) each: the first half of a head turns with the second."""

    def __init__(self, H: int, theta: float) -> None:
        super().__init__()
        # Not on the meta device, where the weights' places are made: no file holds it.
        steps = torch.arange(0, H, 2, dtype=torch.float32, device="cpu")
        self.register_buffer("inv_freq", 1.0 / theta ** (steps / H), persistent=False)

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids[..., None].float() * self.get_buffer("inv_freq").float()
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def merged(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """W + scale * B A wherever a LoRA adapter has A and B, and the other weights as they are, not copied.

    Args:
        adapter: under PEFT's names: those of the linear layers, and lora_A or lora_B.
    """
    result = dict(weights)
    for name in adapter:
        if name.endswith(".lora_A.weight"):
            layer = f"{name.removeprefix('base_model.model.').removesuffix('.lora_A.weight')}.weight"
            product = adapter[name.replace(".lora_A.", ".lora_B.")] @ adapter[name]
            result[layer] = nn.Parameter(weights[layer] + scale * product, requires_grad=False)
    return result


def build(sizes: LlamaSizes, weights: Mapping[str, Tensor]) -> Llama:
    """A Llama that holds these very weights; parameters among them are shared, not copied."""
    with torch.device("meta"):
        llama = Llama(sizes)
    llama.load_state_dict(dict(weights), assign=True)
    return llama.requires_grad_(False).eval()
