"""What an evaluation leaves: scores as Markdown, a page of HTML with pictures, and every answer as Parquet."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from talking_points.evaluation.figures import mark_photo
from talking_points.evaluation.protocol import Row
from talking_points.files import write_whole
from talking_points.pages import counted, render
from talking_points.photos import encode_photo
from talking_points.samples import PhotoPoint, absence

CURVE_TO = 0.3
"""Largest threshold of the curves, in normalised coordinates."""
BOOTSTRAPS = 300
SHOWN_SIDE_PX = 840
SHOWN_A_KIND = 3
"""Samples shown of the best, of those around the median, and of the worst."""
FEW_PHOTOS = 20
"""With fewer, texts that are paired as they should may fail the check of the pairing by chance. Ours."""
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("set", "describer", "style", "localizer", "sample", "photo", "object", "part")]
    + [(name, pa.float64()) for name in ("width", "height", "x", "y")]
    + [("text", pa.string())]
    + [(name, pa.float64()) for name in ("found_x", "found_y", "there", "error")]
    + [("unreadable", pa.bool_())]
)


def write_report(out: Path, report: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write `samples.parquet`, `report.json`, `report.md` and `report.html`.

    Args:
        report: as `run.evaluate` returns it.
        rows: what its rows summarise, in their order.
    """
    write_samples(out / "samples.parquet", rows)
    write_whole(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_whole(out / "report.md", markdown_tables(report))
    write_whole(out / "report.html", html_page(report, rows))


def markdown_tables(report: Mapping[str, Any]) -> str:
    """For model cards, READMEs and papers: one table a set, and how often its texts name the right things."""
    return render(__package__, "report.md.j2", report=report, **_WORDS)


def html_page(report: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """One file that needs nothing else: tables, PCK curves, breakdowns, and samples as pictures."""
    # What could not be read is in no score, and so in no picture.
    rows = [row.only(row.read) for row in rows]
    sets = {}
    for name in dict.fromkeys(row.set_name for row in rows):
        here = [row for row in rows if row.set_name == name]
        curves = [_curve(row) for row in here if not row.style and row.localizer != "oracle"]
        kinds = _by_kind(report["breakdowns"][name])
        sets[name] = {"curves": curves, "kinds": kinds, "samples": _samples(here)}
    return render(__package__, "report.html.j2", report=report, sets=sets, **_WORDS)


def interval_said(ci: Sequence[float] | None, *, signed: bool = False) -> str:
    """A 95% interval over photos, for people; a single photo has none. signed: of a difference.

    Example:
        >>> interval_said([60.0, 65.04]), interval_said([-1.0, 2.0], signed=True), interval_said(None)
        ('60.0 to 65.0', '-1.0 to +2.0', 'one photo: no interval')
    """
    if ci is None:
        return "one photo: no interval"
    return " to ".join(f"{end:{'+' if signed else ''}.1f}" for end in ci)


def pairing_said(check: Mapping[str, Any]) -> str:
    """How the check of a set's pairing ended and by which figures, for people. check: of a report's `checks`."""
    is_whole = check["oracle_mpck"] == 100.0
    said = f"Pairing of photos and texts: {'pass' if check['passed'] else 'fail'}. "
    said += f"True points score {check['oracle_mpck']:g}{'' if is_whole else ', and must score 100'}."
    if "texts_of" not in check:
        return said
    interval = interval_said(check["lost_by_shuffling_ci"], signed=True)
    interval = interval if check["lost_by_shuffling_ci"] is None else f"95% interval {interval}, must be above 0"
    said += (
        f" The rows swapped-photo and shuffled show the texts of {check['texts_of']}: shuffled they score "
        f"{check['shuffled_mpck']:.1f} (a constant {check['constant_mpck']:.1f}), on their own photos "
        f"{check['lost_by_shuffling']:+.1f} ({interval})."
    )
    if is_whole and not check["passed"] and check["photos"] < FEW_PHOTOS:
        said += f" With {counted(check['photos'], 'photo')} it may be chance."
    return said


def skipped_said(skipped: Mapping[str, Sequence[str]]) -> str:
    """How many samples are in no row, and who skipped them, for people. skipped: of a report's `skipped`.

    Example:
        >>> skipped_said({"Ann": ["line 2"], "Ben": ["line 2", "line 5"]})
        '2 points are in no row: Ann skipped 1, Ben skipped 2'
    """
    count = len({sample for some in skipped.values() for sample in some})
    each = ", ".join(f"{who} skipped {len(some)}" for who, some in skipped.items())
    return f"{counted(count, 'point')} {'is' if count == 1 else 'are'} in no row: {each}"


_WORDS = {"interval": interval_said, "pairing_said": pairing_said, "skipped_said": skipped_said}
"""What the templates call."""


def write_samples(path: Path, rows: Sequence[Row]) -> None:
    """Every text, point and error as Parquet: a line for each sample of each row.

    Points are pixels, `there` is `FoundPoint`'s, `error` the distance in normalised coordinates; null where there is
    none, as without an answer. `unreadable` is true of an answer that could not be read, which no score counts.
    """
    lines = []
    for row in rows:
        for index, (sample, error) in enumerate(zip(row.samples, row.errors.tolist(), strict=True)):
            point = row.found_px[index].tolist() if np.isfinite(error) else (None, None)
            answer = (*point, _there(row, index), error if np.isfinite(error) else None, not row.read[index])
            values: list[Any] = [
                row.set_name,
                row.describer,
                row.style,
                row.localizer,
                sample.sample_id,
                sample.photo_id,
            ]
            values += [sample.object_name, sample.part_name, *sample.size_wh, *row.true_px[index].tolist()]
            lines.append(dict(zip(_SCHEMA.names, [*values, row.texts[index], *answer], strict=True)))
    pq.write_table(pa.Table.from_pylist(lines, schema=_SCHEMA), path, compression="zstd")


def _there(row: Row, index: int) -> float | None:
    """Of a sample's text; None where it is not known."""
    return None if row.there is None or np.isnan(row.there[index]) else float(row.there[index])


def _curve(row: Row) -> dict[str, str]:
    """PCK at thresholds, and its 95% band over photos, as paths of SVG: 580 wide and 290 high, from (50, 300)."""
    at = np.linspace(0, CURVE_TO, 61)
    below = row.errors[:, None] < at
    photo_of = np.unique(np.array(row.photos), return_inverse=True)[1]
    counts = np.bincount(photo_of)
    sums = np.zeros((len(counts), len(at)))
    np.add.at(sums, photo_of, below)
    drawn = np.random.default_rng(0).integers(0, len(counts), (BOOTSTRAPS, len(counts)))
    times = np.stack([np.bincount(some, minlength=len(counts)) for some in drawn]).astype(float)
    low, high = np.percentile(times @ sums / (times @ counts)[:, None], [2.5, 97.5], axis=0)

    def path(shares: np.ndarray, x: np.ndarray = at) -> str:
        return "L".join(
            f"{50 + 580 * t / CURVE_TO:.1f} {300 - 290 * share:.1f}" for t, share in zip(x, shares, strict=True)
        )

    band = f"M{path(low)}L{path(high[::-1], at[::-1])}"
    return {"label": f"{row.describer} → {row.localizer}", "line": f"M{path(below.mean(0))}", "band": band}


def _by_kind(of_rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Breakdowns turned around: kind -> value -> the score of each row, None where it has none."""
    turned: dict[str, dict[str, list[Any]]] = {}
    for number, kinds in enumerate(of_rows.values()):
        for kind, values in kinds.items():
            for value, score in values.items():
                turned.setdefault(kind, {}).setdefault(value, [None] * len(of_rows))[number] = score
    return turned


def _samples(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Best, median and worst of the first row whose texts a model wrote; else of the first row."""
    real = [row for row in rows if row.as_written]
    if not real:
        return []
    row = next((one for one in real if one.describer != "ground-truth"), real[0])
    order = np.argsort(row.errors, kind="stable").tolist()
    each = min(SHOWN_A_KIND, max(1, len(order) // 3))
    around = order[max(0, len(order) // 2 - each // 2) :]
    kind_of: dict[int, str] = {}
    for kind, some in {"best": order, "worst": order[::-1], "median": around}.items():
        # Of a few samples one may be of several kinds; it is shown once.
        kind_of = {**dict.fromkeys(some[:each], kind), **kind_of}
    return [_shown(row, index, kind_of[index]) for index in order if index in kind_of]


def _shown(row: Row, index: int, kind: str) -> dict[str, str]:
    sample, error = row.samples[index], float(row.errors[index])
    x, y = row.found_px[index].tolist()
    found = (x, y) if np.isfinite(error) else None
    shown = PhotoPoint(point_px=sample.point_px, found_px=found, description=row.texts[index], there=_there(row, index))
    picture = mark_photo(sample.open_photo(), [shown])
    picture.thumbnail((SHOWN_SIDE_PX, SHOWN_SIDE_PX), Image.Resampling.LANCZOS)
    off = f"{100 * error:.1f}% of the photo off" if found else "no answer"
    absent = absence(shown.there)
    return {
        "describer": row.describer,
        "localizer": row.localizer,
        "kind": kind,
        "text": row.texts[index],
        "ring": "yes" if found and not absent else "",
        "sample_id": sample.sample_id,
        "off": f"{absent}, says the localizer; its likeliest place is {off}" if absent else off,
        "jpeg": base64.b64encode(encode_photo(picture, quality=80)).decode(),
    }
