"""Llama in plain PyTorch, for answering: what `generation` walks through, without transformers' five seconds of import.

Modules and weights have transformers' names, so that a checkpoint's tensors are taken as they are. The walk itself
(positions, keys and values, attention) is `generation`'s, the same for this Llama and for transformers'.
"""

# D width, I inside of the MLP, H head width, V vocabulary

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Llama(nn.Module):
    """Embedding, blocks, final norm and head; a `language.LlamaLike`."""

    def __init__(self, sizes: Any) -> None:
        """sizes: under the names of transformers' config."""
        super().__init__()
        self.config = sizes
        self.model = _Trunk(sizes)
        self.lm_head = _linear(sizes.hidden_size, sizes.vocab_size)

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens


class _Trunk(nn.Module):
    gradient_checkpointing = False

    def __init__(self, sizes: Any) -> None:
        super().__init__()
        # Random numbers on the meta device would import PyTorch's compiler.
        self.embed_tokens = nn.Embedding.from_pretrained(torch.empty(sizes.vocab_size, sizes.hidden_size))
        self.layers = nn.ModuleList(_Block(sizes) for _ in range(sizes.num_hidden_layers))
        self.norm = nn.RMSNorm(sizes.hidden_size, eps=sizes.rms_norm_eps)
        self.rotary_emb = _Rotary(sizes.head_dim, sizes.rope_parameters["rope_theta"])


class _Block(nn.Module):
    def __init__(self, sizes: Any) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(sizes.hidden_size, eps=sizes.rms_norm_eps)
        self.self_attn = _Projections(sizes)
        self.post_attention_layernorm = nn.RMSNorm(sizes.hidden_size, eps=sizes.rms_norm_eps)
        self.mlp = _MLP(sizes.hidden_size, sizes.intermediate_size)


class _Projections(nn.Module):
    def __init__(self, sizes: Any) -> None:
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


def merged(
    weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor], targets: Collection[str], rank: int, scale: float
) -> dict[str, Tensor]:
    """W + scale * B A in the adapted linear layers, and the other weights as they are, not copied.

    Args:
        adapter: a LoRA adapter of this rank on all layers of the names in `targets`, under PEFT's names.

    Raises:
        ValueError: it is another adapter.
    """
    layers = [name for name in weights if name.split(".")[-2] in targets]
    names = {f"base_model.model.{name.removesuffix('weight')}lora_{half}.weight" for name in layers for half in "AB"}
    if adapter.keys() != names:
        raise ValueError("the adapter's tensors are not those of its settings")
    result = dict(weights)
    for name in layers:
        a, b = (adapter[f"base_model.model.{name.removesuffix('weight')}lora_{half}.weight"].float() for half in "AB")
        if a.shape != (rank, weights[name].shape[1]) or b.shape != (weights[name].shape[0], rank):
            raise ValueError(f"the adapter of {name} has another size")
        result[name] = nn.Parameter(weights[name] + scale * (b @ a), requires_grad=False)
    return result


def build(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Llama:
    """A Llama that holds these very weights; parameters among them are shared, not copied."""
    with torch.device("meta"):
        llama = Llama(SimpleNamespace(**config))
    llama.load_state_dict(dict(weights), assign=True)
    return llama.requires_grad_(False).eval()
