"""The Point Descriptor: photo and points to texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def encode_photo(network: PointNetwork, photo: Image.Image) -> ImageFeatures:
    """Vision features of one opened photo."""
    pixels_3SS = torch.from_numpy(letterbox(photo, network.config.vision.image_size))
    return network.segmenter(pixels_3SS[None].to(network.device))


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
        opened = open_photo(photo)
        points = check_points(points_px, opened.size)
        with torch.inference_mode():
            return self.describe_features(encode_photo(self.network, opened), photo_to_square(points, opened.size))

    def describe_features(self, features: ImageFeatures, points_square: NDArray[Any]) -> list[str]:
        """Describe points of one encoded photo. points_square: (P, 2) in [0, 1]^2 of the model's square."""
        network = self.network
        texts: list[str] = []
        with network.acting_as("descriptor"):
            prefix = SharedPrefix(network.llama, network.photo_prefixes(features, network.projector))
            for start in range(0, len(points_square), POINTS_AT_ONCE):
                points = torch.tensor(
                    points_square[start : start + POINTS_AT_ONCE], dtype=torch.float32, device=network.device
                )
                marks_PD = network.mark_tokens(features, points[None])[0]
                question = network.prompts.describe()
                suffix_PSD, _ = embed_suffixes(
                    [question] * len(points), network.embedding, network.prompts.mark_id, marks_PD
                )
                photo_of_point = torch.zeros(len(points), dtype=torch.long, device=network.device)
                ids = generate(
                    network.llama,
                    prefix,
                    photo_of_point,
                    suffix_PSD,
                    end_id=network.prompts.end_id,
                    max_new_tokens=MAX_NEW_TOKENS,
                )
                texts += [network.prompts.decode(i) for i in ids]
        return texts
