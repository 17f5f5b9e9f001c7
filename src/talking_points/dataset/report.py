"""What people see of a built set: counts, records that look wrong, a page of an audit, and the dataset card.

The audit is the paper's manual check: `audit/index.html` shows each photo and its text; whoever has looked for the
point uncovers it and says whether the words led there. The page saves `answers.csv`, which goes into the same folder (a
spreadsheet can fill it in as well).
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.checks import is_named, words_of
from talking_points.dataset.store import SPLITS, BuiltRecord, BuiltSplit, ReadPhoto
from talking_points.files import write_whole
from talking_points.pages import render
from talking_points.photos import decode_photo
from talking_points.points import Box

LARGEST_TABLE = 20
"""Rows of a table in the card; the rest is one row."""
ANSWERS = Path("audit") / "answers.csv"
ANSWER_COLUMNS = ["record_id", "found"]
"""`found` is yes, no or nothing."""
PHOTO_SIDE_PX = 1024
"""Of the audit's photos, at most."""


# --- what a set holds -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Words a text."""

    least: int
    median: float
    mean: float
    most: int


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
        lengths=_lengths([len(found) for found in words.values()]) if words else None,
        vocabulary=len({word for found in words.values() for word in found}),
        repeated=sum(count for count in texts.values() if count > 1),
        semantic=semantic / len(every) if every else 0.0,
        suspects=find_suspects(every),
    )


def _lengths(counts: Sequence[int]) -> Lengths:
    mean, median = round(float(np.mean(counts)), 1), float(np.median(counts))
    return Lengths(least=min(counts), median=median, mean=mean, most=max(counts))


def inspect_dataset(folder: Path) -> tuple[Inspection, AuditResult | None]:
    """Look over the built set in a folder, and read what people answered in its audit; a ValueError without a set."""
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


# --- the audit ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditResult:
    """What people answered."""

    asked: int
    answered: int
    found: int
    """Of the answered ones, how many points could be found from their text."""

    @property
    def share(self) -> float:
        """Found among answered; NaN before the first answer."""
        return self.found / self.answered if self.answered else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the share (Wilson's)."""
        # Here, as it takes a second to import, which only answered audits need to wait.
        from scipy.stats import binomtest

        if not self.answered:
            return (0.0, 1.0)
        found = binomtest(self.found, self.answered).proportion_ci(method="wilson")
        return (float(found.low), float(found.high))


def write_audit(
    folder: Path, records: Sequence[BuiltRecord], read_photo: ReadPhoto, *, share: float, seed: int
) -> None:
    """Write the audit's page for a share, in (0, 1], of a set's test split (of all where there is no test split).

    Answers that are already there are kept, and the page with them. Equal seeds choose equally.
    """
    if read_audit(folder) is not None:
        return
    told = [record for record in records if record.text]
    split = [record for record in told if record.split == "test"] or told
    if not split:
        return
    count = min(len(split), max(1, round(share * len(split))))
    drawn = np.random.default_rng(seed).choice(len(split), size=count, replace=False)
    chosen = [split[int(number)] for number in sorted(drawn)]
    audit = (folder / ANSWERS).parent
    (audit / "photos").mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(chosen):
        photo = decode_photo(read_photo(record))
        photo.thumbnail((PHOTO_SIDE_PX, PHOTO_SIDE_PX))
        photo.save(audit / "photos" / f"{number:05d}.jpg", quality=90)
    write_whole(audit / "index.html", render("talking_points.dataset", "audit.html.j2", records=chosen))
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows([ANSWER_COLUMNS, *([record.record_id, ""] for record in chosen)])
    # Last: a page without its list would be taken for finished.
    write_whole(folder / ANSWERS, rows.getvalue())


def read_audit(folder: Path) -> AuditResult | None:
    """The answers of a set, None without an audit; a ValueError names the line that the page did not write so."""
    path = folder / ANSWERS
    if not path.is_file():
        return None
    answers: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            if next(lines, None) != ANSWER_COLUMNS:
                raise ValueError(f"{path}:1: expected the columns {','.join(ANSWER_COLUMNS)}")
            for number, line in enumerate(lines, start=2):
                if not line:
                    continue
                answer = line[1].strip().lower() if len(line) == 2 else None
                if answer not in ("yes", "no", ""):
                    got = ",".join(line)
                    raise ValueError(f"{path}:{number}: expected a record's id and yes, no or nothing, got {got}")
                if line[0] in answers:
                    raise ValueError(f"{path}:{number}: {line[0]} is there twice")
                answers[line[0]] = answer
    except csv.Error as error:
        raise ValueError(f"{path}: no CSV: {error}") from None
    given = [answer for answer in answers.values() if answer]
    return AuditResult(asked=len(answers), answered=len(given), found=given.count("yes"))


# --- the card ---------------------------------------------------------------------------------------------------


def write_card(folder: Path, found: Inspection, *, report: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write README.md of a set; `report` is what became of everything, as in report.json, `settings` the build's."""
    known = {"found": found, "report": report, "settings": settings, "audit": read_audit(folder)}
    card = render("talking_points.dataset", "card.md.j2", LARGEST_TABLE=LARGEST_TABLE, **known)
    write_whole(folder / "README.md", card)
