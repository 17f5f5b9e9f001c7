"""Training batches from a set of triplets: one that `build-dataset` wrote, or lines of one's own."""

# P points of each photo in a batch

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from talking_points.dataset.selection import EVERYTHING, Selection, nothing_wanted
from talking_points.dataset.store import BuiltSplit
from talking_points.photos import letterbox, open_photo
from talking_points.points import photo_to_square
from talking_points.records import Triplet, triplet_of_sample
from talking_points.sample_files import read_samples
from talking_points.samples import point_of_record
from talking_points.training.batches import BatchSizes, PointBatch, PointBatches, point_batch

SORTED_TOGETHER = 16
"""Batches whose groups are put in the order of their texts' lengths: enough that a batch's are alike, few enough that
an epoch's batches stay random. Ours."""


class Triplets(Protocol):
    """Triplets by number, and a photo for each."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Triplet: ...
    def photo(self, index: int, /) -> Image.Image:
        """As opened: RGB and upright."""
        ...


class BuiltTriplets:
    """The records of a built set's training split that have a text and are of a selection."""

    def __init__(self, folder: Path, selection: Selection = EVERYTHING) -> None:
        self._split = BuiltSplit(folder, "train")
        told = [(row, record) for row, record in enumerate(self._split) if record.text is not None]
        if not told:
            raise ValueError(f"no record in {folder} has a text; build it from a source with parts")
        self._rows = [
            row
            for row, record in told
            if selection.wants_object(record.object_name or "", record.object_category)
            and selection.wants_part(record.part_name or "")
        ]
        if not self._rows:
            names = [name for _, one in told for name in (one.object_name, one.object_category) if name]
            names += [one.part_name for _, one in told if selection.parts and one.part_name]
            raise nothing_wanted(selection, f"{folder}, split train,", names)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Triplet:
        record = self._split[self._rows[index]]
        return Triplet(
            photo_path=record.photo_path, point_px=record.point_px, size_wh=record.size_wh, text=record.text or ""
        )

    def photo(self, index: int) -> Image.Image:
        return self._split.photo(self._rows[index])


class TripletLines:
    """A JSON-lines file of triplets, see `records`; photos are relative to it."""

    def __init__(self, path: Path) -> None:
        self._folder, self._triplets = path.parent, _read_triplets(path)
        if not self._triplets:
            raise ValueError(f"{path} holds no triplet")
        for number, triplet in enumerate(self._triplets, start=1):
            if not (self._folder / triplet.photo_path).is_file():
                raise ValueError(f"{path.name}: triplet {number}: no photo {self._folder / triplet.photo_path}")

    def __len__(self) -> int:
        return len(self._triplets)

    def __getitem__(self, index: int) -> Triplet:
        return self._triplets[index]

    def photo(self, index: int) -> Image.Image:
        triplet = self._triplets[index]
        photo = open_photo(self._folder / triplet.photo_path)
        if photo.size != triplet.size_wh:
            raise ValueError(f"{triplet.photo_path} is {photo.size}, its triplet says {triplet.size_wh}")
        return photo


def _read_triplets(path: Path) -> list[Triplet]:
    triplets = []
    sizes: dict[str, tuple[int, int]] = {}
    for line in read_samples(path):
        try:
            if line.problem is not None:
                raise ValueError(line.problem)
            asked = point_of_record(line.record, wants_text=False)
            photo = str(asked.photo)
            if asked.size_wh is None and photo not in sizes:
                sizes[photo] = open_photo(path.parent / photo).size
            triplets.append(triplet_of_sample(line.record, asked.size_wh or sizes[photo]))
        except (ValueError, OSError) as error:
            raise ValueError(f"{path.name}:{line.number}: {error}") from None
    return triplets


def open_triplets(path: Path, selection: Selection = EVERYTHING) -> Triplets:
    """A built set's folder or a file of lines.

    Args:
        selection: of a built set's objects and parts.

    Raises:
        ValueError: it is neither, a line of it is wrong, nothing is of the selection, or lines are to be selected.
    """
    if path.is_dir():
        return BuiltTriplets(path, selection)
    if path.suffix == ".jsonl":
        if selection != EVERYTHING:
            raise ValueError(f"--object and --part choose from a built set; leave lines of {path.name} out yourself")
        return TripletLines(path)
    raise ValueError(f"--data {path} is neither a folder that build-dataset wrote nor a file of lines (.jsonl)")


class TripletBatches(PointBatches):
    """Step -> batch for the adapters; every triplet once an epoch, in an order that each epoch draws anew.

    Photos of a batch have as many points each, so that nothing is padded with points: a photo's triplets go to groups
    of 1, 2, 4, ..., and a batch takes groups of one size. A size whose groups do not fill its last batch begins again.
    Groups of about as long a text stand together, so that little is padded with tokens.
    """

    def __init__(
        self,
        triplets: Triplets,
        *,
        side: int,
        sizes: BatchSizes,
        seed: int,
        steps: int | None = None,
        epochs: int = 1,
    ) -> None:
        """
        Args:
            triplets: what to learn from.
            side: of the square, in pixels.
            sizes: photos times points are the triplets of a step; at most `points` of them share a photo.
            seed: with the step, all that a batch depends on.
            steps: None: as many as `epochs` have.
        """
        self.triplets, self.side, self.sizes, self.seed = triplets, side, sizes, seed
        self.samples, self.most_parts = sizes.photos * sizes.points, sizes.photos
        self._lengths = np.array([len(triplets[index].text) for index in range(len(triplets))])
        self._of_photo: dict[str, list[int]] = {}
        for index in range(len(triplets)):
            self._of_photo.setdefault(triplets[index].photo_path, []).append(index)
        self._kept: tuple[int, list[list[list[int]]]] | None = None
        self.epoch_steps = len(self._epoch(0))
        self.steps = steps or epochs * self.epoch_steps

    def __str__(self) -> str:
        return (
            f"{len(self.triplets)} triplets of {len(self._of_photo)} photos at {self.side} px, "
            f"{self.sizes.photos} x {self.sizes.points} a step, seed {self.seed}"
        )

    def __len__(self) -> int:
        return self.steps

    def part(self, step: int, index: int, of: int) -> PointBatch:
        """Every `of`-th photo of a step, from photo `index` on."""
        epoch, place = divmod(step, self.epoch_steps)
        groups = self._epoch(epoch)[place][index::of]
        pixels: list[Tensor] = []
        points: list[Tensor] = []
        texts: list[list[str]] = []
        for group in groups:
            photo = self.triplets.photo(group[0])
            some = [self.triplets[one] for one in group]
            pixels.append(torch.from_numpy(letterbox(photo, self.side)))
            square = photo_to_square([one.point_px for one in some], photo.size)
            points.append(torch.tensor(square, dtype=torch.float32))
            texts.append([one.text for one in some])
        return point_batch(pixels, points, texts, [self.triplets[group[0]].photo_path for group in groups])

    def _epoch(self, epoch: int) -> list[list[list[int]]]:
        """The batches of an epoch: groups of triplets, a photo each."""
        if self._kept is None or self._kept[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch, 5])
            by_size: dict[int, list[list[int]]] = {}
            for of_photo in self._of_photo.values():
                for group in _groups([of_photo[k] for k in rng.permutation(len(of_photo))], self.sizes.points):
                    by_size.setdefault(len(group), []).append(group)
            batches = []
            for size, groups in sorted(by_size.items()):
                photos = math.ceil(self.samples / size)
                batches += self._batches([groups[k] for k in rng.permutation(len(groups))], photos)
            self._kept = epoch, [batches[k] for k in rng.permutation(len(batches))]
        return self._kept[1]

    def _batches(self, groups: list[list[int]], photos: int) -> list[list[list[int]]]:
        """Batches of so many groups; the last one is filled up from the beginning."""
        count = math.ceil(len(groups) / photos)
        filled = [groups[k % len(groups)] for k in range(count * photos)]
        batches: list[list[list[int]]] = []
        for start in range(0, len(filled), photos * SORTED_TOGETHER):
            some = filled[start : start + photos * SORTED_TOGETHER]
            some.sort(key=lambda group: int(self._lengths[group].max()))
            batches += [some[k : k + photos] for k in range(0, len(some), photos)]
        return batches


def _groups(indices: Sequence[int], most: int) -> list[list[int]]:
    """Cut into runs of 1, 2, 4, ... at most `most`, the largest first."""
    groups: list[list[int]] = []
    start = 0
    while start < len(indices):
        size = 1
        while size * 2 <= min(most, len(indices) - start):
            size *= 2
        groups.append(list(indices[start : start + size]))
        start += size
    return groups
