"""PCK and its doubt. Everything here is plain numpy over errors that are distances in normalised coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talking_points.points import distances_unit

MPCK_THRESHOLDS = (0.1, 0.2)
"""mPCK is the mean of PCK at these. Paper, section 4."""


def normalised_errors(found_px: ArrayLike, true_px: ArrayLike, sizes_wh: ArrayLike) -> NDArray[np.float64]:
    """(N,) distances of (N, 2) points after dividing x by the photo's width and y by its height.

    A found point of NaN (no answer) is infinitely far.
    """
    return np.nan_to_num(distances_unit(found_px, true_px, sizes_wh), nan=np.inf)


def pck(errors: ArrayLike, threshold: float) -> float:
    """Percentage of errors strictly below a threshold.

    Example:
        >>> pck([0.05, 0.1, 0.3, 0.02], 0.1)
        50.0
    """
    return float((_some(errors) < threshold).mean() * 100)


def _some(errors: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(errors, float)
    if values.size == 0:
        raise ValueError("no errors to score; give at least one sample")
    return values


def mpck(errors: ArrayLike) -> float:
    """Mean of PCK@0.1 and PCK@0.2, in percent."""
    return float(np.mean([pck(errors, threshold) for threshold in MPCK_THRESHOLDS]))


def pixel_errors(found_px: ArrayLike, true_px: ArrayLike) -> NDArray[np.float64]:
    """Distances in pixels. A found point of NaN (no answer) is infinitely far."""
    return normalised_errors(found_px, true_px, [1.0, 1.0])


def box_errors(found_px: ArrayLike, true_px: ArrayLike, boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """(N,) distances over the longer side of each sample's box, as PCK of keypoint matching (SPair-71k) has them.

    boxes_xyxy: (N, 4) of the objects, pixels.
    """
    boxes = np.asarray(boxes_xyxy, float)
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return pixel_errors(found_px, true_px) / sides


def error_quantiles(errors: ArrayLike, at: Sequence[float] = (0.25, 0.5, 0.75, 0.9)) -> dict[float, float]:
    """Errors that these shares of the samples stay at or below. Infinite where too many have no answer."""
    values = np.sort(np.asarray(errors, float))
    # The smallest error that is enough: between a finite and an infinite one there is nothing to interpolate.
    return {share: float(values[max(0, int(np.ceil(share * len(values))) - 1)]) for share in at}


def pck_area(errors: ArrayLike, limit: float = 0.2) -> float:
    """Area under the PCK curve from 0 to a threshold, over the threshold, in percent: the mean of PCK over all of it.

    Example:
        >>> pck_area([0.05, 0.1, 0.3, 0.0], 0.2)
        56.25
    """
    # An error e is below all thresholds of (e, limit].
    return float((1 - np.minimum(_some(errors), limit) / limit).mean() * 100)


def mpck_difference(one: ArrayLike, other: ArrayLike, photos: Sequence[str]) -> tuple[float, float, float]:
    """mPCK of one row minus that of another, and the low and high end of its 95% bootstrap interval over photos.

    one, other: (N,) normalised distances of the same samples in the same order; photos: (N,) the photo of each.
    """
    if np.shape(one) != np.shape(other):
        raise ValueError(f"the rows have {np.shape(one)} and {np.shape(other)} errors; expected the same samples")
    differences = _scores(one) - _scores(other)
    low, high = mean_interval(differences, photos)
    return float(differences.mean()), low, high


def mpck_interval(errors: ArrayLike, photos: Sequence[str]) -> tuple[float, float]:
    """95% bootstrap interval of mPCK of (N,) normalised distances; see `mean_interval`."""
    return mean_interval(_scores(errors), photos)


def _scores(errors: ArrayLike) -> NDArray[np.float64]:
    """What each sample adds to mPCK."""
    return np.asarray(np.mean([np.asarray(errors, float) < t for t in MPCK_THRESHOLDS], axis=0) * 100)


def grouped_mean(scores: ArrayLike, groups: Sequence[str] | None = None) -> float:
    """Mean of the scores; with groups the mean of the groups' means, each counting the same.

    Example:
        >>> grouped_mean([100, 100, 100, 0]), grouped_mean([100, 100, 100, 0], ["eye", "eye", "eye", "paw"])
        (75.0, 50.0)
    """
    values, group_of = np.asarray(scores, float), _numbers(groups, np.size(scores))
    return float((np.bincount(group_of, values) / np.bincount(group_of)).mean())


def mean_interval(
    scores: ArrayLike,
    photos: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
    draws: int = 2000,
) -> tuple[float, float]:
    """95% bootstrap interval of `grouped_mean`, photos drawn with replacement: samples of one are not independent.

    Args:
        scores: (N,)
        photos: (N,) the photo of each.
        groups: (N,) the group of each; None: all are one. One that a draw misses does not count in it.

    Returns:
        Its low and high end. NaN, NaN of a single photo: every draw is that photo, which says nothing of others.
    """
    photo_of = _numbers(photos, np.size(scores))
    group_of = _numbers(groups, np.size(scores))
    shape = int(photo_of.max()) + 1, int(group_of.max()) + 1
    if shape[0] == 1:
        return math.nan, math.nan
    sums_PG, counts_PG = np.zeros(shape), np.zeros(shape)
    np.add.at(sums_PG, (photo_of, group_of), np.asarray(scores, float))
    np.add.at(counts_PG, (photo_of, group_of), 1)
    drawn = np.random.default_rng(seed).integers(0, shape[0], (draws, shape[0]))
    times_DP = np.stack([np.bincount(some, minlength=shape[0]) for some in drawn]).astype(float)
    sums_DG, counts_DG = times_DP @ sums_PG, times_DP @ counts_PG
    means = (sums_DG / np.maximum(counts_DG, 1)).sum(1) / (counts_DG > 0).sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def told_interval(low: float, high: float) -> list[float] | None:
    """An interval as reports have it, to two digits; None where there is none.

    Example:
        >>> told_interval(60.0, 65.041), told_interval(math.nan, math.nan)
        ([60.0, 65.04], None)
    """
    return None if math.isnan(low) else [round(low, 2), round(high, 2)]


def _numbers(names: Sequence[str] | None, count: int) -> NDArray[np.int64]:
    """Names as numbers from 0; without names all are 0."""
    if names is None:
        return np.zeros(count, dtype=np.int64)
    return np.unique(np.asarray(names), return_inverse=True)[1]
