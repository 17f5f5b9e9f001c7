"""The Point Descriptor: photo and points to texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from talking_points.generation import SharedPrefix, generate
from talking_points.images import letterbox, open_photo
from talking_points.model.language import embed_suffixes
from talking_points.model.network import PointNetwork
from talking_points.model.segmenter import ImageFeatures
from talking_points.points import check_points, photo_to_square

Photo = str | Path | Image.Image | NDArray[Any]

MAX_NEW_TOKENS = 160
"""Longest description, in tokens. Ours."""
POINTS_AT_ONCE = 64
"""Points decoded together."""


def encode_photos(network: PointNetwork, photos: Sequence[Image.Image]) -> ImageFeatures:
    """Vision features of opened photos."""
    side = network.config.vision.image_size
    pixels_B3SS = torch.from_numpy(np.stack([letterbox(photo, side) for photo in photos]))
    return network.segmenter(pixels_B3SS.to(network.device))


class PointDescriptor:
    """Describes pixels of a photo in words (paper 3.2)."""

    def __init__(self, network: PointNetwork) -> None:
        self.network = network

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | None = None) -> PointDescriptor:
        """Load the descriptor alone. Arguments as `TalkingPoints.from_pretrained`."""
        from talking_points.pretrained import load_network

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
        opened = [open_photo(photo) for photo in photos]
        points_square = [
            photo_to_square(check_points(points, photo.size), photo.size)
            for photo, points in zip(opened, points_px, strict=True)
        ]
        texts: list[list[str]] = []
        with torch.inference_mode():
            for some in chunks([len(points) for points in points_square], POINTS_AT_ONCE):
                texts += self.describe_features(encode_photos(self.network, opened[some]), points_square[some])
        return texts

    def describe_features(
        self, features: ImageFeatures, points_square: Sequence[NDArray[np.float64]]
    ) -> list[list[str]]:
        """Describe points of B encoded photos. points_square: for each photo (P, 2) in [0, 1]^2 of the square."""
        network = self.network
        counts = [len(points) for points in points_square]
        photo_of_point = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(network.device)
        if not len(photo_of_point):
            return [[] for _ in counts]
        # fp32 whatever the network's: bf16 cannot tell neighbouring pixels apart.
        padded_BP2 = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(p, dtype=torch.float32).view(-1, 2) for p in points_square], batch_first=True
        ).to(network.device)
        is_point_BP = torch.arange(padded_BP2.shape[1]) < torch.tensor(counts)[:, None]
        ids: list[list[int]] = []
        with network.acting_as("descriptor"):
            prefix = SharedPrefix(network.llama, network.photo_prefixes(features, network.projector))
            marks_PD = network.mark_tokens(features, padded_BP2)[is_point_BP.to(network.device)]
            question = network.prompts.describe()
            for start in range(0, len(marks_PD), POINTS_AT_ONCE):
                some = slice(start, start + POINTS_AT_ONCE)
                suffix_PSD, _ = embed_suffixes(
                    [question] * len(marks_PD[some]), network.embedding, network.prompts.mark_id, marks_PD[some]
                )
                ids += generate(
                    network.llama,
                    prefix,
                    photo_of_point[some],
                    suffix_PSD,
                    end_id=network.prompts.end_id,
                    max_new_tokens=MAX_NEW_TOKENS,
                )
        texts = iter([network.prompts.decode(i) for i in ids])
        return [[next(texts) for _ in range(count)] for count in counts]


def chunks(counts: Sequence[int], at_once: int) -> Iterator[slice]:
    """Runs of photos whose points together number at most `at_once`; a photo of more stands alone."""
    start, total = 0, 0
    for index, count in enumerate(counts):
        if index > start and total + count > at_once:
            yield slice(start, index)
            start, total = index, 0
        total += count
    if counts:
        yield slice(start, len(counts))
