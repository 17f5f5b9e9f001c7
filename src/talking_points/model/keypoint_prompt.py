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
) -> Tensor:
    """Where the Gaussian around each point is above the threshold (paper 3.2), resized to a level: bool (..., h * w).

    The region is defined on the input's pixels, whose centres are at +0.5, and resized by taking the nearest
    pixel; only those pixels are computed.

    Args:
        points_px: (..., 2) x, y in pixels of the network's input.
        image_hw: size of that input.
        size_hw: size of the level; `image_hw` itself gives the region at full size.
        sigma_px: standard deviation, pixels of the input.
        threshold: in (0, 1).
    """
    y, x = (
        (torch.arange(out, device=points_px.device) * size // out).to(points_px.dtype) + 0.5
        for size, out in zip(image_hw, size_hw, strict=True)
    )
    dx2 = (x - points_px[..., :1]) ** 2
    dy2 = (y - points_px[..., 1:]) ** 2
    distance2 = dy2[..., :, None] + dx2[..., None, :]
    return ((-distance2 / (2 * sigma_px**2)).exp() > threshold).flatten(-2)
