"""What models answer about samples, photo by photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talking_points.evaluation.metrics import normalised_errors
from talking_points.evaluation.samples import Sample
from talking_points.progress import OnProgress
from talking_points.samples import FoundPoint

PHOTOS_AT_ONCE = 8
Found = Sequence[FoundPoint | None]
"""What a localizer answered; None for a text that it cannot read, which is a miss."""


def load_model(name: str, *, localizer_only: bool, device: str | None, choose: bool = False) -> Any:
    """A model with both roles, whose localizer may choose among the descriptor's texts, or a localizer alone."""
    # Not at the top: torch takes seconds, and wrong arguments are to be told at once.
    from talking_points.memory import keep_freed_memory
    from talking_points.pointing.localizer import PointLocalizer
    from talking_points.pointing.pretrained import find_checkpoint
    from talking_points.pointing.round_trip import TalkingPoints

    keep_freed_memory()
    folder = find_checkpoint(name)
    if localizer_only:
        return PointLocalizer.from_pretrained(folder, device=device)
    return TalkingPoints.from_pretrained(folder, device=device, choose=choose)


def located(model: Any, samples: Sequence[Sample], texts: Sequence[str], show: OnProgress, stage: str) -> Found:
    """What a localizer answers to texts about samples' photos; a sample may come more than once."""
    found: dict[int, FoundPoint] = {}
    prompts = getattr(model, "localizer", model).network.prompts
    for asked, photos in _windows(samples, show, stage):
        readable = [k for k in asked if texts[k].strip() and prompts.is_readable(texts[k])]
        pairs = [(photos[samples[k].photo_id], texts[k]) for k in readable]
        found |= zip(readable, model.locate_many(pairs), strict=True)
    return [found.get(k) for k in range(len(samples))]


def described(model: Any, samples: Sequence[Sample], show: OnProgress, stage: str) -> list[str]:
    """A describer's texts of samples."""
    said: dict[int, str] = {}
    for asked, photos in _windows(samples, show, stage):
        pairs = [(photos[samples[k].photo_id], samples[k].point_px) for k in asked]
        said |= zip(asked, model.describe_many(pairs), strict=True)
    return [said[k] for k in range(len(samples))]


def _windows(
    samples: Sequence[Sample], show: OnProgress, stage: str
) -> Iterator[tuple[list[int], dict[str, Image.Image]]]:
    """Indices of the samples of a few photos, and these photos, opened; `show` is told of those that are done."""
    of_photo: dict[str, list[int]] = {}
    for k, sample in enumerate(samples):
        of_photo.setdefault(sample.photo_id, []).append(k)
    groups, done = list(of_photo.items()), 0
    for start in range(0, len(groups), PHOTOS_AT_ONCE):
        window = groups[start : start + PHOTOS_AT_ONCE]
        asked = [k for _, some in window for k in some]
        yield asked, {photo: samples[some[0]].open_photo() for photo, some in window}
        done += len(asked)
        show(stage, done, len(samples))


def errors_of(samples: Sequence[Sample], found: Found) -> NDArray[np.float64]:
    """(N,) normalised distances; infinite where there is no answer."""
    points = [(np.nan, np.nan) if one is None else one.point_px for one in found]
    return normalised_errors(points, [s.point_px for s in samples], [s.size_wh for s in samples])


def certainty(samples: Sequence[Sample], found: Found) -> tuple[list[float | None], list[bool]]:
    """Confidences, and whether each answer is within a tenth of the photo's longer side, of which they are the chance.

    A text that is not read is answered with confidence 0, and wrong.
    """
    sure: list[float | None] = []
    right = []
    for sample, one in zip(samples, found, strict=True):
        sure.append(0.0 if one is None else one.confidence)
        away = np.inf if one is None else np.hypot(*np.subtract(one.point_px, sample.point_px))
        right.append(bool(away < 0.1 * max(sample.size_wh)))
    return sure, right
