"""The Point Localizer: photo and texts to points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from talking_points.descriptor import Photo, chunks, encode_photos
from talking_points.generation import SharedPrefix, read_suffixes
from talking_points.images import open_photo
from talking_points.model.language import embed_suffixes
from talking_points.model.network import PointNetwork
from talking_points.model.segmenter import ImageFeatures
from talking_points.points import square_to_photo

TEXTS_AT_ONCE = 64
"""Texts read together."""


def points_on_photo(points_square: NDArray[np.float64], size_wh: tuple[int, int]) -> list[tuple[float, float]]:
    """Points of the square as pixels of the photo. On the padding, the photo's nearest point is the answer."""
    return [(float(x), float(y)) for x, y in square_to_photo(points_square, size_wh).clip((0, 0), size_wh)]


class PointLocalizer:
    """Finds the pixel that a text describes (paper 3.3): one forward pass a text, no decoding."""

    def __init__(self, network: PointNetwork) -> None:
        self.network = network

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | None = None) -> PointLocalizer:
        """Load the localizer alone. Arguments as `TalkingPoints.from_pretrained`."""
        from talking_points.pretrained import load_network

        return cls(load_network(name_or_folder, device=device, roles=("localizer",)))

    def localize(self, photo: Photo, texts: Sequence[str]) -> list[tuple[float, float]]:
        """Find points from texts.

        Args:
            photo: a path, a PIL image or an array.
            texts: any number of descriptions.

        Returns:
            For each text x, y in pixels of the photo as opened (EXIF applied), inside the photo.

        Raises:
            ValueError, FileNotFoundError: the photo cannot be read, or a text is empty or too long; says which.
        """
        return self.localize_photos([photo], [texts])[0]

    def localize_photos(
        self, photos: Sequence[Photo], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, float]]]:
        """`localize` for several photos at once: texts[i] are about photos[i]."""
        opened = [open_photo(photo) for photo in photos]
        suffixes = [self.suffixes(some) for some in texts]
        found: list[list[tuple[float, float]]] = []
        with torch.inference_mode():
            for some in chunks([len(s) for s in suffixes], TEXTS_AT_ONCE):
                points_square = self.localize_features(encode_photos(self.network, opened[some]), suffixes[some])
                found += [
                    points_on_photo(points, photo.size)
                    for points, photo in zip(points_square, opened[some], strict=True)
                ]
        return found

    def suffixes(self, texts: Sequence[str]) -> list[list[int]]:
        """Prompts of texts as token ids; a bad text is a ValueError that says which."""
        suffixes = []
        for number, text in enumerate(texts, start=1):
            try:
                suffixes.append(self.network.prompts.localize(text))
            except ValueError as error:
                raise ValueError(f"text {number}: {error}") from None
        return suffixes

    def localize_features(
        self, features: ImageFeatures, suffixes: Sequence[Sequence[Sequence[int]]]
    ) -> list[NDArray[np.float64]]:
        """For each of B encoded photos (P, 2) points in [0, 1]^2 of the square, from its prompts."""
        network = self.network
        parts = network.localizer
        counts = [len(prompts) for prompts in suffixes]
        flat = [prompt for prompts in suffixes for prompt in prompts]
        photo_of_text = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(network.device)
        if not flat:
            return [np.zeros((0, 2)) for _ in counts]
        found: list[torch.Tensor] = []
        with network.acting_as("localizer"):
            assert parts is not None
            prefix = SharedPrefix(network.llama, network.photo_prefixes(features, parts.projector))
            for start in range(0, len(flat), TEXTS_AT_ONCE):
                some = flat[start : start + TEXTS_AT_ONCE]
                photo_of_some = photo_of_text[start : start + TEXTS_AT_ONCE]
                suffix_PSD, lengths_P = embed_suffixes(some, network.embedding, network.prompts.mark_id, None)
                hidden_PSD, _, _ = read_suffixes(network.llama, prefix, photo_of_some, suffix_PSD, lengths_P)
                rows = torch.arange(len(some), device=network.device)
                seg_PD = hidden_PSD[rows, network.seg_positions(some)]
                found.append(
                    parts(seg_PD, network.segmenter.mask_decoder, features.decoder_inputs, photo_of_some).points_P2
                )
        points_P2 = torch.cat(found).cpu().double().numpy()
        return np.split(points_P2, np.cumsum(counts)[:-1])
