"""Dividing photos into train and test: whole photos, proportional per source, look-alikes together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

PhotoKey = tuple[str, str]
"""Source and photo id."""


def assign_splits(
    groups: Sequence[Sequence[PhotoKey]], records_of: Mapping[PhotoKey, int], *, test_share: float, seed: int
) -> dict[PhotoKey, str]:
    """Give each photo "train" or "test", so that each source has about `test_share` of its records in test.

    A source of two groups or more has at least one in test, unless `test_share` is 0.

    Args:
        groups: photos that must stay together, as `look_alikes.same_shots` finds them.
        records_of: how many records each photo has; photos without any are left out of the counting.
        test_share: share of the records, in [0, 1].
        seed: equal seeds divide equally.

    Raises:
        ValueError: `test_share` is outside [0, 1].
    """
    if not 0 <= test_share <= 1:
        raise ValueError(f"test_share must be in [0, 1], got {test_share}")
    counts = [_records_by_source(group, records_of) for group in groups]
    wanted: dict[str, float] = defaultdict(float)
    for count in counts:
        for source, number in count.items():
            wanted[source] += test_share * number
    taken: dict[str, int] = defaultdict(int)
    in_test: set[int] = set()
    order = [int(number) for number in np.random.default_rng(seed).permutation(len(groups))]
    for number in order:
        # Rounded to the nearer side.
        if all(taken[source] + one / 2 < wanted[source] for source, one in counts[number].items()):
            in_test.add(number)
            for source, one in counts[number].items():
                taken[source] += one
    for source in sorted(wanted):
        own = [number for number in order if counts[number].get(source)]
        if test_share > 0 and len(own) > 1 and not in_test & set(own):
            in_test.add(min(own, key=lambda number: sum(counts[number].values())))
    return {
        key: "test" if test_share == 1 or number in in_test else "train"
        for number, group in enumerate(groups)
        for key in group
    }


def _records_by_source(group: Sequence[PhotoKey], records_of: Mapping[PhotoKey, int]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for key in group:
        counts[key[0]] += records_of.get(key, 0)
    return dict(counts)
