"""Plain JSON in pixels of the photo as shown: `{"x": 315, "y": 201}` or `[315, 201]`."""

from __future__ import annotations

from typing import Any

from talking_points.evaluation.pointing.reading import first_json, scaled


def parse(answer: str, shown_wh: tuple[int, int]) -> tuple[float, float]:
    """The first point of the answer, pixels."""
    found: Any = first_json(answer)
    if isinstance(found, list) and found and isinstance(found[0], dict | list):
        found = found[0]
    if isinstance(found, dict):
        found = [found.get("x"), found.get("y")]
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("the answer's JSON holds no x and y")
    return scaled(found[0], found[1], (float(shown_wh[0]), float(shown_wh[1])), shown_wh)
