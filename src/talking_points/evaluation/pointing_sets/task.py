"""What a pointing benchmark asks, and what its layouts have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import ArrayLike

from talking_points.evaluation.pointing_sets.masks import Mask
from talking_points.evaluation.samples import Sample

Point = tuple[float, float]
MOST_TEXT_CHARS = 1000
"""A longer text is none that a person wrote to be pointed at; the published ones stay far below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointingTask(Sample):
    """A text about a photo, to be answered with points, and what the benchmark's metric compares them with.

    `point_px` is a right answer, NaN where none is.
    """

    category: str
    """What the benchmark's authors break scores down by."""
    perfect_px: tuple[Point, ...]
    """An answer that scores 100, pixels; empty where saying nothing is right."""
    masks: tuple[Mask, ...] = ()
    labelled_px: tuple[Point, ...] = ()
    """PixMo-Points: a labelled point for each of `masks`, pixels."""
    count: int | None = None
    """Point-Bench's counting tasks: how many points are asked for."""


Entry = tuple[str, Callable[[], list[PointingTask]]]
"""Where something stands in a file, and what reads it; a ValueError or OSError of that says what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A benchmark's files and its official metric."""

    entries: Callable[[Path], Iterable[Entry]]
    """Lists a folder's entries; a ValueError or FileNotFoundError when it is of another layout."""
    scores: Callable[[PointingTask, ArrayLike], Mapping[str, float]]
    """Scores of a task's (N, 2) found points in percent, by metric; the first one is the score."""
    mean_of_categories: bool = False
    """Whether the benchmark's figure is the mean over categories; else that over tasks."""


def text_of(record: Mapping[str, Any], key: str) -> str:
    """The text under a key of an entry, or a ValueError."""
    text = record.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'"{key}" must be a text, got {text!r:.100}')
    if len(text) > MOST_TEXT_CHARS:
        raise ValueError(f'"{key}" has {len(text):,} characters; allowed: up to {MOST_TEXT_CHARS:,}')
    return text.strip()


def path_of(folder: Path, record: Mapping[str, Any], key: str) -> Path:
    """The file in a folder that a key of an entry names, or a ValueError."""
    name = text_of(record, key)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f'"{key}" must be a path below {folder}, got {name!r:.100}')
    return folder / path
