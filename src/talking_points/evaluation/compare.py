"""Two evaluations side by side, row by row, on the samples that both have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from talking_points.evaluation.metrics import mpck, mpck_difference

Key = tuple[str, str, str, str]
"""Set, describer, style and localizer."""


def compare(one: Path, other: Path) -> list[dict[str, Any]]:
    """mPCK of every row that both folders have, and the paired difference, the second minus the first.

    Raises:
        FileNotFoundError, ValueError: a folder holds no evaluation, or the two share no row or were made of other data.
    """
    reports = [_report(folder) for folder in (one, other)]
    mine, theirs = (_errors(folder) for folder in (one, other))
    shared = [key for key in mine if key in theirs]
    if not shared:
        raise ValueError(f"{one} and {other} share no set, describer and localizer")
    rows = []
    for key in shared:
        name = key[0]
        if reports[0]["data"][name]["sha256"] != reports[1]["data"][name]["sha256"]:
            raise ValueError(
                f"{one} and {other} scored other samples under the name {name!r}; evaluate both on one set"
            )
        photos = [photo for photo, _ in mine[key]]
        before, after = (np.array([error for _, error in some[key]]) for some in (mine, theirs))
        difference, low, high = mpck_difference(after, before, photos)
        rows.append(
            {
                "set": name,
                "describer": key[1],
                **({"style": key[2]} if key[2] else {}),
                "localizer": key[3],
                "n": len(photos),
                "mpck": [round(mpck(before), 2), round(mpck(after), 2)],
                "difference": round(difference, 2),
                "difference_ci": [round(low, 2), round(high, 2)],
            }
        )
    return rows


def _report(folder: Path) -> dict[str, Any]:
    path = folder / "report.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no evaluation: no report.json in it")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def _errors(folder: Path) -> dict[Key, list[tuple[str, float]]]:
    """For each row the photo and the error of its samples, infinite where there is no answer."""
    columns = ["set", "describer", "style", "localizer", "photo", "error"]
    found: dict[Key, list[tuple[str, float]]] = {}
    for line in pq.read_table(folder / "samples.parquet", columns=columns).to_pylist():
        key = (line["set"], line["describer"], line["style"], line["localizer"])
        error = np.inf if line["error"] is None else line["error"]
        found.setdefault(key, []).append((line["photo"], error))
    return found
