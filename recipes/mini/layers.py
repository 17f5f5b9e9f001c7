"""Two small layers learned of numbers that a frozen network gave."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH, DECAY = 256, 0.05
LARGEST = 5.0
"""Standardised numbers are cut there while the layers learn: few are far out."""


def learn_layers(
    layers: nn.Sequential,
    read_NF: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    rate: float,
    dropout: float,
) -> None:
    """Teach a linear layer, a GELU and another linear layer.

    Args:
        read_NF: what they read of N things. It is standardised while they learn; they read it as it is afterwards.
        loss: of what they say of some of the things, and of the indices of these.
    """
    first, second = layers[0], layers[2]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    mean, spread = read_NF.mean(0), read_NF.std(0) + 1e-3
    read_NF = ((read_NF - mean) / spread).clamp(-LARGEST, LARGEST)
    steps = epochs * len(read_NF) // BATCH
    optimizer = torch.optim.AdamW(layers.parameters(), lr=rate, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        some = torch.randint(len(read_NF), (BATCH,))
        hidden = F.dropout(F.gelu(first(F.dropout(read_NF[some], dropout))), dropout)
        optimizer.zero_grad()
        loss(second(hidden), some).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        first.bias -= first.weight @ (mean / spread)
        first.weight /= spread
