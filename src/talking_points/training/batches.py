"""Batches of points and their texts for the roles. A batch is a function of the seed and the step, so a resumed run
sees the same ones."""

# B photos, P points or texts a photo, S side of the square

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class PointBatch:
    """What the adapters learn from: points and their texts."""

    pixels_B3SS: Tensor
    photo_keys: list[bytes]
    """Hashes of the squares: equal ones look the same."""
    points_BP2: Tensor
    """[0, 1]^2 of the square."""
    texts: list[list[str]]
    record_ids: list[str]

    def to(self, device: torch.device) -> PointBatch:
        """The batch on a device."""
        return replace(self, pixels_B3SS=self.pixels_B3SS.to(device), points_BP2=self.points_BP2.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSizes:
    """How much goes into one step."""

    photos: int = 8
    """Photos a step."""
    points: int = 8
    """Points of each photo."""

    def __post_init__(self) -> None:
        for name in ("photos", "points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: at least 1")


class PointBatches(Dataset[PointBatch], ABC):
    """Step -> batch for the adapters. `str()` of it says what it draws from: a resumed run must say the same."""

    samples: int
    """Points with their texts a step."""
    most_parts: int
    """Parts that a step can be taken in."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def part(self, step: int, index: int, of: int) -> PointBatch:
        """Every `of`-th photo of a step, from photo `index` on."""

    def __getitem__(self, step: int) -> PointBatch:
        return self.part(step, 0, 1)


def point_batch(
    pixels: Sequence[Tensor], points: Sequence[Tensor], texts: list[list[str]], record_ids: list[str]
) -> PointBatch:
    """Photos with as many points each, together."""
    return PointBatch(
        pixels_B3SS=torch.stack(list(pixels)),
        photo_keys=[hashlib.blake2b(one.numpy().data, digest_size=16).digest() for one in pixels],
        points_BP2=torch.stack(list(points)),
        texts=texts,
        record_ids=record_ids,
    )


def first_of(batch: list[Any]) -> Any:
    """Collate for datasets whose items are batches already."""
    return batch[0]


def batches_from(dataset: Dataset[Any], start: int, *, workers: int) -> DataLoader[Any]:
    """Items start, start + 1, ..., made ahead of time by worker processes."""
    steps = range(start, len(dataset))  # type: ignore[arg-type]
    return DataLoader(
        dataset,
        batch_size=1,
        sampler=list(steps),
        num_workers=workers,
        collate_fn=first_of,
        prefetch_factor=4 if workers else None,
        # A generator of its own: drawing from torch's would make a resumed run's dropout differ.
        generator=torch.Generator(),
    )
