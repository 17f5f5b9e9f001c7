"""The photos that come with the package, and what the demo, the page's example and `check-model` ask about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from talking_points.files import read_table
from talking_points.points import Point

if TYPE_CHECKING:
    from PIL import Image

FOLDER = Path(__file__).with_name("demo_photos")
"""Photos, `demo.toml` (points and texts) and `TERMS.md` (authors and licences)."""

# Sizes in pixels of the sheet.
COLUMNS = 3
GAP = 24
TITLE_SIZE, CREDIT_SIZE = 38, 21
TITLE_HEIGHT, CREDIT_HEIGHT = 72, 40


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPhoto:
    """A photo and what is asked about it."""

    path: Path
    title: str
    credit: str
    """Author and licence, to be shown with the photo."""
    points_px: tuple[Point, ...]
    """To be described and found back, pixels of the photo."""
    texts: tuple[str, ...]
    """Of things in the photo."""
    absent: tuple[str, ...]
    """Of things that are not in the photo."""
    known: tuple[tuple[Point, str], ...]
    """Points that there can be no doubt about, pixels of the photo, and their texts."""


def demo_photos() -> list[DemoPhoto]:
    """All of them, as `demo.toml` has them. The first is Grace Hopper, 512x600."""
    return [
        DemoPhoto(
            path=FOLDER / one["file"],
            title=one["title"],
            credit=one["credit"],
            points_px=tuple((float(x), float(y)) for x, y in one["points_px"]),
            texts=tuple(one["texts"]),
            absent=tuple(one["absent"]),
            known=tuple(((float(x), float(y)), text) for x, y, text in one["known"]),
        )
        for one in read_table(FOLDER / "demo.toml")["photos"]
    ]


def on_one_sheet(photos: Sequence[DemoPhoto], figures: Sequence[Image.Image]) -> Image.Image:
    """Figures in columns, each with its photo's title above and its credit below.

    Args:
        photos: whose titles and credits are shown.
        figures: an RGB picture a photo, such as `draw_points` draws; at least one. Each goes below the column that is
            the shortest so far.

    Returns:
        An RGB picture in which the figures keep their sizes.
    """
    # Not at the top: the shell's help needs no Pillow.
    from PIL import Image, ImageDraw, ImageFont

    title_font, credit_font = (ImageFont.load_default(size) for size in (TITLE_SIZE, CREDIT_SIZE))
    column_width = max(figure.width for figure in figures) + GAP
    bottoms = [GAP] * min(COLUMNS, len(figures))
    places = []
    for figure in figures:
        column = bottoms.index(min(bottoms))
        places.append((GAP + column * column_width, bottoms[column]))
        bottoms[column] += TITLE_HEIGHT + figure.height + CREDIT_HEIGHT + GAP
    sheet = Image.new("RGB", (GAP + len(bottoms) * column_width, max(bottoms)), "white")
    draw = ImageDraw.Draw(sheet)
    for photo, figure, (left, top) in zip(photos, figures, places, strict=True):
        draw.text((left + GAP, top + TITLE_HEIGHT // 2), photo.title, "black", title_font, anchor="lm")
        sheet.paste(figure, (left, top + TITLE_HEIGHT))
        below = top + TITLE_HEIGHT + figure.height + CREDIT_HEIGHT // 2
        draw.text((left + GAP, below), f"Photo: {photo.credit}", "dimgray", credit_font, anchor="lm")
    return sheet
