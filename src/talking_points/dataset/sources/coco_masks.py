"""What COCO's numbers of a photo are in its pixels: masks from polygons and run lengths, points and boxes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from talking_points.dataset.sources.reading import SourcePhoto
from talking_points.labels.coco import NO_SIZE_NOTE, CocoFile, record_of
from talking_points.labels.frames import LabelFrame, frame_of_labels, same_shape, say_frame
from talking_points.labels.problems import LabelError, refuse
from talking_points.points import Box
from talking_points.progress import one_line

PERCENT_NOTE = "polygons taken as pixels, though none of the file reaches beyond 100, as if they were in per cent"
PERCENT_FROM = 200
"""Of photos with sides longer than this, in pixels, that is odd."""
ASPECT_TOLERANCE = 0.02
"""A photo of another size than people's own JSON says is read when the aspect ratios agree within this share."""
FARTHEST_SIDES = 100
"""Coordinates farther out than so many sides of the photo are a mistake."""
BEYOND = 1.02
"""Labels reach clearly out of a photo from this many of its sides on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoFrame:
    """How the numbers that a file gives of one photo become pixels of that photo, opened upright."""

    turn: LabelFrame
    stated_wh: tuple[int, int]
    """Size of the photo that the numbers count in; its shape is that of `turn.own_wh`."""
    file: Path
    """The annotation file, for errors."""
    photo_name: str
    """The photo, for errors."""
    notes: tuple[str, ...]
    """For `Scene.notes`."""

    def pixels(self, annotation: dict[str, Any]) -> np.ndarray:
        """(H, W) bool: the pixels of the upright photo that an annotation covers, which may be none.

        Its `segmentation` is a list of polygons, one polygon, or run lengths as a list or compressed in a text; else it
        is a LabelError. Polygons of fewer than three corners cover nothing.
        """
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, list) and len(segmentation) == 1 and isinstance(segmentation[0], dict):
            segmentation = segmentation[0]
        if segmentation is None:
            raise self._empty(annotation)
        try:
            if isinstance(segmentation, list):
                mask = mask_of_polygons(_polygons(segmentation), self.stated_wh, self.turn.own_wh)
            elif isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
                mask = mask_of_runs(segmentation, self.stated_wh)
                if self.turn.own_wh != self.stated_wh:
                    mask = cv2.resize(mask, self.turn.own_wh, interpolation=cv2.INTER_NEAREST)
            else:
                raise ValueError(f"expected polygons or run lengths as segmentation, got {str(segmentation)[:40]}")
        except (TypeError, ValueError, OverflowError, IndexError) as error:
            record = record_of(annotation, self.photo_name)
            raise refuse(self.file, record, one_line(error), "draw it again, or remove it") from None
        return self.turn.turn_map(mask.astype(bool))

    def mask(self, annotation: dict[str, Any]) -> np.ndarray:
        """`pixels`, at least one of them: it is a LabelError, too, where they are none."""
        mask = self.pixels(annotation)
        if not mask.any():
            raise self._empty(annotation)
        return mask

    def _empty(self, annotation: dict[str, Any]) -> LabelError:
        found = _why_empty(annotation, self.stated_wh)
        return refuse(self.file, record_of(annotation, self.photo_name), found, "draw its outline, or remove it")

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) x and y as the file counts them, as pixels of the upright photo; both count from the corner."""
        scale = np.array(self.turn.own_wh) / np.array(self.stated_wh)
        return self.turn.turn_points(np.asarray(points, dtype=np.float64).reshape(-1, 2) * scale)

    def box(self, bbox: Iterable[float]) -> Box:
        """x, y, width, height as the file counts them, as x0, y0, x1, y1 in pixels of the upright photo, not cut."""
        x, y, width, height = bbox
        (ax, ay), (bx, by) = self.points(np.array([[x, y], [x + width, y + height]])).tolist()
        return (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def frame_of_photo(coco: CocoFile, photo_id: str, photo: SourcePhoto, *, tolerance: float = 0.0) -> CocoFrame:
    """How the file's numbers of a photo become its pixels: checked against its size, scaled, and turned upright.

    A photo of another size than the file says is a LabelError, unless the aspect ratios agree within the share
    `tolerance`; so is one of which nothing tells in which frame its labels are, see `frame_of_labels`.
    """
    size_wh, orientation = photo.size_wh, photo.orientation
    record = coco.photos[photo_id]
    stated_wh, said = record.size_wh, coco.labels_frame
    turn = frame_of_labels(
        size_wh, orientation, stated_wh, file=photo.path, said=said, where=coco.path, tolerance=tolerance
    )
    notes = turn.notes
    if stated_wh is None:
        stated_wh, notes = turn.own_wh, (*notes, NO_SIZE_NOTE)
    if not same_shape(stated_wh, turn.own_wh, tolerance):
        # What is said of the labels holds, also where a tool wrote down the other frame's size.
        if orientation < 5 or said is None or not same_shape(stated_wh[::-1], turn.own_wh, tolerance):
            found = f"is {size_wh[0]}x{size_wh[1]}, but {coco.path.name} says {stated_wh[0]}x{stated_wh[1]}"
            raise refuse(photo.path, "", found, "give the photo that was labelled")
        stated_wh = (stated_wh[1], stated_wh[0])
    elif orientation >= 5 and said is None and _fits_only_turned(record.annotations, stated_wh):
        found = f"EXIF orientation {orientation}: its size is that of one frame, and its labels fit the other only"
        raise refuse(photo.path, "", found, say_frame(coco.path))
    if coco.looks_percent and min(stated_wh) > PERCENT_FROM:
        notes = (*notes, PERCENT_NOTE)
    return CocoFrame(turn=turn, stated_wh=stated_wh, file=coco.path, photo_name=record.file_name, notes=notes)


def _fits_only_turned(annotations: Iterable[dict[str, Any]], stated_wh: tuple[int, int]) -> bool:
    """Whether labels reach clearly out of a photo, and would not if its sides were exchanged."""
    farthest = np.zeros(2)
    for annotation in annotations:
        try:
            for corners in _polygons(annotation.get("segmentation")):
                farthest = np.maximum(farthest, corners.max(axis=0))
        except (TypeError, ValueError, OverflowError):
            continue
    limits = BEYOND * np.array(stated_wh)
    return bool((farthest > limits).any() and (farthest <= limits[::-1]).all())


def mask_of_runs(segmentation: dict[str, Any], stated_wh: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 of run lengths, a list or a compressed text; ValueError where they are not of this size."""
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list) or len(size) != 2 or [int(one) for one in size] != [stated_wh[1], stated_wh[0]]:
        shown = f"{size[1]}x{size[0]}" if isinstance(size, list) and len(size) == 2 else str(size)[:40]
        raise ValueError(f"run lengths are of {shown} pixels, the photo of {stated_wh[0]}x{stated_wh[1]}")
    runs = decode_counts(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    if sum(runs) != stated_wh[0] * stated_wh[1] or min(runs) < 0:
        raise ValueError(f"run lengths sum to {sum(runs)}, expected {stated_wh[0]}x{stated_wh[1]} pixels")
    # Runs go down the columns, and the first is background.
    flat = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    return np.ascontiguousarray(flat.reshape(stated_wh).T)


def decode_counts(text: str | bytes) -> list[int]:
    """Run lengths from COCO's compressed text. pycocotools would read past the end of broken ones.

    Each number is written in characters from "0" on, 5 bits a character, lowest first; 32 says that more follow,
    16 in the last is the sign. From the fourth number on, the difference to the one two before is written.

    Example:
        >>> decode_counts("52203")
        [5, 2, 2, 2, 5]
    """
    runs: list[int] = []
    value = shift = 0
    for character in text if isinstance(text, bytes) else text.encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs


def mask_of_polygons(polygons: list[np.ndarray], stated_wh: tuple[int, int], size_wh: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 of polygons that count in a photo of `stated_wh`; ValueError where they are no pixels of it."""
    mask = np.zeros(size_wh[::-1], dtype=np.uint8)
    scale = np.array(size_wh) / np.array(stated_wh)
    if polygons:
        largest = max(float(np.abs(corners).max()) for corners in polygons)
        if largest > FARTHEST_SIDES * max(stated_wh):
            raise ValueError(f"a polygon reaches to {largest:g}, the photo is {stated_wh[0]}x{stated_wh[1]}")
        if largest <= 1 and min(stated_wh) > 2:
            raise ValueError("all numbers of its polygons are between 0 and 1, expected pixels")
    for corners in polygons:
        # Coordinates count from the pixel's corner, fillPoly wants pixels; it draws the outline's own, too.
        cv2.fillPoly(mask, [np.floor(corners * scale).astype(np.int32)], 1)
    return mask


def _polygons(segmentation: object) -> list[np.ndarray]:
    """(N, 2) corners of each polygon of three corners or more; a ValueError where something in it is no polygon.

    Polygons are lists x, y, x, y, ... or of pairs; a single one may stand without a list around it.
    """
    if not isinstance(segmentation, list):
        raise ValueError("no polygons")
    polygons = segmentation
    of_numbers = bool(polygons) and all(is_number(one) for one in polygons)
    if of_numbers or (len(polygons) >= 3 and all(_is_pair(one) for one in polygons)):
        polygons = [polygons]
    found = []
    for one in polygons:
        if not isinstance(one, list):
            raise ValueError(f"expected polygons as lists of x, y, x, y, ..., got {str(one)[:40]}")
        numbers = [number for pair in one for number in pair] if one and all(_is_pair(two) for two in one) else one
        if not all(is_number(number) for number in numbers):
            raise ValueError(f"a polygon holds more than numbers: {str(one)[:60]}")
        if len(numbers) % 2:
            raise ValueError(f"a polygon has {len(numbers)} numbers, expected pairs x, y")
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a polygon has a number that is not finite")
        # Published files hold such crumbs of two corners and fewer.
        if len(numbers) >= 6:
            found.append(np.asarray(numbers, dtype=np.float64).reshape(-1, 2))
    return found


def is_number(value: object) -> bool:
    """Whether a value of JSON is a number, which may be NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(is_number(number) for number in value)


def _why_empty(annotation: dict[str, Any], stated_wh: tuple[int, int]) -> str:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict) or (segmentation and isinstance(segmentation[0], dict)):
        return "its run lengths cover no pixel"
    if segmentation in (None, "", [], [[]]):
        return "has a box and no segmentation" if annotation.get("bbox") else "has no segmentation"
    if not _polygons(segmentation):
        return "its polygons have fewer than 3 corners"
    return f"lies wholly outside the {stated_wh[0]}x{stated_wh[1]} photo"
