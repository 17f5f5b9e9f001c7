"""Two evaluations side by side, row by row, on the samples that both have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from talking_points.evaluation.metrics import mpck, mpck_difference, told_interval

_KEY = ("set", "describer", "style", "localizer")


def compare(one: Path, other: Path) -> list[dict[str, Any]]:
    """mPCK of every row that both folders have, and the paired difference, the second minus the first.

    `difference_ci` is its interval over photos, None where both scored a single one.

    Raises:
        FileNotFoundError, ValueError: a folder holds no evaluation, or the two share no row or were made of other data.
    """
    (mine, my_data), (theirs, their_data) = _read(one), _read(other)
    shared = [key for key in mine if key in theirs]
    if not shared:
        raise ValueError(f"{one} and {other} share no set, describer and localizer")
    rows = []
    for key in shared:
        name = key[0]
        if my_data[name] != their_data[name]:
            raise ValueError(
                f"{one} and {other} scored other samples under the name {name!r}; evaluate both on one set"
            )
        photos = [photo for photo, _ in mine[key]]
        before, after = (np.array([error for _, error in some[key]]) for some in (mine, theirs))
        difference, *interval = mpck_difference(after, before, photos)
        rows.append(
            {
                **{kind: value for kind, value in zip(_KEY, key, strict=True) if value or kind != "style"},
                "n": len(photos),
                "mpck": [round(mpck(before), 2), round(mpck(after), 2)],
                "difference": round(difference, 2),
                "difference_ci": told_interval(*interval),
            }
        )
    return rows


def _read(folder: Path) -> tuple[dict[tuple[str, ...], list[tuple[str, float]]], dict[str, Any]]:
    """For each row the photo and the error of its samples, infinite without an answer; and each set's samples."""
    report = folder / "report.json"
    if not report.is_file():
        raise FileNotFoundError(f"{folder} holds no evaluation: no report.json in it")
    errors: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    for line in pq.read_table(folder / "samples.parquet", columns=[*_KEY, "photo", "error"]).to_pylist():
        error = np.inf if line["error"] is None else line["error"]
        errors.setdefault(tuple(line[kind] for kind in _KEY), []).append((line["photo"], error))
    told = json.loads(report.read_text())
    who_skipped = told.get("skipped", {}).items()
    skipped = {name: sorted({one for some in by_whom.values() for one in some}) for name, by_whom in who_skipped}
    return errors, {name: (data["sha256"], skipped.get(name)) for name, data in told["data"].items()}
