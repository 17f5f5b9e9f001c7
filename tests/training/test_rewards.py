from __future__ import annotations

import math

import pytest
import torch

from talking_points.training.rewards import (
    MISS,
    REWARDS,
    distances,
    fluency_penalty,
    length_penalty,
    negative_distance,
    negative_mse,
    panel,
    pck_steps,
)

TRUE = torch.tensor([[0.5, 0.5]])


def found(*points: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(points)


def test_rewards_by_hand() -> None:
    places = found((0.5, 0.5), (0.53, 0.54), (0.6, 0.5), (0.5, 0.66), (1.0, 0.5))
    true = TRUE.expand(5, 2)
    # Distances 0, 0.05, 0.1, 0.16, 0.5; the mean of the two squared errors is half the distance squared.
    torch.testing.assert_close(negative_mse(places, true), torch.tensor([0, -0.00125, -0.005, -0.0128, -0.125]))
    torch.testing.assert_close(negative_distance(places, true), torch.tensor([0, -0.05, -0.1, -0.16, -0.5]))
    assert pck_steps(found((0.5, 0.5), (0.55, 0.5), (0.65, 0.5), (0.9, 0.5)), TRUE.expand(4, 2)).tolist() == [
        1.0,
        1.0,
        0.5,
        0.0,
    ]


def test_a_tie_at_the_threshold_is_a_miss() -> None:
    # As PCK has it: 0.1 away is found within 0.2 alone, 0.2 away within neither.
    assert pck_steps(found((0.1, 0.0), (0.0, 0.2), (0.0, 0.15)), torch.zeros(3, 2)).tolist() == [0.5, 0.0, 0.5]
    assert pck_steps(found((0.105, 0.0), (0.0, 0.21)), torch.zeros(2, 2)).tolist() == [0.5, 0.0]


def test_found_nowhere_is_corner_to_corner() -> None:
    nowhere = found((math.nan, math.nan), (math.nan, 0.5))
    torch.testing.assert_close(distances(nowhere, torch.zeros(2, 2)), torch.tensor([1.414214, 1.414214]))
    torch.testing.assert_close(negative_mse(nowhere, torch.zeros(2, 2)), torch.tensor([-1.0, -1.0]))


@pytest.mark.parametrize("name", REWARDS)
def test_what_is_found_nowhere_is_the_worst(name: str) -> None:
    nowhere, corner = found((math.nan, math.nan)), found((1.0, 1.0))
    reward = REWARDS[name]
    assert torch.isfinite(reward(nowhere, TRUE)).all()
    assert reward(nowhere, TRUE) <= reward(corner, TRUE)
    torch.testing.assert_close(negative_distance(nowhere, TRUE), torch.tensor([-MISS]))


def test_a_panel_by_hand() -> None:
    rewards = torch.tensor([[0.0, -1.0], [-0.5, -0.2]])
    torch.testing.assert_close(panel(rewards, "mean"), torch.tensor([-0.25, -0.6]))
    torch.testing.assert_close(panel(rewards, "worst"), torch.tensor([-0.5, -1.0]))


def test_guards_by_hand() -> None:
    assert length_penalty([0, 6, 12, 128, 192]).tolist() == [-1.0, -0.5, 0.0, 0.0, -0.5]
    torch.testing.assert_close(fluency_penalty(torch.tensor([-0.5, -2.0, -3.5])), torch.tensor([0.0, 0.0, -1.5]))
