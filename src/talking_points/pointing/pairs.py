"""Pairs of a photo and what is asked of it: each photo opened once, its questions together, in batches that fit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from talking_points.pointing.encoding import Photo, PreparedPhoto, in_batches, prepare_photo

Q = TypeVar("Q")
A = TypeVar("A")
R = TypeVar("R")

OPENED_BYTES = 2**30
"""Room for photos that are open at once: 85 of the 7B, a thousand of mini. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Generic[A]):
    """A question about an opened photo."""

    index: int
    """Its place among the pairs."""
    photo: PreparedPhoto
    question: A


def check_pairs(pairs: Sequence[tuple[Photo, Any]], second: str) -> None:
    """TypeError for what are no pairs; says which. second: what each photo comes with, such as "text"."""
    for number, pair in enumerate(pairs, start=1):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"pair {number} is {type(pair).__name__}; expected (photo, {second})")


def opened(photos: Sequence[Photo], side: int) -> Iterator[list[tuple[int, PreparedPhoto]]]:
    """Photos by their places, opened for a network that sees them at `side` px; as many at a time as there is room for.

    What is given several times, as one path or one object, is opened once and stays together, and so do photos that
    are equal by content within a window.

    Raises:
        ValueError, FileNotFoundError: a photo cannot be read.
    """
    places: dict[Hashable, list[int]] = {}
    for place, photo in enumerate(photos):
        places.setdefault(_identity(photo), []).append(place)
    distinct = list(places.values())
    at_once = max(1, OPENED_BYTES // (side * side * 3 * 4))
    for start in range(0, len(distinct), at_once):
        alike: dict[bytes, list[tuple[int, PreparedPhoto]]] = {}
        for same in distinct[start : start + at_once]:
            photo = prepare_photo(photos[same[0]], side)
            alike.setdefault(photo.key, []).extend((place, photo) for place in same)
        yield [one for some in alike.values() for one in some]


def _identity(photo: Photo) -> Hashable:
    if isinstance(photo, PreparedPhoto):
        # Photos of other sizes can look alike to the network, and points are pixels.
        return photo.key, photo.size_wh
    return str(photo) if isinstance(photo, str | Path) else id(photo)


def answer_pairs(
    pairs: Sequence[tuple[Photo, Q]],
    *,
    side: int,
    at_once: int,
    ready: Callable[[Q, tuple[int, int]], A],
    work: Callable[[Sequence[Asked[A]]], list[R]],
) -> list[R]:
    """Answers to pairs, in their order.

    Args:
        side: of the square that the network sees, px.
        at_once: questions that fit into memory together; out of memory halves it.
        ready: makes a question ready, given the photo's width and height; a ValueError comes out with the pair's
            number, before any pair of the same window is worked on.
        work: answers questions, those about equal photos side by side.
    """
    results: dict[int, R] = {}
    for window in opened([photo for photo, _ in pairs], side):
        asked = []
        for place, photo in window:
            try:
                question = ready(pairs[place][1], photo.size_wh)
            except ValueError as error:
                raise ValueError(f"pair {place + 1}: {error}") from None
            asked.append(Asked(index=place, photo=photo, question=question))
        answers = in_batches(asked, at_once, work)
        results |= {one.index: answer for one, answer in zip(asked, answers, strict=True)}
    return [results[place] for place in range(len(pairs))]


def by_photo(asked: Sequence[Asked[A]]) -> tuple[list[PreparedPhoto], list[list[A]]]:
    """The photos of questions and each one's questions, in an order that leaves those of `answer_pairs` as they are."""
    groups: dict[bytes, list[Asked[A]]] = {}
    for one in asked:
        groups.setdefault(one.photo.key, []).append(one)
    return [some[0].photo for some in groups.values()], [[one.question for one in some] for some in groups.values()]
