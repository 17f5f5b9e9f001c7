"""Descriptor and localizer over one base: there and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from talking_points.descriptor import Photo, PointDescriptor, encode_photos
from talking_points.images import open_photo
from talking_points.localizer import PointLocalizer, points_on_photo
from talking_points.model.checkpoint import save_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.points import check_points, photo_to_square
from talking_points.pretrained import load_network


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundTrip:
    """A point, its description, and where the description led back to."""

    point_px: tuple[float, float]
    """Asked, pixels of the photo."""
    description: str
    found_px: tuple[float, float] | None
    """Found, pixels of the photo. None when the descriptor said nothing, which cannot be localized."""
    error: float | None
    """Distance between the two in the photo's normalised coordinates (x/W, y/H), as PCK measures it."""


class TalkingPoints:
    """Describes pixels in words and finds pixels from words.

    Example:
        >>> tp = TalkingPoints.from_pretrained("mini")                      # doctest: +SKIP
        >>> [text] = tp.describe("photo.jpg", [(120.5, 80.5)])              # doctest: +SKIP
        >>> [(x, y)] = tp.localize("photo.jpg", [text])                     # doctest: +SKIP
    """

    def __init__(self, network: PointNetwork) -> None:
        self.network = network
        self.descriptor = PointDescriptor(network)
        self.localizer = PointLocalizer(network)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | None = None) -> TalkingPoints:
        """Load both roles over one base.

        Args:
            name_or_folder: "mini" (embedded), a checkpoint folder, or a Hugging Face Hub id ("owner/name"),
                which is downloaded once into the Hub's cache.
            device: "cpu", "cuda", "cuda:1", ...; None: a GPU if there is one, else the CPU.

        Raises:
            ValueError: no such model or device, another checkpoint version, or weights that do not fit.
        """
        return cls(load_network(name_or_folder, device=device))

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the checkpoint folder that `from_pretrained` reads, in `dtype` or, for None, as it is in memory."""
        save_checkpoint(self.network, Path(folder), dtype=dtype)

    def push_to_hub(self, repo_id: str, *, private: bool = True, dtype: torch.dtype | None = None) -> str:
        """Upload the checkpoint folder to the Hugging Face Hub, as the user logged in there. Returns its address."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi()
        url = str(api.create_repo(repo_id, private=private, exist_ok=True))
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "checkpoint", dtype=dtype)
            api.upload_folder(repo_id=repo_id, folder_path=str(Path(folder) / "checkpoint"))
        return url

    def describe(self, photo: Photo, points_px: Sequence[tuple[float, float]]) -> list[str]:
        """Texts of points (pixels of the photo). See `PointDescriptor.describe`."""
        return self.descriptor.describe(photo, points_px)

    def localize(self, photo: Photo, texts: Sequence[str]) -> list[tuple[float, float]]:
        """Points (pixels of the photo) of texts. See `PointLocalizer.localize`."""
        return self.localizer.localize(photo, texts)

    def describe_photos(
        self, photos: Sequence[Photo], points_px: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[str]]:
        """Texts of points of several photos at once. See `PointDescriptor.describe_photos`."""
        return self.descriptor.describe_photos(photos, points_px)

    def localize_photos(
        self, photos: Sequence[Photo], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, float]]]:
        """Points of texts about several photos at once. See `PointLocalizer.localize_photos`."""
        return self.localizer.localize_photos(photos, texts)

    def round_trip(self, photo: Photo, points_px: Sequence[tuple[float, float]]) -> list[RoundTrip]:
        """Describe points, then find them back from the words alone.

        Args:
            photo: a path, a PIL image or an array.
            points_px: x, y in pixels of the photo as opened.
        """
        opened = open_photo(photo)
        points = check_points(points_px, opened.size)
        with torch.inference_mode():
            features = encode_photos(self.network, [opened])
            [texts] = self.descriptor.describe_features(features, [photo_to_square(points, opened.size)])
            said = [index for index, text in enumerate(texts) if text]
            suffixes = self.localizer.suffixes([texts[i] for i in said])
            [found_square] = self.localizer.localize_features(features, [suffixes])
            found_px = points_on_photo(found_square, opened.size)
        answers = dict(zip(said, found_px, strict=True))
        width, height = opened.size
        trips = []
        for index, ((x, y), text) in enumerate(zip(points_px, texts, strict=True)):
            found = answers.get(index)
            error = None if found is None else math.hypot((found[0] - x) / width, (found[1] - y) / height)
            trips.append(RoundTrip(point_px=(float(x), float(y)), description=text, found_px=found, error=error))
        return trips
