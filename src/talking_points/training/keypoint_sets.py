"""Points to reinforce on: any labelled keypoints, no texts. A batch is a function of the seed and the step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from talking_points.dataset.selection import Selection
from talking_points.dataset.sources.loading import load_scenes
from talking_points.evaluation.data import read_samples, selected_samples
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.evaluation.sets import SETS, make_set
from talking_points.pointing.encoding import PreparedPhoto, prepare_photo
from talking_points.training.batches import BatchSizes

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "all")
PRESETS = {"bovidae-to-canidae": ("Bovidae", "Canidae"), "canidae-to-bovidae": ("Canidae", "Bovidae")}
"""The paper's two directions on AP-10K: the family to learn on, and the one to be measured on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeypointBatch:
    """Points of some photos, to be described in the descriptor's own words."""

    step: int
    seed: int
    """Of the step's samples."""
    photos: list[PreparedPhoto]
    points_px: list[list[tuple[float, float]]]
    """Of each photo, in its pixels."""
    record_ids: list[str]


class KeypointBatches(Dataset[KeypointBatch]):
    """Step -> batch: every point once an epoch, in an order that each epoch draws anew."""

    def __init__(
        self, samples: Sequence[Sample], *, side: int, sizes: BatchSizes, seed: int, steps: int, settings: str = ""
    ) -> None:
        """
        Args:
            samples: the points.
            side: of the square that the network sees, in pixels.
            sizes: photos a step, and at most so many points of each; further points of a photo come in other steps.
            settings: what else a resumed run must have the same.
        """
        if not samples:
            raise ValueError("there is no point to learn on")
        self.photos = by_photo(samples)
        self.count, self.side, self.sizes, self.seed, self.steps = len(samples), side, sizes, seed, steps
        self.settings = settings
        self._order: tuple[int, list[list[Sample]]] | None = None

    def __str__(self) -> str:
        return (
            f"{self.count} points of {len(self.photos)} photos at {self.side} px, "
            f"{self.sizes.photos} x {self.sizes.points} a step, seed {self.seed}, {self.settings}"
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> KeypointBatch:
        first = step * self.sizes.photos
        groups = [self._group(index) for index in range(first, first + self.sizes.photos)]
        return KeypointBatch(
            step=step,
            seed=int(np.random.default_rng([self.seed, step, 4]).integers(2**62)),
            photos=[prepare_photo(group[0].open_photo(), self.side) for group in groups],
            points_px=[[sample.point_px for sample in group] for group in groups],
            record_ids=[sample.sample_id for group in groups for sample in group],
        )

    @property
    def groups_an_epoch(self) -> int:
        """How often a photo comes in an epoch, added up."""
        return sum(-(-len(samples) // self.sizes.points) for samples in self.photos)

    def _group(self, index: int) -> list[Sample]:
        """Some points of one photo; `index` counts on through the epochs."""
        epoch, place = divmod(index, self.groups_an_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._shuffled(epoch))
        return self._order[1][place]

    def _shuffled(self, epoch: int) -> list[list[Sample]]:
        # A stream apart from the other trainings'.
        rng = np.random.default_rng([self.seed, epoch, 3])
        groups = []
        for samples in self.photos:
            mixed = [samples[int(k)] for k in rng.permutation(len(samples))]
            groups += [mixed[k : k + self.sizes.points] for k in range(0, len(mixed), self.sizes.points)]
        return [groups[int(k)] for k in rng.permutation(len(groups))]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeypointSet:
    """Where points come from: either files of points, or part-labelled photos to draw them in."""

    path: Path | None = None
    """A built set, a JSON-lines file of triplets (their texts are not looked at), or AP-10K."""
    sources: Mapping[str, Path] = field(default_factory=dict)
    """Or part-labelled photos by source; their labels say where a point may lie."""
    set_name: str = "plain"
    """Of `sources`: "plain" photos, or "hard" crops and mosaics."""
    points: int = 8
    """Of each photo of `sources`."""

    def __post_init__(self) -> None:
        if self.set_name not in SETS:
            raise ValueError(f"set is {self.set_name!r}; allowed: {', '.join(SETS)}")
        if (self.path is None) == (not self.sources):
            raise ValueError(
                "give --keypoints, a set of keypoints, or --source, part-labelled photos to draw points in: one of them"
            )
        if self.points < 1:
            raise ValueError(f"points is {self.points}; allowed: at least 1")

    @property
    def held_out_split(self) -> str | None:
        """Where a built set or a file has no "val", some of what is learnt from is held out: None."""
        of_files = self.path is not None and (self.path.is_file() or any((self.path / "data").glob("*.parquet")))
        return None if of_files else "val"

    def read(self, split: str, selection: Selection, *, seed: int = 0) -> list[Sample]:
        """The points on what is selected, without texts where there are none.

        Args:
            split: "train", "val" or "test", or for AP-10K "all" three. A file of triplets has none.
            seed: of points that are drawn.

        Raises:
            FileNotFoundError, ValueError: no such file or split, or nothing of the selection in it.
        """
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; allowed: {', '.join(SPLITS)}")
        if self.path is None:
            scenes = load_scenes(self.sources, split, selection)
            return make_set(self.set_name, scenes, points=self.points, seed=seed, texts=False)
        problems: list[str] = []
        samples = read_samples(self.path, split, problems.append)
        for problem in problems:
            log.warning("passed over: %s", problem)
        # Of pairs of photos, each point is described on the photo that it is sought on.
        samples = [replace(sample, described=None) for sample in samples]
        return selected_samples(samples, selection, f"{self.path}, split {split},")


def learning_and_held_out(
    keypoints: KeypointSet,
    *,
    split: str,
    selection: Selection,
    held_out_split: str | None,
    held_out_selection: Selection,
    held_out_points: int,
    seed: int,
) -> tuple[list[Sample], list[Sample]]:
    """Points to learn on, and points of other photos to watch by.

    Args:
        split, selection: of the points to learn on.
        held_out_split, held_out_selection: of the others; None: the set's own "val", or else `split`.
        held_out_points: about how many; whole photos, the same ones for every seed. Where they are taken from what is
            learnt from, a fifth of them at most.

    Raises:
        FileNotFoundError, ValueError: as `KeypointSet.read`, or no point is left to learn on.
    """
    if held_out_points < 1:
        raise ValueError(f"held_out_points is {held_out_points}; allowed: at least 1")
    learning = keypoints.read(split, selection, seed=seed)
    others = keypoints.read(held_out_split or keypoints.held_out_split or split, held_out_selection)
    if {sample.sample_id for sample in learning} & {sample.sample_id for sample in others}:
        held_out_points = min(held_out_points, max(1, len(others) // 5))
    held_out = _some_photos(others, held_out_points)
    taken = {sample.photo_id for sample in held_out}
    left = [sample for sample in learning if sample.photo_id not in taken]
    if not left:
        raise ValueError(
            f"the photos of all {len(learning)} points are held out; hold out those of another split, or give more"
        )
    return left, held_out


def _some_photos(samples: Sequence[Sample], points: int) -> list[Sample]:
    photos = by_photo(samples)
    chosen: list[Sample] = []
    for k in np.random.default_rng(0).permutation(len(photos)):
        if len(chosen) >= points:
            break
        chosen += photos[int(k)]
    return chosen
