"""Building a set of image, point and text triplets from part-labelled photos, stage by stage, resumable.

Scan every photo (`scan`), leave out look-alikes of later splits (`other_splits`), put points in order over all photos
(`choosing`), put them into words until there are enough (`language`), divide photos into train and test
(`splits`), write the set (`parquet`, `card`). What a stage found is in the
ledger before the next one uses it: a build that is killed and started again with the same settings gives the same
bytes as one that was not.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import talking_points
from talking_points.dataset.audit import read_audit, write_audit
from talking_points.dataset.choosing import ChosenPoint, Pool, kept_of, pools
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.grammar import write_relations
from talking_points.dataset.language import (
    DescriptorDescriber,
    EndpointDescriber,
    EndpointWriter,
    PhotoDescriber,
    PointTask,
    Refusal,
    RuleDescriber,
    RuleWriter,
    Writer,
    prompts_sha256,
)
from talking_points.dataset.look_alikes import same_shots, text_to_thumb, thumb_to_text
from talking_points.dataset.other_splits import OtherPhoto, look_alikes_of, protected_sources, thumbnail_or_none
from talking_points.dataset.parquet import write_split
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scan import (
    ENGINES,
    NO_LABEL,
    NO_POINT,
    NO_TEXTURE,
    ONLY_NOTED,
    Engine,
    ScanSettings,
    scan_photos,
    seed_of,
)
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.source import Source
from talking_points.dataset.splits import (
    PAPER_RECORDS,
    PAPER_TEST_SHARE,
    PhotoKey,
    assign_splits,
)
from talking_points.endpoint import Budget, Endpoint, EndpointConfig
from talking_points.journal import LEDGER_NAME, Ledger, Spent
from talking_points.photos import open_photo
from talking_points.records import BuiltRecord

OnProgress = Callable[[str, int, int], None]
"""Called with the stage's name, how many things are done, and how many there are."""

MOST_LEFT_OUT = 1000
"""So many annotations that were left out are listed in the report; all are counted."""
ALL_KEPT = "each photo is in a later split of the sources, too; all were kept: measure on other photos"
THUMBS_AT_ONCE = 64
"""Of other splits' photos, kept together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointOptions:
    """How endpoints are asked; none of this changes what a finished answer says."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key."""
    timeout_s: float = 120.0
    concurrency: int = 8
    """Photos whose points are asked about at the same time."""
    attempts: int = 6
    backoff_s: float = 1.0
    max_requests: int | None = None
    """Budget over all runs of this build; None is no limit."""
    max_tokens: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """What to build. Values are the paper's unless marked ours."""

    sources: Mapping[str, Path]
    """Name, a key of `sources.SOURCES`, to the dataset's folder."""
    out: Path
    split: str = "train"
    """Of the sources' photos: "train", "val" or "test". Ours."""
    seed: int = 0
    records: int = PAPER_RECORDS
    """At most so many with good texts; 17K + 4K. Named keypoints, which get none, are all taken, and do not count."""
    equal_shares: bool = True
    """As many records of each source as of the one that gives the fewest; else all that there are. Counted are those
    whose texts are good: for a rejected one, the next point of its source has its turn."""
    balance: bool = True
    """Points even over objects and parts; else chance among all points of a source."""
    test_share: float = PAPER_TEST_SHARE
    """Share of the records that become the set's own test split, by photo."""
    points_per_photo: int = 1
    """At most. The paper takes the one with the highest response."""
    per_part: int = 1
    """At most, of the points of a photo. Ours."""
    smooth_share: float = 0.0
    """Share of the points that lie on surfaces without texture, where SIFT finds nothing."""
    dialects: tuple[str, ...] = ("paper",)
    """Ways of writing, keys of `relations.DIALECTS`; of several, each record gets one."""
    object_describer: str = "rules"
    """"rules", "endpoint:URL,MODEL" or "descriptor:NAME"; so is the next."""
    local_describer: str = "rules"
    writer: str = "rules"
    """"rules" or "endpoint:URL,MODEL"."""
    endpoint_photo_side_px: int = 1024
    """Photos are sent to endpoints scaled down to at most this long side."""
    embed_photos: bool = True
    """Put the photos' files into the Parquet files; else their paths."""
    skip_bad: bool = False
    """Pass over photos that cannot be read, and list them in the report, instead of ending with an error."""
    workers: int = 1
    engine: Engine = "local"
    endpoint: EndpointOptions = field(default_factory=EndpointOptions)
    audit_share: float | None = None
    """Write a page of this share of the test split for a person to check. The paper's is 0.05."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("give at least one source, as in --source label-map=DIR")
        for name in ("records", "points_per_photo", "per_part", "workers", "endpoint_photo_side_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("test_share", "smooth_share", "audit_share"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if not self.dialects:
            raise ValueError(f"give at least one dialect of {', '.join(DIALECTS)}")
        for dialect in self.dialects:
            if dialect not in DIALECTS:
                raise ValueError(f'unknown dialect "{dialect}"; known are {", ".join(DIALECTS)}')
        if self.engine not in ENGINES:
            raise ValueError(f'engine must be one of {", ".join(ENGINES)}, got "{self.engine}"')
        if self.endpoint.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, got {self.endpoint.concurrency}")
        for role in ("object_describer", "local_describer", "writer"):
            self.role(role)

    def role(self, role: str) -> str | EndpointConfig:
        """Who fills a role: "rules", "descriptor:NAME", or how to reach a model.

        Raises:
            ValueError: the setting is none of these.
        """
        setting: str = getattr(self, role)
        kind, _, rest = setting.partition(":")
        if setting == "rules" or (kind == "descriptor" and rest and role != "writer"):
            return setting
        if kind == "endpoint":
            url, comma, model = rest.rpartition(",")
            if not comma:
                raise ValueError(
                    f"{role} {kind} needs an address and a model, as in endpoint:http://host:8000/v1,MODEL"
                )
            return EndpointConfig(
                url=url.strip(),
                model=model.strip(),
                api_key_env=self.endpoint.api_key_env,
                timeout_s=self.endpoint.timeout_s,
                attempts=self.endpoint.attempts,
                backoff_s=self.endpoint.backoff_s,
                photo_side_px=self.endpoint_photo_side_px,
            )
        allowed = "rules, endpoint:URL,MODEL" + ("" if role == "writer" else " or descriptor:NAME")
        raise ValueError(f'{role} is "{setting}", expected {allowed}')

    def settings(self) -> dict[str, Any]:
        """All that the finished set depends on; another run in the same folder must agree on it."""
        roles: dict[str, Any] = {"prompts_sha256": None}
        for role in ("object_describer", "local_describer", "writer"):
            who = self.role(role)
            # The model and not the address: a server may come back elsewhere.
            roles[role] = f"endpoint:{who.model}" if isinstance(who, EndpointConfig) else who
            if isinstance(who, EndpointConfig):
                roles["prompts_sha256"] = prompts_sha256()
        return {
            "sources": {name: str(folder.resolve()) for name, folder in self.sources.items()},
            **{name: getattr(self, name) for name in ("split", "seed", "records", "equal_shares", "balance")},
            "test_share": self.test_share,
            **{name: getattr(self, name) for name in ("points_per_photo", "per_part", "smooth_share", "embed_photos")},
            "dialects": list(self.dialects),
            **roles,
            "endpoint_photo_side_px": self.endpoint_photo_side_px,
            "version": talking_points.__version__,
        }


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
    left_out: list[dict[str, str]] = field(default_factory=list)
    """Annotations that cannot be read, the first `MOST_LEFT_OUT`: file, record, problem and remedy of each."""
    left_out_count: int = 0
    """All of them."""
    notes: dict[str, int] = field(default_factory=dict)
    """What was assumed, or left out as it should be, and how often: "a crowd region"."""

    @property
    def total(self) -> int:
        """Kept records."""
        return sum(sum(counts.values()) for counts in self.kept.values())


def build(config: BuildConfig, on_progress: OnProgress = lambda stage, done, total: None) -> BuildReport:
    """Build a set into `config.out`, or go on with one that was begun there.

    Writes data/*.parquet, README.md (the dataset card), figures/, report.json, rejected.jsonl, and the ledger.

    Raises:
        ValueError, FileNotFoundError: a source or a photo is bad (see `skip_bad`), nothing can be built from them, or
            the folder was begun with other settings.
        OSError: the disk is full, an endpoint is down for good or the budget is spent; the same call goes on later.
    """
    sources = {name: open_source(name, folder, config.split) for name, folder in config.sources.items()}
    config.out.mkdir(parents=True, exist_ok=True)
    if any(config.out.iterdir()) and not (config.out / LEDGER_NAME).is_file():
        # What lies there is somebody's; the set's own files would be written over it.
        raise ValueError(f"{config.out} is not empty and holds no build that was begun: give a new folder as --out")
    with _disk_full_explained(config.out), Ledger(config.out) as ledger:
        ledger.keep_settings(config.settings())
        # Before the scan, which takes long: a model that cannot be loaded is reported at once.
        describers, writer, endpoints = _roles(config, ledger)
        _scan(config, sources, ledger, on_progress)
        alike = _look(config, ledger, on_progress)
        choice = choose_points(config, ledger, alike)
        _write_texts(choice, _TextStage(config, sources, ledger, describers, writer, endpoints), ledger, on_progress)
        return _finish(config, sources, ledger, alike, choice, on_progress)


@contextmanager
def _disk_full_explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(f"the disk of {out} is full; what is finished is kept: make room and start again") from None
        raise


def _roles(config: BuildConfig, ledger: Ledger) -> tuple[dict[str, PhotoDescriber], Writer, list[Endpoint]]:
    budget = Budget(
        max_requests=config.endpoint.max_requests, max_tokens=config.endpoint.max_tokens, spent=ledger.spent()
    )
    endpoints: dict[EndpointConfig, Endpoint] = {}

    def endpoint_of(who: EndpointConfig) -> Endpoint:
        return endpoints.setdefault(who, Endpoint(who, ledger, budget))

    describers: dict[str, PhotoDescriber] = {}
    for level in ("object", "local"):
        who = config.role(f"{level}_describer")
        if isinstance(who, EndpointConfig):
            describers[level] = EndpointDescriber(level, endpoint_of(who))
        elif who == "rules":
            describers[level] = RuleDescriber(level)
        else:
            name = who.removeprefix("descriptor:")
            describers[level] = DescriptorDescriber.from_pretrained(level, name)
    who = config.role("writer")
    writer: Writer
    if isinstance(who, EndpointConfig):
        writer = EndpointWriter(endpoint_of(who))
    else:
        writer = RuleWriter(describers_are_rules=all(one.name == "rules" for one in describers.values()))
    return describers, writer, list(endpoints.values())


def _scan(config: BuildConfig, sources: Mapping[str, Source], ledger: Ledger, on_progress: OnProgress) -> None:
    scanned = ledger.scanned()
    photos = [(name, photo_id) for name in sorted(sources) for photo_id in sources[name].photo_ids]
    # Those that gave nothing are looked at again: somebody may have mended their labels.
    again = {(name, photo_id) for name, photo_id, _ in ledger.skipped()}
    missing = [key for key in photos if key not in scanned or key in again]
    settings = ScanSettings(
        points_per_photo=config.points_per_photo,
        per_part=config.per_part,
        smooth_share=config.smooth_share,
        seed=config.seed,
    )
    done = len(photos) - len(missing)
    on_progress("photos", done, len(photos))
    for scan in scan_photos(sources, missing, settings, workers=config.workers, engine=config.engine):
        if scan.bad is not None and not config.skip_bad:
            raise ValueError(f"{scan.bad}; mend or remove it, or pass over such photos with --skip-bad")
        ledger.keep_photo(scan.source, scan.photo_id, scan.content, scan.facts, skipped=scan.bad or scan.empty)
        done += 1
        on_progress("photos", done, len(photos))


@dataclass(frozen=True, kw_only=True, slots=True)
class LookAlikes:
    """Which of the scanned photos are the same shot as another."""

    groups: list[list[PhotoKey]]
    """Of the photos that may be used: those that are one shot, together."""
    left_out: dict[PhotoKey, str]
    """Photos that look like one of a later split, and which one."""
    unchecked: list[str]
    """Later splits that are not there; and that all photos were kept, where each is in a later split, too."""


def _look(config: BuildConfig, ledger: Ledger, on_progress: OnProgress) -> LookAlikes:
    """Compare all scanned photos with each other and with those of later splits; done once, and noted."""
    opened, missing = protected_sources(config.sources, config.split)
    wanted = [(name, split, one) for (name, split), source in sorted(opened.items()) for one in source.photo_ids]
    known = ledger.thumbs()
    left = [photo for photo in wanted if photo not in known]
    done = len(wanted) - len(left)
    for start in range(0, len(left), THUMBS_AT_ONCE):
        on_progress("look-alikes", done + start, len(wanted))
        some = left[start : start + THUMBS_AT_ONCE]
        seen = [thumbnail_or_none(opened[name, split].photo_path(photo_id)) for name, split, photo_id in some]
        texts = [None if thumb is None else thumb_to_text(thumb) for thumb in seen]
        ledger.keep_thumbs((*photo, text) for photo, text in zip(some, texts, strict=True))
    known = ledger.thumbs()
    others: dict[OtherPhoto, str] = {photo: text for photo in wanted if (text := known[photo]) is not None}
    own = {(source, photo_id): str(content["thumb"]) for source, photo_id, content in ledger.photos()}
    # Photos may have been added or mended since.
    of = hashlib.sha256(json.dumps([sorted(own.items()), sorted(others.items())]).encode()).hexdigest()
    noted = ledger.note("look-alikes")
    if noted is None or noted["of"] != of:
        thumbs = {key: text_to_thumb(text) for key, text in own.items()}
        left_out = look_alikes_of(thumbs, {photo: text_to_thumb(text) for photo, text in others.items()})
        kept_all = bool(left_out) and left_out.keys() == thumbs.keys()
        if kept_all:
            # Nothing would be left: whoever laid out the folder meant these photos to be used.
            left_out = {}
        keys = sorted(thumbs.keys() - left_out.keys())
        groups = [[keys[index] for index in group] for group in same_shots([thumbs[key] for key in keys])]
        noted = {"of": of, "left_out": [[*key, why] for key, why in sorted(left_out.items())], "groups": groups}
        noted["kept_all"] = kept_all
        ledger.keep_note("look-alikes", noted)
    on_progress("look-alikes", len(wanted), len(wanted))
    return LookAlikes(
        groups=[[(source, photo_id) for source, photo_id in group] for group in noted["groups"]],
        left_out={(source, photo_id): why for source, photo_id, why in noted["left_out"]},
        unchecked=[
            *(f"none sought in {one.source} {one.split}: {one.reason}" for one in missing),
            *([ALL_KEPT] if noted["kept_all"] else []),
        ],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The points that may become records."""

    named: list[ChosenPoint]
    """Keypoints that the source names, which are all taken."""
    pools: list[Pool]
    """The others."""

    @property
    def total(self) -> int:
        """All points that were found, in photos that may be used."""
        return len(self.named) + sum(len(pool.points) for pool in self.pools)

    def turns(self, outcomes: Mapping[str, str | None]) -> list[ChosenPoint]:
        """The points that are to be written, by what is known of those that are."""
        return [*self.named, *(one for pool in self.pools for one in pool.turns(outcomes))]


def choose_points(config: BuildConfig, ledger: Ledger, alike: LookAlikes) -> Choice:
    """Put all scanned points in order; a function of the ledger and the settings alone.

    Raises:
        ValueError: no photo has a point.
    """
    found: list[ChosenPoint] = []
    for source, photo_id, content in ledger.photos():
        if (source, photo_id) in alike.left_out:
            continue
        for number, one in enumerate(content["points"]):
            point = {**one, "size_wh": content["size_wh"]}
            record_id = f"{source}/{photo_id}/{number:03d}"
            found.append(ChosenPoint(record_id=record_id, photo=(source, photo_id), number=number, point=point))
    if not found:
        raise ValueError(_no_photo_has_a_point(ledger.skipped()))
    return Choice(
        named=[one for one in found if one.point["kind"] == "named"],
        pools=pools(
            [one for one in found if one.point["kind"] != "named"],
            records=config.records,
            equal_shares=config.equal_shares,
            balance=config.balance,
            seed=config.seed,
        ),
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


def _write_texts(choice: Choice, stage: _TextStage, ledger: Ledger, on_progress: OnProgress) -> None:
    """Write about the wanted points, and about the next ones in turn for those whose texts are rejected."""
    while True:
        outcomes = ledger.outcomes()
        turns = choice.turns(outcomes)
        missing = [one for one in turns if one.record_id not in outcomes]
        on_progress("texts", len(turns) - len(missing), len(turns))
        if not missing:
            return
        stage.run(missing, len(turns), on_progress)


class _TextStage:
    """Puts chosen points into words, photo by photo; several at once where endpoints are waited for."""

    def __init__(
        self,
        config: BuildConfig,
        sources: Mapping[str, Source],
        ledger: Ledger,
        describers: Mapping[str, PhotoDescriber],
        writer: Writer,
        endpoints: Sequence[Endpoint],
    ) -> None:
        self.config = config
        self.sources = sources
        self.ledger = ledger
        self.describers = describers
        self.writer = writer
        self.endpoints = endpoints
        self.prompts = prompts_sha256() if endpoints else None

    def run(self, points: Sequence[ChosenPoint], total: int, on_progress: OnProgress) -> None:
        """Write about points that are not written yet; `total` is told with those that are."""
        done = total - len(points)
        missing: dict[PhotoKey, list[ChosenPoint]] = defaultdict(list)
        for one in sorted(points, key=lambda one: (one.photo, one.number)):
            missing[one.photo].append(one)
        threads = self.config.endpoint.concurrency if self.endpoints else 1
        if threads == 1:
            for key, points in missing.items():
                self._write_photo(key, points)
                done += len(points)
                on_progress("texts", done, total)
            return
        with ThreadPoolExecutor(threads) as pool:
            futures = {pool.submit(self._write_photo, key, points): len(points) for key, points in missing.items()}
            waiting = set(futures)
            try:
                while waiting:
                    ready, waiting = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
                    for future in ready:
                        future.result()
                        done += futures[future]
                    on_progress("texts", done, total)
            except BaseException:
                # The pool waits for what is running; that must not begin another round of attempts.
                for endpoint in self.endpoints:
                    endpoint.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _write_photo(self, key: PhotoKey, points: Sequence[ChosenPoint]) -> None:
        source, photo_id = key
        path = self.sources[source].photo_path(photo_id)
        facts = self.ledger.facts_of(source, photo_id)
        described = [one for one in points if facts[one.number] is not None]
        tasks = [self._task(one, PointFacts.from_dict(facts[one.number])) for one in described]

        @cache
        def opened() -> Image.Image:
            return open_photo(path)

        texts: dict[str, dict[str, Any]] = {}
        if tasks:
            objects = self.describers["object"].describe(opened, tasks)
            locals_ = self.describers["local"].describe(opened, tasks)
            for task, of_object, of_point in zip(tasks, objects, locals_, strict=True):
                texts[task.record_id] = self._text(task, of_object, of_point)
        rows = []
        for one in points:
            content = {**one.point, "source": source, "photo_id": photo_id, **texts.get(one.record_id, {})}
            rows.append((one.record_id, content, content.pop("rejected", None)))
        self.ledger.keep_records(rows)

    def _task(self, one: ChosenPoint, facts: PointFacts) -> PointTask:
        seed = seed_of(one.record_id, self.config.seed)
        dialect = DIALECTS[self.config.dialects[seed % len(self.config.dialects)]]
        relations = write_relations(facts, dialect, np.random.default_rng([seed, 0]))
        return PointTask(record_id=one.record_id, facts=facts, dialect=dialect, relations=relations, seed=seed)

    def _text(self, task: PointTask, of_object: str | Refusal, of_point: str | Refusal) -> dict[str, Any]:
        content = {
            "relations": task.relations,
            "object_description": of_object if isinstance(of_object, str) else "",
            "local_description": of_point if isinstance(of_point, str) else "",
            "dialect": task.dialect.name,
            "object_describer": self.describers["object"].name,
            "local_describer": self.describers["local"].name,
            "writer": self.writer.name,
            "prompts_sha256": self.prompts,
        }
        for said in (of_object, of_point):
            if isinstance(said, Refusal):
                return content | {"draft": "", "text": "", "rejected": said.reason}
        written = self.writer.write(task, content["object_description"] or "", content["local_description"] or "")
        return content | {"draft": written.draft, "text": written.text, "rejected": written.rejected}


def _finish(
    config: BuildConfig,
    sources: Mapping[str, Source],
    ledger: Ledger,
    alike: LookAlikes,
    choice: Choice,
    on_progress: OnProgress,
) -> BuildReport:
    """Write everything that people see, from the ledger."""
    # Not at the top: matplotlib takes a while, and bad settings should be reported at once.
    from talking_points.dataset.card import write_card

    out = config.out
    outcomes = ledger.outcomes()
    written = {one.record_id: one for one in choice.turns(outcomes)}
    kept_ids = {one.record_id for one in choice.named} | kept_of(choice.pools, outcomes)
    splits = _splits(config, alike, [one.photo for one in written.values() if one.record_id in kept_ids])
    kept: list[BuiltRecord] = []
    rejected: list[dict[str, Any]] = []
    photo_files: dict[str, Path] = {}
    for record_id, content, reason in ledger.records():
        # Others were written for an equal share that another source could not give in the end.
        if record_id not in written or (reason is None and record_id not in kept_ids):
            continue
        key = (content["source"], content["photo_id"])
        path = sources[key[0]].photo_path(key[1])
        # The id and not the file's name: two folders of a source may hold files of one name.
        shown_path = f"{key[0]}/{key[1]}{path.suffix}" if config.embed_photos else str(path.resolve())
        photo_files[shown_path] = path
        if reason is None:
            kept.append(_built_record(record_id, content, splits[key], shown_path, config.seed))
        else:
            rejected.append({"record_id": record_id, "reason": reason, **content})

    def read_photo(record: BuiltRecord) -> bytes:
        return photo_files[record.photo_path].read_bytes()

    _write_parquet(config, ledger, kept, read_photo if config.embed_photos else None, on_progress)
    counts: dict[str, dict[str, int]] = {}
    for split in ("train", "test"):
        of_split = Counter(record.source for record in kept if record.split == split)
        if of_split:
            counts[split] = dict(sorted(of_split.items()))
    left_out, notes = _left_out(sources, ledger)
    report = BuildReport(
        kept=counts,
        rejected=dict(sorted(Counter(one["reason"] for one in rejected).items())),
        skipped=sorted([*ledger.skipped(), *((*key, why) for key, why in alike.left_out.items())]),
        unchecked=alike.unchecked,
        not_chosen=choice.total - len(kept) - len(rejected),
        spent=ledger.spent(),
        left_out=left_out[:MOST_LEFT_OUT],
        left_out_count=len(left_out),
        notes=notes,
    )
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rejected)
    _write_whole(out / "rejected.jsonl", lines)
    _write_whole(out / "report.json", json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n")
    if config.audit_share is not None:
        write_audit(out, kept, read_photo, share=config.audit_share, seed=config.seed)
    write_card(out, kept, read_photo, report=asdict(report), settings=ledger.settings(), audit=read_audit(out))
    on_progress("files", 1, 1)
    return report


def _left_out(sources: Mapping[str, Source], ledger: Ledger) -> tuple[list[dict[str, str]], dict[str, int]]:
    """All annotations that were left out, of no photo first; and how often each note was made."""
    left_out = [asdict(problem) for name in sorted(sources) for problem in sources[name].problems]
    notes: Counter[str] = Counter()
    for content in ledger.contents():
        left_out += content.get("left_out", [])
        notes.update(content.get("notes", []))
    return left_out, dict(sorted(notes.items()))


def _splits(config: BuildConfig, alike: LookAlikes, photos: Iterable[PhotoKey]) -> dict[PhotoKey, str]:
    """The split of each photo that has a record. photos: one for each record."""
    counts = Counter(photos)
    groups = [[key for key in group if key in counts] for group in alike.groups]
    return assign_splits([one for one in groups if one], counts, test_share=config.test_share, seed=config.seed)


def _built_record(record_id: str, content: Mapping[str, Any], split: str, photo_path: str, seed: int) -> BuiltRecord:
    said = ("text", "draft", "relations", "object_description", "local_description", "dialect")
    by_whom = ("object_describer", "local_describer", "writer", "prompts_sha256")
    is_sift = content["kind"] == "sift"
    return BuiltRecord(
        record_id=record_id,
        photo_id=content["photo_id"],
        split=split,
        source=content["source"],
        photo_path=photo_path,
        size_wh=tuple(content["size_wh"]),
        point_px=(content["x"], content["y"]),
        object_name=content["object_name"],
        object_category=content["object_category"],
        object_box_xyxy=tuple(content["object_box"]),
        part_name=content["part_name"],
        part_box_xyxy=tuple(content["part_box"]) if content["part_box"] else None,
        point_kind=content["kind"],
        sift_response=content["response"] if is_sift else None,
        sift_scale_px=content["scale"] if is_sift else None,
        seed=seed,
        **{name: content.get(name) for name in (*said, *by_whom)},
    )


def _write_parquet(
    config: BuildConfig,
    ledger: Ledger,
    kept: Sequence[BuiltRecord],
    read_photo: Callable[[BuiltRecord], bytes] | None,
    on_progress: OnProgress,
) -> None:
    """Write the Parquet files, unless the ledger says that exactly these are there."""
    on_progress("files", 0, 1)
    content = hashlib.sha256(repr([kept, read_photo is not None]).encode()).hexdigest()
    data = config.out / "data"
    done = ledger.note("parquet")
    if done and done["content"] == content and done["files"] == _sizes(data):
        return
    for leftover in data.glob("*.parquet*"):
        leftover.unlink()
    for split in ("train", "test"):
        write_split(config.out, split, [one for one in kept if one.split == split], read_photo)
    ledger.keep_note("parquet", {"content": content, "files": _sizes(data)})


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*"))}


def _write_whole(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
