"""The Point Localizer: photo and texts to points."""

# P texts

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from talking_points.model.heatmaps import chances
from talking_points.model.localizer_head import LocatedPoints
from talking_points.pointing.encoding import EncodedPhotos, role_prefix
from talking_points.pointing.pairs import Asked, by_photo, check_pairs, check_texts
from talking_points.pointing.prepared import Photo, PreparedPhoto
from talking_points.pointing.role import Role
from talking_points.points import square_to_photo
from talking_points.samples import FoundPoint

RUNNER_UP_SHARE = 0.5
"""A second place that is at least this share as likely as the first is told. Ours."""


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

    def check_text(self, text: str) -> None:
        """ValueError where a text is empty or too long."""
        self._prompt(text)

    def _prompt(self, text: str) -> list[int]:
        return self.network.prompts.localize(text)

    def _locate(self, photos: Sequence[Photo], prompts: Sequence[list[int]]) -> list[FoundPoint]:
        def work(batch: Sequence[Asked[PreparedPhoto, list[int]]]) -> list[FoundPoint]:
            shown, asked = by_photo(batch)
            squares = _answers(self.located(self._encode(shown), asked))
            return [_on_photo(square, one.photo.size_wh) for square, one in zip(squares, batch, strict=True)]

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


_OnSquare = tuple[NDArray[np.float64], float | None, NDArray[np.float64] | None, float | None]
"""A (2,) point in [0, 1]^2 of the square, how sure it is, the (2,) runner-up, and whether the thing is there."""


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
