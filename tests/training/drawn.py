"""Samples without files: points drawn in scenes, their texts by rules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scene import Scene
from talking_points.evaluation.samples import Sample
from talking_points.training.batches import PointBatches
from talking_points.training.settings import TrainingSettings


def drawn_samples(scenes: Sequence[Scene], *, points: int, dialects: Sequence[str]) -> list[Sample]:
    """Some points of each scene, in all their dialects in turn."""
    samples: list[Sample] = []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng(number)
        drawn = [(one.x, one.y) for one in sample_points(scene, points, rng)]
        for point_px, facts in zip(drawn, facts_of_points(scene, drawn), strict=True):
            text = write_point_text(facts, DIALECTS[dialects[len(samples) % len(dialects)]], rng)
            samples.append(
                Sample(
                    sample_id=f"{scene.photo_id}/{len(samples)}",
                    photo_id=scene.photo_id,
                    open_photo=partial(Image.fromarray, scene.photo),
                    size_wh=scene.size_wh,
                    point_px=point_px,
                    text=text,
                )
            )
    return samples


def drawn_batches(
    scenes: Sequence[Scene], *, photos: int, points: int, seed: int = 3, dialects: Sequence[str] = ("paper",)
) -> PointBatches:
    """Two epochs of batches of so many photos, each with so many points, on squares of 64 px."""
    settings = TrainingSettings(out=Path("unused"), epochs=2, photos=photos, points=points, seed=seed)
    return PointBatches(drawn_samples(scenes, points=points, dialects=dialects), settings, side=64)
