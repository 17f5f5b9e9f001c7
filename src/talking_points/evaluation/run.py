"""What `talking-points evaluate` runs: describers through localizers, beside their references, resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import talking_points
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.scene import Scene
from talking_points.dataset.selection import EVERYTHING, Selection
from talking_points.dataset.sources.loading import load_scenes
from talking_points.evaluation.answers import KeptAnswers, write_samples
from talking_points.evaluation.contestants import WrittenTexts
from talking_points.evaluation.data import mean_training_point, read_samples, selected_samples
from talking_points.evaluation.metrics import mpck_difference
from talking_points.evaluation.page import html_page
from talking_points.evaluation.paper import beside_paper
from talking_points.evaluation.protocol import (
    Points,
    Row,
    breakdowns,
    describe_samples,
    localize_texts,
    named_shares,
    style_panel,
)
from talking_points.evaluation.references import (
    box_centres,
    constant_points,
    shuffled,
    swapped,
    true_points,
)
from talking_points.evaluation.report import markdown_tables
from talking_points.evaluation.samples import Sample, by_photo, drawn_evenly
from talking_points.evaluation.sets import check_set, make_set
from talking_points.pointing.interfaces import Describer, Localizer
from talking_points.points import photo_to_unit

log = logging.getLogger(__name__)

PHOTOS_AT_ONCE = 64
"""Photos that are opened, described and searched together; what is kept when a run is killed."""
TRAINING_POINTS = "the mean point of the train split"
PHOTO_CENTRE = "the photo's centre, as there is no train split with such points"
BORROWED = ("shuffled", "swapped-photo")
"""Describers that take the text of another sample."""
Restyle = Callable[[str, Sequence[Sample], list[str]], Mapping[str, list[str]]]
"""A describer's name, the samples and its texts of them -> the texts in other styles, by style."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSet:
    """A named set of samples and the point that a constant would answer."""

    name: str
    samples: list[Sample]
    mean_unit: np.ndarray
    mean_of: str = TRAINING_POINTS
    """What the constant is; for the report."""


def sets_of_sources(
    sources: Mapping[str, Path],
    names: Sequence[str],
    *,
    split: str,
    points: int,
    seed: int,
    selection: Selection = EVERYTHING,
) -> list[SampleSet]:
    """Sets made from part-labelled photos; the constant is the mean point of their train split.

    Raises:
        ValueError: no such set, or the split has no labelled part.
    """
    for name in names:
        check_set(name)
    scenes = load_scenes(sources, split, selection)
    seen = load_scenes(sources, "train", selection)
    units = [photo_to_unit(drawn, s.size_wh) for s in seen if (drawn := _drawn_points(s))]
    mean_unit = np.concatenate(units).mean(0)
    made = [
        SampleSet(name=name, samples=make_set(name, scenes, points=points, seed=seed), mean_unit=mean_unit)
        for name in names
    ]
    for one in made:
        if not one.samples:
            raise ValueError(f"the {split} split has no labelled part to draw a point in")
    return made


def sets_of_data(
    paths: Sequence[Path],
    *,
    split: str,
    limit: int | None,
    seed: int,
    problems: list[str],
    cross_photo: bool = False,
    selection: Selection = EVERYTHING,
) -> list[SampleSet]:
    """Sets read from files; the constant is the mean point of a set's train split, and the photo's centre without one.

    Args:
        limit: samples of each set, at most, drawn as `drawn_evenly` does.
        seed: of that drawing.
        problems: gets a line for each sample that is passed over.
        cross_photo: as `data.read_samples` takes it.
    """
    sets = []
    for path in paths:
        read = read_samples(path, split, problems.append, cross_photo=cross_photo)
        samples = selected_samples(read, selection, str(path))
        if limit is not None:
            samples = drawn_evenly(samples, limit, seed)
        mean_unit = mean_training_point(path, selection)
        if mean_unit is None:
            one = SampleSet(name=path.name, samples=samples, mean_unit=np.array([0.5, 0.5]), mean_of=PHOTO_CENTRE)
        else:
            one = SampleSet(name=path.name, samples=samples, mean_unit=mean_unit)
        sets.append(one)
    if len({one.name for one in sets}) < len(sets):
        raise ValueError("two --data have the same name; rename one")
    return _told_apart(sets)


def _told_apart(sets: Sequence[SampleSet]) -> list[SampleSet]:
    """The sets with ids that no two samples share: texts are looked up by id. Most sets count their lines from 1."""
    counts = Counter(sample.sample_id for one in sets for sample in one.samples)
    if all(count == 1 for count in counts.values()):
        return list(sets)
    return [
        replace(one, samples=[replace(s, sample_id=f"{one.name} {s.sample_id}") for s in one.samples]) for one in sets
    ]


def _drawn_points(scene: Scene) -> list[tuple[float, float]]:
    rng = np.random.default_rng(0)
    return [(p.x, p.y) for p in sample_points(scene, 4, rng)] if scene.parts else []


def evaluate(
    sets: Sequence[SampleSet],
    describers: Mapping[str, Describer | WrittenTexts],
    localizers: Mapping[str, Localizer],
    out: Path,
    *,
    settings: Mapping[str, Any],
    seed: int,
    restyle: Restyle | None = None,
    table: str | None = None,
    problems: Sequence[str] = (),
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Score every describer through every localizer, and the references that show what a score is worth.

    Args:
        sets: what is scored.
        describers: by name; a mapping of sample ids to texts for what is written already.
        localizers: by name. The first one also judges the texts of other samples.
        out: gets `answers.jsonl` as the work goes on, then `report.json`, `report.md`, `report.html`
            and `samples.parquet`.
        settings: model, split and the like, for the report; a run with other settings does not resume this one.
        seed: of the shuffling.
        restyle: gives every describer's texts in other styles, which are scored beside them; None: as written alone.
        table: the paper's, whose rows the report then holds beside ours (`paper.TABLES`).
        problems: samples that were passed over, for the report.
        on_progress: told set, samples done and their number.

    Returns:
        The report.
    """
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        **settings,
        "seed": seed,
        "versions": versions(),
        "data": {
            one.name: {"samples": len(one.samples), "sha256": _hash(one.samples), "constant": one.mean_of}
            for one in sets
        },
        "passed_over": list(problems),
        "rows": [],
        "differences": [],
        "checks": {},
        "texts": {},
        "breakdowns": {},
        "styles": {},
    }
    key = json.dumps({name: report[name] for name in (*settings, "seed", "data")}, sort_keys=True)
    all_rows: list[Row] = []
    with KeptAnswers(out / "answers.jsonl", key) as answers:
        for one in sets:
            rows = _rows(one, describers, localizers, answers, seed, restyle, on_progress)
            report["rows"] += [row.summary() for row in rows]
            report["differences"] += _differences(rows)
            if restyle is not None:
                report["styles"][one.name] = style_panel(rows)
            report["checks"][one.name] = _checks(rows)
            texts = {row.describer: row.texts for row in rows if row.describer in describers}
            report["texts"][one.name] = {name: named_shares(one.samples, some) for name, some in texts.items()}
            report["breakdowns"][one.name] = {
                f"{row.describer} -> {row.localizer}": breakdowns(row)
                for row in rows
                if row.describer in describers and row.localizer in localizers and not row.style
            }
            all_rows += rows
    report["paper"] = beside_paper(table, report["rows"]) if table is not None else []
    write_samples(out / "samples.parquet", all_rows)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.md").write_text(markdown_tables(report))
    (out / "report.html").write_text(html_page(report, all_rows))
    return report


def versions() -> dict[str, str]:
    """Of what takes part in a run, for its report."""
    return {
        "talking_points": talking_points.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _rows(
    one: SampleSet,
    describers: Mapping[str, Describer | WrittenTexts],
    localizers: Mapping[str, Localizer],
    answers: KeptAnswers,
    seed: int,
    restyle: Restyle | None,
    on_progress: Callable[[str, int, int], None],
) -> list[Row]:
    samples = one.samples
    true = true_points(samples)
    texts = _texts(one, describers, answers, on_progress)
    styled = {} if restyle is None else {name: restyle(name, samples, said) for name, said in texts.items()}
    rows = []

    def add(
        describer: str, localizer: str, said: list[str], found_px: Points, true_px: Points = true, style: str = ""
    ) -> None:
        rows.append(
            Row(
                set_name=one.name,
                describer=describer,
                style=style,
                localizer=localizer,
                samples=samples,
                texts=said,
                found_px=found_px,
                true_px=true_px,
            )
        )

    for localizer, finder in localizers.items():
        for describer, said in texts.items():
            name = f"{one.name} {describer} -> {localizer}"
            add(describer, localizer, said, find_points(name, finder, samples, said, answers, on_progress))
            for style, reworded in styled.get(describer, {}).items():
                name = f"{one.name} {describer} ({style}) -> {localizer}"
                found = find_points(name, finder, samples, reworded, answers, on_progress)
                add(describer, localizer, reworded, found, style=style)
    reference = "ground-truth" if "ground-truth" in texts else next(iter(texts), None)
    # One photo cannot be told from another, and a part without a box has no centre: such rows would say nothing.
    if reference is not None and localizers and len({s.photo_id for s in samples}) > 1:
        judge, finder = next(iter(localizers.items()))
        sizes = np.array([s.size_wh for s in samples], float)
        for describer, others in (
            ("swapped-photo", swapped(samples, seed=seed)),
            ("shuffled", shuffled(samples, seed=seed)),
        ):
            said = [texts[reference][k] for k in others]
            name = f"{one.name} {describer} -> {judge}"
            found = find_points(name, finder, samples, said, answers, on_progress)
            # Swapped texts are scored against the point they are about, carried over; shuffled ones against this one.
            carried = np.array([samples[k].point_unit for k in others]) * sizes
            add(describer, judge, said, found, carried if describer == "swapped-photo" else true)
    empty = [""] * len(samples)
    centres = box_centres(samples)
    if not np.isnan(centres).all():
        add("none", "box-centre", empty, centres)
    add("none", "constant", empty, constant_points(samples, one.mean_unit))
    add("none", "oracle", empty, true)
    return rows


def _texts(
    one: SampleSet,
    describers: Mapping[str, Describer | WrittenTexts],
    answers: KeptAnswers,
    on_progress: Callable[[str, int, int], None],
) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for name, describer in describers.items():
        if isinstance(describer, Mapping):
            texts[name] = [describer[s.sample_id] for s in one.samples]
            continue
        said: dict[str, str] = {}
        stage = f"{one.name} {name}"
        for window in _windows(one.samples):
            known = answers.get(stage, window)
            if known is None:
                known = answers.put(stage, window, describe_samples(describer, window))
            said |= dict(zip((s.sample_id for s in window), known, strict=True))
            on_progress(stage, len(said), len(one.samples))
        texts[name] = [said[s.sample_id] for s in one.samples]
    return texts


def find_points(
    stage: str,
    localizer: Localizer,
    samples: Sequence[Sample],
    texts: Sequence[str],
    answers: KeptAnswers,
    on_progress: Callable[[str, int, int], None],
) -> Points:
    """(N, 2) points that a localizer finds from texts, pixels; NaN where none. What `answers` knows is not asked.

    Args:
        stage: whose answers they are; the progress is told of it.
        samples: whose photos are searched.
        texts: (N,) one a sample.
    """
    text_of = {s.sample_id: text for s, text in zip(samples, texts, strict=True)}
    # Texts of a file may have changed since an earlier run.
    name = f"{stage} {hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]}"
    found: dict[str, Any] = {}
    for window in _windows(samples):
        known = answers.get(name, window)
        if known is None:
            points = localize_texts(localizer, window, [text_of[s.sample_id] for s in window])
            known = answers.put(name, window, [None if np.isnan(p).any() else p.tolist() for p in points])
        found |= dict(zip((s.sample_id for s in window), known, strict=True))
        on_progress(stage, len(found), len(samples))
    return np.array([found[s.sample_id] or (np.nan, np.nan) for s in samples], float).reshape(-1, 2)


def _windows(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    groups = by_photo(samples)
    for start in range(0, len(groups), PHOTOS_AT_ONCE):
        yield [sample for group in groups[start : start + PHOTOS_AT_ONCE] for sample in group]


def _differences(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What looking is worth (against the blind localizer), and what each describer loses to the first."""
    rows = [row for row in rows if not row.style]
    of = {(row.describer, row.localizer): row for row in rows}
    localizers = list(dict.fromkeys(row.localizer for row in rows if row.describer not in ("none", *BORROWED)))
    describers = list(dict.fromkeys(row.describer for row in rows if row.describer not in ("none", *BORROWED)))
    pairs = [((d, localizers[0]), (d, "blind")) for d in describers if "blind" in localizers[1:]]
    pairs += [((d, judge), (describers[0], judge)) for d in describers[1:] for judge in localizers]
    found = []
    for one, other in pairs:
        difference, low, high = mpck_difference(of[one].errors, of[other].errors, of[one].photos)
        found.append(
            {
                "set": of[one].set_name,
                "row": list(one),
                "against": list(other),
                "mpck": round(difference, 2),
                "mpck_ci": [round(low, 2), round(high, 2)],
            }
        )
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
        difference, low, _ = mpck_difference(first.errors, mixed.errors, first.photos)
        checks |= {
            "shuffled_mpck": mixed.summary()["mpck"],
            "constant_mpck": of["none", "constant"].summary()["mpck"],
            "lost_by_shuffling": round(difference, 2),
        }
        checks["passed"] = bool(checks["passed"] and low > 0)
    return checks


def _hash(samples: Sequence[Sample]) -> str:
    """Of ids, points and texts: equal for equal data."""
    content = [(s.sample_id, s.photo_id, s.size_wh, s.point_px, s.text) for s in samples]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
