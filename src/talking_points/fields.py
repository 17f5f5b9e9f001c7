"""Names under which somebody's file of points has what ours call photo, x, y and text: `--fields`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from talking_points.points import is_finite_number, look_normalised, scaled_to_photo
from talking_points.settings import flag

EXPECTED = (
    "image=NAME,point=NAME,text=NAME; x=NAME,y=NAME for two fields of numbers; scale=1, 100, 1000 or pixels, "
    "alone where all names are ours"
)
SCALES = {"pixels": None, "1": 1.0, "100": 100.0, "1000": 1000.0}
"""What a point's numbers go up to, over each side of the photo; None: they are pixels."""
_OURS = ("photo", "x", "y", "text", "photo_path", "point_px")


class OtherFields(ValueError):
    """A record is not of the form that was said: nor will the file's others be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Where records have what."""

    image: str
    """A path, relative to the file."""
    point: tuple[str, ...] = ()
    """A field of [x, y] or {"x": x, "y": y}, or two of numbers."""
    text: str | None = None
    scale: str | None = None
    """One of `SCALES`; None: not said, so what looks normalised is refused."""

    @classmethod
    def parse(cls, said: str) -> Fields:
        """Read what `--fields` says.

        Example:
            >>> Fields.parse("image=file,x=col,y=row")
            Fields(image='file', point=('col', 'row'), text=None, scale=None)
            >>> Fields.parse("scale=1")
            Fields(image='photo', point=('x', 'y'), text='text', scale='1')
        """
        pairs = [part.partition("=") for part in said.split(",")]
        named = {name.strip(): value.strip() for name, _, value in pairs}
        if named.keys() == {"scale"}:
            named = {"image": "photo", "x": "x", "y": "y", "text": "text"} | named
            pairs = [(name, "=", value) for name, value in named.items()]
        known = named.keys() <= {"image", "point", "x", "y", "text", "scale"}
        point = tuple(named[name] for name in ("point", "x", "y") if name in named)
        is_point = "point" not in named if len(point) == 2 else len(point) == 0 or "point" in named
        whole = all(named.values()) and len(named) == len(pairs) and named.get("scale", "1") in SCALES
        if not (known and whole and "image" in named and is_point and len(point) < 3):
            raise ValueError(f"--fields is {said!r}; expected {EXPECTED}")
        return cls(image=named["image"], point=point, text=named.get("text"), scale=named.get("scale"))

    def described(self, record: Mapping[str, Any]) -> str:
        """What of a record is read as what, and what else it has."""
        read = [f'"{self.image}" as the photo', f'"{", ".join(self.point)}" as the point' if self.point else ""]
        read += [f'"{self.text}" as the text'] if self.text in record else []
        mine = (self.image, *self.point, self.text)
        others = ", ".join(name for name in record if name not in mine) or "none"
        return f"{', '.join(filter(None, read))} is read; other fields: {others:.200}"

    def read(
        self,
        record: Mapping[str, Any],
        size_of: Callable[[str], tuple[int, int]],
        first: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """A record in the form of `samples`, its other keys carried along.

        Args:
            record: of the file.
            size_of: width and height of a photo by its path in the record; asked only where points have a scale.
            first: with the first record, that and some after it: a record may have no text, but not all of them,
                unless the text's field is called as ours.

        Raises:
            OtherFields: a field is not there, that of the text in none of `first`; or the point looks normalised and
                nothing was said of it.
            ValueError, OSError: the point is none, or its photo cannot be opened.
        """
        if missing := [name for name in (self.image, *self.point) if name not in record]:
            raise _no_field(missing[0], record)
        mine = (self.image, *self.point, self.text, *_OURS)
        told: dict[str, Any] = {"photo": record[self.image]}
        if (point := self._point(record)) is not None:
            if self.scale is None and look_normalised([point]):
                raise OtherFields(
                    f"the point {list(point)} looks normalised; add scale=1 to --fields where points go from 0 to 1 "
                    "over each side of the photo, scale=pixels where they do not"
                )
            if (full := SCALES[self.scale or "pixels"]) is not None and isinstance(told["photo"], str):
                point = scaled_to_photo([point], size_of(told["photo"]), full_scale=full)[0].tolist()
            told |= {"x": point[0], "y": point[1]}
        if first and self.text not in (None, "text") and not any(self.text in one for one in first):
            raise _no_field(self.text, {name: None for one in first for name in one})
        if self.text is not None and record.get(self.text) is not None:
            told["text"] = record[self.text]
        return told | {name: value for name, value in record.items() if name not in mine}

    def _point(self, record: Mapping[str, Any]) -> tuple[float, float] | None:
        """x and y as written; None where there is none."""
        given = [record[name] for name in self.point]
        if len(given) == 1:
            value = _parsed(given[0])
            if isinstance(value, Mapping) and {"x", "y"} <= value.keys():
                value = [value["x"], value["y"]]
            given = list(value) if isinstance(value, list | tuple) else given
        if all(value is None for value in given):
            return None
        numbers = [_parsed(value) for value in given]
        if len(numbers) != 2 or not all(is_finite_number(number) for number in numbers):
            names = " and ".join(f'"{name}"' for name in self.point)
            form = '[x, y] or {"x": x, "y": y}' if len(self.point) == 1 else "numbers"
            raise ValueError(f"{names} must be {form}, got {[record[name] for name in self.point]!r:.100}")
        return numbers[0], numbers[1]


def _no_field(name: str | None, there: Iterable[str]) -> OtherFields:
    return OtherFields(f'no field "{name}" (--fields); there are {", ".join(there) or "none":.300}')


@dataclass(frozen=True, kw_only=True)
class FieldSettings:
    """Of commands that read files of points."""

    fields: str | None = field(default=None, metadata=flag(metavar="NAMES"))
    """What a file calls photo, point and text, where not as ours: image=NAME,point=NAME,text=NAME; x=NAME,y=NAME for
    two fields of numbers; scale=1 for points of 0 to 1, alone where names are ours. JSON lists are read then, too."""

    def __post_init__(self) -> None:
        self.named_fields  # noqa: B018 - checks it

    @property
    def named_fields(self) -> Fields | None:
        return None if self.fields is None else Fields.parse(self.fields)


def _parsed(value: Any) -> Any:
    """A cell of a table as what is written in it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
