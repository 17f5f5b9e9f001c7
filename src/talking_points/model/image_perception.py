"""Image perception: what each image token knows of the segmenter's queries."""

# B photos, Q queries, C channels, H W cells of the mask feature, h w cells of the token grid

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

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
    mask_hw = mask_logits_BQHW.shape[-2:]
    to_image = [_resizing(size, out, mask_logits_BQHW) for size, out in zip(mask_hw, image_hw, strict=True)]
    to_grid = [_resizing(size, out, mask_logits_BQHW) for size, out in zip(image_hw, grid_hw, strict=True)]
    rows, cols = (matrix.any(0) for matrix in to_grid)
    read = (to_image[0][rows] @ mask_logits_BQHW @ to_image[1][cols].T).sigmoid()
    return to_grid[0][:, rows] @ read @ to_grid[1][:, cols].T


def _resizing(size: int, out: int, like: Tensor) -> Tensor:
    """(out, size) matrix that resizes a vector bilinearly."""
    identity = torch.eye(size, dtype=like.dtype, device=like.device)
    return F.interpolate(identity[None], out, mode="linear", align_corners=False)[0].T
