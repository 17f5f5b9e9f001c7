"""Descriptor and localizer over one base: there and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from talking_points.bases.base import Base
from talking_points.bases.loading import save_base
from talking_points.pointing.descriptor import PointDescriptor, points_of_photo
from talking_points.pointing.encoding import Photo, PhotoCache, prepare_photo
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.pairs import Asked, answer_pairs, check_pairs, opened
from talking_points.pointing.pretrained import load_network
from talking_points.points import Point, check_point
from talking_points.samples import FoundPoint, PhotoPoint


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
    confidence: float | None = None
    """Of the point found; see `FoundPoint`, as the next two."""
    runner_up_px: tuple[float, float] | None = None
    there: float | None = None

    def as_point(self) -> PhotoPoint:
        """The same as the record that is written as JSON."""
        return PhotoPoint(**{one.name: getattr(self, one.name) for one in fields(self)})


class TalkingPoints:
    """Describes pixels in words and finds pixels from words.

    Example:
        >>> tp = TalkingPoints.from_pretrained("mini")                      # doctest: +SKIP
        >>> [text] = tp.describe("photo.jpg", [(120.5, 80.5)])              # doctest: +SKIP
        >>> [(x, y)] = tp.localize("photo.jpg", [text])                     # doctest: +SKIP
    """

    def __init__(self, network: Base, *, cache: PhotoCache | None = None, memory_bytes: int | None = None) -> None:
        """Arguments as `Role`; both adapters are over one network, and share the cache."""
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
        save_base(self.network, Path(folder), dtype=dtype)

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

    def describe(self, photo: Photo, points_px: Sequence[Point]) -> list[str]:
        """Texts of points (pixels of the photo). See `PointDescriptor.describe`."""
        return self.descriptor.describe(photo, points_px)

    def describe_many(
        self, pairs: Sequence[tuple[Photo, Point]], *, on_token: Callable[[int, list[int]], None] | None = None
    ) -> list[str]:
        """Texts of points of many photos. See `PointDescriptor.describe_many`."""
        return self.descriptor.describe_many(pairs, on_token=on_token)

    def localize(self, photo: Photo, texts: Sequence[str]) -> list[Point]:
        """Points (pixels of the photo) of texts. See `PointLocalizer.localize`."""
        return self.localizer.localize(photo, texts)

    def locate(self, photo: Photo, texts: Sequence[str]) -> list[FoundPoint]:
        """See `PointLocalizer.locate`."""
        return self.localizer.locate(photo, texts)

    def locate_many(self, pairs: Sequence[tuple[Photo, str]]) -> list[FoundPoint]:
        """Points of texts about many photos. See `PointLocalizer.locate_many`."""
        return self.localizer.locate_many(pairs)

    def round_trip(self, photo: Photo, points_px: Sequence[Point]) -> list[RoundTrip]:
        """Describe points, then find them back from the words alone. Arguments and errors as `describe`."""
        prepared = prepare_photo(photo, self.network.side)
        return self.round_trip_many(points_of_photo(prepared, points_px))

    def round_trip_many(self, pairs: Sequence[tuple[Photo, Point]]) -> list[RoundTrip]:
        """`round_trip` of points of many photos. Arguments and errors as `describe_many`."""
        check_pairs(pairs, "(x, y)")

        def there_and_back(asked: Sequence[Asked[Point]]) -> list[RoundTrip]:
            texts = self.describe_many([(one.photo, one.question) for one in asked])
            # A descriptor that says nothing leaves nothing to localize.
            said = [(one.photo, text) for one, text in zip(asked, texts, strict=True) if text]
            found = iter(self.locate_many(said))
            return [
                _trip(one.question, text, next(found) if text else None, one.photo.size_wh)
                for one, text in zip(asked, texts, strict=True)
            ]

        return answer_pairs(opened(pairs, self.network.side, check_point), max(1, len(pairs)), there_and_back)


def _trip(point_px: Point, text: str, found: FoundPoint | None, size_wh: tuple[int, int]) -> RoundTrip:
    point = PhotoPoint(point_px=point_px, description=text)
    if found is not None:
        point = point.answered(found, size_wh)
    return RoundTrip(**{one.name: getattr(point, one.name) for one in fields(RoundTrip)})
