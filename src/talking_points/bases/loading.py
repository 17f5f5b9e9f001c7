"""A base read from a checkpoint folder, given a role, and written. Which base it is, stands in its config.json.

It is the paper's network (`model.checkpoint`), or a stock model with or without roles of ours (`adapted.checkpoint`).
What stands on transformers is imported where it is needed: it takes seconds, and a small model does without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from talking_points.bases.base import Base
from talking_points.files import read_json
from talking_points.model import checkpoint
from talking_points.model.checkpoint import DifferentBases
from talking_points.model.network import PointNetwork


def is_stock(folder: Path) -> bool:
    """Whether a folder holds roles over a stock model, or a stock model itself; else the paper's network."""
    config = read_json(folder / "config.json")
    return "base" in config or "format_version" not in config


def load_base(folder: Path, *, side: int | None = None, **settings: Any) -> Base:
    """Read a folder.

    Args:
        side: of the square in which a stock model sees photos, in pixels; None: the folder's own, or 1024.
        settings: as `model.checkpoint.load_checkpoint` takes them.
    """
    if is_stock(folder):
        from talking_points.bases.adapted import checkpoint as adapted

        return adapted.load_network(folder, side=side, **settings)
    network = checkpoint.load_checkpoint(folder, **settings)
    _check_side(network, side)
    return network


def load_outline(folder: Path, *, side: int | None = None) -> Base:
    """A base without roles and weights, on the meta device: of the folder configs and tokenizer are read.

    side: as `load_base` takes it.
    """
    if is_stock(folder):
        from talking_points.bases.adapted import checkpoint as adapted

        return adapted.load_outline(folder, side=side)
    from talking_points.model import hugging_face

    network = hugging_face.load_outline(folder, checkpoint.read_config(folder))
    _check_side(network, side)
    return network


def load_role(folder: Path, role: str, **settings: Any) -> Base:
    """A base with one role; a ValueError where the folder has no such role. Settings as `load_base` takes them."""
    checkpoint.check_role(folder, role)
    return load_base(folder, roles=(role,), **settings)


def load_joined(descriptor: Path, localizer: Path, **settings: Any) -> Base:
    """A base, loaded once, with two roles that were trained over it apart; `DifferentBases` where they were not.

    Settings as `load_base` takes them.
    """
    if (stock := is_stock(descriptor)) != is_stock(localizer):
        raise DifferentBases(f"{descriptor} and {localizer} stand on different bases: one of them is a stock model")
    if stock:
        from talking_points.bases.adapted import checkpoint as adapted

        return adapted.load_joined(descriptor, localizer, **settings)
    return checkpoint.load_joined(descriptor, localizer, **settings)


def save_base(base: Base, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the whole folder, in `dtype` or, for None, in the types that the weights have in memory."""
    if isinstance(base, PointNetwork):
        checkpoint.save_checkpoint(base, folder, dtype=dtype)
        return
    from talking_points.bases.adapted import checkpoint as adapted

    adapted.save_network(adapted.network_of(base), folder, dtype=dtype)


def holds_base(base: Base) -> bool:
    """Whether `save_base` writes the base's own weights, too; of a stock model it writes the name."""
    return isinstance(base, PointNetwork)


def check_shareable(folder: Path) -> None:
    """A ValueError where a checkpoint stands on a folder of this machine, which nobody else has."""
    base = read_json(folder / "config.json").get("base")
    if isinstance(base, dict) and Path(str(base.get("model"))).is_absolute():
        raise ValueError(
            f"the checkpoint stands on {base['model']}, which is on this machine alone; save it, and write the base's "
            "Hub id as base.model into its config.json before you upload it"
        )


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
        ValueError: the base was loaded to answer only, or has no choice of region or no projector.
    """
    if isinstance(base, PointNetwork):
        from talking_points.model import hugging_face

        base.change(head=head, region=region, blind=blind)
        lora = hugging_face.lora_config(role, rank=rank, alpha=alpha, dropout=dropout)
        hugging_face.attach_role(base, role, lora, projector=projector)
        return
    from talking_points.bases.adapted import checkpoint as adapted

    network = adapted.network_of(base)
    if region not in (None, "gaussian"):
        raise ValueError(f"region is {region!r}; allowed over {base.name}: 'gaussian', in which its grid is pooled")
    if projector:
        raise ValueError(f"{base.name} has no projector to train: leave out --train-projector")
    network.change(head=head, blind=blind)
    adapted.attach_role(network, role, adapted.lora_config(rank=rank, alpha=alpha, dropout=dropout))


def _check_side(network: PointNetwork, side: int | None) -> None:
    if side not in (None, network.side):
        raise ValueError(f"side is {side}; {network.name} sees squares of {network.side} px, leave it out")
