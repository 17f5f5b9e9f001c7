"""Descriptor-through-localizer evaluation (paper, section 4): a text is as good as the point found from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
)
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.pointing.interfaces import Describer, Localizer, describe_pairs, locate_pairs

Points = NDArray[np.float64]
THRESHOLDS = (0.05, 0.1, 0.2)


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
    style: str = ""
    """The other style that the describer's texts were put into; empty: as it wrote them."""

    @property
    def errors(self) -> NDArray[np.float64]:
        """(N,) distances in the photos' normalised coordinates."""
        return normalised_errors(self.found_px, self.true_px, [s.size_wh for s in self.samples])

    @property
    def photos(self) -> list[str]:
        return [s.photo_id for s in self.samples]

    def summary(self) -> dict[str, Any]:
        """Scores as JSON."""
        errors = self.errors
        low, high = mpck_interval(errors, self.photos)
        answered = int(np.isfinite(errors).sum())
        boxes = np.array([s.object_box_xyxy or (np.nan,) * 4 for s in self.samples], float)
        boxed = np.isfinite(boxes).all(axis=1)
        return {
            "set": self.set_name,
            "describer": self.describer,
            "localizer": self.localizer,
            **({"style": self.style} if self.style else {}),
            "n": len(errors),
            "unanswered": len(errors) - answered,
            **{f"pck@{threshold:g}": round(pck(errors, threshold), 2) for threshold in THRESHOLDS},
            "mpck": round(mpck(errors), 2),
            "mpck_ci": [round(low, 2), round(high, 2)],
            "pck_area@0.2": round(pck_area(errors), 2),
            "error_quantiles": {f"{share:g}": _finite(v, 4) for share, v in error_quantiles(errors).items()},
            "median_px": _finite(error_quantiles(pixel_errors(self.found_px, self.true_px), (0.5,))[0.5], 2),
            "pck@0.1_of_box": round(pck(box_errors(self.found_px[boxed], self.true_px[boxed], boxes[boxed]), 0.1), 2)
            if boxed.any()
            else None,
        }


def _finite(value: float, digits: int) -> float | None:
    return round(value, digits) if np.isfinite(value) else None


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
    asked = [n for n, text in enumerate(texts) if text.strip()]
    photos = _opened([samples[n] for n in asked])
    pairs = [(photos[samples[n].photo_id], texts[n]) for n in asked]
    found = np.full((len(samples), 2), np.nan)
    if asked:
        found[asked] = locate_pairs(localizer, pairs)
    return found


def _opened(samples: Sequence[Sample]) -> dict[str, Image.Image]:
    """The samples' photos by their ids."""
    return {group[0].photo_id: group[0].open_photo() for group in by_photo(samples)}


def named_shares(samples: Sequence[Sample], texts: Sequence[str]) -> dict[str, float]:
    """Percentages of texts that name the object and the part that their point is on: right words, wherever it leads.

    Of samples whose object and part are known; empty when none is.
    """
    named = []
    for sample, text in zip(samples, texts, strict=True):
        if sample.object_name and sample.part_name:
            words = words_of(text)
            named.append((is_named(sample.object_name, words), is_named(sample.part_name, words)))
    if not named:
        return {}
    of_object, of_part = np.mean(named, axis=0) * 100
    return {"names_object": round(float(of_object), 2), "names_part": round(float(of_part), 2)}


def style_panel(rows: Sequence[Row]) -> dict[str, Any]:
    """Describers in all styles by all judges.

    Returns:
        `matrix`: describer -> style -> judge -> mPCK, "as written" among the styles. `describers`: each one's mean
        over the judges, as it wrote. `spread`: judge -> describer -> mPCK of its best style minus that of its worst,
        the judge's (want of) robustness.
    """
    matrix: dict[str, dict[str, dict[str, float]]] = {}
    styled = {row.describer for row in rows if row.style}
    for row in rows:
        if row.describer in styled:
            of_style = matrix.setdefault(row.describer, {}).setdefault(row.style or "as written", {})
            of_style[row.localizer] = round(mpck(row.errors), 2)
    judges = list(dict.fromkeys(judge for styles in matrix.values() for judge in styles["as written"]))
    return {
        "matrix": matrix,
        "describers": {
            who: round(float(np.mean(list(styles["as written"].values()))), 2) for who, styles in matrix.items()
        },
        "spread": {
            judge: {
                who: round(max(s[judge] for s in styles.values()) - min(s[judge] for s in styles.values()), 2)
                for who, styles in matrix.items()
            }
            for judge in judges
        },
    }


def breakdowns(row: Row) -> dict[str, dict[str, dict[str, Any]]]:
    """mPCK of kinds of samples: how many there are, the score and its interval."""
    errors, photos = row.errors, np.array(row.photos)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, kinds in _kinds(row.samples).items():
        values = [kind for kind in dict.fromkeys(kinds) if kind is not None]
        if len(values) < 2:
            continue
        found[name] = {}
        for value in sorted(values):
            here = np.array([kind == value for kind in kinds])
            low, high = mpck_interval(errors[here], list(photos[here]))
            score = {"n": int(here.sum()), "mpck": round(mpck(errors[here]), 2)}
            found[name][value] = score | {"mpck_ci": [round(low, 2), round(high, 2)]}
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
