"""Many suffixes behind one photo's tokens: packed in one sequence (training), or over a shared cache (inference)."""

# B photos, P suffixes a photo, T prefix tokens, S suffix tokens, L packed length, D language model width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedSequence:
    """Inputs of a Llama in which each suffix sees the prefix and itself, as if it stood alone behind it."""

    embeds_BLD: Tensor
    positions_BL: Tensor
    mask_B1LL: Tensor
    """bool, True where a row may look."""
    prefix_length: int
    """Padded; suffix p, token s stands at prefix_length + p * S + s."""


def pad_prefixes(prefixes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Right-pad (T, D) prefixes to (B, T, D); and their lengths (B,)."""
    lengths = torch.tensor([p.shape[0] for p in prefixes], device=prefixes[0].device)
    return torch.nn.utils.rnn.pad_sequence(list(prefixes), batch_first=True), lengths


def pack(prefixes: Sequence[Tensor], suffix_BPSD: Tensor, suffix_lengths_BP: Tensor) -> PackedSequence:
    """Put P suffixes behind each prefix.

    Args:
        prefixes: B tensors (T, D).
        suffix_BPSD: right-padded suffix embeddings.
        suffix_lengths_BP: tokens that count; 0 for a missing suffix.
    """
    prefix_BTD, prefix_lengths_B = pad_prefixes(prefixes)
    B, P, S, _ = suffix_BPSD.shape
    T = prefix_BTD.shape[1]
    device = prefix_BTD.device
    embeds = torch.cat([prefix_BTD, suffix_BPSD.flatten(1, 2).to(prefix_BTD.dtype)], dim=1)
    step_PS = torch.arange(S, device=device).expand(P, S)
    positions = torch.cat(
        [
            torch.arange(T, device=device).expand(B, T),
            (prefix_lengths_B[:, None, None] + step_PS).flatten(1),
        ],
        dim=1,
    )
    valid_BL = torch.cat(
        [
            torch.arange(T, device=device) < prefix_lengths_B[:, None],
            (step_PS < suffix_lengths_BP[..., None]).flatten(1),
        ],
        dim=1,
    )
    owner_L = torch.cat(
        [
            torch.zeros(T, dtype=torch.long, device=device),
            torch.arange(P, device=device).repeat_interleave(S) + 1,
        ]
    )
    index_L = torch.arange(T + P * S, device=device)
    sees_LL = (index_L[None] <= index_L[:, None]) & ((owner_L[None] == 0) | (owner_L[None] == owner_L[:, None]))
    # Padding looks at itself: a row that may look nowhere is NaN.
    mask = (sees_LL & valid_BL[:, None]) | torch.eye(T + P * S, dtype=torch.bool, device=device)
    return PackedSequence(embeds_BLD=embeds, positions_BL=positions, mask_B1LL=mask[:, None], prefix_length=T)
