"""What the API, the chat, Label Studio and the page have in common: models by name, photos within limits, answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from PIL import Image
from starlette.exceptions import HTTPException

from talking_points.endpoint import BudgetSpentError, EndpointDownError
from talking_points.pointing.prepared import Prepared
from talking_points.progress import one_line
from talking_points.samples import PhotoPoint
from talking_points.serving.engine import BusyError, Engine, OnText, StoppedError, Task
from talking_points.serving.fetching import fetch
from talking_points.serving.photo_sources import open_within
from talking_points.serving.settings import ServeSettings

T = TypeVar("T")

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

    async def with_photo(
        self,
        source: bytes | str,
        work: Callable[[Image.Image], T],
        *,
        trusted_headers: dict[str, str] | None = None,
    ) -> T:
        """What `work`, in a thread, makes of a photo within the limits.

        Args:
            source: the photo's bytes, base64, a data URL or, where allowed, an address.
            trusted_headers: of an address that the server's owner named; see `fetching.fetch`.
        """
        with refusing():
            if not (isinstance(source, str) and source.startswith(("http://", "https://"))):
                return await self._decoded(source, work)
            if trusted_headers is None and not self.settings.allow_urls:
                raise ValueError("photos are not fetched from URLs here; send the photo itself, as base64")
            # Until it is decoded: what waits for that is in no request's bytes.
            async with self._fetchers:
                most = self.settings.max_photo_bytes
                fetched = await fetch(source, max_bytes=most, trusted_headers=trusted_headers)
                return await self._decoded(fetched, work)

    async def _decoded(self, source: bytes | str, work: Callable[[Image.Image], T]) -> T:
        return await run_sync(lambda: work(open_within(source, self.settings)), limiter=self._decoders)

    async def prepare(
        self, engine: Engine, source: bytes | str, *, trusted_headers: dict[str, str] | None = None
    ) -> Prepared:
        """A photo, given as `with_photo` takes it, as a model sees it."""
        with refusing():
            # Before the work of decoding, not after it.
            engine.check_room()
        return await self.with_photo(source, engine.prepare, trusted_headers=trusted_headers)

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
        try:
            return await asyncio.wrap_future(future)
        except (EndpointDownError, BudgetSpentError) as error:
            raise HTTPException(503, one_line(error)) from None

    def _check_asked(self, asked: Sequence[PhotoPoint]) -> None:
        """A ValueError for no points or texts, too many, or a text that is too long."""
        most = self.settings.max_points
        if not 1 <= len(asked) <= most:
            raise ValueError(f"the request has {len(asked)} points or texts; allowed: 1 to {most}")
        for number, point in enumerate(asked, start=1):
            self.settings.check_text(point.text or "", f"text {number}")


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
