from __future__ import annotations

import math

import pytest
import torch

from talking_points.model.localizer_head import GRID, Heatmap, Mixture, chances, likeliest_points


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


def test_nearness_by_hand() -> None:
    """-1/2 sum of sureness times squared distance, over the cell's four places and its own in the square."""
    places = torch.rand(2, 4, 3, 5)
    wanted, sureness = torch.rand(2, 7, 6), torch.rand(2, 7, 6)
    found = Heatmap.nearness(places, wanted, sureness)
    assert found.shape == (2, 7, 3, 5)
    cell = torch.tensor([*places[1, :, 2, 3], 3.5 / 5, 2.5 / 3])
    by_hand = -0.5 * (sureness[1, 4] * (cell - wanted[1, 4]) ** 2).sum()
    assert found[1, 4, 2, 3] == pytest.approx(float(by_hand), abs=1e-5)


def test_a_sure_reader_points_at_the_place_in_the_part() -> None:
    """Two parts side by side; the mask says which, the text where in it."""
    x = (torch.arange(32) + 0.5) / 32
    in_part = torch.where(x < 0.5, 2 * x, 2 * x - 1).expand(32, 32)
    down = x[:, None].expand(32, 32)
    places = torch.stack([in_part, down, x.expand(32, 32), down])[None]
    mask = torch.where(x < 0.5, -20.0, 0.0).expand(1, 32, 32)
    wanted, sureness = torch.tensor([[[0.25, 0.75, 0, 0, 0, 0]]]), torch.tensor([[[500.0, 500, 0, 0, 0, 0]]])
    logits = mask + Heatmap.nearness(places, wanted, sureness)[0]
    assert likeliest_points(logits)[0].tolist() == pytest.approx((0.625, 0.75), abs=0.02)


def test_chances_of_two_peaks() -> None:
    logits = peaks((0.2, 0.5, 1.0), (0.8, 0.5, 3.0))
    answer = likeliest_points(logits)
    sure, other, of_other = chances(logits, answer, torch.tensor(1.0))
    assert float(sure) == pytest.approx(0.75, abs=0.01) and float(of_other) == pytest.approx(0.25, abs=0.01)
    assert other[0].tolist() == pytest.approx((0.2, 0.5), abs=0.02)
    # Hotter is less sure, and the answer stays.
    assert chances(logits, answer, torch.tensor(3.0))[0] < sure


@torch.no_grad()
def test_a_mixture_is_its_components() -> None:
    """Two components set by hand: the heavier one answers, the other is the second place."""
    mixture = Mixture(8)
    last = mixture.mlp[-1]
    last.weight.zero_()
    places = ((0.25, 0.5), (0.75, 0.5))
    for k in range(len(last.bias) // 5):
        x, y = places[min(k, 1)]
        share = (2.0, 1.0)[k] if k < 2 else -50.0
        last.bias[5 * k : 5 * k + 5] = torch.tensor([share, _logit(x), _logit(y), -1.0, -1.0])
    logits = mixture(torch.randn(3, 8))
    assert logits.shape == (3, GRID, GRID)
    density = logits.flatten(1).softmax(-1)
    left = density.unflatten(-1, (GRID, GRID))[:, :, : GRID // 2].sum((1, 2))
    assert left.tolist() == pytest.approx([math.e / (math.e + 1)] * 3, abs=1e-3)
    answers = likeliest_points(logits)
    torch.testing.assert_close(answers, torch.tensor([[0.25, 0.5]] * 3), atol=0.01, rtol=0)
    _, second, _ = chances(logits, answers, torch.ones(()))
    torch.testing.assert_close(second, torch.tensor([[0.75, 0.5]] * 3), atol=0.01, rtol=0)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
