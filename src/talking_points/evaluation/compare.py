"""Two evaluations side by side, row by row, on the samples that both have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from talking_points.evaluation.metrics import mpck, mpck_difference, told_interval

_KEY = ("set", "describer", "style", "localizer")


def compare(one: Path, other: Path) -> list[dict[str, Any]]:
    """mPCK of every row that both folders have, and the paired difference, the second minus the first.

    Of each row, what could be read in both; rows without any are left out. `difference_ci` is the interval of the
    difference over photos, None where both scored a single one.

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
        both = [
            (a, b) for a, b in zip(mine[key], theirs[key], strict=True) if a.error is not None and b.error is not None
        ]
        if not both:
            continue
        photos = [a.photo for a, _ in both]
        before, after = (np.array([answer.error for answer in some]) for some in zip(*both, strict=True))
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
    if not rows:
        raise ValueError(f"{one} and {other} share no sample of which both answers could be read")
    return rows


class _Scored(NamedTuple):
    """Of a sample."""

    photo: str
    error: float | None
    """Infinite without an answer; None of one that could not be read, which no score counts."""


def _read(folder: Path) -> tuple[dict[tuple[str, ...], list[_Scored]], dict[str, Any]]:
    """What each row scored, and each set's samples."""
    report = folder / "report.json"
    if not report.is_file():
        raise FileNotFoundError(f"{folder} holds no evaluation: no report.json in it")
    errors: dict[tuple[str, ...], list[_Scored]] = {}
    path = folder / "samples.parquet"
    # Evaluations of earlier versions have no "unreadable".
    columns = {*_KEY, "photo", "error", "unreadable"} & set(pq.read_schema(path).names)
    for line in pq.read_table(path, columns=list(columns)).to_pylist():
        error = None if line.get("unreadable") else math.inf if line["error"] is None else line["error"]
        errors.setdefault(tuple(line[kind] for kind in _KEY), []).append(_Scored(line["photo"], error))
    told = json.loads(report.read_text())
    who_skipped = told.get("skipped", {}).items()
    skipped = {name: sorted({one for some in by_whom.values() for one in some}) for name, by_whom in who_skipped}
    return errors, {name: (data["sha256"], skipped.get(name)) for name, data in told["data"].items()}
