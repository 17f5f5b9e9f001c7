from __future__ import annotations

import pytest
import torch

from talking_points.model.heatmaps import cell_centres, chances, likeliest_points, squared_distances


def peaks(*places: tuple[float, float, float], size: int = 64) -> torch.Tensor:
    """Log-probabilities with narrow peaks (x, y, weight)."""
    grid = (torch.arange(size) + 0.5) / size
    prob = sum(
        weight * torch.exp(-((grid - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * 0.02**2)) for x, y, weight in places
    )
    return (prob + 1e-9).log()[None]


@pytest.mark.parametrize("place", [(0.3, 0.7), (0.02, 0.5), (0.98, 0.98)])
@pytest.mark.parametrize("size", [64, 256])
def test_one_peak_is_found(place: tuple[float, float], size: int) -> None:
    found = likeliest_points(peaks((*place, 1.0), size=size))[0].tolist()
    assert found == pytest.approx(place, abs=0.02)


def test_of_two_peaks_the_heavier_and_never_between() -> None:
    logits = peaks((0.2, 0.5, 1.0), (0.8, 0.5, 1.5))
    assert likeliest_points(logits)[0].tolist() == pytest.approx((0.8, 0.5), abs=0.01)


def test_many_near_beat_one_apart() -> None:
    """Two peaks that one answer catches, against a higher one alone."""
    logits = peaks((0.2, 0.2, 1.0), (0.75, 0.7, 0.7), (0.8, 0.75, 0.7))
    found = likeliest_points(logits)[0]
    assert (found - torch.tensor([0.775, 0.725])).norm() < 0.05


def test_chances_of_two_peaks() -> None:
    logits = peaks((0.2, 0.5, 1.0), (0.8, 0.5, 3.0))
    answer = likeliest_points(logits)
    sure, other, of_other = chances(logits, answer, torch.tensor(1.0))
    assert float(sure) == pytest.approx(0.75, abs=0.01) and float(of_other) == pytest.approx(0.25, abs=0.01)
    assert other[0].tolist() == pytest.approx((0.2, 0.5), abs=0.02)
    # Hotter is less sure, and the answer stays.
    assert chances(logits, answer, torch.tensor(3.0))[0] < sure


def test_cells_tile_the_square() -> None:
    cells = torch.zeros(2, 4)
    x, y = cell_centres(cells)
    assert x.tolist() == [0.125, 0.375, 0.625, 0.875] and y.tolist() == [0.25, 0.75]
    [[upper, lower]] = squared_distances(cells, torch.tensor([[0.125, 0.75]])).tolist()
    assert upper == [0.25, 0.3125, 0.5, 0.8125] and lower == [0, 0.0625, 0.25, 0.5625]
