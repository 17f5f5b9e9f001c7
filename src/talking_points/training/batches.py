"""Batches of composed scenes for the roles, and what all batches share. A batch is a function of the seed and the step,
so a resumed run sees the same ones."""

# B photos, P points or texts a photo, S side of the square

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from talking_points.dataset.keypoints import PointSample, sample_points
from talking_points.dataset.relations import DIALECTS, Dialect
from talking_points.dataset.scene import Scene, compose
from talking_points.dataset.synthesis import facts_of_points, write_point_text
from talking_points.images import letterbox
from talking_points.points import photo_to_square

WHOLE_SHARE = 0.3
"""Of the scenes that the base and the roles are shown, whole photos; crops and mosaics of them are the others."""


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
    """Scenes a step."""
    points: int = 8
    """Points (or phrases, captions and texts) of each scene."""

    def __post_init__(self) -> None:
        for name in ("photos", "points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: at least 1")


def scene_pixels(scene: Scene, side: int) -> Tensor:
    """(3, side, side) letterboxed, normalised."""
    return torch.from_numpy(letterbox(Image.fromarray(scene.photo), side))


class PointBatches(Dataset[PointBatch]):
    """Step -> batch for the adapters, of composed scenes."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        *,
        dialects: Sequence[str],
        side: int,
        sizes: BatchSizes,
        seed: int,
        steps: int,
        fixed: int | None = None,
    ) -> None:
        """
        Args:
            scenes: to compose from.
            dialects: of the texts, drawn for each step.
            side: of the square, in pixels.
            seed: with the step, all that a batch depends on.
            fixed: so many scenes and their points are composed, and come again in a new order each time, with new
                texts: what a feature cache needs. None: every scene is new.
        """
        if fixed is not None and fixed < 1:
            raise ValueError(f"scenes is {fixed}; allowed: at least 1")
        self.scenes, self.side, self.sizes, self.seed, self.steps = scenes, side, sizes, seed, steps
        self.fixed = fixed
        self.dialects: list[Dialect] = [DIALECTS[name] for name in dialects]
        self.samples, self.most_parts = sizes.photos * sizes.points, sizes.photos

    def __str__(self) -> str:
        again = "" if self.fixed is None else f" as {self.fixed} scenes"
        return (
            f"{len(self.scenes)} photos{again} at {self.side} px, {self.sizes.photos} x {self.sizes.points} a step, "
            f"seed {self.seed}, dialects {', '.join(d.name for d in self.dialects)}"
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> PointBatch:
        return self.part(step, 0, 1)

    def part(self, step: int, index: int, of: int) -> PointBatch:
        """Every `of`-th photo of a step, from photo `index` on; each is a function of seed, step and its number."""
        dialect = self.dialects[int(np.random.default_rng([self.seed, step, 1]).integers(len(self.dialects)))]
        shown, points, texts = [], [], []
        for number in range(index, self.sizes.photos, of):
            rng = np.random.default_rng([self.seed, step, 1, number])
            scene, places = self._scene(step * self.sizes.photos + number, rng)
            shown.append(scene)
            points.append(square_tensor(places, scene))
            texts.append([write_point_text(facts, dialect, rng) for facts in facts_of_points(scene, places)])
        return point_batch(
            [scene_pixels(scene, self.side) for scene in shown], points, texts, [scene.photo_id for scene in shown]
        )

    def _scene(self, turn: int, rng: np.random.Generator) -> tuple[Scene, list[tuple[float, float]]]:
        """The scene that is shown at a turn, and its points in pixels."""
        if self.fixed is not None:
            epoch, place = divmod(turn, self.fixed)
            order = np.random.default_rng([self.seed, epoch, 4]).permutation(self.fixed)
            # Streams apart from those of steps: they have another length.
            rng = np.random.default_rng([self.seed, 3, int(order[place]), 0, 0])
        scene = compose(self.scenes, rng, self.side, whole_share=WHOLE_SHARE)
        return scene, [(one.x, one.y) for one in draw_points(scene, self.sizes.points, rng)]


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


def draw_points(scene: Scene, count: int, rng: np.random.Generator) -> list[PointSample]:
    """Exactly `count` points; a scene with fewer gives some twice."""
    samples = sample_points(scene, count, rng)
    return [samples[k % len(samples)] for k in range(count)]


def square_tensor(points_px: Sequence[tuple[float, float]], scene: Scene) -> Tensor:
    """(P, 2) float32 in the square's [0, 1]^2."""
    return torch.tensor(photo_to_square(points_px, scene.size_wh), dtype=torch.float32)


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
