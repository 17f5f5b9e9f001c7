from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import FoundPoint
from talking_points.serving.engine import Engine
from talking_points.serving.server import make_app
from talking_points.serving.settings import ServeSettings
from tests.serving import visitor
from tests.serving.live import CHROMIUM, listening
from tests.tiny import tiny_network

SIZE_WH = (70, 40)


@pytest.fixture(autouse=True)
def brief(short_texts: None) -> None:
    """The tiny model of these tests writes few words."""


def photo_bytes(size_wh: tuple[int, int] = SIZE_WH, form: str = "PNG", seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).integers(0, 255, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form)
    return stream.getvalue()


@pytest.fixture(scope="session")
def tp() -> TalkingPoints:
    network = tiny_network()
    # Whatever is asked for is in the photo; what is not, `nothing_is_there` says.
    network.localizer.head.ours.there[-1].bias.data.fill_(20.0)  # type: ignore[union-attr, index]
    return TalkingPoints.over(network)


@pytest.fixture
def nothing_is_there(tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch) -> FoundPoint:
    """What the localizer answers to any text: the thing is not in the photo, and if it were, it would be here."""
    found = FoundPoint(point_px=(7.0, 8.0), confidence=0.5, runner_up_px=(60.0, 30.0), there=0.04)
    monkeypatch.setattr(tp, "locate_many", lambda pairs: [found] * len(pairs))
    return found


@pytest.fixture(scope="session")
def engine(tp: TalkingPoints) -> Iterator[Engine]:
    running = Engine("tiny", tp, ServeSettings(wait_ms=1))
    yield running
    running.close()


@pytest.fixture
def client_of(engine: Engine) -> Iterator[Callable[..., TestClient]]:
    """A client of an application with the settings given, without a page."""
    with ExitStack() as opened:

        def client(**settings: object) -> TestClient:
            app = make_app({"tiny": engine}, ServeSettings(page=False, **settings))  # type: ignore[arg-type]
            # Entered, so that all requests share one event loop, as they do in a server.
            return opened.enter_context(TestClient(app, raise_server_exceptions=False))

        yield client


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    return client_of()


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """A file of six points: four on a photo of one source, two on one of another."""
    lines = []
    for name, count in (("a", 4), ("b", 2)):
        Image.new("RGB", (90, 60), "gray").save(tmp_path / f"{name}.png")
        lines += [
            {"photo": f"{name}.png", "x": 10.5 * (k + 1), "y": 30.5, "source": name, "text": "it"} for k in range(count)
        ]
    path = tmp_path / "points.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(engine: Engine) -> Iterator[str]:
    with listening(make_app({"tiny": engine}, ServeSettings(max_megabytes=2))) as url:
        yield url


@pytest.fixture
def visit(browser: Any, server: str) -> Iterator[Callable[..., Any]]:
    """Open the page as a new visitor; requests to other hosts fail the test."""
    contexts, outside = [], []

    def new(width: int = 1280, height: int = 900, **screen: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **screen)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        own = (server, "data:", "blob:")
        tab.on("request", lambda request: None if request.url.startswith(own) else outside.append(request.url))
        tab.goto(server)
        visitor.wait_for_page(tab)
        return tab

    yield new
    for context in contexts:
        context.close()
    assert not outside


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(photo_bytes(visitor.SIZE_WH))
    return path
