"""Qwen3-VL: JSON `[{"point_2d": [615, 402], "label": "..."}]`, in thousandths of the photo; a box gives its centre."""

from __future__ import annotations

from typing import Any

from talking_points.evaluation.pointing.reading import first_json, scaled


def parse(answer: str, shown_wh: tuple[int, int]) -> tuple[float, float]:
    """The first point of the answer, pixels."""
    found: Any = first_json(answer)
    if isinstance(found, list) and found and isinstance(found[0], dict):
        found = found[0]
    if isinstance(found, dict):
        found = found.get("point_2d", found.get("point", found.get("bbox_2d")))
    if isinstance(found, list) and len(found) == 4 and all(isinstance(value, int | float) for value in found):
        found = [(found[0] + found[2]) / 2, (found[1] + found[3]) / 2]
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("the answer's JSON holds no point_2d of two numbers")
    return scaled(found[0], found[1], (1000, 1000), shown_wh)
