"""Triplets without files: points drawn in scenes, their texts by rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scene import Scene
from talking_points.records import Triplet
from talking_points.training.batches import BatchSizes
from talking_points.training.built import TripletBatches


class DrawnTriplets:
    """Some points of each scene, in all their dialects in turn."""

    def __init__(self, scenes: Sequence[Scene], *, points: int, dialects: Sequence[str]) -> None:
        self._rows: list[tuple[Scene, Triplet]] = []
        for number, scene in enumerate(scenes):
            rng = np.random.default_rng(number)
            drawn = [(one.x, one.y) for one in sample_points(scene, points, rng)]
            for point_px, facts in zip(drawn, facts_of_points(scene, drawn), strict=True):
                text = write_point_text(facts, DIALECTS[dialects[len(self._rows) % len(dialects)]], rng)
                triplet = Triplet(photo_path=scene.photo_id, point_px=point_px, size_wh=scene.size_wh, text=text)
                self._rows.append((scene, triplet))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Triplet:
        return self._rows[index][1]

    def photo(self, index: int) -> Image.Image:
        return Image.fromarray(self._rows[index][0].photo)


def drawn_batches(
    scenes: Sequence[Scene], *, photos: int, points: int, seed: int = 3, dialects: Sequence[str] = ("paper",)
) -> TripletBatches:
    """Two epochs of batches of so many photos, each with so many points, on squares of 64 px."""
    triplets = DrawnTriplets(scenes, points=points, dialects=dialects)
    return TripletBatches(triplets, side=64, sizes=BatchSizes(photos=photos, points=points), seed=seed, epochs=2)
