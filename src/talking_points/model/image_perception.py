"""Image perception: what each image token knows of the segmenter's queries."""

# B photos, Q queries, C channels, H W cells of the mask feature, h w cells of the token grid

from __future__ import annotations

import torch
from torch import Tensor

FOREGROUND_SHARE = 0.5
"""How much of a query's weight depends on its foreground score; the rest is granted. OMG-LLaVA's smooth_ratio."""


def perceive_image(
    mask_logits_BQHW: Tensor,
    class_logits_BQK: Tensor,
    query_feat_pos_BQF: Tensor,
    image_hw: tuple[int, int],
    grid_hw: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Mix the queries softly into every cell, and say which query wins it.

    Weights are softmax over queries of (0.5 + 0.5 * foreground score) * sigmoid(mask).

    Args:
        mask_logits_BQHW: at stride 4.
        class_logits_BQK: the last class is background.
        query_feat_pos_BQF: features and positions joined.
        image_hw: size of the network's input, in pixels.
        grid_hw: token grid.

    Returns:
        (B, h*w, F) mixture, and bool (B, Q, h*w): True where the query wins the cell.

    Source: OMG-LLaVA omg_seg_visual_encoder.py, panoptic_postprocess; parity: tests/omg_llava/test_parity.py.
    """
    foreground_BQ = class_logits_BQK.softmax(-1)[..., :-1].amax(-1)
    weight_BQ = foreground_BQ * FOREGROUND_SHARE + (1 - FOREGROUND_SHARE)
    prob_BQhw = _masks_on_grid(mask_logits_BQHW, image_hw, grid_hw) * weight_BQ[..., None, None]
    prob_BQN = prob_BQhw.flatten(2)
    mixture_BNF = torch.bmm(prob_BQN.softmax(1).transpose(1, 2), query_feat_pos_BQF)
    winner_BN = prob_BQN.argmax(1)
    wins_BQN = winner_BN[:, None] == torch.arange(prob_BQN.shape[1], device=winner_BN.device)[:, None]
    return mixture_BNF, wins_BQN


def _masks_on_grid(mask_logits_BQHW: Tensor, image_hw: tuple[int, int], grid_hw: tuple[int, int]) -> Tensor:
    """sigmoid(masks resized to the image), resized to the grid: bilinear twice, as upstream does.

    Upstream holds (Q, 1024, 1024) probabilities a photo; only the image rows and columns that the second
    resize reads are computed here.
    """
    rows, row_weights = _source_pixels(image_hw[0], grid_hw[0], mask_logits_BQHW)
    cols, col_weights = _source_pixels(image_hw[1], grid_hw[1], mask_logits_BQHW)
    to_rows = _bilinear_matrix(mask_logits_BQHW.shape[-2], image_hw[0], mask_logits_BQHW)[rows]
    to_cols = _bilinear_matrix(mask_logits_BQHW.shape[-1], image_hw[1], mask_logits_BQHW)[cols]
    read = (to_rows @ mask_logits_BQHW @ to_cols.T).sigmoid()  # [B, Q, 2h, 2w]
    return row_weights @ read @ col_weights.T


def _bilinear_sources(size: int, out: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First and second source index and the second's weight, for each of `out` outputs (align_corners=False)."""
    position = ((torch.arange(out, device=like.device, dtype=torch.float32) + 0.5) * (size / out) - 0.5).clamp(min=0)
    first = position.floor().long().clamp(max=size - 1)
    second = (first + 1).clamp(max=size - 1)
    return first, second, (position - first).to(like.dtype)


def _bilinear_matrix(size: int, out: int, like: Tensor) -> Tensor:
    """(out, size) matrix that resizes a vector bilinearly."""
    first, second, weight = _bilinear_sources(size, out, like)
    index = torch.arange(out, device=like.device)
    matrix = like.new_zeros(out, size)
    matrix.index_put_((index, first), 1 - weight, accumulate=True)
    matrix.index_put_((index, second), weight, accumulate=True)
    return matrix


def _source_pixels(size: int, out: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The 2*out source indices a bilinear resize reads, and the (out, 2*out) weights it gives them."""
    first, second, weight = _bilinear_sources(size, out, like)
    index = torch.arange(out, device=like.device)
    weights = like.new_zeros(out, 2 * out)
    weights[index, 2 * index] = 1 - weight
    weights[index, 2 * index + 1] = weight
    return torch.stack([first, second], dim=1).flatten(), weights
