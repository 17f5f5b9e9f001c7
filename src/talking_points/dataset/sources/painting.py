"""Small shapes drawn into masks, and the maps of a scene while its parts are painted over each other.

A pixel belongs to a shape when its centre does; pixel (i, j) has its centre at (i + 0.5, j + 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from talking_points.dataset.scene import Scene, SceneObject, make_scene
from talking_points.points import Box, Point

NamedMask = tuple[str, np.ndarray]
"""A part's name and its pixels, (H, W) bool."""


def disc(size_wh: tuple[int, int], centre: Point, radius: float) -> np.ndarray:
    """(H, W) bool: the pixels not farther than `radius` from `centre`."""
    return capsule(size_wh, centre, centre, radius)


def capsule(size_wh: tuple[int, int], start: Point, end: Point, radius: float) -> np.ndarray:
    """(H, W) bool: the pixels not farther than `radius` from the line between two points."""
    width, height = size_wh
    mask = np.zeros((height, width), dtype=bool)
    x0, x1 = (max(0, math.floor(min(start[0], end[0]) - radius)), min(width, math.ceil(max(start[0], end[0]) + radius)))
    y0, y1 = (
        max(0, math.floor(min(start[1], end[1]) - radius)),
        min(height, math.ceil(max(start[1], end[1]) + radius)),
    )
    if x0 >= x1 or y0 >= y1:
        return mask
    x = np.arange(x0, x1)[None, :] + 0.5 - start[0]
    y = np.arange(y0, y1)[:, None] + 0.5 - start[1]
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = along_x**2 + along_y**2
    share = np.clip((x * along_x + y * along_y) / length, 0, 1) if length else np.zeros((1, 1))
    mask[y0:y1, x0:x1] = (x - share * along_x) ** 2 + (y - share * along_y) ** 2 <= radius**2
    return mask


def hull(size_wh: tuple[int, int], points: Sequence[Point]) -> np.ndarray:
    """(H, W) bool: the pixels inside the smallest convex polygon around three points or more."""
    corners = cv2.convexHull(np.asarray(points, dtype=np.float32))[:, 0].astype(np.float64)
    width, height = size_wh
    low = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int)
    mask = np.zeros((height, width), dtype=bool)
    if len(corners) < 3 or (low >= high).any():
        return mask
    x = np.arange(low[0], high[0])[None, :] + 0.5
    y = np.arange(low[1], high[1])[:, None] + 0.5
    # Of a convex polygon all edges have the inside on the same hand, whichever way OpenCV goes round.
    sides = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True)
    ]
    inside = np.logical_or(np.all(np.stack(sides) >= 0, axis=0), np.all(np.stack(sides) <= 0, axis=0))
    mask[low[1] : high[1], low[0] : high[0]] = inside
    return mask


def ellipse(size_wh: tuple[int, int], box_xyxy: Box) -> np.ndarray:
    """(H, W) bool: the pixels inside the ellipse that touches the four sides of a box."""
    x0, y0, x1, y1 = box_xyxy
    width, height = size_wh
    x = (np.arange(width)[None, :] + 0.5 - (x0 + x1) / 2) / max((x1 - x0) / 2, 1e-6)
    y = (np.arange(height)[:, None] + 0.5 - (y0 + y1) / 2) / max((y1 - y0) / 2, 1e-6)
    inside: np.ndarray = x**2 + y**2 <= 1
    return inside


def rectangle(size_wh: tuple[int, int], box_xyxy: Box) -> np.ndarray:
    """(H, W) bool: the pixels whose centres lie in a box."""
    x0, y0, x1, y1 = box_xyxy
    x, y = np.arange(size_wh[0]) + 0.5, np.arange(size_wh[1]) + 0.5
    return ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None, :]


def box_of_mask(mask: np.ndarray) -> Box:
    """The box around the pixels of a mask that has any."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (x, y, x + width, y + height)


def is_near(mask: np.ndarray, point: Point, radius: float) -> bool:
    """Whether a pixel of a mask is no farther from a point than `radius`."""
    return bool((disc((mask.shape[1], mask.shape[0]), point, radius) & mask).any())


class Painting:
    """Which part, and if wanted which object, each pixel is of; what is painted later is in front."""

    def __init__(self, size_wh: tuple[int, int], *, with_objects: bool = False) -> None:
        """`with_objects`: the scene has an `object_map`."""
        self._part_map, self._object_map = (np.zeros(size_wh[::-1], dtype=np.int16) for _ in range(2))
        self._with_objects = with_objects
        self._parts: list[tuple[int, str]] = []

    def clear(self, mask: np.ndarray) -> None:
        """Make pixels nobody's."""
        self._part_map[mask] = self._object_map[mask] = 0

    def object(self, owner: int, mask: np.ndarray) -> None:
        """Make pixels an object's, whatever part they are of."""
        self._object_map[mask] = owner + 1

    def part(self, owner: int, name: str, mask: np.ndarray, *, joins: bool = False) -> None:
        """Paint a part of an object; with `joins`, pixels of equal names of an object are one part."""
        if not joins or (owner, name) not in self._parts:
            self._parts.append((owner, name))
        self._part_map[mask] = self._parts.index((owner, name)) + 1 if joins else len(self._parts)
        self._object_map[mask] = owner + 1

    def scene(self, photo: np.ndarray, objects: list[SceneObject], **said: Any) -> Scene:
        """What was painted; `said` as in `make_scene`."""
        names, owners = [name for _, name in self._parts], [owner for owner, _ in self._parts]
        object_map = self._object_map if self._with_objects else None
        return make_scene(photo, self._part_map, names, owners, objects, object_map=object_map, **said)
