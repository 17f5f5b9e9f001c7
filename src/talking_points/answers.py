"""Answers about points, and how they are written as JSON: in the shell, over HTTP and from the web page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One point of an answer; what is not known is None. Points are in pixels of the photo."""

    asked_px: tuple[float, float] | None = None
    description: str | None = None
    found_px: tuple[float, float] | None = None
    error: float | None = None
    """Distance of asked and found in the photo's normalised coordinates."""
    confidence: float | None = None
    """See `FoundPoint`."""
    runner_up_px: tuple[float, float] | None = None


def answers_as_json(
    answers: Sequence[Answer], size_wh: tuple[int, int], *, model: str, path: str | None = None
) -> dict[str, Any]:
    """What an answer looks like as JSON; what is not known is left out.

    Args:
        answers: points of one photo.
        size_wh: width and height of the photo, in pixels.
        model: name of the model that answered.
        path: of the photo, where it is a file.
    """
    points = []
    for answer in answers:
        x, y = answer.asked_px or (None, None)
        found_x, found_y = answer.found_px or (None, None)
        point = {"x": x, "y": y, "description": answer.description}
        point |= {"found_x": found_x, "found_y": found_y, "error": answer.error}
        other_x, other_y = answer.runner_up_px or (None, None)
        sure = None if answer.confidence is None else round(answer.confidence, 4)
        point |= {"confidence": sure, "runner_up_x": other_x, "runner_up_y": other_y}
        points.append({key: value for key, value in point.items() if value is not None})
    photo = {"width": size_wh[0], "height": size_wh[1]}
    return {"model": model, "photo": photo if path is None else {"path": path, **photo}, "points": points}
