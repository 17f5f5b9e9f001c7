"""Molmo: `<point x="61.5" y="40.2" alt="...">...</point>`, in hundredths of the photo."""

from __future__ import annotations

import re

from talking_points.evaluation.pointing.reading import scaled

_POINT = re.compile(
    r"<points?\b[^>]*?\bx1?\s*=\s*[\"']?\s*([-\d.]+)[^>]*?\by1?\s*=\s*[\"']?\s*([-\d.]+)", re.IGNORECASE
)


def parse(answer: str, shown_wh: tuple[int, int]) -> tuple[float, float]:
    """The first point of the answer, pixels."""
    found = _POINT.search(answer)
    if found is None:
        raise ValueError("the answer holds no <point> tag")
    return scaled(found[1], found[2], (100, 100), shown_wh)
