"""Models for FiftyOne: labels found on photos by their texts, and keypoints put into words.

    dataset.apply_model(find_labels({"left eye": "the cat's left eye"}), label_field="found")
    dataset.apply_model(describe_keypoints(), label_field="described", points="found")

Needs fiftyone, which nothing else here does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import photo_to_unit, unit_to_photo
from talking_points.serving.labels import LabelFinder

if TYPE_CHECKING:
    from fiftyone import Keypoints, Sample
    from fiftyone.core.models import Model

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB: FiftyOne opens photos upright."""


def find_labels(labels: Mapping[str, str] | str | Path, model: str | Path = "mini") -> Model:
    """A model that finds labels: a photo gets `Keypoints`, one of one point for each label that is on it.

    Each has `label`, `text`, `points` (one, in [0, 1]^2 of the photo) and, where the model knows it, `confidence`
    (`FoundLabel.score`). What counts as absent gets no point, nor does what is below `apply_model`'s
    `confidence_thresh`. With a `batch_size` photos go through the model together.

    Args:
        labels: text by label, or a JSON file with such an object.
        model: as `TalkingPoints.from_pretrained` takes it.
    """
    import fiftyone
    from fiftyone.core.models import Model

    finder = LabelFinder.load(labels, model)

    class Finder(_Answers, Model):
        def __init__(self) -> None:
            # FiftyOne sets it while the model is applied.
            self.config = SimpleNamespace(confidence_thresh=None)

        def predict(self, arg: Pixels) -> Keypoints:
            [found] = self.predict_all([arg])
            return found

        def predict_all(self, args: Sequence[Pixels]) -> list[Keypoints]:
            answers = []
            for photo, found in zip(args, finder.find(args, self.config.confidence_thresh), strict=True):
                size_wh = (photo.shape[1], photo.shape[0])
                keypoints = [
                    fiftyone.Keypoint(
                        label=one.label,
                        text=one.text,
                        points=photo_to_unit([one.point_px], size_wh).tolist(),
                        confidence=None if one.score is None else [one.score],
                    )
                    for one in found
                ]
                answers.append(fiftyone.Keypoints(keypoints=keypoints))
            return answers

    return Finder()


def describe_keypoints(model: str | Path = "mini") -> Model:
    """A model that describes the points of a photo's `Keypoints`, whose field `apply_model` is told as `points`.

    It gives the same keypoints with `description`, a list of a text for each point; None for a point that is not
    marked (NaN).

    Args:
        model: as `TalkingPoints.from_pretrained` takes it.
    """
    from fiftyone.core.models import Model, SamplesMixin

    tp = TalkingPoints.from_pretrained(model, roles=("descriptor",))

    class KeypointDescriber(_Answers, SamplesMixin, Model):
        def predict(self, arg: Pixels, sample: Sample | None = None) -> Keypoints | None:
            field = self.needs_fields.get("points")
            if sample is None or field is None:
                raise ValueError('no field with keypoints; expected it as apply_model(..., points="FIELD")')
            if sample[field] is None:
                return None
            described = sample[field].copy()
            places = [(one, place) for one in described.keypoints for place, xy in enumerate(one.points) if _marked(xy)]
            units = [one.points[place] for one, place in places]
            points_px: list[list[float]] = []
            if units:
                points_px = unit_to_photo(units, (arg.shape[1], arg.shape[0])).tolist()
            for one in described.keypoints:
                one["description"] = [None] * len(one.points)
            texts = tp.describe(arg, [(x, y) for x, y in points_px])
            for (one, place), text in zip(places, texts, strict=True):
                one["description"][place] = text
            return described

    return KeypointDescriber()


class _Answers:
    """What FiftyOne wants to know of every model of ours."""

    media_type = "image"
    ragged_batches = False
    """Photos of any sizes go together."""
    transforms = None
    preprocess = False


def _marked(point_unit: Sequence[float]) -> bool:
    return not any(math.isnan(number) for number in point_unit)
