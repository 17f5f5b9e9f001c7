"""Splits of photos: none is the same shot as one of a later split, look-alikes stay together, a share becomes test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talking_points.dataset.look_alikes import same_shots, shot_among, text_to_thumb, thumb_to_text, thumbnail_of_file
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.source import Source
from talking_points.files import sha256_of
from talking_points.journal import Ledger
from talking_points.progress import OnProgress, one_line

PROTECTED = {"train": ("test", "val"), "val": ("test",), "test": ()}
"""Of which splits a split holds no look-alikes: a photo belongs to test before val before train."""
ALL_KEPT = "each photo of {} is in a later split of the sources, too; all were kept: measure on other photos"
LOOKS_LIKE = "looks like "
"""How the reason of a photo that is left out begins."""
THUMBS_AT_ONCE = 64
"""Of other splits' photos, kept together."""

PhotoKey = tuple[str, str]
"""Source and photo id."""
OtherPhoto = tuple[str, str, str]
"""Source, split and photo id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LookAlikes:
    """Which of the scanned photos are the same shot as another."""

    groups: list[list[PhotoKey]]
    """Of the photos that may be used: those that are one shot, together."""
    left_out: dict[PhotoKey, str]
    """Photos that look like one of a later split, and which one."""
    unchecked: list[str]
    """Later splits that are not there; and of which sources all photos were kept, as each is in a later split, too."""


def find_look_alikes(
    folders: Mapping[str, Path], split: str, thumbs: Mapping[PhotoKey, str], ledger: Ledger, on_progress: OnProgress
) -> LookAlikes:
    """Compare scanned photos with each other and with those of later splits; done once, and noted in the ledger.

    `thumbs` are the photos' own, see `thumb_to_text`; `folders` are the sources' by name.
    """
    opened, unchecked = protected_sources(folders, split)
    others = _thumbs_of_others(opened, ledger, on_progress)
    # Photos may have been added or mended since.
    of = sha256_of([sorted(thumbs.items()), sorted(others.items())])
    noted = ledger.note("look-alikes by source")
    if noted is None or noted["of"] != of:
        own = {key: text_to_thumb(text) for key, text in sorted(thumbs.items())}
        left_out = look_alikes_of(own, {photo: text_to_thumb(text) for photo, text in others.items()})
        # Nothing of these would be left: whoever laid out the folders meant their photos to be used.
        kept_all = sorted({name for name, _ in left_out} - {name for name, _ in own.keys() - left_out.keys()})
        left_out = {key: why for key, why in left_out.items() if key[0] not in kept_all}
        keys = [key for key in own if key not in left_out]
        groups = [[keys[index] for index in group] for group in same_shots([own[key] for key in keys])]
        noted = {"of": of, "left_out": [[*key, why] for key, why in left_out.items()], "groups": groups}
        noted["kept_all"] = kept_all
        ledger.keep_note("look-alikes by source", noted)
    total = sum(len(source.photo_ids) for source in opened.values())
    on_progress("look-alikes", total, total)
    return LookAlikes(
        groups=[[(source, photo_id) for source, photo_id in group] for group in noted["groups"]],
        left_out={(source, photo_id): why for source, photo_id, why in noted["left_out"]},
        unchecked=[f"none sought in {one}" for one in unchecked] + [ALL_KEPT.format(one) for one in noted["kept_all"]],
    )


def _thumbs_of_others(
    opened: Mapping[tuple[str, str], Source], ledger: Ledger, on_progress: OnProgress
) -> dict[OtherPhoto, str]:
    """Thumbnails of all good photos of later splits, those that were seen by an earlier run from the ledger."""
    wanted = [(name, split, one) for (name, split), source in sorted(opened.items()) for one in source.photo_ids]
    known = ledger.thumbs()
    left = [photo for photo in wanted if photo not in known]
    for start in range(0, len(left), THUMBS_AT_ONCE):
        on_progress("look-alikes", len(wanted) - len(left) + start, len(wanted))
        ledger.keep_thumbs(
            (name, split, one, thumb_to_text(thumbnail_of_file(opened[name, split].paths[one])))
            for name, split, one in left[start : start + THUMBS_AT_ONCE]
        )
    known = ledger.thumbs()
    return {photo: text for photo in wanted if (text := known[photo]) is not None}


def protected_sources(folders: Mapping[str, Path], split: str) -> tuple[dict[tuple[str, str], Source], list[str]]:
    """The later splits of all sources, by source and split; and those that are not there, with the reason."""
    opened: dict[tuple[str, str], Source] = {}
    unchecked: list[str] = []
    for name in sorted(folders):
        for other in PROTECTED[split]:
            try:
                opened[name, other] = open_source(name, folders[name], other)
            except (ValueError, OSError) as error:
                # A copy of a dataset without its test photos can be learned from, too.
                unchecked.append(f"{name} {other}: {one_line(error)}")
    return opened, unchecked


def look_alikes_of(
    thumbs: Mapping[PhotoKey, np.ndarray], others: Mapping[OtherPhoto, np.ndarray]
) -> dict[PhotoKey, str]:
    """Why each photo that is the same shot as one of a later split is left out: "looks like test photo 0984 of pets".

    Both are told by their `look_alikes.thumbnail`.
    """
    keys = sorted(thumbs)
    # Test first: what is named is the strongest reason.
    those = sorted(others, key=lambda one: (one[1] != "test", one))
    found = shot_among([thumbs[key] for key in keys], [others[one] for one in those])
    return {
        key: f"{LOOKS_LIKE}{those[index][1]} photo {those[index][2]} of {those[index][0]}"
        for key, index in zip(keys, found, strict=True)
        if index is not None
    }


def assign_splits(
    groups: Sequence[Sequence[PhotoKey]], records_of: Mapping[PhotoKey, int], *, test_share: float, seed: int
) -> dict[PhotoKey, str]:
    """Give each photo "train" or "test", so that each source has about `test_share` of its records in test.

    A source of two groups or more has at least one in test, unless `test_share` is 0. Equal seeds divide equally.

    Args:
        groups: photos that must stay together.
        records_of: how many records each photo has.
        test_share: share of the records, in [0, 1].
        seed: of the order in which groups are taken for the test.
    """
    counts: list[Counter[str]] = [Counter() for _ in groups]
    wanted: dict[str, float] = defaultdict(float)
    for count, group in zip(counts, groups, strict=True):
        for key in group:
            count[key[0]] += records_of.get(key, 0)
        for source, number in count.items():
            wanted[source] += test_share * number
    taken: Counter[str] = Counter()
    in_test: set[int] = set()
    order = [int(number) for number in np.random.default_rng(seed).permutation(len(groups))]
    for number in order:
        # Rounded to the nearer side.
        if all(taken[source] + one / 2 < wanted[source] for source, one in counts[number].items()):
            in_test.add(number)
            taken += counts[number]
    for source in sorted(wanted):
        own = [number for number in order if counts[number][source]]
        if test_share > 0 and len(own) > 1 and not in_test & set(own):
            in_test.add(min(own, key=lambda number: counts[number].total()))
    return {
        key: "test" if test_share == 1 or number in in_test else "train"
        for number, group in enumerate(groups)
        for key in group
    }
