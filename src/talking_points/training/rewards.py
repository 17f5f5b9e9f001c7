"""What a description earns: how near to its point frozen localizers come from it.

A reward is a plain function of found and true points, both in the photo's [0, 1]^2 (x / width, y / height), the frame
of PCK. A text that no localizer could read (it is empty, or holds a reserved token) was found nowhere: NaN.
"""

# N texts, J localizers

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Reward = Callable[[Tensor, Tensor], Tensor]
"""(N, 2) found and (N, 2) true points in the photo's [0, 1]^2 -> (N,)."""

MISS = 2**0.5
"""Distance of what was found nowhere: corner to corner, the farthest that an answer can be."""
PCK_STEPS = (0.1, 0.2)
"""Those of mPCK."""
TOKENS = (12, 128)
"""Tokens of a text that the length guard lets pass. Ours: the paper's texts have some 110."""
FLUENCY_FLOOR = -2.0
"""Mean log-probability of a token, in nats, by the reference, that the fluency guard lets pass. Ours: a text that the
reference itself would sample at temperature 1 has about minus its entropy, above -1 for mini."""


def negative_mse(found_N2: Tensor, true_N2: Tensor) -> Tensor:
    """The paper's reward (eq. 2): minus the mean of the two squared errors.

    Example:
        >>> negative_mse(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5, 0.3]]))
        tensor([-0.0200])
    """
    return -distances(found_N2, true_N2).square() / 2


def negative_distance(found_N2: Tensor, true_N2: Tensor) -> Tensor:
    """Minus the distance: near misses and far ones differ by as much as they do on the photo. Ours."""
    return -distances(found_N2, true_N2)


def pck_steps(found_N2: Tensor, true_N2: Tensor) -> Tensor:
    """What the text adds to mPCK: 1 below 0.1, 0.5 below 0.2, else 0. Ours."""
    distance_N = distances(found_N2, true_N2)
    return torch.stack([(distance_N < step).to(distance_N.dtype) for step in PCK_STEPS]).mean(0)


REWARDS: dict[str, Reward] = {"mse": negative_mse, "distance": negative_distance, "pck": pck_steps}
PANELS = ("mean", "worst")
GUARDS = ("none", "length", "fluency")


def distances(found_N2: Tensor, true_N2: Tensor) -> Tensor:
    """(N,) distances; `MISS` where nothing was found."""
    return (found_N2 - true_N2).norm(dim=-1).nan_to_num(nan=MISS)


def panel(rewards_JN: Tensor, how: str) -> Tensor:
    """One reward a text from those through several localizers. Ours: a text must not become code for one judge.

    Args:
        how: "mean" of the localizers, or "worst": that of the one who finds least from the text.
    """
    return rewards_JN.amin(0) if how == "worst" else rewards_JN.mean(0)


def length_penalty(tokens: Sequence[int]) -> Tensor:
    """(N,) 0 for a text of `TOKENS` tokens, below that minus the share that is missing, above minus that too much.

    Example:
        >>> length_penalty([3, 60, 160])
        tensor([-0.7500,  0.0000, -0.2500])
    """
    fewest, most = TOKENS
    count_N = torch.tensor(tokens, dtype=torch.float32)
    return (count_N / fewest - 1).clamp(max=0) + (1 - count_N / most).clamp(max=0)


def fluency_penalty(mean_logprob_N: Tensor) -> Tensor:
    """(N,) 0 for a text as likely as `FLUENCY_FLOOR` to the reference, else by how much it is less likely, in nats."""
    return (mean_logprob_N - FLUENCY_FLOOR).clamp(max=0)
