"""One loaded model that answers many callers: what comes within a few milliseconds goes through the network together.

A network has state while it works (which adapter acts), so one thread works on it; callers wait for futures. What may
wait is bounded: more is refused at once, with a time to come back, instead of growing memory.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from talking_points.pointing.encoding import PreparedPhoto, prepare_photo
from talking_points.pointing.role import MOST_AT_ONCE
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import check_points
from talking_points.samples import FoundPoint, PhotoPoint
from talking_points.serving.config import EngineConfig

log = logging.getLogger(__name__)

Task = Literal["describe", "localize", "round-trip"]
Point = tuple[float, float]
OnText = Callable[[int, str], None]
"""Told, in the engine's thread, the number of a point in its request and its description so far."""

LONGEST_RETRY_S = 60


class BusyError(RuntimeError):
    """Too much is waiting already."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} points and texts are waiting already; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class StoppedError(RuntimeError):
    """The engine takes no more requests."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Work:
    task: Task
    photo: PreparedPhoto
    points_px: list[Point]
    texts: list[str]
    on_text: OnText | None
    arrived_s: float = field(default_factory=time.monotonic)
    future: Future[list[PhotoPoint]] = field(default_factory=Future)

    @property
    def prompts(self) -> int:
        return len(self.points_px) or len(self.texts)


class Engine:
    """A model, its thread and its queue. Any thread may call it."""

    def __init__(
        self,
        name: str,
        tp: TalkingPoints,
        config: EngineConfig | None = None,
        *,
        on_batch: Callable[[int, float], None] = lambda prompts, seconds: None,
    ) -> None:
        """
        Args:
            name: the model's, as callers know it.
            tp: with both adapters; from here on the engine's alone.
            on_batch: told the prompts of each batch and how long it took, in seconds.
        """
        self.name = name
        self.config = config or EngineConfig()
        self.on_batch = on_batch
        self._tp = tp
        self._waiting: deque[_Work] = deque()
        self._working = 0
        self._stopping = False
        self._seconds_a_prompt = 0.05
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Points and texts that wait."""
        with self._changed:
            return sum(work.prompts for work in self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is worked on."""
        with self._changed:
            return not self._waiting and not self._working

    def prepare(self, photo: Image.Image) -> PreparedPhoto:
        """A photo as this model sees it. Runs in the caller's thread."""
        return prepare_photo(photo, self._tp.network.side)

    def check_room(self, prompts: int = 1) -> None:
        """Raise BusyError or StoppedError when so many points or texts could not wait now."""
        with self._changed:
            self._check_room(prompts)

    def submit(
        self,
        task: Task,
        photo: PreparedPhoto,
        *,
        points_px: Sequence[Point] = (),
        texts: Sequence[str] = (),
        on_text: OnText | None = None,
    ) -> Future[list[PhotoPoint]]:
        """Ask about one photo.

        Args:
            task: "describe" and "round-trip" ask about points, "localize" about texts.
            photo: as `prepare` gives it.
            points_px: (x, y) in pixels of the photo.
            texts: descriptions.
            on_text: told descriptions as they are written; must be quick.

        Returns:
            A future of one answer for each point or text, in their order. Cancelling it works while it waits.

        Raises:
            ValueError: a point is outside the photo, or a text is empty or too long; says which.
            BusyError, StoppedError: not now.
        """
        if task == "localize":
            for number, text in enumerate(texts, start=1):
                try:
                    self._tp.network.prompts.localize(text)
                except ValueError as error:
                    raise ValueError(f"text {number}: {error}") from None
            points_px = ()
        else:
            points_px = [(float(x), float(y)) for x, y in check_points(points_px, photo.size_wh)]
            texts = ()
        work = _Work(task=task, photo=photo, points_px=list(points_px), texts=list(texts), on_text=on_text)
        if not work.prompts:
            work.future.set_result([])
            return work.future
        with self._changed:
            self._check_room(work.prompts)
            self._waiting.append(work)
            self._changed.notify_all()
        return work.future

    def close(self) -> None:
        """Take nothing more, answer what waits, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _check_room(self, prompts: int) -> None:
        if self._stopping:
            raise StoppedError("the server is stopping; ask another one")
        waiting = sum(work.prompts for work in self._waiting)
        # A request larger than the whole queue is let into an empty one: it could never get in otherwise.
        if waiting and waiting + prompts > self.config.max_waiting:
            seconds = math.ceil((waiting + self._working) * self._seconds_a_prompt)
            raise BusyError(waiting, min(LONGEST_RETRY_S, max(1, seconds)))

    def _run(self) -> None:
        while batch := self._next_batch():
            begun = time.monotonic()
            self._answer(batch)
            prompts, seconds = sum(work.prompts for work in batch), time.monotonic() - begun
            with self._changed:
                self._seconds_a_prompt += 0.2 * (seconds / prompts - self._seconds_a_prompt)
                self._working = 0
            self.on_batch(prompts, seconds)

    def _next_batch(self) -> list[_Work]:
        """What is worked on next; empty when the engine has stopped."""
        while True:
            with self._changed:
                batch = self._gather()
                if batch or self._stopping:
                    return batch

    def _gather(self) -> list[_Work]:
        """Wait for a first request, a little for more, and take as many as go together. Holds the lock."""
        while not self._waiting and not self._stopping:
            self._changed.wait()
        while self._waiting and not self._stopping:
            left_s = self._waiting[0].arrived_s + self.config.wait_ms / 1000 - time.monotonic()
            if left_s <= 0 or sum(work.prompts for work in self._waiting) >= MOST_AT_ONCE:
                break
            self._changed.wait(left_s)
        batch: list[_Work] = []
        while self._waiting and (not batch or self._working + self._waiting[0].prompts <= MOST_AT_ONCE):
            work = self._waiting.popleft()
            # False for one whose caller has left.
            if work.future.set_running_or_notify_cancel():
                batch.append(work)
                self._working += work.prompts
        return batch

    def _answer(self, batch: Sequence[_Work]) -> None:
        try:
            answers = self._answer_together(batch)
        except Exception as error:
            if len(batch) > 1:
                # One of them may be the cause; the others shall not fail with it.
                for work in batch:
                    self._answer([work])
                return
            log.exception("a request failed")
            batch[0].future.set_exception(error)
            return
        for work, some in zip(batch, answers, strict=True):
            work.future.set_result(some)

    def _answer_together(self, batch: Sequence[_Work]) -> list[list[PhotoPoint]]:
        points = [(work, n) for work in batch for n in range(len(work.points_px))]

        def told(place: int, ids: list[int]) -> None:
            work, number = points[place]
            if work.on_text is not None:
                work.on_text(number, self._tp.network.prompts.decode(ids))

        texts = iter(self._tp.describe_many([(work.photo, work.points_px[n]) for work, n in points], on_token=told))
        said = [[next(texts) for _ in work.points_px] or work.texts for work in batch]
        # A descriptor that says nothing leaves nothing to localize.
        asked = [
            (work.photo, text)
            for work, some in zip(batch, said, strict=True)
            for text in some
            if text and work.task != "describe"
        ]
        found = iter(self._tp.locate_many(asked))
        return [
            [
                _answer(work, n, text, next(found) if text and work.task != "describe" else None)
                for n, text in enumerate(some)
            ]
            for work, some in zip(batch, said, strict=True)
        ]


def _answer(work: _Work, number: int, text: str, found: FoundPoint | None) -> PhotoPoint:
    point = PhotoPoint(text=text)
    if work.points_px:
        point = PhotoPoint(point_px=work.points_px[number], description=text)
    return point if found is None else point.answered(found, work.photo.size_wh)
