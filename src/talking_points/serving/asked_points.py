"""The point that a chat's words ask about, in whichever of the usual ways it is written."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

from talking_points.pointing.forms import FORMS, PAIR, Numbers, json_values, pairs_in_words
from talking_points.points import Point, refuse_normalised

EXAMPLE = '{"x": 212, "y": 140}, (212, 140) or x = 212, y = 140, in pixels of the photo'
MOST_CHARS = 8000
"""Of a message in which a point is looked for. Ours."""
_TAG = re.compile(r"<points?\b[^>]{0,4000}>", re.IGNORECASE)
_KNOWN_BESIDE = {"label", "there", "confidence"}
"""What may stand beside a point in JSON; anything else, such as a width or a unit, could change what it means."""

# Of what looks like a point and is in none of the known ways: to take it for words would answer another question. Words
# hold numbers, too ("the 2x4 plank", "row 3, column 2", "10:45", "20% from the top of the mast"): these stay words.
_NUMBER = r"[-+]?(?:\d{1,9}(?:\.\d{1,12})?|\.\d{1,12})(?:e[-+]?\d{1,3})?"
_UNIT = r"\s?(?:%|‰|px\b|pixels?\b|per\s?cent\b)"
_VALUE = rf"{_NUMBER}(?:{_UNIT})?"
_PICTURE = r"(?:photo|image|picture|frame|screenshot)"
_SIDE = r"(?:left|right|top|bottom|upper|lower)\b"
_FROM = rf"\s*(?:of the way\s+)?(?:in\s+|away\s+)?(?:from|off)\s+(?:the\s+)?(?:{_PICTURE}(?:'s)?\s+)?{_SIDE}"
_PART_OF = rf"(?!\s+(?:edge|side|border|end|half|corner)?\s*of\s+(?!(?:the|this|my|a)?\s*{_PICTURE}))"
_WAY = (
    r"\s*(?:of the way\s+)?(?:to the\s+)?"
    r"(?:across|along|over|left|right|down|up|horizontally|vertically|in [xy]|of the (?:width|height))\b"
)
_NAME = r"\b(?:left|right|top|bottom|col|column|row|width|height)"
_AXIS = (
    r"\b(?:(?:start|end|left|top|pos|position|point|pixel|centre|center)[ _-]?)?c?[xy]"
    r"(?:[ _-]?(?:\d|min|max|px|pos(?:ition)?|coord(?:inate)?|value|centre|center|axis))?"
)
# No count of rows and columns: a unit, a fraction, three digits in one of two numbers, or two in both.
_LARGE = rf"(?=\D{{0,3}}(?:\d{{1,9}}(?:\.\d|{_UNIT})|\d{{3}}|\d{{2}}\D{{1,40}}\d{{2}}|\d\D{{1,40}}\d{{3}}))"
_LIKE_A_POINT = re.compile(
    # Two numbers side by side; two with units; two in brackets.
    rf"(?<![\w.]){_VALUE}(?:\s*[,;]\s*|\s+){_VALUE}(?![\w.]*\w)"
    rf"|(?<![\w.]){_NUMBER}{_UNIT}\s*(?:and|by|x|×)\s*{_NUMBER}{_UNIT}"
    rf"|[(\[{{<]\s*{_NUMBER}\.?(?:{_UNIT})?\s*[,;\s]\s*{_NUMBER}"
    rf"|\d\s*\|\s*\d"
    # Named: x is 212; x1=10; left: 212, top: 140; column 212, row 140; coordinates 212 and 140.
    rf"|{_AXIS}\s*[=:≈]\W{{0,4}}\d[\d.]{{0,12}}"
    rf"|{_AXIS}\s+(?:is|equals)\s+{_VALUE}(?=\W*(?:and\b|\Z|[,;.\n]))"
    r"|\b[xy][ _-]?(?:pos(?:ition)?|coord(?:inate)?|value)\W{1,3}(?:(?:is|of)\s+)?\d{1,9}"
    rf"|\b([xy])\s*{_VALUE}\W+(?:and\s+)?(?!\1)[xy]\s*{_NUMBER}"
    rf"|{_NAME}\s*[=:]\s*{_VALUE}\W+(?:and\s+)?{_NAME}\s*[=:]?\s*{_NUMBER}"
    rf"|{_NAME}\W{{1,3}}{_LARGE}{_VALUE}\W+(?:and\s+)?{_NAME}\W{{1,3}}{_NUMBER}"
    rf"|\b(?:coord(?:inate)?s?|point|pixels?|position|location)\W{{1,4}}(?:(?:at|is|are|of)\s+)?{_VALUE}"
    rf"\s*(?:and|by|[,;x×/:|]|\s)\s*{_NUMBER}"
    # Told by sides and ways: 62% from the left; 212 from the left and 140 from the top; 62% across, 41% down.
    rf"|{_NUMBER}{_UNIT}{_FROM}{_PART_OF}"
    rf"|{_LARGE}(?<![\w.]){_VALUE}{_FROM}[^.\d]{{0,30}}?\b{_VALUE}{_FROM}"
    rf"|{_LARGE}(?<![\w.]){_VALUE}{_WAY}\W+(?:and\s+)?{_VALUE}{_WAY}"
    # Keys and tokens: 'x': 212; start_box='(410,350)'; <|point_start|>, <loc_123>.
    r"|[\"'](?:points?|point_2d|bbox_2d|box_2d|coords|x|y)[\"']\s*:|[\"'][a-z]\w{0,20}[\"']\s*:\W{0,4}\d"
    r"|\b\w{0,20}box\s*=\W{0,6}(?:\d|;)"
    r"|<\|?(?:points?|box|quad|click|tracks?|coords?)(?:\b|_)|<\|?[a-z_]{0,20}\d{1,9}\|?>",
    re.IGNORECASE,
)
_OBJECT = re.compile(r"\{\s*\"")
_IN_PIXELS = re.compile(r"\bin pixels\b|\bpixels from the top\b", re.IGNORECASE)
_JOINED = re.compile(r"(?<![\w.:/])\d{3,9}\s*[x×*/:]\s*\d{3,9}(?![\w:/])", re.IGNORECASE)
"""212x140, which beside a point, or said of the photo, is its size."""
_SIZE = re.compile(
    rf"\b(?:{_PICTURE}|size|resolution)\W+(?:(?:size|is|of)\W+){{0,2}}\d{{1,9}}(?:{_UNIT})?\s?[x×]\s?\d{{1,9}}"
    rf"|\d{{1,9}}\s?[x×]\s?\d{{1,9}}\W?(?:px|pixels?)?\W?(?:{_PICTURE}|display|monitor|screen|resolution)",
    re.IGNORECASE,
)
_NOTHING_ELSE = re.compile(
    r"(?:(?:what(?:'s| is)|describe|at|there|the|in|point|pixel|position|coordinates?)\b|\W)*?"
    rf"{_VALUE}(?:[^\w.]+|\s*[x×]\s*|\s+(?:and|by)\s+){_VALUE}\W*",
    re.IGNORECASE,
)
"""212/140 as all that is said."""
_OTHER_FRAME = re.compile(
    r"%|‰|\bper\s?cent\b|\b(?:thousand|hundred)ths?\b|\bnormali[sz]ed\b|\bfractions?\b|\bproportions?\b"
    r"|\b(?:in|as) shares\b|\bshares of\b|\brelative (?:coord|point|pos|to the (?:size|width))"
    r"|\bout of (?:1|100|999|1000|1024)\b|\bcounted from 0 to\b|\b0(?:\.0)?\s*(?:-|–|to|\.{2,3})\s*1(?:00|000|\.0)?\b"
    r"|\bper mille\b|\borigin\W+(?:\w+\W+){0,3}?(?:bottom|lower|(?:top|upper)[- ]right|cent(?:re|er))\b"
    r"|\by\s*,\s*x\b|\brows?\s*,\s*col"
    r"|\b(?:measured|counted) from (?:the )?(?:right|bottom)\b"
    r"|\bfrom (?:the )?(?:(?:bottom|lower)[- ](?:left|right)|(?:top|upper)[- ]right|cent(?:re|er))\b",
    re.IGNORECASE,
)
"""What says of numbers that they are no pixels, x first, from the top left corner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedPoint:
    """A point as it was written."""

    form: str
    """Of `FORMS`: says the frame."""
    numbers: Numbers
    in_pixels: bool = False
    """The words say so: then numbers below 1 are no shares."""

    def pixels(self, size_wh: tuple[int, int]) -> Point:
        """The same in pixels of the upright photo.

        Raises:
            ValueError: numbers between 0 and 1, where the form has larger ones; or shares outside the photo.
        """
        form, (x, y) = FORMS[self.form], self.numbers
        if not self.in_pixels:
            refuse_normalised([self.numbers], size_wh)
        if form.full is None:
            return x, y
        if not (0 <= x <= form.full and 0 <= y <= form.full):
            raise ValueError(f"the point ({x:g}, {y:g}) is outside the photo, which goes from 0 to {form.full:g} here")
        return x * size_wh[0] / form.full, y * size_wh[1] / form.full


def check_length(words: str) -> None:
    """A ValueError for a text of more characters than are read."""
    if len(words) > MOST_CHARS:
        raise ValueError(f"the last message has {len(words):,} characters; at most {MOST_CHARS:,} are read")


def asked_point(words: str) -> AskedPoint | None:
    """The one point in a text; None for a text without any.

    Pixels: {"x": 212, "y": 140}, [212, 140], (212, 140), x = 212, y = 140. Thousandths of the photo: Qwen's
    [{"point_2d": [621, 410]}] and Molmo 2's <points coords="1 1 621 410">. Hundredths: Molmo's <point x="62.1" y="41">.

    Raises:
        ValueError: the text is too long, there are several points, or what looks like a point is in none of these ways.
    """
    check_length(words)
    # Full-width digits and brackets as ours.
    rest = unicodedata.normalize("NFKC", words)
    found: set[AskedPoint] = set()
    for tag in _TAG.findall(rest):
        form = "molmo2" if "coords" in tag.lower() else "molmo"
        try:
            found |= {AskedPoint(form=form, numbers=one) for one in FORMS[form].read(tag)}
        except ValueError:
            raise _not_understood(tag) from None
        rest = rest.replace(tag, " ")
    for value, (start, end) in reversed(list(json_values(rest))):
        if (points := _of_json(value)) is not None:
            found |= points
            rest = f"{rest[:start]} ; {rest[end:]}"
        elif _OBJECT.search(rest, start, end):
            raise _not_understood(rest[start:end])
    found |= {AskedPoint(form="pixels", numbers=one) for one in pairs_in_words(rest)}
    rest = PAIR.sub(" ; ", rest)
    if _IN_PIXELS.search(rest):
        if any(one.form != "pixels" for one in found):
            raise ValueError(
                f"the words say 'in pixels', and the point's form counts in parts of the photo; write it as {EXAMPLE}"
            )
        found = {replace(one, in_pixels=True) for one in found}
    unread = _LIKE_A_POINT.search(rest)
    if unread is None and not found:
        unread = _JOINED.search(_SIZE.sub(" ", rest)) or _NOTHING_ELSE.fullmatch(rest)
    if unread is not None:
        raise _not_understood(unread[0])
    if any(one.form == "pixels" for one in found) and (other := _OTHER_FRAME.search(rest)) is not None:
        raise ValueError(f"{other[0]!r} says that the point is not in pixels, x first; write it as {EXAMPLE}")
    if len(found) > 1:
        raise ValueError(f"the last message has {len(found)} points; ask about one at a time, or use /v1/describe")
    return found.pop() if found else None


def _not_understood(words: str) -> ValueError:
    return ValueError(
        f"{words.strip()[:40]!r} looks like a point and is not understood; write a point as {EXAMPLE}; "
        "a description with such numbers goes to /v1/localize"
    )


def _of_json(value: Any) -> set[AskedPoint] | None:
    """Points of a JSON value of a way that is known, or of a list of these; None for any other."""
    is_list = isinstance(value, list) and value and all(isinstance(one, dict | list) for one in value)
    points = [_point_of_json(one) for one in (value if is_list else [value])]
    return None if None in points else {point for point in points if point is not None}


def _point_of_json(value: Any) -> AskedPoint | None:
    form = "pixels"
    if isinstance(value, dict):
        names = value.keys() - _KNOWN_BESIDE
        if names == {"point_2d"}:
            value, form = value["point_2d"], "qwen"
        elif names == {"x", "y"}:
            value = [value["x"], value["y"]]
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e6 for one in value):
        return None
    return AskedPoint(form=form, numbers=(float(value[0]), float(value[1])))
