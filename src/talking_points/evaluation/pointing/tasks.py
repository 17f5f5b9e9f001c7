"""What a pointing benchmark asks, and what reading one takes: masks, right answers, checked entries."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from talking_points.evaluation.samples import Sample
from talking_points.labels.reading import read_json
from talking_points.photos import open_photo
from talking_points.points import Point

Pixels = NDArray[np.bool_]
MOST_TEXT_CHARS = 1000
"""A longer text is none that a person wrote to be pointed at; the published ones stay far below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """The pixels of a photo that a text may mean. Packed: a benchmark has thousands of them."""

    size_wh: tuple[int, int]
    packed: bytes

    @classmethod
    def of(cls, pixels: Pixels, size_wh: tuple[int, int]) -> Mask:
        """(H, W) pixels; a ValueError when they are not of the photo's size, or no point would be right."""
        height, width = pixels.shape
        if (width, height) != size_wh:
            raise ValueError(f"the mask is {width}x{height}, the photo {size_wh[0]}x{size_wh[1]}")
        if not pixels.any():
            raise ValueError("the mask is empty")
        return cls(size_wh=size_wh, packed=zlib.compress(np.packbits(pixels).tobytes(), 1))

    def pixels(self) -> Pixels:
        """(H, W)"""
        width, height = self.size_wh
        bits = np.unpackbits(np.frombuffer(zlib.decompress(self.packed), np.uint8), count=width * height)
        return bits.reshape(height, width).astype(bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class PointingTask(Sample):
    """A text about a photo, to be answered with points, and what the benchmark's metric compares them with.

    `point_px` is a right answer, NaN where none is.
    """

    category: str
    """What the benchmark's authors break scores down by."""
    perfect_px: tuple[Point, ...]
    """An answer that scores 100, pixels; empty where saying nothing is right."""
    masks: tuple[Mask, ...] = ()
    labelled_px: tuple[Point, ...] = ()
    """PixMo-Points: a labelled point for each of `masks`, pixels."""
    count: int | None = None
    """Point-Bench's counting tasks: how many points are asked for."""


Entry = tuple[str, Callable[[], list[PointingTask]]]
"""Where something stands in a file, and what reads it; a ValueError or OSError of that says what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A benchmark's files and its official metric."""

    entries: Callable[[Path], Iterable[Entry]]
    """Lists a folder's entries; a ValueError or FileNotFoundError when it is of another layout."""
    scores: Callable[[PointingTask, ArrayLike], Mapping[str, float]]
    """Scores of a task's (N, 2) found points in percent, by metric; the first one is the score."""
    mean_of_categories: bool = False
    """Whether the benchmark's figure is the mean over categories; else that over tasks."""
    silence_may_be_right: bool = False
    """Whether there are texts for which nothing is right: a localizer that says "not there" is then silent."""


def text_of(record: Mapping[str, Any], key: str) -> str:
    """The text under a key of an entry, or a ValueError."""
    text = record.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'"{key}" must be a text, got {text!r:.100}')
    if len(text) > MOST_TEXT_CHARS:
        raise ValueError(f'"{key}" has {len(text):,} characters; allowed: up to {MOST_TEXT_CHARS:,}')
    return text.strip()


def path_of(folder: Path, record: Mapping[str, Any], key: str) -> Path:
    """The file in a folder that a key of an entry names, or a ValueError."""
    name = text_of(record, key)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f'"{key}" must be a path below {folder}, got {name!r:.100}')
    return folder / path


def points_on_mask(found_px: ArrayLike, mask: Pixels, *, rounded: bool) -> NDArray[np.bool_]:
    """Which of (N, 2) points are on a mask; those outside it are not.

    Each benchmark has its own way from a point to a pixel, and that is kept: Molmo's code rounds, that of PointArena
    and of RefSpatial-Bench cuts the fraction off.

    Args:
        rounded: to the nearest whole number, halves to the even one, as Python does; else the fraction is cut off.

    Example:
        >>> mask = np.zeros((4, 4), bool); mask[1, 2] = True
        >>> points_on_mask([(2.4, 1.0), (2.6, 1.0)], mask, rounded=True)
        array([ True, False])
        >>> points_on_mask([(2.4, 1.0), (2.6, 1.0)], mask, rounded=False)
        array([ True,  True])
    """
    points = np.asarray(found_px, float).reshape(-1, 2)
    x, y = (np.rint(points) if rounded else np.trunc(points)).T
    inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    on = np.zeros(len(points), dtype=bool)
    on[inside] = mask[y[inside].astype(int), x[inside].astype(int)]
    return on


def deepest_point(pixels: Pixels) -> Point:
    """The centre of the pixel that is farthest from the mask's edge, (x, y)."""
    # A rim of background: the photo's border is an edge, too.
    depth = cv2.distanceTransform(np.pad(pixels, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x) - 0.5, float(y) - 0.5


def nearest_pixel(pixels: Pixels, point_px: Point) -> Point:
    """Column and row, whole numbers, of the mask's pixel that is nearest to a point."""
    rows, columns = np.nonzero(pixels)
    nearest = int(np.hypot(columns - point_px[0], rows - point_px[1]).argmin())
    return float(columns[nearest]), float(rows[nearest])


def on_mask_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """Ours, for parts whose benchmark has no metric of pointing: 100 where the first point is on the mask, else 0."""
    on = points_on_mask(found_px, task.masks[0].pixels(), rounded=False)
    return {"on_part": 100.0 if len(on) and on[0] else 0.0}


def listed_entries(path: Path, read: Callable[[int, dict[str, Any]], list[PointingTask]]) -> Iterator[Entry]:
    """The entries of a JSON file that holds a list of objects; `read` is given each one's number and itself."""
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of entries, got {type(content).__name__}")

    def checked(number: int, record: Any) -> list[PointingTask]:
        if not isinstance(record, dict):
            raise ValueError(f"expected an object, got {type(record).__name__}")
        return read(number, record)

    for number, record in enumerate(content):
        yield f"{path}, entry {number}", partial(checked, number, record)


def masked_task(
    photo: Path, mask: Path, is_set: Callable[[np.ndarray], np.ndarray], count: Any, **names: str
) -> PointingTask:
    """A task whose right answers are the points on one mask, so many of them where they are counted.

    is_set: (H, W, 3) uint8 of the mask's picture -> (H, W), which pixels are the mask's.
    """
    size_wh = open_photo(photo).size
    if not mask.is_file():
        raise FileNotFoundError(f"no such mask: {mask}")
    try:
        return task_of_pixels(photo, is_set(np.asarray(open_photo(mask))), size_wh, count, **names)
    except ValueError as error:
        raise ValueError(f"{mask}: {error}") from None


def task_of_pixels(
    photo: Path, pixels: Pixels, size_wh: tuple[int, int], count: Any = None, **names: str
) -> PointingTask:
    """As `masked_task`, of (H, W) pixels of a photo."""
    meant = Mask.of(pixels, size_wh)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= pixels.sum()):
        raise ValueError(f'"count" must be a number of points that fit on the mask, got {count!r:.100}')
    point_px = deepest_point(pixels)
    return PointingTask(
        open_photo=partial(open_photo, photo),
        size_wh=size_wh,
        point_px=point_px,
        # The metric asks for points on one mask of all things, not for one on each.
        perfect_px=(point_px,) * (count or 1),
        masks=(meant,),
        count=count,
        **names,  # type: ignore[arg-type]
    )
