"""The Point Localizer: photo and texts to points."""

# P texts

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from talking_points.model.heatmaps import chance_near, chances
from talking_points.model.localizer_head import LocatedPoints
from talking_points.pointing.encoding import EncodedPhotos, role_prefix
from talking_points.pointing.pairs import Asked, by_photo, check_pairs, check_texts
from talking_points.pointing.prepared import Photo, PreparedPhoto
from talking_points.pointing.role import Role
from talking_points.points import Point, photo_to_square, square_to_photo
from talking_points.samples import RUNNER_UP_SHARE, FoundPoint

R = TypeVar("R")


class PointLocalizer(Role):
    """Finds the pixel that a text describes (paper 3.3): one forward pass a text, no decoding."""

    role = "localizer"

    def localize(self, photo: Photo, texts: Sequence[str]) -> list[tuple[float, float]]:
        """Find points from texts: for each x, y in pixels of the photo as opened (EXIF applied), inside the photo.

        A text always has a point: of several things that it fits the likeliest, of a thing that is not in the photo
        the likeliest place. `locate` says which of these it is.

        Args:
            photo: a path, a PIL image or an array.
            texts: any number of descriptions.

        Raises:
            TypeError: one text instead of a list of them.
            ValueError, FileNotFoundError: the photo cannot be read, or a text is empty or too long; says which.
        """
        return [found.point_px for found in self.locate(photo, texts)]

    def locate(self, photo: Photo, texts: Sequence[str]) -> list[FoundPoint]:
        """`localize`, and how sure each answer is, what else the text may mean and whether the thing is in the photo.

        Arguments and errors as there.
        """
        prepared = self.prepare(photo)
        return self._locate([prepared] * len(texts), check_texts(texts, "text {}", self._prompt))

    def locate_many(self, pairs: Sequence[tuple[Photo, str]]) -> list[FoundPoint]:
        """Find points of many photos from texts: one a pair, in their order.

        Args:
            pairs: a photo and a text about it each, in any order; as in `PointDescriptor.describe_many`.

        Raises:
            TypeError: what is given is no pair; says which.
            ValueError, FileNotFoundError: a photo cannot be read, or a text is empty or too long; says which.
        """
        check_pairs(pairs, "text")
        prompts = check_texts([text for _, text in pairs], "pair {}", self._prompt)
        return self._locate([photo for photo, _ in pairs], prompts)

    def sure_at(self, photo: Photo, asked: Sequence[tuple[Point, str]]) -> list[tuple[FoundPoint, float | None]]:
        """What `locate` answers to texts, and how likely the point meant is near a given one.

        Args:
            photo: as in `localize`.
            asked: points, in pixels of the photo, each with a text.

        Returns:
            One a pair. The number is what `FoundPoint.confidence` would be of an answer at the given point: None where
            the coordinate head is a regression.

        Raises:
            As `localize`; and ValueError: a point is outside the photo; says which.
        """
        prepared = self.prepare(photo)
        prompts = check_texts([text for _, text in asked], "text {}", self._prompt)
        near_P2 = torch.from_numpy(photo_to_square([point for point, _ in asked], prepared.size_wh))

        def read(located: LocatedPoints, batch: Sequence[_Prompt]) -> list[tuple[FoundPoint, float | None]]:
            found, sure = _on_photos(located, batch), [None] * len(batch)
            if located.heatmap_logits_Phw is not None and located.temperature is not None:
                some_P2 = near_P2[[one.index for one in batch]].to(located.points_P2)
                sure = chance_near(located.heatmap_logits_Phw, some_P2, located.temperature).tolist()
            return list(zip(found, sure, strict=True))

        return self._ask([prepared] * len(asked), prompts, read)

    def check_text(self, text: str) -> None:
        """ValueError where a text is empty or too long."""
        self._prompt(text)

    def _prompt(self, text: str) -> list[int]:
        return self.network.prompts.localize(text)

    def _locate(self, photos: Sequence[Photo], prompts: Sequence[list[int]]) -> list[FoundPoint]:
        return self._ask(photos, prompts, _on_photos)

    def _ask(
        self,
        photos: Sequence[Photo],
        prompts: Sequence[list[int]],
        read: Callable[[LocatedPoints, Sequence[_Prompt]], list[R]],
    ) -> list[R]:
        """What `read` makes of the head's answers to a batch of prompts, for all of them."""

        def work(batch: Sequence[_Prompt]) -> list[R]:
            shown, asked = by_photo(batch)
            return read(self.located(self._encode(shown), asked), batch)

        return self._answer(
            list(zip(photos, prompts, strict=True)),
            tokens=max(map(len, prompts), default=1),
            ready=lambda prompt, _: prompt,
            work=work,
        )

    def located(self, photos: EncodedPhotos, prompts: Sequence[Sequence[Sequence[int]]]) -> LocatedPoints:
        """The head's answers to each photo's prompts, one after the other; on the square."""
        network = self.network
        counts = torch.tensor([len(some) for some in prompts])
        photo_of_text_P = torch.arange(len(counts)).repeat_interleave(counts).to(network.device)
        with network.acting_as(self.role):
            prefix = role_prefix(network, self.role, photos, self.cache)
            return network.locate(photos.features, prefix, photo_of_text_P, [one for some in prompts for one in some])


_Prompt = Asked[PreparedPhoto, list[int]]
_OnSquare = tuple[NDArray[np.float64], float | None, NDArray[np.float64] | None, float | None]
"""A (2,) point in [0, 1]^2 of the square, how sure it is, the (2,) runner-up, and whether the thing is there."""


def _on_photos(located: LocatedPoints, batch: Sequence[_Prompt]) -> list[FoundPoint]:
    return [_on_photo(square, one.photo.size_wh) for square, one in zip(_answers(located), batch, strict=True)]


def _answers(located: LocatedPoints) -> list[_OnSquare]:
    points = located.points_P2.cpu().double().numpy()
    there = [None] * len(points) if located.there_P is None else located.there_P.sigmoid().tolist()
    if located.heatmap_logits_Phw is None or located.temperature is None:
        return [(point, None, None, is_there) for point, is_there in zip(points, there, strict=True)]
    sure_P, other_P2, of_other_P = chances(located.heatmap_logits_Phw, located.points_P2, located.temperature)
    others = other_P2.cpu().double().numpy()
    of_other = of_other_P.tolist()
    return [
        (point, sure, other if share >= RUNNER_UP_SHARE * sure else None, is_there)
        for point, sure, other, share, is_there in zip(points, sure_P.tolist(), others, of_other, there, strict=True)
    ]


def _on_photo(found: _OnSquare, size_wh: tuple[int, int]) -> FoundPoint:
    """In pixels of the photo. On the padding, the photo's nearest point is the answer."""
    point, sure, other, there = found

    def pixels(square: NDArray[np.float64]) -> tuple[float, float]:
        [(x, y)] = square_to_photo(square[None], size_wh).clip((0, 0), size_wh)
        return float(x), float(y)

    return FoundPoint(
        point_px=pixels(point),
        confidence=sure,
        runner_up_px=None if other is None else pixels(other),
        there=there,
    )
