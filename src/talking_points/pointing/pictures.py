"""What a model is shown of a point: the photo with a ring around it, and its surroundings enlarged."""

from __future__ import annotations

from PIL import Image, ImageDraw

from talking_points.photos import scaled_size
from talking_points.points import Point

CLOSE_UP_SHARE = 0.3
"""Side of the surroundings, as a share of the photo's long side. Ours."""
CLOSE_UP_LEAST_PX = 64
CLOSE_UP_SIDE_PX = 448
"""Side of the enlarged surroundings as they are shown."""


def ringed_photo(photo: Image.Image, point_px: Point, max_side_px: int) -> Image.Image:
    """The RGB photo, scaled down to a long side of at most `max_side_px`, with a thin red ring around a point of it.

    A ring, which leaves the point itself to be seen, as models read it better than a dot.
    """
    scale = min(1.0, max_side_px / max(photo.size))
    size_wh = scaled_size(photo.size, scale)
    shown = photo.resize(size_wh, Image.Resampling.BICUBIC) if size_wh != photo.size else photo.copy()
    x, y = point_px[0] * size_wh[0] / photo.width, point_px[1] * size_wh[1] / photo.height
    _draw_ring(shown, (x, y), max(5.0, 0.018 * max(size_wh)))
    return shown


def close_up(photo: Image.Image, point_px: Point) -> Image.Image:
    """The surroundings of a point of an RGB photo, enlarged, with the same ring.

    CLOSE_UP_SIDE_PX x CLOSE_UP_SIDE_PX, RGB. At the photo's border the point is not in the middle; what lies outside a
    photo that is narrower than the surroundings is gray.
    """
    side = max(CLOSE_UP_LEAST_PX, CLOSE_UP_SHARE * max(photo.size))
    left, top = (
        min(max(0.0, middle - side / 2), max(0.0, length - side))
        for middle, length in zip(point_px, photo.size, strict=True)
    )
    box = (left, top, left + side, top + side)
    shown = photo.transform(
        (CLOSE_UP_SIDE_PX, CLOSE_UP_SIDE_PX),
        Image.Transform.EXTENT,
        box,
        Image.Resampling.BICUBIC,
        fillcolor=(128, 128, 128),
    )
    scale = CLOSE_UP_SIDE_PX / side
    _draw_ring(shown, ((point_px[0] - left) * scale, (point_px[1] - top) * scale), 0.06 * CLOSE_UP_SIDE_PX)
    return shown


def _draw_ring(picture: Image.Image, middle: Point, radius: float) -> None:
    draw = ImageDraw.Draw(picture)
    x, y = middle
    for extra, colour in ((1.5, "white"), (0.0, "red")):
        around = radius + extra
        draw.ellipse((x - around, y - around, x + around, y + around), outline=colour, width=2)
