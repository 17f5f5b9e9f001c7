"""A base read from a checkpoint folder, given a role, and written. Which base it is, stands in its config.json.

Today it is always the paper's network; the errors are those of `model.checkpoint`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from talking_points.bases.base import Base
from talking_points.model import checkpoint
from talking_points.model.network import PointNetwork


def load_base(folder: Path, **settings: Any) -> Base:
    """Read a folder. Settings as `model.checkpoint.load_checkpoint` takes them."""
    return checkpoint.load_checkpoint(folder, **settings)


def load_outline(folder: Path) -> Base:
    """A base without roles and weights, on the meta device: of the folder configs and tokenizer are read."""
    # transformers takes seconds to import, here and below; who only asks a small model does without.
    from talking_points.model import hugging_face

    return hugging_face.load_outline(folder, checkpoint.read_config(folder))


def load_role(folder: Path, role: str, **settings: Any) -> Base:
    """A base with one role; a ValueError where the folder has no such role. Settings as `load_base` takes them."""
    return checkpoint.load_role(folder, role, **settings)


def load_joined(descriptor: Path, localizer: Path, **settings: Any) -> Base:
    """A base, loaded once, with two roles that were trained over it apart; `DifferentBases` where they were not.

    Settings as `load_base` takes them.
    """
    return checkpoint.load_joined(descriptor, localizer, **settings)


def save_base(base: Base, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the whole folder, in `dtype` or, for None, in the types that the weights have in memory."""
    checkpoint.save_checkpoint(_network(base), folder, dtype=dtype)


def attach_role(
    base: Base,
    role: str,
    *,
    rank: int,
    alpha: int,
    dropout: float,
    head: str | None = None,
    region: str | None = None,
    blind: bool = False,
    projector: bool = False,
) -> None:
    """Give a base an untrained role, which changes nothing yet; torch's generator draws its weights.

    Args:
        rank, alpha, dropout: of its LoRA adapter.
        head: the localizer's coordinate head; None: the base's.
        region: where a point's query looks from now on; None: as the base's config says.
        blind: the localizer sees one learned set of features in place of any photo.
        projector: the descriptor gets one of its own, as the localizer always does.

    Raises:
        ValueError: the base was loaded to answer only.
    """
    from talking_points.model import hugging_face

    network = _network(base)
    network.change(head=head, region=region, blind=blind)
    lora = hugging_face.lora_config(role, rank=rank, alpha=alpha, dropout=dropout)
    hugging_face.attach_role(network, role, lora, projector=projector)


def _network(base: Base) -> PointNetwork:
    if not isinstance(base, PointNetwork):
        raise TypeError(f"{base.name} is a stock model, which has no checkpoint folder; save what was trained over it")
    return base
