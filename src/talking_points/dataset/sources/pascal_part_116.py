"""PascalPart116 (OV-PARTS): photos of PASCAL VOC with a map of object classes and a map of part classes.

Both maps are semantic: two dogs share one region of "dog" and one of "dog's leg". `instances_of_class` tells them
apart as far as pixels allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from talking_points.dataset.names import called
from talking_points.dataset.scene import MIN_PART_AREA_PX, Scene
from talking_points.dataset.sources.reading import (
    MIN_BLOB_SHARE,
    SourcePhoto,
    check_labels,
    of_split,
    present_labels,
    read_labels,
    read_photo,
    stems,
)
from talking_points.dataset.sources.semantic import PUBLISHED, Instance, part_classes, scene_of_instances
from talking_points.dataset.sources.source import Source

NAME = "pascal-part-116"
OBJECTS = PUBLISHED[NAME]["objects"]
"""Class of each label of the object map, 0 to 19."""
PARTS = part_classes(PUBLISHED[NAME])
"""Object and part class of each label of the part map, 0 to 115."""
ONCE = frozenset(PUBLISHED[NAME]["once"])
"""Parts of which a thing has one."""
UNLABELLED = 255

NEAR_SHARE = 0.15
"""Pieces of one thing are no farther apart than this share of the larger piece's longer side."""


def open_pascal_part_116(folder: Path, split: str) -> Source:
    """PascalPart116 as its authors distribute it; the folder's own name does not matter.

        images/{train,val}/NAME.jpg
        annotations_detectron2_obj/{train,val}/NAME.png     8 bits: 0 to 19, 255 elsewhere
        annotations_detectron2_part/{train,val}/NAME.png    8 bits: 0 to 115, 255 elsewhere

    The distributed "val" is "test" here, and "val" is held out of the distributed "train".

    Raises:
        FileNotFoundError: one of the three folders is missing.
    """
    own = "val" if split == "test" else "train"
    photos = folder / "images" / own
    objects, parts = (folder / f"annotations_detectron2_{kind}" / own for kind in ("obj", "part"))
    found = stems(photos, ".jpg") | stems(objects, ".png") | stems(parts, ".png")
    paths = {name: photos / f"{name}.jpg" for name in found if of_split(name, split)}
    return Source(name=NAME, split=split, paths=paths, read=partial(_read_scene, paths, objects, parts))


def _read_scene(paths: dict[str, Path], object_maps: Path, part_maps: Path, photo_id: str) -> Scene:
    photo = read_photo(paths[photo_id])
    objects = _read_checked(object_maps / f"{photo_id}.png", photo, len(OBJECTS))
    parts = _read_checked(part_maps / f"{photo_id}.png", photo, len(PARTS))
    # Where the two disagree, the part says more.
    object_of_part = np.full(256, UNLABELLED, dtype=np.uint8)
    object_of_part[: len(PARTS)] = [OBJECTS.index(name) for name, _ in PARTS]
    objects = np.where(parts == UNLABELLED, objects, object_of_part[parts])
    instances = [
        Instance(class_name=OBJECTS[label], name=called(OBJECTS[label]), mask=mask)
        for label in present_labels(objects)
        if label != UNLABELLED
        for mask in instances_of_class(objects == label, parts)
    ]
    return scene_of_instances(photo, parts, PARTS, instances, source=NAME)


def _read_checked(path: Path, photo: SourcePhoto, count: int) -> np.ndarray:
    labels, _ = read_labels(path, photo)
    check_labels(labels, path, count, UNLABELLED)
    return labels.astype(np.uint8)


@dataclass(slots=True)
class _Pieces:
    """Blobs taken for one thing so far."""

    blobs: list[int]
    once: set[int]
    """Labels of `ONCE` parts seen in it."""
    box: tuple[int, int, int, int]

    def gap_share(self, box: tuple[int, int, int, int]) -> float:
        """Distance of two boxes in units of the longer side of this one; 0 when they overlap."""
        gap_x = max(box[0] - self.box[2], self.box[0] - box[2], 0)
        gap_y = max(box[1] - self.box[3], self.box[1] - box[3], 0)
        return float(np.hypot(gap_x, gap_y)) / max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def instances_of_class(mask: np.ndarray, parts: np.ndarray) -> list[np.ndarray]:
    """Tell the things of one class apart: blobs that do not touch, unless they are pieces of one thing.

    A lamp post in front of a dog cuts it in two. So a blob belongs to a larger one nearby when it shows no part
    that the other already has and a thing has once; two heads are two dogs. Things that touch stay one.

    Args:
        mask: (H, W) bool, all pixels of the class.
        parts: (H, W) part labels.

    Returns:
        (H, W) bool masks whose union is `mask`.
    """
    count, blobs, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 2:
        return [mask]
    things: list[_Pieces] = []
    areas = stats[:, cv2.CC_STAT_AREA]
    for blob in sorted(range(1, count), key=lambda number: -int(areas[number])):
        x, y, width, height = (int(value) for value in stats[blob, :4])
        box = (x, y, x + width, y + height)
        window = slice(y, y + height), slice(x, x + width)
        seen = np.bincount(parts[window][blobs[window] == blob], minlength=UNLABELLED + 1)
        once = {k for k, (_, part) in enumerate(PARTS) if part in ONCE and seen[k] >= MIN_PART_AREA_PX}
        fitting = [thing for thing in things if not thing.once & once]
        nearest = min(fitting, key=lambda thing: thing.gap_share(box), default=None)
        crumb = not once and areas[blob] < MIN_BLOB_SHARE * areas[1:].max()
        if nearest is not None and (crumb or nearest.gap_share(box) <= NEAR_SHARE):
            nearest.blobs.append(blob)
            nearest.once |= once
        else:
            things.append(_Pieces(blobs=[blob], once=once, box=box))
    return [np.isin(blobs, thing.blobs) for thing in things]
