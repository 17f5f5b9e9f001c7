"""What the API, the chat, Label Studio and the page have in common: models by name, photos within limits, answers."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from PIL import Image
from starlette.exceptions import HTTPException

from talking_points.photos import decode_photo
from talking_points.pointing.prepared import Prepared
from talking_points.progress import one_line
from talking_points.samples import PhotoPoint
from talking_points.serving.engine import BusyError, Engine, OnText, StoppedError, Task
from talking_points.serving.fetching import fetch
from talking_points.serving.settings import ServeSettings

T = TypeVar("T")

_URL_SAFE = str.maketrans("-_", "+/")
DECODERS = 2
"""Photos that are decoded side by side: each may take a few bytes a pixel. Ours."""
FETCHERS = 16
"""Photos that are fetched side by side; one from a slow host shall not hold up others. Ours."""


class Service:
    """Loaded models behind limits. What a caller did wrong is an HTTPException with a one-line detail."""

    def __init__(self, engines: Mapping[str, Engine], settings: ServeSettings) -> None:
        """engines: by the models' names; the first is used when a request names none."""
        self.engines = dict(engines)
        self.settings = settings
        self._decoders, self._fetchers = CapacityLimiter(DECODERS), CapacityLimiter(FETCHERS)

    def engine(self, model: str | None) -> Engine:
        """A model by name, or the first."""
        if model is None:
            return next(iter(self.engines.values()))
        if model not in self.engines:
            raise HTTPException(404, f"model {model[:100]!r} is not served here; served: {', '.join(self.engines)}")
        return self.engines[model]

    async def with_photo(self, source: bytes | str, work: Callable[[Image.Image], T]) -> T:
        """What `work`, in a thread, makes of a photo within the limits.

        source: the photo's bytes, base64, a data URL or, where allowed, an address.
        """
        with refusing():
            if isinstance(source, str) and source.startswith(("http://", "https://")):
                if not self.settings.allow_urls:
                    raise ValueError("photos are not fetched from URLs here; send the photo itself, as base64")
                source = await self.fetch(source)
            return await run_sync(lambda: work(self._decode(source)), limiter=self._decoders)

    async def fetch(self, url: str, *, trusted_headers: dict[str, str] | None = None) -> bytes:
        """The photo at an address, so many at once; arguments as `fetching.fetch`."""
        async with self._fetchers:
            return await fetch(url, max_bytes=self.settings.max_photo_bytes, trusted_headers=trusted_headers)

    async def prepare(self, engine: Engine, source: bytes | str) -> Prepared:
        """A photo, given as `with_photo` takes it, as a model sees it."""
        with refusing():
            # Before the work of decoding, not after it.
            engine.check_room()
        return await self.with_photo(source, engine.prepare)

    async def answer(
        self,
        task: Task,
        engine: Engine,
        photo: Prepared,
        asked: Sequence[PhotoPoint],
        *,
        on_text: OnText | None = None,
    ) -> list[PhotoPoint]:
        """Ask a model; arguments as `Engine.submit`."""
        with refusing():
            self._check_asked(asked)
            future = engine.submit(task, photo, asked, on_text=on_text)
        # Outside: what the model itself fails on is no mistake of the caller's.
        return await asyncio.wrap_future(future)

    def _check_asked(self, asked: Sequence[PhotoPoint]) -> None:
        """A ValueError for no points or texts, too many, or a text that is too long."""
        most, longest = self.settings.max_points, self.settings.max_text_chars
        if not 1 <= len(asked) <= most:
            raise ValueError(f"the request has {len(asked)} points or texts; allowed: 1 to {most}")
        for number, point in enumerate(asked, start=1):
            if len(point.text or "") > longest:
                raise ValueError(
                    f"text {number} has {len(point.text or ''):,} characters; at most {longest:,} are allowed"
                )

    def _decode(self, source: bytes | str) -> Image.Image:
        data = _bytes_of(source) if isinstance(source, str) else source
        most = self.settings.max_photo_bytes
        if len(data) > most:
            raise ValueError(f"the photo has {len(data):,} bytes; at most {most:,} are allowed")
        return decode_photo(data, max_pixels=self.settings.max_pixels)


def _bytes_of(source: str) -> bytes:
    if source[:5].lower() == "data:":
        head, comma, source = source.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("the photo's data URL is not like data:image/jpeg;base64,...")
    # Lines may be folded. A space within one stands where a "+" was, and without it the photo would be another.
    source = "".join(line.strip() for line in source.splitlines())
    if " " in source:
        raise ValueError("the photo's base64 holds spaces, which stand where a form lost a +; send it as JSON")
    source = source.translate(_URL_SAFE).rstrip("=")
    try:
        data = base64.b64decode(source + "=" * (-len(source) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the photo is neither base64 nor a data URL") from None
    if not data:
        raise ValueError("the photo is empty")
    return data


@contextmanager
def refusing() -> Iterator[None]:
    """What is wrong with a request, or with the time it comes at, as an HTTPException of one line."""
    try:
        yield
    except ValueError as error:
        raise HTTPException(400, one_line(error)) from None
    except BusyError as busy:
        raise HTTPException(429, str(busy), headers={"Retry-After": str(busy.retry_after_s)}) from None
    except StoppedError as stopped:
        raise HTTPException(503, str(stopped)) from None
