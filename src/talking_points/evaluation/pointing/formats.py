"""How models of others write points: the prompt that asks for one, beside this file, and the point in an answer."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """How a family of models writes a point."""

    full: float | None
    """What it counts up to across and down the photo; None: pixels of the photo as it was shown."""
    keys: tuple[str, ...] = ()
    """Under which of these a JSON object holds the point; or it has `x` and `y` itself."""


FORMATS = {
    # <point x="61.5" y="40.2" alt="...">...</point>
    "molmo": Format(full=100),
    # [{"point_2d": [615, 402], "label": "..."}]; a box gives its centre.
    "qwen": Format(full=1000, keys=("point_2d", "point", "bbox_2d")),
    # {"points": [{"x": 0.615, "y": 0.402}]}
    "moondream": Format(full=1, keys=("points",)),
    # {"x": 315, "y": 201} or [315, 201]
    "pixels": Format(full=None),
}
_TAG = re.compile(r"<points?\b[^>]*?\bx1?\s*=\s*[\"']?\s*([-\d.]+)[^>]*?\by1?\s*=\s*[\"']?\s*([-\d.]+)", re.IGNORECASE)


def format_of_model(model: str) -> str:
    """The format that a model of this name writes; "pixels", which any model can be asked for, when none is known."""
    return next((name for name in FORMATS if name in model.lower()), "pixels")


def point_of_answer(name: str, answer: str, shown_wh: tuple[int, int]) -> tuple[float, float]:
    """The first point of an answer in the format of a name, in pixels of the photo as it was shown.

    Raises:
        ValueError: the answer holds no point, or one outside the photo.
    """
    form = FORMATS[name]
    if name == "molmo":
        found = _TAG.search(answer)
        if found is None:
            raise ValueError("the answer holds no <point> tag")
        x, y = found.groups()
    else:
        x, y = _point_of_json(_first_json(answer), form.keys)
    full_wh = shown_wh if form.full is None else (form.full, form.full)
    try:
        if isinstance(x, bool) or isinstance(y, bool):
            raise TypeError
        values = float(x), float(y)
    except (TypeError, ValueError):
        raise ValueError(f"the answer's point is no pair of numbers: {x!r:.40}, {y!r:.40}") from None
    for value, most in zip(values, full_wh, strict=True):
        if not math.isfinite(value) or not 0 <= value <= most:
            raise ValueError(f"the answer's point ({values[0]:g}, {values[1]:g}) is outside 0 to {most:g}")
    return values[0] / full_wh[0] * shown_wh[0], values[1] / full_wh[1] * shown_wh[1]


def _first_json(answer: str) -> Any:
    """The first JSON object or list in an answer, whatever stands around it."""
    decoder = json.JSONDecoder()
    for start in re.finditer(r"[\[{]", answer):
        try:
            return decoder.raw_decode(answer, start.start())[0]
        except (ValueError, RecursionError):
            continue
    raise ValueError("the answer holds no JSON")


def _point_of_json(found: Any, keys: tuple[str, ...]) -> tuple[Any, Any]:
    """x and y of an object, a pair or a box, or of the first in a list of these."""
    while isinstance(found, dict) or (isinstance(found, list) and found and isinstance(found[0], dict | list)):
        if isinstance(found, list):
            found = found[0]
        else:
            found = next((found[key] for key in keys if key in found), [found.get("x"), found.get("y")])
    if isinstance(found, list) and len(found) == 4 and all(isinstance(value, int | float) for value in found):
        found = [(found[0] + found[2]) / 2, (found[1] + found[3]) / 2]
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("the answer's JSON holds no point of two numbers")
    return found[0], found[1]


def ask_for_point(name: str, text: str, shown_wh: tuple[int, int]) -> str:
    """The prompt that asks where a text's point is."""
    return prompt(name, width=shown_wh[0], height=shown_wh[1], text=text)


def prompt(name: str, **words: str | int) -> str:
    """The text of `<name>.txt` with its `$words` filled in."""
    return Template(_template(name)).substitute(words).strip()


def words_of_prompt(name: str, text: str) -> dict[str, str] | None:
    """The inverse of `prompt`: what its `$words` stand for in a text; None when the text is no such prompt."""
    pieces = re.split(r"\$(\w+)", _template(name).strip())
    pattern = "".join(f"(?P<{piece}>.+?)" if n % 2 else re.escape(piece) for n, piece in enumerate(pieces))
    found = re.fullmatch(pattern, text.strip(), re.DOTALL)
    return found.groupdict() if found else None


def _template(name: str) -> str:
    return files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
