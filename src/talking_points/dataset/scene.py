"""A photo with its labelled objects and parts, and ways to vary it: crop, mirror, resize, mosaic.

Boxes are x0, y0, x1, y1 in pixels of the scene's photo, x1 and y1 exclusive. Every function returns a new
scene whose boxes and areas are computed from its own maps; nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from talking_points.dataset.places import Box, mirror_words
from talking_points.dataset.problems import Problem

MIN_PART_AREA_PX = 12
"""Smaller remains of a part are background: nobody could name them."""
MIN_POINT_AREA_PX = 20
"""Parts with less to see, at the scene's size, get no points."""
MIN_OBJECT_AREA_PX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneObject:
    """A whole thing, such as a person or a car."""

    name: str
    box_xyxy: Box
    """The box around its mask, where the source has one; else around all its labelled parts."""
    category: str = ""
    """The broader class that the source's authors count by, as "quadruped" of a "golden retriever"; "" is `name`."""
    breed: str = ""
    """Which kind of `name` it is, where the source says so: "egyptian mau" of a cat."""
    has_own_box: bool = False
    """Its box was labelled and does not follow from its pixels, of which it may have none."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedPoint:
    """A point that people labelled, such as an animal's left front paw; in pixels of the scene's photo."""

    name: str
    """Left and right are the animal's own."""
    x: float
    y: float
    visible: bool
    """False when something hides it and its place was estimated."""
    object_index: int


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
    keypoints: tuple[NamedPoint, ...] = ()
    """Labelled points, of sources that have these in place of parts."""
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

    def object_mask(self, object_index: int) -> np.ndarray:
        """(H, W) bool: the pixels of an object; without an `object_map`, those of its parts."""
        if self.object_map is not None:
            return self.object_map == object_index + 1
        owned = np.array([False, *(part.object_index == object_index for part in self.parts)])
        return owned[self.part_map]

    def part_index_at(self, point_px: tuple[float, float]) -> int | None:
        """Index of the part under a point in pixels of the photo, None on background.

        Raises:
            ValueError: the point lies outside the photo.
        """
        x, y = point_px
        width, height = self.size_wh
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f"point [{x}, {y}] is outside the {width}x{height} photo")
        label = int(self.part_map[min(int(y), height - 1), min(int(x), width - 1)])
        return label - 1 if label else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectLabel:
    """What a source says of an object besides its pixels; see `SceneObject`."""

    name: str
    category: str = ""
    breed: str = ""
    box_xyxy: Box | None = None
    """The labelled box; None where the pixels tell. An object with a box and no pixels is counted, not pointed at."""
    outlined: bool = True


def make_scene(
    photo: np.ndarray,
    part_map: np.ndarray,
    part_names: Sequence[str],
    part_objects: Sequence[int],
    objects: Sequence[str | ObjectLabel],
    *,
    source: str,
    photo_id: str,
    object_map: np.ndarray | None = None,
    uncounted: frozenset[str] = frozenset(),
    problems: Sequence[Problem] = (),
    notes: Sequence[str] = (),
) -> Scene:
    """Compute boxes and areas from the maps; drop parts and objects that are gone or too small to name.

    Objects without parts stay when `object_map` or their box shows them: "the second dog from the left" counts all
    dogs.

    Args:
        photo: (H, W, 3) uint8, RGB.
        part_map: (H, W) integers: 0 is background, k + 1 is part k.
        part_names: class of each part; see `ScenePart.name`.
        part_objects: for each part, the index of its object in `objects`.
        objects: what is said of each object, or just its name. Boxes are cut at the photo's border.
        source: name of the dataset.
        photo_id: name of the photo in it.
        object_map: (H, W) integers: 0 is background, k + 1 is object k; under a part, the part's object counts.
        uncounted: see `Scene`, and so are the next two.
        problems: annotations that were left out.
        notes: what was assumed.

    Raises:
        ValueError: sizes disagree, or a map holds a part or an object that has no name.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"{source} {photo_id}: photo must be (H, W, 3) uint8, got {photo.shape} {photo.dtype}")
    if part_map.shape != photo.shape[:2]:
        raise ValueError(f"{source} {photo_id}: part map is {part_map.shape[::-1]}, photo is {photo.shape[1::-1]}")
    if len(part_names) != len(part_objects):
        raise ValueError(f"{source} {photo_id}: {len(part_names)} part names but {len(part_objects)} part objects")
    labels = [ObjectLabel(name=one) if isinstance(one, str) else one for one in objects]
    areas = np.bincount(part_map.ravel(), minlength=len(part_names) + 1)
    if len(areas) > len(part_names) + 1:
        raise ValueError(
            f"{source} {photo_id}: part map holds {len(areas) - 1}, only {len(part_names)} parts are named"
        )
    if object_map is not None:
        object_map = _under_parts(object_map, part_map, part_objects, f"{source} {photo_id}")
        object_areas = np.bincount(object_map.ravel(), minlength=len(labels) + 1)[1:]
        if len(object_areas) > len(labels):
            raise ValueError(
                f"{source} {photo_id}: object map holds {len(object_areas)}, only {len(labels)} objects are named"
            )
    else:
        object_areas = np.zeros(len(labels), dtype=np.int64)
        for k, owner in enumerate(part_objects):
            if areas[k + 1] >= MIN_PART_AREA_PX:
                object_areas[owner] += areas[k + 1]
    boxes = [_cut_box(label.box_xyxy, photo) for label in labels]
    owners = [
        k
        for k, area in enumerate(object_areas)
        if area >= MIN_OBJECT_AREA_PX or (box := boxes[k]) is not None and _box_area(box) >= MIN_OBJECT_AREA_PX
    ]
    kept = [k for k, owner in enumerate(part_objects) if areas[k + 1] >= MIN_PART_AREA_PX and owner in owners]
    new_map = _renumbered(part_map, kept, len(part_names))
    parts = tuple(
        ScenePart(
            name=part_names[old],
            object_index=owners.index(part_objects[old]),
            box_xyxy=_box_of_label(new_map, new + 1),
            area_px=int(areas[old + 1]),
        )
        for new, old in enumerate(kept)
    )
    new_object_map = None if object_map is None else _renumbered(object_map, owners, len(labels))

    def box_of(owner: int, new: int) -> Box:
        box = boxes[owner]
        if box is not None:
            return box
        if new_object_map is not None:
            return _box_of_label(new_object_map, new + 1)
        return _union_box([part.box_xyxy for part in parts if part.object_index == new])

    return Scene(
        photo=photo,
        objects=tuple(
            SceneObject(
                name=labels[owner].name,
                box_xyxy=box_of(owner, new),
                category=labels[owner].category,
                breed=labels[owner].breed,
                has_own_box=boxes[owner] is not None,
                outlined=labels[owner].outlined,
            )
            for new, owner in enumerate(owners)
        ),
        parts=parts,
        part_map=new_map,
        source=source,
        photo_id=photo_id,
        object_map=new_object_map,
        uncounted=uncounted,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _cut_box(box: Box | None, photo: np.ndarray) -> Box | None:
    """A box cut at the photo's border; None where nothing is left of it."""
    if box is None:
        return None
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _box_area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _under_parts(object_map: np.ndarray, part_map: np.ndarray, part_objects: Sequence[int], where: str) -> np.ndarray:
    if object_map.shape != part_map.shape:
        raise ValueError(f"{where}: object map is {object_map.shape[::-1]}, part map is {part_map.shape[::-1]}")
    owner = np.array([0, *(k + 1 for k in part_objects)], dtype=np.int16)
    return np.where(part_map > 0, owner[part_map], object_map).astype(np.int16)


def _renumbered(labels: np.ndarray, kept: Sequence[int], count: int) -> np.ndarray:
    """The map with label k + 1 only of the kept k, counted anew from 1."""
    table = np.zeros(count + 1, dtype=np.int16)
    table[[k + 1 for k in kept]] = np.arange(1, len(kept) + 1, dtype=np.int16)
    return table[labels]


def _box_of_label(part_map: np.ndarray, label: int) -> Box:
    x, y, width, height = cv2.boundingRect(cv2.compare(part_map, float(label), cv2.CMP_EQ))
    return (x, y, x + width, y + height)


def _union_box(boxes: Sequence[Box]) -> Box:
    corners = np.asarray(boxes)
    x0, y0 = corners[:, :2].min(axis=0)
    x1, y1 = corners[:, 2:].max(axis=0)
    return (int(x0), int(y0), int(x1), int(y1))


def _with_pixels(
    scene: Scene,
    photo: np.ndarray,
    part_map: np.ndarray,
    object_map: np.ndarray | None,
    moved: Callable[[Box], Box],
) -> Scene:
    """The scene with other pixels; `moved` takes a box of the old ones to the new ones, and may leave the photo."""
    return make_scene(
        photo,
        part_map,
        [part.name for part in scene.parts],
        [part.object_index for part in scene.parts],
        _labels_of(scene, moved),
        source=scene.source,
        photo_id=scene.photo_id,
        object_map=object_map,
        uncounted=scene.uncounted,
        problems=scene.problems,
        notes=scene.notes,
    )


def _labels_of(scene: Scene, moved: Callable[[Box], Box]) -> list[ObjectLabel]:
    return [
        ObjectLabel(
            name=thing.name,
            category=thing.category,
            breed=thing.breed,
            box_xyxy=moved(thing.box_xyxy) if thing.has_own_box else None,
            outlined=thing.outlined,
        )
        for thing in scene.objects
    ]


def _shifted(box: Box, by_xy: tuple[int, int]) -> Box:
    x, y = by_xy
    return (box[0] + x, box[1] + y, box[2] + x, box[3] + y)


def _scaled(box: Box, scale_x: float, scale_y: float) -> Box:
    return (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)


def _refuse_keypoints(scene: Scene) -> None:
    if scene.keypoints:
        raise ValueError(f"{scene.source} {scene.photo_id} has keypoints and no masks: it cannot be cut")


def crop(scene: Scene, box_xyxy: Box) -> Scene:
    """Cut out a box given in pixels of the scene; it is rounded to whole pixels.

    Raises:
        ValueError: the box is empty or reaches outside the photo, or the scene is one of keypoints.
    """
    _refuse_keypoints(scene)
    x0, y0, x1, y1 = (round(value) for value in box_xyxy)
    width, height = scene.size_wh
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"crop box {(x0, y0, x1, y1)} is empty or outside the {width}x{height} photo")
    object_map = None if scene.object_map is None else scene.object_map[y0:y1, x0:x1]
    moved = partial(_shifted, by_xy=(-x0, -y0))
    return _with_pixels(scene, scene.photo[y0:y1, x0:x1], scene.part_map[y0:y1, x0:x1], object_map, moved)


def mirror(scene: Scene) -> Scene:
    """Flip left and right, also in the names: a car's own left door becomes its right door."""
    width = scene.size_wh[0]

    def flipped(box: Box) -> Box:
        return (width - box[2], box[1], width - box[0], box[3])

    return replace(
        scene,
        photo=np.ascontiguousarray(scene.photo[:, ::-1]),
        part_map=np.ascontiguousarray(scene.part_map[:, ::-1]),
        object_map=None if scene.object_map is None else np.ascontiguousarray(scene.object_map[:, ::-1]),
        objects=tuple(replace(thing, box_xyxy=flipped(thing.box_xyxy)) for thing in scene.objects),
        parts=tuple(
            replace(part, name=mirror_words(part.name), box_xyxy=flipped(part.box_xyxy)) for part in scene.parts
        ),
        keypoints=tuple(replace(point, name=mirror_words(point.name), x=width - point.x) for point in scene.keypoints),
    )


def resize(scene: Scene, size_wh: tuple[int, int]) -> Scene:
    """Resize to an exact width and height in pixels; the aspect ratio may change."""
    if min(size_wh) < 1:
        raise ValueError(f"size_wh must be at least 1x1, got {size_wh[0]}x{size_wh[1]}")
    if size_wh == scene.size_wh:
        return scene
    shrinks = size_wh[0] < scene.size_wh[0]
    photo = cv2.resize(scene.photo, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    part_map = cv2.resize(scene.part_map, size_wh, interpolation=cv2.INTER_NEAREST)
    if scene.keypoints:
        return _with_moved_points(scene, photo, part_map)
    object_map = scene.object_map
    if object_map is not None:
        object_map = cv2.resize(object_map, size_wh, interpolation=cv2.INTER_NEAREST)
    scale_x, scale_y = size_wh[0] / scene.size_wh[0], size_wh[1] / scene.size_wh[1]
    return _with_pixels(scene, photo, part_map, object_map, lambda box: _scaled(box, scale_x, scale_y))


def _with_moved_points(scene: Scene, photo: np.ndarray, part_map: np.ndarray) -> Scene:
    scale_x, scale_y = photo.shape[1] / scene.size_wh[0], photo.shape[0] / scene.size_wh[1]
    return replace(
        scene,
        photo=photo,
        part_map=part_map,
        objects=tuple(replace(thing, box_xyxy=_scaled(thing.box_xyxy, scale_x, scale_y)) for thing in scene.objects),
        keypoints=tuple(replace(point, x=point.x * scale_x, y=point.y * scale_y) for point in scene.keypoints),
    )


def mosaic(scenes: Sequence[Scene], cells_xyxy: Sequence[Box], size_wh: tuple[int, int]) -> Scene:
    """Lay scenes into the cells of one canvas, each resized to fill its cell; objects are concatenated.

    Args:
        scenes: one a cell. Crop them to the cell's aspect ratio first, or they are stretched.
        cells_xyxy: whole-pixel boxes in the canvas; what no cell covers is mid-gray.
        size_wh: width and height of the canvas, in pixels.

    Raises:
        ValueError: the counts differ, a cell is empty or outside the canvas, or a scene is one of keypoints.
    """
    if len(scenes) != len(cells_xyxy) or not scenes:
        raise ValueError(f"mosaic needs a cell a scene, got {len(scenes)} scenes and {len(cells_xyxy)} cells")
    width, height = size_wh
    photo = np.full((height, width, 3), 128, dtype=np.uint8)
    part_map = np.zeros((height, width), dtype=np.int16)
    with_objects = any(scene.object_map is not None for scene in scenes)
    object_map = np.zeros((height, width), dtype=np.int16) if with_objects else None
    part_names: list[str] = []
    part_objects: list[int] = []
    objects: list[ObjectLabel] = []
    for scene, (x0, y0, x1, y1) in zip(scenes, (_whole(cell) for cell in cells_xyxy), strict=True):
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(f"cell {(x0, y0, x1, y1)} is empty or outside the {width}x{height} canvas")
        _refuse_keypoints(scene)
        tile = resize(scene, (x1 - x0, y1 - y0))
        photo[y0:y1, x0:x1] = tile.photo
        part_map[y0:y1, x0:x1] = np.where(tile.part_map > 0, tile.part_map + len(part_names), 0)
        if object_map is not None and tile.object_map is not None:
            object_map[y0:y1, x0:x1] = np.where(tile.object_map > 0, tile.object_map + len(objects), 0)
        part_names += [part.name for part in tile.parts]
        part_objects += [part.object_index + len(objects) for part in tile.parts]
        objects += _labels_of(tile, partial(_shifted, by_xy=(x0, y0)))
    return make_scene(
        photo,
        part_map,
        part_names,
        part_objects,
        objects,
        source="+".join(sorted({scene.source for scene in scenes})),
        photo_id="+".join(scene.photo_id for scene in scenes),
        object_map=object_map,
        uncounted=frozenset().union(*(scene.uncounted for scene in scenes)),
    )


def _whole(box: Box) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return round(x0), round(y0), round(x1), round(y1)
