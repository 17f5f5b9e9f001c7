"""Files of weights larger than memory: all shapes at once, tensors one by one, shards as they fill.

A mapped page counts as resident memory until its file is unmapped, so a file is opened anew for every read
and let go with the tensors.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from talking_points.model.weights import read_json


class WeightFile(Protocol):
    """Published weights on disk."""

    source: str
    """The path, for errors."""
    shapes: dict[str, tuple[int, ...]]
    """Of every tensor, by name."""

    def read(self, *names: str) -> list[Tensor]:
        """The tensors, mapped from the file where it can be."""
        ...


class SafetensorsFile:
    """One .safetensors file. Raises a ValueError when it is broken."""

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        try:
            with safe_open(path, framework="pt") as file:
                self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from None

    def read(self, *names: str) -> list[Tensor]:
        with safe_open(self.source, framework="pt") as file:
            return [file.get_tensor(name) for name in names]


class ShardedFolder:
    """A transformers folder: `model.safetensors`, or several files and their index, which must agree."""

    def __init__(self, folder: Path) -> None:
        self.source = str(folder)
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            file_of: dict[str, str] = read_json(index).get("weight_map", {})
        elif (folder / "model.safetensors").is_file():
            file_of = dict.fromkeys(SafetensorsFile(folder / "model.safetensors").shapes, "model.safetensors")
        else:
            raise FileNotFoundError(f"{folder} has no model.safetensors and no model.safetensors.index.json")
        self._file_of: dict[str, SafetensorsFile] = {}
        for file_name in sorted(set(file_of.values())):
            path = folder / file_name
            if not path.is_file():
                raise FileNotFoundError(f"no such file: {path}; {index.name} names it")
            shard = SafetensorsFile(path)
            indexed = {name for name, where in file_of.items() if where == file_name}
            problems = [f"missing {name}" for name in indexed - shard.shapes.keys()]
            problems += [f"unknown {name}" for name in shard.shapes.keys() - indexed]
            if problems:
                raise ValueError(f"{path} does not fit {index.name}: {'; '.join(sorted(problems))}")
            self._file_of |= dict.fromkeys(indexed, shard)
        self.shapes = {name: shard.shapes[name] for name, shard in self._file_of.items()}

    def read(self, *names: str) -> list[Tensor]:
        return [tensor for name in names for tensor in self._file_of[name].read(name)]


class PickleFile:
    """A .pth of tensors by name, or with them under "state_dict"; read with `weights_only=True`."""

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._load().items()}

    def read(self, *names: str) -> list[Tensor]:
        loaded = self._load()
        return [loaded[name] for name in names]

    def _load(self) -> dict[str, Tensor]:
        loaded = _unpickle(Path(self.source))
        if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
            loaded = loaded["state_dict"]
        if not isinstance(loaded, Mapping):
            raise ValueError(f"{self.source} holds a {type(loaded).__name__}, expected tensors by name")
        for name, value in loaded.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                raise ValueError(f"{self.source}: {name!r} is a {type(value).__name__}, expected a tensor")
        return dict(loaded)


def open_weights(path: Path) -> WeightFile:
    """A .safetensors file or, under any other name, a pickle of tensors."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return SafetensorsFile(path) if path.suffix == ".safetensors" else PickleFile(path)


def read_one_tensor(path: Path) -> Tensor:
    """The tensor that a .pth consists of."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    loaded = _unpickle(path)
    if not isinstance(loaded, Tensor):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, expected one tensor")
    return loaded


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} is not a file of plain tensors that torch.save wrote: {reason}") from None


class ShardWriter:
    """Writes transformers' sharded safetensors as tensors come, holding one shard."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._waiting: dict[str, Tensor] = {}
        self._waiting_bytes = 0
        self._total_bytes = 0
        self._shards: list[list[str]] = []

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a tensor whose memory is its own: it may wait until the shard is full."""
        if self._waiting and self._waiting_bytes + tensor.nbytes > self._shard_bytes:
            self._flush()
        self._waiting[name] = tensor.contiguous()
        self._waiting_bytes += tensor.nbytes

    def finish(self) -> None:
        """Write what waits, give the files their final names and write the index."""
        self._flush()
        if len(self._shards) == 1:
            self._part(0).rename(self._folder / "model.safetensors")
            return
        file_of: dict[str, str] = {}
        for number, names in enumerate(self._shards):
            file_name = f"model-{number + 1:05d}-of-{len(self._shards):05d}.safetensors"
            self._part(number).rename(self._folder / file_name)
            file_of |= dict.fromkeys(names, file_name)
        index = {"metadata": {"total_size": self._total_bytes}, "weight_map": file_of}
        text = json.dumps(index, indent=2) + "\n"
        (self._folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")

    def _flush(self) -> None:
        save_file(self._waiting, self._part(len(self._shards)), metadata={"format": "pt"})
        self._shards.append(list(self._waiting))
        self._total_bytes += self._waiting_bytes
        self._waiting, self._waiting_bytes = {}, 0

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number:05d}.safetensors"
