"""Which of all scanned points become records: an order of them, and how far down it a build has to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from talking_points.dataset.keypoints import balanced_order
from talking_points.dataset.store import BuiltRecord

Outcomes = Mapping[str, str | None]
"""Of the records that are written, by id, why each was rejected; None where it was not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Points of which some are wanted, in the order of their turns: the next one where one is rejected."""

    points: tuple[BuiltRecord, ...]
    wanted: int
    """Records with texts that are good, at most."""

    def turns(self, outcomes: Outcomes) -> tuple[BuiltRecord, ...]:
        """The points up to the last wanted one, if all that are not written yet turn out well."""
        good = 0
        for place, point in enumerate(self.points):
            if good == self.wanted:
                return self.points[:place]
            good += outcomes.get(point.record_id) is None
        return self.points


def pools(points: Sequence[BuiltRecord], *, records: int, equal_shares: bool, balance: bool, seed: int) -> list[Pool]:
    """Divide points into pools: one of each source for equal shares, else one of all.

    Args:
        points: sorted.
        records: wanted of all, at most.
        equal_shares: as many of each source as of the one that has the fewest.
        balance: even over objects and parts (and sources, in one pool); else chance among all points of a pool.
        seed: equal seeds order equally.
    """
    if not points:
        return []
    sources = sorted({one.source for one in points})
    groups = [[one for one in points if one.source == name] for name in sources] if equal_shares else [list(points)]
    share = max(1, records // len(groups)) if equal_shares else records
    share = min(share, *(len(group) for group in groups))

    def ordered(group: Sequence[BuiltRecord], rng: np.random.Generator) -> list[BuiltRecord]:
        keys = [(one.source, one.object_category, one.part_name) for one in group]
        return [group[int(k)] for k in (balanced_order(keys, rng) if balance else rng.permutation(len(group)))]

    # More sources than records: some give nothing.
    return [
        Pool(points=tuple(ordered(group, np.random.default_rng([seed, number]))), wanted=share)
        for number, group in enumerate(groups[:records])
    ]


def turns_of(pools: Sequence[Pool], outcomes: Outcomes) -> list[BuiltRecord]:
    """The points that are to be written, by what is known of those that are."""
    return [one for pool in pools for one in pool.turns(outcomes)]


def kept_of(pools: Sequence[Pool], outcomes: Outcomes) -> set[str]:
    """Ids of the records that the set keeps: of each pool as many good ones as of the pool that has the fewest.

    A pool without any good one is passed over; else nothing would be kept at all. All `turns_of` are written.
    """
    good = [
        [one.record_id for one in pool.turns(outcomes) if outcomes.get(one.record_id, "") is None] for pool in pools
    ]
    share = min((len(ids) for ids in good if ids), default=0)
    return {record_id for ids in good for record_id in ids[:share]}
