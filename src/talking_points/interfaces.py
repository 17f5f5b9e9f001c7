"""What evaluation, reinforcement learning, serving and data building accept: any describer, any localizer.

A class fits by having the method; it need not inherit. `PointDescriptor`, `PointLocalizer` and
`TalkingPoints` fit, and so does a wrapper of a few lines around another model or an endpoint.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from PIL import Image


@runtime_checkable
class Describer(Protocol):
    """Puts points of a photo into words."""

    def describe(self, photo: Image.Image, points_px: Sequence[tuple[float, float]]) -> list[str]:
        """Describe each point.

        Args:
            photo: an RGB photo, turned upright, as `talking_points.open_photo` gives it.
            points_px: (x, y) in pixels of that photo; the centre of pixel (i, j) is (i + 0.5, j + 0.5).

        Returns:
            One description for each point, in the order of the points.

        Raises:
            ValueError: a point lies outside the photo or is not a finite number.
        """
        ...


@runtime_checkable
class Localizer(Protocol):
    """Finds the point that a text is about."""

    def localize(self, photo: Image.Image, texts: Sequence[str]) -> list[tuple[float, float]]:
        """Find the point of each text.

        Args:
            photo: an RGB photo, turned upright, as `talking_points.open_photo` gives it.
            texts: one description for each point to find.

        Returns:
            One (x, y) for each text, in the order of the texts, in pixels of the photo.

        Raises:
            ValueError: a text is empty, or longer than the model reads.
        """
        ...
