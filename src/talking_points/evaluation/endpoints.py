"""Models behind an OpenAI-compatible endpoint as describers and localizers; every answer is paid for once."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from PIL import Image

from talking_points.dataset.windows import ringed_photo
from talking_points.endpoint import Endpoint, EndpointConfig, RequestRefusedError
from talking_points.evaluation.pointing import FORMATS, ask_for_point, format_of_model
from talking_points.evaluation.pointing import prompt as pointing_prompt
from talking_points.samples import FoundPoint

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def parse_endpoint(who: str) -> EndpointConfig:
    """`endpoint:URL,MODEL` as a configuration. A ValueError when it is none."""
    url, comma, model = who.removeprefix("endpoint:").partition(",")
    if not who.startswith("endpoint:") or not url or not comma:
        raise ValueError(f"{who!r} needs an address and a model, as in endpoint:http://host:8000/v1,MODEL")
    # The same question shall have the same answer.
    return EndpointConfig(url=url, model=model, temperature=0.0)


class EndpointDescriber:
    """Describes a point that is ringed on the photo and given in numbers."""

    def __init__(self, endpoint: Endpoint, *, concurrency: int) -> None:
        self._endpoint, self._concurrency = endpoint, concurrency

    def describe(self, photo: Image.Image, points_px: Sequence[tuple[float, float]]) -> list[str]:
        """See `Describer`; errors as `Endpoint.ask`. A request that a content filter refuses gives an empty text."""
        return self.describe_many([(photo, point) for point in points_px])

    def describe_many(self, pairs: Sequence[tuple[Image.Image, tuple[float, float]]]) -> list[str]:
        """`describe` of points of many photos, requests side by side."""
        return _side_by_side(pairs, self._describe_one, self._concurrency)

    def _describe_one(self, photo: Image.Image, point_px: tuple[float, float]) -> str:
        shown = ringed_photo(photo, point_px, self._endpoint.config.photo_side_px)
        scale = shown.width / photo.width, shown.height / photo.height
        prompt = pointing_prompt(
            "describe",
            width=shown.width,
            height=shown.height,
            x=round(point_px[0] * scale[0]),
            y=round(point_px[1] * scale[1]),
        )
        try:
            return " ".join(self._endpoint.ask(prompt, shown, seed=0).split())
        except RequestRefusedError as refusal:
            log.warning("%s", refusal)
            return ""


class EndpointLocalizer:
    """Asks a model that points. An answer that holds no point is no answer, a miss."""

    def __init__(self, endpoint: Endpoint, *, concurrency: int) -> None:
        self._endpoint, self._concurrency = endpoint, concurrency
        self.format = format_of_model(endpoint.config.model)
        self.unreadable = 0
        """Answers without a point so far."""

    def localize(self, photo: Image.Image, texts: Sequence[str]) -> list[tuple[float, float]]:
        """See `Localizer`; NaN where there is no answer."""
        return [found.point_px for found in self.locate_many([(photo, text) for text in texts])]

    def locate_many(self, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
        """`localize` of texts about many photos, requests side by side."""
        found = _side_by_side(pairs, self._localize_one, self._concurrency)
        return [FoundPoint(point_px=point, confidence=None, runner_up_px=None) for point in found]

    def _localize_one(self, photo: Image.Image, text: str) -> tuple[float, float]:
        side = self._endpoint.config.photo_side_px
        shown = photo.copy()
        shown.thumbnail((side, side), Image.Resampling.BICUBIC)
        prompt = ask_for_point(self.format, text, shown.size)
        try:
            answer = self._endpoint.ask(prompt, shown, seed=zlib.crc32(text.encode()))
            x, y = FORMATS[self.format](answer, shown.size)
        except (RequestRefusedError, ValueError) as problem:
            self.unreadable += 1
            log.warning("%s: %s", self._endpoint.config.model, problem)
            return math.nan, math.nan
        return x * photo.width / shown.width, y * photo.height / shown.height


def _side_by_side(
    pairs: Sequence[tuple[Image.Image, T]], ask: Callable[[Image.Image, T], R], concurrency: int
) -> list[R]:
    """Answers to questions about photos, `concurrency` at a time."""
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint")
    try:
        return [future.result() for future in [pool.submit(ask, photo, one) for photo, one in pairs]]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
