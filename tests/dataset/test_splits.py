import time
from collections import Counter

import cv2
import numpy as np
import pytest

from talking_points.dataset.splits import (
    NEAR_DUPLICATE_BITS,
    PAPER_RECORDS,
    PAPER_TEST_SHARE,
    assign_splits,
    group_near_duplicates,
    perceptual_hash,
)


def picture(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC)


def bits_apart(one: np.ndarray, other: np.ndarray) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


def test_the_same_picture_again_has_nearly_the_same_hash():
    for seed in range(20):
        photo = picture(seed)
        smaller = cv2.resize(photo, (160, 120), interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 40])
        darker = (photo * 0.8 + 10).astype(np.uint8)
        for again in (smaller, cv2.imdecode(coded, cv2.IMREAD_COLOR), darker):
            assert bits_apart(photo, again) <= NEAR_DUPLICATE_BITS


def test_other_pictures_have_other_hashes():
    photos = [picture(seed) for seed in range(30)]
    distances = [bits_apart(a, b) for k, a in enumerate(photos) for b in photos[:k]]
    assert min(distances) > NEAR_DUPLICATE_BITS


def test_photos_of_one_colour_have_a_hash():
    assert perceptual_hash(np.zeros((1, 1, 3), dtype=np.uint8)) == perceptual_hash(
        np.full((9, 5, 3), 7, dtype=np.uint8)
    )


def test_groups_are_what_differs_in_few_bits():
    hashes = {
        ("a", "1"): 0,
        ("a", "2"): 0b111111,  # 6 bits from the first
        ("a", "3"): 0b111111 << 58,  # 6 bits from the first, 12 from the second
        ("b", "4"): 0b1111111 << 20,  # 7 bits from the first
        ("b", "5"): 0,
    }
    assert group_near_duplicates(hashes) == [[("a", "1"), ("a", "2"), ("a", "3"), ("b", "5")], [("b", "4")]]
    assert group_near_duplicates({}) == []


def test_groups_equal_those_of_comparing_all():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**63, 60, dtype=np.int64)
    hashes = {}
    for k, centre in enumerate(centres):
        for copy in range(3):
            flips = sum(1 << int(bit) for bit in rng.choice(63, size=int(rng.integers(0, 10)), replace=False))
            hashes["s", f"{k}-{copy}"] = int(centre) ^ flips
    near = {key: {other for other in hashes if (hashes[key] ^ hashes[other]).bit_count() <= 6} for key in hashes}
    expected = set()
    for key in hashes:
        seen, border = {key}, {key}
        while border:
            border = {other for one in border for other in near[one]} - seen
            seen |= border
        expected.add(tuple(sorted(seen)))
    assert {tuple(group) for group in group_near_duplicates(hashes)} == expected


def test_twenty_thousand_photos_are_grouped_soon():
    values = np.random.default_rng(0).integers(0, 2**63, 20_000, dtype=np.int64)
    begun = time.process_time()
    groups = group_near_duplicates({("s", str(k)): int(value) for k, value in enumerate(values)})
    assert len(groups) > 19_900
    assert time.process_time() - begun < 20


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
    with pytest.raises(ValueError, match=r"test_share must be in \[0, 1\], got 2"):
        assign_splits(alone, counts, test_share=2, seed=0)
