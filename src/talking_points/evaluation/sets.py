"""Point sets made from part-labelled photos: the photos as they are, and a hard set of crops and mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image

from talking_points.dataset.keypoints import PointSample, sample_points
from talking_points.dataset.relations import DIALECTS
from talking_points.dataset.scene import Scene, compose
from talking_points.dataset.synthesis import facts_of_points, write_point_text
from talking_points.evaluation.samples import Sample

SETS = {"plain": "paper", "hard": "place-free"}
"""Set name to the dialect that its texts are written in."""
SIFT_SHARE = 0.5
"""Of the points; the others are drawn anywhere in a part."""


def check_set(name: str) -> None:
    """Raise a ValueError for a name that is no set's."""
    if name not in SETS:
        raise ValueError(f"set is {name!r}; allowed: {', '.join(SETS)}")


def make_set(name: str, scenes: Sequence[Scene], *, points: int, seed: int, long_side: int = 384) -> list[Sample]:
    """Draw points and write their texts.

    Args:
        name: "plain": every scene as it is, place words of the paper's dialect. "hard": as many composed scenes
            (crops and mosaics, often several people or cars), texts that name no place in the photo.
        scenes: of one split.
        points: of each scene.
        seed: equal seeds give equal sets.
        long_side: of composed scenes, in pixels.
    """
    check_set(name)
    samples = []
    for index, scene in enumerate(scenes):
        rng = np.random.default_rng([seed, index])
        shown = scene if name == "plain" else compose(scenes, rng, long_side)
        if not shown.parts:
            continue
        drawn = sample_points(shown, points, rng, sift_share=SIFT_SHARE)
        facts = facts_of_points(shown, [(one.x, one.y) for one in drawn])
        for number, (one, known) in enumerate(zip(drawn, facts, strict=True)):
            text = write_point_text(known, DIALECTS[SETS[name]], rng)
            samples.append(_sample(shown, one, text, f"{name}/{index}", number))
    return samples


def _sample(scene: Scene, drawn: PointSample, text: str, photo_id: str, number: int) -> Sample:
    part = scene.parts[drawn.part_index]
    thing = scene.objects[part.object_index]
    return Sample(
        sample_id=f"{photo_id}/{number}",
        photo_id=f"{photo_id}/{scene.photo_id}",
        open_photo=partial(Image.fromarray, scene.photo),
        size_wh=scene.size_wh,
        point_px=(drawn.x, drawn.y),
        text=text,
        source=scene.source,
        object_name=thing.name,
        part_name=part.name,
        object_box_xyxy=thing.box_xyxy,
        part_box_xyxy=part.box_xyxy,
        kind="" if drawn.kind == "random" else drawn.kind,
        alike=sum(other.name == thing.name for other in scene.objects),
    )
