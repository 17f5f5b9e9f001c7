"""Batches of points. A batch is a function of the seed and the step, so that a resumed run sees the same ones."""

# B photos, P points a photo, S side of the square

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from talking_points.evaluation.samples import Sample, by_photo
from talking_points.files import sha256_of
from talking_points.pages import counted
from talking_points.pointing.prepared import PreparedPhoto, prepare_photo
from talking_points.points import photo_to_square
from talking_points.training.settings import TrainingSettings

log = logging.getLogger(__name__)

Batch = TypeVar("Batch")

SORTED_TOGETHER = 16
"""Batches whose groups are put in the order of their texts' lengths: enough that a batch's are alike, few enough that
an epoch's batches stay random. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointBatch:
    """Points of some photos, as many of each, with their texts."""

    pixels_B3SS: Tensor
    photo_keys: list[bytes]
    """Hashes of the squares: equal ones look the same."""
    sizes_wh: list[tuple[int, int]]
    """Of the photos, in pixels."""
    points_px_BP2: Tensor
    """In pixels of the photo, and"""
    points_BP2: Tensor
    """in [0, 1]^2 of the square."""
    texts: list[list[str]]
    """Empty ones where a point has none."""
    absent_texts: list[str]
    """For each photo a text of the next other photo of the step, its first; none where one photo has none."""
    record_ids: list[str]
    seed: int
    """Of whatever is drawn for this batch."""

    @property
    def photos(self) -> list[PreparedPhoto]:
        """The photos as they are described and sought on."""
        return [
            PreparedPhoto(size_wh=size_wh, square_3SS=square.numpy(), key=key)
            for square, key, size_wh in zip(self.pixels_B3SS, self.photo_keys, self.sizes_wh, strict=True)
        ]


class Batches(ABC, Generic[Batch]):
    """Step -> batch. `str()` of it says what it draws from: a resumed run must say the same."""

    samples: int = 1
    """Points a step."""
    most_parts: int = 1
    """Parts that a step can be taken in."""

    @property
    def fingerprint(self) -> str:
        """Of the data themselves, as far as it is known: a resumed run must have the same."""
        return ""

    @abstractmethod
    def __len__(self) -> int:
        """Steps."""

    @abstractmethod
    def part(self, step: int, index: int, of: int) -> Batch:
        """Part `index` of a step that is taken in `of` parts, at most `most_parts`."""

    def __getitem__(self, step: int) -> Batch:
        return self.part(step, 0, 1)


class PointBatches(Batches[PointBatch]):
    """Every point once an epoch, in an order that each epoch draws anew.

    Photos of a batch have as many points each, so that nothing is padded with points: a photo's points go to groups of
    1, 2, 4, ..., and a batch takes groups of one size. A size whose groups do not fill its last batch begins again.
    Groups of about as long a text stand together, so that little is padded with tokens.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        settings: TrainingSettings,
        *,
        side: int,
        told: str = "",
        watched: Sequence[Sample] = (),
    ) -> None:
        """
        Args:
            samples: what to learn from.
            settings: photos and points of a step, how many steps or epochs there are, and a seed.
            side: of the square, in pixels.
            told: what else a resumed run must have the same.
            watched: points that the training is watched by; a resumed run must have the same, too.
        """
        if not samples:
            raise ValueError("there is no point to learn from")
        self.points, self.settings, self.side, self.told = list(samples), settings, side, told
        self.watched = list(watched)
        self.samples, self.most_parts = settings.photos * settings.points, settings.photos
        self._lengths = np.array([len(sample.text or "") for sample in self.points])
        if self.samples > len(self.points):
            log.warning(
                "a step takes %s, and there are %d, repeated to fill it; give fewer --photos or --points",
                *(counted(self.samples, "point"), len(self.points)),
            )
        places = {id(sample): place for place, sample in enumerate(self.points)}
        self._of_photo = [[places[id(sample)] for sample in group] for group in by_photo(self.points)]
        self._kept: tuple[int, list[list[list[int]]]] | None = None
        self.epoch_steps = len(self._epoch(0))

    def __str__(self) -> str:
        """What a kept state is told by; another wording would be another training. For people there is `shown`."""
        return self._named(f"{len(self.points)} triplets of {len(self._of_photo)} photos")

    @property
    def shown(self) -> str:
        """Of how many points and photos the batches are, and how they are made."""
        return self._named(f"{counted(len(self.points), 'point')} of {counted(len(self._of_photo), 'photo')}")

    def _named(self, size: str) -> str:
        step = f"{self.settings.photos} x {self.settings.points} a step"
        return f"{size} at {self.side} px, {step}, seed {self.settings.seed}{self.told}"

    @property
    def fingerprint(self) -> str:
        """Of photos' names and sizes, points and texts, in their order."""
        # Not of ids: a line's number says nothing of what is learnt.
        content = [
            [s.photo_id, [*map(int, s.size_wh)], [*map(float, s.point_px)], s.text]
            for s in (*self.points, *self.watched)
        ]
        return sha256_of(content)[:16]

    def __len__(self) -> int:
        return self.settings.steps or (self.settings.epochs or 1) * self.epoch_steps

    def part(self, step: int, index: int, of: int) -> PointBatch:
        """Every `of`-th photo of a step, from photo `index` on."""
        epoch, place = divmod(step, self.epoch_steps)
        step_groups = [[self.points[k] for k in group] for group in self._epoch(epoch)[place]]
        groups = step_groups[index::of]
        photos = [prepare_photo(group[0].open_photo(), self.side) for group in groups]
        points_px = [[sample.point_px for sample in group] for group in groups]
        squares = [photo_to_square(some, photo.size_wh) for some, photo in zip(points_px, photos, strict=True)]
        return PointBatch(
            pixels_B3SS=torch.stack([torch.from_numpy(photo.square_3SS) for photo in photos]),
            photo_keys=[photo.key for photo in photos],
            sizes_wh=[photo.size_wh for photo in photos],
            points_px_BP2=torch.tensor(points_px, dtype=torch.float32),
            points_BP2=torch.tensor(np.stack(squares), dtype=torch.float32),
            texts=[[sample.text or "" for sample in group] for group in groups],
            # Of the whole step: what is learned must not depend on how it is shared among processes.
            absent_texts=_texts_of_others(step_groups)[index::of],
            record_ids=[sample.sample_id for group in groups for sample in group],
            # Texts of other parts must not be drawn by the same numbers.
            seed=int(np.random.default_rng([self.settings.seed, step, 4, *([index] if index else [])]).integers(2**62)),
        )

    def _epoch(self, epoch: int) -> list[list[list[int]]]:
        """The batches of an epoch: groups of points, a photo each."""
        if self._kept is None or self._kept[0] != epoch:
            rng = np.random.default_rng([self.settings.seed, epoch, 5])
            by_size: dict[int, list[list[int]]] = {}
            for of_photo in self._of_photo:
                for group in _groups([of_photo[k] for k in rng.permutation(len(of_photo))], self.settings.points):
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
        size = 2 ** (min(most, len(indices) - start).bit_length() - 1)
        groups.append(list(indices[start : start + size]))
        start += size
    return groups


def _texts_of_others(groups: Sequence[Sequence[Sample]]) -> list[str]:
    """For each group, of a photo each, the first text of the next one, around the end, that is of another photo.

    Words that are also said of this photo do not count; none at all where a group has no text.
    """
    texts: list[str] = []
    for k, group in enumerate(groups):
        own = {sample.text for sample in group}
        # Looked at one by one: the next group has one, as a rule, and a step may have thousands.
        following = (groups[n % len(groups)][0] for n in range(k + 1, k + len(groups)))
        others = (one.text for one in following if one.photo_id != group[0].photo_id and one.text not in own)
        text = next((text for text in others if text), None)
        if text is None:
            return []
        texts.append(text)
    return texts


class Parts(Dataset[Any]):
    """Of all steps in order the parts `first`, ..., `first + count - 1` of `of`: a process's."""

    def __init__(self, batches: Batches[Any], *, first: int, count: int, of: int) -> None:
        self.batches, self.first, self.count, self.of = batches, first, count, of

    def __len__(self) -> int:
        return len(self.batches) * self.count

    def __getitem__(self, index: int) -> Any:
        step, part = divmod(index, self.count)
        return self.batches.part(step, self.first + part, self.of)


def made_ahead(parts: Parts, start: int, *, workers: int) -> Iterator[Any]:
    """Parts from `start` on, made by so many processes."""
    loader: DataLoader[Any] = DataLoader(
        parts,
        batch_size=None,
        sampler=range(start, len(parts)),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_main,
        # Workers know the main process as their parent, which a fork server would be in its place.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        # A generator of its own: drawing from torch's would make a resumed run's dropout differ.
        generator=torch.Generator(),
    )
    return iter(loader)


def _leave_signals_to_main(worker: int) -> None:
    """In a worker: pass over what Ctrl-C and schedulers send to all processes.

    The main one stops in order, for which it needs its workers, and then ends them, by SIGTERM if need be.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # macOS cannot tell who sent a signal: there SIGTERM ends a worker, whoever sends it.
    if hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(main: int) -> None:
    """End this process when the main one says so, or is gone."""
    while os.getppid() == main:
        sent = signal.sigtimedwait({signal.SIGTERM}, 1.0)
        if sent is not None and sent.si_pid == main:
            break
    os._exit(0)
