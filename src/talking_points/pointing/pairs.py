"""Pairs of a photo and what is asked of it: each photo opened once, its questions together, in batches that fit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Generic, TypeVar

from talking_points.pointing.prepared import Photo, Prepared, PreparedPhoto, UprightPhoto
from talking_points.points import Point, check_points

log = logging.getLogger(__name__)

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")
R = TypeVar("R")
P = TypeVar("P", bound=Prepared)

OnText = Callable[[int, str], None]
"""Told the place of a pair and its text so far."""

OPENED_BYTES = 2**30
"""Room for photos that are open at once: 85 of the 7B, a thousand of mini. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Generic[P, A]):
    """A question about an opened photo."""

    index: int
    """Its place among the pairs."""
    photo: P
    question: A


def check_pairs(pairs: Sequence[tuple[Photo, Any]], second: str) -> None:
    """TypeError for what are no pairs; says which. second: what each photo comes with, such as "text"."""
    for number, pair in enumerate(pairs, start=1):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"pair {number} is {type(pair).__name__}; expected (photo, {second})")


def check_texts(texts: Sequence[str], name: str, ready: Callable[[str], A]) -> list[A]:
    """What `ready` makes of each text; its ValueError comes out with which text it was.

    Args:
        texts: a list.
        name: what a text is called in an error, with {} for its number from 1.

    Raises:
        TypeError: one text instead of a list of them, or what is no text.
    """
    if isinstance(texts, str):
        raise TypeError(f"texts is one text, {texts!r:.60}; expected a list of texts, as in [text]")
    made = []
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise TypeError(f"{name.format(number)}: expected a text, got {type(text).__name__}")
        try:
            made.append(ready(text))
        except ValueError as error:
            raise ValueError(f"{name.format(number)}: {error}") from None
    return made


def points_of_photo(photo: Prepared, points_px: Sequence[Point]) -> list[tuple[Any, Point]]:
    """Pairs of points of one photo.

    Raises:
        TypeError: one point instead of a list of them.
        ValueError: a point is outside; says which.
    """
    if len(points_px) and all(isinstance(one, Real) for one in points_px):
        raise TypeError(f"points_px is one point, {tuple(points_px)}; expected a list of points, as in [(x, y)]")
    return [(photo, (x, y)) for x, y in check_points(points_px, photo.size_wh).tolist()]


def opened(
    pairs: Sequence[tuple[Photo, Q]],
    prepare: Callable[[Photo], P],
    at_once: int,
    ready: Callable[[Q, tuple[int, int]], A],
) -> Iterator[list[Asked[P, A]]]:
    """The pairs, opened for a model.

    What is given several times, as one path or one object, is opened once and stays together, and so do photos that
    are equal by content within a window.

    Args:
        prepare: opens a photo as the model sees it.
        at_once: photos that are open at a time.
        ready: makes a question ready, given its photo's size; a ValueError comes out with the pair's number.

    Raises:
        ValueError, FileNotFoundError: a photo cannot be read, or a question is not as it must be.
    """
    places: dict[Hashable, list[int]] = {}
    for place, (photo, _) in enumerate(pairs):
        places.setdefault(_identity(photo), []).append(place)
    distinct = list(places.values())
    for start in range(0, len(distinct), at_once):
        alike: dict[bytes, list[Asked[P, A]]] = {}
        for same in distinct[start : start + at_once]:
            prepared = prepare(pairs[same[0]][0])
            for place in same:
                try:
                    question = ready(pairs[place][1], prepared.size_wh)
                except ValueError as error:
                    raise ValueError(f"pair {place + 1}: {error}") from None
                one = Asked(index=place, photo=prepared, question=question)
                alike.setdefault(prepared.key, []).append(one)
        yield [one for some in alike.values() for one in some]


def _identity(photo: Photo) -> Hashable:
    if isinstance(photo, PreparedPhoto | UprightPhoto):
        # Photos of other sizes can look alike to the network, and points are pixels.
        return photo.key, photo.size_wh
    return str(photo) if isinstance(photo, str | Path) else id(photo)


def answer_pairs(
    windows: Iterator[list[Asked[P, A]]], at_once: int, work: Callable[[Sequence[Asked[P, A]]], list[R]]
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


def by_photo(asked: Sequence[Asked[P, A]]) -> tuple[list[P], list[list[A]]]:
    """The photos of questions and each one's questions, in an order that leaves those of `answer_pairs` as they are."""
    groups: dict[bytes, list[Asked[P, A]]] = {}
    for one in asked:
        groups.setdefault(one.photo.key, []).append(one)
    return [some[0].photo for some in groups.values()], [[one.question for one in some] for some in groups.values()]


def in_batches(items: Sequence[T], at_once: int, work: Callable[[Sequence[T]], list[R]]) -> list[R]:
    """`work` of runs of at most `at_once` items, results joined. Out of memory halves the runs and goes on."""
    results: list[R] = []
    start = 0
    while start < len(items):
        some = items[start : start + at_once]
        try:
            results += work(some)
            start += len(some)
        except RuntimeError as error:
            if len(some) == 1 or not _is_out_of_memory(error):
                raise
            at_once = len(some) // 2
            log.warning("out of memory with %d at once; going on with %d", len(some), at_once)
        else:
            continue
        # Not in the handler: the error holds what its frames held. Only torch runs out in this way.
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results


def _is_out_of_memory(error: RuntimeError) -> bool:
    """torch's own error by its name, as who asks an endpoint imports no torch; Apple's chips have a plain one."""
    said = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in said)
