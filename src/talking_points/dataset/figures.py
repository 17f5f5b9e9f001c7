"""The two figures of a dataset card: what a set is made of, and a sheet of examples."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from talking_points.dataset.report import part_category
from talking_points.dataset.store import BuiltRecord, ReadPhoto
from talking_points.files import write_whole
from talking_points.pages import counted
from talking_points.photos import decode_photo, scaled_size

SMALLEST_LABEL = 0.012
"""Sectors of the figure from this share of the circle on carry their name."""
SHEET_COLUMNS, SHEET_ROWS = 4, 3


def write_figures(folder: Path, records: Sequence[BuiltRecord], read_photo: ReadPhoto, *, seed: int) -> None:
    """Write composition.png and examples.png of records into a folder."""
    folder.mkdir(exist_ok=True)
    figures = {"composition": draw_composition(records), "examples": draw_contact_sheet(records, read_photo, seed=seed)}
    for name, figure in figures.items():
        drawn = io.BytesIO()
        with warnings.catch_warnings():
            # A character that the font lacks is drawn as a box; a line a character on stderr would not help.
            warnings.simplefilter("ignore")
            figure.savefig(drawn, format="png")
        write_whole(folder / f"{name}.png", drawn.getvalue())


def draw_composition(records: Sequence[BuiltRecord]) -> Figure:
    """The paper's Figure 6: sources in the inner rings, objects (a) and parts (b) in the outer ones."""
    figure = Figure(figsize=(13, 6.9), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_rings(left, [(record.source, record.object_category) for record in records], "(a)", "object")
    _draw_rings(right, [(record.source, part_category(record)) for record in records], "(b)", "part")
    figure.subplots_adjust(left=0, right=1, top=1, bottom=0.04, wspace=0)
    return figure


def _draw_rings(axes: Axes, names: Sequence[tuple[str, str]], mark: str, kind: str) -> None:
    """names: for each record, its source and what the outer ring counts."""
    of_source = dict(sorted(Counter(source for source, _ in names).items()))
    outer = sorted(Counter(names).items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    colours = {source: matplotlib.colormaps["tab10"](k % 10) for k, source in enumerate(of_source)}
    clockwise: dict[str, Any] = {"startangle": 90, "counterclock": False}
    wide, narrow = ({"width": 0.3, "edgecolor": "white", "linewidth": width} for width in (1.2, 0.5))
    inner = list(of_source.values())
    wedges, _ = axes.pie(inner, radius=0.68, colors=list(colours.values()), wedgeprops=wide, **clockwise)
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
        wedgeprops=narrow,
        **clockwise,
    )
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    title = counted(len({name for _, name in names}), f"{kind} category", f"{kind} categories")
    axes.set_title(f"{mark} {title}", fontsize=11, y=-0.02)


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
        photo = decode_photo(read_photo(record))
        shown = photo.resize(scaled_size(photo.size, min(1.0, 400 / max(photo.size))))
        axes.imshow(shown, extent=(0, photo.width, photo.height, 0))
        axes.plot(*record.point_px, "*", color="#e3120b", markersize=15, markeredgecolor="white", markeredgewidth=1)
        axes.set(xlim=(0, photo.width), ylim=(photo.height, 0))
        text = record.text or f"{record.object_name}: {record.part_name}"
        lines = textwrap.fill(text, 52, max_lines=8)
        # parse_math: a dollar sign in a description is a dollar sign.
        axes.text(0, -0.03, lines, transform=axes.transAxes, va="top", fontsize=8, parse_math=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.1, wspace=0.05, hspace=0.45)
    return figure
