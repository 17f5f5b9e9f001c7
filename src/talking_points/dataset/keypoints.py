"""Choosing the points that texts are written about: inside labelled parts, never on the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from talking_points.dataset.scene import Scene

MIN_AREA_PX = 20
"""Parts with less to see, at the scene's size, get no points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointSample:
    """A point in pixels of the scene's photo; it is the centre of a pixel of part `part_index`."""

    x: float
    y: float
    part_index: int
    kind: Literal["sift", "random"]


def sample_points(
    scene: Scene,
    count: int,
    rng: np.random.Generator,
    *,
    balance: float = 0.75,
    sift_share: float = 0.0,
) -> list[PointSample]:
    """Draw points inside the parts of a scene.

    Args:
        scene: where to draw.
        count: how many; a point may come twice in a scene of very few pixels.
        rng: source of all choices.
        balance: 0 draws a part in proportion to its area, 1 all parts equally often.
        sift_share: share of points that are the strongest SIFT responses of their part, in [0, 1]; parts
            where SIFT finds nothing give a random point instead. 0 computes no SIFT, which is fast.

    Returns:
        `count` points, or none when no part of the scene is big enough.
    """
    if not (0 <= balance <= 1 and 0 <= sift_share <= 1):
        raise ValueError(f"balance and sift_share must be in [0, 1], got {balance} and {sift_share}")
    candidates = [k for k, part in enumerate(scene.parts) if part.area_px >= MIN_AREA_PX]
    if not candidates or count < 1:
        return []
    weights = np.array([float(scene.parts[k].area_px) for k in candidates]) ** (1 - balance)
    chosen = rng.choice(len(candidates), size=count, p=weights / weights.sum())
    # First drawn, then looked up: SIFT's points do not change which parts come.
    wants_sift = rng.random(count) < sift_share
    strongest = _strongest_responses(scene) if wants_sift.any() else {}
    pixels: dict[int, np.ndarray] = {}
    points = []
    for slot, number in enumerate(chosen):
        k = candidates[int(number)]
        if wants_sift[slot] and strongest.get(k):
            column, row = strongest[k].pop(0)
            kind: Literal["sift", "random"] = "sift"
        else:
            if k not in pixels:
                pixels[k] = _inner_pixels(scene, k)
            column, row = pixels[k][int(rng.integers(len(pixels[k])))]
            kind = "random"
        points.append(PointSample(x=float(column) + 0.5, y=float(row) + 0.5, part_index=k, kind=kind))
    return points


def _inner_pixels(scene: Scene, part_index: int) -> np.ndarray:
    """(N, 2) column and row of a part's pixels, without its outermost ring where that leaves any."""
    x0, y0, x1, y1 = (int(value) for value in scene.parts[part_index].box_xyxy)
    mask = (scene.part_map[y0:y1, x0:x1] == part_index + 1).astype(np.uint8)
    ring_off = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rows, columns = np.nonzero(ring_off if ring_off.any() else mask)
    return np.stack([columns + x0, rows + y0], axis=1)


def _strongest_responses(scene: Scene) -> dict[int, list[tuple[int, int]]]:
    """Column and row of SIFT keypoints for each part index, strongest first, one a pixel."""
    found = cv2.SIFT.create().detect(cv2.cvtColor(scene.photo, cv2.COLOR_RGB2GRAY), None)
    width, height = scene.size_wh
    by_part: dict[int, list[tuple[int, int]]] = {}
    for keypoint in sorted(found, key=lambda one: (-one.response, one.pt)):
        # OpenCV counts from the centre of the first pixel.
        column, row = round(keypoint.pt[0]), round(keypoint.pt[1])
        if 0 <= column < width and 0 <= row < height and scene.part_map[row, column]:
            pixels = by_part.setdefault(int(scene.part_map[row, column]) - 1, [])
            if (column, row) not in pixels:
                pixels.append((column, row))
    return by_part
