"""Numbers out of answers."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_JSON = re.compile(r"[\[{]")


def first_json(answer: str) -> Any:
    """The first JSON object or list in an answer, whatever stands around it. A ValueError when there is none."""
    decoder = json.JSONDecoder()
    for start in _JSON.finditer(answer):
        try:
            return decoder.raw_decode(answer, start.start())[0]
        except (ValueError, RecursionError):
            continue
    raise ValueError("the answer holds no JSON")


def scaled(x: Any, y: Any, full: tuple[float, float], shown_wh: tuple[int, int]) -> tuple[float, float]:
    """Numbers in [0, full] as pixels. A ValueError for anything else."""
    try:
        if isinstance(x, bool) or isinstance(y, bool):
            raise TypeError
        values = float(x), float(y)
    except (TypeError, ValueError):
        raise ValueError(f"the answer's point is no pair of numbers: {x!r:.40}, {y!r:.40}") from None
    for value, most in zip(values, full, strict=True):
        if not math.isfinite(value) or not 0 <= value <= most:
            raise ValueError(f"the answer's point ({values[0]:g}, {values[1]:g}) is outside 0 to {most:g}")
    return values[0] / full[0] * shown_wh[0], values[1] / full[1] * shown_wh[1]
