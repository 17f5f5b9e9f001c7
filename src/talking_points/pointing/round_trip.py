"""Descriptor and localizer over one base: there and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from talking_points.model.checkpoint import save_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.encoding import Photo, PhotoCache, PreparedPhoto, prepare_photo
from talking_points.pointing.localizer import FoundPoint, PointLocalizer
from talking_points.pointing.pretrained import load_network
from talking_points.points import check_points


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

    def __init__(
        self, network: PointNetwork, *, cache: PhotoCache | None = None, memory_bytes: int | None = None
    ) -> None:
        """
        Args:
            network: with both adapters.
            cache: where what is computed of photos is kept for both roles; None: one of its own, of a gigabyte.
            memory_bytes: room for a batch, see `encoding.prompts_at_once`.
        """
        self.network = network
        cache = PhotoCache() if cache is None else cache
        self.descriptor = PointDescriptor(network, cache=cache, memory_bytes=memory_bytes)
        self.localizer = PointLocalizer(network, cache=cache, memory_bytes=memory_bytes)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, device: str | None = None, quantize: str | None = None
    ) -> TalkingPoints:
        """Load both roles over one base.

        Args:
            name_or_folder: "mini" (embedded), a checkpoint folder, or a Hugging Face Hub id ("owner/name"),
                which is downloaded once into the Hub's cache.
            device: "cpu", "cuda", "cuda:1", ...; None: a GPU if there is one, else the CPU.
            quantize: "nf4" or "int8" for the base's language model, with bitsandbytes; None: as it is.

        Raises:
            ImportError: bitsandbytes is not installed.
            ValueError: no such model or device, another checkpoint version, or weights that do not fit.
        """
        return cls(load_network(name_or_folder, device=device, quantize=quantize))

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

    def locate(self, photo: Photo, texts: Sequence[str]) -> list[FoundPoint]:
        """See `PointLocalizer.locate`."""
        return self.localizer.locate(photo, texts)

    def round_trip(self, photo: Photo, points_px: Sequence[tuple[float, float]]) -> list[RoundTrip]:
        """Describe points, then find them back from the words alone.

        Args:
            photo: a path, a PIL image or an array.
            points_px: x, y in pixels of the photo as opened.
        """
        return self.round_trip_photos([photo], [points_px])[0]

    def round_trip_photos(
        self, photos: Sequence[Photo], points_px: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[RoundTrip]]:
        """`round_trip` for several photos at once: points_px[i] are the points of photos[i]."""
        side = self.network.config.vision.image_size
        return self.round_trip_prepared([prepare_photo(photo, side) for photo in photos], points_px)

    def round_trip_prepared(
        self, photos: Sequence[PreparedPhoto], points_px: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[RoundTrip]]:
        """`round_trip_photos` of photos opened before."""
        for photo, points in zip(photos, points_px, strict=True):
            check_points(points, photo.size_wh)
        texts = self.descriptor.describe_prepared(photos, points_px)
        # A descriptor that says nothing leaves nothing to localize.
        found = self.localizer.localize_prepared(photos, [[text for text in some if text] for some in texts])
        trips = []
        for photo, points, some, places in zip(photos, points_px, texts, found, strict=True):
            answers = iter(places)
            trips.append(
                [
                    _trip(p, text, next(answers) if text else None, photo.size_wh)
                    for p, text in zip(points, some, strict=True)
                ]
            )
        return trips


def _trip(
    point_px: tuple[float, float], text: str, found_px: tuple[float, float] | None, size_wh: tuple[int, int]
) -> RoundTrip:
    x, y = (float(value) for value in point_px)
    error = None
    if found_px is not None:
        error = math.hypot((found_px[0] - x) / size_wh[0], (found_px[1] - y) / size_wh[1])
    return RoundTrip(point_px=(x, y), description=text, found_px=found_px, error=error)
