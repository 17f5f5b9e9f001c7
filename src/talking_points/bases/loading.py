"""A base read from a checkpoint folder, and written to one. Which base it is, stands in its config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from talking_points.bases.base import Base
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.network import PointNetwork


def load_base(folder: Path, **settings: Any) -> Base:
    """Read a folder: today always the paper's network. Settings and errors as `model.checkpoint.load_checkpoint`'s."""
    return load_checkpoint(folder, **settings)


def save_base(base: Base, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the whole folder, in `dtype` or, for None, in the types that the weights have in memory."""
    if not isinstance(base, PointNetwork):
        raise TypeError(f"{base.name} is a stock model, which has no checkpoint folder; save what was trained over it")
    save_checkpoint(base, folder, dtype=dtype)
