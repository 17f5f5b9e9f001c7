"""Figures with 95% bootstrap intervals over photos, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from talking_points.evaluation.metrics import MPCK_THRESHOLDS, grouped_mean, mean_interval
from talking_points.evaluation.protocol import THRESHOLDS

BINS = 5
DRAWS = 1000
Figure = dict[str, Any]
"""{"value": number, "ci": [low, high]}; both None where there is nothing to score, "ci" of a single photo."""
NO_FIGURE: Figure = {"value": None, "ci": None}


def share(hits: ArrayLike, photos: Sequence[str], groups: Sequence[str] | None = None) -> Figure:
    """Percentage of (N,) hits, shares of hits among them; with groups the mean of the groups' percentages."""
    scores = np.asarray(hits, float) * 100
    if not scores.size:
        return NO_FIGURE
    return _figure(grouped_mean(scores, groups), mean_interval(scores, photos, groups))


def located_figures(errors: ArrayLike, photos: Sequence[str], groups: Sequence[str] | None = None) -> dict[str, Figure]:
    """mPCK and PCK of (N,) normalised distances."""
    values = np.asarray(errors, float)
    mean = np.mean([values < threshold for threshold in MPCK_THRESHOLDS], axis=0)
    return {
        "mpck": share(mean, photos, groups),
        **{f"pck@{threshold:g}": share(values < threshold, photos, groups) for threshold in THRESHOLDS},
    }


def bootstrapped(
    statistic: Callable[[NDArray[np.int64]], float], photos: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Figure:
    """A statistic of all samples, and its interval: photos are drawn with replacement.

    statistic: given the (M,) indices of samples, each as often as it was drawn; NaN where it cannot be told.
    """
    photo_of = np.unique(np.asarray(photos), return_inverse=True)[1]
    if not photo_of.any():
        return _figure(statistic(np.arange(len(photo_of))), (math.nan, math.nan), digits=4)
    of_photo = [np.flatnonzero(photo_of == photo) for photo in range(int(photo_of.max()) + 1)]
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([of_photo[k] for k in rng.integers(0, len(of_photo), len(of_photo))]))
        for _ in range(draws)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return _figure(statistic(np.arange(len(photo_of))), (float(low), float(high)), digits=4)


def auroc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """How often a positive has more than a negative, ties half; NaN without one of either.

    Example:
        >>> auroc([0.9, 0.6], [0.1, 0.6])
        0.875
    """
    yes, no = np.asarray(positives, float), np.asarray(negatives, float)
    if not (yes.size and no.size):
        return float("nan")
    ranks = rankdata(np.concatenate([yes, no]))[: len(yes)]
    return float((ranks.sum() - len(yes) * (len(yes) + 1) / 2) / (len(yes) * len(no)))


def auroc_figure(scores: ArrayLike, is_true: Sequence[bool], photos: Sequence[str]) -> Figure:
    """AUROC of (N,) scores of true samples against the others; see `auroc`."""
    values, true = np.asarray(scores, float), np.asarray(is_true)
    if true.all() or not true.any():
        return NO_FIGURE
    return bootstrapped(lambda some: auroc(values[some][true[some]], values[some][~true[some]]), photos)


def equal_mass_error(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Mean gap of confidence and accuracy, in points, in bins that hold as many answers each, the least sure first.

    Example:
        >>> equal_mass_error([0.9, 0.9, 0.2, 0.2], [True, True, False, True], bins=2)
        20.0
    """
    sure, is_right = np.asarray(confidence, float), np.asarray(right, float)
    order = np.argsort(sure, kind="stable")
    parts = [some for some in np.array_split(order, bins) if len(some)]
    gaps = [abs(sure[some].mean() - is_right[some].mean()) * len(some) for some in parts]
    return round(float(sum(gaps) / len(sure) * 100), 6)


def calibration(confidence: ArrayLike, right: ArrayLike, photos: Sequence[str]) -> dict[str, Any]:
    """The error in points with its interval, and each bin's size, mean confidence and accuracy in percent."""
    sure, is_right = np.asarray(confidence, float), np.asarray(right, float)
    parts = [some for some in np.array_split(np.argsort(sure, kind="stable"), BINS) if len(some)]
    return {
        "n": len(sure),
        "error": bootstrapped(lambda some: equal_mass_error(sure[some], is_right[some]), photos),
        "bins": [
            [len(some), round(float(sure[some].mean() * 100), 1), round(float(is_right[some].mean() * 100), 1)]
            for some in parts
        ],
    }


def _figure(value: float, interval: tuple[float, float], digits: int = 2) -> Figure:
    ends = None if math.isnan(interval[0]) else [round(end, digits) for end in interval]
    return {"value": round(value, digits), "ci": ends}


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, digits: int = 1) -> str:
    """Rows as Markdown; a figure is written with its interval.

    columns: key of the rows to the title.
    """
    lines = [f"| {' | '.join(columns.values())} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row.get(key), digits) for key in columns)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, dict):
        if value["value"] is None:
            return ""
        if value["ci"] is None:
            return f"{value['value']:.{digits}f} (one photo: no interval)"
        low, high = value["ci"]
        return f"{value['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    return "" if value is None else str(value)
