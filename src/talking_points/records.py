"""Points of photo files and texts about them, from lines of files of samples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from talking_points.samples import point_of_record

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Keypoint:
    """A point of a photo file, in pixels of the upright photo."""

    photo_path: str
    """As written in the file: absolute, or relative to where the reader keeps the photos."""
    point_px: tuple[float, float]
    size_wh: tuple[int, int]
    """Width and height of the photo, in pixels."""
    source: str = ""
    """Name of the dataset."""

    def __post_init__(self) -> None:
        if not self.photo_path:
            raise ValueError("photo_path is empty")
        width, height = self.size_wh
        if width < 1 or height < 1:
            raise ValueError(f"size_wh is {width}x{height}, expected at least 1x1")
        x, y = self.point_px
        # Written so that NaN fails, too.
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f"point_px [{x}, {y}] is outside the {width}x{height} photo")


@dataclass(frozen=True, kw_only=True, slots=True)
class Triplet(Keypoint):
    """A point, its photo and a text about it, with what is known of the object and the part."""

    text: str
    dialect: str = ""
    """A key of `dataset.places.DIALECTS`; "" when a person or a model wrote it."""
    object_name: str | None = None
    part_name: str | None = None
    object_box_xyxy: Box | None = None
    """x0, y0, x1, y1 in pixels of the photo, x1 and y1 exclusive."""
    part_box_xyxy: Box | None = None

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is made anew, and the zero-argument form would miss it.
        Keypoint.__post_init__(self)
        if not self.text.strip():
            raise ValueError("text is empty")
        for name in ("object_box_xyxy", "part_box_xyxy"):
            box = getattr(self, name)
            if box is not None and not (box[0] < box[2] and box[1] < box[3]):
                raise ValueError(f"{name} {list(box)} is empty, expected x0 < x1 and y0 < y1")


def triplet_of_sample(record: Mapping[str, Any], size_wh: tuple[int, int]) -> Triplet:
    """A triplet from a line of a file of samples, whose other keys are passed over.

    Args:
        record: with `photo`, `x`, `y`, `text`, and what else a triplet has; null is as if it were not there.
        size_wh: of the photo.

    Raises:
        ValueError: a key is missing or of another type, or the record states another `size_wh`; names it.
    """
    asked = point_of_record(record, wants_text=False)
    if asked.size_wh is not None and asked.size_wh != size_wh:
        raise ValueError(f"the photo is {size_wh}, the line says {asked.size_wh}")
    assert asked.photo is not None and asked.point_px is not None
    values: dict[str, Any] = {}
    for name in ("source", "text", "dialect", "object_name", "part_name"):
        if (value := record.get(name)) is not None:
            if not isinstance(value, str):
                raise ValueError(f"{name} is {json.dumps(value)}, expected a text")
            values[name] = value
    for name in ("object_box_xyxy", "part_box_xyxy"):
        if (value := record.get(name)) is not None:
            values[name] = _box(name, value)
    if "text" not in values:
        raise ValueError("text is missing")
    return Triplet(photo_path=asked.photo, point_px=asked.point_px, size_wh=size_wh, **values)


def _box(name: str, value: Any) -> Box:
    numbers = [one for one in value if isinstance(one, int | float) and math.isfinite(one)] if value else []
    if not isinstance(value, list | tuple) or len(value) != 4 or len(numbers) != 4:
        raise ValueError(f"{name} is {json.dumps(value)}, expected four finite numbers x0, y0, x1, y1")
    return numbers[0], numbers[1], numbers[2], numbers[3]
