"""What `talking-points evaluate-pointing` runs: localizers on a pointing benchmark, beside references, resumable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from talking_points.evaluation.answers import KeptAnswers, check_begun
from talking_points.evaluation.metrics import grouped_mean, mean_interval, told_interval
from talking_points.evaluation.pointing.benchmarks import LAYOUTS, read_tasks
from talking_points.evaluation.pointing.tasks import PointingTask
from talking_points.evaluation.protocol import Located
from talking_points.evaluation.report import interval_said
from talking_points.evaluation.run import check_models, versions
from talking_points.evaluation.settings import PointingSettings
from talking_points.files import sha256_of, write_whole
from talking_points.pages import render
from talking_points.pointing.interfaces import Localizer
from talking_points.progress import OnNote, OnProgress, unheard
from talking_points.samples import ABSENT_BELOW


def run(
    settings: PointingSettings, *, on_problem: OnNote = unheard, on_progress: OnProgress = unheard
) -> dict[str, Any]:
    """`evaluate_pointing` of what the settings name. on_problem: told of each entry that is passed over."""
    check_models(settings.model, settings.localizer)
    problems: list[str] = []
    tasks = read_tasks(settings.data, settings.layout, problems.append)
    for problem in problems:
        on_problem(problem)
    # Not at the top: torch takes seconds, and what is wrong with the data should be said at once.
    from talking_points.evaluation.contestants import hashes_of, open_contestants, short_name

    told = {
        "model": settings.model,
        "quantize": settings.quantize,
        "style": settings.style,
        "localizers": settings.localizer,
        "sha256": hashes_of(settings.model, settings.localizer),
    }
    # Before a model is loaded, too.
    check_begun(settings.out, _made_of(settings.layout, tasks, told))
    with open_contestants(settings) as named:
        return evaluate_pointing(
            settings.layout,
            tasks,
            {short_name(name): named(name) for name in settings.localizer},
            settings.out,
            settings=told,
            problems=problems,
            on_progress=on_progress,
        )


def evaluate_pointing(
    layout: str,
    tasks: Sequence[PointingTask],
    localizers: Mapping[str, Localizer],
    out: Path,
    *,
    settings: Mapping[str, Any],
    problems: Sequence[str] = (),
    on_progress: OnProgress = unheard,
) -> dict[str, Any]:
    """Score localizers with a benchmark's official metric, and the references that show what a score is worth.

    Args:
        layout: a key of `benchmarks.LAYOUTS`.
        tasks: of it, at least one.
        out: gets `answers.jsonl` as the work goes on, then `report.json`, `report.md` and `samples.parquet`.

    The other arguments, and what is returned, are as of `run.evaluate`.
    """
    texts = [task.text or "" for task in tasks]
    made_of = _made_of(layout, tasks, settings)
    with KeptAnswers(out, made_of, on_progress) as answers:
        located = {
            name: answers.points(f"{layout} {name}", localizer, tasks, texts) for name, localizer in localizers.items()
        }
    metric = LAYOUTS[layout]
    found_px = {name: _answers(found, may_be_silent=metric.silence_may_be_right) for name, found in located.items()}
    found_px |= _references(tasks, may_be_silent=metric.silence_may_be_right)
    scores = {
        name: [metric.scores(task, found) for task, found in zip(tasks, answered, strict=True)]
        for name, answered in found_px.items()
    }
    for name, found_of in located.items():
        for place in np.flatnonzero(found_of.unreadable):
            # Nothing is said by it, and silence may be right.
            scores[name][place] = dict.fromkeys(scores[name][place], 0.0)
    rows = [
        {
            "localizer": name,
            "unanswered": sum(not len(found) for found in found_px[name]),
            # Said to be not there, which is no answer where that may be right, and else none of a score's business.
            "absent": int((located[name].there < ABSENT_BELOW).sum()) if name in located else 0,
            "unreadable": int(located[name].unreadable.sum()) if name in located else 0,
            **_summary(some, tasks, by_category=metric.mean_of_categories),
        }
        for name, some in scores.items()
    ]
    report = {
        "layout": layout,
        **settings,
        "versions": versions(),
        "data": made_of["data"],
        "metrics": list(scores["oracle"][0]),
        "mean_of_categories": metric.mean_of_categories,
        "passed_over": list(problems),
        "rows": rows,
        "checks": {"oracle_score": rows[-1]["score"], "passed": rows[-1]["score"] == 100.0},
    }
    _write_samples(out / "samples.parquet", tasks, found_px, scores)
    write_whole(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_whole(
        out / "report.md", render("talking_points.evaluation", "pointing.md.j2", report=report, interval=interval_said)
    )
    return report


def _made_of(layout: str, tasks: Sequence[PointingTask], settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that the answers depend on."""
    data = {"tasks": len(tasks), "photos": len({task.photo_id for task in tasks}), "sha256": _hash(tasks)}
    return {"layout": layout, "data": data, **settings}


def _answers(found: Located, *, may_be_silent: bool) -> list[NDArray[np.float64]]:
    """(0 or 1, 2) points of each text. may_be_silent: none of what counts as absent, likeliest place or not."""
    given = np.asarray(np.isfinite(found.points_px).all(axis=1))
    if may_be_silent:
        # Not known is NaN, which is not below.
        given = given & ~(found.there < ABSENT_BELOW)
    return [found.points_px[[place]][given[[place]]] for place in range(len(given))]


def _references(tasks: Sequence[PointingTask], *, may_be_silent: bool) -> dict[str, list[NDArray[np.float64]]]:
    """Rows that no model makes: the photo's centre, and right answers.

    Where some ask for more points than one, or for none, also the best that a localizer's one point a text can score.
    """
    centres = [np.array([task.size_wh], float) / 2 for task in tasks]
    perfect = [np.array(task.perfect_px, float).reshape(-1, 2) for task in tasks]
    # Where nothing is to be pointed at, one point is wrong, wherever it is; of who may be silent, nothing is right.
    one_point = [
        points[:1] if len(points) or may_be_silent else centre for points, centre in zip(perfect, centres, strict=True)
    ]
    several = any(len(points) != 1 for points in perfect)
    return {"constant": centres, **({"oracle-one-point": one_point} if several else {}), "oracle": perfect}


def _summary(
    scores: Sequence[Mapping[str, float]], tasks: Sequence[PointingTask], *, by_category: bool
) -> dict[str, Any]:
    """A row's scores as JSON: the first metric with its interval, all metrics, and the first in each category."""
    values = {metric: np.array([one[metric] for one in scores]) for metric in scores[0]}
    photos, categories = (np.array([getattr(task, name) for task in tasks]) for name in ("photo_id", "category"))
    groups = list(categories) if by_category else None
    first = next(iter(values.values()))
    in_category = {str(one): categories == one for one in sorted(set(categories))}
    return {
        **_with_interval(first, list(photos), groups),
        **{metric: round(grouped_mean(some, groups), 2) for metric, some in values.items()},
        "categories": {
            name: _with_interval(first[here], list(photos[here]), None) for name, here in in_category.items()
        },
    }


def _with_interval(scores: NDArray[np.float64], photos: Sequence[str], groups: Sequence[str] | None) -> dict[str, Any]:
    score = round(grouped_mean(scores, groups), 2)
    return {"n": len(scores), "score": score, "score_ci": told_interval(*mean_interval(scores, photos, groups))}


def _write_samples(
    path: Path,
    tasks: Sequence[PointingTask],
    found_px: Mapping[str, Sequence[NDArray[np.float64]]],
    scores: Mapping[str, Sequence[Mapping[str, float]]],
) -> None:
    """Every answer and its scores as Parquet: a line for each task of each row. Points are lists of pixels x and y."""
    lines = [
        {
            "localizer": name,
            "sample": task.sample_id,
            "photo": task.photo_id,
            "category": task.category,
            "text": task.text,
            "width": task.size_wh[0],
            "height": task.size_wh[1],
            "found_x": found[:, 0].tolist(),
            "found_y": found[:, 1].tolist(),
            **scored,
        }
        for name, answered in found_px.items()
        for task, found, scored in zip(tasks, answered, scores[name], strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(lines), path, compression="zstd")


def _hash(tasks: Sequence[PointingTask]) -> str:
    """Of ids, texts and what is right: equal for equal data."""
    names = [(task.sample_id, task.photo_id, task.size_wh, task.text, task.category) for task in tasks]
    right = [(task.labelled_px, task.count, task.perfect_px, task.object_box_xyxy) for task in tasks]
    masks = [[sha256_of(mask.pixels().tobytes()) for mask in task.masks] for task in tasks]
    return sha256_of([names, right, masks])[:16]
