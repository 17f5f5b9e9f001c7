"""Choosing the points that texts are written about: inside labelled parts, never on the background.

`select_points` is how the dataset is built; `sample_points` is the fast way to draw anew at every step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from talking_points.dataset.looks import PartColours
from talking_points.dataset.scene import MIN_POINT_AREA_PX, Scene
from talking_points.photos import scaled_size

SIFT_LONG_SIDE = (256, 768)
"""`select_points` shows SIFT the photo at half its size, within these limits of the long side, in pixels. OpenCV
doubles what it is shown, so that its finest octave is the photo's own; on the doubled photo the strongest responses
are specks of two pixels that no text could name, at four times the cost."""

SPREAD_SHARE = 0.03
"""Points of one part keep this share of the photo's long side between them."""

SMOOTH_WINDOW_SHARE = 0.02
"""Side of the window that must be smooth around a point, as a share of the photo's long side."""
SMOOTH_STD = 5.0
"""A window is smooth when its grey levels, 0 to 255, deviate less: sensor noise and JPEG alone stay below."""

PointKind = Literal["sift", "smooth", "random"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PointSample:
    """A point in pixels of the scene's photo; it is the centre of a pixel of part `part_index`."""

    x: float
    y: float
    part_index: int
    kind: PointKind
    """"sift": a strong response; "smooth": on a surface without texture; "random": anywhere in the part."""
    response: float = 0.0
    """SIFT's response, 0 for other kinds."""
    scale: float = 0.0
    """In pixels: OpenCV's `size` of a SIFT point, twice the blob's sigma; side of a smooth window; else 0."""


def select_points(
    scene: Scene,
    rng: np.random.Generator,
    *,
    points_per_photo: int = 1,
    per_part: int = 1,
    smooth_share: float = 0.0,
) -> list[PointSample]:
    """Choose the points of a photo for the dataset: SIFT's strongest responses inside labelled parts.

    The first is the strongest of all, as in the paper. With more points, objects take turns, and in an object its
    parts, the strongest first. A response counts when its pixel and the neighbours belong to the part, and the part
    is no smaller than the blob that SIFT saw. A place that does not look like its part is passed over, see
    `PartColours.is_foreign`. Smooth points lie in a part, in a window of almost one grey level.

    Args:
        scene: where to choose.
        rng: source of all choices.
        points_per_photo: the most points to choose, all different; the parts may hold fewer.
        per_part: the most points of one part.
        smooth_share: the share of smooth points to be expected, in [0, 1]; where the photo has no such surface
            left, a SIFT point takes the place.
    """
    if not any(part.area_px >= MIN_POINT_AREA_PX for part in scene.parts):
        return []
    wants_smooth = rng.random(points_per_photo) < smooth_share
    sift = _responses(scene, well_inside=True)
    smooth = _smooth_places(scene, rng, per_part) if wants_smooth.any() else {}
    looks = PartColours(scene)
    chosen: list[PointSample] = []
    for supplies in ((smooth, sift) if wanted else (sift,) for wanted in wants_smooth):
        # Lazy: what is asked for a point gives it away.
        points = (_next_point(scene, supply, chosen, per_part, looks) for supply in supplies)
        point = next((one for one in points if one is not None), None)
        chosen += [] if point is None else [point]
    return chosen


def _next_point(
    scene: Scene,
    supply: dict[int, list[PointSample]],
    chosen: Sequence[PointSample],
    per_part: int,
    looks: PartColours,
) -> PointSample | None:
    """The first fitting point of the part whose turn it is, taken from the supply."""
    distance = SPREAD_SHARE * max(scene.size_wh)
    of_part = Counter(point.part_index for point in chosen)
    of_object = Counter(scene.parts[point.part_index].object_index for point in chosen)

    def turn(k: int) -> tuple[int, int, float]:
        return of_object[scene.parts[k].object_index], of_part[k], -supply[k][0].response

    while True:
        waiting = [k for k, points in supply.items() if points and of_part[k] < per_part]
        if not waiting:
            return None
        k = min(waiting, key=turn)
        point = supply[k].pop(0)
        own = (other for other in chosen if other.part_index == k)
        if looks.is_foreign(k, point.x, point.y):
            continue
        if all(math.hypot(point.x - other.x, point.y - other.y) >= distance for other in own):
            return point


def balanced_order(keys: Sequence[tuple[str, ...]], rng: np.random.Generator) -> list[int]:
    """An order of candidates, all indices, whose every beginning is composed as evenly as they allow.

    Every first name has its turn as often, such as each source; within it every second name, such as each object
    class, and so on; within the last, chance decides. What a name lacks is shared by the others beside it.

    `keys`: for each candidate, its names from the outermost ring inwards: (source, object, part). Equal lengths.

    Example:
        >>> keys = [("a", "cat"), ("a", "cat"), ("a", "dog"), ("b", "cup")]
        >>> sorted(balanced_order(keys, np.random.default_rng(0))[:3])[1:]
        [2, 3]
    """
    return _in_turns(list(range(len(keys))), keys, 0, rng)


def _in_turns(indices: list[int], keys: Sequence[tuple[str, ...]], depth: int, rng: np.random.Generator) -> list[int]:
    if not indices or depth == len(keys[indices[0]]):
        return [indices[k] for k in rng.permutation(len(indices))]
    groups: dict[str, list[int]] = {}
    for index in indices:
        groups.setdefault(keys[index][depth], []).append(index)
    left = [_in_turns(groups[name], keys, depth + 1, rng)[::-1] for name in sorted(groups)]
    order: list[int] = []
    while left:
        # Chance says who gets what does not divide.
        order += [left[k].pop() for k in rng.permutation(len(left))]
        left = [one for one in left if one]
    return order


def sample_points(
    scene: Scene, count: int, rng: np.random.Generator, *, balance: float = 0.75, sift_share: float = 0.0
) -> list[PointSample]:
    """Draw `count` points inside the parts of a scene, or none when no part is big enough.

    Args:
        scene: where to draw.
        count: how many; a point may come twice in a scene of very few pixels.
        rng: source of all choices.
        balance: 0 draws a part in proportion to its area, 1 all parts equally often.
        sift_share: share of points that are the strongest SIFT responses of their part, in [0, 1]; parts
            where SIFT finds nothing give a random point instead. 0 computes no SIFT, which is fast.
    """
    candidates = [k for k, part in enumerate(scene.parts) if part.area_px >= MIN_POINT_AREA_PX]
    if not candidates or count < 1:
        return []
    weights = np.array([float(scene.parts[k].area_px) for k in candidates]) ** (1 - balance)
    chosen = rng.choice(len(candidates), size=count, p=weights / weights.sum())
    # First drawn, then looked up: SIFT's points do not change which parts come.
    wants_sift = rng.random(count) < sift_share
    strongest = _responses(scene, well_inside=False) if wants_sift.any() else {}
    pixels: dict[int, np.ndarray] = {}
    points = []
    for slot, number in enumerate(chosen):
        k = candidates[int(number)]
        if wants_sift[slot] and strongest.get(k):
            points.append(strongest[k].pop(0))
            continue
        if k not in pixels:
            pixels[k] = _inner_pixels(scene, k)
        points.append(_centre(pixels[k][int(rng.integers(len(pixels[k])))], k, "random"))
    return points


def _inner_pixels(scene: Scene, part_index: int) -> np.ndarray:
    """(N, 2) column and row of a part's pixels, without its outermost ring where that leaves any."""
    x0, y0, x1, y1 = (int(value) for value in scene.parts[part_index].box_xyxy)
    mask = (scene.part_map[y0:y1, x0:x1] == part_index + 1).astype(np.uint8)
    ring_off = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rows, columns = np.nonzero(ring_off if ring_off.any() else mask)
    return np.stack([columns + x0, rows + y0], axis=1)


def _responses(scene: Scene, *, well_inside: bool) -> dict[int, list[PointSample]]:
    """SIFT's points on parts, strongest first, one a pixel, by part.

    `well_inside`: only points that lie well inside a part that is big enough for them, on a photo shown to SIFT as
    `SIFT_LONG_SIDE` says; else all, on the photo as it is.
    """
    width, height = scene.size_wh
    x0, y0, x1, y1 = 0, 0, width, height
    scale = 1.0
    if well_inside:
        scale = min(1.0, min(max(max(width, height) / 2, SIFT_LONG_SIDE[0]), SIFT_LONG_SIDE[1]) / max(width, height))
        # Nothing outside the parts' boxes counts; the margin keeps SIFT's own border of five pixels out of them.
        margin = math.ceil(16 / scale)
        boxes = np.array([part.box_xyxy for part in scene.parts])
        x0, y0 = (max(0, int(low) - margin) for low in boxes[:, :2].min(axis=0))
        x1, y1 = (min(end, int(high) + margin) for end, high in zip((x1, y1), boxes[:, 2:].max(axis=0), strict=True))
    pixels, responses, sizes = _detected(scene.photo[y0:y1, x0:x1], scale)
    pixels += (x0, y0)
    kept = np.flatnonzero((pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1))
    columns, rows = pixels[kept].T
    kept = kept[scene.part_map[rows, columns] > 0]
    _, first = np.unique(pixels[kept, 1] * width + pixels[kept, 0], return_index=True)
    kept = kept[np.sort(first)]
    columns, rows = pixels[kept].T
    parts = scene.part_map[rows, columns].astype(np.int64) - 1
    if well_inside:
        neighbours = np.ones((3, 3), np.uint8)
        lowest, highest = cv2.erode(scene.part_map, neighbours), cv2.dilate(scene.part_map, neighbours)
        areas = np.array([part.area_px for part in scene.parts])
        # A disc answers at a sigma of its radius / sqrt(2), and the size is twice the sigma.
        fits = areas[parts] >= np.maximum(MIN_POINT_AREA_PX, math.pi / 2 * sizes[kept] ** 2)
        fits &= lowest[rows, columns] == highest[rows, columns]
        kept, parts = kept[fits], parts[fits]
    by_part: dict[int, list[PointSample]] = {}
    for index, k in zip(kept.tolist(), parts.tolist(), strict=True):
        answer = {"response": float(responses[index]), "scale": float(sizes[index])}
        by_part.setdefault(k, []).append(_centre(pixels[index], k, "sift", **answer))
    return by_part


def _centre(pixel: np.ndarray, part_index: int, kind: PointKind, **more: float) -> PointSample:
    """The point in the middle of a pixel, given by its column and row."""
    column, row = (int(value) for value in pixel)
    return PointSample(x=column + 0.5, y=row + 0.5, part_index=part_index, kind=kind, **more)


def _detected(photo: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SIFT's points of a photo shown to it at a scale of at most 1, strongest first: (N, 2) column and row of their
    pixels, (N,) responses and (N,) sizes in pixels of `photo`."""
    seen = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        seen = cv2.resize(seen, scaled_size(seen.shape[::-1], scale), interpolation=cv2.INTER_AREA)
    scale_x, scale_y = photo.shape[1] / seen.shape[1], photo.shape[0] / seen.shape[0]
    found = cv2.SIFT.create().detect(seen, None)
    places = np.array([one.pt for one in found], dtype=np.float64).reshape(-1, 2)
    responses = np.array([one.response for one in found], dtype=np.float64)
    sizes = np.array([one.size for one in found], dtype=np.float64) * (scale_x + scale_y) / 2
    order = np.lexsort((places[:, 1], places[:, 0], -responses))
    # OpenCV counts from the centre of the first pixel.
    pixels = np.floor((places[order] + 0.5) * (scale_x, scale_y)).astype(np.int64)
    return pixels, responses[order], sizes[order]


def _smooth_places(scene: Scene, rng: np.random.Generator, per_part: int) -> dict[int, list[PointSample]]:
    """Random smooth places of each part, more than are needed as some will be too close together."""
    side = 2 * max(2, round(SMOOTH_WINDOW_SHARE * max(scene.size_wh) / 2)) + 1
    gray = cv2.cvtColor(scene.photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.boxFilter(gray, -1, (side, side))
    variance = cv2.sqrBoxFilter(gray, cv2.CV_32F, (side, side)) - mean**2
    smooth = (variance < SMOOTH_STD**2).astype(np.uint8)
    window = np.ones((side, side), np.uint8)
    supply: dict[int, list[PointSample]] = {}
    # In random order: with no response to go by, the first of equals has its turn.
    for k in (int(number) for number in rng.permutation(len(scene.parts))):
        x0, y0, x1, y1 = (int(value) for value in scene.parts[k].box_xyxy)
        own = (scene.part_map[y0:y1, x0:x1] == k + 1).astype(np.uint8)
        inside = cv2.erode(own, window, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        rows, columns = np.nonzero(inside & smooth[y0:y1, x0:x1])
        if len(rows) and scene.parts[k].area_px >= MIN_POINT_AREA_PX:
            pixels = np.stack([columns + x0, rows + y0], axis=1)[rng.permutation(len(rows))[: 4 * per_part]]
            supply[k] = [_centre(pixel, k, "smooth", scale=float(side)) for pixel in pixels]
    return supply
