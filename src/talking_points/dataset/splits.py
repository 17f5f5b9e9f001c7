"""Dividing photos into train and test: whole photos, proportional per source, look-alikes together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

HASH_SIDE = 8
NEAR_DUPLICATE_BITS = 6
"""Photos whose hashes differ in at most this many of the 64 bits count as the same picture. Ours."""
PAPER_RECORDS = 21_000
"""17K train and 4K test, paper 3.1."""
PAPER_TEST_SHARE = 4 / 21

PhotoKey = tuple[str, str]
"""Source and photo id."""


def perceptual_hash(photo: np.ndarray) -> int:
    """A 64-bit hash that survives resizing, recompression and small changes of light.

    The signs of the lowest frequencies of the photo's brightness, against their median.

    Args:
        photo: (H, W, 3) uint8, RGB.
    """
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Without the first row and column: how bright the photo is and how it shades off are not its content.
    waves = cv2.dct(small)[1 : HASH_SIDE + 1, 1 : HASH_SIDE + 1].ravel()
    # Rounded, so that noise around zero (a photo of one colour) does not decide.
    waves = np.round(waves, 1)
    bits = waves > np.median(waves)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def group_near_duplicates(hashes: Mapping[PhotoKey, int]) -> list[list[PhotoKey]]:
    """Photos that look alike, together; most groups have one photo. Groups and members are sorted.

    Args:
        hashes: `perceptual_hash` of each photo.
    """
    parent = {key: key for key in hashes}

    def root(key: PhotoKey) -> PhotoKey:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    # Of more bands than bits may differ, one is equal: only photos that share a band are compared.
    bands = NEAR_DUPLICATE_BITS + 1
    edges = [round(band * HASH_SIDE**2 / bands) for band in range(bands + 1)]
    # Equal hashes first, once: a thousand photos of one colour are one comparison each.
    of_hash: dict[int, PhotoKey] = {}
    for key in sorted(hashes):
        first = of_hash.setdefault(hashes[key], key)
        parent[root(key)] = root(first)
    for start, end in zip(edges, edges[1:], strict=False):
        buckets: dict[int, list[int]] = defaultdict(list)
        for value in of_hash:
            buckets[(value >> start) & ((1 << (end - start)) - 1)].append(value)
        for values in buckets.values():
            for i, value in enumerate(values):
                for other in values[:i]:
                    if (value ^ other).bit_count() <= NEAR_DUPLICATE_BITS:
                        parent[root(of_hash[value])] = root(of_hash[other])
    groups: dict[PhotoKey, list[PhotoKey]] = defaultdict(list)
    for key in sorted(hashes):
        groups[root(key)].append(key)
    return sorted(groups.values())


def assign_splits(
    groups: Sequence[Sequence[PhotoKey]], records_of: Mapping[PhotoKey, int], *, test_share: float, seed: int
) -> dict[PhotoKey, str]:
    """Give each photo "train" or "test", so that each source has about `test_share` of its records in test.

    A source of two groups or more has at least one in test, unless `test_share` is 0.

    Args:
        groups: photos that must stay together, as `group_near_duplicates` gives them.
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
