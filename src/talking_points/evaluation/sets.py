"""Point sets made from part-labelled photos: as they are, crops and mosaics, and points sought in another one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image, ImageOps

from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scene import Scene
from talking_points.evaluation.composing import compose
from talking_points.evaluation.samples import Sample
from talking_points.points import Box, photo_to_unit

SETS = {"plain": "paper", "hard": "place-free"}
"""Set name to the dialect that its texts are written in."""
CROSS_PHOTO = ("mirrored", "cropped", "recoloured")
"""Sets whose points are described on the photo as it is, in the paper's dialect, and sought in a changed one."""
CROP_SHARE = (0.6, 0.9)
"""Of the photo's sides that a crop keeps."""
SIFT_SHARE = 0.5
"""Of the points; the others are drawn anywhere in a part."""


def make_set(name: str, scenes: Sequence[Scene], *, points: int, seed: int, long_side: int = 384) -> list[Sample]:
    """Draw points and write their texts.

    Args:
        name: "plain": every scene as it is, place words of the paper's dialect. "hard": as many composed scenes
            (crops and mosaics, often several people or cars), texts that name no place in the photo. "mirrored",
            "cropped", "recoloured": the points of "plain" in a changed photo, described on the unchanged one.
        scenes: of one split.
        points: of each scene.
        seed: equal seeds give equal sets.
        long_side: of composed scenes, in pixels.
    """
    if name not in (*SETS, *CROSS_PHOTO):
        raise ValueError(f"set is {name!r}; allowed: {', '.join((*SETS, *CROSS_PHOTO))}")
    if name in CROSS_PHOTO:
        plain = make_set("plain", scenes, points=points, seed=seed)
        return [changed for sample in plain if (changed := _changed(sample, name, seed)) is not None]
    samples = []
    for index, scene in enumerate(scenes):
        rng = np.random.default_rng([seed, index])
        shown = scene if name == "plain" else compose(scenes, rng, long_side)
        if not shown.parts:
            continue
        drawn = sample_points(shown, points, rng, sift_share=SIFT_SHARE)
        facts = facts_of_points(shown, [(one.x, one.y) for one in drawn])
        for number, (one, known) in enumerate(zip(drawn, facts, strict=True)):
            part = shown.parts[one.part_index]
            thing = shown.objects[part.object_index]
            samples.append(
                Sample(
                    sample_id=f"{name}/{index}/{number}",
                    photo_id=f"{name}/{index}/{shown.photo_id}",
                    open_photo=partial(Image.fromarray, shown.photo),
                    size_wh=shown.size_wh,
                    point_px=(one.x, one.y),
                    text=write_point_text(known, DIALECTS[SETS[name]], rng),
                    source=shown.source,
                    object_name=thing.name,
                    object_category=thing.category,
                    part_name=part.name,
                    object_box_xyxy=thing.box_xyxy,
                    part_box_xyxy=part.box_xyxy,
                    kind="" if one.kind == "random" else one.kind,
                    alike=sum(other.name == thing.name for other in shown.objects),
                    facts=known,
                )
            )
    return samples


def labelled_points(scenes: Sequence[Scene]) -> np.ndarray:
    """(N, 2) some points in the labelled parts of scenes, in the [0, 1]^2 of their photos."""
    units = []
    for scene in scenes:
        drawn = sample_points(scene, 4, np.random.default_rng(0)) if scene.parts else []
        units += [photo_to_unit([(one.x, one.y) for one in drawn], scene.size_wh)] if drawn else []
    if not units:
        raise ValueError("the train split has no labelled part, so there is no mean point for the constant")
    return np.concatenate(units)


def _changed(sample: Sample, how: str, seed: int) -> Sample | None:
    """A sample's point in its photo mirrored, cropped or recoloured; None where the crop leaves the point out.

    What is done to a photo is a function of its id and the seed: all its points are in the same one.
    """
    rng = np.random.default_rng([seed, zlib.crc32(sample.photo_id.encode())])
    width, height = sample.size_wh
    x0, y0, shown = 0, 0, sample.size_wh
    if how == "cropped":
        new_width, new_height = (max(1, round(side * rng.uniform(*CROP_SHARE))) for side in sample.size_wh)
        x0, y0 = int(rng.integers(width - new_width + 1)), int(rng.integers(height - new_height + 1))
        shown = new_width, new_height

    def moved(points_px: Sequence[float]) -> np.ndarray:
        """(N, 2) where points are in the changed photo, perhaps outside it; of a box, two corners."""
        points = np.reshape(points_px, (-1, 2)) - (x0, y0)
        return points * (-1, 1) + (width, 0) if how == "mirrored" else points

    def moved_box(box: Box | None) -> Box | None:
        if box is None:
            return None
        (left, top), (right, bottom) = np.sort(moved(box).clip(0, shown), axis=0).tolist()
        return left, top, right, bottom

    [(x, y)] = moved(sample.point_px).tolist()
    if not (0 <= x <= shown[0] and 0 <= y <= shown[1]):
        return None
    order = [(1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1)][int(rng.integers(4))]

    def open_changed() -> Image.Image:
        photo = sample.open_photo()
        if how == "mirrored":
            return ImageOps.mirror(photo)
        if how == "cropped":
            return photo.crop((x0, y0, x0 + shown[0], y0 + shown[1]))
        channels = photo.split()
        return Image.merge("RGB", [channels[k] for k in order])

    return replace(
        sample,
        sample_id=f"{how}/{sample.sample_id}",
        photo_id=f"{how}/{sample.photo_id}",
        open_photo=open_changed,
        size_wh=shown,
        point_px=(x, y),
        object_box_xyxy=moved_box(sample.object_box_xyxy),
        part_box_xyxy=moved_box(sample.part_box_xyxy),
        facts=None,
        described=sample,
    )
