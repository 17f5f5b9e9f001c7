"""What evaluation, reinforcement learning, serving and data building accept: any describer, any localizer.

A class fits by having the one method of `Describer` or `Localizer`; it need not inherit. `PointDescriptor`,
`PointLocalizer` and `TalkingPoints` fit, and so does a wrapper of a few lines around another model. One that also has
`describe_many` or `locate_many`, as these three do, is given the points or texts of many photos in one call.

`DescriptorRole` and `LocalizerRole` are what a model that people load has: the paper's network (`descriptor`,
`localizer`), and stock models and endpoints (`stock`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from PIL import Image

from talking_points.pointing.pairs import OnText
from talking_points.pointing.prepared import Photo, Prepared
from talking_points.points import Point
from talking_points.samples import FoundPoint

Q = TypeVar("Q")
R = TypeVar("R")


@runtime_checkable
class Describer(Protocol):
    """Puts points of a photo into words."""

    def describe(self, photo: Image.Image, points_px: Sequence[Point]) -> list[str]:
        """One description for each point, in their order; an empty one where there is nothing to say, a miss.

        Args:
            photo: an RGB photo, turned upright, as `talking_points.open_photo` gives it.
            points_px: (x, y) in pixels of that photo; the centre of pixel (i, j) is (i + 0.5, j + 0.5).

        Raises:
            ValueError: a point lies outside the photo or is not a finite number.
        """
        ...


@runtime_checkable
class Localizer(Protocol):
    """Finds the point that a text is about."""

    def localize(self, photo: Image.Image, texts: Sequence[str]) -> list[Point]:
        """One (x, y) for each text, in their order, in pixels of the photo; NaN, NaN for no answer, a miss.

        Args:
            photo: as `Describer.describe` takes it.
            texts: one description for each point to find, none of them empty.

        Raises:
            ValueError: a text is longer than the model reads.
        """
        ...


class DescriptorRole(Protocol):
    """Describes points for `TalkingPoints`. Points are pixels of the upright photo."""

    @property
    def photos_at_once(self) -> int:
        """Photos that may be open together."""

    def prepare(self, photo: Photo) -> Prepared:
        """A photo as the model sees it. Runs in any thread; a ValueError or FileNotFoundError for a bad photo."""

    def describe_many(self, pairs: Sequence[tuple[Any, Point]], *, on_text: OnText | None = None) -> list[str]:
        """One text a pair; see `PointDescriptor.describe_many`."""


class LocalizerRole(Protocol):
    """Finds points for `TalkingPoints`. Points are pixels of the upright photo."""

    @property
    def photos_at_once(self) -> int:
        """Photos that may be open together."""

    def prepare(self, photo: Photo) -> Prepared:
        """As `DescriptorRole.prepare`."""

    def check_text(self, text: str) -> None:
        """ValueError where a text is empty or too long."""

    def locate_many(self, pairs: Sequence[tuple[Any, str]]) -> list[FoundPoint]:
        """One answer a pair; see `PointLocalizer.locate_many`."""


def describe_pairs(describer: Describer, pairs: Sequence[tuple[Image.Image, Point]]) -> list[str]:
    """A describer's texts of (photo, point) pairs: by its `describe_many` where it has one, else photo by photo."""
    many: Callable[[Any], list[str]] | None = getattr(describer, "describe_many", None)
    return many(pairs) if many else _photo_by_photo(describer.describe, pairs)


def locate_pairs(localizer: Localizer, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
    """A localizer's answers to (photo, text) pairs: by its `locate_many` where it has one, else photo by photo.

    `localize` gives points alone: nothing else is known of them.
    """
    many: Callable[[Any], list[FoundPoint]] | None = getattr(localizer, "locate_many", None)
    if many:
        return many(pairs)
    points_px = _photo_by_photo(localizer.localize, pairs)
    return [FoundPoint(point_px=point_px, confidence=None, runner_up_px=None) for point_px in points_px]


def _photo_by_photo(
    ask: Callable[[Image.Image, Sequence[Q]], list[R]], pairs: Sequence[tuple[Image.Image, Q]]
) -> list[R]:
    places: dict[int, list[int]] = {}
    for place, (photo, _) in enumerate(pairs):
        places.setdefault(id(photo), []).append(place)
    answers: dict[int, R] = {}
    for some in places.values():
        answers |= zip(some, ask(pairs[some[0]][0], [pairs[place][1] for place in some]), strict=True)
    return [answers[place] for place in range(len(pairs))]
