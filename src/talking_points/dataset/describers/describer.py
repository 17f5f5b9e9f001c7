"""Who says what is seen: of the whole photo with a point ("object"), or of the surroundings of the point ("local").

Three kinds fill either place behind one interface: `rules` (from masks and pixels, offline), `endpoint:URL,MODEL`
(any OpenAI-compatible model with vision) and `descriptor:NAME` (our own Point Descriptor).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image

from talking_points.dataset.grammar import PointFacts
from talking_points.dataset.places import Dialect

Level = Literal["object", "local"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PointTask:
    """One point to be put into words."""

    record_id: str
    facts: PointFacts
    dialect: Dialect
    relations: str
    """Where the point is, in words, as exact as the dialect allows: measured, and the same for all who ask."""
    seed: int
    """Of this point: every choice about it follows from this number alone."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stands where a text should be: a model refused to write it."""

    reason: str


class PhotoDescriber(Protocol):
    """Describes points of one photo at one level, the object's or the local one."""

    @property
    def name(self) -> str:
        """Goes into the records: "rules", or the model's name."""
        ...

    def describe(self, open_photo: Callable[[], Image.Image], tasks: Sequence[PointTask]) -> list[str | Refusal]:
        """Describe points of one photo.

        Args:
            open_photo: gives the RGB photo, upright; who does not look at it need not call it.
            tasks: the points, in pixels of that photo.

        Returns:
            One text for each task, in their order; an empty one when nothing was said, a refusal when a content
            filter stood in the way.
        """
        ...
