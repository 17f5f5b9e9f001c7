from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from talking_points.model.config import REGIONS
from talking_points.model.image_perception import _masks_on_grid
from talking_points.model.keypoint_prompt import gaussian_region
from talking_points.model.segmenter import Segmenter, fold_pixels
from tests.tiny import tiny_network, tiny_vision


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny_network(roles=()).segmenter


@torch.no_grad()
def test_a_batch_of_photos_is_the_photos_one_by_one(segmenter: Segmenter) -> None:
    pixels = torch.randn(3, 3, 64, 64)
    together = segmenter(pixels)
    for b in range(3):
        alone = segmenter(pixels[b : b + 1])
        torch.testing.assert_close(together.image_tokens_BNC[b], alone.image_tokens_BNC[0], atol=1e-5, rtol=1e-4)
        assert torch.equal(together.wins_BQN[b], alone.wins_BQN[0])


@torch.no_grad()
@pytest.mark.parametrize("region", REGIONS)
def test_points_together_are_points_alone(segmenter: Segmenter, region: str) -> None:
    features = segmenter(torch.randn(2, 3, 64, 64))
    points = torch.rand(2, 5, 2)
    together = segmenter.encode_points(features, points, region=region)
    for p in range(5):
        alone = segmenter.encode_points(features, points[:, p : p + 1], region=region)
        torch.testing.assert_close(together[:, p : p + 1], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_encoding_leaves_nothing_behind(segmenter: Segmenter) -> None:
    """Another photo in between does not change the answer about the first."""
    first = segmenter(torch.randn(1, 3, 64, 64))
    points = torch.tensor([[[0.3, 0.6]]])
    before = segmenter.encode_points(first, points)
    segmenter(torch.randn(1, 3, 64, 64))
    assert torch.equal(segmenter.encode_points(first, points), before)


@torch.no_grad()
def test_each_region_gives_numbers_of_its_own_and_the_config_names_it() -> None:
    segmenter = tiny_network(roles=()).segmenter
    points = torch.tensor([[[0.4, 0.6]]])
    # A bright bar in one direction: structure to follow, and looks that differ.
    pixels = 0.1 * torch.randn(1, 3, 64, 64)
    pixels[:, :, 32:44] += 2.0
    features, numbers = segmenter(pixels), []
    for region in REGIONS:
        segmenter.config = tiny_vision(region=region, gaussian_sigma_px=16.0)
        numbers.append(segmenter.encode_points(features, points))
        assert torch.equal(segmenter.encode_points(features, points, region=region), numbers[-1])
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(numbers, 2))


@torch.no_grad()
def test_gaussian_prompt_does_not_see_far_pixels() -> None:
    """Inside the region only: what stands far away reaches the point through the encoder, not the prompt."""
    segmenter = tiny_network(roles=()).segmenter
    features = segmenter(torch.randn(1, 3, 64, 64))
    near = torch.tensor([[[0.2, 0.2]]])
    before = segmenter.encode_points(features, near)
    for level, (h, w) in enumerate(features.decoder_inputs.sizes_hw):
        inside = gaussian_region(near * 64, (64, 64), (h, w), sigma_px=8.0, threshold=0.5)[0, 0]
        features.decoder_inputs.cells[level][0, ~inside] = 9.0
    torch.testing.assert_close(segmenter.encode_points(features, near), before)


def test_gaussian_region_by_hand() -> None:
    # sigma 2, threshold exp(-1/2): radius 2 around (4, 4); pixel centres at +0.5. A corner pixel's centre (2.5, 2.5)
    # is 2.12 away: outside; its neighbour (3.5, 2.5) is 1.58 away: inside.
    region = gaussian_region(torch.tensor([4.0, 4.0]), (8, 8), (8, 8), sigma_px=2.0, threshold=0.6065)
    rows = region.view(8, 8).int().tolist()
    assert rows[2] == [0, 0, 0, 1, 1, 0, 0, 0]
    assert rows[3] == [0, 0, 1, 1, 1, 1, 0, 0]
    assert sum(map(sum, rows)) == 12


@pytest.mark.parametrize(("image_hw", "size_hw"), [((128, 96), (16, 12)), ((64, 64), (2, 2)), ((96, 64), (96, 64))])
def test_nearest_cells_of_the_region_are_the_full_one_resized(
    image_hw: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    points = torch.tensor([[40.2, 33.7], [0.0, 0.0], [63.9, 63.9]])
    full = gaussian_region(points, image_hw, image_hw, sigma_px=11.0, threshold=0.5).view(3, 1, *image_hw)
    resized = F.interpolate(full.float(), size_hw, mode="nearest").flatten(1).bool()
    region = gaussian_region(points, image_hw, size_hw, sigma_px=11.0, threshold=0.5, cells="nearest")
    assert torch.equal(region, resized)


@torch.no_grad()
def test_cells_of_the_region_are_as_the_config_says() -> None:
    points, pixels, seen = torch.tensor([[[0.3, 0.3]]]), torch.randn(1, 3, 64, 64), []
    for cells in ("centre", "nearest"):
        segmenter = tiny_network(roles=()).segmenter
        segmenter.config = tiny_vision(region_cells=cells)
        seen.append(segmenter.encode_points(segmenter(pixels), points))
    assert not torch.allclose(*seen)


@pytest.mark.parametrize("grid_hw", [(2, 2), (4, 3), (5, 7)])
def test_masks_on_grid_is_two_bilinear_resizes(grid_hw: tuple[int, int]) -> None:
    logits = torch.randn(2, 5, 24, 16)
    full = F.interpolate(logits, (96, 64), mode="bilinear", align_corners=False).sigmoid()
    wanted = F.interpolate(full, grid_hw, mode="bilinear", align_corners=False)
    torch.testing.assert_close(_masks_on_grid(logits, (96, 64), grid_hw), wanted, atol=1e-6, rtol=1e-5)


def test_fold_pixels_by_hand() -> None:
    x = torch.arange(8.0).view(1, 2, 2, 2)  # channel 0: 0 1 / 2 3, channel 1: 4 5 / 6 7
    assert fold_pixels(x, 2).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
