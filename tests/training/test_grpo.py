from __future__ import annotations

import math

import pytest
import torch

from talking_points.training.grpo import (
    distances,
    distinct_share,
    group_advantages,
    kl_divergence,
    negative_distance,
    negative_mse,
    policy_loss,
    total_loss,
)

LOGPROBS = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, 99.0, 99.0]])
IS_TOKEN = torch.tensor([[True, True, True], [True, False, False]])


def test_advantages_by_hand() -> None:
    # Mean -0.3, deviations 0.2 0.1 -0.3, variance (0.04 + 0.01 + 0.09) / 2 = 0.07.
    rewards = torch.tensor([[-0.1, -0.2, -0.6]])
    torch.testing.assert_close(group_advantages(rewards), torch.tensor([[0.2, 0.1, -0.3]]) / math.sqrt(0.07))


def test_equal_rewards_teach_nothing() -> None:
    # 0.1 three times has a mean that is not quite 0.1 in fp32.
    for value in (0.1, 0.0, -0.37, -2.0):
        assert group_advantages(torch.full((2, 3), value)).tolist() == [[0.0] * 3] * 2


def test_advantages_are_clipped() -> None:
    # One of 64: (1 - 1/64) / std = (63/64) / (1/8) = 7.9.
    rewards = torch.zeros(1, 64)
    rewards[0, 0] = 1.0
    advantages = group_advantages(rewards)
    assert advantages[0, 0] == 5.0
    torch.testing.assert_close(advantages[0, 1], torch.tensor(-0.125))


def test_rewards_a_millionth_apart_are_one() -> None:
    # The standard deviation of (0, d) is d / sqrt(2): 0.99e-6 and 1.04e-6, where 1e-6 is the least.
    close, apart = torch.tensor([[0.0, 1.4e-6]]), torch.tensor([[0.0, 1.47e-6]])
    assert group_advantages(close).tolist() == [[0.0, 0.0]]
    torch.testing.assert_close(group_advantages(apart), torch.tensor([[-1.0, 1.0]]) / math.sqrt(2))
    # One of many, much worse: clipped below, too.
    assert group_advantages(-torch.eye(64)[:1])[0, 0] == -5.0


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_advantages_do_not_change_with_the_scale_and_place_of_rewards(scale: float) -> None:
    rewards = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        group_advantages(rewards * scale + 3 * scale), group_advantages(rewards), atol=1e-3, rtol=1e-3
    )


def test_policy_loss_by_hand() -> None:
    # Means of log-probabilities -2 and -4, whatever stands on the padding: -(1 * -2 + -1 * -4) / 2.
    assert policy_loss(LOGPROBS, IS_TOKEN, torch.tensor([1.0, -1.0])).item() == -1.0


def test_kl_by_hand() -> None:
    reference = torch.tensor([[-1.0, -1.0, -3.0], [-24.0, 0.0, 0.0]])
    # First text: log-ratios 0, 1, 0; k3 0, e - 2, 0. Second: -20, clamped to -5; k3 e^-5 + 4.
    wanted = ((math.e - 2) / 3 + math.exp(-5) + 4) / 2
    assert kl_divergence(LOGPROBS, reference, IS_TOKEN).item() == pytest.approx(wanted, rel=1e-6)
    assert kl_divergence(LOGPROBS, LOGPROBS, IS_TOKEN).item() == 0
    # The other way the exponential is bounded: e^5 - 5 - 1.
    assert kl_divergence(
        torch.tensor([[-90.0]]), torch.tensor([[-1.0]]), torch.tensor([[True]])
    ).item() == pytest.approx(math.exp(5) - 6, rel=1e-6)


def test_total_by_hand() -> None:
    assert total_loss(torch.tensor(-1.0), torch.tensor(2.0), 0.1).item() == pytest.approx(-0.8)


def test_gradients_are_those_of_the_formulas() -> None:
    """Against autograd through equations 3 to 6, text by text and token by token."""
    generator = torch.Generator().manual_seed(0)
    lengths = [4, 1, 3, 2, 4, 4]
    is_token = torch.arange(4) < torch.tensor(lengths)[:, None]
    logits = torch.randn(6, 4, generator=generator, requires_grad=True)
    reference = torch.randn(6, 4, generator=generator) * 3 - 3
    rewards = torch.randn(2, 3, generator=generator)

    def ours() -> torch.Tensor:
        logprobs = -torch.nn.functional.softplus(logits)
        advantages = group_advantages(rewards).flatten()
        return total_loss(
            policy_loss(logprobs, is_token, advantages), kl_divergence(logprobs, reference, is_token), 0.1
        )

    def plain() -> torch.Tensor:
        policy, kl = torch.zeros(()), torch.zeros(())
        for i, length in enumerate(lengths):
            group = rewards[i // 3]
            advantage = (rewards.flatten()[i] - group.mean()) / group.std()
            logprob = [-torch.log(1 + torch.exp(logits[i, t])) for t in range(length)]
            policy = policy - advantage * sum(logprob) / length / 6
            for t in range(length):
                r = torch.clamp(reference[i, t] - logprob[t], -5, 5)
                kl = kl + (torch.exp(r) - r - 1) / length / 6
        return policy + 0.1 * kl

    torch.testing.assert_close(ours(), plain())
    torch.testing.assert_close(torch.autograd.grad(ours(), logits), torch.autograd.grad(plain(), logits))


def test_distinct_runs_of_words_by_hand() -> None:
    assert distinct_share(["a b a b", "a b"], 1) == pytest.approx(2 / 6)
    assert distinct_share(["a b a b", "a b"], 2) == pytest.approx(2 / 4)  # ab ba ab, ab
    assert distinct_share(["", "word"], 2) == 0.0
    assert distinct_share(["one word"], 2) == 1.0


def test_rewards_by_hand() -> None:
    places = torch.tensor([[0.5, 0.5], [0.53, 0.54], [0.6, 0.5], [0.5, 0.66], [1.0, 0.5]])
    away = distances(places, torch.tensor([[0.5, 0.5]]).expand(5, 2))
    # Distances 0, 0.05, 0.1, 0.16, 0.5; the mean of the two squared errors is half the distance squared.
    torch.testing.assert_close(negative_mse(away), torch.tensor([0, -0.00125, -0.005, -0.0128, -0.125]))
    torch.testing.assert_close(negative_distance(away), torch.tensor([0, -0.05, -0.1, -0.16, -0.5]))


def test_found_nowhere_is_corner_to_corner() -> None:
    away = distances(torch.tensor([[math.nan, math.nan], [math.nan, 0.5]]), torch.zeros(2, 2))
    torch.testing.assert_close(away, torch.tensor([1.414214, 1.414214]))
    torch.testing.assert_close(negative_mse(away), torch.tensor([-1.0, -1.0]))
