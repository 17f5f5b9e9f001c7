"""What is scored: points of photos with, or without, a text about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from talking_points.dataset.facts import PointFacts
from talking_points.points import Point
from talking_points.samples import PhotoPoint

_AnySample = TypeVar("_AnySample", bound="Sample")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample(PhotoPoint):
    """A point of a photo that can be opened, the true text where there is one, and what else is known of it."""

    sample_id: str
    photo_id: str
    open_photo: Callable[[], Image.Image]
    """Gives the photo, RGB and upright."""
    size_wh: tuple[int, int]
    point_px: Point
    kind: str = ""
    """"sift", "smooth", "named", or "" for a point anywhere."""
    alike: int = 0
    """How many objects of the object's name the photo shows; 0: not known."""
    facts: PointFacts | None = None
    """What rules wrote the text from; None where they did not."""
    described: Sample | None = None
    """Cross-photo: the point of another photo that is described, to be found again here. None: this one."""

    @classmethod
    def of(cls: type[_AnySample], point: Any, **known: Any) -> _AnySample:
        """What a point, another sample or a record of a built set tells of a sample, and what else is known."""
        shared = {one.name for one in fields(cls)} & {one.name for one in fields(point)}
        return cls(**{name: getattr(point, name) for name in shared} | known)

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


def check_texts(where: str, samples: Sequence[Sample], texts: Sequence[str], check: Callable[[str], object]) -> None:
    """A ValueError where a text cannot be read: says of which sample, and of how many more.

    Args:
        where: what holds the texts.
        samples: what they are about.
        texts: one a sample.
        check: raises a ValueError that says what is wrong with a text.
    """
    problems: dict[str, str | None] = {}
    wrong = []
    for sample, text in zip(samples, texts, strict=True):
        if text not in problems:
            try:
                check(text)
                problems[text] = None
            except ValueError as error:
                problems[text] = str(error)
        if problems[text] is not None:
            wrong.append(f"{where}, {sample.sample_id}: {problems[text]}")
    if wrong:
        raise ValueError(wrong[0] + (f", and {len(wrong) - 1:,} more" if wrong[1:] else ""))


def drawn_evenly(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """At most `limit` samples: as many of each source as can be, and of a source photos drawn at random, whole ones.

    A source with fewer than its share gives all, and the others give more. Of the last photo of a source, as many
    samples as are still wanted are drawn. The order stays. Equal seeds draw equally.
    """
    rng = np.random.default_rng(seed)
    groups = by_photo(samples)
    of_source: dict[str, list[Sample]] = {}
    for number in rng.permutation(len(groups)):
        group = groups[int(number)]
        chosen = [group[int(k)] for k in rng.permutation(len(group))]
        of_source.setdefault(group[0].source, []).extend(chosen)
    # In turns, until there are enough.
    turns = [sample for turn in zip_longest(*of_source.values()) for sample in turn if sample is not None]
    taken = {id(sample) for sample in turns[:limit]}
    return [sample for sample in samples if id(sample) in taken]
