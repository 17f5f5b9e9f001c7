from __future__ import annotations

import pytest
import torch

from talking_points.model.localizer_head import likeliest_points


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
