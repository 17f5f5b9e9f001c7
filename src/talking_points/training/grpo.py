"""The terms of localization as reward (paper 3.4): small pure functions.

A reward is of found and true points, both in the photo's [0, 1]^2 (x / width, y / height), the frame of PCK. A text
that no localizer could read (it is empty, or holds a reserved token) was found nowhere: NaN.
"""

# P points, G texts of each, N = P * G texts, T tokens of the longest text

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_STD = 1e-6
"""Rewards of a group closer together than this are one reward. Ours."""
ADVANTAGE_CLIP = 5.0
"""Ours: the paper clips and does not say where. A group of three cannot reach it."""
LOG_RATIO_CLAMP = 5.0
"""|log ref - log policy| is clamped to this, in nats, before exp(). Paper 3.4."""
MISS = 2**0.5
"""Distance of what was found nowhere: corner to corner, the farthest that an answer can be."""


def distances(found_N2: Tensor, true_N2: Tensor) -> Tensor:
    """(N,) distances; `MISS` where nothing was found."""
    return (found_N2 - true_N2).norm(dim=-1).nan_to_num(nan=MISS)


def negative_mse(distance_N: Tensor) -> Tensor:
    """The paper's reward (eq. 2): minus the mean of the two squared errors.

    Example:
        >>> negative_mse(torch.tensor([0.2]))
        tensor([-0.0200])
    """
    return -distance_N.square() / 2


def negative_distance(distance_N: Tensor) -> Tensor:
    """Minus the distance: near misses and far ones differ by as much as they do on the photo. Ours."""
    return -distance_N


REWARDS = {"mse": negative_mse, "distance": negative_distance}


def group_advantages(rewards_PG: Tensor) -> Tensor:
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
    scaled_PG = centred_PG / std_P1.clamp(min=SMALLEST_STD)
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
