"""One point of a photo: what is asked of it, what a model answers, and how both are written as JSON everywhere.

Asked: `photo` (a path), `x` and `y` (pixels of the upright photo), `text`. Answered: `description`, `model`, `found_x`,
`found_y`, `confidence`, `runner_up_x`, `runner_up_y`, `there`, `error`, `problem`, `line`. `found_x`, `found_y` and
`there` are always given, null where not known; of the others what is not known is left out. What is known of the thing
that a point is on stands under `source`, `object_name`, `object_category`, `part_name`, `object_box_xyxy` and
`part_box_xyxy`, and `hidden`: training and evaluation read it. Other keys are carried along.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from talking_points.points import Box, Point, check_point, distance_unit, is_finite_number

ABSENT_BELOW = 0.5
"""A thing that is in the photo with less probability than this counts as absent. Ours."""
RUNNER_UP_SHARE = 0.5
"""A second place that is at least this share as likely as the first is told. Ours."""
ANSWER_KEYS = frozenset(
    ("description", "model", "found_x", "found_y", "confidence", "runner_up_x", "runner_up_y")
    + ("there", "error", "problem", "line")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPoint:
    """Where a text leads, and how surely."""

    point_px: Point
    """Pixels of the photo; the likeliest place also of a thing that counts as absent. NaN, NaN where the model gave no
    point: it says that the thing is not there (`there` is 0), or `problem` says why."""
    confidence: float | None
    """Probability that the point meant is within a tenth of the photo's longer side, given that the thing is in the
    photo; places that fit the words equally well share it. None where the checkpoint's coordinate head is a
    regression, which does not know."""
    runner_up_px: Point | None
    """Another place that fits the words nearly as well, the likeliest of the others; None when there is none."""
    there: float | None = None
    """Probability that the thing named is in the photo at all, see `absence`; None where the checkpoint does not
    know."""
    problem: str | None = None
    """Why there is no answer, such as one that could not be read; None where there is one."""


NOWHERE = FoundPoint(point_px=(math.nan, math.nan), confidence=None, runner_up_px=None)
"""No point, for a reason that is put beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoPoint:
    """A point of a photo, asked and answered; what is not known is None. Points are in pixels of the upright photo."""

    photo: str | None = None
    """As written: absolute, or relative to where the reader keeps the photos."""
    size_wh: tuple[int, int] | None = None
    """Width and height that the point is a pixel of, as stated."""
    point_px: Point | None = None
    text: str | None = None
    """Given, to be found, or to learn from."""
    line: int | None = None
    """Of the file that it was read from, counted from 1."""
    source: str = ""
    """Name of the data set, as the next four "" or None where not known."""
    object_name: str | None = None
    object_category: str = ""
    """The broader class of the object, such as the family of an animal."""
    part_name: str | None = None
    object_box_xyxy: Box | None = None
    """x0, y0, x1, y1 in pixels of the photo, x1 and y1 exclusive."""
    part_box_xyxy: Box | None = None
    hidden: bool = False
    """Something hides it: people estimated its place."""
    description: str | None = None
    """A model's, of the point."""
    found_px: Point | None = None
    confidence: float | None = None
    """See `FoundPoint`, as the next two."""
    runner_up_px: Point | None = None
    there: float | None = None
    error: float | None = None
    """Distance of asked and found in the photo's normalised coordinates."""
    problem: str | None = None
    """Why there is no answer."""

    @property
    def words(self) -> str | None:
        """The description, or the text that was given in its place."""
        return self.text if self.description is None else self.description

    def check_on(self, size_wh: tuple[int, int]) -> None:
        """ValueError where the point is of a photo of another size, or outside one of this size."""
        if self.size_wh is not None and self.size_wh != size_wh:
            stated, found = ("{}x{}".format(*size) for size in (self.size_wh, size_wh))
            raise ValueError(f"the point is of a {stated} photo, the photo is {found} upright")
        if self.point_px is not None:
            check_point(self.point_px, size_wh)

    def answered(self, found: FoundPoint, size_wh: tuple[int, int]) -> PhotoPoint:
        """The same point with where its words lead on a photo of this size."""
        found_px = None if math.isnan(found.point_px[0]) else found.point_px
        error = None
        if self.point_px is not None and found_px is not None:
            error = distance_unit(found_px, self.point_px, size_wh)
        return replace(
            self,
            found_px=found_px,
            confidence=found.confidence,
            runner_up_px=found.runner_up_px,
            there=found.there,
            error=error,
            problem=found.problem,
        )


def says_something(text: str) -> bool:
    """Whether a text has a letter, a digit or a symbol; without any it describes nothing.

    Example:
        >>> says_something("the eye"), says_something("🙂"), says_something(" \\0..")
        (True, True, False)
    """
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


def absence(there: float | None) -> str:
    """What people are told of a thing that counts as absent; empty where it does not, or where nothing is known.

    Args:
        there: as in `FoundPoint`.

    Example:
        >>> absence(0.04)
        'not in the photo'
        >>> absence(0.96), absence(None)
        ('', '')
    """
    return "not in the photo" if there is not None and there < ABSENT_BELOW else ""


def percent(probability: float) -> str:
    """A probability for people, never 0% or 100%: so sure it has not been shown to be.

    Rounded, except that what is below one half stays below: it counts as absent, or as not likely.

    Example:
        >>> percent(0.0000146), percent(0.01), percent(0.4999), percent(0.5), percent(1.0)
        ('less than 1%', '1%', '49%', '50%', '99%')
    """
    if probability < 0.01:
        return "less than 1%"
    return f"{min(round(100 * probability), 49 if probability < 0.5 else 99)}%"


def as_text(answer: PhotoPoint) -> str:
    """A point or text and what was answered, as people and agents read it: a line, and one of how sure it is."""
    asked = f"({answer.point_px[0]:g}, {answer.point_px[1]:g})" if answer.point_px else ""
    found = f"({answer.found_px[0]:.1f}, {answer.found_px[1]:.1f})" if answer.found_px else ""
    absent, away = absence(answer.there), ""
    if answer.point_px and answer.found_px and answer.error is not None:
        pixels = math.dist(answer.point_px, answer.found_px)
        away = f", {pixels:.1f} px away ({100 * answer.error:.1f}% of the photo)"
    none = "" if answer.problem is None else "no answer"
    lines = [f"{asked or absent or found or none}: {answer.words or '(no description)'}"]
    if answer.problem is not None:
        lines.append(f"  no answer: {answer.problem}")
    elif absent and answer.found_px is None:
        # A model that says so itself, without a likeliest place.
        lines += [f"  {absent}"] if asked else []
    elif absent and answer.there is not None:
        likely = f"{percent(answer.there)} likely to be there; the likeliest place is {found}{away}"
        lines.append(f"  {absent}: {likely}" if asked else f"  {likely}")
    elif away:
        lines.append(f"  found again at {found}{away}")
    elif answer.confidence is not None and answer.point_px is None:
        other = ""
        if answer.runner_up_px is not None:
            other = "; or else at ({:.1f}, {:.1f})".format(*answer.runner_up_px)
        sure = percent(answer.confidence)
        lines.append(f"  {sure} sure to be within a tenth of the photo's longer side{other}")
    return "\n".join(lines)


def answer_as_json(point: PhotoPoint) -> dict[str, Any]:
    """What a model answered about a point. `found_x` and `found_y` of an absent thing are its likeliest place, where
    the model gives one."""
    found_x, found_y = point.found_px or (None, None)
    other_x, other_y = point.runner_up_px or (None, None)
    sure = None if point.confidence is None else round(point.confidence, 4)
    answer = {"description": point.description, "found_x": found_x, "found_y": found_y, "confidence": sure}
    answer |= {"runner_up_x": other_x, "runner_up_y": other_y, "there": point.there, "error": point.error}
    answer["problem"] = point.problem
    always = ("found_x", "found_y", "there")
    return {key: value for key, value in answer.items() if value is not None or key in always}


def points_as_json(
    points: Sequence[PhotoPoint], size_wh: tuple[int, int], *, model: str, path: str | None = None
) -> dict[str, Any]:
    """Answers about one photo, as the shell, the HTTP API and the web page give them.

    Args:
        points: of the photo.
        size_wh: width and height of the photo, in pixels.
        model: name of the model that answered.
        path: of the photo, where it is a file.
    """
    photo = {"width": size_wh[0], "height": size_wh[1]}
    return {
        "model": model,
        "photo": photo if path is None else {"path": path, **photo},
        "points": [_asked_as_json(point) | answer_as_json(point) for point in points],
    }


def _asked_as_json(point: PhotoPoint) -> dict[str, Any]:
    x, y = point.point_px or (None, None)
    return {key: value for key, value in {"x": x, "y": y, "text": point.text}.items() if value is not None}


def point_of_record(record: Mapping[str, Any], *, wants_text: bool) -> PhotoPoint:
    """What a JSON object asks: a point of a photo, or a text about it.

    Args:
        record: with `photo`, and `x` and `y` or `text`; `size_wh` where it is known.
        wants_text: whether it is the text that is asked about.

    Raises:
        ValueError: a key is missing or of another type; the message names it.
    """
    photo = record.get("photo")
    if not isinstance(photo, str) or not photo or "\0" in photo:
        others = f"; there are {', '.join(record)} (--fields names them)" if "photo" not in record and record else ""
        raise ValueError(f'"photo" must be a path, got {photo!r:.100}{others:.300}')
    size_wh = _numbers(record, "size_wh", 2, int, "[width, height] in whole pixels")
    if not wants_text:
        return PhotoPoint(photo=photo, size_wh=size_wh, point_px=(_number(record, "x"), _number(record, "y")))
    text = record.get("text")
    if not isinstance(text, str):
        raise ValueError(f'"text" must be a text, got {text!r:.100}')
    return PhotoPoint(photo=photo, size_wh=size_wh, text=text)


def labelled_point(record: Mapping[str, Any], size_wh: tuple[int, int]) -> PhotoPoint:
    """A point to train or score on: with its text where there is one, and what the record knows of object and part.

    Args:
        record: with `photo`, `x`, `y`, and any of the keys named above.
        size_wh: width and height of the upright photo.

    Raises:
        ValueError: a key is missing or wrong, the point is outside the photo, or the record states another size.
    """
    asked = point_of_record(record, wants_text=False)
    asked.check_on(size_wh)
    hidden = record.get("hidden")
    if hidden not in (None, False, True, 0, 1):
        raise ValueError(f'"hidden" must be true or false, got {hidden!r:.100}')
    known: dict[str, Any] = {"hidden": bool(hidden)}
    for name in ("text", "source", "object_name", "object_category", "part_name"):
        if (value := record.get(name)) is not None:
            if not isinstance(value, str) or not (says_something(value) or name != "text"):
                raise ValueError(f'"{name}" must be a text, got {value!r:.100}')
            known[name] = value
    for name in ("object_box_xyxy", "part_box_xyxy"):
        if (box := _numbers(record, name, 4, float, "[x0, y0, x1, y1] in pixels")) is not None:
            if not (box[0] < box[2] and box[1] < box[3]):
                raise ValueError(f'"{name}" is empty, expected x0 < x1 and y0 < y1, got {list(box)}')
            known[name] = box
    return replace(asked, size_wh=size_wh, **known)


def _number(record: Mapping[str, Any], key: str) -> float:
    value = record.get(key)
    if not is_finite_number(value):
        raise ValueError(f'"{key}" must be a number of pixels, got {value!r:.100}')
    return float(value)


def _numbers(record: Mapping[str, Any], key: str, count: int, kind: type, form: str) -> Any:
    """So many numbers of a kind; None where the record has none."""
    value = record.get(key)
    if value is None:
        return None
    allowed: tuple[type, ...] = (int,) if kind is int else (int, float)
    is_list = isinstance(value, list | tuple) and len(value) == count
    if not is_list or not all(isinstance(n, allowed) and is_finite_number(n) for n in value):
        raise ValueError(f'"{key}" must be {form}, got {value!r:.100}')
    return tuple(value)
