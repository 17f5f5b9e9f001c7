"""A model behind an OpenAI-compatible endpoint as describer and localizer."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from PIL import Image

from talking_points.dataset.windows import ringed_photo
from talking_points.endpoint import Endpoint, RequestRefusedError
from talking_points.evaluation.pointing.formats import format_of_model, point_of_answer, prompt
from talking_points.points import Point
from talking_points.samples import FoundPoint

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class EndpointContestant:
    """Is shown the point ringed and in numbers, or asked to point. Errors as `Endpoint.ask`.

    What a content filter refuses, and an answer that holds no point, is no answer, a miss.
    """

    def __init__(self, endpoint: Endpoint, *, concurrency: int) -> None:
        """concurrency: requests side by side."""
        self._endpoint, self._concurrency = endpoint, concurrency
        self._format = format_of_model(endpoint.config.model)

    def describe_many(self, pairs: Sequence[tuple[Image.Image, Point]]) -> list[str]:
        """Texts of points of photos."""
        return self._side_by_side(self._describe, pairs)

    def locate_many(self, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
        """Points of texts about photos; NaN where there is no answer."""
        found = self._side_by_side(self._locate, pairs)
        return [FoundPoint(point_px=point, confidence=None, runner_up_px=None) for point in found]

    def _describe(self, pair: tuple[Image.Image, Point]) -> str:
        photo, (x, y) = pair
        shown = ringed_photo(photo, (x, y), self._endpoint.config.photo_side_px)
        place = {"x": round(x * shown.width / photo.width), "y": round(y * shown.height / photo.height)}
        asked = prompt("describe", width=shown.width, height=shown.height, **place)
        try:
            return " ".join(self._endpoint.ask(asked, shown, seed=0).split())
        except RequestRefusedError as refusal:
            log.warning("%s", refusal)
            return ""

    def _locate(self, pair: tuple[Image.Image, str]) -> Point:
        photo, text = pair
        side = self._endpoint.config.photo_side_px
        shown = photo.copy()
        shown.thumbnail((side, side), Image.Resampling.BICUBIC)
        asked = prompt(self._format, width=shown.width, height=shown.height, text=text)
        try:
            answer = self._endpoint.ask(asked, shown, seed=zlib.crc32(text.encode()))
            x, y = point_of_answer(self._format, answer, shown.size)
        except (RequestRefusedError, ValueError) as problem:
            log.warning("%s: %s", self._endpoint.config.model, problem)
            return math.nan, math.nan
        return x * photo.width / shown.width, y * photo.height / shown.height

    def _side_by_side(self, ask: Callable[[T], R], questions: Sequence[T]) -> list[R]:
        """Answers in the order of the questions; the first error ends what has not begun."""
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="endpoint")
        try:
            return list(pool.map(ask, questions))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
