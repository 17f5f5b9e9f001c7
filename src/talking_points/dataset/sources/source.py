"""What every source of part-labelled photos offers: the names of its photos, and a way to read one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from talking_points.dataset.scene import Scene
from talking_points.labels.problems import Problem

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One split of a dataset in a folder. Nothing but lists and annotation files is read before `read`."""

    paths: Mapping[str, Path]
    """The photos' files by their ids, whether or not they are there."""
    read: Callable[[str], Scene]
    """Read one photo by its id, at its full size.

    Raises ValueError or FileNotFoundError, with the path of the file, when the photo or its labels are bad.
    Can be pickled, so that other processes read, too.
    """
    problems: tuple[Problem, ...] = ()
    """Records of the annotation files that were left out and are of no photo. Those of a photo are in its scene."""
    refused: tuple[Problem, ...] = ()
    """Why the labels cannot be used as they are, such as an id of two photos; `open_source` raises them."""
    notes: tuple[str, ...] = ()
    """What was assumed of the annotation files, or may be meant otherwise; no problems."""
    name: str = ""
    """Given by `open_source`, as is the split: "train", "val" or "test", see there."""
    split: str = ""

    @property
    def photo_ids(self) -> tuple[str, ...]:
        """Sorted. A photo may turn out to be broken, or to hold no part, only when it is read."""
        return tuple(sorted(self.paths))
