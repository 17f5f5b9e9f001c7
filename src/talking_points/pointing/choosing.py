"""The descriptor draws several texts for a point, and the localizer says which of them lead back to it.

A text that is likely is not yet one that tells this pixel from its neighbours. Each point is given the likeliest text
and some drawn ones. The likeliest says what the point is on, as the localizer finds a point by wrong names, too: of the
others those stay that name the same, where the base was taught names (`class_names`). Each is worth its
`verify.Verdict.probability` at the point, and the answer is the one that the others, by what they are worth, agree with
most: minimum Bayes risk decoding with the localizer's weights. Ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from talking_points.model.roles import ROLES
from talking_points.pointing.pairs import Asked, OnText, check_pairs, opened
from talking_points.pointing.prepared import Photo, PreparedPhoto
from talking_points.pointing.verify import verify
from talking_points.points import Point, check_point

if TYPE_CHECKING:
    from talking_points.bases.base import Base
    from talking_points.pointing.descriptor import PointDescriptor
    from talking_points.pointing.localizer import PointLocalizer

CANDIDATES = 12
"""Texts of a point, the likeliest one of them."""
TEMPERATURE = 0.5
SHARPNESS = 8
"""Power of the similarity of two texts: with 1, common words would count as agreement. All three are ours."""
ALSO_SAID_OF_PLACES = frozenset(("top", "skin"))
"""Classes whose names texts also use of a place or of what is seen there."""


def check_can_choose(descriptor: Any) -> None:
    """A ValueError unless a descriptor's base is ours and has both roles, and its localizer says how sure it is."""
    network: Base | None = getattr(descriptor, "network", None)
    if network is None:
        raise ValueError("a stock model or an endpoint gives each point one text: there is nothing to choose from")
    if lacking := [role for role in ROLES if role not in network.roles]:
        raise ValueError(f"to choose among texts a descriptor and a localizer are needed; there is no {lacking[0]}")
    if network.temperature is None:
        raise ValueError("this localizer does not say how sure it is, so it cannot choose among texts")


def choose_texts(
    descriptor: PointDescriptor,
    localizer: PointLocalizer,
    pairs: Sequence[tuple[Photo, Point]],
    *,
    on_text: OnText | None = None,
) -> list[str]:
    """One text a pair. It does not depend on the other pairs, up to rounding, which differs with a batch's size.

    Args:
        localizer: one that knows how sure it is.
        pairs, on_text: as `PointDescriptor.describe_many` takes them; errors as there. A text is told when chosen.
    """
    # torch comes with it.
    from talking_points.model.generation import Sampling

    check_pairs(pairs, "(x, y)")
    names = _pattern(descriptor.network.class_names)
    drawn = Sampling(temperature=TEMPERATURE, samples=CANDIDATES, alike=True)

    chosen: dict[int, str] = {}

    def choose(asked: Sequence[Asked[PreparedPhoto, Point]]) -> None:
        """Of points of one photo."""
        photo, points = asked[0].photo, [one.question for one in asked]
        texts = [_naming_alike([one.text for one in some], names) for some in descriptor.sample(photo, points, drawn)]
        for one, some, worth in zip(asked, texts, _worth(localizer, photo, points, texts), strict=True):
            chosen[one.index] = most_agreed(some, worth)
            if on_text is not None:
                on_text(one.index, chosen[one.index])

    # No batches here: what is called makes them, and halves them when memory runs out.
    for window in opened(pairs, descriptor.prepare, descriptor.photos_at_once, check_point):
        # Photos of other sizes can look alike to the network, and points are pixels.
        groups: dict[tuple[bytes, tuple[int, int]], list[Asked[PreparedPhoto, Point]]] = {}
        for one in window:
            groups.setdefault((one.photo.key, one.photo.size_wh), []).append(one)
        for some in groups.values():
            choose(some)
    return [chosen[k] for k in range(len(pairs))]


def _worth(
    localizer: PointLocalizer, photo: PreparedPhoto, points: Sequence[Point], texts: Sequence[Sequence[str]]
) -> list[list[float]]:
    """How likely each point is meant by each of its texts; 0 for what cannot be read."""

    is_readable = localizer.network.prompts.is_readable
    # Equal texts of a point are read once.
    distinct = [(p, text) for p, some in enumerate(texts) for text in dict.fromkeys(some) if is_readable(text)]
    verdicts: Sequence[Any] = verify(localizer, photo, [(points[p], text) for p, text in distinct])
    worth = {asked: one.probability or 0.0 for asked, one in zip(distinct, verdicts, strict=True)}
    return [[worth.get((p, text), 0.0) for text in some] for p, some in enumerate(texts)]


def _pattern(class_names: Sequence[str]) -> re.Pattern[str] | None:
    """Finds names with the side before them; None without names."""
    names = sorted({name.lower() for name in class_names} - ALSO_SAID_OF_PLACES, key=len, reverse=True)
    return re.compile(rf"\b(?:(left|right) )?({'|'.join(map(re.escape, names))})(?:e?s)?\b") if names else None


def _named(text: str, names: re.Pattern[str] | None) -> set[tuple[str, str]]:
    """Sides and names; what is told with its side may be named again without."""
    found = set() if names is None else set(names.findall(text.lower()))
    told = {name for side, name in found if side}
    return {(side, name) for side, name in found if side or name not in told}


def _naming_alike(texts: Sequence[str], names: re.Pattern[str] | None) -> list[str]:
    """Those that name what the first one names. texts: the likeliest first."""
    named = [_named(text, names) for text in texts]
    return [text for text, some in zip(texts, named, strict=True) if some == named[0]]


def most_agreed(texts: Sequence[str], worth: Sequence[float]) -> str:
    """The text whose words the texts share most, each counted by what it is worth; of equals the first.

    Example:
        >>> most_agreed(["the left shoe", "the shoe", "the right shoe"], [0.1, 0.2, 0.9])
        'the right shoe'
    """
    words = [frozenset(re.findall(r"\w+", text.lower())) for text in texts]
    alike = np.array([[len(a & b) / max(1, len(a | b)) for b in words] for a in words])
    return texts[int((alike**SHARPNESS @ np.array(worth)).argmax())]
