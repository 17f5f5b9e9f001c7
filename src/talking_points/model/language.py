"""The language model's side: what is asked of it, and putting photo and keypoint tokens among the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def splice_tokens(input_ids_T: Tensor, embedding: nn.Module, replacements: Mapping[int, Sequence[Tensor]]) -> Tensor:
    """Embed token ids, with placeholders replaced by given embeddings.

    Args:
        input_ids_T: (T,) ids; a placeholder's id may lie outside the vocabulary.
        embedding: the language model's input embedding.
        replacements: for each placeholder id the (n, D) embeddings that replace its occurrences, in order.

    Returns:
        (T', D) embeddings.

    Raises:
        ValueError: a placeholder occurs more or fewer times than it has replacements.
    """
    is_placeholder = torch.zeros_like(input_ids_T, dtype=torch.bool)
    for token_id, tensors in replacements.items():
        here = input_ids_T == token_id
        if int(here.sum()) != len(tensors):
            raise ValueError(f"token {token_id} stands {int(here.sum())} times, {len(tensors)} embeddings were given")
        is_placeholder |= here
    words_TD = embedding(input_ids_T.masked_fill(is_placeholder, 0))
    queues = {token_id: iter(tensors) for token_id, tensors in replacements.items()}
    pieces, start = [], 0
    for index in is_placeholder.nonzero().flatten().tolist():
        pieces += [words_TD[start:index], next(queues[int(input_ids_T[index])])]
        start = index + 1
    return torch.cat([*pieces, words_TD[start:]])


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
