"""The keypoint prompt: a point as a query of the mask decoder, and the Gaussian region it may look at."""

# B photos, P points, C channels, N cells of one level

from __future__ import annotations

import torch
from torch import Tensor, nn

from talking_points.model.config import VisionConfig
from talking_points.model.positions import sine_boxes

BOX_HALF_PX = 3.0
"""A point is shown as the box of +-3 px around it, pixels of the square. Source: OMG-Seg prepare_sam_query."""
CLAMP = 1e-5
"""Box numbers are kept this far from 0 and 1. Source: mmdet inverse_sigmoid."""


class KeypointPrompt(nn.Module):
    """Initial query features and positions of points.

    Source: OMG-LLaVA mask2former_vid_semanticsam.py, prepare_sam_query; parity: tests/omg_llava/test_parity.py.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.mask_token = nn.Embedding(1, config.width)
        self.prompt_type = nn.Embedding(2, config.width)
        """Row 0: points. Row 1: boxes, which OMG-Seg knows and we only carry."""
        self.position = nn.Linear(2 * config.width, config.width)

    def forward(self, points_px: Tensor, image_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Features and positions of points' queries, (..., C) each.

        Args:
            points_px: (..., 2) x, y in pixels of the network's input.
            image_hw: size of that input.
        """
        size_wh = points_px.new_tensor([image_hw[1], image_hw[0]])
        half_wh = torch.full_like(size_wh, 2 * BOX_HALF_PX) / size_wh
        boxes_cxcywh = torch.cat([points_px / size_wh, half_wh.expand_as(points_px)], dim=-1)
        boxes_cxcywh = boxes_cxcywh.clamp(CLAMP, 1 - CLAMP)
        width = self.position.out_features
        pos = self.position(sine_boxes(boxes_cxcywh, width // 2).to(self.position.weight.dtype))
        feat = self.mask_token.weight[0] + self.prompt_type.weight[0]
        return feat.expand_as(pos), pos


def gaussian_region(
    points_px: Tensor,
    image_hw: tuple[int, int],
    size_hw: tuple[int, int],
    *,
    sigma_px: float,
    threshold: float,
    cells: str = "centre",
) -> Tensor:
    """Where the Gaussian around each point is above the threshold (paper 3.2), on a level's cells: bool (..., h * w).

    Args:
        points_px: (..., 2) x, y in pixels of the network's input.
        image_hw: size of that input.
        size_hw: size of the level; `image_hw` itself gives the region at full size.
        sigma_px: standard deviation, pixels of the input.
        threshold: in (0, 1).
        cells: "centre": a cell is judged at its centre, and the cell that holds the point is always inside, however
            small the region. "nearest": a cell is judged at the centre of its top left pixel, as where PyTorch resizes
            the region at full size by taking the nearest pixel.
    """
    x, y, holding = offsets_from_points(points_px, image_hw, size_hw, at_centre=cells == "centre")
    region = (-(y**2 + x**2) / (2 * sigma_px**2)).exp() > threshold
    return (region | holding if cells == "centre" else region).flatten(-2)


def offsets_from_points(
    points_px: Tensor, image_hw: tuple[int, int], size_hw: tuple[int, int], *, at_centre: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Where a level's cells are, seen from (..., 2) points: x (..., 1, w) and y (..., h, 1) in pixels of the input.

    Last, (..., h, w): whether the cell holds the point. at_centre: of the cell, else of its top left pixel.
    """
    (x, in_column), (y, in_row) = (
        _along(points_px[..., axis], image_hw[1 - axis], size_hw[1 - axis], at_centre=at_centre) for axis in (0, 1)
    )
    return x[..., None, :], y[..., :, None], in_row[..., :, None] & in_column[..., None, :]


def _along(points: Tensor, size: int, count: int, *, at_centre: bool) -> tuple[Tensor, Tensor]:
    """Along one axis, of points and a level's cells: (..., count) distance in pixels, and whether the cell holds it.

    size: of the input along the axis.
    """
    index = torch.arange(count, device=points.device)
    places = (index + 0.5) * size / count if at_centre else (index * size // count) + 0.5
    holding = (points * count / size).long().clamp(0, count - 1)
    return places.to(points.dtype) - points[..., None], index == holding[..., None]
