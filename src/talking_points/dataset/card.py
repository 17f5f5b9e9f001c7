"""The dataset card of a built set, and its two figures: what it is made of, and a sheet of examples."""

from __future__ import annotations

import io
import os
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from talking_points.dataset.audit import AuditResult
from talking_points.dataset.inspection import Inspection, counted, inspect_records, part_category
from talking_points.dataset.store import BuiltRecord
from talking_points.photos import open_photo

ReadPhoto = Callable[[BuiltRecord], bytes]

LARGEST_TABLE = 20
"""Rows of a table in the card; the rest is one row."""
SMALLEST_LABEL = 0.012
"""Sectors of the figure from this share of the circle on carry their name."""
SHEET_COLUMNS, SHEET_ROWS = 4, 3


def write_card(
    folder: Path,
    records: Sequence[BuiltRecord],
    read_photo: ReadPhoto,
    *,
    report: Mapping[str, Any],
    settings: Mapping[str, Any],
    audit: AuditResult | None,
) -> None:
    """Write README.md and figures/ of a set.

    Args:
        folder: of the set.
        records: all that were kept, sorted.
        read_photo: gives the bytes of a record's photo file.
        report: what became of everything, as in report.json.
        settings: what the set was built with.
        audit: what people answered, when they were asked.
    """
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    if records:
        _save(draw_composition(records), figures / "composition.png")
        _save(draw_contact_sheet(records, read_photo, seed=settings["seed"]), figures / "examples.png")
    text = _card(records, inspect_records(records), report, settings, audit)
    unfinished = folder / "README.md.part"
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, folder / "README.md")


def draw_composition(records: Sequence[BuiltRecord]) -> Figure:
    """The paper's Figure 6: sources in the inner rings, objects (a) and parts (b) in the outer ones."""
    figure = Figure(figsize=(13, 6.9), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    objects = [(record.source, record.object_category) for record in records]
    parts = [(record.source, part_category(record)) for record in records]
    _draw_rings(left, objects, "(a) " + _categories({name for _, name in objects}, "object"))
    _draw_rings(right, parts, "(b) " + _categories({name for _, name in parts}, "part"))
    figure.subplots_adjust(left=0, right=1, top=1, bottom=0.04, wspace=0)
    return figure


def _categories(names: Collection[str], kind: str) -> str:
    return counted(len(names), f"{kind} category", f"{kind} categories")


def _draw_rings(axes: Axes, names: Sequence[tuple[str, str]], title: str) -> None:
    """names: for each record, its source and what the outer ring counts."""
    of_source = dict(sorted(Counter(source for source, _ in names).items()))
    outer = sorted(Counter(names).items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    colours = {source: matplotlib.colormaps["tab10"](k % 10) for k, source in enumerate(of_source)}
    edge = {"width": 0.3, "edgecolor": "white"}
    wedges, _ = axes.pie(
        list(of_source.values()),
        radius=0.68,
        colors=[colours[source] for source in of_source],
        wedgeprops={**edge, "linewidth": 1.2},
        startangle=90,
        counterclock=False,
    )
    legend = [f"{source}: {count:,}" for source, count in of_source.items()]
    axes.legend(wedges, legend, loc="center", frameon=False, fontsize=7, bbox_to_anchor=(0.5, 0.5))
    shades, labels = [], []
    for number, ((source, name), count) in enumerate(outer):
        red, green, blue, _ = colours[source]
        pale = 0.25 + 0.3 * (number % 2)
        shades.append((pale + (1 - pale) * red, pale + (1 - pale) * green, pale + (1 - pale) * blue))
        labels.append(name if count >= SMALLEST_LABEL * len(names) else "")
    axes.pie(
        [count for _, count in outer],
        radius=1.0,
        labels=labels,
        rotatelabels=True,
        labeldistance=1.02,
        colors=shades,
        textprops={"fontsize": 7},
        wedgeprops={**edge, "linewidth": 0.5},
        startangle=90,
        counterclock=False,
    )
    axes.set_xlim(-1.5, 1.5)
    axes.set_ylim(-1.5, 1.5)
    axes.set_title(title, fontsize=11, y=-0.02)


def draw_contact_sheet(records: Sequence[BuiltRecord], read_photo: ReadPhoto, *, seed: int) -> Figure:
    """A sheet of photos with a star at their point, the text below."""
    count = min(len(records), SHEET_COLUMNS * SHEET_ROWS)
    rows = -(-count // SHEET_COLUMNS)
    drawn = np.random.default_rng(seed).choice(len(records), size=count, replace=False)
    figure = Figure(figsize=(4 * SHEET_COLUMNS, 4.9 * rows), dpi=80, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, SHEET_COLUMNS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
        axes.set_anchor("SW")
    for axes, number in zip(grid.ravel(), sorted(drawn), strict=False):
        record = records[int(number)]
        with Image.open(io.BytesIO(read_photo(record))) as image:
            photo = open_photo(image)
        scale = min(1.0, 400 / max(photo.size))
        shown = photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))
        axes.imshow(shown, extent=(0, photo.width, photo.height, 0))
        axes.plot(*record.point_px, "*", color="#e3120b", markersize=15, markeredgecolor="white", markeredgewidth=1)
        axes.set_xlim(0, photo.width)
        axes.set_ylim(photo.height, 0)
        text = record.text or f"{record.object_name}: {record.part_name}"
        lines = textwrap.fill(text, 52, max_lines=8)
        # parse_math: a dollar sign in a description is a dollar sign.
        axes.text(0, -0.03, lines, transform=axes.transAxes, va="top", fontsize=8, parse_math=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.1, wspace=0.05, hspace=0.45)
    return figure


def _save(figure: Figure, path: Path) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box; a line a character on stderr would not help.
        warnings.simplefilter("ignore")
        figure.savefig(unfinished, format="png")
    os.replace(unfinished, path)


def _card(
    records: Sequence[BuiltRecord],
    found: Inspection,
    report: Mapping[str, Any],
    settings: Mapping[str, Any],
    audit: AuditResult | None,
) -> str:
    splits = [split for split in ("train", "test") if found.records.get(split)]
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits)
    sources = sorted(settings["sources"])
    front = "---\npretty_name: LlamaPointInPart\ntags:\n- keypoints\n- grounding\nconfigs:\n- config_name: default\n"
    front += f"  data_files:\n{files}---\n"
    sections = [front, _INTRODUCTION]
    if records:
        sections.append("![What it is made of](figures/composition.png)\n\n![Examples](figures/examples.png)\n")
    rows = [[split, *(str(found.records[split].get(source, 0)) for source in sources)] for split in splits]
    sections.append("## Counts\n\n" + _table(["split", *sources], rows))
    photos = f"{counted(len(records), 'record')} of {counted(found.photos, 'photo')}, "
    photos += f"{_categories(found.objects, 'object')}, {_categories(found.parts, 'part')}. "
    photos += f"{100 * found.semantic:.1f}% of the points are semantic: in a labelled part, or a named keypoint."
    if found.lengths is not None:
        lengths = found.lengths
        photos += f" Texts have {lengths.least} to {lengths.most} words, {lengths.median:g} in the middle; together "
        photos += (
            f"{found.vocabulary:,} different words. {found.repeated:,} of the records share their text with another."
        )
    sections.append(textwrap.fill(photos, 110) + "\n")
    for title, counts in (("object", found.objects), ("part", found.parts), ("kind of point", found.kinds)):
        sections.append(_counted(title, counts))
    if found.dialects:
        sections.append(_counted("dialect", found.dialects))
    sections.append(_made(found, report, settings))
    sections.append(_audited(audit))
    sections.append(_FIELDS)
    return "\n".join(sections)


_INTRODUCTION = """# Points of photos in words

Each record is a photo, one point in it, and a text from which the point can be found: coarse to fine from the object
in the photo, over the part of the object and the place in the part, to what the pixels around the point look like.
Built with `talking-points build-dataset`, after the paper *Talking Points*.

```python
from datasets import load_dataset

records = load_dataset("path/to/this/folder")
```
"""

_FIELDS = """## Columns

Points and boxes are in pixels of the upright photo: x to the right, y down, the centre of pixel (i, j) is
(i + 0.5, j + 0.5). Boxes are x0, y0, x1, y1, the last two exclusive.

- `photo`: the photo's file as its source distributes it, or its path
- `record_id`, `source`, `photo_id`, `photo_width`, `photo_height`
- `point_px`: x, y in pixels; `point_unit`: x / width, y / height
- `object_name`, `object_category` (the broader class that the source counts by), `object_box_xyxy`; `part_name`,
  `part_box_xyxy` (null for a named keypoint)
- `text`: the description; null for keypoints that only have a name
- `draft`, `relations`, `object_description`, `local_description`: what led to it
- `object_describer`, `local_describer`, `writer`: "rules" or the model that filled the role; `prompts_sha256`: of the
  prompts that models were asked with; `dialect`: the way of writing
- `point_kind`: sift, smooth or named; `sift_response`, `sift_scale_px`; `seed` of the build

## Terms

The photos and their labels keep the terms of the sources that they come from.
"""


def _made(found: Inspection, report: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    lines = ["## How it was made", ""]
    shown = [name for name in settings if name != "sources"]
    lines += [f"- {name}: `{settings[name]}`" for name in shown]
    lines += ["", "Object describer, local describer and writer of the records:", ""]
    lines += [f"- {names}: {count:,}" for names, count in found.written_by.items()]
    if report["spent"]["requests"]:
        lines += [
            "",
            f"{report['spent']['requests']:,} answers of {report['spent']['tokens']:,} tokens were asked for.",
        ]
    rejected, skipped = report["rejected"], report["skipped"]
    lines += ["", f"Rejected records, which are in `rejected.jsonl`: {sum(rejected.values()):,}."]
    lines += [f"- {reason}: {count:,}" for reason, count in rejected.items()]
    lines += ["", f"Skipped photos, which are in `report.json`: {len(skipped):,}. Points found and not needed: "]
    lines[-1] += f"{report['not_chosen']:,}."
    return "\n".join(lines) + "\n"


def _audited(audit: AuditResult | None) -> str:
    if audit is None:
        return "## Checked by people\n\nNot yet (`--audit 5%` writes the page for it).\n"
    if not audit.answered:
        return f"## Checked by people\n\n{counted(audit.asked, 'record')} to be answered in `audit/index.html`.\n"
    low, high = audit.interval
    return (
        f"## Checked by people\n\nRecords drawn: {audit.asked:,}. Answered: {audit.answered:,}. "
        f"Points that can be found from their text: {audit.found:,} "
        f"({100 * audit.share:.1f}%, 95% interval {100 * low:.1f} to {100 * high:.1f}).\n"
    )


def _counted(title: str, counts: Mapping[str, int]) -> str:
    rows = [[name, f"{count:,}"] for name, count in list(counts.items())[:LARGEST_TABLE]]
    rest = list(counts.values())[LARGEST_TABLE:]
    if rest:
        rows.append([f"{len(rest)} others", f"{sum(rest):,}"])
    return _table([title, "records"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
