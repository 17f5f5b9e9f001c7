"""A photo with its labelled objects and parts.

Boxes are x0, y0, x1, y1 in pixels of the scene's photo, x1 and y1 exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from talking_points.labels.problems import Problem
from talking_points.points import Box

MIN_PART_AREA_PX = 12
"""Smaller remains of a part are background: nobody could name them."""
MIN_POINT_AREA_PX = 20
"""Parts with less to see, at the scene's size, get no points."""
MIN_OBJECT_AREA_PX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneObject:
    """A whole thing, such as a person or a car."""

    name: str
    box_xyxy: Box = (0, 0, 0, 0)
    """Its labelled box, else the box around its mask or, without one, around all its labelled parts; the last two are
    found by `make_scene`."""
    category: str = ""
    """The broader class that the source's authors count by, as "quadruped" of a "golden retriever"; "" is `name`."""
    breed: str = ""
    """Which kind of `name` it is, where the source says so: "egyptian mau" of a cat."""
    has_own_box: bool = False
    """Its box was labelled and does not follow from its pixels. Without pixels it is counted, not pointed at."""
    outlined: bool = True
    """All its pixels are labelled. Where not, as of a car with some parts, what lies beside a part is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenePart:
    """A labelled part of an object, or the object itself: then its name is that of the object.

    The pixels of an object that belong to no other part are such a part, where a source describes whole objects.
    """

    name: str
    """Its class. "left" and "right" in it are the object's own sides; where these are not known, both shoes of a person
    are a "shoe"."""
    object_index: int
    box_xyxy: Box
    area_px: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """A photo whose pixels know their part and object."""

    photo: np.ndarray
    """(H, W, 3) uint8, RGB."""
    objects: tuple[SceneObject, ...]
    parts: tuple[ScenePart, ...]
    part_map: np.ndarray
    """(H, W) int16: 0 is background, k + 1 is `parts[k]`."""
    source: str
    """Name of the dataset."""
    photo_id: str
    object_map: np.ndarray | None = None
    """(H, W) int16: 0 is background, k + 1 is `objects[k]`; None where objects are just their parts."""
    uncounted: frozenset[str] = frozenset()
    """Names of objects of which the photo shows more than `objects` has, as in a crowd: their order is not told."""
    problems: tuple[Problem, ...] = ()
    """Annotations that were left out because they cannot be read. Somebody could mend them."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out as it should be, in words that are counted over photos: "a crowd region"."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.photo.shape[1], self.photo.shape[0]

    def part_index_at(self, point_px: tuple[float, float]) -> int | None:
        """Index of the part under a point in pixels of the photo, None on background; ValueError outside the photo."""
        x, y = point_px
        width, height = self.size_wh
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f"point [{x}, {y}] is outside the {width}x{height} photo")
        label = int(self.part_map[min(int(y), height - 1), min(int(x), width - 1)])
        return label - 1 if label else None


def make_scene(
    photo: np.ndarray,
    part_map: np.ndarray,
    part_names: Sequence[str],
    part_objects: Sequence[int],
    objects: Sequence[str | SceneObject],
    *,
    source: str,
    photo_id: str,
    object_map: np.ndarray | None = None,
    uncounted: frozenset[str] = frozenset(),
    problems: Sequence[Problem] = (),
    notes: Sequence[str] = (),
) -> Scene:
    """A scene, see there, with boxes and areas from the maps; parts and objects gone or too small to name are dropped.

    Objects without parts stay when `object_map` or their box shows them: "the second dog from the left" counts all
    dogs. Under a part, the part's object counts.

    Args:
        part_names: class of each part.
        part_objects: for each part, the index of its object in `objects`.
        objects: each object, or just its name; a box of its own is cut at the photo's border, others are replaced.

    Raises:
        ValueError: sizes disagree, or a map holds a part or an object that has no name.
    """
    where = f"{source} {photo_id}"
    _check_sizes(photo, part_map, object_map, where)
    things = [SceneObject(name=one) if isinstance(one, str) else one for one in objects]
    areas = _areas(part_map, len(part_names), f"{where}: part")
    object_areas, object_map = _owned(part_map, areas, part_objects, object_map, len(things), where)
    boxes = [_cut_box(thing.box_xyxy, photo) if thing.has_own_box else None for thing in things]
    owners = [
        k
        for k, (area, box) in enumerate(zip(object_areas, boxes, strict=True))
        if max(area, box_area(box) if box else 0) >= MIN_OBJECT_AREA_PX
    ]
    kept = [k for k, owner in enumerate(part_objects) if areas[k] >= MIN_PART_AREA_PX and owner in owners]
    part_map = _renumbered(part_map, kept, len(part_names))
    parts = tuple(
        ScenePart(
            name=part_names[old],
            object_index=owners.index(part_objects[old]),
            box_xyxy=_box_of_label(part_map, new + 1),
            area_px=int(areas[old]),
        )
        for new, old in enumerate(kept)
    )
    if object_map is not None:
        object_map = _renumbered(object_map, owners, len(things))
    return Scene(
        photo=photo,
        objects=tuple(
            replace(
                things[old],
                box_xyxy=boxes[old] or _box_of_object(new, parts, object_map),
                has_own_box=boxes[old] is not None,
            )
            for new, old in enumerate(owners)
        ),
        parts=parts,
        part_map=part_map,
        source=source,
        photo_id=photo_id,
        object_map=object_map,
        uncounted=uncounted,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _owned(
    part_map: np.ndarray,
    areas: np.ndarray,
    part_objects: Sequence[int],
    object_map: np.ndarray | None,
    count: int,
    where: str,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Areas of `count` objects, and their map, in which a part's pixels are its object's.

    areas: of the parts; without a map of objects, those large enough to name make up their object's.
    """
    if object_map is None:
        object_areas = np.zeros(count, dtype=np.int64)
        named = areas >= MIN_PART_AREA_PX
        np.add.at(object_areas, np.asarray(part_objects, dtype=np.int64)[named], areas[named])
        return object_areas, None
    owner_of = np.array([0, *(k + 1 for k in part_objects)], dtype=np.int16)
    object_map = np.where(part_map > 0, owner_of[part_map], object_map).astype(np.int16)
    return _areas(object_map, count, f"{where}: object"), object_map


def _check_sizes(photo: np.ndarray, part_map: np.ndarray, object_map: np.ndarray | None, where: str) -> None:
    if part_map.shape != photo.shape[:2]:
        raise ValueError(f"{where}: part map is {part_map.shape[::-1]}, photo is {photo.shape[1::-1]}")
    if object_map is not None and object_map.shape != part_map.shape:
        raise ValueError(f"{where}: object map is {object_map.shape[::-1]}, part map is {part_map.shape[::-1]}")


def box_area(box: Box) -> float:
    """Pixels of a box; 0 where it has none."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _areas(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """(count,) pixels of each label; a ValueError that says `what` has no name."""
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if len(areas) > count:
        raise ValueError(f"{what} map holds {len(areas)}, only {count} {what.rpartition(' ')[2]}s are named")
    return areas


def _cut_box(box: Box, photo: np.ndarray) -> Box | None:
    """A box cut at the photo's border; None where nothing is left of it."""
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _renumbered(labels: np.ndarray, kept: Sequence[int], count: int) -> np.ndarray:
    """The map with label k + 1 only of the kept k, counted anew from 1."""
    table = np.zeros(count + 1, dtype=np.int16)
    table[[k + 1 for k in kept]] = np.arange(1, len(kept) + 1, dtype=np.int16)
    return table[labels]


def _box_of_object(index: int, parts: Sequence[ScenePart], object_map: np.ndarray | None) -> Box:
    if object_map is not None:
        return _box_of_label(object_map, index + 1)
    corners = np.array([part.box_xyxy for part in parts if part.object_index == index])
    x0, y0 = corners[:, :2].min(axis=0)
    x1, y1 = corners[:, 2:].max(axis=0)
    return (int(x0), int(y0), int(x1), int(y1))


def _box_of_label(labels: np.ndarray, label: int) -> Box:
    x, y, width, height = cv2.boundingRect(cv2.compare(labels, float(label), cv2.CMP_EQ))
    return (x, y, x + width, y + height)
