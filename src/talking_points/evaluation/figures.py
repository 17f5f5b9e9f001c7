"""Figures of points on a photo: what was asked, what was found, and the words between the two."""

from __future__ import annotations

import io
import math
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from PIL import Image

from talking_points.points import distance_unit
from talking_points.samples import PhotoPoint

Point = tuple[float, float]

ASKED_COLOUR = "#e3120b"
FOUND_COLOUR = "#12b76a"
TEXT_COLOUR = "#1a1a1a"
NOTE_COLOUR = "#6b6b6b"

# Sizes in inches unless the name says otherwise.
DOTS_PER_INCH = 200
PHOTO_PIXELS_PER_INCH = 100  # a 512-pixel photo is 5.12 inches wide
PHOTO_LONG_SIDE = (2.6, 6.4)  # of small and of large photos
PHOTO_SHORT_SIDE = 0.5  # a longer strip than this allows is stretched, or nothing of it would be seen
TEXT_WIDTH = 4.6  # the text's least width, beside a narrow photo
MARGIN = 0.12
LINE_HEIGHT = 0.175
NOTE_HEIGHT = 0.16
ENTRY_GAP = 0.09

STAR_POINTS = 10  # sizes of the markers, in 1/72 inch
RING_POINTS = 14

_TEXT_FONT = FontProperties(family="DejaVu Sans", size=9)
_NUMBER_FONT = FontProperties(family="DejaVu Sans", size=9, weight="bold")
_NOTE_FONT = FontProperties(family="DejaVu Sans", size=7.5)


def draw_points(photo: Image.Image, points: Sequence[PhotoPoint]) -> Image.Image:
    """Draw a photo with a red star at each asked point and a green ring at each found one, the texts below.

    Several points are numbered, from 1. Where a point was asked and found, a thin line joins the two and a
    note under the text says how far apart they are, in pixels and in per cent of the photo (the distance in
    the photo's normalised coordinates). A point outside the photo is drawn at its border.

    Args:
        photo: an RGB photo, as `talking_points.open_photo` gives it. A strip more than about 13 times as long
            as it is wide is stretched across, so that something can be seen.
        points: what to draw, in the order of the numbers.

    Returns:
        An RGB image, about 1000 to 1300 pixels wide, to be shown or saved.
    """
    photo_width, photo_height = _photo_inches(photo.size)
    text_width = max(photo_width, TEXT_WIDTH)
    indent = 0.2 if len(points) > 1 else 0.0
    entries = [_Entry.of(point, photo.size, text_width - indent) for point in points]
    legend_height = 0.27 if points else 0.0

    width = text_width + 2 * MARGIN
    height = photo_height + 2 * MARGIN + legend_height + sum(entry.height for entry in entries)
    # A Figure of its own canvas, not pyplot: pyplot would keep state between calls.
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)

    top = height - MARGIN
    left = (width - photo_width) / 2
    _draw_photo(figure, photo, points, (left, top - photo_height, photo_width, photo_height))
    top -= photo_height + legend_height
    if points:
        _draw_legend(figure, points, (left, top + 0.13))
    for number, entry in enumerate(entries, start=1):
        if indent:
            _write(figure, MARGIN, top, str(number), _NUMBER_FONT, TEXT_COLOUR)
        for line in entry.lines:
            _write(figure, MARGIN + indent, top, line, _TEXT_FONT, TEXT_COLOUR)
            top -= LINE_HEIGHT
        if entry.note:
            _write(figure, MARGIN + indent, top, entry.note, _NOTE_FONT, NOTE_COLOUR)
            top -= NOTE_HEIGHT
        top -= ENTRY_GAP
    return _render(figure)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    lines: list[str]
    note: str

    @property
    def height(self) -> float:
        return len(self.lines) * LINE_HEIGHT + bool(self.note) * NOTE_HEIGHT + ENTRY_GAP

    @classmethod
    def of(cls, point: PhotoPoint, size_wh: tuple[int, int], width: float) -> _Entry:
        lines = _wrap(point.words, width) if point.words else []
        return cls(lines=lines, note=_note(point, size_wh))


def _note(point: PhotoPoint, size_wh: tuple[int, int]) -> str:
    parts = []
    if point.point_px:
        parts.append(f"asked ({point.point_px[0]:.1f}, {point.point_px[1]:.1f})")
    if point.found_px:
        parts.append(f"found ({point.found_px[0]:.1f}, {point.found_px[1]:.1f})")
    if point.point_px and point.found_px:
        pixels = math.dist(point.found_px, point.point_px)
        per_cent = 100 * distance_unit(point.found_px, point.point_px, size_wh)
        parts.append(f"{pixels:.1f} px apart, {per_cent:.1f}% of the photo")
    return "  ·  ".join(parts)


def _photo_inches(size_wh: tuple[int, int]) -> tuple[float, float]:
    smallest, largest = PHOTO_LONG_SIDE
    long_side = max(size_wh)
    scale = min(max(long_side / PHOTO_PIXELS_PER_INCH, smallest), largest) / long_side
    return max(size_wh[0] * scale, PHOTO_SHORT_SIDE), max(size_wh[1] * scale, PHOTO_SHORT_SIDE)


def _draw_photo(
    figure: Figure, photo: Image.Image, points: Sequence[PhotoPoint], box: tuple[float, float, float, float]
) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.set_axis_off()
    axes.set_xlim(0, photo.width)
    axes.set_ylim(photo.height, 0)
    shown_wh = (round(box[2] * DOTS_PER_INCH), round(box[3] * DOTS_PER_INCH))
    # Pixels that are large on the page stay sharp squares; others are resampled once, here, and not again.
    enlarged = shown_wh[0] >= 4 * photo.width and shown_wh[1] >= 4 * photo.height
    resample = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    shown = photo.resize(shown_wh, resample)
    axes.imshow(shown, extent=(0, photo.width, photo.height, 0), aspect="auto", interpolation="nearest")
    points_per_pixel = (72 * box[2] / photo.width, 72 * box[3] / photo.height)
    for number, point in enumerate(points, start=1):
        asked = _onto_photo(point.point_px, photo.size)
        found = _onto_photo(point.found_px, photo.size)
        if asked and found:
            _draw_line(axes, asked, found, points_per_pixel)
        if found:
            ring = axes.plot(*found, "o", markersize=RING_POINTS, fillstyle="none", color=FOUND_COLOUR)[0]
            _set_off(ring, edge=2)
        if asked:
            # Above the ring, and smaller: a point that is found exactly is a star inside a ring.
            _set_off(axes.plot(*asked, "*", markersize=STAR_POINTS, color=ASKED_COLOUR)[0], edge=0)
        place = asked or found
        if place and len(points) > 1:
            _draw_number(axes, number, place, found, photo.size)


def _draw_line(axes: Axes, asked: Point, found: Point, points_per_pixel: tuple[float, float]) -> None:
    """Join a star to its ring, up to the ring's border."""
    dx, dy = found[0] - asked[0], found[1] - asked[1]
    length = math.hypot(dx * points_per_pixel[0], dy * points_per_pixel[1])
    part = 1 - (RING_POINTS / 2 + 1) / length if length else 0
    if part > 0:
        line = Line2D((asked[0], asked[0] + part * dx), (asked[1], asked[1] + part * dy), color="white")
        line.set(linewidth=1.1, zorder=2, path_effects=[withStroke(linewidth=2.2, foreground="#00000099")])
        axes.add_line(line)


def _draw_number(axes: Axes, number: int, place: Point, found: Point | None, size_wh: tuple[int, int]) -> None:
    """Write a point's number beside its star, away from its ring and inside the photo."""
    u, v = place[0] / size_wh[0], place[1] / size_wh[1]
    right = u < 0.06 or (u < 0.94 and (found is None or found[0] <= place[0]))
    below = v < 0.06
    axes.annotate(
        str(number),
        place,
        xytext=(6 if right else -6, -6 if below else 6),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top" if below else "bottom",
        fontproperties=_NUMBER_FONT,
        color="white",
        path_effects=[withStroke(linewidth=2.4, foreground="#000000cc")],
        zorder=5,
    )


def _onto_photo(point_px: Point | None, size_wh: tuple[int, int]) -> Point | None:
    if point_px is None:
        return None
    return min(max(point_px[0], 0), size_wh[0]), min(max(point_px[1], 0), size_wh[1])


def _set_off(marker: Line2D, *, edge: float) -> None:
    """Give a marker a white border, to be seen on any photo, and let it reach over the photo's edge."""
    marker.set_markeredgewidth(edge)
    marker.set(path_effects=[withStroke(linewidth=edge + 2, foreground="white")])
    marker.set(clip_on=False, zorder=3 if edge else 4)


def _draw_legend(figure: Figure, points: Sequence[PhotoPoint], place: tuple[float, float]) -> None:
    width, height = figure.get_size_inches()
    x, y = place
    star = Line2D([], [], marker="*", markersize=8, color=ASKED_COLOUR, markeredgewidth=0)
    ring = Line2D([], [], marker="o", markersize=6.5, color=FOUND_COLOUR, markeredgewidth=1.6, fillstyle="none")
    items = [(star, "asked")] if any(point.point_px for point in points) else []
    items += [(ring, "found from the text")] if any(point.found_px for point in points) else []
    for marker, label in items:
        marker.set_data([(x + 0.06) / width], [y / height])
        figure.add_artist(marker)
        text = figure.text((x + 0.17) / width, y / height, label, fontproperties=_NOTE_FONT)
        text.set(color=NOTE_COLOUR, verticalalignment="center_baseline")
        x += 0.17 + _text_inches(label, _NOTE_FONT) + 0.2


def _write(figure: Figure, x: float, top: float, text: str, font: FontProperties, colour: str) -> None:
    width, height = figure.get_size_inches()
    baseline = top - 0.125
    # parse_math: a dollar sign in a description is a dollar sign.
    figure.text(x / width, baseline / height, text, fontproperties=font, color=colour, va="baseline", parse_math=False)


def _wrap(text: str, width: float) -> list[str]:
    """Break a text into lines of at most `width` inches: between words, or inside one that is longer."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and _text_inches(f"{line} {word}", _TEXT_FONT) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while len(line) > 1 and _text_inches(line, _TEXT_FONT) > width:
            # Longer beginnings are wider; the last that fits makes a line, of one character at least.
            beginnings = range(1, min(len(line), 500))
            fits = max(1, bisect_right(beginnings, width, key=lambda n: _text_inches(line[:n], _TEXT_FONT)))
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line else lines


def _text_inches(text: str, font: FontProperties) -> float:
    renderer = RendererAgg(1, 1, DOTS_PER_INCH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # see _render
        return renderer.get_text_width_height_descent(text, font, ismath=False)[0] / DOTS_PER_INCH


def _render(figure: Figure) -> Image.Image:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box; a line a character on stderr would not help.
        warnings.simplefilter("ignore")
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH)
    return Image.open(stream).convert("RGB")
