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
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from PIL import Image

from talking_points import memory
from talking_points.endpoint import BudgetSpentError, EndpointDownError, RefusesRequestsError
from talking_points.model.prompts import Prompts
from talking_points.pointing.prepared import Prepared, UprightPhoto
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import Point, check_points
from talking_points.samples import PhotoPoint
from talking_points.serving.settings import ServeSettings

log = logging.getLogger(__name__)

Task = Literal["describe", "localize", "round-trip"]
OnText = Callable[[int, str], None]
"""Told, in the engine's thread, the number of a point in its request and its description so far."""

LONGEST_RETRY_S = 60
GIVE_BACK_EVERY_S = 5.0
"""Between two times that freed memory is given back. Ours."""
MOST_TOGETHER = 128
"""Points and texts of several requests that are worked on together: more bring nothing. Ours."""
MOST_PIXELS_WAITING = 400_000_000
"""Of photos that wait as they were opened: 1.2 GB. Ours."""


class BusyError(RuntimeError):
    """Too much is waiting already."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} points and texts are waiting already; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class StoppedError(RuntimeError):
    """The engine takes no more requests."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Request:
    task: Task
    photo: Prepared
    asked: list[PhotoPoint]
    on_text: OnText | None
    arrived_s: float = field(default_factory=time.monotonic)
    future: Future[list[PhotoPoint]] = field(default_factory=Future)


class Engine:
    """A model, its thread and its queue. Any thread may call it."""

    def __init__(self, name: str, tp: TalkingPoints, settings: ServeSettings | None = None) -> None:
        """
        Args:
            name: the model's, as callers know it.
            tp: with both adapters; from here on the engine's alone.
            settings: of these, `wait_ms` and `max_waiting`.
        """
        self.name, self.loaded_s = name, int(time.time())
        self.settings = settings or ServeSettings()
        self._tp = tp
        self._queue: deque[_Request] = deque()
        self._working = 0
        self._stopping = False
        self._seconds_each = 0.05
        self._given_back_s, self._holds_freed = time.monotonic(), False
        self._watchers: list[Callable[[int, float], None]] = []
        # Its lock may be taken again by the thread that holds it.
        self._changed = threading.Condition(threading.RLock())
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Points and texts that wait; those of callers who left do not."""
        with self._changed:
            return sum(len(request.asked) for request in self._queue if not request.future.cancelled())

    @property
    def prompts(self) -> Prompts | None:
        """What counts the model's tokens; None of stock models and endpoints, whose tokens are not known here."""
        network: Any = getattr(self._tp.descriptor, "network", None)
        return None if network is None else network.prompts

    @property
    def knows(self) -> tuple[str, ...]:
        """Objects and parts that the model was taught by name; none where that is not known."""
        network: Any = getattr(self._tp.descriptor, "network", None)
        return () if network is None else network.class_names

    def watch(self, on_batch: Callable[[int, float], None]) -> None:
        """From now on, tell the points and texts of each batch, and how long it took, in seconds."""
        self._watchers.append(on_batch)

    def prepare(self, photo: Image.Image) -> Prepared:
        """A photo as this model sees it. Runs in the caller's thread."""
        return self._tp.prepare(photo)

    def check_room(self, count: int = 1) -> None:
        """Raise BusyError or StoppedError when so many points or texts could not wait now."""
        with self._changed:
            if self._stopping:
                raise StoppedError("the server is stopping; ask another one")
            waiting = self.waiting
            # A request larger than the whole queue is let into an empty one: it could never get in otherwise.
            if waiting and waiting + count > self.settings.max_waiting:
                seconds = math.ceil((waiting + self._working) * self._seconds_each)
                raise BusyError(waiting, min(LONGEST_RETRY_S, max(1, seconds)))

    def submit(
        self, task: Task, photo: Prepared, asked: Sequence[PhotoPoint], *, on_text: OnText | None = None
    ) -> Future[list[PhotoPoint]]:
        """Ask about one photo.

        Args:
            task: "describe" and "round-trip" ask about points, "localize" about texts.
            photo: as `prepare` gives it.
            asked: each with `point_px` or, to be localized, with `text` (and `point_px` to be measured against).
            on_text: told descriptions as they are written; must be quick.

        Returns:
            A future of `asked` with answers, in its order. Cancelling it works while it waits.

        Raises:
            ValueError: a point is outside the photo, or a text is empty or too long; says which.
            BusyError, StoppedError: not now.
        """
        if task == "localize":
            for number, point in enumerate(asked, start=1):
                try:
                    self._tp.check_text(point.text or "")
                except ValueError as error:
                    raise ValueError(f"text {number}: {error}") from None
        else:
            places = check_points([point.point_px or (math.nan, math.nan) for point in asked], photo.size_wh)
            asked = [PhotoPoint(point_px=(float(x), float(y))) for x, y in places]
        request = _Request(task=task, photo=photo, asked=list(asked), on_text=on_text)
        if not asked:
            request.future.set_result([])
            return request.future
        with self._changed:
            # What callers left behind would else pile up, photos and all, while a batch is worked on.
            self._queue = deque(one for one in self._queue if not one.future.cancelled())
            self.check_room(len(asked))
            # Stock models and endpoints hold each photo as it was opened.
            held = {id(one.photo): one.photo for one in (*self._queue, request) if isinstance(one.photo, UprightPhoto)}
            if len(held) > 1 and sum(math.prod(one.size_wh) for one in held.values()) > MOST_PIXELS_WAITING:
                raise BusyError(self.waiting, 1)
            self._queue.append(request)
            self._changed.notify_all()
        return request.future

    def close(self, longest_s: float | None = None) -> bool:
        """Take nothing more, answer what waits, and end the thread: True; False where that takes longer than told."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(longest_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._next_batch():
            begun, count = time.monotonic(), sum(len(request.asked) for request in batch)
            self._answer(batch)
            seconds = time.monotonic() - begun
            with self._changed:
                self._seconds_each += 0.2 * (seconds / count - self._seconds_each)
                self._working = 0
            for on_batch in self._watchers:
                on_batch(count, seconds)
            # Not held until the next batch comes.
            del batch
            if time.monotonic() - self._given_back_s >= GIVE_BACK_EVERY_S:
                self._give_back()
            else:
                self._holds_freed = True

    def _give_back(self) -> None:
        memory.give_back_freed_memory()
        self._given_back_s, self._holds_freed = time.monotonic(), False

    def _next_batch(self) -> list[_Request]:
        """What is worked on next; empty when the engine has stopped."""
        batch: list[_Request] = []
        with self._changed:
            # Again where every caller has left meanwhile.
            while not batch and (self._queue or not self._stopping):
                self._wait_for_some()
                while self._queue and (not batch or self._working + len(self._queue[0].asked) <= MOST_TOGETHER):
                    request = self._queue.popleft()
                    # False for one whose caller has left.
                    if request.future.set_running_or_notify_cancel():
                        batch.append(request)
                        self._working += len(request.asked)
        return batch

    def _wait_for_some(self) -> None:
        """Wait for a first request, and a little for more. Holds the lock."""
        while not self._queue and not self._stopping:
            # A server that falls idle keeps nothing of its last batches.
            if not self._changed.wait(GIVE_BACK_EVERY_S if self._holds_freed else None):
                self._give_back()
        while self._queue and not self._stopping and self.waiting < MOST_TOGETHER:
            left_s = self._queue[0].arrived_s + self.settings.wait_ms / 1000 - time.monotonic()
            if left_s <= 0:
                break
            self._changed.wait(left_s)

    def _answer(self, batch: Sequence[_Request]) -> None:
        try:
            answers = self._ask_model(batch)
        except (EndpointDownError, BudgetSpentError) as error:
            if isinstance(error, RefusesRequestsError) and len(batch) > 1:
                for request in batch:
                    self._answer([request])
                return
            # It would be the same for each of them alone, and take as long each time.
            for request in batch:
                request.future.set_exception(error)
            return
        except Exception as error:
            if len(batch) > 1:
                # One of them may be the cause; the others shall not fail with it.
                for request in batch:
                    self._answer([request])
                return
            log.exception("a request failed")
            batch[0].future.set_exception(error)
            return
        for request, some in zip(batch, answers, strict=True):
            request.future.set_result(some)

    def _ask_model(self, batch: Sequence[_Request]) -> list[list[PhotoPoint]]:
        answers = [list(request.asked) for request in batch]
        places = [(r, n) for r, request in enumerate(batch) for n in range(len(request.asked))]
        described = [
            (r, n, point_px) for r, n in places if batch[r].task != "localize" and (point_px := answers[r][n].point_px)
        ]

        def told(place: int, text: str) -> None:
            r, n, _ = described[place]
            on_text = batch[r].on_text
            if on_text is not None:
                on_text(n, text)

        listened = any(batch[r].on_text is not None for r, _, _ in described)
        asked: list[tuple[Any, Point]] = [(batch[r].photo, point_px) for r, _, point_px in described]
        texts = self._tp.describe_many(asked, on_text=told if listened else None)
        for (r, n, _), text in zip(described, texts, strict=True):
            answers[r][n] = replace(answers[r][n], description=text)
        sought = [(r, n) for r, n in places if batch[r].task != "describe"]
        pairs: list[tuple[Any, str]] = [(batch[r].photo, answers[r][n].words or "") for r, n in sought]
        for (r, n), one in zip(sought, self._tp.locate_descriptions(pairs), strict=True):
            if one is not None:
                answers[r][n] = answers[r][n].answered(one, batch[r].photo.size_wh)
        return answers
