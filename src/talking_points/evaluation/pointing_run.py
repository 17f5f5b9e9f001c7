"""What `talking-points evaluate-pointing` runs: localizers on a pointing benchmark, beside references, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from talking_points.evaluation.answers import KeptAnswers
from talking_points.evaluation.metrics import grouped_mean, mean_interval
from talking_points.evaluation.pointing_sets import LAYOUTS
from talking_points.evaluation.pointing_sets.task import Layout, PointingTask
from talking_points.evaluation.run import find_points, versions
from talking_points.pointing.interfaces import Localizer


@dataclass(frozen=True, kw_only=True, slots=True)
class PointingRow:
    """One localizer's answers to a benchmark, and what they score."""

    localizer: str
    found_px: list[NDArray[np.float64]]
    """N of (M, 2): the points of each task's answer, pixels; (0, 2) where there was none."""
    scores: dict[str, NDArray[np.float64]]
    """(N,) in percent, by metric; the first metric is the score."""


def evaluate_pointing(
    layout: str,
    tasks: Sequence[PointingTask],
    localizers: Mapping[str, Localizer],
    out: Path,
    *,
    settings: Mapping[str, Any],
    problems: Sequence[str] = (),
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Score localizers with a benchmark's official metric, and the references that show what a score is worth.

    Args:
        layout: a key of `pointing_sets.LAYOUTS`.
        tasks: of it, at least one.
        localizers: by name.
        out: gets `answers.jsonl` as the work goes on, then `report.json`, `report.md` and `samples.parquet`.
        settings: model and the like, for the report; a run with other settings does not resume this one.
        problems: entries that were passed over, for the report.
        on_progress: told localizer, tasks done and their number.

    Returns:
        The report.
    """
    out.mkdir(parents=True, exist_ok=True)
    texts = [task.text or "" for task in tasks]
    data = {"tasks": len(tasks), "photos": len({task.photo_id for task in tasks}), "sha256": _hash(tasks)}
    key = json.dumps({"layout": layout, **settings, "data": data}, sort_keys=True)
    answers_px: dict[str, list[NDArray[np.float64]]] = {}
    with KeptAnswers(out / "answers.jsonl", key) as answers:
        for name, localizer in localizers.items():
            found = find_points(f"{layout} {name}", localizer, tasks, texts, answers, on_progress)
            answers_px[name] = [point[None][np.isfinite(point).all(keepdims=True)] for point in found]
    answers_px |= _references(tasks)
    of_layout = LAYOUTS[layout]
    rows = [
        PointingRow(localizer=name, found_px=found, scores=_scores(of_layout, tasks, found))
        for name, found in answers_px.items()
    ]
    summaries = [_summary(of_layout, row, tasks) for row in rows]
    report = {
        "layout": layout,
        **settings,
        "versions": versions(),
        "data": data,
        "metrics": list(rows[0].scores),
        "mean_of_categories": of_layout.mean_of_categories,
        "passed_over": list(problems),
        "rows": summaries,
        "checks": {"oracle_score": summaries[-1]["score"], "passed": summaries[-1]["score"] == 100.0},
    }
    _write_samples(out / "samples.parquet", rows, tasks)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.md").write_text(pointing_table(report))
    return report


def _references(tasks: Sequence[PointingTask]) -> dict[str, list[NDArray[np.float64]]]:
    """Rows that no model makes: the photo's centre, and right answers.

    Where some ask for more points than one, or for none, also the best that a localizer's one point a text can score.
    """
    centres = [np.array([task.size_wh], float) / 2 for task in tasks]
    perfect = [np.array(task.perfect_px, float).reshape(-1, 2) for task in tasks]
    # Where nothing is to be pointed at, one point is wrong, wherever it is.
    one_point = [points[:1] if len(points) else centre for points, centre in zip(perfect, centres, strict=True)]
    several = any(len(points) != 1 for points in perfect)
    return {"constant": centres, **({"oracle-one-point": one_point} if several else {}), "oracle": perfect}


def _scores(
    layout: Layout, tasks: Sequence[PointingTask], found_px: Sequence[NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    scores = [layout.scores(task, found) for task, found in zip(tasks, found_px, strict=True)]
    return {metric: np.array([one[metric] for one in scores]) for metric in scores[0]}


def _summary(layout: Layout, row: PointingRow, tasks: Sequence[PointingTask]) -> dict[str, Any]:
    """A row as JSON."""
    photos, categories = [task.photo_id for task in tasks], [task.category for task in tasks]
    groups = categories if layout.mean_of_categories else None
    score = next(iter(row.scores.values()))
    of_category = {}
    for category in sorted(set(categories)):
        here = np.array([one == category for one in categories])
        of_category[category] = _with_interval(score[here], list(np.array(photos)[here]), None)
    return {
        "localizer": row.localizer,
        "unanswered": sum(not len(found) for found in row.found_px),
        **_with_interval(score, photos, groups),
        **{metric: round(grouped_mean(values, groups), 2) for metric, values in row.scores.items()},
        "categories": of_category,
    }


def _with_interval(scores: NDArray[np.float64], photos: Sequence[str], groups: Sequence[str] | None) -> dict[str, Any]:
    low, high = mean_interval(scores, photos, groups)
    score = round(grouped_mean(scores, groups), 2)
    return {"n": len(scores), "score": score, "score_ci": [round(low, 2), round(high, 2)]}


def pointing_table(report: Mapping[str, Any]) -> str:
    """The rows, and their categories, as Markdown.

    Args:
        report: as `evaluate_pointing` returns it.
    """
    rows, data, metrics = report["rows"], report["data"], report["metrics"]
    passed_over = f", passed over: {len(report['passed_over'])}" if report["passed_over"] else ""
    score = f"the mean over categories of {metrics[0]}" if report["mean_of_categories"] else metrics[0]
    scores = [
        [row["localizer"], f"{row['score']:.1f}", "{:.1f} to {:.1f}".format(*row["score_ci"])]
        + [f"{row[metric]:.1f}" for metric in metrics[1:]]
        for row in rows
    ]
    of_categories = [
        [category, str(one["n"]), *(f"{row['categories'][category]['score']:.1f}" for row in rows)]
        for category, one in rows[0]["categories"].items()
    ]
    count = f"{data['tasks']} tasks on {data['photos']} photos{passed_over}"
    return "\n\n".join(
        [
            f"**{report['layout']}** ({count}; the score is {score})",
            _table(["found by", "score", "95% interval", *metrics[1:]], scores),
            _table(["category", "n", *(row["localizer"] for row in rows)], of_categories) + "\n",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _write_samples(path: Path, rows: Sequence[PointingRow], tasks: Sequence[PointingTask]) -> None:
    """Every answer and its scores as Parquet: a line for each task of each row. Points are lists of pixels x and y."""
    lines = [
        {
            "localizer": row.localizer,
            "sample": task.sample_id,
            "photo": task.photo_id,
            "category": task.category,
            "text": task.text,
            "width": task.size_wh[0],
            "height": task.size_wh[1],
            "found_x": row.found_px[index][:, 0].tolist(),
            "found_y": row.found_px[index][:, 1].tolist(),
            **{metric: float(values[index]) for metric, values in row.scores.items()},
        }
        for row in rows
        for index, task in enumerate(tasks)
    ]
    schema = pa.schema(
        [(name, pa.string()) for name in ("localizer", "sample", "photo", "category", "text")]
        + [(name, pa.int32()) for name in ("width", "height")]
        + [(name, pa.list_(pa.float64())) for name in ("found_x", "found_y")]
        + [(name, pa.float64()) for name in rows[0].scores]
    )
    pq.write_table(pa.Table.from_pylist(lines, schema=schema), path, compression="zstd")


def _hash(tasks: Sequence[PointingTask]) -> str:
    """Of ids, texts and what is right: equal for equal data."""
    hashed = hashlib.sha256()
    for task in tasks:
        known = [task.sample_id, task.photo_id, task.size_wh, task.text, task.category, task.labelled_px, task.count]
        hashed.update(json.dumps([*known, task.perfect_px, task.object_box_xyxy]).encode())
        for mask in task.masks:
            hashed.update(np.packbits(mask.pixels()).tobytes())
    return hashed.hexdigest()[:16]
