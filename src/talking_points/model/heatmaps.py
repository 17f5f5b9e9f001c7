"""Heatmaps over cells that tile the square: the answer, how sure it is, and what else it could have been."""

# P texts, h w cells

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RADII = (0.1, 0.2)
"""Of mPCK; here in the square's unit."""
GRID = 64
"""Cells a side, at most, on which the likeliest place is sought."""


def likeliest_points(logits_Phw: Tensor) -> Tensor:
    """(P, 2) points around which most of the probability lies, x, y in [0, 1]^2.

    The mean of a heatmap with two peaks lies between them, where nothing is. Here each place is scored by the
    probability within the radii of mPCK, 0.1 and 0.2, that is by the score that answering there would bring; the
    answer is the mean of what lies near the best one.
    """
    prob_Phw = logits_Phw.flatten(1).softmax(-1).unflatten(-1, logits_Phw.shape[-2:])
    # A coarse grid is enough to choose a place, and keeps the disks small.
    height, width = (min(GRID, size) for size in prob_Phw.shape[-2:])
    prob_P1hw = F.adaptive_avg_pool2d(prob_Phw[:, None], (height, width))
    prob_P1hw = prob_P1hw / prob_P1hw.sum((-2, -1), keepdim=True)
    y = (torch.arange(2 * height - 1, device=prob_Phw.device) - (height - 1)) / height
    x = (torch.arange(2 * width - 1, device=prob_Phw.device) - (width - 1)) / width
    distance_hw = (y[:, None] ** 2 + x**2).sqrt()
    score_11hw = sum((distance_hw < radius).to(prob_Phw.dtype) for radius in RADII)[None, None]
    reach = [max(1, int(max(RADII) * size)) for size in (height, width)]
    middle = (height - 1, width - 1)
    rows, columns = (slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
    kernel = score_11hw[..., rows, columns]
    best_P = F.conv2d(prob_P1hw, kernel, padding=(reach[0], reach[1])).flatten(1).argmax(-1)
    best_P2 = torch.stack([(best_P % width + 0.5) / width, (best_P // width + 0.5) / height], dim=-1)
    local_Phw = prob_P1hw[:, 0] * (squared_distances(prob_P1hw, best_P2) < min(RADII) ** 2)
    local_Phw = local_Phw / local_Phw.sum((-2, -1), keepdim=True)
    x, y = cell_centres(local_Phw)
    return torch.stack([(local_Phw.sum(1) * x).sum(-1), (local_Phw.sum(2) * y).sum(-1)], dim=-1)


def chances(logits_Phw: Tensor, points_P2: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How sure a heatmap is of its answers, and what else it would have answered.

    Args:
        logits_Phw: over cells of the square.
        points_P2: the answers, in [0, 1]^2 of the square.
        temperature: calibrated one.

    Returns:
        (P,) probability within 0.1 of the answer; (P, 2) the likeliest point farther than 0.2 from it, and (P,) the
        probability within 0.1 of that.
    """
    here_Phw = squared_distances(logits_Phw, points_P2).sqrt()
    elsewhere_P2 = likeliest_points(logits_Phw.masked_fill(here_Phw < max(RADII), -torch.inf))
    sure_P, of_other_P = (chance_near(logits_Phw, some_P2, temperature) for some_P2 in (points_P2, elsewhere_P2))
    return sure_P, elsewhere_P2, of_other_P


def chance_near(logits_Phw: Tensor, points_P2: Tensor, temperature: Tensor) -> Tensor:
    """(P,) probability within 0.1 of any points; arguments as `chances`."""
    prob_Phw = (logits_Phw / temperature).flatten(1).softmax(-1).unflatten(-1, logits_Phw.shape[-2:])
    near_Phw = squared_distances(logits_Phw, points_P2).sqrt() < min(RADII)
    return (prob_Phw * near_Phw).sum((-2, -1))


def cell_centres(cells: Tensor) -> tuple[Tensor, Tensor]:
    """(w,) x and (h,) y of the centres of cells that tile the square. cells: (..., h, w) of anything."""
    height, width = cells.shape[-2:]
    x = (torch.arange(width, device=cells.device) + 0.5) / width
    y = (torch.arange(height, device=cells.device) + 0.5) / height
    return x, y


def squared_distances(cells: Tensor, points_P2: Tensor) -> Tensor:
    """(P, h, w) from points to the centres of `cell_centres`."""
    x, y = cell_centres(cells)
    return (y[:, None] - points_P2[:, 1, None, None]) ** 2 + (x - points_P2[:, 0, None, None]) ** 2
