"""New scenes composed of labelled photos: crops and mosaics, mirrored, stretched, in other light: the `hard` set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from talking_points.dataset.scene import MIN_POINT_AREA_PX, Scene
from talking_points.dataset.scene_edits import crop, mirror, mosaic, resize
from talking_points.photos import scaled_size
from talking_points.points import Box

WHOLE_SHARE = 0.18
"""Of whole photos; of the others, two in five are crops and three in five mosaics."""
LAYOUTS: dict[int, list[tuple[int, ...]]] = {
    1: [(1,)],
    2: [(2,), (2,), (2,), (1, 1)],
    3: [(3,), (3,), (1, 2), (2, 1)],
    4: [(4,), (2, 2), (2, 2)],
}
"""By the number of scenes: how many stand in each row of a mosaic, the likelier ones more often."""


def compose(scenes_pool: Sequence[Scene], rng: np.random.Generator, long_side: int) -> Scene:
    """Draw one scene: a whole photo, a crop of one, or a mosaic of two to four, with a part that has room for a point.

    Mirrored half of the time, with modest changes of colour, scale and aspect ratio. Objects end up anywhere,
    near or far, whole or cut off, alone or among others of their class.

    Args:
        scenes_pool: scenes to draw from, usually all of a split.
        rng: source of all choices; equal generators give equal scenes.
        long_side: of the result, in pixels.

    Raises:
        ValueError: the pool is empty, or 100 draws in a row show no such part (scenes without labels).
    """
    if not scenes_pool:
        raise ValueError("compose needs at least one scene, got an empty pool")
    for _ in range(100):
        kind = rng.random()
        if kind < WHOLE_SHARE:
            scene = _stretched(_drawn(scenes_pool, rng), rng)
        elif kind < WHOLE_SHARE + 0.39 * (1 - WHOLE_SHARE):
            scene = _random_crop(_drawn(scenes_pool, rng), rng)
        else:
            count = int(rng.choice([2, 2, 2, 3, 3, 4]))
            scene = _random_mosaic(_drawn_together(scenes_pool, count, rng), rng, long_side)
        scene = resize(scene, scaled_size(scene.size_wh, long_side / max(scene.size_wh)))
        if any(part.area_px >= MIN_POINT_AREA_PX for part in scene.parts):
            return replace(scene, photo=_jittered(scene.photo, rng))
    raise ValueError(
        f"100 composed scenes in a row show no labelled part of {MIN_POINT_AREA_PX} pixels; does the pool have labels?"
    )


def _drawn(pool: Sequence[Scene], rng: np.random.Generator) -> Scene:
    scene = pool[int(rng.integers(len(pool)))]
    return mirror(scene) if rng.random() < 0.5 else scene


def _drawn_together(pool: Sequence[Scene], count: int, rng: np.random.Generator) -> list[Scene]:
    """Draw scenes for one mosaic; two times in three all of one source, to practise telling them apart."""
    first = _drawn(pool, rng)
    same_source = rng.random() < 0.67
    drawn = [first]
    for _ in range(20 * count):
        if len(drawn) == count:
            break
        scene = _drawn(pool, rng)
        if not same_source or scene.source == first.source:
            drawn.append(scene)
    return drawn


def _stretched(scene: Scene, rng: np.random.Generator) -> Scene:
    width, height = scene.size_wh
    return resize(scene, (max(1, round(width * rng.uniform(0.87, 1.15))), height))


def _random_crop(scene: Scene, rng: np.random.Generator) -> Scene:
    """Cut around a random part: sometimes little more than the part, sometimes nearly the whole photo."""
    width, height = scene.size_wh
    if not scene.parts:
        return scene
    part = scene.parts[int(rng.integers(len(scene.parts)))]
    x0, y0, x1, y1 = part.box_xyxy
    # Not closer than a quarter of the photo: what is enlarged further is a blur.
    reach = max(x1 - x0, y1 - y0, 0.2 * max(width, height))
    largest = max(width, height) / reach
    # Log-uniform: each doubling of the window is as likely as the next.
    window = reach * float(np.exp(rng.uniform(np.log(min(1.3, largest)), np.log(largest))))
    aspect = float(np.exp(rng.uniform(np.log(0.55), np.log(1.8))))
    box_width = min(width, max(24.0, window * min(1.0, aspect)))
    box_height = min(height, max(24.0, window * min(1.0, 1 / aspect)))
    centre_x = rng.uniform(x0, x1) + rng.uniform(-0.3, 0.3) * box_width
    centre_y = rng.uniform(y0, y1) + rng.uniform(-0.3, 0.3) * box_height
    left = float(np.clip(centre_x - box_width / 2, 0, width - box_width))
    top = float(np.clip(centre_y - box_height / 2, 0, height - box_height))
    return crop(scene, (left, top, min(left + box_width, width), min(top + box_height, height)))


def _random_mosaic(scenes: Sequence[Scene], rng: np.random.Generator, long_side: int) -> Scene:
    rows = LAYOUTS[len(scenes)][int(rng.integers(len(LAYOUTS[len(scenes)])))]
    aspects = [scene.size_wh[0] / scene.size_wh[1] for scene in scenes]
    # A canvas in which every scene could keep its aspect ratio, give or take, so that little is cut away.
    left = iter(aspects)
    row_aspects = [sum(next(left) for _ in range(count)) for count in rows]
    aspect = 1 / sum(1 / value for value in row_aspects)
    aspect = float(np.clip(aspect * rng.uniform(0.75, 1.35), 0.45, 2.3))
    canvas_wh = round(1000 * aspect), 1000
    size_wh = scaled_size(canvas_wh, long_side / max(canvas_wh))
    cells = _random_cells(rows, size_wh, rng)
    tiles = [_cut_for_cell(scene, cell, rng) for scene, cell in zip(scenes, cells, strict=True)]
    return mosaic(tiles, cells, size_wh)


def _random_cells(rows: tuple[int, ...], size_wh: tuple[int, int], rng: np.random.Generator) -> list[Box]:
    def cuts(count: int, length: int) -> list[int]:
        shares = rng.uniform(0.6, 1.4, size=count)
        ends = np.round(np.cumsum(shares / shares.sum()) * length).astype(int)
        return [0, *(int(end) for end in ends[:-1]), length]

    cells: list[Box] = []
    edges_y = cuts(len(rows), size_wh[1])
    for row, count in enumerate(rows):
        edges_x = cuts(count, size_wh[0])
        cells += [(edges_x[column], edges_y[row], edges_x[column + 1], edges_y[row + 1]) for column in range(count)]
    return cells


def _cut_for_cell(scene: Scene, cell: Box, rng: np.random.Generator) -> Scene:
    """Crop a scene to about the aspect ratio of a cell, keeping a part of it in view."""
    width, height = scene.size_wh
    aspect = (cell[2] - cell[0]) / (cell[3] - cell[1]) * rng.uniform(0.87, 1.15)
    zoom = 1.0 if rng.random() < 0.5 else rng.uniform(0.45, 1.0)
    box_width = max(1.0, min(width, height * aspect) * zoom)
    box_height = max(1.0, min(height, width / aspect) * zoom)
    if scene.objects:
        x0, y0, x1, y1 = scene.objects[int(rng.integers(len(scene.objects)))].box_xyxy
    else:
        x0, y0, x1, y1 = 0, 0, width, height
    centre_x = rng.uniform(0.7 * x0 + 0.3 * x1, 0.3 * x0 + 0.7 * x1)
    centre_y = rng.uniform(0.75 * y0 + 0.25 * y1, 0.25 * y0 + 0.75 * y1)
    left = float(np.clip(centre_x - box_width / 2, 0, width - box_width))
    top = float(np.clip(centre_y - box_height / 2, 0, height - box_height))
    x0, y0 = int(left), int(top)
    return crop(scene, (x0, y0, max(x0 + 1, int(left + box_width)), max(y0 + 1, int(top + box_height))))


def _jittered(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, gamma, saturation and the tint a little; the colour words stay true."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma, contrast = rng.uniform(0.85, 1.18), rng.uniform(0.85, 1.15)
    curve = (levels**gamma - 0.5) * contrast + 0.5 + rng.uniform(-0.05, 0.05)
    tints = rng.uniform(0.96, 1.04, size=3)
    table = np.clip(curve[:, None] * tints * 255, 0, 255).astype(np.uint8)
    toned = cv2.LUT(photo, table[None])
    gray = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    saturation = rng.uniform(0.75, 1.2)
    return cv2.addWeighted(toned, saturation, gray, 1 - saturation, 0)
