"""CrossPoint-Bench (WangYipu2002/CrossPoint-Bench): of its four kinds of questions, the one about a single photo."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from talking_points.evaluation.pointing.tasks import (
    Entry,
    PointingTask,
    path_of,
    points_on_mask,
    task_of_pixels,
    text_of,
)
from talking_points.photos import decode_photo, open_photo

GROUNDING = "Fine-grained Grounding"
OTHERS = ("Visibility Reasoning", "Correspondence-Judgement", "Correspondence-Pointing")
"""Answered by a letter, or by a point of a second photo that a first one shows: nothing that a localizer is asked."""


def entries(folder: Path) -> Iterator[Entry]:
    """List the questions whose answer is a point of the one photo that they are about.

        CrossPoint-Bench.jsonl    a line a question: "type", "level", "images", "question", "answer"; where a point is
                                  asked for, "answer" is the mask's picture in base64, set above 128
        image/...                 the photos, "images" relative to it

    Questions of the types `OTHERS` are no tasks. The text is `question`; the category is `level`, object or part.

    Source: WangYipu2002/CrossPoint, README.md, eval/extract_answers.py, eval/calc_score.py.
    """
    path = folder / "CrossPoint-Bench.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{path}, line {number}", partial(_read, folder, number, line)


def crosspoint_bench_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """Accuracy, 100 or 0: the first point is on the mask.

    Source: WangYipu2002/CrossPoint, eval/calc_score.py, is_point_in_mask (the fraction of a pixel is cut off).
    """
    on = points_on_mask(found_px, task.masks[0].pixels(), rounded=False)
    return {"accuracy": 100.0 if len(on) and on[0] else 0.0}


def _read(folder: Path, number: int, line: str) -> list[PointingTask]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, got {type(record).__name__}")
    kind = record.get("type")
    if kind in OTHERS:
        return []
    if kind != GROUNDING:
        raise ValueError(f'"type" is {kind!r:.60}, expected one of {GROUNDING}, {", ".join(OTHERS)}')
    images = record.get("images")
    if not isinstance(images, list) or len(images) != 1:
        raise ValueError(f'"images" must be a list of one photo, got {str(images):.100}')
    photo = path_of(folder / "image", {"images": images[0]}, "images")
    names = {"sample_id": str(number), "photo_id": photo.relative_to(folder / "image").as_posix()}
    names |= {"source": "crosspoint-bench", "text": text_of(record, "question"), "category": text_of(record, "level")}
    return [task_of_pixels(photo, _mask(record.get("answer")), open_photo(photo).size, **names)]


def _mask(answer: Any) -> np.ndarray:
    """(H, W) bool of a picture in base64, a ValueError where it is none."""
    if not isinstance(answer, str) or not answer:
        raise ValueError(f'"answer" must be the mask\'s picture in base64, got {answer!r:.60}')
    try:
        data = base64.b64decode(answer, validate=True)
    except binascii.Error as error:
        raise ValueError(f'"answer" is no base64: {error}') from None
    try:
        picture = decode_photo(data)
    except ValueError as error:
        raise ValueError(f'"answer" is no picture: {error}') from None
    return np.asarray(np.asarray(picture).mean(axis=2) > 128)
