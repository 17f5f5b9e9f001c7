"""Files of weights larger than memory: all shapes at once, tensors one by one, a shard at a time written.

A mapped page counts as resident memory until its file is unmapped, so a file is opened anew for every read
and let go with the tensors.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from talking_points.files import read_json
from talking_points.model.weights import read_shapes, shapes_of


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFile:
    """Published weights on disk: one file, or the shards of a folder."""

    source: str
    """The path, for errors."""
    shapes: dict[str, tuple[int, ...]]
    """Of every tensor, by name."""
    file_of: dict[str, Path]
    """Where each tensor is."""

    def read(self, *names: str) -> list[Tensor]:
        """The tensors, mapped from the file where it can be."""
        if len({self.file_of[name] for name in names}) == 1:
            return _tensors(self.file_of[names[0]], names)
        return [tensor for name in names for tensor in _tensors(self.file_of[name], (name,))]

    def read_all(self, prefix: str = "") -> dict[str, Tensor]:
        """Every tensor whose name starts with `prefix`."""
        names = [name for name in self.shapes if name.startswith(prefix)]
        return dict(zip(names, self.read(*names), strict=True))


def open_weights(path: Path) -> WeightFile:
    """A .safetensors file or, under any other name, a pickle of tensors by name or with them under "state_dict".

    Raises:
        FileNotFoundError, ValueError: it is absent, broken, or holds other things than tensors.
    """
    shapes = read_shapes(path) if path.suffix == ".safetensors" else shapes_of(_unpickle_tensors(path))
    return WeightFile(source=str(path), shapes=shapes, file_of=dict.fromkeys(shapes, path))


def open_folder(folder: Path) -> WeightFile:
    """A transformers folder: `model.safetensors`, or several files and their index, which must agree."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        if not (folder / "model.safetensors").is_file():
            raise FileNotFoundError(f"{folder} has no model.safetensors and no model.safetensors.index.json")
        return open_weights(folder / "model.safetensors")
    indexed = read_json(index).get("weight_map")
    if not isinstance(indexed, dict):
        raise ValueError(f"{index} has no weight_map, which says what is in which file")
    file_of = {name: folder / file_name for name, file_name in indexed.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(set(file_of.values())):
        found = open_weights(path).shapes
        problems = [f"missing {name}" for name, where in file_of.items() if where == path and name not in found]
        problems += [f"unknown {name}" for name in found if file_of.get(name) != path]
        if problems:
            raise ValueError(f"{path} does not fit {index.name}: {'; '.join(sorted(problems))}")
        shapes |= found
    return WeightFile(source=str(folder), shapes=shapes, file_of=file_of)


def read_one_tensor(path: Path) -> Tensor:
    """The tensor that a .pth consists of."""
    loaded = _unpickle(path)
    if not isinstance(loaded, Tensor):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, expected one tensor")
    return loaded


def write_shards(folder: Path, shards: Iterable[Mapping[str, Tensor]], count: int) -> None:
    """Write `count` shards and their index in transformers' form, holding one shard in memory."""
    file_of: dict[str, str] = {}
    total = 0
    for shard in shards:  # without enumerate, which would keep a shard while the next one is made
        file_name = f"model-{len(set(file_of.values())) + 1:05d}-of-{count:05d}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in shard.items()}, folder / file_name, {"format": "pt"})
        file_of |= dict.fromkeys(shard, file_name)
        total += sum(tensor.nbytes for tensor in shard.values())
        del shard
    index = {"metadata": {"total_size": total}, "weight_map": file_of}
    write_json(folder / "model.safetensors.index.json", index)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tensors(path: Path, names: Iterable[str]) -> list[Tensor]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return [file.get_tensor(name) for name in names]
    loaded = _unpickle_tensors(path)
    return [loaded[name] for name in names]


def _unpickle_tensors(path: Path) -> Mapping[str, Tensor]:
    loaded = _unpickle(path)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, expected tensors by name")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path}: {name!r} is a {type(value).__name__}, expected a tensor")
    return loaded


def _unpickle(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} is not a file of plain tensors that torch.save wrote: {reason}") from None
