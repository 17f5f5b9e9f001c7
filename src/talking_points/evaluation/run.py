"""What `talking-points evaluate` runs: describers through localizers, beside their references, resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

import talking_points
from talking_points.dataset.selection import Selection
from talking_points.dataset.sources.loading import load_scenes, parse_sources
from talking_points.evaluation.answers import KeptAnswers, check_begun
from talking_points.evaluation.data import mean_training_point, read_samples, selected_samples
from talking_points.evaluation.metrics import mpck_difference, told_interval
from talking_points.evaluation.paper import PaperRow, beside_paper, rows_of
from talking_points.evaluation.protocol import (
    Points,
    Row,
    box_centres,
    breakdowns,
    check_asked,
    constant_points,
    named_shares,
    readable_texts,
    shuffled,
    style_panel,
    swapped,
    true_points,
)
from talking_points.evaluation.report import skipped_said, write_report
from talking_points.evaluation.samples import Sample, drawn_evenly
from talking_points.evaluation.sets import CROSS_PHOTO, SETS, labelled_points, make_set
from talking_points.evaluation.settings import EvaluationSettings
from talking_points.evaluation.styles import styled_texts
from talking_points.evaluation.written import (
    EXPECTED,
    WrittenTexts,
    path_and_name,
    row_names,
    texts_of_data,
    texts_of_file,
)
from talking_points.files import sha256_of
from talking_points.model.roles import ROLES, role_missing
from talking_points.pointing.interfaces import Describer, Localizer
from talking_points.pointing.pretrained import find_model, stock_family
from talking_points.progress import OnNote, OnProgress, unheard

TRAINING_POINTS = "the mean point of the train split"
PHOTO_CENTRE = "the photo's centre, as there is no train split with such points"


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSet:
    """A named set of samples and the point that a constant would answer."""

    name: str
    samples: list[Sample]
    mean_unit: np.ndarray
    mean_of: str = TRAINING_POINTS
    """What the constant is; for the report."""
    skipped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By who skipped them, ids of samples that are therefore not among these."""
    whole: Sequence[Sample] = ()
    """With those that were skipped; empty: none was."""


def run(
    settings: EvaluationSettings, *, on_problem: OnNote = unheard, on_progress: OnProgress = unheard
) -> dict[str, Any]:
    """`evaluate` of what the settings name. on_problem: told of each sample that is passed over."""
    asked = settings.contestants(have_texts=True)
    check_models(settings.model, [name for names in asked for name in names])
    files = {name: texts_of_file(name) for name in settings.describer if name.startswith("file:")}
    problems: list[str] = []
    sets = sets_of_data(settings, problems.append) if settings.data else sets_of_sources(settings, on_progress)
    samples = [sample for one in sets for sample in one.samples]
    left_over = [note for written in files.values() for note in written.left_over(samples)]
    sets = [without_skipped(one, files) for one in sets]
    for problem in [
        *problems,
        *left_over,
        *(f"{one.name}: {skipped_said(one.skipped)}" for one in sets if one.skipped),
    ]:
        on_problem(problem)
    samples = [sample for one in sets for sample in one.samples]
    describers, localizers = settings.contestants(have_texts=all(sample.text is not None for sample in samples))
    called = row_names(describers)
    for written in files.values():
        written.expect_all(samples, EXPECTED)
    texts = {name: written.texts for name, written in files.items()}
    if "ground-truth" in describers:
        is_named = "ground-truth" in settings.describer
        asked_by = "--describer ground-truth" if is_named else f"--table {settings.table}"
        texts["ground-truth"] = texts_of_data(samples, asked_by).texts
    # Not at the top: torch takes seconds, and what is wrong with the data should be said at once.
    from talking_points.evaluation.contestants import hashes_of, open_contestants, short_name
    from talking_points.evaluation.differs import what_differs

    workers = settings.workers if settings.engine == "ray" else 0
    told: dict[str, Any] = {
        "model": settings.model,
        "quantize": settings.quantize,
        "style": settings.style,
        "split": settings.chosen_split,
        "only": str(_selection(settings)),
        "describers": describers,
        "localizers": localizers,
        "sha256": hashes_of(settings.model, [*describers, *localizers]),
    }
    if settings.cross_photo:
        told["cross_photo"] = True
    # Before a model is loaded, too.
    check_begun(settings.out, _made_of(sets, told, settings.seed))
    with open_contestants(settings, workers=workers) as named:
        return evaluate(
            sets,
            {called[name]: texts[name] if name in texts else named(name) for name in describers},
            {short_name(name): named(name) for name in localizers},
            settings.out,
            settings=told,
            seed=settings.seed,
            styles=settings.styles,
            table=() if settings.table is None else rows_of(settings.table, settings.objects),
            differs=[] if settings.table is None else what_differs(settings, describers, localizers, samples),
            problems=problems,
            on_progress=on_progress,
        )


_ROLES_OF = {"descriptor": ROLES[:1], "chosen": ROLES, "localizer": ROLES[1:], "blind": ROLES[1:]}


def check_models(model: str, names: Sequence[str]) -> None:
    """A ValueError where a describer's or localizer's model is unknown or has no such role, before data are read.

    Args:
        model: of those that name none.
        names: as `settings.DESCRIBERS` and `LOCALIZERS` have them.
    """
    find_model(model)
    for name in names:
        kind, _, where = name.partition(":")
        if kind == "endpoint":
            find_model(name)
        elif kind in _ROLES_OF:
            folder = find_model(where or model)
            ours = folder if isinstance(folder, Path) and stock_family(folder) is None else None
            if kind == "chosen" and ours is None:
                raise ValueError(f"{name} is of a checkpoint of ours; {where or model} gives each point one text")
            for role in _ROLES_OF[kind]:
                if ours is not None and not (ours / role).is_dir():
                    raise ValueError(role_missing(where or model, role))


def _made_of(sets: Sequence[SampleSet], settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """All that an evaluation's answers depend on, the data first."""
    whole = {one.name: one.whole or one.samples for one in sets}
    data = {
        one.name: {"samples": len(whole[one.name]), "sha256": _hash(whole[one.name]), "constant": one.mean_of}
        for one in sets
    }
    skipped = {one.name: dict(one.skipped) for one in sets if one.skipped}
    return {"data": data, **settings, "seed": seed, "skipped": skipped}


def _selection(settings: EvaluationSettings) -> Selection:
    return Selection(objects=settings.objects, parts=settings.parts)


def sets_of_sources(settings: EvaluationSettings, on_progress: OnProgress = unheard) -> list[SampleSet]:
    """Sets of part-labelled photos, a ValueError without any; the constant is the mean point of the train split."""
    sources, selection, split = parse_sources(settings.source), _selection(settings), settings.chosen_split
    scenes = load_scenes(sources, split, selection, on_progress=on_progress)

    def told(stage: str, done: int, total: int) -> None:
        on_progress(f"{stage} (for the constant: the mean of its points)", done, total)

    mean_unit = labelled_points(load_scenes(sources, "train", selection, on_progress=told)).mean(0)
    made = []
    for name in settings.sets or (CROSS_PHOTO if settings.cross_photo else SETS):
        samples = make_set(name, scenes, points=settings.points, seed=settings.seed)
        if not samples:
            raise ValueError(f"the {split} split has no labelled part to draw a point in")
        if settings.limit is not None:
            samples = drawn_evenly(samples, settings.limit, settings.seed)
        made.append(SampleSet(name=name, samples=samples, mean_unit=mean_unit))
    return made


def sets_of_data(settings: EvaluationSettings, on_problem: Callable[[str], None]) -> list[SampleSet]:
    """Sets read from files; the constant is the mean point of a set's train split, and the photo's centre without one.

    on_problem: told of each sample that is passed over.
    """
    selection, sets = _selection(settings), []
    for path in settings.data:
        samples = read_samples(
            path,
            settings.chosen_split,
            on_problem,
            cross_photo=settings.cross_photo,
            fields=settings.named_fields,
        )
        samples = selected_samples(samples, selection, str(path))
        if settings.limit is not None:
            samples = drawn_evenly(samples, settings.limit, settings.seed)
        mean_unit = mean_training_point(path, selection)
        mean_of = PHOTO_CENTRE if mean_unit is None else TRAINING_POINTS
        mean_unit = np.array([0.5, 0.5]) if mean_unit is None else mean_unit
        sets.append(SampleSet(name=path.name, samples=samples, mean_unit=mean_unit, mean_of=mean_of))
    if len({one.name for one in sets}) < len(sets):
        raise ValueError("two --data have the same name; rename one")
    # Texts are looked up by id, and most sets count their lines from 1.
    counts = Counter(sample.sample_id for one in sets for sample in one.samples)
    if max(counts.values()) == 1:
        return sets
    return [
        replace(one, samples=[replace(s, sample_id=f"{one.name} {s.sample_id}") for s in one.samples]) for one in sets
    ]


def without_skipped(one: SampleSet, files: Mapping[str, WrittenTexts]) -> SampleSet:
    """A set without the samples that somebody who was to describe them skipped, so that all rows are of the same.

    files: texts by their describer.

    Raises:
        ValueError: no sample is left.
    """
    ids = [sample.sample_id for sample in one.samples]
    of_all = {path_and_name(name)[1]: [i for i in ids if i in written.skipped] for name, written in files.items()}
    skipped = {who: some for who, some in of_all.items() if some}
    left_out = set().union(*skipped.values())
    samples = [sample for sample in one.samples if sample.sample_id not in left_out]
    if not samples:
        raise ValueError(f"{one.name} has nothing to score: {skipped_said(skipped)}")
    return replace(one, samples=samples, skipped=skipped, whole=one.samples)


def evaluate(
    sets: Sequence[SampleSet],
    describers: Mapping[str, Describer | Mapping[str, str]],
    localizers: Mapping[str, Localizer],
    out: Path,
    *,
    settings: Mapping[str, Any],
    seed: int,
    styles: bool = False,
    table: Sequence[PaperRow] = (),
    differs: Sequence[Mapping[str, str]] = (),
    problems: Sequence[str] = (),
    on_progress: OnProgress = unheard,
) -> dict[str, Any]:
    """Score every describer through every localizer, and the references that show what a score is worth.

    Args:
        sets: what is scored.
        describers: by name; a mapping of sample ids to texts for what is written already.
        localizers: by name. The first one also judges the texts of other samples.
        out: gets `answers.jsonl` as the work goes on, then the files of `write_report`.
        settings: model, split and the like, for the report; a run with other settings is refused there.
        seed: of the shuffling.
        styles: whether every describer's texts are scored in other styles, too.
        table: rows of the paper, which the report then holds beside ours.
        differs: in what ours are not the paper's, for the report (`differs.what_differs`).
        problems: samples that were passed over, for the report.
        on_progress: told set and contestants, samples done and their number.

    Returns:
        The report.

    Raises:
        ValueError: `out` holds an evaluation of anything else, or a text cannot be read; says which.
    """
    made_of = _made_of(sets, settings, seed)
    with KeptAnswers(out, made_of, on_progress) as answers:
        rows = [row for one in sets for row in _rows(one, describers, localizers, answers, seed, styles)]
    problems = [*problems, *(_nothing_read(row) for row in rows if not row.read.any())]
    rows = [row for row in rows if row.read.any()]
    of_set = {one.name: [row for row in rows if row.set_name == one.name] for one in sets}
    as_written = {name: [row for row in some if row.as_written] for name, some in of_set.items()}
    of_files = [name for name, one in describers.items() if isinstance(one, Mapping) and name != "ground-truth"]
    beside = [beside_paper(table, some, of_files=of_files) for some in of_set.values()]
    report = {
        **settings,
        "seed": seed,
        "versions": versions(),
        "data": made_of["data"],
        "passed_over": list(problems),
        "skipped": made_of["skipped"],
        "rows": [row.summary() for row in rows],
        "differences": [difference for some in as_written.values() for difference in _differences(some)],
        "checks": {name: _checks(some) for name, some in of_set.items()},
        "texts": {
            name: {row.describer: named_shares(row.samples, row.texts) for row in some}
            for name, some in as_written.items()
        },
        "breakdowns": {
            name: {f"{row.describer} -> {row.localizer}": breakdowns(row) for row in some}
            for name, some in as_written.items()
        },
        "styles": {name: style_panel(some) for name, some in of_set.items()} if styles else {},
        "paper": [row for some, _ in beside for row in some],
        "paper_gains": [gain for _, some in beside for gain in some],
        "differs": list(differs),
    }
    write_report(out, report, rows)
    return report


def versions() -> dict[str, str]:
    """Of what takes part in a run, for its report."""
    libraries = {name: version(name) for name in ("torch", "transformers")}
    return {"talking_points": talking_points.__version__, **libraries, "python": python_version()}


def _rows(
    one: SampleSet,
    describers: Mapping[str, Describer | Mapping[str, str]],
    localizers: Mapping[str, Localizer],
    answers: KeptAnswers,
    seed: int,
    styles: bool,
) -> list[Row]:
    """Every describer through every localizer on one set, then the references."""
    samples, true = one.samples, true_points(one.samples)
    rows: list[Row] = []

    def add(describer: str, localizer: str, texts: list[str], found_px: Points, **more: Any) -> None:
        known: dict[str, Any] = {"true_px": true, "set_name": one.name, "samples": samples} | more
        rows.append(Row(describer=describer, localizer=localizer, texts=texts, found_px=found_px, **known))

    def ask(describer: str, localizer: str, texts: list[str], style: str = "", **more: Any) -> None:
        stage = f"{one.name} {describer}{f' ({style})' if style else ''} -> {localizer}"
        readable = readable_texts(stage, localizers[localizer], texts)
        found = answers.points(stage, localizers[localizer], samples, readable)
        more |= {"there": found.there, "unreadable": found.unreadable}
        add(describer, localizer, texts, found.points_px, style=style, **more)

    # What is written already, before others are asked to describe, which may take hours.
    written = {name: some for name, some in describers.items() if isinstance(some, Mapping)}
    for name, texts_of in written.items():
        for finder in localizers.values():
            where = one.name if name == "ground-truth" else name
            check_asked(where, finder, samples, [texts_of[s.sample_id] for s in samples])
    said: dict[str, list[str]] = {}
    for name, describer in describers.items():
        if isinstance(describer, Mapping):
            said[name] = [describer[s.sample_id] for s in samples]
        else:
            said[name] = answers.texts(f"{one.name} {name}", describer, samples)
    styled = {
        name: styled_texts(samples, texts, written=name == "ground-truth", seed=seed)
        for name, texts in said.items()
        if styles
    }
    for localizer in localizers:
        for name, texts in said.items():
            ask(name, localizer, texts)
            for style, reworded in styled.get(name, {}).items():
                ask(name, localizer, reworded, style)
    # One photo cannot be told from another, and a part without a box has no centre: such rows would say nothing.
    if said and localizers and len({s.photo_id for s in samples}) > 1:
        judge = next(iter(localizers))
        lent = said.get("ground-truth", next(iter(said.values())))
        others = swapped(samples, seed=seed)
        # Swapped texts are scored against the point they are about, carried over; shuffled ones against this one.
        carried = np.array([samples[k].point_unit for k in others]) * np.array([s.size_wh for s in samples], float)
        ask("swapped-photo", judge, [lent[k] for k in others], true_px=carried)
        ask("shuffled", judge, [lent[k] for k in shuffled(samples, seed=seed)])
    empty = [""] * len(samples)
    centres = box_centres(samples)
    if not np.isnan(centres).all():
        # A part without a known box says nothing of what boxes are worth.
        add("none", "box-centre", empty, centres, unreadable=np.isnan(centres).any(axis=1))
    add("none", "constant", empty, constant_points(samples, one.mean_unit))
    add("none", "oracle", empty, true)
    return rows


def _nothing_read(row: Row) -> str:
    return (
        f"{row.set_name}, {row.describer} -> {row.localizer}: none of its {len(row.samples)} answers could be read, so "
        "there is no row of it; `talking-points check-model` says which --style to set"
    )


def _differences(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What looking is worth (against the blind localizer), and what each describer loses to the first."""
    of = {(row.describer, row.localizer): row for row in rows}
    describers, localizers = (list(dict.fromkeys(pair[side] for pair in of)) for side in (0, 1))
    pairs = [((d, localizers[0]), (d, "blind")) for d in describers if "blind" in localizers[1:]]
    pairs += [((d, judge), (describers[0], judge)) for d in describers[1:] for judge in localizers]
    found = []
    for one, other in pairs:
        if one not in of or other not in of:
            continue
        both = of[one].read & of[other].read
        if not both.any():
            continue
        first, second = of[one].only(both), of[other].only(both)
        mpck, *interval = mpck_difference(first.errors, second.errors, first.photos)
        names = {"set": of[one].set_name, "row": list(one), "against": list(other)}
        found.append({**names, "mpck": round(mpck, 2), "mpck_ci": told_interval(*interval)})
    return found


def _checks(rows: Sequence[Row]) -> dict[str, Any]:
    """Whether photos and texts are paired as they should: true points score 100, other samples' texts far less."""
    of = {(row.describer, row.localizer): row for row in rows if not row.style}
    oracle = of["none", "oracle"].summary()["mpck"]
    checks: dict[str, Any] = {"oracle_mpck": oracle, "passed": oracle == 100.0}
    mixed = next((row for row in rows if row.describer == "shuffled"), None)
    if mixed is not None:
        judged = [row for row in rows if row.localizer == mixed.localizer and not row.style]
        first = next((row for row in judged if row.describer == "ground-truth"), judged[0])
        both = first.read & mixed.read
        if not both.any():
            return checks
        right, wrong = first.only(both), mixed.only(both)
        difference, low, high = mpck_difference(right.errors, wrong.errors, right.photos)
        checks |= {
            "texts_of": first.describer,
            "photos": len(set(right.photos)),
            "shuffled_mpck": mixed.summary()["mpck"],
            "constant_mpck": of["none", "constant"].summary()["mpck"],
            "lost_by_shuffling": round(difference, 2),
            "lost_by_shuffling_ci": told_interval(low, high),
            "passed": checks["passed"] and low > 0,
        }
    return checks


def _hash(samples: Sequence[Sample]) -> str:
    """Of ids, points and texts, and of which other photo's point is described: equal for equal data."""
    content = [
        (s.sample_id, s.photo_id, s.size_wh, s.point_px, s.text, *([s.described.sample_id] if s.described else []))
        for s in samples
    ]
    return sha256_of(content)[:16]
