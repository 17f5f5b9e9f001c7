"""Other scenes from scenes: cut out, scaled, laid beside each other, mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from talking_points.dataset.places import mirror_words
from talking_points.dataset.scene import Scene, SceneObject, make_scene
from talking_points.points import Box


def crop(scene: Scene, box_xyxy: Box) -> Scene:
    """Cut out a box in pixels of the scene, rounded; a ValueError where it is empty or reaches outside the photo."""
    x0, y0, x1, y1 = _whole(box_xyxy)
    width, height = scene.size_wh
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"crop box {(x0, y0, x1, y1)} is empty or outside the {width}x{height} photo")
    return _laid([scene], [(-x0, -y0, width - x0, height - y0)], (x1 - x0, y1 - y0))


def resize(scene: Scene, size_wh: tuple[int, int]) -> Scene:
    """Resize to an exact width and height in pixels; the aspect ratio may change."""
    if min(size_wh) < 1:
        raise ValueError(f"size_wh must be at least 1x1, got {size_wh[0]}x{size_wh[1]}")
    return scene if size_wh == scene.size_wh else _laid([scene], [(0, 0, *size_wh)], size_wh)


def mosaic(scenes: Sequence[Scene], cells_xyxy: Sequence[Box], size_wh: tuple[int, int]) -> Scene:
    """Lay scenes into the cells of one canvas, each resized to fill its cell; objects are concatenated.

    The cells are whole-pixel boxes in the canvas; what none covers is mid-gray. Crop scenes to the cell's aspect ratio
    first, or they are stretched. A ValueError where the counts differ, or a cell is empty or outside the canvas.
    """
    if len(scenes) != len(cells_xyxy) or not scenes:
        raise ValueError(f"mosaic needs a cell a scene, got {len(scenes)} scenes and {len(cells_xyxy)} cells")
    width, height = size_wh
    cells = [_whole(cell) for cell in cells_xyxy]
    for x0, y0, x1, y1 in cells:
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(f"cell {(x0, y0, x1, y1)} is empty or outside the {width}x{height} canvas")
    return _laid(scenes, cells, size_wh)


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
    )


def _laid(scenes: Sequence[Scene], cells: Sequence[tuple[int, int, int, int]], size_wh: tuple[int, int]) -> Scene:
    """Scenes resized to their cells, which may reach out of the canvas, where they are cut."""
    width, height = size_wh
    photo = np.full((height, width, 3), 128, dtype=np.uint8)
    part_map = np.zeros((height, width), dtype=np.int16)
    with_objects = any(scene.object_map is not None for scene in scenes)
    object_map = np.zeros((height, width), dtype=np.int16) if with_objects else None
    part_names: list[str] = []
    part_objects: list[int] = []
    objects: list[SceneObject] = []
    for scene, (x0, y0, x1, y1) in zip(scenes, cells, strict=True):
        cell_wh = (x1 - x0, y1 - y0)
        shrinks = cell_wh[0] < scene.size_wh[0]
        seen = np.s_[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]
        of_cell = np.s_[seen[0].start - y0 : seen[0].stop - y0, seen[1].start - x0 : seen[1].stop - x0]
        photo[seen] = _scaled(scene.photo, cell_wh, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)[of_cell]
        parts = _scaled(scene.part_map, cell_wh, cv2.INTER_NEAREST)[of_cell]
        part_map[seen] = np.where(parts > 0, parts + len(part_names), 0)
        if object_map is not None and scene.object_map is not None:
            own = _scaled(scene.object_map, cell_wh, cv2.INTER_NEAREST)[of_cell]
            object_map[seen] = np.where(own > 0, own + len(objects), 0)
        part_names += [part.name for part in scene.parts]
        part_objects += [part.object_index + len(objects) for part in scene.parts]
        scale = (cell_wh[0] / scene.size_wh[0], cell_wh[1] / scene.size_wh[1])
        for thing in scene.objects:
            ax, ay, bx, by = thing.box_xyxy
            box = (ax * scale[0] + x0, ay * scale[1] + y0, bx * scale[0] + x0, by * scale[1] + y0)
            objects.append(replace(thing, box_xyxy=box))
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
        problems=[problem for scene in scenes for problem in scene.problems],
        notes=[note for scene in scenes for note in scene.notes],
    )


def _scaled(pixels: np.ndarray, size_wh: tuple[int, int], how: int) -> np.ndarray:
    return pixels if pixels.shape[1::-1] == size_wh else cv2.resize(pixels, size_wh, interpolation=how)


def _whole(box: Box) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return round(x0), round(y0), round(x1), round(y1)
