"""Figures of points on a photo: what was asked, what was found, and the words between the two."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from talking_points.points import Box, Point, distance_unit
from talking_points.samples import PhotoPoint, absence

ASKED_COLOUR = "#e3120b"
FOUND_COLOUR = "#12b76a"
TEXT_COLOUR = "#1a1a1a"
NOTE_COLOUR = "#6b6b6b"

# Sizes in pixels of the figure.
PHOTO_LONG_SIDE = (520, 1280)  # of small and of large photos; others are shown twice as large as they are
PHOTO_SHORT_SIDE = 100  # a longer strip than this allows is stretched, or nothing of it would be seen
TEXT_WIDTH = 920  # the text's least width, beside a narrow photo
MARGIN = 24
LEGEND_HEIGHT = 54
LINE_HEIGHT = 35
NOTE_HEIGHT = 32
ENTRY_GAP = 18
INDENT = 40  # of the texts of several points, which are numbered
TEXT_SIZE = 25
NOTE_SIZE = 21
MARKER_RADIUS = 16
_FINE = 4  # markers are drawn larger by this and scaled down, which smooths them


def draw_points(photo: Image.Image, points: Sequence[PhotoPoint]) -> Image.Image:
    """Draw a photo with a red star at each asked point and a green ring at each found one, the texts below.

    Several points are numbered, from 1. Where a point was asked and found, a thin line joins the two and a
    note under the text says how far apart they are, in pixels and in per cent of the photo (the distance in
    the photo's normalised coordinates). A point outside the photo is drawn at its border. A thing that counts as
    absent has no ring: the note says that it is not in the photo.

    Args:
        photo: an RGB photo, as `talking_points.open_photo` gives it. A strip more than about 13 times as long
            as it is wide is stretched across, so that something can be seen.
        points: what to draw, in the order of the numbers.

    Returns:
        An RGB image, about 1000 to 1300 pixels wide, to be shown or saved.
    """
    shown = _at_size(photo)
    text_width = max(shown.width, TEXT_WIDTH)
    indent = INDENT if len(points) > 1 else 0
    entries = [(_wrap(point.words or "", text_width - indent), _note(point, photo.size)) for point in points]
    heights = [len(lines) * LINE_HEIGHT + bool(note) * NOTE_HEIGHT + ENTRY_GAP for lines, note in entries]
    height = shown.height + (LEGEND_HEIGHT if points else 0) + sum(heights) + 2 * MARGIN
    figure = Image.new("RGB", (text_width + 2 * MARGIN, height), "white")
    left = (figure.width - shown.width) // 2
    figure.paste(shown, (left, MARGIN))
    _mark_points(figure, points, photo.size, (left, MARGIN, left + shown.width, MARGIN + shown.height))
    draw = ImageDraw.Draw(figure)
    top = MARGIN + shown.height
    if points:
        _draw_legend(figure, points, (left, top + LEGEND_HEIGHT // 2))
        top += LEGEND_HEIGHT
    for number, (lines, note) in enumerate(entries, start=1):
        if indent:
            draw.text((MARGIN, top), str(number), TEXT_COLOUR, _font(TEXT_SIZE, bold=True))
        for line in lines:
            draw.text((MARGIN + indent, top), line, TEXT_COLOUR, _font(TEXT_SIZE))
            top += LINE_HEIGHT
        if note:
            draw.text((MARGIN + indent, top), note, NOTE_COLOUR, _font(NOTE_SIZE))
            top += NOTE_HEIGHT
        top += ENTRY_GAP
    return figure


def mark_photo(photo: Image.Image, points: Sequence[PhotoPoint]) -> Image.Image:
    """The photo of `draw_points` alone, with its stars, rings, lines and numbers; 520 to 1280 pixels long."""
    shown = _at_size(photo)
    _mark_points(shown, points, photo.size, (0, 0, *shown.size))
    return shown


def _mark_points(picture: Image.Image, points: Sequence[PhotoPoint], size_wh: tuple[int, int], box_xyxy: Box) -> None:
    """Draw stars at asked points, rings at found ones and lines between the two onto a picture, in place.

    Args:
        points: numbered from 1 where there are several.
        size_wh: of the photo, whose pixels the points are in.
        box_xyxy: where on the picture the photo is, in pixels of the picture.
    """
    left, top, right, bottom = box_xyxy
    draw, radius = ImageDraw.Draw(picture), MARKER_RADIUS

    def place(point_px: Point | None) -> Point | None:
        if point_px is None:
            return None
        u, v = (min(max(value / side, 0.0), 1.0) for value, side in zip(point_px, size_wh, strict=True))
        return left + u * (right - left), top + v * (bottom - top)

    for number, point in enumerate(points, start=1):
        asked, found = place(point.point_px), place(_ringed(point))
        if asked and found:
            _join(draw, asked, found, radius)
        if found:
            _put(picture, radius, found, ring=True)
        if asked:
            # Above the ring, and smaller: a point that is found exactly is a star inside a ring.
            _put(picture, radius, asked, ring=False)
        at = asked or found
        if at and len(points) > 1:
            # Towards the middle of the photo, so that it is never cut off.
            x = at[0] + math.copysign(1.5 * radius, (left + right) / 2 - at[0])
            y = at[1] + math.copysign(1.5 * radius, (top + bottom) / 2 - at[1])
            font = _font(round(1.6 * radius), bold=True)
            edge = max(2, round(radius / 5))
            draw.text((x, y), str(number), "white", font, anchor="mm", stroke_width=edge, stroke_fill="black")


def _at_size(photo: Image.Image) -> Image.Image:
    smallest, largest = PHOTO_LONG_SIDE
    scale = min(max(2 * max(photo.size), smallest), largest) / max(photo.size)
    shown_wh = (max(round(photo.width * scale), PHOTO_SHORT_SIDE), max(round(photo.height * scale), PHOTO_SHORT_SIDE))
    # Pixels that are large on the page stay sharp squares.
    resample = Image.Resampling.NEAREST if scale >= 4 else Image.Resampling.LANCZOS
    return photo.resize(shown_wh, resample)


def _ringed(point: PhotoPoint) -> Point | None:
    """Where a point was found; None, too, for a thing that counts as absent."""
    return None if absence(point.there) else point.found_px


def _note(point: PhotoPoint, size_wh: tuple[int, int]) -> str:
    parts = []
    if point.point_px:
        parts.append(f"asked ({point.point_px[0]:.1f}, {point.point_px[1]:.1f})")
    absent = absence(point.there)
    if absent:
        parts.append(absent)
    if point.problem is not None:
        parts.append("no answer")
    if point.found_px:
        parts.append(f"{'likeliest place' if absent else 'found'} ({point.found_px[0]:.1f}, {point.found_px[1]:.1f})")
    if point.point_px and point.found_px and not absent:
        pixels = math.dist(point.found_px, point.point_px)
        per_cent = 100 * distance_unit(point.found_px, point.point_px, size_wh)
        parts.append(f"{pixels:.1f} px apart, {per_cent:.1f}% of the photo")
    return "  ·  ".join(parts)


def _join(draw: ImageDraw.ImageDraw, asked: Point, found: Point, radius: float) -> None:
    """A line from a star to the border of its ring."""
    length = math.dist(asked, found)
    if length > 1.3 * radius:
        part = 1 - 1.3 * radius / length
        end = asked[0] + part * (found[0] - asked[0]), asked[1] + part * (found[1] - asked[1])
        draw.line([asked, end], fill="black", width=4)
        draw.line([asked, end], fill="white", width=2)


def _put(picture: Image.Image, radius: float, at: Point, *, ring: bool) -> None:
    """A star of five corners, or a ring, with a white border, to be seen on any photo."""
    side = round(2.8 * radius)
    marker = Image.new("RGBA", (side * _FINE, side * _FINE))
    draw, middle, unit = ImageDraw.Draw(marker), side * _FINE / 2, radius * _FINE
    if ring:
        for reach, width, colour in ((1.3, 0.5, "white"), (1.22, 0.34, FOUND_COLOUR)):
            low, high = middle - reach * unit, middle + reach * unit
            draw.ellipse((low, low, high, high), outline=colour, width=round(width * unit))
    else:
        for reach, colour in ((1.25, "white"), (0.95, ASKED_COLOUR)):
            turns = [(reach if n % 2 == 0 else 0.45 * reach, math.pi * (n / 5 - 0.5)) for n in range(10)]
            corners = [(middle + unit * r * math.cos(turn), middle + unit * r * math.sin(turn)) for r, turn in turns]
            draw.polygon(corners, fill=colour)
    marker = marker.resize((side, side), Image.Resampling.LANCZOS)
    picture.paste(marker, (round(at[0] - side / 2), round(at[1] - side / 2)), marker)


def _draw_legend(figure: Image.Image, points: Sequence[PhotoPoint], at: Point) -> None:
    x, y = at
    shown = [(False, "asked")] if any(point.point_px for point in points) else []
    shown += [(True, "found from the text")] if any(_ringed(point) for point in points) else []
    for ring, label in shown:
        _put(figure, 0.6 * MARKER_RADIUS, (x + 12, y), ring=ring)
        ImageDraw.Draw(figure).text((x + 34, y), label, NOTE_COLOUR, _font(NOTE_SIZE), anchor="lm")
        x += 34 + _font(NOTE_SIZE).getlength(label) + 40


def _wrap(text: str, width: float) -> list[str]:
    """Break a text into lines of at most so many pixels: between words, or inside one that is longer."""
    length = _font(TEXT_SIZE).getlength
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and length(f"{line} {word}") > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while len(line) > 1 and length(line) > width:
            # Longer beginnings are wider; the last that fits makes a line, of one character at least.
            beginning = line
            fits = max(1, bisect_right(range(1, min(len(line), 500)), width, key=lambda n: length(beginning[:n])))
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line else lines


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu, which matplotlib ships: it has more scripts than Pillow's own font."""
    # Not at the top: it takes a while, and wrong settings and data are to be reported at once.
    import matplotlib

    name = f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
