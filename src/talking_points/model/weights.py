"""Copying weights into modules, exactly or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy `weights` into `model`. The two sets of names and shapes must be equal.

    Raises:
        ValueError: names every missing, unknown or misshaped tensor (the first dozen of many).
    """
    check_names_and_shapes(
        {name: tuple(t.shape) for name, t in model.state_dict().items()},
        {name: tuple(t.shape) for name, t in weights.items()},
        model_name=type(model).__name__,
        source=source,
    )
    model.load_state_dict(weights)


def check_names_and_shapes(
    own: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], *, model_name: str, source: str
) -> None:
    """Raise a ValueError naming what differs between two sets of tensors."""
    problems = [f"missing {name}" for name in own.keys() - given.keys()]
    problems += [f"unknown {name}" for name in given.keys() - own.keys()]
    problems += [
        f"misshaped {name}: file {given[name]}, model {own[name]}"
        for name in own.keys() & given.keys()
        if given[name] != own[name]
    ]
    if problems:
        shown = sorted(problems)[:12]
        more = f"; and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        raise ValueError(f"{source} does not fit {model_name}: " + "; ".join(shown) + more)
