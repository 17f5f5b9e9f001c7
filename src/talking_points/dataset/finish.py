"""Writing a finished set from the ledger: the Parquet files, the report, what was rejected, the audit and the card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from talking_points.dataset.audit import read_audit, write_audit
from talking_points.dataset.choosing import Choice
from talking_points.dataset.other_splits import LookAlikes
from talking_points.dataset.problems import Problem
from talking_points.dataset.settings import BuildSettings
from talking_points.dataset.sources.source import Source
from talking_points.dataset.splits import assign_splits
from talking_points.dataset.store import SPLITS, BuiltRecord, ReadPhoto, record_of_row, write_split
from talking_points.files import sha256_of, write_whole
from talking_points.journal import Ledger, Spent
from talking_points.progress import OnProgress

MOST_LEFT_OUT = 1000
"""So many annotations that were left out are listed in the report; all are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What became of everything."""

    kept: dict[str, dict[str, int]]
    """Split to source to number of records."""
    rejected: dict[str, int]
    """Reason to number of records; all are in rejected.jsonl."""
    skipped: list[tuple[str, str, str]]
    """Source, photo and reason: bad, without a point, or of the same shot as a photo of a later split."""
    unchecked: list[str]
    """Later splits that are not there to be compared with."""
    not_chosen: int
    """Points that were found and not needed."""
    spent: Spent
    left_out: list[Problem]
    """Annotations that cannot be read, the first `MOST_LEFT_OUT`."""
    left_out_count: int
    """All of them."""
    notes: dict[str, int]
    """What was assumed, or left out as it should be, and how often: "a crowd region"."""

    @property
    def total(self) -> int:
        """Kept records."""
        return sum(sum(counts.values()) for counts in self.kept.values())


def write_set(
    settings: BuildSettings,
    sources: Mapping[str, Source],
    ledger: Ledger,
    alike: LookAlikes,
    choice: Choice,
    on_progress: OnProgress,
) -> BuildReport:
    """Write everything that people see, from the ledger.

    Args:
        settings: of the build.
        sources: by name.
        ledger: holds all that was written.
        alike: photos that stay together.
        choice: the points that were found.
        on_progress: told when files are being written.
    """
    # Not at the top: matplotlib takes a while, and bad settings should be reported at once.
    from talking_points.dataset.card import write_card

    out, outcomes = settings.out, ledger.outcomes()
    # Others were written for an equal share that another source could not give in the end.
    written, kept_ids = {one.record_id for one in choice.turns(outcomes)}, choice.kept(outcomes)
    records = [(record_of_row(row), reason) for _, row, reason in ledger.records()]
    rejected = [(one, reason) for one, reason in records if reason is not None and one.record_id in written]
    kept = _placed([one for one, _ in records if one.record_id in kept_ids], settings, sources, alike)

    def read_photo(record: BuiltRecord) -> bytes:
        return _photo_file(record, sources).read_bytes()

    on_progress("files", 0, 1)
    _write_parquet(out, ledger, kept, read_photo if settings.photos == "embed" else None)
    left_out, notes = _left_out(sources, ledger)
    counts = {split: Counter(one.source for one in kept if one.split == split) for split in SPLITS}
    report = BuildReport(
        kept={split: dict(sorted(of_split.items())) for split, of_split in counts.items() if of_split},
        rejected=dict(sorted(Counter(reason for _, reason in rejected).items())),
        skipped=sorted([*ledger.skipped(), *((*key, why) for key, why in alike.left_out.items())]),
        unchecked=alike.unchecked,
        not_chosen=choice.total - len(kept) - len(rejected),
        spent=ledger.spent(),
        left_out=left_out[:MOST_LEFT_OUT],
        left_out_count=len(left_out),
        notes=notes,
    )
    lines = [_rejected_line(one, reason) for one, reason in rejected]
    write_whole(out / "rejected.jsonl", "".join(lines))
    write_whole(out / "report.json", json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n")
    if settings.audit_share is not None:
        write_audit(out, kept, read_photo, share=settings.audit_share, seed=settings.seed)
    write_card(out, kept, read_photo, report=asdict(report), settings=ledger.settings(), audit=read_audit(out))
    on_progress("files", 1, 1)
    return report


def _photo_file(record: BuiltRecord, sources: Mapping[str, Source]) -> Path:
    return sources[record.source].photo_path(record.photo_id)


def _placed(
    records: Sequence[BuiltRecord], settings: BuildSettings, sources: Mapping[str, Source], alike: LookAlikes
) -> list[BuiltRecord]:
    """The records with their split and the path of their photo."""
    counts = Counter(one.photo_key for one in records)
    groups = [[key for key in group if key in counts] for group in alike.groups]
    share = settings.test_share
    splits = assign_splits([one for one in groups if one], counts, test_share=share, seed=settings.seed)

    def path(one: BuiltRecord) -> str:
        file = _photo_file(one, sources)
        # The id and not the file's name: two folders of a source may hold files of one name.
        return f"{one.source}/{one.photo_id}{file.suffix}" if settings.photos == "embed" else str(file.resolve())

    return [replace(one, split=splits[one.photo_key], photo_path=path(one)) for one in records]


def _rejected_line(record: BuiltRecord, reason: str) -> str:
    """A line of JSON: why a record is none of the set, and all that the set would hold, the point as `x` and `y`."""
    row = record.to_row()
    (x, y), _ = row.pop("point_px"), row.pop("point_unit")
    return json.dumps({"reason": reason, "x": x, "y": y, **row}, ensure_ascii=False) + "\n"


def _left_out(sources: Mapping[str, Source], ledger: Ledger) -> tuple[list[Problem], dict[str, int]]:
    """All annotations that were left out, of no photo first; and how often each note was made."""
    left_out = [problem for name in sorted(sources) for problem in sources[name].problems]
    notes: Counter[str] = Counter()
    for content in ledger.contents():
        left_out += [Problem(**problem) for problem in content["left_out"]]
        notes.update(content["notes"])
    return left_out, dict(sorted(notes.items()))


def _write_parquet(out: Path, ledger: Ledger, kept: Sequence[BuiltRecord], read_photo: ReadPhoto | None) -> None:
    """Write the Parquet files, unless the ledger says that exactly these are there."""
    content = sha256_of(repr([kept, read_photo is not None]).encode())
    data = out / "data"
    done = ledger.note("parquet")
    if done == {"content": content, "files": _sizes(data)}:
        return
    for leftover in data.glob("*.parquet*"):
        leftover.unlink()
    for split in SPLITS:
        write_split(out, split, [one for one in kept if one.split == split], read_photo)
    ledger.keep_note("parquet", {"content": content, "files": _sizes(data)})


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*"))}
