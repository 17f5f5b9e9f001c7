"""Rows that no model makes, and texts that must not work: what a score is worth is seen beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from talking_points.evaluation.protocol import Points
from talking_points.evaluation.samples import Sample, by_photo


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

    The other's text, shown with this photo and scored against the other's point: "does it look?". A photo's samples
    go to one other photo together.
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
