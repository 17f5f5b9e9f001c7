"""Regions around a point that follow what is seen there: stretched along it, or made of cells like the point's own.

Both are ours: the paper's region is round (`keypoint_prompt.gaussian_region`). They are read from the mask feature, at
stride 4, and cells are always judged at their centres.
"""

# B photos, P points, C channels, H W cells of the mask feature, h w cells of a level

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from talking_points.model.keypoint_prompt import gaussian_region, offsets_from_points

MAX_ELONGATION = 3.0
"""The anisotropic region is at most so many times as long as wide. Ours."""
NOISE = 1e-6
"""Share of a feature's square below which its changes from cell to cell count as none. Ours."""
SAME_COSINE = 0.94
"""Cells at least as alike as this are like the point's own. Ours: where `mini`'s mask feature tells cells of a labelled
part best from others beside it, on training photos."""


def anisotropic_regions(
    points_px_BP2: Tensor,
    mask_feature_BCHW: Tensor,
    image_hw: tuple[int, int],
    sizes_hw: Sequence[tuple[int, int]],
    *,
    sigma_px: float,
    threshold: float,
) -> list[Tensor]:
    """The Gaussian stretched along the structure at each point, its area kept: bool (B, P, h * w) for each level.

    Its covariance is the inverse of the structure tensor (`structure_tensors`), scaled to the round one's determinant,
    its axes no further apart than MAX_ELONGATION. Where the feature does not change, it is the round one. The cell that
    holds the point is always inside. The photo's edge in its square is structure like any other.

    Args:
        points_px_BP2: x, y in pixels of the network's input.
        mask_feature_BCHW: of the photos, which it covers whole.
        image_hw: size of the input.
        sizes_hw: sizes of the levels.
        sigma_px: standard deviation of the round one, pixels of the input.
        threshold: in (0, 1); inside is where the Gaussian is above it.
    """
    tensors_BP3 = structure_tensors(points_px_BP2, mask_feature_BCHW, image_hw, sigma_px=sigma_px)
    elongation, across_u, across_v = (one[..., None, None] for one in _shape(tensors_BP3))
    # The inverse covariance, times sigma^2, has `elongation` across the structure and its inverse along it.
    mean, half = (elongation + 1 / elongation) / 2, (elongation - 1 / elongation) / 2
    regions = []
    for size_hw in sizes_hw:
        x, y, holding = offsets_from_points(points_px_BP2, image_hw, size_hw)
        distance2 = mean * (y**2 + x**2) + half * (across_u * (x**2 - y**2) + across_v * 2 * x * y)
        inside = (-distance2 / (2 * sigma_px**2)).exp() > threshold
        regions.append((inside | holding).flatten(-2))
    return regions


def structure_tensors(
    points_px_BP2: Tensor, mask_feature_BCHW: Tensor, image_hw: tuple[int, int], *, sigma_px: float
) -> Tensor:
    """(B, P, 3): xx, xy and yy of how the feature changes around each point, over the feature's own square there.

    Sums over channels of products of derivatives along x and y, in a Gaussian window of sigma_px around the point. The
    arguments are those of `anisotropic_regions`. Source: Foerstner and Guelch 1987.
    """
    # A photo at a time: the derivatives of one take as much memory as its feature, each.
    products_B4HW = torch.stack([_products(one_CHW.float()) for one_CHW in mask_feature_BCHW])
    H, W = products_B4HW.shape[-2:]
    x_BP1W, y_BPH1, _ = offsets_from_points(points_px_BP2.float(), image_hw, (H, W))
    weights = [(-(offset**2) / (2 * sigma_px**2)).exp() for offset in (y_BPH1.squeeze(-1), x_BP1W.squeeze(-2))]
    sums_BP4 = torch.einsum("bph,bkhw,bpw->bpk", weights[0], products_B4HW, weights[1])
    return sums_BP4[..., :3] / sums_BP4[..., 3:].clamp_min(torch.finfo(sums_BP4.dtype).tiny)


def _products(feature_CHW: Tensor) -> Tensor:
    """(4, H, W): sums over channels of dx dx, dx dy, dy dy and of the feature's square."""
    padded = F.pad(feature_CHW[None], (1, 1, 1, 1), mode="replicate")[0]
    dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return torch.stack([(dx * dx).sum(0), (dx * dy).sum(0), (dy * dy).sum(0), (feature_CHW**2).sum(0)])


def _shape(tensors_BP3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of (B, P, 3) structure tensors: length over width, and cosine and sine of twice the angle across it."""
    xx, xy, yy = tensors_BP3.unbind(-1)
    mean, across_u, across_v = (xx + yy) / 2, (xx - yy) / 2, xy
    radius = torch.hypot(across_u, across_v)
    ratio = ((mean + radius + NOISE) / ((mean - radius).clamp_min(0) + NOISE)).sqrt().clamp(1, MAX_ELONGATION)
    radius = radius.clamp_min(torch.finfo(radius.dtype).tiny)
    return ratio, across_u / radius, across_v / radius


def content_regions(
    points_px_BP2: Tensor,
    mask_feature_BCHW: Tensor,
    image_hw: tuple[int, int],
    sizes_hw: Sequence[tuple[int, int]],
    *,
    sigma_px: float,
    threshold: float,
) -> list[Tensor]:
    """Cells of the round region that look like the cell that holds the point: bool (B, P, h * w) for each level.

    A cell of a level looks as the mask feature does on average inside it; two are alike where the cosine of these is at
    least SAME_COSINE. The cell that holds the point is always inside. Arguments as for `anisotropic_regions`.
    """
    regions = []
    for size_hw in sizes_hw:
        round_BPN = gaussian_region(points_px_BP2, image_hw, size_hw, sigma_px=sigma_px, threshold=threshold)
        looks_BCN = F.adaptive_avg_pool2d(mask_feature_BCHW.float(), size_hw).flatten(2)
        # A constant that weighs nothing, so that cells without any feature have a direction, and are alike.
        looks_BCN = F.normalize(F.pad(looks_BCN, (0, 0, 0, 1), value=NOISE), dim=1)
        is_own_BPN = offsets_from_points(points_px_BP2, image_hw, size_hw)[2].flatten(-2)
        cosine_BPN = (is_own_BPN.to(looks_BCN.dtype) @ looks_BCN.transpose(1, 2)) @ looks_BCN
        regions.append(round_BPN & (cosine_BPN >= SAME_COSINE) | is_own_BPN)
    return regions
