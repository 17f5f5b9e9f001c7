"""Moondream: JSON `{"points": [{"x": 0.615, "y": 0.402}]}`, shares of the photo."""

from __future__ import annotations

from typing import Any

from talking_points.evaluation.pointing.reading import first_json, scaled


def parse(answer: str, shown_wh: tuple[int, int]) -> tuple[float, float]:
    """The first point of the answer, pixels."""
    found: Any = first_json(answer)
    if isinstance(found, dict):
        found = found.get("points", found)
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict) or "x" not in found or "y" not in found:
        raise ValueError("the answer's JSON holds no point with x and y")
    return scaled(found["x"], found["y"], (1, 1), shown_wh)
