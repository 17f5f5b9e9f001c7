"""Reading weights and copying them into modules, exactly or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy `weights` into `model`. The two sets of names and shapes must be equal.

    Raises:
        ValueError: names every missing, unknown or misshaped tensor (the first dozen of many).
    """
    check_names_and_shapes(
        shapes_of(model.state_dict()),
        shapes_of(weights),
        model_name=type(model).__name__,
        source=source,
    )
    model.load_state_dict(weights)


def check_names_and_shapes(
    own: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], *, model_name: str, source: str
) -> None:
    """Raise a ValueError naming what differs between two sets of tensors."""
    kinds = (
        [f"missing {name}" for name in own.keys() - given.keys()],
        [f"unknown {name}" for name in given.keys() - own.keys()],
        [
            f"misshaped {name}: file {given[name]}, model {own[name]}"
            for name in own.keys() & given.keys()
            if given[name] != own[name]
        ],
    )
    # Of each kind some, so that many of one do not hide the others.
    ranked = sorted((n, problem) for kind in kinds for n, problem in enumerate(sorted(kind)))
    if ranked:
        shown = sorted(problem for _, problem in ranked[:12])
        more = f"; and {len(ranked) - len(shown)} more" if len(ranked) > len(shown) else ""
        raise ValueError(f"{source} does not fit {model_name}: " + "; ".join(shown) + more)


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in weights.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; a broken file is a ValueError naming it."""
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """`shapes_of` the tensors of a safetensors file, which are not read. Errors as `read_tensors`."""
    with _open(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def first_difference(
    mine: Iterable[Path],
    theirs: Iterable[Path],
    *,
    passing: str | tuple[str, ...] = "\0",
    dtype: torch.dtype = torch.float32,
) -> str | None:
    """Name of a tensor that two sets of safetensors files do not have equal; None: there is none.

    Values count, not types or which file holds what. One tensor at a time is in memory. Errors as `read_tensors`.

    Args:
        passing: names that begin so are passed over.
        dtype: in which the values are compared.
    """
    with ExitStack() as stack:
        one, other = (_files_of_names(stack, paths, passing) for paths in (mine, theirs))
        alone = sorted(one.keys() ^ other.keys())
        if alone:
            return alone[0]
        for name, file in one.items():
            a, b = file.get_tensor(name), other[name].get_tensor(name)
            if not torch.equal(a.to(dtype), b.to(dtype)):
                return name
    return None


def _files_of_names(stack: ExitStack, paths: Iterable[Path], passing: str | tuple[str, ...]) -> dict[str, Any]:
    files = [stack.enter_context(_open(path)) for path in paths]
    return {name: file for file in files for name in file.keys() if not name.startswith(passing)}  # noqa: SIM118


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is broken: {error}; get it again") from None


def save_tensors(tensors: dict[str, Tensor], path: Path, dtype: torch.dtype | None) -> None:
    state = {
        n: (t.detach().to(dtype or t.dtype) if t.is_floating_point() else t.detach()).contiguous()
        for n, t in tensors.items()
    }
    save_file(state, path, metadata={"format": "pt"})


def fingerprint(weights: Iterable[Tensor]) -> str:
    """Of weights in an order: other ones have another."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in weights:
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
