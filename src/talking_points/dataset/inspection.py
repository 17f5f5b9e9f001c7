"""Looking a built set over: counts, lengths, vocabulary, and records that look wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talking_points.dataset.audit import AuditResult, read_audit
from talking_points.dataset.checks import is_named, words_of
from talking_points.dataset.store import SPLITS, BuiltRecord, BuiltSplit
from talking_points.points import Box


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Words a text."""

    least: int
    median: float
    mean: float
    most: int


def _lengths(counts: Sequence[int]) -> Lengths | None:
    if not counts:
        return None
    mean, median = round(float(np.mean(counts)), 1), float(np.median(counts))
    return Lengths(least=min(counts), median=median, mean=mean, most=max(counts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A record that looks wrong."""

    record_id: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What a built set holds."""

    records: dict[str, dict[str, int]]
    """Split to source to count."""
    photos: int
    objects: dict[str, int]
    """Class that the source counts by, to records; the most frequent first. So are the next ones."""
    parts: dict[str, int]
    """Part and its object's class, as in "dog's leg", to records; see `part_category`."""
    dialects: dict[str, int]
    kinds: dict[str, int]
    """Of points: sift, smooth, named."""
    written_by: dict[str, int]
    """Who wrote: object describer, local describer and writer; one name where one did all."""
    lengths: Lengths | None
    """None when no record has a text."""
    vocabulary: int
    """Different words."""
    repeated: int
    """Records whose text another record has, too."""
    semantic: float
    """Share of points that lie in a labelled part or are named keypoints of their source."""
    suspects: list[Suspect]

    @property
    def total(self) -> int:
        """Records."""
        return sum(sum(counts.values()) for counts in self.records.values())


def part_category(record: BuiltRecord) -> str:
    """The part with its object's class, "dog's leg"; "dog as a whole" of a point that is on no part of it."""
    if record.part_name == record.object_name:
        return f"{record.object_category} as a whole"
    return f"{record.object_category}'s {record.part_name}"


def inspect_records(records: Iterable[BuiltRecord]) -> Inspection:
    """Look records over, all of a set or some."""
    every = list(records)
    told = [record for record in every if record.text is not None]
    words = {record.record_id: words_of(record.text or "") for record in told}
    texts = Counter(record.text for record in told)
    by_split = {split: Counter(one.source for one in every if one.split == split) for split in SPLITS}
    semantic = sum(record.point_kind == "named" or _in_box(record, record.part_box_xyxy) for record in every)
    return Inspection(
        records={split: dict(sorted(counts.items())) for split, counts in by_split.items() if counts},
        photos=len({record.photo_key for record in every}),
        objects=_most_frequent(record.object_category for record in every),
        parts=_most_frequent(part_category(record) for record in every),
        dialects=_most_frequent(record.dialect or "" for record in told),
        kinds=_most_frequent(record.point_kind for record in every),
        written_by=_most_frequent(_writers(record) for record in told),
        lengths=_lengths([len(found) for found in words.values()]),
        vocabulary=len({word for found in words.values() for word in found}),
        repeated=sum(count for count in texts.values() if count > 1),
        semantic=semantic / len(every) if every else 0.0,
        suspects=find_suspects(every),
    )


def inspect_dataset(folder: Path) -> tuple[Inspection, AuditResult | None]:
    """Look over the built set in a folder, and read what people answered in its audit.

    Raises:
        ValueError: the folder holds no built set.
    """
    there = [split for split in SPLITS if any((folder / "data").glob(f"{split}-*.parquet"))]
    records = [record for split in there for record in BuiltSplit(folder, split)]
    if not records:
        raise ValueError(f"{folder} holds no built set: expected data/train-*.parquet or data/test-*.parquet")
    return inspect_records(records), read_audit(folder)


def find_suspects(records: Sequence[BuiltRecord]) -> list[Suspect]:
    """Records that look wrong, with the reason; of several reasons, each."""
    parts_of: dict[str, set[str]] = defaultdict(set)
    for record in records:
        parts_of[record.object_name].add(record.part_name)
    suspects = []
    first_of: dict[object, str] = {}
    for record in records:
        reasons = []
        if record.part_box_xyxy is not None and not _in_box(record, record.part_box_xyxy):
            reasons.append(f"its point lies outside its part, the {record.part_name}")
        if not _in_box(record, record.object_box_xyxy):
            reasons.append(f"its point lies outside its object, the {record.object_name}")
        same: list[tuple[object, str]] = [((record.photo_key, record.point_px), "its point")]
        if record.text is not None:
            same.append(((record.photo_key, record.text), "its text"))
            said = words_of(record.text)
            if not is_named(record.part_name, said):
                others = sorted(one for one in parts_of[record.object_name] if is_named(one, said))
                instead = f", but the {others[0]}" if others else ""
                reasons.append(f"its text does not name its part, the {record.part_name}{instead}")
        for key, what in same:
            first = first_of.setdefault(key, record.record_id)
            if first != record.record_id:
                reasons.append(f"{what} is that of {first}, too")
        suspects += [Suspect(record_id=record.record_id, reason=reason) for reason in reasons]
    return suspects


def _writers(record: BuiltRecord) -> str:
    names = [str(name) for name in (record.object_describer, record.local_describer, record.writer)]
    return names[0] if len(set(names)) == 1 else ", ".join(names)


def _in_box(record: BuiltRecord, box: Box | None) -> bool:
    if box is None:
        return False
    x, y = record.point_px
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _most_frequent(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(names)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
