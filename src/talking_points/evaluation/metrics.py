"""PCK and its doubt. Everything here is plain numpy over errors that are distances in normalised coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

MPCK_THRESHOLDS = (0.1, 0.2)
"""mPCK is the mean of PCK at these. Paper, section 4."""


def normalised_errors(found_px: ArrayLike, true_px: ArrayLike, sizes_wh: ArrayLike) -> NDArray[np.float64]:
    """Distances after dividing x by the photo's width and y by its height.

    Args:
        found_px, true_px: (N, 2) pixels of the photos; a found point of NaN (no answer) is infinitely far.
        sizes_wh: (N, 2) of the photos.
    """
    offset = (np.asarray(found_px, float) - np.asarray(true_px, float)) / np.asarray(sizes_wh, float)
    return np.nan_to_num(np.hypot(offset[:, 0], offset[:, 1]), nan=np.inf)


def pck(errors: ArrayLike, threshold: float) -> float:
    """Percentage of errors strictly below a threshold.

    Example:
        >>> pck([0.05, 0.1, 0.3, 0.02], 0.1)
        50.0
    """
    errors = np.asarray(errors, float)
    if errors.size == 0:
        raise ValueError("no errors to score; give at least one sample")
    return float((errors < threshold).mean() * 100)


def mpck(errors: ArrayLike) -> float:
    """Mean of PCK@0.1 and PCK@0.2, in percent."""
    return float(np.mean([pck(errors, threshold) for threshold in MPCK_THRESHOLDS]))


def mpck_interval(errors: ArrayLike, photos: Sequence[str], *, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95% bootstrap interval of mPCK, photos drawn with replacement: points of one photo are not independent.

    Args:
        errors: (N,) normalised distances.
        photos: (N,) the photo of each.
    """
    scores = np.mean([np.asarray(errors, float) < t for t in MPCK_THRESHOLDS], axis=0) * 100
    _, photo_of = np.unique(np.asarray(photos), return_inverse=True)
    sums, counts = np.bincount(photo_of, scores), np.bincount(photo_of)
    drawn = np.random.default_rng(seed).integers(0, len(counts), (draws, len(counts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
