"""Building a set of photos, points and texts from part-labelled photos, stage by stage, resumable.

Scan every photo (`scan`), leave out look-alikes of later splits (`splits`), put points in order over all photos
(`choosing`), put them into words until there are enough (`language`), divide photos into train and test, and write the
set. A point is a `BuiltRecord` from the scan on. What a stage found is in the ledger before the next one uses it: a
build that is killed and started again with the same settings gives the same bytes as one that was not.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import talking_points
from talking_points.dataset.choosing import Pool, kept_of, pools, turns_of
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.language import Roles, put_into_words
from talking_points.dataset.look_alikes import thumb_to_text
from talking_points.dataset.report import inspect_records, write_audit, write_card
from talking_points.dataset.roles import find_fillers, names_of_roles, open_roles
from talking_points.dataset.scan import NO_LABEL, NO_POINT, NO_TEXTURE, ONLY_NOTED, PhotoScan, scan_photos
from talking_points.dataset.settings import BuildSettings
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.loading import parse_sources
from talking_points.dataset.sources.source import Source
from talking_points.dataset.splits import LOOKS_LIKE, LookAlikes, PhotoKey, assign_splits, find_look_alikes
from talking_points.dataset.store import SPLITS, BuiltRecord, ReadPhoto, record_of_row, write_split
from talking_points.files import sha256_of, write_whole
from talking_points.journal import LEDGER_NAME, Ledger, Spent
from talking_points.labels.problems import Problem
from talking_points.pages import counted
from talking_points.progress import OnProgress, unheard

SET_DEPENDS_ON = (
    *("split", "seed", "records", "equal_shares", "balance", "test_share", "points_per_photo", "per_part"),
    *("smooth_share", "photos", "dialects", "endpoint_photo_side_px"),
)
"""Settings that another run in the same folder must agree on, beside the sources, the roles and the version."""
BAD = "cannot be read, the first: "
KINDS = {
    LOOKS_LIKE: "left out as look-alikes",
    NO_TEXTURE: "without texture",
    NO_POINT: "without a part that is big enough",
    NO_LABEL: "without an annotation that can be read",
    ONLY_NOTED: "without a label but what is left out as it should be",
    BAD: "that cannot be read",
}
"""Of photos that gave nothing, how the reason begins, and what it is called where they are counted."""
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
    """Source, photo and reason: bad, or without a point."""
    look_alikes: list[tuple[str, str, str]]
    """The same of those that are left out, as they are the same shot as a photo of a later split."""
    empty: dict[str, str]
    """Sources without a record, and why."""
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


def build(settings: BuildSettings, on_progress: OnProgress = unheard) -> BuildReport:
    """Build a set into `settings.out`, or go on with one that was begun there.

    Writes data/*.parquet, README.md (the dataset card), figures/, report.json, rejected.jsonl, and the ledger.

    Raises:
        ValueError, FileNotFoundError: a source or a photo is bad (see `skip_bad`), nothing can be built from them, or
            the folder was begun with other settings.
        OSError: the disk is full, an endpoint is down for good or the budget is spent; the same call goes on later.
    """
    folders, out = parse_sources(settings.sources), settings.out
    # Before anything is written or scanned: a model that is unknown or cannot describe is reported at once.
    fillers = find_fillers(settings)
    begun_with: dict[str, Any] = {"sources": {name: str(folder.resolve()) for name, folder in folders.items()}}
    begun_with |= {name: getattr(settings, name) for name in SET_DEPENDS_ON}
    begun_with |= names_of_roles(settings, fillers)
    begun_with["version"] = talking_points.__version__
    sources = {name: open_source(name, folder, settings.split) for name, folder in folders.items()}
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not (out / LEDGER_NAME).is_file():
        # What lies there is somebody's; the set's own files would be written over it.
        raise ValueError(f"{out} is not empty and holds no build that was begun: give a new folder as --out")
    with Ledger(out) as ledger:
        # Before the scan, which takes long; and a build whose model cannot be loaded has not begun.
        roles = open_roles(settings, fillers, ledger)
        ledger.keep_settings(begun_with)
        _scan(settings, sources, ledger, on_progress)
        thumbs = {(source, photo_id): str(content["thumb"]) for source, photo_id, content in ledger.photos()}
        alike = find_look_alikes(folders, settings.split, thumbs, ledger, on_progress)
        chosen = _choose(settings, ledger, alike.left_out)
        _write_texts(settings, sources, ledger, roles, chosen, on_progress)
        return _write_set(settings, sources, ledger, alike, chosen, on_progress)


def _scan(settings: BuildSettings, sources: Mapping[str, Source], ledger: Ledger, on_progress: OnProgress) -> None:
    scanned = ledger.scanned()
    photos = [(name, photo_id) for name in sorted(sources) for photo_id in sources[name].photo_ids]
    # Those that gave nothing are looked at again: somebody may have mended their labels.
    again = {(name, photo_id) for name, photo_id, _ in ledger.skipped()}
    for name, photo_id in sorted(scanned - again):
        if photo_id not in sources[name].paths:
            raise ValueError(
                f"photo {photo_id} of {name} was there when this build began and is not any more; put it back, or "
                "build into another --out"
            )
    missing = [key for key in photos if key not in scanned or key in again]
    done = len(photos) - len(missing)
    on_progress("photos", done, len(photos))
    for scan in scan_photos(sources, missing, settings):
        if scan.bad is not None and not settings.skip_bad:
            raise ValueError(f"{scan.bad}; mend or remove it, or pass over such photos with --skip-bad")
        facts = [one.to_dict() for one in scan.facts]
        ledger.keep_photo(scan.source, scan.photo_id, _as_json(scan), facts, skipped=scan.bad or scan.empty)
        done += 1
        on_progress("photos", done, len(photos))


def _as_json(scan: PhotoScan) -> dict[str, Any]:
    """What the ledger keeps of a scan beside the facts."""
    return {
        "points": [one.to_row() for one in scan.points],
        "thumb": None if scan.thumb is None else thumb_to_text(scan.thumb),
        "left_out": [asdict(problem) for problem in scan.problems],
        "notes": scan.notes,
    }


def _choose(settings: BuildSettings, ledger: Ledger, left_out: Mapping[PhotoKey, str]) -> list[Pool]:
    """All scanned points in order, by the ledger and the settings alone; a ValueError where no photo has any."""
    found = [
        record_of_row(row)
        for source, photo_id, content in ledger.photos()
        if (source, photo_id) not in left_out
        for row in content["points"]
    ]
    if not found:
        raise ValueError(_no_photo_has_a_point(ledger.skipped()))
    how = {name: getattr(settings, name) for name in ("records", "equal_shares", "balance", "seed")}
    return pools(found, **how)


def _no_photo_has_a_point(skipped: Sequence[tuple[str, str, str]]) -> str:
    """Why nothing can be built, with how many photos each reason has, in one line."""
    if not skipped:
        return "none of the photos has a point to describe: this split of the sources lists no photos"
    found: dict[str, list[str]] = defaultdict(list)
    for _, _, reason in skipped:
        found[_kind_of(reason)].append(reason)
    said = [
        f"{len(reasons):,} of {len(skipped):,}: {kind if kind == BAD else ''}{reasons[0]}"
        for kind, reasons in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    more = "; build-dataset --check lists all problems" if found.keys() & {BAD, NO_LABEL} else ""
    return f"none of the photos has a point to describe ({'; '.join(said)}){more}"


def _kind_of(reason: str) -> str:
    """Of `KINDS`."""
    return next((kind for kind in KINDS if reason.startswith(kind)), BAD)


def _why_no_record(
    name: str,
    split: str,
    photos: Sequence[tuple[str, str, str]],
    rejected: Sequence[tuple[BuiltRecord, str]],
) -> str:
    """Why a source has no record: counts of its photos that gave nothing, by reason, and of its rejected texts."""
    kinds = Counter(_kind_of(reason) for source, _, reason in photos if source == name)
    said = [f"{counted(count, 'photo')} {KINDS[kind]}" for kind, count in kinds.most_common()]
    texts = sum(one.source == name for one, _ in rejected)
    said += [f"{counted(texts, 'text')} rejected"] if texts else []
    return ", ".join(said) or f"no photo in its {split} split, or none of its points was needed"


def _write_texts(
    settings: BuildSettings,
    sources: Mapping[str, Source],
    ledger: Ledger,
    roles: Roles,
    chosen: Sequence[Pool],
    on_progress: OnProgress,
) -> None:
    """Write about the wanted points, and about the next ones in turn for those whose texts are rejected."""

    def write_photo(points: Sequence[BuiltRecord]) -> int:
        source, photo_id = points[0].photo_key
        facts = ledger.facts_of(source, photo_id)
        told = [(one, PointFacts.from_dict(facts[int(one.record_id.rpartition("/")[2])])) for one in points]
        rows = put_into_words(sources[source].paths[photo_id], told, roles, settings.dialects)
        ledger.keep_records((one.record_id, one.to_row(), rejected) for one, rejected in rows)
        return len(rows)

    while True:
        outcomes = ledger.outcomes()
        turns = turns_of(chosen, outcomes)
        of_photo: dict[PhotoKey, list[BuiltRecord]] = defaultdict(list)
        for one in sorted(turns, key=lambda one: one.record_id):
            if one.record_id not in outcomes:
                of_photo[one.photo_key].append(one)
        done = len(turns) - sum(map(len, of_photo.values()))
        on_progress("texts", done, len(turns))
        if not of_photo:
            return
        # Photos wait for endpoints together; everything else is the processor's, one photo after the other.
        with ThreadPoolExecutor(settings.concurrency if roles.endpoints else 1) as pool:
            waiting = {pool.submit(write_photo, points) for points in of_photo.values()}
            try:
                while waiting:
                    ready, waiting = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
                    done += sum(future.result() for future in ready)
                    on_progress("texts", done, len(turns))
            except BaseException:
                # The pool waits for what is running; that must not begin another round of attempts.
                for endpoint in roles.endpoints:
                    endpoint.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _write_set(
    settings: BuildSettings,
    sources: Mapping[str, Source],
    ledger: Ledger,
    alike: LookAlikes,
    chosen: Sequence[Pool],
    on_progress: OnProgress,
) -> BuildReport:
    """Write everything that people see, from the ledger."""
    out, outcomes = settings.out, ledger.outcomes()
    # Others were written for an equal share that another source could not give in the end.
    written, kept_ids = {one.record_id for one in turns_of(chosen, outcomes)}, kept_of(chosen, outcomes)
    records = [(record_of_row(row), reason) for _, row, reason in ledger.records()]
    rejected = [(one, reason) for one, reason in records if reason is not None and one.record_id in written]
    kept = _placed([one for one, _ in records if one.record_id in kept_ids], settings, sources, alike)

    def read_photo(record: BuiltRecord) -> bytes:
        return sources[record.source].paths[record.photo_id].read_bytes()

    on_progress("files", 0, 1)
    _write_parquet(out, ledger, kept, read_photo if settings.photos == "embed" else None)
    left_out, notes = _left_out(sources, ledger)
    found = inspect_records(kept)
    skipped, look_alikes = ledger.skipped(), sorted((*key, why) for key, why in alike.left_out.items())
    empty = sorted(sources.keys() - {one.source for one in kept})
    report = BuildReport(
        kept=found.records,
        rejected=dict(sorted(Counter(reason for _, reason in rejected).items())),
        skipped=skipped,
        look_alikes=look_alikes,
        empty={name: _why_no_record(name, settings.split, [*look_alikes, *skipped], rejected) for name in empty},
        unchecked=alike.unchecked,
        not_chosen=sum(len(pool.points) for pool in chosen) - len(kept) - len(rejected),
        spent=ledger.spent(),
        left_out=left_out[:MOST_LEFT_OUT],
        left_out_count=len(left_out),
        notes=notes,
    )
    write_whole(out / "rejected.jsonl", "".join(_rejected_line(one, reason) for one, reason in rejected))
    write_whole(out / "report.json", json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n")
    if settings.audit_share is not None:
        write_audit(out, kept, read_photo, share=settings.audit_share, seed=settings.seed)
    if kept:
        # Here, as matplotlib takes a while to import, and bad settings should be reported at once.
        from talking_points.dataset.figures import write_figures

        write_figures(out / "figures", kept, read_photo, seed=settings.seed)
    write_card(out, found, report=asdict(report), settings=ledger.settings())
    on_progress("files", 1, 1)
    return report


def _placed(
    records: Sequence[BuiltRecord], settings: BuildSettings, sources: Mapping[str, Source], alike: LookAlikes
) -> list[BuiltRecord]:
    """The records with their split and the path of their photo."""
    counts = Counter(one.photo_key for one in records)
    groups = [own for group in alike.groups if (own := [key for key in group if key in counts])]
    splits = assign_splits(groups, counts, test_share=settings.test_share, seed=settings.seed)

    def path(one: BuiltRecord) -> str:
        file = sources[one.source].paths[one.photo_id]
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
    notes: Counter[str] = Counter(note for name in sorted(sources) for note in sources[name].notes)
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
