"""The terms of localization as reward (paper 3.4): small pure functions, and their settings."""

# P points, G texts of each, N = P * G texts, T tokens of the longest text

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from talking_points.training.rewards import GUARDS, PANELS, REWARDS

SMALLEST_STD = 1e-6
"""Rewards of a group closer together than this are one reward. Ours."""
ADVANTAGE_CLIP = 5.0
"""Ours: the paper clips and does not say where. A group of three cannot reach it."""
LOG_RATIO_CLAMP = 5.0
"""|log ref - log policy| is clamped to this, in nats, before exp(). Paper 3.4."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GRPOConfig:
    """Settings of the descriptor's reinforcement. Values are the paper's unless marked ours."""

    group_size: int = 3
    """Texts sampled for one point; advantages are taken within this group. Paper A.3."""
    kl_weight: float = 0.1
    """Of the divergence from the descriptor as it was. Paper A.3, beta."""
    blocks: int = 2
    """Last blocks of the language model whose LoRA weights learn. Paper 3.4."""
    reward: str = "mse"
    """A key of `rewards.REWARDS`; "mse" is the paper's."""
    panel: str = "mean"
    """One of `rewards.PANELS`: what several localizers make of a text together. Ours."""
    guard: str = "none"
    """One of `rewards.GUARDS`, against texts that are code. Ours."""
    guard_weight: float = 0.1
    """What the guard's penalty counts beside the reward. Ours."""
    temperature: float = 1.0
    """Of the samples. Ours: the paper does not say."""
    top_p: float = 1.0
    """As `Sampling.top_p`. Ours."""
    divide_by_std: bool = True
    """Paper eq. 3; without it a group counts by how far its rewards lie apart. Ours (Dr. GRPO)."""
    max_kl: float = 1.0
    """Nats a token; a step whose mean is above stops the training. Ours."""
    max_broken: float = 0.5
    """A step with a larger share of empty or cut-off texts stops the training. Ours."""
    min_distinct: float = 0.2
    """A step with a smaller share of different texts among its points' stops the training. Ours."""

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ValueError(
                f"group_size is {self.group_size}; allowed: 2 or more, as a text is judged beside others of its point"
            )
        if self.blocks < 1:
            raise ValueError(f"blocks is {self.blocks}; allowed: at least 1")
        for name, known in (("reward", tuple(REWARDS)), ("panel", PANELS), ("guard", GUARDS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {', '.join(known)}")
        if not 0 < self.temperature <= 10:
            raise ValueError(
                f"temperature is {self.temperature}; allowed: above 0, since greedy texts are all the same, to 10"
            )
        for name in ("kl_weight", "guard_weight", "max_kl"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 0 or a positive number")
        for name in ("max_broken", "min_distinct"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 0 to 1")

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items())


def group_advantages(rewards_PG: Tensor, *, divide_by_std: bool = True) -> Tensor:
    """How much better than the others of its point each text is (paper eq. 3), clipped to +-`ADVANTAGE_CLIP`.

    The standard deviation is the samples' own (of G - 1 degrees of freedom; the paper does not say which). A group of
    equal rewards has nothing to learn from: zeros.

    Example:
        >>> group_advantages(torch.tensor([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]]))
        tensor([[-1.,  0.,  1.],
                [ 0.,  0.,  0.]])
    """
    centred_PG = rewards_PG - rewards_PG.mean(-1, keepdim=True)
    std_P1 = rewards_PG.std(-1, keepdim=True)
    scaled_PG = centred_PG / std_P1.clamp(min=SMALLEST_STD) if divide_by_std else centred_PG
    return torch.where(std_P1 < SMALLEST_STD, 0.0, scaled_PG).clamp(-ADVANTAGE_CLIP, ADVANTAGE_CLIP)


def sequence_means(values_NT: Tensor, is_token_NT: Tensor) -> Tensor:
    """(N,) mean over each text's own tokens."""
    return torch.where(is_token_NT, values_NT, 0.0).sum(-1) / is_token_NT.sum(-1)


def policy_loss(logprobs_NT: Tensor, is_token_NT: Tensor, advantages_N: Tensor) -> Tensor:
    """Eq. 4: minus the mean over texts of advantage times the mean log-probability of a token. No importance ratio.

    Args:
        logprobs_NT: log-probabilities of the sampled tokens, the end token among them.
        is_token_NT: False on padding; every text has a token.
        advantages_N: without gradient.
    """
    return -(advantages_N * sequence_means(logprobs_NT, is_token_NT)).mean()


def kl_divergence(logprobs_NT: Tensor, reference_NT: Tensor, is_token_NT: Tensor) -> Tensor:
    """Eq. 5: Schulman's k3 estimate, mean over a text's tokens, then over texts; in nats a token.

    Args:
        logprobs_NT, reference_NT: the sampled tokens' log-probabilities, by the policy and as it was at first.
    """
    log_ratio_NT = (reference_NT - logprobs_NT).clamp(-LOG_RATIO_CLAMP, LOG_RATIO_CLAMP)
    return sequence_means(log_ratio_NT.exp() - log_ratio_NT - 1, is_token_NT).mean()


def total_loss(policy: Tensor, kl: Tensor, kl_weight: float) -> Tensor:
    """Eq. 6."""
    return policy + kl_weight * kl


def distinct_share(texts: list[str], n: int) -> float:
    """Distinct-n: the share of different runs of n words among all of the texts; 0 when there is none.

    Example:
        >>> distinct_share(["the left shoe", "the left sleeve"], 2)  # "the left" comes twice
        0.75
    """
    runs = [tuple(words[k : k + n]) for words in map(str.split, texts) for k in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def stop_reason(config: GRPOConfig, *, kl: float, broken: float, distinct: float) -> str | None:
    """Why a training must not go on after this step; None: it may.

    Args:
        kl: mean of the step's texts, in nats a token.
        broken: share of empty or cut-off texts.
        distinct: share of different texts among one text of each point.
    """
    if kl > config.max_kl:
        return f"KL is {kl:.3f} nats a token, above {config.max_kl:g}"
    if broken > config.max_broken:
        return f"{broken:.0%} of the texts are empty or cut off, more than {config.max_broken:.0%}"
    if distinct < config.min_distinct:
        return f"only {distinct:.0%} of the points have a text of their own, less than {config.min_distinct:.0%}"
    return None
