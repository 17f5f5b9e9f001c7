"""Descriptor-through-localizer evaluation (paper, section 4): a text is as good as the point found from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talking_points.dataset.checks import is_named, words_of
from talking_points.evaluation.metrics import (
    box_errors,
    error_quantiles,
    mpck,
    mpck_interval,
    normalised_errors,
    pck,
    pck_area,
    pixel_errors,
    told_interval,
)
from talking_points.evaluation.samples import Sample, by_photo, check_texts
from talking_points.pages import counted
from talking_points.pointing.interfaces import Describer, Localizer, describe_pairs, locate_pairs
from talking_points.samples import says_something

log = logging.getLogger(__name__)

Points = NDArray[np.float64]
THRESHOLDS = (0.05, 0.1, 0.2)
BORROWED = ("shuffled", "swapped-photo")
"""Describers that take the text of another sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One describer through one localizer, on one set."""

    set_name: str
    describer: str
    localizer: str
    samples: Sequence[Sample]
    texts: list[str]
    found_px: Points
    """(N, 2); NaN where there was no answer."""
    true_px: Points
    """(N, 2): the samples' points, except for texts that are about another one."""
    there: Points | None = None
    """(N,) how likely each text's thing is in the photo, as `FoundPoint` has it; NaN, or None for all, where it is not
    known. Scores do not depend on it: the point of an absent thing is scored as any other."""
    unreadable: NDArray[np.bool_] | None = None
    """(N,) which answers could not be read; None: all could. They are counted, and are in no score."""
    style: str = ""
    """The other style that the describer's texts were put into; empty: as it wrote them."""

    @property
    def errors(self) -> NDArray[np.float64]:
        """(N,) distances in the photos' normalised coordinates."""
        return normalised_errors(self.found_px, self.true_px, [s.size_wh for s in self.samples])

    @property
    def photos(self) -> list[str]:
        return [s.photo_id for s in self.samples]

    @property
    def read(self) -> NDArray[np.bool_]:
        """(N,) which answers could be read."""
        return np.ones(len(self.samples), bool) if self.unreadable is None else ~self.unreadable

    def only(self, kept: NDArray[np.bool_]) -> Row:
        """Of some samples."""
        places = np.flatnonzero(kept).tolist()
        return replace(
            self,
            samples=[self.samples[n] for n in places],
            texts=[self.texts[n] for n in places],
            found_px=self.found_px[places],
            true_px=self.true_px[places],
            there=None if self.there is None else self.there[places],
            unreadable=None,
        )

    @property
    def as_written(self) -> bool:
        """Whether its texts are a describer's about these points, in its own words; references are not."""
        return self.describer not in ("none", *BORROWED) and not self.style

    def summary(self) -> dict[str, Any]:
        """Scores of the answers that could be read, at least one, as JSON."""
        if not self.read.all():
            return {**self.only(self.read).summary(), "unreadable": int((~self.read).sum())}
        errors = self.errors
        boxes = np.array([s.object_box_xyxy or (np.nan,) * 4 for s in self.samples], float).reshape(-1, 4)
        boxed = np.isfinite(boxes).all(axis=1)
        of_box = box_errors(self.found_px[boxed], self.true_px[boxed], boxes[boxed])
        return {
            "set": self.set_name,
            "describer": self.describer,
            "localizer": self.localizer,
            **({"style": self.style} if self.style else {}),
            "n": len(errors),
            "unanswered": int((~np.isfinite(errors)).sum()),
            "unreadable": 0,
            **{f"pck@{threshold:g}": round(pck(errors, threshold), 2) for threshold in THRESHOLDS},
            **scored(errors, self.photos),
            "pck_area@0.2": round(pck_area(errors), 2),
            "error_quantiles": {f"{share:g}": _finite(v, 4) for share, v in error_quantiles(errors).items()},
            "median_px": _finite(error_quantiles(pixel_errors(self.found_px, self.true_px), (0.5,))[0.5], 2),
            "pck@0.1_of_box": round(pck(of_box, 0.1), 2) if boxed.any() else None,
        }


def scored(errors: Points, photos: Sequence[str]) -> dict[str, Any]:
    """mPCK and its interval as JSON, null of a single photo."""
    return {"mpck": round(mpck(errors), 2), "mpck_ci": told_interval(*mpck_interval(errors, photos))}


def _finite(value: float, digits: int) -> float | None:
    return round(value, digits) if np.isfinite(value) else None


# Asking


def describe_samples(describer: Describer, samples: Sequence[Sample]) -> list[str]:
    """The describer's text of every sample, each asked about once. Cross-photo: of the other one."""
    asked = [s.described or s for s in samples]
    unique = {s.sample_id: s for s in asked}
    photos = _opened(list(unique.values()))
    pairs = [(photos[s.photo_id], s.point_px) for s in unique.values()]
    said = dict(zip(unique, describe_pairs(describer, pairs), strict=True))
    return [said[sample.sample_id] for sample in asked]


def localize_texts(localizer: Localizer, samples: Sequence[Sample], texts: Sequence[str]) -> Points:
    """(N, 2) points found from texts, pixels of each photo; NaN for an empty text or no answer, which is a miss."""
    return locate_texts(localizer, samples, texts).points_px


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """What a localizer answered to N texts."""

    points_px: Points
    """(N, 2) pixels of each photo; NaN for an empty text or no answer."""
    there: Points
    """(N,) how likely each text's thing is in the photo; NaN where it is not known."""
    unreadable: NDArray[np.bool_]
    """(N,) whether there is an answer that could not be read."""


def check_asked(where: str, localizer: Localizer, samples: Sequence[Sample], texts: Sequence[str]) -> None:
    """A ValueError that names the sample, where a localizer says that it cannot read a text, before any is asked.

    where: what holds the texts.
    """
    check = getattr(localizer, "check_text", None)
    if check is not None:
        asked = [n for n, text in enumerate(texts) if says_something(text)]
        check_texts(where, [samples[n] for n in asked], [texts[n] for n in asked], check)


def readable_texts(stage: str, localizer: Localizer, texts: Sequence[str]) -> list[str]:
    """Texts that somebody has just said, those that a localizer cannot read emptied: who says them is not understood.

    stage: who is asked by whom, for the log.
    """
    check = getattr(localizer, "check_text", None)
    if check is None:
        return list(texts)
    problems: dict[str, str] = {}
    for text in filter(says_something, dict.fromkeys(texts)):
        try:
            check(text)
        except ValueError as error:
            problems[text] = str(error)
    if problems:
        count = sum(text in problems for text in texts)
        first = next(iter(problems.values()))
        log.warning("%s: %s taken as missed, as unreadable; the first: %s", stage, counted(count, "text"), first)
    return ["" if text in problems else text for text in texts]


def locate_texts(localizer: Localizer, samples: Sequence[Sample], texts: Sequence[str]) -> Located:
    """What a localizer answers to a text a sample."""
    asked = [n for n, text in enumerate(texts) if says_something(text)]
    photos = _opened([samples[n] for n in asked])
    pairs = [(photos[samples[n].photo_id], texts[n]) for n in asked]
    found_px, there = np.full((len(samples), 2), np.nan), np.full(len(samples), np.nan)
    unreadable = np.zeros(len(samples), bool)
    for n, found in zip(asked, locate_pairs(localizer, pairs) if pairs else [], strict=True):
        found_px[n] = found.point_px
        there[n] = np.nan if found.there is None else found.there
        unreadable[n] = found.problem is not None
    return Located(points_px=found_px, there=there, unreadable=unreadable)


def _opened(samples: Sequence[Sample]) -> dict[str, Image.Image]:
    """The samples' photos by their ids."""
    return {group[0].photo_id: group[0].open_photo() for group in by_photo(samples)}


# What a score is worth: rows that no model makes, and texts that must not work


def box_centres(samples: Sequence[Sample]) -> Points:
    """(N, 2) centres of the boxes of the parts (else objects) that the texts name: a perfect detector's answer.

    NaN where no box is known.
    """
    boxes = [s.part_box_xyxy or s.object_box_xyxy or (np.nan,) * 4 for s in samples]
    x0, y0, x1, y1 = np.array(boxes, float).reshape(-1, 4).T
    return np.stack([(x0 + x1) / 2, (y0 + y1) / 2], axis=1)


def constant_points(samples: Sequence[Sample], mean_unit: np.ndarray) -> Points:
    """(N, 2) one point of [0, 1]^2 in pixels of every photo."""
    return np.asarray(mean_unit) * np.array([s.size_wh for s in samples], float)


def true_points(samples: Sequence[Sample]) -> Points:
    """(N, 2) the right answers: the oracle, which must score 100."""
    return np.array([s.point_px for s in samples], float).reshape(-1, 2)


def shuffled(samples: Sequence[Sample], *, seed: int) -> list[int]:
    """For each sample the index of one on another photo, drawn at random; of itself where there is one photo only."""
    rng = np.random.default_rng(seed)
    photos = np.array([s.photo_id for s in samples])
    others = []
    for index, sample in enumerate(samples):
        allowed = np.flatnonzero(photos != sample.photo_id)
        others.append(int(rng.choice(allowed)) if len(allowed) else index)
    return others


def swapped(samples: Sequence[Sample], *, seed: int) -> list[int]:
    """For each sample the index of one on another photo whose first object is of the same kind, or else on any other.

    A photo's samples go to one other photo together.
    """
    rng = np.random.default_rng(seed)
    groups = by_photo(samples)
    index_of = {sample.sample_id: index for index, sample in enumerate(samples)}
    other_of: dict[str, int] = {}
    for number, group in enumerate(groups):
        kind = group[0].object_name
        others = [g for n, g in enumerate(groups) if n != number]
        alike = [g for g in others if g[0].object_name == kind] or others or [group]
        other = alike[int(rng.integers(len(alike)))]
        for place, sample in enumerate(group):
            other_of[sample.sample_id] = index_of[other[place % len(other)].sample_id]
    return [other_of[sample.sample_id] for sample in samples]


# Scores of kinds of texts and of points


def named_shares(samples: Sequence[Sample], texts: Sequence[str]) -> dict[str, float]:
    """Percentages of texts that name the object and the part that their point is on, where both are known."""
    named = [
        (is_named(sample.object_name, words_of(text)), is_named(sample.part_name, words_of(text)))
        for sample, text in zip(samples, texts, strict=True)
        if sample.object_name and sample.part_name
    ]
    shares = np.mean(named, axis=0) * 100 if named else []
    return {name: round(float(share), 2) for name, share in zip(("names_object", "names_part"), shares, strict=False)}


def style_panel(rows: Sequence[Row]) -> dict[str, Any]:
    """Describers in all styles by all judges.

    `matrix`: describer -> style -> judge -> mPCK, "as written" among the styles. `describers`: each one's mean over the
    judges, as it wrote. `spread`: judge -> describer -> mPCK of its best style minus that of its worst.
    """
    matrix: dict[str, dict[str, dict[str, float]]] = {}
    # Of what nobody could read there is no row.
    styled = {row.describer for row in rows if row.style} & {row.describer for row in rows if not row.style}
    for row in rows:
        if row.describer in styled:
            of_style = matrix.setdefault(row.describer, {}).setdefault(row.style or "as written", {})
            of_style[row.localizer] = round(mpck(row.errors[row.read]), 2)
    spread: dict[str, dict[str, float]] = {}
    for who, styles in matrix.items():
        for judge in styles["as written"]:
            scores = [of_judge[judge] for of_judge in styles.values() if judge in of_judge]
            spread.setdefault(judge, {})[who] = round(max(scores) - min(scores), 2)
    means = {who: round(float(np.mean(list(styles["as written"].values()))), 2) for who, styles in matrix.items()}
    return {"matrix": matrix, "describers": means, "spread": spread}


def breakdowns(row: Row) -> dict[str, dict[str, dict[str, Any]]]:
    """mPCK of kinds of samples: how many there are, the score and its interval."""
    row = row.only(row.read)
    errors, photos = row.errors, np.array(row.photos)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, kinds in _kinds(row.samples).items():
        values = {kind for kind in kinds if kind is not None}
        if len(values) >= 2:
            found[name] = {}
            for value in sorted(values):
                here = np.array([kind == value for kind in kinds])
                found[name][value] = {"n": int(here.sum()), **scored(errors[here], list(photos[here]))}
    return found


def _kinds(samples: Sequence[Sample]) -> Mapping[str, list[str | None]]:
    return {
        "source": [s.source or None for s in samples],
        "object": [s.object_name for s in samples],
        "part": [s.part_name for s in samples],
        "size of the part": [_size(s) for s in samples],
        "surface": [{"sift": "textured", "smooth": "smooth"}.get(s.kind) for s in samples],
        "objects of its class": [None if not s.alike else "one" if s.alike == 1 else "several" for s in samples],
        "distance to the photo's edge": [_edge(s) for s in samples],
    }


def _size(sample: Sample) -> str | None:
    if sample.part_box_xyxy is None:
        return None
    x0, y0, x1, y1 = sample.part_box_xyxy
    share = (x1 - x0) * (y1 - y0) / (sample.size_wh[0] * sample.size_wh[1])
    return "small (box below 1% of the photo)" if share < 0.01 else "medium (1 to 10%)" if share < 0.1 else "large"


def _edge(sample: Sample) -> str:
    x, y = sample.point_unit
    return "near (below 10% of the photo)" if min(x, y, 1 - x, 1 - y) < 0.1 else "far"
