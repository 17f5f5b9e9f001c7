"""How models of others write points: in which frame, in which notation, and what they say of a thing that is not there.

Each form is what its family documents, or what its published examples show; the prompt that asks for it lies in
`prompts/`. An answer is read strictly: what is not in the form is an error and not a guess.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

from talking_points.points import is_finite_number, look_normalised

Numbers = tuple[float, float]
"""Two numbers in the order in which the model wrote them."""
MOST_CHARS = 20_000
"""Of an answer that is read: no point needs more. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A frame and a notation."""

    full: float | None
    """What stands for the right and the bottom border of the photo; None: pixels of the photo as the model saw it."""
    read: Callable[[str], list[Numbers]]
    """The points of an answer as they are written; none where it says that the thing is not there."""
    y_first: bool = False
    spoken: str
    """How a point is told to the model, with $x and $y."""
    asks: str
    """Name of the prompt that asks for a point."""

    def points(self, answer: str, shown_wh: tuple[int, int]) -> list[tuple[float, float]]:
        """x, y in the photo's [0, 1]^2 of the points in an answer; none where it says that the thing is not there.

        shown_wh: as `unit` takes it. A ValueError where the answer cannot be read, or a point is outside the frame.
        """
        return [self.unit(numbers, shown_wh) for numbers in self.numbers(answer)]

    def numbers(self, answer: str) -> list[Numbers]:
        """The points of an answer as they are written; errors and none as `points`."""
        if len(answer) > MOST_CHARS:
            raise ValueError(f"the answer has {len(answer):,} characters; at most {MOST_CHARS:,} are read")
        return [] if says_absent(answer) else self.read(answer)

    def unit(self, numbers: Numbers, shown_wh: tuple[int, int]) -> tuple[float, float]:
        """x, y in the photo's [0, 1]^2 of numbers as they are written.

        Args:
            numbers: of the form.
            shown_wh: size of the whole photo as the model saw it, in pixels.

        Raises:
            ValueError: they are outside the frame, or shares of the photo where the frame is another.
        """
        first, second = numbers
        full_w, full_h = self._full(shown_wh)
        is_finer = any(round(one, self._digits) != one for one in numbers)
        if self.full != 1 and is_finer and look_normalised([numbers], (full_w, full_h)):
            frame = "pixels" if self.full is None else f"0 to {self.full:g}"
            raise ValueError(
                f"the answer's point ({first:g}, {second:g}) is in shares of the photo and not in {frame}; where all "
                "are, --style moondream reads them"
            )
        x, y = (second, first) if self.y_first else (first, second)
        for value, most in ((x, full_w), (y, full_h)):
            if not 0 <= value <= most:
                raise ValueError(f"the answer's point ({first:g}, {second:g}) is outside 0 to {most:g}")
        return x / full_w, y / full_h

    def say(self, unit: tuple[float, float], shown_wh: tuple[int, int]) -> str:
        """A point of the photo's [0, 1]^2 in words, as the model would write it."""
        full_w, full_h = self._full(shown_wh)
        x, y = (f"{value:.{self._digits}f}" for value in (unit[0] * full_w, unit[1] * full_h))
        return Template(self.spoken).substitute(x=x, y=y)

    @property
    def _digits(self) -> int:
        """Behind the point, as the family writes them."""
        return 3 if self.full == 1 else 1 if self.full == 100 else 0

    def _full(self, shown_wh: tuple[int, int]) -> tuple[float, float]:
        return shown_wh if self.full is None else (self.full, self.full)


# --- Reading an answer

_ABSENT = re.compile(
    r"(?:this|it|that)(?: is not|'s not|’s not| isn't| isn’t) (?:in|visible in) the (?:image|picture|photo)"
    r"|not in the (?:image|picture|photo)|there (?:are|is) none|none|null",
    re.IGNORECASE,
)
_GAP = r"\s{0,9}"
"""Bounded, as what can match in many ways takes the longer the longer it is."""
_NUMBER = rf"[\"']?{_GAP}(-?\d{{1,6}}(?:\.\d{{1,12}})?)(?![\d.]){_GAP}[\"']?"
_TAG = re.compile(r"<points?\b([^>]{0,2000})>", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*(?:"[^"]{0,500}"|'[^']{0,500}')""", re.IGNORECASE)
_TAG_X = re.compile(rf"\bx(\d{{0,9}}){_GAP}={_GAP}{_NUMBER}", re.IGNORECASE)
_COORDS = re.compile(r"<points?\b[^>]{0,200}?\bcoords\s*=\s*[\"']([\d\s;,.:]{0,4000})[\"']", re.IGNORECASE)
_PLAIN = r"(-?\d{1,6}(?:\.\d{1,12})?)(?![\d.]*\d)"
_IN_BRACKETS = rf"\({_GAP}{_PLAIN}{_GAP},{_GAP}{_PLAIN}{_GAP}\)"
PAIR = re.compile(
    rf"\bx{_GAP}[=:]?{_GAP}{_PLAIN}{_GAP}[,;]?{_GAP}(?:and\s{{1,9}})?y{_GAP}[=:]?{_GAP}{_PLAIN}|{_IN_BRACKETS}",
    re.IGNORECASE,
)
"""A point in words."""
_CORNERS = re.compile(rf"{_IN_BRACKETS}{_GAP},{_GAP}{_IN_BRACKETS}")
_DENIED = re.compile(
    r"\b(?:is|are)(?: not|n't|n’t) (?:in|visible|there|present|shown)\b|\b(?:cannot|can't|can’t) (?:find|see)\b",
    re.IGNORECASE,
)
_BOX_IN_WORDS = re.compile(r"\b(?:w|h|width|height)\s*[=:]\s*\d", re.IGNORECASE)
_KEYS = ("point_2d", "point", "bbox_2d", "box_2d", "points")
"""Under which of these a JSON object holds the point; or it has `x` and `y` itself."""
_NOT_A_POINT = frozenset(
    ("width", "height", "w", "h", "x1", "y1", "x2", "y2", "x_max", "y_max", "xmax", "ymax", "right", "bottom")
)
"""Beside these `x` and `y` are a box, of which they may be the corner or the centre."""


def says_absent(answer: str) -> bool:
    """Whether an answer, whole, says that the thing is not there."""
    return _ABSENT.fullmatch(answer.strip().strip(".!\"'` ")) is not None


def told_there(answer: str) -> float | None:
    """How likely an answer in JSON says that the thing is there, as our own server's do; None where it does not say.

    Example:
        >>> told_there('{"x": 7.0, "y": 8.0, "there": 0.04}')
        0.04
    """
    for value, _ in json_values(answer):
        told = value.get("there") if isinstance(value, dict) else None
        if is_finite_number(told) and 0 <= told <= 1:
            return float(told)
    return None


def _read_json(answer: str) -> list[Numbers]:
    """Points of the JSON in an answer, whatever stands around it; a box gives its centre."""
    read, problem = [], "the answer holds no JSON"
    for value, _ in json_values(answer):
        try:
            read.append(_points_of_json(value))
        except ValueError as error:
            problem = str(error)
        except RecursionError:
            problem = "the answer's JSON is nested too deep"
    if not read:
        raise ValueError(problem)
    if any(one != read[0] for one in read):
        raise ValueError("the answer holds several points in JSON that differ")
    return read[0]


def _read_json_or_words(answer: str) -> list[Numbers]:
    """As `_read_json`; without any JSON a point as words have it, (615, 402) or x = 615, y = 402.

    Two pairs side by side are the corners of a box, as Qwen2-VL writes one.
    """
    if any(True for _ in json_values(answer)):
        return _read_json(answer)
    for sentence in re.split(r"(?<=[.!?])\s+", answer):
        if PAIR.search(sentence) and (_DENIED.search(sentence) or _BOX_IN_WORDS.search(sentence)):
            raise ValueError("the answer names a point and says that the thing is not there, or a box by its sides")
    boxes = [tuple(map(float, one)) for one in _CORNERS.findall(answer)]
    found = {((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes} or set(pairs_in_words(answer))
    if len(found) > 1:
        raise ValueError("the answer holds several points in words that differ")
    return list(found) or _read_json(answer)


def _read_y_first(answer: str) -> list[Numbers]:
    """As `_read_json`, of a form that has y first: there a point with names is another form's."""
    if re.search(r"[\"']x[\"']\s*:", answer):
        raise ValueError("the answer names x and y, and not [y, x]")
    return _read_json(answer)


def pairs_in_words(text: str) -> list[Numbers]:
    """Points written as (615, 402) or x = 615, y = 402, in the order of the text."""
    return [(float(one[0] or one[2]), float(one[1] or one[3])) for one in PAIR.findall(text)]


def json_values(answer: str) -> Iterator[tuple[Any, tuple[int, int]]]:
    """The JSON objects and lists of an answer, one after the other, and where each begins and ends."""
    decoder, place = json.JSONDecoder(), 0
    while (start := re.compile(r"[\[{]").search(answer, place)) is not None:
        try:
            value, place = decoder.raw_decode(answer, start.start())
        except ValueError:
            place = start.start() + 1
        except RecursionError:
            # Deeper than any point lies, and so is what follows.
            return
        else:
            yield value, (start.start(), place)


def _points_of_json(value: Any) -> list[Numbers]:
    """Of an object, a pair or a box, or of a list of these; an empty list has none, nor has {"x": null, "y": null}.

    A pair may be a text, "615,402".
    """
    if isinstance(value, dict):
        if all(name in value and value[name] is None for name in ("x", "y")):
            return []
        if {"x", "y"} <= value.keys() and (others := _NOT_A_POINT & value.keys()):
            raise ValueError(f"the answer's JSON has {', '.join(sorted(others))} beside x and y, and no point")
        inner = next((value[key] for key in _KEYS if key in value), [value.get("x"), value.get("y")])
        if isinstance(inner, str) and (pair := re.fullmatch(rf"\s*[(\[]?{_NUMBER},{_NUMBER}[)\]]?\s*", inner)):
            inner = list(pair.groups())
        return _points_of_json(inner)
    if isinstance(value, list) and all(isinstance(one, dict | list) for one in value):
        return [point for one in value for point in _points_of_json(one)]
    if isinstance(value, list) and len(value) in (2, 4):
        numbers = [_number(one) for one in value]
        first, second, *rest = numbers
        return [((first + rest[0]) / 2, (second + rest[1]) / 2) if rest else (first, second)]
    raise ValueError("the answer's JSON holds no point of two numbers")


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the answer's point holds {value!r:.40}, which is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"the answer's point holds {value!r:.40}, which is no finite number")
    return number


def _read_tags(answer: str) -> list[Numbers]:
    """Points of Molmo's tags: <point x="61.5" y="40.2" alt="...">, <points x1="9.1" y1="11.7" x2="17.2" y2=...>."""
    found = []
    for tag in _TAG.findall(_ALT.sub("", answer)):
        for number, x in _TAG_X.findall(tag):
            y = re.search(rf"\by{number}\s*=\s*{_NUMBER}", tag, re.IGNORECASE)
            if y is None:
                raise ValueError(f"the answer's <point> tag has x{number} and no y{number}")
            found.append((float(x), float(y[1])))
    if not found:
        raise ValueError("the answer holds no <point> tag")
    return found


def _read_coords(answer: str) -> list[Numbers]:
    """Points of Molmo 2's tags: coords="1 1 308 305 2 752 377", a picture's number and then number, x and y of each."""
    found = []
    for coords in _COORDS.findall(answer):
        for of_picture in coords.replace("\t", ";").split(";"):
            numbers = of_picture.replace(":", " ").split()
            if len(numbers) % 3 != 1 or not all(re.fullmatch(r"\d+(\.\d+)?", one) for one in numbers):
                raise ValueError("the answer's coords are not a picture's number and three numbers a point")
            found += [(float(x), float(y)) for x, y in zip(numbers[2::3], numbers[3::3], strict=True)]
    if not found:
        raise ValueError("the answer holds no <points coords> tag")
    return found


def _read_boxes(answer: str) -> list[Numbers]:
    """Centres of InternVL's boxes: <ref>...</ref><box>[[x1, y1, x2, y2]]</box>."""
    return _read_json(re.sub(r"</?(?:ref|box)>", " ", re.sub(r"<ref>.*?</ref>", " ", answer, flags=re.DOTALL)))


# --- The forms

_THOUSANDTHS = "[$x, $y], counted from 0 to 1000 across and down the photo"

FORMS: dict[str, Form] = {
    # Qwen3-VL and later. [{"point_2d": [615, 402], "label": "..."}], thousandths of the photo; Qwen2-VL, as (615, 402).
    "qwen": Form(full=1000, read=_read_json_or_words, spoken=_THOUSANDTHS, asks="qwen"),
    # Qwen2.5-VL. The same, in pixels of the picture after the processor has resized it.
    "qwen-pixels": Form(full=None, read=_read_json_or_words, spoken="[$x, $y] in pixels", asks="qwen"),
    # Molmo: hundredths in tags.
    "molmo": Form(
        full=100, read=_read_tags, spoken="x=$x, y=$y, counted from 0 to 100 across and down the photo", asks="molmo"
    ),
    # Molmo 2: thousandths in tags of another kind.
    "molmo2": Form(full=1000, read=_read_coords, spoken=_THOUSANDTHS, asks="molmo"),
    # Gemini, and as far as is known Gemma 4: [{"point": [y, x]}] or "box_2d", thousandths, y first.
    "gemini": Form(
        full=1000,
        read=_read_y_first,
        y_first=True,
        spoken="[$y, $x] in [y, x] format normalized to 0-1000",
        asks="gemini",
    ),
    # InternVL: boxes in thousandths.
    "internvl": Form(full=1000, read=_read_boxes, spoken=_THOUSANDTHS, asks="internvl"),
    # Moondream: {"points": [{"x": 0.615, "y": 0.402}]}, shares of the photo.
    "moondream": Form(
        full=1,
        read=_read_json_or_words,
        spoken="x=$x, y=$y, counted from 0 to 1 across and down the photo",
        asks="moondream",
    ),
    # Whoever documents none, as GPT, or pixels, as Claude: {"x": 315, "y": 201} in pixels of the picture as sent.
    "pixels": Form(
        full=None, read=_read_json_or_words, spoken="x = $x, y = $y pixels from the top left corner", asks="pixels"
    ),
}
"""By the names that `style` takes."""

_OF_NAMES = {
    r"qwen[-_ ]?2[._]5|qwen-vl-(?:max|plus)": "qwen-pixels",
    r"qwen": "qwen",
    r"molmo-?2": "molmo2",
    r"molmo": "molmo",
    r"gemini|(?<![a-z])gemma[-_ ]?4": "gemini",
    r"internvl": "internvl",
    r"moondream": "moondream",
}


def form_of_model(model: str) -> str:
    """The form that a model of this name writes; "pixels", which any model can be asked for, when none is known.

    Example:
        >>> form_of_model("Qwen/Qwen3-VL-4B-Instruct"), form_of_model("gpt-5")
        ('qwen', 'pixels')
    """
    return next((form for name, form in _OF_NAMES.items() if re.search(name, model, re.IGNORECASE)), "pixels")


def check_form(name: str) -> str:
    """The name of a form; a ValueError for any other."""
    if name not in FORMS:
        raise ValueError(f"style is {name!r}; allowed: {', '.join(FORMS)}")
    return name


# --- Prompts


def prompt(name: str, **words: str | int) -> str:
    """The text of `prompts/<name>.txt` with its `$words` filled in."""
    return Template(_template(name)).substitute(words).strip()


def words_of_prompt(name: str, text: str) -> dict[str, str] | None:
    """The inverse of `prompt`: what its `$words` stand for in a text; None when the text is no such prompt."""
    pieces = re.split(r"\$(\w+)", _template(name).strip())
    pattern = "".join(f"(?P<{piece}>.+?)" if n % 2 else re.escape(piece) for n, piece in enumerate(pieces))
    found = re.fullmatch(pattern, text.strip(), re.DOTALL)
    return found.groupdict() if found else None


def _template(name: str) -> str:
    return files(__package__).joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
