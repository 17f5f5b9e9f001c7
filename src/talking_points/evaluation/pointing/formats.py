"""How models of others write points: the prompt that asks for one, beside this file, and the point in an answer."""

from __future__ import annotations

import json
import math
import re
from importlib.resources import files
from string import Template
from typing import Any

FORMATS: dict[str, float | None] = {
    # <point x="61.5" y="40.2" alt="...">...</point>
    "molmo": 100,
    # [{"point_2d": [615, 402], "label": "..."}]; a box gives its centre.
    "qwen": 1000,
    # {"points": [{"x": 0.615, "y": 0.402}]}
    "moondream": 1,
    # {"x": 315, "y": 201} or [315, 201]
    "pixels": None,
}
"""What each counts up to across and down the photo; None: pixels of the photo as it was shown."""
_TAG = re.compile(r"<points?\b[^>]*?\bx1?\s*=\s*[\"']?\s*([-\d.]+)[^>]*?\by1?\s*=\s*[\"']?\s*([-\d.]+)", re.IGNORECASE)
_KEYS = ("point_2d", "point", "bbox_2d", "points")
"""Under which of these a JSON object holds the point; or it has `x` and `y` itself."""


def format_of_model(model: str) -> str:
    """The format that a model of this name writes; "pixels", which any model can be asked for, when none is known."""
    return next((name for name in FORMATS if name in model.lower()), "pixels")


def point_of_answer(name: str, answer: str, shown_wh: tuple[int, int]) -> tuple[float, float]:
    """The first point of an answer in the format of a name, in pixels of the photo as it was shown.

    Raises:
        ValueError: the answer holds no point, or one outside the photo.
    """
    if name == "molmo":
        found = _TAG.search(answer)
        if found is None:
            raise ValueError("the answer holds no <point> tag")
        x, y = found.groups()
    else:
        x, y = _point_of_json(_first_json(answer))
    full = FORMATS[name]
    full_wh = shown_wh if full is None else (full, full)
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


def _point_of_json(found: Any) -> tuple[Any, Any]:
    """x and y of an object, a pair or a box, or of the first in a list of these."""
    while isinstance(found, dict) or (isinstance(found, list) and found and isinstance(found[0], dict | list)):
        if isinstance(found, list):
            found = found[0]
        else:
            found = next((found[key] for key in _KEYS if key in found), [found.get("x"), found.get("y")])
    if isinstance(found, list) and len(found) == 4 and all(isinstance(value, int | float) for value in found):
        found = [(found[0] + found[2]) / 2, (found[1] + found[3]) / 2]
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("the answer's JSON holds no point of two numbers")
    return found[0], found[1]


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
