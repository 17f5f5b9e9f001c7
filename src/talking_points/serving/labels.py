"""Labels of an annotation tool, each with the text that says what to look for, found on photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from talking_points.files import read_json
from talking_points.pointing.prepared import Photo
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import Point
from talking_points.samples import FoundPoint, absence


class FoundLabel(NamedTuple):
    """A label's point on a photo."""

    label: str
    text: str
    point_px: Point
    """Pixels of the upright photo."""
    score: float | None
    """Probability that the thing is in the photo and within a tenth of its longer side of the point; None where the
    model does not know."""


class LabelFinder:
    """Finds the points of labels on photos, by their texts."""

    def __init__(self, tp: TalkingPoints, texts: Mapping[str, str]) -> None:
        """texts: what to look for, by label.

        Raises:
            ValueError: there are none, a label is empty, or a text is empty or too long; says which.
        """
        if not texts:
            raise ValueError(
                'there are no labels; expected some, each with its text: {"left eye": "the cat\'s left eye"}'
            )
        for label, text in texts.items():
            if not label.strip() or not isinstance(text, str):
                raise ValueError(f"label {label!r} has {text!r:.60}, expected a name and a text")
            try:
                tp.check_text(text)
            except ValueError as error:
                raise ValueError(f"label {label!r}: {error}") from None
        self.tp, self.texts = tp, dict(texts)

    @classmethod
    def load(cls, labels: Mapping[str, str] | str | Path, model: str | Path) -> LabelFinder:
        """A finder with a model by name, as `TalkingPoints.from_pretrained` takes it.

        Args:
            labels: text by label, or a JSON file with such an object.

        Raises:
            ValueError, FileNotFoundError: no such file or model, or the labels are wrong; says which.
        """
        texts = labels if isinstance(labels, Mapping) else read_json(Path(labels))
        return cls(TalkingPoints.from_pretrained(model, roles=("localizer",)), texts)

    def find(self, photos: Sequence[Photo], least: float | None = None) -> list[list[FoundLabel]]:
        """The points of all labels on each photo, without those of things that count as absent (`samples.absence`).

        Args:
            photos: paths, PIL images or arrays.
            least: points with a lower score are left out, too.

        Raises:
            ValueError, FileNotFoundError: a photo cannot be read.
        """
        pairs = [(photo, item) for photo in photos for item in self.texts.items()]
        answers = self.tp.locate_many([(photo, text) for photo, (_, text) in pairs])
        kept = [_kept(*item, answer, least) for (_, item), answer in zip(pairs, answers, strict=True)]
        each = len(self.texts)
        return [[one for one in kept[start : start + each] if one] for start in range(0, len(kept), each)]


def _kept(label: str, text: str, answer: FoundPoint, least: float | None) -> FoundLabel | None:
    """None for no answer, which the model has counted in the log, for what is not there, and for what is not sure."""
    score = answer.confidence
    if score is not None and answer.there is not None:
        score *= answer.there
    unsure = least is not None and score is not None and score < least
    if answer.problem is not None or absence(answer.there) or unsure:
        return None
    return FoundLabel(label, text, answer.point_px, score)
