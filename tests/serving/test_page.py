"""The page in a real browser: what a visitor does, sees and may do wrong."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from talking_points.samples import PhotoPoint
from talking_points.serving.config import ServingConfig
from talking_points.serving.engine import Engine
from talking_points.serving.marking import marked, shown_photo
from talking_points.serving.page import MOST_POINTS, make_page, measured, note
from talking_points.serving.server import make_app
from talking_points.serving.service import Service
from tests.serving.conftest import photo_bytes
from tests.serving.live import listening

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SIZE_WH = (400, 300)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")


def test_error_in_words() -> None:
    answer = PhotoPoint(point_px=(10.0, 20.0), description="a", found_px=(13.0, 24.0), error=0.018)
    assert "**5 px, 1.8% of the photo**" in note(answer, (200, 100))
    again = measured((10.0, 20.0), PhotoPoint(description="b", found_px=(10.0, 30.0)), (200, 100))
    assert again.error == pytest.approx(0.1) and again.description == "b"
    assert measured(None, PhotoPoint(description="b", found_px=(1.0, 1.0)), (200, 100)).error is None


@pytest.mark.parametrize("size_wh", [(1, 1), (30_000, 2), (400, 300), (3000, 2000)])
def test_markers_on_any_photo(size_wh: tuple[int, int]) -> None:
    shown = shown_photo(Image.new("RGB", size_wh, "gray"))
    assert max(shown.size) <= 1280
    corners = [(0.0, 0.0), (float(size_wh[0]), float(size_wh[1]))]
    answers = [PhotoPoint(point_px=corners[0], found_px=corners[1]), None, PhotoPoint(found_px=corners[1])]
    assert marked(shown, size_wh, answers).size == shown.size


def test_the_page_fetches_no_url(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio would download a file that a request names by its URL."""
    page = make_page(Service({"tiny": engine}, ServingConfig()))
    fetched: list[Any] = []
    monkeypatch.setattr(gr.processing_utils, "async_move_files_to_cache", lambda *a, **k: fetched.append(a))
    for payload in (
        {"path": "http://169.254.169.254/", "meta": {"_type": "gradio.FileData"}},
        [{"path": "https://a/b"}],
    ):
        for fn in page.fns.values():
            with pytest.raises(gr.Error, match="uploaded files only"):
                asyncio.run(page.preprocess_data(fn, [payload], None))
    assert not fetched


@pytest.fixture(scope="module")
def server(engine: Engine) -> Iterator[str]:
    with listening(make_app({"tiny": engine}, ServingConfig(max_photo_bytes=2_000_000))) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, server: str) -> Iterator[Callable[..., Any]]:
    """Open the page as a new visitor; requests to other hosts fail the test."""
    contexts, outside = [], []

    def new(width: int = 1280, height: int = 900) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        own = (server, "data:", "blob:")
        tab.on("request", lambda request: None if request.url.startswith(own) else outside.append(request.url))
        tab.goto(server)
        wait_for_page(tab)
        return tab

    yield new
    for context in contexts:
        context.close()
    assert not outside


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(photo_bytes(SIZE_WH))
    return path


def wait_for_page(tab: Any) -> None:
    """Until the page listens: on a busy machine its parts are there before."""
    tab.wait_for_selector("html[data-listens]", state="attached")
    tab.wait_for_selector("#example")


def open_photo(tab: Any, photo: Path) -> None:
    tab.set_input_files("#upload input[type=file]", photo)
    tab.wait_for_selector("#photo img")
    tab.wait_for_function("document.querySelector('#status').innerText.includes('400 × 300')")
    # Until then its place on the page is not known. Later pictures take the same.
    tab.wait_for_function("document.querySelector('#photo img').naturalWidth")


def open_example(tab: Any) -> None:
    """On a busy machine the button may be there before anything listens to it: press it until it does."""
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(12):
        tab.click("#example")
        try:
            tab.wait_for_function("document.querySelector('#status').innerText.includes('512 × 600')", timeout=5000)
            return
        except TooLate:
            continue
    raise AssertionError("the example does not open")


def click(tab: Any, u: float, v: float) -> None:
    """A pixel by its share of the photo."""
    image = tab.locator("#photo img").first
    box = image.bounding_box()
    image.click(position={"x": box["width"] * u, "y": box["height"] * v})


def wait_for_answer(tab: Any, n: int) -> str:
    tab.wait_for_selector(f"#note-{n} .found")
    return str(tab.locator(f"#note-{n}").inner_text())


@needs_chromium
def test_click_read_edit_find_and_save(visit: Callable[..., Any], photo: Path, engine: Engine, tmp_path: Path) -> None:
    tab = visit()
    open_photo(tab, photo)
    click(tab, 0.5, 0.25)
    said = wait_for_answer(tab, 1)
    assert "asked at (200, 75)" in said or "asked at (201, 75)" in said
    assert "% of the photo" in said
    assert tab.locator("#text-1 textarea").input_value()
    click(tab, 0.1, 0.9)
    wait_for_answer(tab, 2)

    tab.fill("#text-1 textarea", "the left shoe")
    tab.click("#find-1")
    [found] = engine.submit("localize", engine.prepare(Image.open(photo)), texts=["the left shoe"]).result(60)
    assert found.found_px is not None
    expected = f"found at ({found.found_px[0]:.0f}, {found.found_px[1]:.0f})"
    assert expected not in said
    tab.wait_for_function("where => document.querySelector('#note-1').innerText.includes(where)", arg=expected)

    tab.fill("#own textarea", "a hood")
    tab.click("#find-own")
    assert "asked" not in wait_for_answer(tab, 3)

    tab.click("#remove-2")
    tab.wait_for_selector("#point-2", state="hidden")
    with tab.expect_download() as download:
        tab.click("#json")
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved["model"] == "tiny" and saved["photo"] == {"width": 400, "height": 300}
    first, own = saved["points"]
    assert first["text"] == "the left shoe" and first["x"] == pytest.approx(200.5, abs=1.5) and "error" in first
    assert own["text"] == "a hood" and "x" not in own
    with tab.expect_download() as download:
        tab.click("#figure")
    assert Image.open(download.value.path()).width > 500
    assert download.value.suggested_filename == "talking-points.png"


@needs_chromium
def test_clicks_while_the_picture_loads_count(visit: Callable[..., Any], photo: Path) -> None:
    """Every answer draws the photo anew; until the browser has that picture, Gradio drops clicks on it."""
    tab = visit()
    open_photo(tab, photo)
    held: list[Any] = []
    slow = True
    tab.route(re.compile(r"/image\.jpeg$"), lambda route: held.append(route) if slow else route.continue_())
    click(tab, 0.5, 0.25)
    tab.wait_for_selector("#point-1", state="visible")
    tab.wait_for_function("!document.querySelector('#photo img').naturalWidth")
    click(tab, 0.25, 0.5)
    click(tab, 0.75, 0.5)
    wait_for_answer(tab, 1)
    assert held and not tab.locator("#point-2").first.is_visible()
    slow = False
    for route in held:
        route.continue_()
    # The server takes up both at once.
    said = sorted(wait_for_answer(tab, n).split(" · ")[0] for n in (2, 3))
    assert ["asked at (100, 150)" in said[0], "asked at (300, 150)" in said[1]] == [True, True], said


@needs_chromium
def test_two_visitors_do_not_see_each_other(visit: Callable[..., Any], photo: Path) -> None:
    one, other = visit(), visit()
    for tab, at in ((one, 0.25), (other, 0.75)):
        open_photo(tab, photo)
        click(tab, at, 0.5)
    assert "asked at (100, 150)" in wait_for_answer(one, 1) and "asked at (300, 150)" in wait_for_answer(other, 1)
    for tab in (one, other):
        assert not tab.locator("#point-2").first.is_visible()


@needs_chromium
def test_the_example(visit: Callable[..., Any]) -> None:
    tab = visit()
    open_example(tab)
    wait_for_answer(tab, 4)
    assert len({tab.locator(f"#note-{n}").inner_text() for n in range(1, 5)}) == 4


@needs_chromium
def test_broken_and_too_large_files_are_told(visit: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    tab = visit()
    broken, large = tmp_path / "broken.jpg", tmp_path / "large.jpg"
    broken.write_bytes(b"this is no photo")
    large.write_bytes(bytes(2_500_000))
    tab.set_input_files("#upload input[type=file]", broken)
    tab.get_by_text("the photo is not a photo").first.wait_for()
    tab.set_input_files("#upload input[type=file]", large)
    tab.get_by_text("exceed the maximum", exact=False).first.wait_for()
    # and goes on
    tab.reload()
    wait_for_page(tab)
    open_photo(tab, photo)
    tab.click("#find-own")
    tab.get_by_text("the text is empty", exact=False).first.wait_for()


@needs_chromium
def test_on_a_phone_with_keys_alone(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit(375, 740)
    open_photo(tab, photo)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375
    tab.get_by_role("button", name="Without a mouse").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#by-numbers", state="visible")
    tab.get_by_label("x, pixels from the left").fill("30")
    tab.get_by_label("y, pixels from the top").fill("40")
    tab.focus("#by-numbers")
    tab.keyboard.press("Enter")
    assert "asked at (30, 40)" in wait_for_answer(tab, 1)
    tab.keyboard.press("Enter")
    wait_for_answer(tab, 2)
    # The newest first: nobody scrolls past older ones to read it.
    tops = [tab.locator(one).first.bounding_box()["y"] for one in ("#photo", "#point-2", "#point-1", "#own-words")]
    assert tops == sorted(tops)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375


@needs_chromium
def test_no_more_points_than_there_is_room_for(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()
    open_photo(tab, photo)
    for n in range(MOST_POINTS):
        click(tab, 0.1 + 0.1 * n, 0.5)
        tab.wait_for_selector(f"#point-{n + 1}", state="visible")
    click(tab, 0.5, 0.1)
    tab.get_by_text(f"{MOST_POINTS} points are the most", exact=False).first.wait_for()
    for n in range(MOST_POINTS):
        wait_for_answer(tab, n + 1)
    tab.click("#clear")
    tab.wait_for_selector("#point-1", state="hidden")
