"""What a keypoint is on, and its colour, out of lists of names. Ours: the descriptor is told of both."""

# B photos, P points, Q queries, C channels, S numbers read of a point, K names, M colours

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.config import VisionConfig
from talking_points.model.mask_decoder import LEVEL_STRIDES, DecoderInputs

HIDDEN, COLOUR_HIDDEN = 128, 64
PIXEL_STRIDE = 4
"""Pixels of the square a cell of the map that colours are read of."""
WINDOWS = (3, 5)
"""Cells a side of the windows around a point, beside its own cell."""
LOOKS = 3 * (2 + len(WINDOWS))
"""Numbers of a point's look."""


class PointNames(nn.Module):
    """How likely a point is on each of `num_point_names` parts and things, and is each of `num_point_colours`, or none.

    Parts are read of the keypoint's numbers, every query's mask logit at the point, and the pixel decoder's cells
    there. The keypoint itself looks no further than its region; the queries have seen the whole photo. Colours are read
    of the photo's own pixels.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        seen = (2 + len(LEVEL_STRIDES)) * config.width + config.num_queries
        self.parts = nn.Sequential(nn.Linear(seen, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, config.num_point_names))
        self.colours = nn.Sequential(
            nn.Linear(LOOKS, COLOUR_HIDDEN), nn.GELU(), nn.Linear(COLOUR_HIDDEN, config.num_point_colours + 1)
        )

    def forward(self, seen_BPS: Tensor, looks_BPL: Tensor) -> Tensor:
        """(B, P, K + M + 1) chances; of the colours the last is that of none. Of what `seen_at_points` and
        `looks_at_points` give."""
        return torch.cat([self.parts(seen_BPS).softmax(-1), self.colours(looks_BPL).softmax(-1)], dim=-1)


def seen_at_points(numbers_BPF: Tensor, queries_BQC: Tensor, inputs: DecoderInputs, points_BP2: Tensor) -> Tensor:
    """(B, P, S): the keypoints' numbers, the masks of queries there, the cells of all levels there.

    Args:
        numbers_BPF: of the keypoints.
        queries_BQC: mask embeddings of the photo's queries.
        inputs: of B photos.
        points_BP2: x, y in [0, 1]^2 of the square.
    """
    # A mask is linear in the mask feature: its logit at a point is that of the feature there.
    masks_BPQ = at_points(inputs.mask_feature_BCHW, points_BP2) @ queries_BQC.transpose(1, 2)
    cells_BPC = [
        at_points(cells.transpose(1, 2).unflatten(2, size_hw), points_BP2)
        for cells, size_hw in zip(inputs.cells, inputs.sizes_hw, strict=True)
    ]
    return torch.cat([numbers_BPF, masks_BPQ, *cells_BPC], dim=-1)


def looks_at_points(pixels_B3HW: Tensor, points_BP2: Tensor) -> Tensor:
    """(B, P, LOOKS): the colour of a point's cell, the means of the windows, the spread in the first of these.

    pixels_B3HW: the normalised photo at `PIXEL_STRIDE`.
    """

    def mean(map_B3HW: Tensor, window: int) -> Tensor:
        return F.avg_pool2d(map_B3HW, window, 1, window // 2, count_include_pad=False)

    means = [mean(pixels_B3HW, window) for window in WINDOWS]
    spread_B3HW = (mean(pixels_B3HW**2, WINDOWS[0]) - means[0] ** 2).clamp(min=0).sqrt()
    return at_points(torch.cat([pixels_B3HW, *means, spread_B3HW], dim=1), points_BP2)


def at_points(map_BCHW: Tensor, points_BP2: Tensor) -> Tensor:
    """(B, P, C) values of a map at points, between its cells' centres; beyond the outermost, theirs."""
    grid_BP12 = 2 * points_BP2[:, :, None] - 1
    found_BCP1 = F.grid_sample(map_BCHW, grid_BP12, padding_mode="border", align_corners=False)
    return found_BCP1[..., 0].transpose(1, 2)
