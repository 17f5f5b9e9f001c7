"""Descriptor and localizer over one base: there and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talking_points.pointing.interfaces import DescriptorRole, LocalizerRole
from talking_points.pointing.pairs import (
    Asked,
    OnText,
    answer_pairs,
    check_pairs,
    check_texts,
    opened,
    points_of_photo,
)
from talking_points.pointing.prepared import Photo, Prepared
from talking_points.pointing.verify import Verdict, verify
from talking_points.points import Point, check_point
from talking_points.samples import NOWHERE, FoundPoint, PhotoPoint, says_something

if TYPE_CHECKING:
    import torch

    from talking_points.bases.base import Base
    from talking_points.pointing.encoding import PhotoCache


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundTrip:
    """A point, its description, and where the description led back to."""

    point_px: tuple[float, float]
    """Asked, pixels of the photo."""
    description: str
    found_px: tuple[float, float] | None
    """Found, pixels of the photo. None when the descriptor said nothing, or more than the localizer reads, and when
    the localizer gave no point; `problem` says why, but where nothing was said."""
    error: float | None
    """Distance between the two in the photo's normalised coordinates (x/W, y/H), as PCK measures it."""
    confidence: float | None = None
    """Of the point found; see `FoundPoint`, as the next three."""
    runner_up_px: tuple[float, float] | None = None
    there: float | None = None
    problem: str | None = None

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

    def __init__(self, descriptor: DescriptorRole, localizer: LocalizerRole, *, choose: bool = False) -> None:
        """Both see photos in the same way: what one prepares, the other takes.

        choose: as `over` takes it; roles of others are a ValueError then.
        """
        if choose:
            from talking_points.pointing.choosing import check_can_choose

            check_can_choose(descriptor)
        self.descriptor, self.localizer, self.choose = descriptor, localizer, choose

    @classmethod
    def over(
        cls, network: Base, *, cache: PhotoCache | None = None, memory_bytes: int | None = None, choose: bool = False
    ) -> TalkingPoints:
        """Both roles of one base, which share the cache.

        Args:
            network, cache, memory_bytes: as `Role` takes them.
            choose: the descriptor draws several texts for a point, and the localizer chooses among them (`choosing`);
                False: the likeliest.

        Raises:
            ValueError: to choose, the base lacks a role, or its localizer does not say how sure it is.
        """
        # Not at the top: who asks an endpoint needs no torch.
        from talking_points.pointing.descriptor import PointDescriptor
        from talking_points.pointing.encoding import PhotoCache
        from talking_points.pointing.localizer import PointLocalizer

        cache = PhotoCache() if cache is None else cache
        return cls(
            PointDescriptor(network, cache=cache, memory_bytes=memory_bytes),
            PointLocalizer(network, cache=cache, memory_bytes=memory_bytes),
            choose=choose,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        device: str | None = None,
        quantize: str | None = None,
        roles: tuple[str, ...] = ("descriptor", "localizer"),
        style: str | None = None,
        choose: bool = False,
    ) -> TalkingPoints:
        """Load both roles of a model.

        Args:
            name_or_folder: "mini" (embedded); a checkpoint folder, or a Hugging Face Hub id ("owner/name"), which is
                downloaded once into the Hub's cache: ours, or a stock vision-language model of transformers; or
                "endpoint:URL,MODEL", an OpenAI-compatible server.
            device: "cpu", "cuda", "cuda:1", "mps", ...; None: a GPU if there is one, else the CPU.
            quantize: "nf4" or "int8" for the language model, with bitsandbytes; None: as it is.
            roles: those that will be used; of a checkpoint of ours no other is loaded.
            style: of a stock model or an endpoint, how it writes points (`forms.FORMS`); None: as its name tells.
            choose: of a checkpoint of ours, as `over` takes it; who describes needs both roles then.

        Raises:
            ImportError: what an endpoint or `quantize` needs is not installed.
            ValueError: no such model, device or style, another checkpoint version, or weights that do not fit.
        """
        from talking_points.pointing.pretrained import load_roles

        return load_roles(name_or_folder, device=device, quantize=quantize, roles=roles, style=style, choose=choose)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the checkpoint folder that `from_pretrained` reads, in `dtype` or, for None, as it is in memory.

        Raises:
            ValueError: it is a stock model or an endpoint, which has no checkpoint of ours.
        """
        from talking_points.bases.loading import save_base
        from talking_points.pointing.role import Role

        if not isinstance(self.descriptor, Role):
            raise ValueError(
                "a stock model or an endpoint has no checkpoint of ours to save; load it by its name again"
            )
        save_base(self.descriptor.network, Path(folder), dtype=dtype)

    def push_to_hub(self, repo_id: str, *, private: bool = True, dtype: torch.dtype | None = None) -> str:
        """Upload the checkpoint folder to the Hugging Face Hub, as the user logged in there. Returns its address.

        Raises:
            ValueError: as `save_pretrained`; it stands on a stock model in a folder of this machine; or the repository
                is public, and it should be private.
        """
        import tempfile

        from huggingface_hub import HfApi

        from talking_points.bases.loading import check_shareable

        api = HfApi()
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "checkpoint", dtype=dtype)
            check_shareable(Path(folder) / "checkpoint")
            url = api.create_repo(repo_id, private=private, exist_ok=True)
            # One that was there stays as public as it is.
            if private and not api.repo_info(url.repo_id).private:
                raise ValueError(f"{url.repo_id} is there already and public; give private=False, or another name")
            api.upload_folder(repo_id=url.repo_id, folder_path=str(Path(folder) / "checkpoint"))
        return str(url)

    def prepare(self, photo: Photo) -> Prepared:
        """A photo as the model sees it, which all methods take in place of the photo. Runs in any thread.

        Raises:
            ValueError, FileNotFoundError: the photo cannot be read.
        """
        return self.descriptor.prepare(photo)

    def check_text(self, text: str) -> None:
        """ValueError where a text cannot be searched for: it is empty or too long."""
        self.localizer.check_text(text)

    def describe(self, photo: Photo, points_px: Sequence[Point]) -> list[str]:
        """Texts of points (pixels of the photo). See `PointDescriptor.describe`."""
        return self.describe_many(points_of_photo(self.prepare(photo), points_px))

    def describe_many(self, pairs: Sequence[tuple[Photo, Point]], *, on_text: OnText | None = None) -> list[str]:
        """Texts of points of many photos. See `PointDescriptor.describe_many`, and `choosing.choose_texts`."""
        if not self.choose:
            return self.descriptor.describe_many(pairs, on_text=on_text)
        from talking_points.pointing.choosing import choose_texts

        descriptor: Any = self.descriptor
        localizer: Any = self.localizer
        return choose_texts(descriptor, localizer, pairs, on_text=on_text)

    def localize(self, photo: Photo, texts: Sequence[str]) -> list[Point]:
        """Points (pixels of the photo) of texts; NaN, NaN for no answer. See `PointLocalizer.localize`."""
        return [found.point_px for found in self.locate(photo, texts)]

    def locate(self, photo: Photo, texts: Sequence[str]) -> list[FoundPoint]:
        """See `PointLocalizer.locate`."""
        check_texts(texts, "text {}", self.check_text)
        prepared: Any = self.prepare(photo)
        return self.locate_many([(prepared, text) for text in texts])

    def locate_many(self, pairs: Sequence[tuple[Photo, str]]) -> list[FoundPoint]:
        """Points of texts about many photos. See `PointLocalizer.locate_many`."""
        return self.localizer.locate_many(pairs)

    def locate_descriptions(self, pairs: Sequence[tuple[Photo, str]]) -> list[FoundPoint | None]:
        """`locate_many` of what a descriptor said: None where that is nothing, and a `problem` where it is too long."""
        found: list[FoundPoint | None] = [None] * len(pairs)
        readable: dict[int, tuple[Photo, str]] = {}
        for n, (photo, text) in enumerate(pairs):
            if says_something(text):
                try:
                    self.check_text(text)
                    readable[n] = photo, text
                except ValueError as error:
                    found[n] = replace(NOWHERE, problem=str(error))
        for n, one in zip(readable, self.locate_many(list(readable.values())), strict=True):
            found[n] = one
        return found

    def verify(self, photo: Photo, point_px: Point, text: str) -> Verdict:
        """Whether what lies at a point (pixels of the photo) is what a text means, and where the text leads.

        See `verify.judge` for what is judged. Errors as `describe` and `locate`.
        """
        [verdict] = verify(self.localizer, self.prepare(photo), [(point_px, text)])
        return verdict

    def round_trip(self, photo: Photo, points_px: Sequence[Point]) -> list[RoundTrip]:
        """Describe points, then find them back from the words alone. Arguments and errors as `describe`."""
        return self.round_trip_many(points_of_photo(self.prepare(photo), points_px))

    def round_trip_many(self, pairs: Sequence[tuple[Photo, Point]]) -> list[RoundTrip]:
        """`round_trip` of points of many photos. Arguments and errors as `describe_many`."""
        check_pairs(pairs, "(x, y)")

        def there_and_back(asked: Sequence[Asked[Any, Point]]) -> list[RoundTrip]:
            texts = self.describe_many([(one.photo, one.question) for one in asked])
            found = self.locate_descriptions([(one.photo, text) for one, text in zip(asked, texts, strict=True)])
            return [
                _trip(one.question, text, place, one.photo.size_wh)
                for one, text, place in zip(asked, texts, found, strict=True)
            ]

        windows = opened(pairs, self.prepare, self.descriptor.photos_at_once, check_point)
        return answer_pairs(windows, max(1, len(pairs)), there_and_back)


def _trip(point_px: Point, text: str, found: FoundPoint | None, size_wh: tuple[int, int]) -> RoundTrip:
    point = PhotoPoint(point_px=point_px, description=text)
    if found is not None:
        point = point.answered(found, size_wh)
    return RoundTrip(**{one.name: getattr(point, one.name) for one in fields(RoundTrip)})
