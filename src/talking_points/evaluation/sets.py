"""Point sets made from part-labelled photos: the photos as they are, and a hard set of crops and mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.relations import DIALECTS
from talking_points.dataset.scene import Scene, compose
from talking_points.dataset.synthesis import point_facts, write_point_text

SETS = {"plain": ("paper",), "hard": ("place-free",)}
"""Set name to the dialects its texts are written in."""
SIFT_SHARE = 0.5
"""Of the points; the others are drawn anywhere in a part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A point of a scene, its rule-made text, and the part it lies in."""

    scene: Scene
    point_px: tuple[float, float]
    text: str
    part_index: int


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
        dialects = SETS[name]
        for k, drawn in enumerate(sample_points(shown, points, rng, sift_share=SIFT_SHARE)):
            facts = point_facts(shown, (drawn.x, drawn.y))
            text = write_point_text(facts, DIALECTS[dialects[k % len(dialects)]], rng)
            samples.append(Sample(scene=shown, point_px=(drawn.x, drawn.y), text=text, part_index=drawn.part_index))
    return samples
