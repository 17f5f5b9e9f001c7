"""The web page: click a pixel, read its description, see where the words lead back to.

The page is a client of the API; what it shows, and what a visitor has on it, lives in the browser (`static/`). Only
what a browser cannot do is here: showing any photo that the API reads, upright, and the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, Response, UploadFile
from fastapi.responses import FileResponse, HTMLResponse
from PIL import Image
from pydantic import Json
from starlette.staticfiles import StaticFiles

from talking_points.demo import demo_photos
from talking_points.evaluation.figures import draw_points
from talking_points.pages import render
from talking_points.photos import encode_photo
from talking_points.points import ROUNDED_ONE
from talking_points.samples import ABSENT_BELOW, PhotoPoint, absence
from talking_points.serving.gate import PAGE_HEADERS
from talking_points.serving.schemas import PointAnswer
from talking_points.serving.service import Service, refusing
from talking_points.serving.settings import SHOWN_SIDE_PX, PhotoLimits

MOST_DRAWN = 8
"""Points of a figure: as many as the page shows at once."""


def add_page(app: FastAPI, service: Service) -> None:
    """Put the page at / of an application."""
    static = Path(__file__).parent / "static"
    html = render(__package__, "page.html.j2", absent_below=ABSENT_BELOW, absent=absence(0.0), rounded_one=ROUNDED_ONE)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(html, headers=PAGE_HEADERS)

    @app.get("/page/example", include_in_schema=False)
    async def example() -> Response:
        shown = demo_photos()[0]
        return FileResponse(shown.path, headers={"X-Points": str([list(point) for point in shown.points_px])})

    @app.post("/page/photo", include_in_schema=False)
    async def shown(photo: UploadFile) -> Response:
        jpeg, (width, height) = await service.with_photo(await photo.read(), _shown)
        return Response(jpeg, media_type="image/jpeg", headers={"X-Size": f"[{width}, {height}]"})

    @app.post("/page/figure", include_in_schema=False)
    async def figure(photo: UploadFile, points: Annotated[Json[list[PointAnswer]], Form()]) -> Response:
        with refusing():
            _check_drawn(points, service.settings)
        answers = [_point_of(point) for point in points]

        def drawn(image: Image.Image) -> bytes:
            return encode_photo(draw_points(image, answers), "PNG")

        png = await service.with_photo(await photo.read(), drawn)
        return Response(png, media_type="image/png")

    app.mount("/static", StaticFiles(directory=static))


def _check_drawn(points: Sequence[PointAnswer], limits: PhotoLimits) -> None:
    """ValueError for more than a figure has room for: it grows with its points and their texts."""
    if len(points) > MOST_DRAWN:
        raise ValueError(f"the figure has {len(points)} points; at most {MOST_DRAWN} are drawn")
    for number, point in enumerate(points, start=1):
        for text in (point.text, point.description):
            limits.check_text(text or "", f"text {number}")


def _shown(photo: Image.Image) -> tuple[bytes, tuple[int, int]]:
    """A photo as the page shows it, and its own width and height."""
    size_wh = photo.size
    photo.thumbnail((SHOWN_SIDE_PX, SHOWN_SIDE_PX))
    return encode_photo(photo), size_wh


def _point_of(point: PointAnswer) -> PhotoPoint:
    asked = None if point.x is None or point.y is None else (point.x, point.y)
    found = None if point.found_x is None or point.found_y is None else (point.found_x, point.found_y)
    return PhotoPoint(point_px=asked, text=point.text, description=point.description, found_px=found, there=point.there)
