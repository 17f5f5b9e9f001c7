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


def opened(
    pairs: Sequence[tuple[Photo, Q]], side: int, ready: Callable[[Q, tuple[int, int]], A]
) -> Iterator[list[Asked[A]]]:
    """The pairs, opened for a network that sees photos at `side` px; as many at a time as there is room for.

    What is given several times, as one path or one object, is opened once and stays together, and so do photos that
    are equal by content within a window.

    Args:
        ready: makes a question ready, given its photo's size; a ValueError comes out with the pair's number.

    Raises:
        ValueError, FileNotFoundError: a photo cannot be read, or a question is not as it must be.
    """
    places: dict[Hashable, list[int]] = {}
    for place, (photo, _) in enumerate(pairs):
        places.setdefault(_identity(photo), []).append(place)
    distinct = list(places.values())
    at_once = max(1, OPENED_BYTES // (side * side * 3 * 4))
    for start in range(0, len(distinct), at_once):
        alike: dict[bytes, list[Asked[A]]] = {}
        for same in distinct[start : start + at_once]:
            prepared = prepare_photo(pairs[same[0]][0], side)
            for place in same:
                try:
                    question = ready(pairs[place][1], prepared.size_wh)
                except ValueError as error:
                    raise ValueError(f"pair {place + 1}: {error}") from None
                one = Asked(index=place, photo=prepared, question=question)
                alike.setdefault(prepared.key, []).append(one)
        yield [one for some in alike.values() for one in some]


def _identity(photo: Photo) -> Hashable:
    if isinstance(photo, PreparedPhoto):
        # Photos of other sizes can look alike to the network, and points are pixels.
        return photo.key, photo.size_wh
    return str(photo) if isinstance(photo, str | Path) else id(photo)


def answer_pairs(
    windows: Iterator[list[Asked[A]]], at_once: int, work: Callable[[Sequence[Asked[A]]], list[R]]
) -> list[R]:
    """Answers to `opened` pairs, in the pairs' order.

    Args:
        at_once: questions that fit into memory together; out of memory halves it.
        work: answers questions, those about equal photos side by side.
    """
    results: dict[int, R] = {}
    for asked in windows:
        answers = in_batches(asked, at_once, work)
        results |= {one.index: answer for one, answer in zip(asked, answers, strict=True)}
    return [results[place] for place in range(len(results))]


def by_photo(asked: Sequence[Asked[A]]) -> tuple[list[PreparedPhoto], list[list[A]]]:
    """The photos of questions and each one's questions, in an order that leaves those of `answer_pairs` as they are."""
    groups: dict[bytes, list[Asked[A]]] = {}
    for one in asked:
        groups.setdefault(one.photo.key, []).append(one)
    return [some[0].photo for some in groups.values()], [[one.question for one in some] for some in groups.values()]
