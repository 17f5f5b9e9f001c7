"""The photo as the page shows it: a star at each asked point, a ring at each found one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from talking_points.evaluation.figures import ASKED_COLOUR, FOUND_COLOUR
from talking_points.samples import PhotoPoint

SHOWN_SIDE_PX = 1280
"""Longest side of the photo as it is shown."""
SMALLEST_SIDE_PX = 640
"""Small photos are shown enlarged to this: markers would hide them."""
_FINE = 4  # markers are drawn larger by this and scaled down, which smooths them


def shown_photo(photo: Image.Image) -> Image.Image:
    """A photo at the size that it is shown in."""
    side = max(photo.size)
    scale = min(max(side, SMALLEST_SIDE_PX), SHOWN_SIDE_PX) / side
    size_wh = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size_wh, Image.Resampling.BICUBIC) if size_wh != photo.size else photo


def marked(shown: Image.Image, size_wh: tuple[int, int], answers: Sequence[PhotoPoint | None]) -> Image.Image:
    """The shown photo with its points, numbered from 1 by their places in `answers`.

    Args:
        shown: as `shown_photo` gives it.
        size_wh: of the photo itself, whose pixels the answers speak of.
        answers: None where there is nothing to draw.
    """
    picture = shown.copy()
    draw = ImageDraw.Draw(picture)
    radius = max(9.0, 0.016 * max(picture.size))
    scale = picture.width / size_wh[0], picture.height / size_wh[1]
    font = ImageFont.load_default(size=1.7 * radius)
    for number, answer in enumerate(answers, start=1):
        if answer is None:
            continue
        asked, found = (
            None if point is None else (point[0] * scale[0], point[1] * scale[1])
            for point in (answer.point_px, answer.found_px)
        )
        if asked and found:
            _join(draw, asked, found, radius)
        if found:
            _put(picture, _ring(radius), found)
        if asked:
            _put(picture, _star(radius), asked)
        x, y = asked or found or (0.0, 0.0)
        # Beside the marker, towards the middle of the photo, so that it is never cut off.
        side = 1.5 * radius if x < picture.width / 2 else -1.5 * radius
        height = 1.5 * radius if y < picture.height / 2 else -1.5 * radius
        draw.text(
            (x + side, y + height),
            str(number),
            fill="white",
            font=font,
            anchor="mm",
            stroke_width=max(2, round(radius / 5)),
            stroke_fill="#000000",
        )
    return picture


def _join(draw: ImageDraw.ImageDraw, asked: tuple[float, float], found: tuple[float, float], radius: float) -> None:
    length = math.dist(asked, found)
    if length <= radius:
        return
    part = 1 - radius / length
    end = asked[0] + part * (found[0] - asked[0]), asked[1] + part * (found[1] - asked[1])
    draw.line([asked, end], fill="black", width=4)
    draw.line([asked, end], fill="white", width=2)


def _put(picture: Image.Image, marker: Image.Image, at: tuple[float, float]) -> None:
    picture.paste(marker, (round(at[0] - marker.width / 2), round(at[1] - marker.height / 2)), marker)


def _star(radius: float) -> Image.Image:
    def corners(outer: float, middle: float) -> list[tuple[float, float]]:
        turns = (math.pi * (n / 5 - 0.5) for n in range(10))
        lengths = (outer if n % 2 == 0 else 0.45 * outer for n in range(10))
        return [(middle + r * math.cos(a), middle + r * math.sin(a)) for a, r in zip(turns, lengths, strict=True)]

    side = round(2.6 * radius) * _FINE
    marker = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(marker)
    draw.polygon(corners(1.25 * radius * _FINE, side / 2), fill="white")
    draw.polygon(corners(0.95 * radius * _FINE, side / 2), fill=ASKED_COLOUR)
    return marker.resize((side // _FINE, side // _FINE), Image.Resampling.LANCZOS)


def _ring(radius: float) -> Image.Image:
    side = round(2.8 * radius) * _FINE
    marker = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(marker)
    for share, width, colour in ((1.3, 0.5, "white"), (1.22, 0.34, FOUND_COLOUR)):
        reach = share * radius * _FINE
        box = (side / 2 - reach, side / 2 - reach, side / 2 + reach, side / 2 + reach)
        draw.ellipse(box, outline=colour, width=round(width * radius * _FINE))
    return marker.resize((side // _FINE, side // _FINE), Image.Resampling.LANCZOS)
