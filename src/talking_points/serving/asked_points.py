"""The point that a chat's words ask about, in whichever of the usual ways it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from talking_points.pointing.forms import FORMS, PAIR, Numbers, json_values, pairs_in_words
from talking_points.points import Point

EXAMPLE = '{"x": 212, "y": 140}, (212, 140) or x = 212, y = 140, in pixels of the photo'
MOST_CHARS = 8000
"""Of a message in which a point is looked for. Ours."""
_TAG = re.compile(r"<points?\b[^>]{0,4000}>", re.IGNORECASE)
_SHARES = re.compile(r"counted from 0 to|normali[sz]ed to", re.IGNORECASE)
_NUMBER = r"[-+]?\d+(?:\.\d+)?%?"
# What looks like a point and is none of the known ways: to take it for words would answer another question.
_LIKE_A_POINT = re.compile(
    rf"(?<![\w.]){_NUMBER}(?:\s*[,;]\s*|\s+){_NUMBER}(?![\w.]*\w)"
    r"|\b[xy]\s*[=:]\s*[\"']?[-+]?[\d.]"
    r"|[\"'](?:points?|point_2d|bbox_2d|box_2d|coords|x|y)[\"']\s*:|<(?:points?|box)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedPoint:
    """A point as it was written."""

    form: str
    """Of `FORMS`: says the frame."""
    numbers: Numbers

    def pixels(self, size_wh: tuple[int, int]) -> Point:
        """The same in pixels of the upright photo. A ValueError where shares of the photo are outside it."""
        form, (x, y) = FORMS[self.form], self.numbers
        if form.full is None:
            return x, y
        if not (0 <= x <= form.full and 0 <= y <= form.full):
            raise ValueError(f"the point ({x:g}, {y:g}) is outside the photo, which goes from 0 to {form.full:g} here")
        return x * size_wh[0] / form.full, y * size_wh[1] / form.full


def asked_point(words: str) -> AskedPoint | None:
    """The one point in a text; None for a text without any.

    Pixels: {"x": 212, "y": 140}, [212, 140], (212, 140), x = 212, y = 140. Thousandths of the photo: Qwen's
    [{"point_2d": [621, 410]}] and Molmo 2's <points coords="1 1 621 410">. Hundredths: Molmo's <point x="62.1" y="41">.

    Raises:
        ValueError: the text is too long, there are several points, or what looks like a point is in none of these ways.
    """
    if len(words) > MOST_CHARS:
        raise ValueError(f"the last message has {len(words):,} characters; at most {MOST_CHARS:,} are read")
    if _SHARES.search(words):
        raise ValueError(f"the point is in shares of the photo, in words; write it as {EXAMPLE}")
    found: set[AskedPoint] = set()
    rest = words
    for tag in _TAG.findall(words):
        form = "molmo2" if "coords" in tag.lower() else "molmo"
        found |= {AskedPoint(form=form, numbers=one) for one in FORMS[form].read(tag)}
        rest = rest.replace(tag, " ")
    for value, (start, end) in reversed(list(json_values(rest))):
        if (points := _of_json(value)) is not None:
            found |= points
            rest = f"{rest[:start]} ; {rest[end:]}"
    found |= {AskedPoint(form="pixels", numbers=one) for one in pairs_in_words(rest)}
    rest = PAIR.sub(" ; ", rest)
    if (unread := _LIKE_A_POINT.search(rest)) is not None:
        raise ValueError(
            f"{unread[0].strip()[:40]!r} looks like a point and is not understood; write a point as {EXAMPLE}; "
            "a description with such numbers goes to /v1/localize"
        )
    if len(found) > 1:
        raise ValueError(f"the last message has {len(found)} points; ask about one at a time, or use /v1/describe")
    return found.pop() if found else None


def _of_json(value: Any) -> set[AskedPoint] | None:
    """Points of a JSON value of a way that is known; None for any other."""
    if isinstance(value, dict) and {"x", "y"} <= value.keys():
        value, form = [value["x"], value["y"]], "pixels"
    elif isinstance(value, dict) and "point_2d" in value:
        value, form = value["point_2d"], "qwen"
    elif isinstance(value, list) and value and all(isinstance(one, dict | list) for one in value):
        several = [_of_json(one) for one in value]
        return None if None in several else {point for some in several for point in some or ()}
    else:
        form = "pixels"
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e6 for one in value):
        return None
    return {AskedPoint(form=form, numbers=(float(value[0]), float(value[1])))}
