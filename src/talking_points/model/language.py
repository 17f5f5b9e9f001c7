"""The language model's side: what is asked of it, and a keypoint's token among the words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class LlamaLike(Protocol):
    """What `generation` needs of a Llama: transformers' `LlamaForCausalLM` has it, and `llama.Llama`.

    `model` has `layers`, `norm`, `rotary_emb` and `gradient_checkpointing`; a layer has `input_layernorm`, `self_attn`
    (`q_proj`, `k_proj`, `v_proj`, `o_proj`, `head_dim`), `post_attention_layernorm` and `mlp`. LoRA may be inside.
    """

    @property
    def config(self) -> Any:
        """Sizes under transformers' names."""

    @property
    def model(self) -> Any: ...

    @property
    def lm_head(self) -> nn.Module:
        """Last hidden states to logits."""

    def get_input_embeddings(self) -> nn.Module: ...


class Adapters(Protocol):
    """The roles' adapters over one base, one of which acts: `hugging_face.PeftAdapters`, `plain.MergedAdapters`."""

    @property
    def roles(self) -> tuple[str, ...]: ...

    @property
    def llama(self) -> LlamaLike:
        """As the acting role has it."""

    def acting_as(self, role: str) -> AbstractContextManager[None]:
        """Another role, or "base" for none, inside the block; the one before again after it. One thread at a time."""


def adapter_weights(language: nn.Module, role: str, blocks: range | None = None) -> dict[str, nn.Parameter]:
    """A role's LoRA weights by name. blocks: those of these blocks alone."""

    def is_asked(name: str) -> bool:
        block = re.search(r"\.layers\.(\d+)\.", name)
        inside = blocks is None or (block is not None and int(block[1]) in blocks)
        return inside and ".lora_" in name and f".{role}." in name

    return {name: parameter for name, parameter in language.named_parameters() if is_asked(name)}


def embed_suffixes(
    suffixes: Sequence[Sequence[int]], embedding: nn.Module, mark_id: int, marks_PD: Tensor | None
) -> Tensor:
    """Embed and right-pad P suffixes.

    Args:
        suffixes: token ids.
        embedding: the language model's input embedding.
        mark_id: the placeholder of a keypoint.
        marks_PD: the keypoints' tokens, one a suffix, unused where a suffix holds no mark; None: none holds one.

    Returns:
        (P, S, D) embeddings.
    """
    device = next(embedding.parameters()).device
    ids_PS = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(s, dtype=torch.long) for s in suffixes], batch_first=True
    ).to(device)
    is_mark = ids_PS == mark_id
    embeds_PSD = embedding(ids_PS.masked_fill(is_mark, 0))
    if marks_PD is not None:
        embeds_PSD = torch.where(is_mark[..., None], marks_PD[:, None].to(embeds_PSD.dtype), embeds_PSD)
    return embeds_PSD
