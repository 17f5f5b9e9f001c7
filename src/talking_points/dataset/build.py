"""Building a set of photos, points and texts from part-labelled photos, stage by stage, resumable.

Scan every photo (`scan`), leave out look-alikes of later splits (`other_splits`), put points in order over all photos
(`choosing`), put them into words until there are enough (`texts`), divide photos into train and test, and write the
set (`finish`). A point is a `BuiltRecord` from the scan on. What a stage found is in the ledger before the next one
uses it: a build that is killed and started again with the same settings gives the same bytes as one that was not.
"""

from __future__ import annotations

import errno
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import talking_points
from talking_points.dataset.choosing import Choice, pools
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.finish import BuildReport, write_set
from talking_points.dataset.look_alikes import thumb_to_text
from talking_points.dataset.other_splits import find_look_alikes
from talking_points.dataset.scan import NO_LABEL, NO_POINT, NO_TEXTURE, ONLY_NOTED, PhotoScan, scan_photos
from talking_points.dataset.settings import BuildSettings
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.loading import parse_sources
from talking_points.dataset.sources.source import Source
from talking_points.dataset.splits import PhotoKey
from talking_points.dataset.store import BuiltRecord, record_of_row
from talking_points.dataset.texts import Roles, names_of_roles, open_roles, put_into_words
from talking_points.journal import LEDGER_NAME, Ledger
from talking_points.progress import OnProgress, unheard

SET_DEPENDS_ON = (
    *("split", "seed", "records", "equal_shares", "balance", "test_share", "points_per_photo", "per_part"),
    *("smooth_share", "photos", "dialects", "endpoint_photo_side_px"),
)
"""Settings that another run in the same folder must agree on, beside the sources, the roles and the version."""


def build(settings: BuildSettings, on_progress: OnProgress = unheard) -> BuildReport:
    """Build a set into `settings.out`, or go on with one that was begun there.

    Writes data/*.parquet, README.md (the dataset card), figures/, report.json, rejected.jsonl, and the ledger.

    Raises:
        ValueError, FileNotFoundError: a source or a photo is bad (see `skip_bad`), nothing can be built from them, or
            the folder was begun with other settings.
        OSError: the disk is full, an endpoint is down for good or the budget is spent; the same call goes on later.
    """
    folders, out = parse_sources(settings.sources), settings.out
    begun_with: dict[str, Any] = {"sources": {name: str(folder.resolve()) for name, folder in folders.items()}}
    begun_with |= {name: getattr(settings, name) for name in SET_DEPENDS_ON} | names_of_roles(settings)
    begun_with["version"] = talking_points.__version__
    sources = {name: open_source(name, folder, settings.split) for name, folder in folders.items()}
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not (out / LEDGER_NAME).is_file():
        # What lies there is somebody's; the set's own files would be written over it.
        raise ValueError(f"{out} is not empty and holds no build that was begun: give a new folder as --out")
    with _disk_full_explained(out), Ledger(out) as ledger:
        ledger.keep_settings(begun_with)
        # Before the scan, which takes long: a model that cannot be loaded is reported at once.
        roles = open_roles(settings, ledger)
        _scan(settings, sources, ledger, on_progress)
        thumbs = {(source, photo_id): str(content["thumb"]) for source, photo_id, content in ledger.photos()}
        alike = find_look_alikes(folders, settings.split, thumbs, ledger, on_progress)
        choice = _choose(settings, ledger, alike.left_out)
        _write_texts(settings, sources, ledger, roles, choice, on_progress)
        return write_set(settings, sources, ledger, alike, choice, on_progress)


@contextmanager
def _disk_full_explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(f"the disk of {out} is full; what is finished is kept: make room and start again") from None
        raise


def _scan(settings: BuildSettings, sources: Mapping[str, Source], ledger: Ledger, on_progress: OnProgress) -> None:
    scanned = ledger.scanned()
    photos = [(name, photo_id) for name in sorted(sources) for photo_id in sources[name].photo_ids]
    # Those that gave nothing are looked at again: somebody may have mended their labels.
    again = {(name, photo_id) for name, photo_id, _ in ledger.skipped()}
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


def _choose(settings: BuildSettings, ledger: Ledger, left_out: Mapping[PhotoKey, str]) -> Choice:
    """Put all scanned points in order; a function of the ledger and the settings alone.

    Raises:
        ValueError: no photo has a point.
    """
    found = [
        record_of_row(row)
        for source, photo_id, content in ledger.photos()
        if (source, photo_id) not in left_out
        for row in content["points"]
    ]
    if not found:
        raise ValueError(_no_photo_has_a_point(ledger.skipped()))
    return Choice(
        pools=pools(
            found,
            records=settings.records,
            equal_shares=settings.equal_shares,
            balance=settings.balance,
            seed=settings.seed,
        )
    )


def _no_photo_has_a_point(skipped: Sequence[tuple[str, str, str]]) -> str:
    """Why nothing can be built, with how many photos each reason has, in one line."""
    if not skipped:
        return "none of the photos has a point to describe: this split of the sources lists no photos"
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for _, _, reason in skipped:
        kind = next((one for one in (NO_POINT, NO_TEXTURE, NO_LABEL, ONLY_NOTED) if reason.startswith(one)), "bad")
        kinds[kind] += 1
        examples.setdefault(kind, reason)
    said = [
        f"{count:,} of {len(skipped):,}: "
        + (f"cannot be read, the first: {examples[kind]}" if kind == "bad" else examples[kind])
        for kind, count in kinds.most_common()
    ]
    more = "; build-dataset --check lists all problems" if kinds["bad"] or kinds[NO_LABEL] else ""
    return f"none of the photos has a point to describe ({'; '.join(said)}){more}"


def _write_texts(
    settings: BuildSettings,
    sources: Mapping[str, Source],
    ledger: Ledger,
    roles: Roles,
    choice: Choice,
    on_progress: OnProgress,
) -> None:
    """Write about the wanted points, and about the next ones in turn for those whose texts are rejected."""

    def write_photo(points: Sequence[BuiltRecord]) -> int:
        source, photo_id = points[0].photo_key
        facts = ledger.facts_of(source, photo_id)
        told = [(one, PointFacts.from_dict(facts[int(one.record_id.rpartition("/")[2])])) for one in points]
        rows = put_into_words(sources[source].photo_path(photo_id), told, roles, settings.dialects)
        ledger.keep_records((one.record_id, one.to_row(), rejected) for one, rejected in rows)
        return len(rows)

    while True:
        outcomes = ledger.outcomes()
        turns = choice.turns(outcomes)
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
