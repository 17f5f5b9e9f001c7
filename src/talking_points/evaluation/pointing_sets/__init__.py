"""Pointing benchmarks of others, a file a layout: their entries as tasks, and their official metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from talking_points.evaluation.pointing_sets import ap_10k, pixmo_points, point_bench, refspatial_bench
from talking_points.evaluation.pointing_sets.task import Layout, PointingTask

LAYOUTS: dict[str, Layout] = {
    "pixmo-points": pixmo_points.LAYOUT,
    "point-bench": point_bench.LAYOUT,
    "refspatial-bench": refspatial_bench.LAYOUT,
    "ap-10k": ap_10k.LAYOUT,
}


def read_tasks(folder: Path, layout: str, on_problem: Callable[[str], None]) -> list[PointingTask]:
    """Read a benchmark's tasks. Nothing is fetched: photos given by URL are expected as files.

    Args:
        folder: laid out as the `entries` of the layout's module shows.
        layout: a key of `LAYOUTS`.
        on_problem: told of every entry that is passed over, with its file, its place there (counted from 0) and
            what is wrong.

    Raises:
        FileNotFoundError, ValueError: no such folder or layout, or nothing to score in it; says why.
    """
    check_layout(layout)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    score = LAYOUTS[layout].scores
    tasks: list[PointingTask] = []
    first = ""
    for where, read in LAYOUTS[layout].entries(folder):
        try:
            found = read()
            for task in found:
                if next(iter(score(task, task.perfect_px).values())) < 100:
                    raise ValueError("no answer would be right: the labelled points do not match their masks")
        except (ValueError, OSError) as error:
            problem = f"{where}: {' '.join(str(error).split())}"
            first = first or problem
            on_problem(problem)
            continue
        tasks += found
    if not tasks:
        raise ValueError(f"{folder} holds nothing to score" + (f"; the first problem is {first}" if first else ""))
    return tasks


def check_layout(name: str) -> None:
    """A ValueError unless there is a layout of this name."""
    if name not in LAYOUTS:
        raise ValueError(f"layout is {name!r}; allowed: {', '.join(LAYOUTS)}")
