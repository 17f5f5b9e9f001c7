"""The Point Descriptor: photo and points to texts."""

# P points

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from talking_points.model.generation import GREEDY, Sampling
from talking_points.pointing.encoding import EncodedPhotos, role_prefix
from talking_points.pointing.pairs import Asked, OnText, by_photo, check_pairs, points_of_photo
from talking_points.pointing.prepared import Photo, PreparedPhoto
from talking_points.pointing.role import Role
from talking_points.points import Point, check_point, photo_to_square

MAX_NEW_TOKENS = 160
"""Longest description, in tokens. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledText:
    """A description and how likely each of its tokens was."""

    text: str
    logprobs: list[float]
    """Of each token and of the end, by the descriptor itself: at temperature 1, among all tokens."""
    ended: bool
    """False: cut off at the longest length."""


class PointDescriptor(Role):
    """Describes pixels of a photo in words (paper 3.2)."""

    role = "descriptor"
    region: str | None = None
    """Where the keypoint's queries look; None: as the config says."""

    def _question(self) -> list[int]:
        return self.network.prompts.describe()

    def describe(self, photo: Photo, points_px: Sequence[Point]) -> list[str]:
        """Describe points: one text each, in their order.

        Args:
            photo: a path, a PIL image or an array.
            points_px: x, y in pixels of the photo as opened (EXIF applied); any number of them.

        Raises:
            TypeError: one point instead of a list of them.
            ValueError, FileNotFoundError: the photo cannot be read, or a point is outside it; says which.
        """
        return self.describe_many(self._pairs(photo, points_px))

    def describe_many(self, pairs: Sequence[tuple[Photo, Point]], *, on_text: OnText | None = None) -> list[str]:
        """Describe points of many photos: one text a pair, in their order.

        Args:
            pairs: a photo and an (x, y) in its pixels each, in any order. A photo that comes several times is opened
                and encoded once; however many there are, memory does not grow with them.
            on_text: told of each new token the place of its pair, from 0, and its text so far. After running out of
                memory a text may start over.

        Raises:
            TypeError: what is given is no pair; says which.
            ValueError, FileNotFoundError: a photo cannot be read, or a point is outside; says which.
        """
        return [text.text for [text] in self._sample(pairs, GREEDY, on_text=on_text)]

    def sample(
        self, photo: Photo, points_px: Sequence[Point], sampling: Sampling, *, seed: int = 0
    ) -> list[list[SampledText]]:
        """Several descriptions of each point, drawn from one prefill, with their log-probabilities.

        Args:
            photo, points_px: as `describe`.
            sampling: temperature, top-p, texts a point.
            seed: equal seeds draw equal texts for the same points; with `Sampling.alike` for the same point, whatever
                is asked beside it, up to rounding.
        """
        return self._sample(self._pairs(photo, points_px), sampling, seed=seed)

    def _pairs(self, photo: Photo, points_px: Sequence[Point]) -> list[tuple[Photo, Point]]:
        """Pairs of points of one photo, checked."""
        return points_of_photo(self.prepare(photo), points_px)

    def _sample(
        self,
        pairs: Sequence[tuple[Photo, Point]],
        sampling: Sampling,
        *,
        seed: int = 0,
        on_text: OnText | None = None,
    ) -> list[list[SampledText]]:
        check_pairs(pairs, "(x, y)")

        generator = torch.Generator(self.network.device).manual_seed(seed)

        def work(batch: Sequence[Asked[PreparedPhoto, NDArray[np.float64]]]) -> list[list[SampledText]]:
            photos, points = by_photo(batch)

            def told(text: int, ids: list[int]) -> None:
                assert on_text is not None
                on_text(batch[text // sampling.samples].index, self.network.prompts.decode(ids))

            squares = [np.stack(some) for some in points]
            on_token = None if on_text is None else told
            if sampling.alike:
                generator.manual_seed(seed)
            return self._describe_encoded(self._encode(photos), squares, sampling, generator, on_token)

        return self._answer(
            pairs,
            tokens=sampling.samples * (len(self._question()) + MAX_NEW_TOKENS),
            ready=lambda point, size_wh: photo_to_square([check_point(point, size_wh)], size_wh)[0],
            work=work,
        )

    def _describe_encoded(
        self,
        photos: EncodedPhotos,
        points_square: Sequence[NDArray[np.float64]],
        sampling: Sampling,
        generator: torch.Generator | None,
        on_token: Callable[[int, list[int]], None] | None,
    ) -> list[list[SampledText]]:
        """Texts of the points of B photos, one after the other. points_square: of each photo (P, 2) in [0, 1]^2."""
        network = self.network
        counts = torch.tensor([len(points) for points in points_square])
        # fp32 whatever the network's: bf16 cannot tell neighbouring pixels apart.
        padded_BP2 = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(points, dtype=torch.float32) for points in points_square], batch_first=True
        ).to(network.device)
        is_point_BP = (torch.arange(padded_BP2.shape[1]) < counts[:, None]).to(network.device)
        with network.acting_as(self.role):
            points_PF = network.encode_points(photos.features, padded_BP2, region=self.region)[is_point_BP]
            generated = network.generate(
                role_prefix(network, self.role, photos, self.cache),
                torch.arange(len(counts)).repeat_interleave(counts).to(network.device),
                network.embed([self._question()] * len(points_PF), points_PF, role=self.role),
                max_new_tokens=MAX_NEW_TOKENS,
                sampling=sampling,
                generator=generator,
                on_token=on_token,
            )
        decode = network.prompts.decode
        return [
            [SampledText(text=decode(one.ids), logprobs=one.logprobs, ended=one.ended) for one in of_point]
            for of_point in generated
        ]
