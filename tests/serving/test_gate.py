"""Callers who announce, who are slow, and who leave."""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.serving.engine import Engine
from talking_points.serving.gate import MOST_BYTES_IN_FLIGHT
from talking_points.serving.server import make_app
from talking_points.serving.settings import ServeSettings
from tests.serving.conftest import photo_bytes
from tests.serving.live import Caller
from tests.serving.test_label_studio import INTERFACE, keypoint

SETTINGS = ServeSettings(page=False, wait_ms=1)
URL = {"url": f"data:image/png;base64,{b64encode(photo_bytes()).decode()}"}
ASKED = {"photo": URL["url"], "points": [[1, 1]]}
PARTS = [{"type": "text", "text": "(1, 1)"}, {"type": "image_url", "image_url": URL}]


@pytest.fixture
def held(tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engine, threading.Event]]:
    """An engine that works on its first request until the event is set."""
    engine, go = Engine("tiny", tp, SETTINGS), threading.Event()
    work = engine._answer

    def wait(batch: list[Any]) -> None:
        assert go.wait(60)
        work(batch)

    monkeypatch.setattr(engine, "_answer", wait)
    yield engine, go
    go.set()
    engine.close()


async def until(what: Callable[[], bool]) -> None:
    for _ in range(1000):
        if what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never")


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))  # type: ignore[arg-type]


def test_what_is_only_announced_takes_no_room(engine: Engine) -> None:
    """Twenty slow callers who announce the largest body keep nobody out."""
    app, most = make_app({"tiny": engine}, SETTINGS), SETTINGS.max_body_bytes
    assert 20 * most > MOST_BYTES_IN_FLIGHT

    async def work() -> None:
        slow = [Caller(app, "/v1/describe", b" ", whole=False, stated=most) for _ in range(20)]
        await asyncio.sleep(0.1)
        other = Caller(app, "/v1/describe", json.dumps(ASKED).encode())
        await other.task
        assert other.status == 200 and app._bytes_in_flight == 20
        for one in slow:
            one.leave()
            await one.task
        assert app._bytes_in_flight == 0

    run(work)


def test_what_has_come_is_counted_also_where_no_size_was_told(engine: Engine) -> None:
    app = make_app({"tiny": engine}, SETTINGS)
    app._bytes_in_flight = MOST_BYTES_IN_FLIGHT - 100  # what others have sent

    async def work() -> None:
        one = Caller(app, "/v1/describe", json.dumps(ASKED).encode(), stated=0)
        await one.task
        assert one.status == 429 and app._bytes_in_flight == MOST_BYTES_IN_FLIGHT - 100

    run(work)


LABELLED = {"data": {"photo": URL["url"]}, "annotations": [{"result": [keypoint("a", 1, 1)]}]}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/describe", ASKED),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": PARTS}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": PARTS}], "stream": True}),
        ("/label-studio/predict", {"label_config": INTERFACE, "tasks": [LABELLED]}),
    ],
)
def test_for_a_caller_who_left_nothing_is_done(
    held: tuple[Engine, threading.Event], path: str, content: dict[str, Any]
) -> None:
    engine, go = held
    app = make_app({"tiny": engine}, SETTINGS)
    asked: list[int] = []
    engine.watch(lambda count, _: asked.append(count))

    async def work() -> None:
        first = Caller(app, "/v1/describe", json.dumps(ASKED).encode())
        await until(lambda: engine._working == 1)
        second = Caller(app, path, json.dumps(content).encode())
        await until(lambda: engine.waiting == 1)
        second.leave()
        await second.task
        assert engine.waiting == 0 and second.status is None
        go.set()
        await first.task
        assert first.status == 200
        third = Caller(app, "/v1/describe", json.dumps(ASKED).encode())
        await third.task
        assert third.status == 200
        await until(lambda: len(asked) == 2)
        assert asked == [1, 1]

    run(work)
    told = app.metrics.text().decode()
    assert f'talking_points_requests_total{{route="{path}",status="499"}} 1.0' in told
    assert "talking_points_in_flight 0.0" in told
