"""Records: a point in a photo, and the text about it; on disk as one JSON object a line (JSONL).

Points and boxes are in pixels of the photo as opened (EXIF orientation applied): x right, y down, the centre
of pixel (i, j) is (i + 0.5, j + 0.5).
"""

from __future__ import annotations

import codecs
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from talking_points.photos import open_photo
from talking_points.samples import point_of_record

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Keypoint:
    """A point in a photo file."""

    photo_path: str
    """As written in the file: absolute, or relative to where the reader keeps the photos."""
    point_px: tuple[float, float]
    """x, y in pixels of the photo."""
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

    @property
    def x(self) -> float:
        """Pixels of the photo from its left border."""
        return self.point_px[0]

    @property
    def y(self) -> float:
        """Pixels of the photo from its top border."""
        return self.point_px[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Triplet(Keypoint):
    """A point, its photo and a text about it, with what is known of the object and the part."""

    text: str
    dialect: str = ""
    """Name of the way of writing, see `dataset.relations.DIALECTS`; "" when a person or a model wrote it."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltRecord(Keypoint):
    """A record of a built set: a triplet with everything that led to its text.

    Its columns in Parquet are these fields, see `dataset.parquet`. `photo_path` is the photo's file name in the set.
    """

    record_id: str
    """Source, photo and number, as in "pascal-part-116/2008_000033/02"."""
    photo_id: str
    """Name of the photo in its source."""
    split: str
    """"train" or "test"."""
    object_name: str
    object_category: str
    """The broader class that the source's authors count by, such as "quadruped"; the name where there is none."""
    part_name: str
    """Of a keypoint that its source names: that name, such as "left eye"."""
    object_box_xyxy: Box
    """x0, y0, x1, y1 in pixels of the photo, x1 and y1 exclusive."""
    part_box_xyxy: Box | None
    """None for a named keypoint, which has no extent."""
    text: str | None
    """The coarse-to-fine description; None where there is none, as of named keypoints."""
    draft: str | None
    """After the first stage of synthesis."""
    relations: str | None
    """The hierarchical spatial annotation in words."""
    object_description: str | None
    """By `object_describer`, of the whole photo with the point."""
    local_description: str | None
    """By `local_describer`, of what is right around the point."""
    dialect: str | None
    """A key of `dataset.relations.DIALECTS`."""
    object_describer: str | None
    """"rules" or a model's name; so are the next two."""
    local_describer: str | None
    writer: str | None
    prompts_sha256: str | None
    """Of the prompts that models were asked with; None when no model was asked."""
    point_kind: str
    """"sift", "smooth", or "named" for a keypoint of the source."""
    sift_response: float | None
    """Strength of the keypoint, as OpenCV gives it; None for a point that is not SIFT's."""
    sift_scale_px: float | None
    """Diameter of the keypoint's neighbourhood, in pixels of the photo."""
    seed: int
    """Of the build."""

    @property
    def point_unit(self) -> tuple[float, float]:
        """The point in the photo's [0, 1]^2: x / width, y / height."""
        return self.point_px[0] / self.size_wh[0], self.point_px[1] / self.size_wh[1]

    def to_triplet(self) -> Triplet:
        """What training needs of it.

        Raises:
            ValueError: the record has no text.
        """
        if self.text is None:
            raise ValueError(f"record {self.record_id} has no text, and a triplet needs one")
        return Triplet(
            photo_path=self.photo_path,
            point_px=self.point_px,
            size_wh=self.size_wh,
            source=self.source,
            text=self.text,
            dialect=self.dialect or "",
            object_name=self.object_name,
            part_name=self.part_name,
            object_box_xyxy=self.object_box_xyxy,
            part_box_xyxy=self.part_box_xyxy,
        )


_NUMBERS = {
    "point_px": (2, "(x, y)"),
    "size_wh": (2, "(width, height)"),
    "object_box_xyxy": (4, "(x0, y0, x1, y1)"),
    "part_box_xyxy": (4, "(x0, y0, x1, y1)"),
}
_REQUIRED = ("photo_path", "point_px", "size_wh", "text")


def read_triplets(path: Path | str) -> list[Triplet]:
    """Read a JSONL file of triplets, in the form of `samples` or that of `write_triplets`; blank lines are passed over.

    Raises:
        ValueError: a line is not valid; the message starts with the file's name and the line's number.
    """
    return list(_iterate(Path(path)))


def _iterate(path: Path) -> Iterator[Triplet]:
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
                if isinstance(record, dict) and "photo" in record:
                    yield triplet_of_sample(record, open_photo(path.parent / str(record["photo"])).size)
                else:
                    yield triplet_from_dict(record)
            except ValueError as error:
                # Also JSONDecodeError and UnicodeDecodeError, which are ValueErrors.
                raise ValueError(f"{path.name}:{number}: {error}") from None


def write_triplets(path: Path | str, triplets: Iterable[Triplet]) -> int:
    """Write triplets as JSONL and return how many; the file appears whole or not at all."""
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.part")
    count = 0
    with unfinished.open("w", encoding="utf-8") as file:
        for triplet in triplets:
            file.write(json.dumps(triplet_to_dict(triplet), ensure_ascii=False) + "\n")
            count += 1
    os.replace(unfinished, path)
    return count


def triplet_to_dict(triplet: Triplet) -> dict[str, Any]:
    """The record as JSON holds it: tuples become lists, unknown things are left out."""
    record: dict[str, Any] = {}
    for field in fields(triplet):
        value = getattr(triplet, field.name)
        if value is not None and value != "":
            record[field.name] = list(value) if isinstance(value, tuple) else value
    return record


def triplet_from_dict(record: Any) -> Triplet:
    """Check a JSON object and make it a record.

    Raises:
        ValueError: a field is missing, unknown, of another type or out of range; the message names it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, got {type(record).__name__}")
    known = [field.name for field in fields(Triplet)]
    unknown = sorted(record.keys() - set(known))
    if unknown:
        raise ValueError(f"unknown field {unknown[0]}, known are {', '.join(known)}")
    missing = [name for name in _REQUIRED if name not in record]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    values: dict[str, Any] = {}
    for name, value in record.items():
        if name in _NUMBERS:
            values[name] = _number_tuple(name, value)
        elif isinstance(value, str):
            values[name] = value
        else:
            raise ValueError(f"{name} is {json.dumps(value)}, expected a text")
    return Triplet(**values)


def triplet_of_sample(record: Mapping[str, Any], size_wh: tuple[int, int]) -> Triplet:
    """A triplet from a record in the form of `samples`, whose other keys are passed over.

    Args:
        record: with `photo`, `x`, `y`, `text`, and what else a triplet has.
        size_wh: of the photo.

    Raises:
        ValueError: as `triplet_from_dict`; or the record states another `size_wh`.
    """
    asked = point_of_record(record, wants_text=False)
    if asked.size_wh is not None and asked.size_wh != size_wh:
        raise ValueError(f"the photo is {size_wh}, the line says {asked.size_wh}")
    known = {field.name for field in fields(Triplet)}
    rest = {key: value for key, value in without_nulls(record).items() if key in known}
    point = {"photo_path": asked.photo, "point_px": list(asked.point_px or ()), "size_wh": list(size_wh)}
    return triplet_from_dict({**rest, **point})


def without_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a record that have a value."""
    return {key: value for key, value in record.items() if value is not None}


def _number_tuple(name: str, value: Any) -> tuple[float, ...]:
    count, meaning = _NUMBERS[name]
    if not isinstance(value, list):
        raise ValueError(f"{name} is {json.dumps(value)}, expected a list {meaning}")
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} numbers, expected {count} {meaning}")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise ValueError(f"{name} holds {json.dumps(number)}, expected finite numbers {meaning}")
    if name == "size_wh" and any(number != int(number) for number in value):
        raise ValueError(f"size_wh is {value}, expected whole numbers {meaning}")
    return tuple(int(number) for number in value) if name == "size_wh" else tuple(value)
