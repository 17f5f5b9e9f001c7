"""Photos of a split that are the same shot as one that is measured on later: they must not be learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talking_points.dataset.look_alikes import shot_among, thumbnail_of_file
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.source import Source
from talking_points.dataset.splits import PhotoKey

PROTECTED = {"train": ("test", "val"), "val": ("test",), "test": ()}
"""Of which splits a split holds no look-alikes: a photo belongs to test before val before train."""

OtherPhoto = tuple[str, str, str]
"""Source, split and photo id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unchecked:
    """A split that could not be listed, so that nothing was compared with it."""

    source: str
    split: str
    reason: str


def protected_sources(folders: Mapping[str, Path], split: str) -> tuple[dict[tuple[str, str], Source], list[Unchecked]]:
    """The later splits of all sources, by source and split; and those that are not there."""
    opened: dict[tuple[str, str], Source] = {}
    unchecked: list[Unchecked] = []
    for name in sorted(folders):
        for other in PROTECTED[split]:
            try:
                opened[name, other] = open_source(name, folders[name], other)
            except (ValueError, OSError) as error:
                # A copy of a dataset without its test photos can be learned from, too.
                unchecked.append(Unchecked(source=name, split=other, reason=" ".join(str(error).split())))
    return opened, unchecked


def thumbnail_or_none(path: Path) -> np.ndarray | None:
    """Of a photo of another split; None of a bad one, which is that split's matter."""
    try:
        return thumbnail_of_file(path)
    except (ValueError, OSError):
        return None


def look_alikes_of(
    thumbs: Mapping[PhotoKey, np.ndarray], others: Mapping[OtherPhoto, np.ndarray]
) -> dict[PhotoKey, str]:
    """Why each photo that is the same shot as one of the others is left out: "looks like test photo 0984 of label-map".

    Args:
        thumbs: `look_alikes.thumbnail` of the photos.
        others: of the photos of later splits.
    """
    keys = sorted(thumbs)
    # Test first: what is named is the strongest reason.
    those = sorted(others, key=lambda one: (one[1] != "test", one))
    found = shot_among([thumbs[key] for key in keys], [others[one] for one in those])
    return {
        key: f"looks like {those[index][1]} photo {those[index][2]} of {those[index][0]}"
        for key, index in zip(keys, found, strict=True)
        if index is not None
    }
