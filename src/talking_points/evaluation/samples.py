"""What is scored: points of photos with, or without, a text about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from talking_points.dataset.synthesis import PointFacts

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A point of a photo, its text, and what is known of the object and the part it lies on."""

    sample_id: str
    photo_id: str
    open_photo: Callable[[], Image.Image]
    """Gives the photo, RGB and upright."""
    size_wh: tuple[int, int]
    point_px: tuple[float, float]
    text: str | None = None
    """The ground-truth description; None where there is none."""
    source: str = ""
    object_name: str | None = None
    object_category: str = ""
    """The broader class of the object, such as its family; "" where there is none."""
    part_name: str | None = None
    object_box_xyxy: Box | None = None
    """Pixels, as `part_box_xyxy`."""
    part_box_xyxy: Box | None = None
    kind: str = ""
    """"sift", "smooth", "named", or "" for a point anywhere."""
    alike: int = 0
    """How many objects of the object's name the photo shows; 0: not known."""
    facts: PointFacts | None = None
    """What rules wrote the text from; None where they did not."""
    described: Sample | None = None
    """Cross-photo: the point of another photo that is described, to be found again here. None: this one."""

    @property
    def point_unit(self) -> tuple[float, float]:
        """The point in the photo's [0, 1]^2."""
        return self.point_px[0] / self.size_wh[0], self.point_px[1] / self.size_wh[1]


def by_photo(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Samples of each photo, photos in the order of their first sample."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.photo_id, []).append(sample)
    return list(groups.values())
