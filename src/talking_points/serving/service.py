"""What the API, the chat, Label Studio and the page have in common: models by name, photos within limits, answers."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from PIL import Image
from starlette.exceptions import HTTPException

from talking_points.photos import decode_photo
from talking_points.pointing.encoding import PreparedPhoto
from talking_points.samples import PhotoPoint
from talking_points.serving.config import ServingConfig
from talking_points.serving.engine import BusyError, Engine, OnText, Point, StoppedError, Task
from talking_points.serving.fetching import fetch, fetch_from

DECODERS = 2
"""Photos that are decoded side by side: each may take a few bytes a pixel. Ours."""
READERS = 16
"""Photos that are read side by side; one from a slow host shall not hold up others. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """Answers about one photo."""

    model: str
    size_wh: tuple[int, int]
    answers: list[PhotoPoint]


class Service:
    """Loaded models behind limits. What a caller did wrong is an HTTPException with a one-line detail."""

    def __init__(self, engines: Mapping[str, Engine], config: ServingConfig) -> None:
        """engines: by the models' names; the first is used when a request names none."""
        self.engines = dict(engines)
        self.config = config
        self._decoders, self._readers = CapacityLimiter(DECODERS), CapacityLimiter(READERS)

    def engine(self, model: str | None) -> Engine:
        """A model by name, or the first."""
        if model is None:
            return next(iter(self.engines.values()))
        if model not in self.engines:
            raise HTTPException(404, f"model {model[:100]!r} is not served here; served: {', '.join(self.engines)}")
        return self.engines[model]

    def open(self, data: bytes) -> Image.Image:
        """A photo from its bytes, within the limits; a ValueError otherwise."""
        if len(data) > self.config.max_photo_bytes:
            raise ValueError(f"the photo has {len(data):,} bytes; at most {self.config.max_photo_bytes:,} are allowed")
        return decode_photo(data, max_pixels=self.config.max_pixels)

    def check_count(self, asked: Sequence[Point] | Sequence[str]) -> None:
        """A ValueError for no points or texts, or too many; texts also for their length."""
        if not 1 <= len(asked) <= self.config.max_points:
            raise ValueError(f"the request has {len(asked)} points or texts; allowed: 1 to {self.config.max_points}")
        for number, one in enumerate(asked, start=1):
            if isinstance(one, str) and len(one) > self.config.max_text_chars:
                raise ValueError(
                    f"text {number} has {len(one):,} characters; at most {self.config.max_text_chars:,} are allowed"
                )

    def read_source(self, source: str) -> bytes:
        """The bytes of a photo given as base64, a data URL, or, where allowed, an address. Blocks.

        Raises:
            ValueError: none of these, or not allowed.
        """
        if source.startswith(("http://", "https://")):
            if not self.config.allow_urls:
                raise ValueError("photos are not fetched from URLs here; send the photo itself, as base64")
            return fetch(source, max_bytes=self.config.max_photo_bytes)
        if source.startswith("data:"):
            head, comma, source = source.partition(",")
            if not comma or not head.endswith(";base64"):
                raise ValueError("the photo's data URL is not like data:image/jpeg;base64,...")
        try:
            data = base64.b64decode("".join(source.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the photo is neither base64 nor a data URL") from None
        if not data:
            raise ValueError("the photo is empty")
        return data

    def read_label_studio(self, path: str) -> bytes:
        """The bytes of a photo that Label Studio's own tasks name by a path. Blocks; a ValueError as `read_source`."""
        config = self.config
        if config.label_studio_url is None:
            raise ValueError("the task's photo lies in Label Studio; start the server with --label-studio URL")
        headers = {"Authorization": f"Token {config.label_studio_token}"} if config.label_studio_token else {}
        return fetch_from(config.label_studio_url, path, headers=headers, max_bytes=config.max_photo_bytes)

    async def prepared(self, source: bytes | str, engine: Engine, *, label_studio: bool = False) -> PreparedPhoto:
        """A photo from bytes or from what `read_source` takes, ready for a model."""
        # Before the work of decoding, not after it.
        self._check_room(engine)

        try:
            if isinstance(source, str):
                from_tasks = label_studio and source.startswith("/")
                read = self.read_label_studio if from_tasks else self.read_source
                source = await run_sync(read, source, limiter=self._readers)
            return await run_sync(self._prepare, engine, source, limiter=self._decoders)
        except ValueError as error:
            raise bad_request(error) from None

    def _prepare(self, engine: Engine, data: bytes) -> PreparedPhoto:
        return engine.prepare(self.open(data))

    async def answer(
        self,
        task: Task,
        engine: Engine,
        photo: PreparedPhoto,
        *,
        points_px: Sequence[Point] = (),
        texts: Sequence[str] = (),
        on_text: OnText | None = None,
    ) -> Answered:
        """Ask a model; arguments as `Engine.submit`."""
        try:
            self.check_count(texts if task == "localize" else points_px)
            future = engine.submit(task, photo, points_px=points_px, texts=texts, on_text=on_text)
        except ValueError as error:
            raise bad_request(error) from None
        except BusyError as busy:
            raise too_busy(busy) from None
        except StoppedError as stopped:
            raise HTTPException(503, str(stopped)) from None
        answers = await asyncio.wrap_future(future)
        return Answered(model=engine.name, size_wh=photo.size_wh, answers=answers)

    def _check_room(self, engine: Engine) -> None:
        try:
            engine.check_room()
        except BusyError as busy:
            raise too_busy(busy) from None
        except StoppedError as stopped:
            raise HTTPException(503, str(stopped)) from None


def bad_request(error: ValueError) -> HTTPException:
    """What is wrong with a request, in one line."""
    return HTTPException(400, " ".join(str(error).split()))


def too_busy(busy: BusyError) -> HTTPException:
    return HTTPException(429, str(busy), headers={"Retry-After": str(busy.retry_after_s)})
