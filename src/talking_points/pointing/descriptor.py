"""The Point Descriptor: photo and points to texts."""

# P points

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from talking_points.generation import GREEDY, Sampling, generate
from talking_points.model.language import embed_suffixes
from talking_points.model.network import PointNetwork
from talking_points.pointing.encoding import (
    EncodedPhotos,
    Photo,
    PhotoCache,
    PreparedPhoto,
    encode_photos,
    in_batches,
    prepare_photo,
    prompts_at_once,
    role_prefix,
)
from talking_points.points import check_points, photo_to_square

T = TypeVar("T")

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


class PointDescriptor:
    """Describes pixels of a photo in words (paper 3.2)."""

    role = "descriptor"
    region: str | None = None
    """Where the keypoint's queries look; None: as the config says."""

    def _question(self) -> list[int]:
        return self.network.prompts.describe()

    def __init__(
        self, network: PointNetwork, *, cache: PhotoCache | None = None, memory_bytes: int | None = None
    ) -> None:
        """
        Args:
            network: with the descriptor's adapter.
            cache: where what is computed of photos is kept; None: one of its own.
            memory_bytes: room for a batch, see `prompts_at_once`.
        """
        self.network = network
        self.cache = PhotoCache() if cache is None else cache
        self.memory_bytes = memory_bytes

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | None = None) -> PointDescriptor:
        """Load the descriptor alone. Arguments as `TalkingPoints.from_pretrained`."""
        from talking_points.pointing.pretrained import load_network

        return cls(load_network(name_or_folder, device=device, roles=("descriptor",)))

    def describe(self, photo: Photo, points_px: Sequence[tuple[float, float]]) -> list[str]:
        """Describe points.

        Args:
            photo: a path, a PIL image or an array.
            points_px: x, y in pixels of the photo as opened (EXIF applied); any number of them.

        Returns:
            One text a point, in their order.

        Raises:
            ValueError, FileNotFoundError: the photo cannot be read, or a point is outside it; says which.
        """
        return self.describe_photos([photo], [points_px])[0]

    def describe_photos(
        self, photos: Sequence[Photo], points_px: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[str]]:
        """`describe` for several photos at once: points_px[i] are the points of photos[i]."""
        side = self.network.config.vision.image_size
        return self.describe_prepared([prepare_photo(photo, side) for photo in photos], points_px)

    def describe_prepared(
        self,
        photos: Sequence[PreparedPhoto],
        points_px: Sequence[Sequence[tuple[float, float]]],
        *,
        on_token: Callable[[int, list[int]], None] | None = None,
    ) -> list[list[str]]:
        """`describe_photos` of photos opened before.

        Args:
            on_token: told of each new token which point it is about, counted over all photos, and its text's ids so
                far. After running out of memory a text may start over.
        """
        sampled = self._sample(photos, points_px, GREEDY, None, on_token)
        return [[one.text for [one] in of_photo] for of_photo in sampled]

    def sample(
        self, photo: Photo, points_px: Sequence[tuple[float, float]], sampling: Sampling, *, seed: int = 0
    ) -> list[list[SampledText]]:
        """Several descriptions of each point, drawn from one prefill, with their log-probabilities.

        Args:
            photo, points_px: as `describe`.
            sampling: temperature, top-p, texts a point.
            seed: equal seeds draw equal texts for the same points.
        """
        generator = torch.Generator(self.network.device).manual_seed(seed)
        prepared = prepare_photo(photo, self.network.config.vision.image_size)
        return self._sample([prepared], [points_px], sampling, generator)[0]

    def _sample(
        self,
        photos: Sequence[PreparedPhoto],
        points_px: Sequence[Sequence[tuple[float, float]]],
        sampling: Sampling,
        generator: torch.Generator | None,
        on_token: Callable[[int, list[int]], None] | None = None,
    ) -> list[list[list[SampledText]]]:
        network = self.network
        squares = [
            photo_to_square(check_points(points, photo.size_wh), photo.size_wh)
            for photo, points in zip(photos, points_px, strict=True)
        ]
        numbered = list(enumerate((n, point) for n, points in enumerate(squares) for point in points))
        tokens = sampling.samples * (len(self._question()) + MAX_NEW_TOKENS)

        def work(batch: Sequence[tuple[int, tuple[int, NDArray[np.float64]]]]) -> list[list[SampledText]]:
            first, some = batch[0][0], [one for _, one in batch]
            shown = [n for n, _ in itertools.groupby(n for n, _ in some)]
            encoded = encode_photos(network, [photos[n] for n in shown], self.cache)
            points = [np.stack([point for m, point in some if m == n]) for n in shown]

            def told(text: int, ids: list[int]) -> None:
                if on_token is not None:
                    on_token(first + text // sampling.samples, ids)

            return self._describe_encoded(encoded, points, sampling, generator, told)

        with torch.inference_mode():
            texts = in_batches(numbered, prompts_at_once(network, tokens, self.memory_bytes), work)
        return split_by([len(points) for points in points_px], texts)

    def _describe_encoded(
        self,
        photos: EncodedPhotos,
        points_square: Sequence[NDArray[np.float64]],
        sampling: Sampling,
        generator: torch.Generator | None,
        on_token: Callable[[int, list[int]], None],
    ) -> list[list[SampledText]]:
        """Texts of the points of B photos, one after the other. points_square: of each photo (P, 2) in [0, 1]^2."""
        network, prompts = self.network, self.network.prompts
        counts = torch.tensor([len(points) for points in points_square])
        # fp32 whatever the network's: bf16 cannot tell neighbouring pixels apart.
        padded_BP2 = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(points, dtype=torch.float32) for points in points_square], batch_first=True
        ).to(network.device)
        is_point_BP = (torch.arange(padded_BP2.shape[1]) < counts[:, None]).to(network.device)
        photo_of_point_P = torch.arange(len(counts)).repeat_interleave(counts).to(network.device)
        with network.acting_as(self.role):
            prefix = role_prefix(network, self.role, photos, self.cache)
            marks_PD = network.mark_tokens(photos.features, padded_BP2, region=self.region)[is_point_BP]
            suffix_PSD = embed_suffixes(
                [self._question()] * len(marks_PD), network.embedding, prompts.mark_id, marks_PD
            )
            generated = generate(
                network.llama,
                prefix,
                photo_of_point_P,
                suffix_PSD,
                end_id=prompts.end_id,
                max_new_tokens=MAX_NEW_TOKENS,
                sampling=sampling,
                generator=generator,
                on_token=on_token,
            )
        return [
            [SampledText(text=prompts.decode(one.ids), logprobs=one.logprobs, ended=one.ended) for one in of_point]
            for of_point in generated
        ]


def split_by(counts: Sequence[int], items: Sequence[T]) -> list[list[T]]:
    """Runs of `counts` items each."""
    rest: Iterator[T] = iter(items)
    return [list(itertools.islice(rest, count)) for count in counts]
