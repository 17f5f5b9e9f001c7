"""The report as one HTML file that needs nothing else: tables, PCK curves, breakdowns, and samples as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from talking_points.evaluation.figures import draw_points
from talking_points.evaluation.protocol import Row
from talking_points.evaluation.report import SCORES
from talking_points.samples import PhotoPoint

CURVE_TO = 0.3
"""Largest threshold of the curves, in normalised coordinates."""
BOOTSTRAPS = 300
SHOWN_SIDE_PX = 420
SHOWN_A_KIND = 3
"""Samples shown of the best, of those around the median, and of the worst."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #888; } td:first-child, th:first-child, td.word, th.word { text-align: left; }
.wide { overflow-x: auto; } .pass { color: #176117; } .fail { color: #a11212; font-weight: bold; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; } figcaption { font-size: .85rem; color: #444; }
svg { max-width: 100%; height: auto; } details { margin: .5rem 0; } summary { cursor: pointer; }
"""


def html_page(report: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The page.

    Args:
        report: as `run.evaluate` returns it.
        rows: what its rows summarise, in their order.
    """
    sets = dict.fromkeys(row.set_name for row in rows)
    parts = [_head(report)]
    for name in sets:
        here = [row for row in rows if row.set_name == name]
        summaries = [one for one in report["rows"] if one["set"] == name and not one.get("style")]
        parts += [
            f"<h2>{escape(name)}: {summaries[0]['n']} points</h2>",
            _scores(summaries),
            _beside_paper([one for one in report["paper"] if one["set"] == name]),
            _named(report["texts"][name]),
            _check(report["checks"][name]),
            _differences([one for one in report["differences"] if one["set"] == name]),
            _styles(report["styles"].get(name)),
            _curves([row for row in here if not row.style]),
            _breakdowns(report["breakdowns"][name]),
            _samples(here),
        ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Talking Points: scores of {escape(str(report.get('model', '')))}</title>"
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _head(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in report["versions"].items())
    passed_over = report["passed_over"]
    lost = ""
    if passed_over:
        items = "".join(f"<li>{escape(problem)}</li>" for problem in passed_over)
        lost = f"<details><summary>{len(passed_over)} samples were passed over</summary><ul>{items}</ul></details>"
    return (
        f"<h1>Scores of {escape(str(report.get('model', '')))}</h1>"
        "<p>A text is as good as the point that is found again from it. PCK@t is the share of points found within t of "
        "the true one, as a share of the photo's width and height; mPCK is the mean of PCK@0.1 and PCK@0.2. Intervals "
        "are 95% bootstraps over photos.</p>"
        f"<p>Split {escape(str(report.get('split', '')))}, seed {report['seed']}. {escape(versions)}.</p>{lost}"
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], words: int = 1) -> str:
    def cells(values: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag} class=word>{escape(v)}</{tag}>" if n < words else f"<{tag}>{escape(v)}</{tag}>"
            for n, v in enumerate(values)
        )

    body = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in lines)
    return f"<div class=wide><table><tr>{cells(head, 'th')}</tr>{body}</table></div>"


def _ci(interval: Sequence[float]) -> str:
    return f"{interval[0]:.1f} to {interval[1]:.1f}"


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ["text from", "found by", "PCK@0.05", "PCK@0.1", "PCK@0.2", "mPCK", "95% interval", "median px", "no answer"]
    lines = [
        [
            row["describer"],
            row["localizer"],
            *(f"{row[key]:.1f}" for key in ("pck@0.05", "pck@0.1", "pck@0.2", "mpck")),
            _ci(row["mpck_ci"]),
            "" if row["median_px"] is None else f"{row['median_px']:.0f}",
            str(row["unanswered"] or ""),
        ]
        for row in rows
    ]
    return _table(head, lines, words=2)


def _named(texts: Mapping[str, Mapping[str, float]]) -> str:
    lines = [[who, f"{s['names_object']:.1f}", f"{s['names_part']:.1f}"] for who, s in texts.items() if s]
    return _table(["% of texts that name", "the right object", "the right part"], lines) if lines else ""


def _check(check: Mapping[str, Any]) -> str:
    said = f"true points score {check['oracle_mpck']:.0f}"
    if "shuffled_mpck" in check:
        said += (
            f", texts of other photos {check['shuffled_mpck']:.1f} (a constant {check['constant_mpck']:.1f}; "
            f"{check['lost_by_shuffling']:.1f} less than the right texts)"
        )
    state = "pass" if check["passed"] else "fail"
    return f"<p class={state}>Pairing of photos and texts: {state}. {said[0].upper()}{said[1:]}.</p>"


def _differences(differences: Sequence[Mapping[str, Any]]) -> str:
    if not differences:
        return ""
    lines = [
        [" → ".join(one["row"]), " → ".join(one["against"]), f"{one['mpck']:+.1f}", _ci(one["mpck_ci"])]
        for one in differences
    ]
    return "<h3>Paired differences in mPCK</h3>" + _table(["row", "against", "mPCK", "95% interval"], lines, words=2)


def _beside_paper(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [
        [
            row["row"] if whose == "paper" else f"{row['describer']} → {row['localizer']}",
            whose,
            *("" if (value := row[whose][key]) is None else f"{value:.1f}" for key in SCORES),
            _ci(row["ours"]["mpck_ci"]) if whose == "ours" else "",
        ]
        for row in rows
        for whose in ("paper", "ours")
    ]
    head = ["row", "", "PCK@0.1", "PCK@0.2", "mPCK", "95% interval"]
    return "<h3>Beside the paper's table</h3>" + _table(head, lines, words=2)


def _styles(panel: Mapping[str, Any] | None) -> str:
    """The style matrix, each score on a ground as strong as it is high."""
    if panel is None:
        return ""
    judges = list(panel["spread"])
    lines = []
    for who, styles in panel["matrix"].items():
        for style, scores in styles.items():
            cells = "".join(
                f'<td style="background: rgba(38, 110, 190, {scores[j] / 200:.2f})">{scores[j]:.1f}</td>'
                for j in judges
            )
            lines.append(f"<tr><td class=word>{escape(who)}</td><td class=word>{escape(style)}</td>{cells}</tr>")
        cells = "".join(f"<td>{panel['spread'][j][who]:.1f}</td>" for j in judges)
        lines.append(f"<tr><td class=word>{escape(who)}</td><td class=word><i>best − worst</i></td>{cells}</tr>")
    head = "".join(f"<th>{escape(judge)}</th>" for judge in judges)
    means = "; ".join(f"{who} {score:.1f}" for who, score in panel["describers"].items())
    return (
        "<h3>The same facts in other words (mPCK by judge)</h3>"
        f"<div class=wide><table><tr><th class=word>text from</th><th class=word>style</th>{head}</tr>"
        f"{''.join(lines)}</table></div><p>Mean over the judges, as written: {escape(means)}.</p>"
    )


def _curves(rows: Sequence[Row]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    at = np.linspace(0, CURVE_TO, 61)
    # A fixed salt: equal reports are equal files.
    with rc_context({"svg.hashsalt": "talking-points", "svg.fonttype": "none"}):
        shown = [row for row in rows if row.localizer != "oracle"]
        # The legend stands below: names of checkpoints are long.
        figure = Figure(figsize=(8, 4 + 0.25 * len(shown)), layout="constrained")
        axis = figure.subplots()
        for row in shown:
            curve, low, high = _curve(row, at)
            [line] = axis.plot(at, curve, label=f"{row.describer} → {row.localizer}")
            axis.fill_between(at, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        axis.set_xlabel("threshold (share of the photo)")
        axis.set_ylabel("PCK, %")
        axis.set_xlim(0, CURVE_TO)
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
        figure.legend(loc="outside lower center", fontsize="small")
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()[svg.getvalue().index("<svg") :]


def _curve(row: Row, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PCK at thresholds, and its 95% band over photos."""
    below = row.errors[:, None] < at
    _, photo_of = np.unique(np.array(row.photos), return_inverse=True)
    counts = np.bincount(photo_of)
    sums = np.zeros((len(counts), len(at)))
    np.add.at(sums, photo_of, below)
    drawn = np.random.default_rng(0).integers(0, len(counts), (BOOTSTRAPS, len(counts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)[:, None] * 100
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return below.mean(0) * 100, low, high


def _breakdowns(of_rows: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> str:
    if not of_rows:
        return ""
    rows = list(of_rows)
    tables = []
    for kind in dict.fromkeys(kind for found in of_rows.values() for kind in found):
        values = dict.fromkeys(value for found in of_rows.values() for value in found.get(kind, {}))
        lines = []
        for value in values:
            cells = [of_rows[row].get(kind, {}).get(value) for row in rows]
            count = next((cell["n"] for cell in cells if cell), 0)
            scores = ["" if cell is None else f"{cell['mpck']:.1f} ({_ci(cell['mpck_ci'])})" for cell in cells]
            lines.append([value, str(count), *scores])
        tables.append(f"<h3>By {escape(kind)}</h3>" + _table([kind, "points", *rows], lines))
    return f"<details><summary>mPCK by kinds of points</summary>{''.join(tables)}</details>"


def _samples(rows: Sequence[Row]) -> str:
    """Best, median and worst of the first row whose texts a model wrote; else of the first row."""
    real = [row for row in rows if row.describer not in ("none", "shuffled", "swapped-photo") and not row.style]
    if not real:
        return ""
    row = next((one for one in real if one.describer != "ground-truth"), real[0])
    order = np.argsort(row.errors, kind="stable")
    middle = max(0, len(order) // 2 - SHOWN_A_KIND // 2)
    chosen = {
        "best": order[:SHOWN_A_KIND],
        "median": order[middle : middle + SHOWN_A_KIND],
        "worst": order[::-1][:SHOWN_A_KIND],
    }
    figures = [_figure(row, int(index), kind) for kind, indices in chosen.items() for index in indices]
    title = f"<h3>Samples: {escape(row.describer)} → {escape(row.localizer)}</h3>"
    return (
        f"{title}<p>The star is the true point, the ring the one found from the text.</p>"
        f"<div class=samples>{''.join(figures)}</div>"
    )


def _figure(row: Row, index: int, kind: str) -> str:
    sample, error = row.samples[index], float(row.errors[index])
    found = None if np.isnan(row.found_px[index]).any() else (row.found_px[index][0], row.found_px[index][1])
    point = PhotoPoint(point_px=sample.point_px, found_px=found, description=row.texts[index])
    picture = draw_points(sample.open_photo(), [point])
    picture.thumbnail((SHOWN_SIDE_PX * 2, SHOWN_SIDE_PX * 2), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=80)
    data = base64.b64encode(stream.getvalue()).decode()
    off = "no answer" if not np.isfinite(error) else f"{100 * error:.1f}% of the photo off"
    return (
        f'<figure><img alt="{escape(row.texts[index], quote=True)}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{kind}: {off}; {escape(sample.sample_id)}</figcaption></figure>"
    )
