from collections import Counter

import numpy as np
import pytest

from talking_points.dataset.settings import PAPER_RECORDS, PAPER_TEST_SHARE
from talking_points.dataset.splits import assign_splits


def test_the_paper_s_split():
    # 7000 photos of one point in each of three sources.
    keys = [(source, f"{k:04d}") for source in ("ade", "pascal", "pin") for k in range(7000)]
    assert len(keys) == PAPER_RECORDS
    splits = assign_splits([[key] for key in keys], dict.fromkeys(keys, 1), test_share=PAPER_TEST_SHARE, seed=0)
    assert Counter(splits.values()) == {"train": 17_001, "test": 3_999}
    of_source = Counter(source for (source, _), split in splits.items() if split == "test")
    assert max(of_source.values()) - min(of_source.values()) <= 1


def test_proportional_by_photo_with_groups_whole():
    rng = np.random.default_rng(1)
    groups, records = [], {}
    for k in range(300):
        source = "big" if k % 3 else "small"
        group = [(source, f"{k}-{n}") for n in range(int(rng.integers(1, 4)))]
        if k % 50 == 0:
            group.append(("big" if source == "small" else "small", f"{k}-copy"))
        groups.append(group)
        records |= {key: int(rng.integers(0, 5)) for key in group}
    splits = assign_splits(groups, records, test_share=0.25, seed=0)
    assert splits.keys() == records.keys()
    for group in groups:
        assert len({splits[key] for key in group}) == 1
    for source in ("big", "small"):
        total = sum(count for key, count in records.items() if key[0] == source)
        in_test = sum(count for key, count in records.items() if key[0] == source and splits[key] == "test")
        assert in_test / total == pytest.approx(0.25, abs=0.02)
    assert splits == assign_splits(groups, records, test_share=0.25, seed=0)
    assert splits != assign_splits(groups, records, test_share=0.25, seed=1)


def test_extremes():
    keys = [("a", "1"), ("a", "2"), ("b", "3")]
    alone = [[key] for key in keys]
    counts = dict.fromkeys(keys, 10)
    assert set(assign_splits(alone, counts, test_share=0.0, seed=0).values()) == {"train"}
    assert set(assign_splits(alone, counts, test_share=1.0, seed=0).values()) == {"test"}
    # Too few to divide well: one photo of the source that has two, none of the source that has one.
    few = assign_splits(alone, counts, test_share=0.1, seed=0)
    assert Counter(source for (source, _), split in few.items() if split == "test") == {"a": 1}
