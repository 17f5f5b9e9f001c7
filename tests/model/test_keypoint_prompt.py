from __future__ import annotations

import math

import pytest
import torch

from talking_points.model.config import VisionConfig
from talking_points.model.keypoint_prompt import KeypointPrompt, gaussian_region

HALF = math.sqrt(0.5)


@pytest.fixture
def prompt() -> KeypointPrompt:
    return KeypointPrompt(VisionConfig(width=4, num_heads=1, group_norm_groups=1))


def seen_box(prompt: KeypointPrompt, points_px: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
    """The eight numbers of the box's encoding, through a layer that hands on four of them at a time."""
    halves = []
    with torch.no_grad():
        prompt.position.bias.zero_()
        for first in (0, 4):
            prompt.position.weight.zero_()
            prompt.position.weight[range(4), range(first, first + 4)] = 1.0
            halves.append(prompt(points_px, image_hw)[1].clone())
    return torch.cat(halves, dim=-1)


def test_a_point_is_seen_as_a_box_of_six_pixels(prompt: KeypointPrompt) -> None:
    # Of a 48x24 input (6, 12) is at 1/8 across and 1/2 down; 6 px are 1/8 of the width and 1/4 of the height. With
    # two features a number, each is (sin, cos) of it in turns; first down, then across, width, height.
    wanted = [0, -1, HALF, HALF, HALF, HALF, 1, 0]
    assert seen_box(prompt, torch.tensor([6.0, 12.0]), (24, 48)).tolist() == pytest.approx(wanted, abs=1e-6)


def test_the_border_is_not_quite_reached(prompt: KeypointPrompt) -> None:
    # 0 and 1 are kept 1e-5 away: sin(2 pi 1e-5) and its negative, where 0 and 1 themselves would give 0.
    corners = seen_box(prompt, torch.tensor([[0.0, 0.0], [48.0, 24.0]]), (24, 48))
    assert corners[0, [0, 2]].tolist() == pytest.approx([6.2832e-5] * 2, rel=1e-3)
    assert corners[1, [0, 2]].tolist() == pytest.approx([-6.2832e-5] * 2, rel=5e-3)
    # A box wider than its input: 6 of 4 pixels is 1.5, kept at 1 - 1e-5.
    wide = seen_box(prompt, torch.tensor([2.0, 2.0]), (4, 4))
    assert wide[[4, 6]].tolist() == pytest.approx([-6.2832e-5] * 2, rel=5e-3)


def test_the_query_of_a_point_is_the_token_with_the_type_of_points(prompt: KeypointPrompt) -> None:
    with torch.no_grad():
        prompt.mask_token.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        prompt.prompt_type.weight.copy_(torch.tensor([[10.0, 20.0, 30.0, 40.0], [500.0, 500.0, 500.0, 500.0]]))
    features, positions = prompt(torch.full((2, 3, 2), 5.0), (24, 48))
    assert features.shape == positions.shape == (2, 3, 4)
    assert features[1, 2].tolist() == [11, 22, 33, 44]


def test_weights_are_those_of_checkpoints(prompt: KeypointPrompt) -> None:
    assert {name: tuple(value.shape) for name, value in prompt.state_dict().items()} == {
        "mask_token.weight": (1, 4),
        "prompt_type.weight": (2, 4),
        "position.weight": (4, 8),
        "position.bias": (4,),
    }


def region(
    *point_px: float,
    image_hw: tuple[int, int],
    size_hw: tuple[int, int],
    threshold: float,
    sigma_px: float = 1.0,
    cells: str = "centre",
) -> list[str]:
    """One text a row, # inside."""
    inside = gaussian_region(
        torch.tensor(point_px), image_hw, size_hw, sigma_px=sigma_px, threshold=threshold, cells=cells
    )
    return ["".join(".#"[cell] for cell in row) for row in inside.view(size_hw).int().tolist()]


def test_region_by_hand() -> None:
    # In the middle of the pixel in column 3, row 1. Its four neighbours are 1 px away: exp(-1/2) = 0.6065; the ones
    # at the corners sqrt(2): exp(-1) = 0.3679; two columns away: exp(-2) = 0.1353.
    def one(threshold: float) -> list[str]:
        return region(3.5, 1.5, image_hw=(4, 6), size_hw=(4, 6), threshold=threshold)

    assert one(0.62) == ["......", "...#..", "......", "......"]
    assert one(0.60) == ["...#..", "..###.", "...#..", "......"]
    assert one(0.38) == ["...#..", "..###.", "...#..", "......"]
    assert one(0.36) == ["..###.", "..###.", "..###.", "......"]
    assert one(0.13) == ["..###.", ".#####", "..###.", "...#.."]


def test_the_threshold_itself_is_outside() -> None:
    at_one_pixel = float(torch.tensor(-0.5).exp())
    assert region(3.5, 1.5, image_hw=(3, 6), size_hw=(3, 6), threshold=at_one_pixel) == ["......", "...#..", "......"]


def test_at_full_size_both_ways_to_judge_cells_are_one() -> None:
    points = torch.tensor([[3.5, 1.5], [0.2, 3.9], [6.0, 4.0]])
    centre, nearest = (
        gaussian_region(points, (4, 6), (4, 6), sigma_px=1.0, threshold=0.3, cells=cells)
        for cells in ("centre", "nearest")
    )
    assert torch.equal(centre, nearest)


def test_regions_of_many_points_keep_their_order() -> None:
    points = torch.tensor([[[0.5, 0.5], [2.5, 0.5]], [[0.5, 1.5], [2.5, 1.5]]])
    inside = gaussian_region(points, (2, 3), (2, 3), sigma_px=1.0, threshold=0.62)
    assert inside.shape == (2, 2, 6)
    assert inside.flatten(0, 1).int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_cells_are_judged_at_their_centres() -> None:
    # Cells of 4x4 pixels with centres at 2, 6 and 10 across and 2 and 6 down; the point is 1 px left of the corner
    # that four cells share. The squared distances are 1 + 4 and 9 + 4, then 49 + 4: exp(-5/8) = 0.535, exp(-13/8) =
    # 0.197, exp(-53/8) = 0.001.
    def one(threshold: float) -> list[str]:
        return region(3.0, 4.0, image_hw=(8, 12), size_hw=(2, 3), sigma_px=2.0, threshold=threshold)

    assert one(0.54) == ["...", "#.."]  # none is above: the cell that holds the point, which belongs to the lower row
    assert one(0.53) == ["#..", "#.."]
    assert one(0.19) == ["##.", "##."]
    assert one(0.001) == ["###", "###"]


@pytest.mark.parametrize("sigma_px", [1e-3, 0.1, 1.0])
def test_the_cell_of_the_point_is_inside_at_every_level(sigma_px: float) -> None:
    # In the corner of its cell, far from the centre at each level; and on the far border, which is in the last cell.
    for size_hw, rows in (
        ((1, 1), ["#"]),
        ((2, 2), ["..", ".#"]),
        ((4, 4), ["....", "....", "..#.", "...."]),
    ):
        assert region(33.0, 33.0, image_hw=(64, 64), size_hw=size_hw, sigma_px=sigma_px, threshold=0.5) == rows
    assert region(64.0, 64.0, image_hw=(64, 64), size_hw=(2, 2), sigma_px=sigma_px, threshold=0.5) == ["..", ".#"]
    assert region(0.0, 64.0, image_hw=(64, 64), size_hw=(2, 2), sigma_px=sigma_px, threshold=0.5) == ["..", "#."]


def test_nearest_cells_are_judged_at_their_first_pixel() -> None:
    # Cells of 2x2 pixels; the point is the centre of the first pixel of the middle cell of the lower row.
    def one(*point_px: float) -> list[str]:
        return region(*point_px, image_hw=(4, 6), size_hw=(2, 3), threshold=0.62, cells="nearest")

    assert one(2.5, 2.5) == ["...", ".#."]
    # In the last pixel of that cell, sqrt(2) from the first: no cell is inside, not even the point's own.
    assert one(3.5, 3.5) == ["...", "..."]


def test_a_wider_gaussian() -> None:
    # Sigma 2: at two pixels exp(-4/8) = 0.6065, at one across and two down exp(-5/8) = 0.5353.
    inside = gaussian_region(torch.tensor([3.5, 2.5]), (5, 7), (5, 7), sigma_px=2.0, threshold=0.58)
    rows = ["".join(".#"[cell] for cell in row) for row in inside.view(5, 7).int().tolist()]
    assert rows == ["...#...", "..###..", ".#####.", "..###..", "...#..."]
