"""The page on which people describe points of photos: one point at a time, each text kept as soon as it is saved.

What is written lives in the file (`kept_texts`), the page itself in `static/collect.js`. Points go by their number,
counted from 1; a client names no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from talking_points.dataset.checks import NUMBER_FOR_A_PLACE, number_for_a_place
from talking_points.evaluation.data import read_samples
from talking_points.evaluation.samples import Sample, drawn_evenly
from talking_points.pages import render
from talking_points.photos import encode_photo, scaled_size
from talking_points.progress import OnNote, one_line
from talking_points.serving.errors import answer_errors, media_type
from talking_points.serving.gate import PAGE_HEADERS, Gate, OwnPagesOnly
from talking_points.serving.kept_texts import KeptTexts
from talking_points.serving.metrics import Metrics
from talking_points.serving.settings import MOST_CHARS, SHOWN_SIDE_PX, CollectSettings

LOUPE_SHARE = 1 / 6
"""Of the photo's longer side that the loupe shows. Ours."""
LOUPE_LEAST_PX = 48
"""Side of the least that the loupe shows, in pixels of the photo."""
LOUPE_SIDE_PX = 640
"""Longer side of the loupe's picture."""
SHOWN_LEAST_PX = 640
"""Longer side of a small photo as it is shown: the ring would hide it. Ours."""
PHOTOS_KEPT = 4
"""Photos of this many points are kept as they are shown."""

State = Literal["", "text", "skipped"]
"""Of a point: nothing was done yet, it has a text, or was skipped."""


class Save(BaseModel):
    """What the page saves of a point."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Annotated[str, Field(max_length=MOST_CHARS)] = ""
    skipped: bool = False


def points_of(settings: CollectSettings, on_problem: OnNote) -> tuple[list[Sample], list[Sample]]:
    """All points of the set, and those to describe, which `evaluate` with the same limit and seed draws, too.

    Args:
        on_problem: told of each point that is passed over.

    Raises:
        FileNotFoundError, ValueError: there is no point; says why.
    """
    if settings.out.exists() and settings.data.exists() and settings.out.samefile(settings.data):
        raise ValueError(f"--out is the set itself, {settings.out}; choose another file")
    samples = read_samples(settings.data, settings.split, on_problem)
    drawn = samples if settings.limit is None else drawn_evenly(samples, settings.limit, settings.seed)
    return samples, drawn


def make_collect_app(points: Sequence[Sample], kept: KeptTexts, settings: CollectSettings) -> ASGIApp:
    """The whole application: the page, its points, and what guards them."""
    app = FastAPI(openapi_url=None)
    answer_errors(app, takes="application/json")
    html = render(__package__, "collect.html.j2", count=len(points), most_chars=MOST_CHARS)

    made = lru_cache(maxsize=PHOTOS_KEPT)(lambda number: _shown(_described(points[number - 1])))
    one_at_a_time = Lock()

    def shown(number: int) -> dict[str, bytes]:
        # A point's two pictures are asked for together, and made of one photo.
        with one_at_a_time:
            return made(number)

    @app.get("/")
    async def page() -> Response:
        return HTMLResponse(html, headers=PAGE_HEADERS)

    @app.get("/points")
    async def states() -> list[State]:
        return [_state(kept, sample) for sample in points]

    _add_points(app, points, kept, shown)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    return OwnPagesOnly(Gate(app, settings, Metrics({})), settings.host)


def _add_points(
    app: FastAPI, points: Sequence[Sample], kept: KeptTexts, shown: Callable[[int], dict[str, bytes]]
) -> None:
    """What there is of each point, by its number."""

    def numbered(number: int) -> Sample:
        if not 1 <= number <= len(points):
            raise HTTPException(404, f"there is no point {number}; allowed: 1 to {len(points)}")
        return points[number - 1]

    @app.get("/points/{number}")
    async def point(number: int) -> dict[str, Any]:
        sample = numbered(number)
        described = _described(sample)
        (x, y), (x0, y0, x1, y1) = described.point_px, loupe_box(described.point_px, described.size_wh)
        return {
            "state": _state(kept, sample),
            "text": kept.text(sample) or "",
            "at": described.point_unit,
            "loupe_at": ((x - x0) / (x1 - x0), (y - y0) / (y1 - y0)),
        }

    # Not async: photos are opened in a thread.
    @app.get("/points/{number}/{kind}")
    def picture(number: int, kind: Literal["photo", "loupe"]) -> Response:
        numbered(number)
        try:
            jpeg = shown(number)[kind]
        except (ValueError, OSError) as error:
            raise HTTPException(404, one_line(error)) from None
        # Another set may be at this address tomorrow.
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    # Async, so that saves come one after the other.
    @app.put("/points/{number}")
    async def save(number: int, saved: Save, request: Request) -> dict[str, Any]:
        sample = numbered(number)
        if media_type(request.headers) != "application/json":
            raise HTTPException(415, "expected Content-Type: application/json")
        # One paragraph.
        text = " ".join(saved.text.replace("\0", " ").split())
        if bool(text) == saved.skipped:
            raise HTTPException(400, 'expected a "text" that is not empty, or "skipped": true')
        try:
            kept.keep(sample, text)
        except OSError as error:
            raise HTTPException(507, f"the text is not saved: {one_line(error)}") from None
        number_said = number_for_a_place(text)
        warning = NUMBER_FOR_A_PLACE.format(number_said) if number_said else ""
        return {"state": _state(kept, sample), "text": text, "warning": warning}


def _described(sample: Sample) -> Sample:
    """Cross-photo, another photo's point is described than is sought."""
    return sample.described or sample


def _state(kept: KeptTexts, sample: Sample) -> State:
    text = kept.text(sample)
    return "" if text is None else "text" if text else "skipped"


def loupe_box(point_px: tuple[float, float], size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of what the loupe shows: around the point, and moved into the photo at its border.

    Example:
        >>> loupe_box((300, 10), (600, 400))
        (250, 0, 350, 100)
    """
    side = max(LOUPE_LEAST_PX, round(max(size_wh) * LOUPE_SHARE))
    sides = [min(side, length) for length in size_wh]
    x0, y0 = (
        min(max(0, round(at - side / 2)), length - side)
        for at, side, length in zip(point_px, sides, size_wh, strict=True)
    )
    return x0, y0, x0 + sides[0], y0 + sides[1]


def _shown(sample: Sample) -> dict[str, bytes]:
    """A point's pictures as JPEG."""
    photo = sample.open_photo()
    loupe = photo.crop(loupe_box(sample.point_px, sample.size_wh))
    side = min(max(max(photo.size), SHOWN_LEAST_PX), SHOWN_SIDE_PX)
    return {"photo": encode_photo(_scaled(photo, side)), "loupe": encode_photo(_scaled(loupe, LOUPE_SIDE_PX))}


def _scaled(photo: Image.Image, side: int) -> Image.Image:
    """With a longer side of so many pixels."""
    return photo.resize(scaled_size(photo.size, side / max(photo.size)), Image.Resampling.LANCZOS)
