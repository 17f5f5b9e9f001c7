from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from talking_points.model import adapted_regions
from talking_points.model.adapted_regions import anisotropic_regions, content_regions, structure_tensors
from talking_points.model.keypoint_prompt import gaussian_region

SIDE = 64
"""Of the input; the mask feature has 16 x 16 cells of 4 px."""
SIGMA = 8.0
LEVELS = [(2, 2), (4, 4), (8, 8)]


def bright_line(degrees: float, channels: int = 3) -> Tensor:
    """(1, C, 16, 16): a soft line through the middle, its direction from the x axis towards y, on a dark ground."""
    places = torch.arange(16) + 0.5 - 8
    angle = math.radians(degrees)
    across = -math.sin(angle) * places[None, :] + math.cos(angle) * places[:, None]
    return (-(across**2) / 2).exp().expand(1, channels, 16, 16)


def stretched(feature_BCHW: Tensor, *point_px: float, size: int = SIDE) -> Tensor:
    """(size, size) bool: the anisotropic region of one point."""
    [inside] = anisotropic_regions(
        torch.tensor([[point_px]]), feature_BCHW, (SIDE, SIDE), [(size, size)], sigma_px=SIGMA, threshold=0.5
    )
    return inside.view(size, size)


def round_region(*point_px: float, size_hw: tuple[int, int]) -> Tensor:
    return gaussian_region(torch.tensor([[point_px]]), (SIDE, SIDE), size_hw, sigma_px=SIGMA, threshold=0.5)


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_a_line_stretches_the_region_along_it(degrees: float) -> None:
    # Inside is d^2 < 2 ln 2 sigma^2: a radius of 9.42 px where it is round. Three times as long as wide at one area:
    # 9.42 * sqrt(3) = 16.3 px along and 9.42 / sqrt(3) = 5.44 px across.
    inside = stretched(bright_line(degrees), 32.0, 32.0)
    angle = math.radians(degrees)
    for along, across, wanted in ((15, 0, True), (-15, 0, True), (18, 0, False), (0, 4, True), (0, 7, False)):
        x = 32 + along * math.cos(angle) - across * math.sin(angle)
        y = 32 + along * math.sin(angle) + across * math.cos(angle)
        assert inside[int(y), int(x)] == wanted, (along, across)
    # On whole pixels the area is that of the round one, pi 2 ln 2 sigma^2, but for a few on the border.
    assert float(inside.sum()) == pytest.approx(math.pi * 2 * math.log(2) * SIGMA**2, rel=0.05)


def test_the_tensor_of_a_ramp_by_hand() -> None:
    # One channel that grows by 2 a cell along x and by 1 along y: products of derivatives 4, 2 and 1, in the middle of
    # a window so narrow that only the four cells around its centre count, whose values are 21 to 24.
    places = torch.arange(16.0)
    ramp = (2 * places[None, :] + places[:, None])[None, None]
    [[tensor]] = structure_tensors(torch.tensor([[[32.0, 32.0]]]), ramp, (SIDE, SIDE), sigma_px=0.5)
    square = (21**2 + 22**2 + 23**2 + 24**2) / 4
    assert tensor.tolist() == pytest.approx([4 / square, 2 / square, 1 / square])


def test_structure_alike_in_both_directions_leaves_the_region_round() -> None:
    spot = bright_line(0) * bright_line(90)
    assert torch.equal(stretched(spot, 32.0, 32.0).flatten(), round_region(32.0, 32.0, size_hw=(SIDE, SIDE))[0, 0])


def test_the_limit_bounds_the_elongation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapted_regions, "MAX_ELONGATION", 1.0)
    inside = stretched(bright_line(45), 32.0, 32.0)
    assert torch.equal(inside.flatten(), round_region(32.0, 32.0, size_hw=(SIDE, SIDE))[0, 0])


@pytest.mark.parametrize("regions", [anisotropic_regions, content_regions])
@pytest.mark.parametrize("value", [0.0, 1.0, -3e-20, 1e15])
def test_equal_features_give_the_round_region(regions, value: float) -> None:  # type: ignore[no-untyped-def]
    points = torch.tensor([[[32.0, 32.0], [0.0, 64.0], [5.0, 41.5]]])
    feature = torch.full((1, 3, 16, 16), value)
    for size_hw, inside in zip(
        LEVELS, regions(points, feature, (SIDE, SIDE), LEVELS, sigma_px=SIGMA, threshold=0.5), strict=True
    ):
        wanted = gaussian_region(points, (SIDE, SIDE), size_hw, sigma_px=SIGMA, threshold=0.5)
        assert torch.equal(inside, wanted)


@pytest.mark.parametrize("regions", [anisotropic_regions, content_regions])
@pytest.mark.parametrize("sigma_px", [1e-3, 8.0])
def test_the_cell_of_the_point_is_inside_at_every_level(regions, sigma_px: float) -> None:  # type: ignore[no-untyped-def]
    points = torch.tensor([[[33.0, 33.0], [64.0, 0.0]]])
    feature = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for size_hw, inside in zip(
        LEVELS, regions(points, feature, (SIDE, SIDE), LEVELS, sigma_px=sigma_px, threshold=0.5), strict=True
    ):
        side = size_hw[0]
        middle = side // 2 * side + side // 2
        assert inside[0, 0, middle] and inside[0, 1, side - 1]
        assert sigma_px > 1 or inside.sum() == 2


def test_content_keeps_cells_like_the_points_own() -> None:
    # Left half one look, right half another at a right angle to it; the point is 2 px left of the border between them.
    feature = torch.zeros(1, 2, 16, 16)
    feature[:, 0, :, :8], feature[:, 1, :, 8:] = 1.0, 5.0
    [inside] = content_regions(
        torch.tensor([[[30.0, 34.0]]]), feature, (SIDE, SIDE), [(8, 8)], sigma_px=SIGMA, threshold=0.5
    )
    # Cells of 8 px with centres at 20, 28 and 36 across: 10, 2 and 6 px away; 28, 36 and 44 down: 6, 2 and 10.
    assert round_region(30.0, 34.0, size_hw=(8, 8)).view(8, 8).nonzero().tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]
    assert inside.view(8, 8).nonzero().tolist() == [[3, 3], [4, 3]]


def test_content_is_judged_by_direction_against_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    # The other half is 30 degrees away: a cosine of 0.866.
    feature = torch.zeros(1, 2, 16, 16)
    feature[:, 0] = 2.0
    feature[:, 0, :, 8:], feature[:, 1, :, 8:] = math.cos(math.pi / 6), math.sin(math.pi / 6)
    counts = []
    for cosine in (0.85, 0.88):
        monkeypatch.setattr(adapted_regions, "SAME_COSINE", cosine)
        [inside] = content_regions(
            torch.tensor([[[30.0, 34.0]]]), feature, (SIDE, SIDE), [(8, 8)], sigma_px=SIGMA, threshold=0.5
        )
        counts.append(int(inside.sum()))
    assert counts == [4, 2]


def test_photos_do_not_mix() -> None:
    points = torch.tensor([[[32.0, 32.0]], [[20.0, 32.0]]])
    lines = torch.cat([bright_line(0), bright_line(90)])
    for regions in (anisotropic_regions, content_regions):
        together = regions(points, lines, (SIDE, SIDE), LEVELS, sigma_px=SIGMA, threshold=0.5)
        for b in range(2):
            alone = regions(points[b : b + 1], lines[b : b + 1], (SIDE, SIDE), LEVELS, sigma_px=SIGMA, threshold=0.5)
            assert all(torch.equal(one[b], other[0]) for one, other in zip(together, alone, strict=True))
