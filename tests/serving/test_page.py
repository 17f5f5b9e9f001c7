"""The page in a real browser: what a visitor does, sees and may do wrong."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from talking_points.demo import demo_photos
from talking_points.points import distance_unit
from talking_points.samples import ABSENT_BELOW, PhotoPoint, percent
from talking_points.serving.engine import Engine
from talking_points.serving.server import make_app
from talking_points.serving.settings import ServeSettings
from tests.serving.conftest import photo_bytes
from tests.serving.live import needs_chromium
from tests.serving.visitor import SIZE_WH, click, open_photo, wait_for_answer, wait_for_page


@pytest.fixture(scope="module")
def client(engine: Engine) -> TestClient:
    return TestClient(make_app({"tiny": engine}, ServeSettings()), raise_server_exceptions=False)


def test_nothing_of_the_page_comes_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    for name in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text):
        part = client.get(f"/{name}")
        assert part.status_code == 200 and "://" not in part.text.replace("http://www.w3.org/2000/svg", "")


def test_the_page_is_told_what_counts_as_absent(client: TestClient) -> None:
    assert f'<body data-absent-below="{ABSENT_BELOW}" data-absent="not in the photo"' in client.get("/").text


def test_figures_show_what_is_not_in_the_photo(client: TestClient) -> None:
    def figure(there: float | None) -> bytes:
        point = {"text": "the unicorn", "found_x": 200, "found_y": 150, "there": there}
        posted = {"files": {"photo": photo_bytes(SIZE_WH)}, "data": {"points": json.dumps([point])}}
        return client.post("/page/figure", **posted).content

    assert figure(None) == figure(0.9) != figure(0.04)


@pytest.mark.parametrize("size_wh", [(1, 1), (30_000, 2), (400, 300), (3000, 2000)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_any_photo_is_shown(client: TestClient, size_wh: tuple[int, int], form: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", size_wh, "gray").save(stream, form)
    response = client.post("/page/photo", files={"photo": stream.getvalue()})
    shown = Image.open(io.BytesIO(response.content))
    assert shown.format == "JPEG" and max(shown.size) <= 1280
    assert json.loads(response.headers["X-Size"]) == list(size_wh)


def test_photos_are_shown_upright(client: TestClient) -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(stream, "JPEG", exif=exif)
    response = client.post("/page/photo", files={"photo": stream.getvalue()})
    assert Image.open(io.BytesIO(response.content)).size == (20, 40) and response.headers["X-Size"] == "[20, 40]"


@pytest.mark.parametrize(
    "points", ["", "{}", "[1]", '[{"found_x": "a"}]', '[{"x": 1e999, "found_x": 1, "found_y": 1}]']
)
def test_figures_of_what_is_no_points(client: TestClient, points: str) -> None:
    response = client.post("/page/figure", files={"photo": photo_bytes(SIZE_WH)}, data={"points": points})
    assert response.status_code == 400 and "points" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([{"found_x": 1, "found_y": 1, "there": None}] * 9, "the figure has 9 points; at most 8 are drawn"),
        ([{"description": "a" * 4001, "found_x": 1, "found_y": 1, "there": None}], "text 1 has 4,001 characters"),
        ([{"x": float("nan"), "y": 1, "found_x": 1, "found_y": 1, "there": None}], "finite"),
    ],
)
def test_a_figure_is_no_larger_than_the_page_needs(client: TestClient, points: list[object], said: str) -> None:
    """It grows with its points and their lines: without a limit one request would take all memory."""
    posted = {"files": {"photo": photo_bytes(SIZE_WH)}, "data": {"points": json.dumps(points)}}
    response = client.post("/page/figure", **posted)  # type: ignore[arg-type]
    assert response.status_code == 400 and said in response.json()["error"]["message"]


@needs_chromium
def test_click_read_edit_find_and_save(visit: Callable[..., Any], photo: Path, engine: Engine, tmp_path: Path) -> None:
    tab = visit()
    open_photo(tab, photo)
    click(tab, 0.5, 0.25)
    said = wait_for_answer(tab, 1)
    # The middle of the pixel that was hit, wherever between two the page has laid the photo.
    assert re.search(r"asked at \(20[01](\.\d+)?, 7[56](\.\d+)?\)", said)
    assert "% of the photo" in said
    assert tab.locator("#text-1 textarea").input_value()
    click(tab, 0.1, 0.9)
    wait_for_answer(tab, 2)

    tab.fill("#text-1 textarea", "the left shoe")
    tab.click("#find-1")
    [found] = engine.submit("localize", engine.prepare(Image.open(photo)), [PhotoPoint(text="the left shoe")]).result(
        60
    )
    assert found.found_px is not None
    expected = f"found at ({found.found_px[0]:.1f}, {found.found_px[1]:.1f})"
    assert expected not in said
    tab.locator("#note-1", has_text=expected).wait_for()

    tab.fill("#own", "a hood")
    tab.click("#find-own")
    assert "asked" not in wait_for_answer(tab, 3)

    tab.click("#remove-2")
    tab.wait_for_selector("#point-2", state="detached")
    with tab.expect_download() as download:
        tab.click("#json")
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved["model"] == "tiny" and saved["photo"] == {"width": 400, "height": 300}
    first, own = saved["points"]
    assert first["text"] == "the left shoe" and first["x"] == pytest.approx(200, abs=1)
    places = (first["x"], first["y"]), (first["found_x"], first["found_y"])
    assert first["error"] == pytest.approx(distance_unit(*places, SIZE_WH))
    assert own["text"] == "a hood" and "x" not in own
    with tab.expect_download() as download:
        tab.click("#figure")
    assert Image.open(download.value.path()).width > 500
    assert download.value.suggested_filename == "talking-points.png"


@needs_chromium
@pytest.mark.usefixtures("nothing_is_there")
def test_what_is_not_in_the_photo_is_said(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()
    open_photo(tab, photo)
    tab.fill("#own", "the unicorn")
    tab.click("#find-own")
    tab.wait_for_selector("#note-1 .absent")
    assert (
        tab.locator("#note-1").inner_text() == "not in the photo · 4% likely to be there · likeliest place (7.0, 8.0)"
    )
    click(tab, 0.5, 0.25)
    tab.wait_for_selector("#note-2 .absent")
    assert (
        tab.locator("#note-2")
        .inner_text()
        .endswith(" · not in the photo · 4% likely to be there · likeliest place (7.0, 8.0)")
    )
    # One star, at what was clicked.
    assert tab.locator("#photo .star").count() == 1 and tab.locator("#photo .ring").count() == 0


@needs_chromium
@pytest.mark.parametrize("there", [0.0000146, 0.009, 0.01, 0.29, 0.4999])
def test_likely_is_said_as_the_command_says_it(visit: Callable[..., Any], photo: Path, there: float) -> None:
    tab = visit()
    answer = {"text": "a", "found_x": 7, "found_y": 8, "there": there, "confidence": 0.5}
    tab.route("**/v1/localize", lambda route: route.fulfill(json={"points": [answer]}))
    open_photo(tab, photo)
    tab.fill("#own", "the unicorn")
    tab.click("#find-own")
    tab.locator("#note-1", has_text=f" · {percent(there)} likely to be there · ").wait_for()


@needs_chromium
def test_beside_an_open_photo_nothing_says_that_none_was_chosen(visit: Callable[..., Any], photo: Path) -> None:
    """The browser's own words on its control do."""
    tab = visit()
    open_photo(tab, photo)
    chooser = tab.locator("#upload input")
    assert chooser.evaluate("one => getComputedStyle(one).opacity") == "0"
    # Keys and clicks reach it all the same, and the frame shows where the keys go. The dialogue is expected well before
    # the key: what is asked in between makes sure that the browser knows.
    with tab.expect_file_chooser():
        tab.locator("#example").focus()
        tab.keyboard.press("Shift+Tab")
        assert chooser.evaluate("one => one === document.activeElement")
        assert tab.locator("#upload").evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        tab.keyboard.press("Enter")
    # On another page: Chromium opens no second dialogue while the first one waits for an answer.
    clicked = visit()
    with clicked.expect_file_chooser() as opened:
        clicked.click("#upload")
    opened.value.set_files(photo)
    clicked.locator("#photo").wait_for()


@needs_chromium
def test_no_button_is_dead(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()

    def pressable() -> set[str]:
        return {one.get_attribute("id") for one in tab.locator("button[id]").all() if one.is_enabled()}

    assert pressable() == {"example"}
    open_photo(tab, photo)
    assert pressable() == {"example", "fullscreen", "find-own", "by-numbers"}
    click(tab, 0.5, 0.5)
    wait_for_answer(tab, 1)
    assert pressable() >= {"clear", "figure", "json", "find-1", "remove-1"}
    tab.click("#clear")
    assert pressable() == {"example", "fullscreen", "find-own", "by-numbers"}


@needs_chromium
def test_what_the_model_knows_and_how_sure_it_is(visit: Callable[..., Any], photo: Path, engine: Engine) -> None:
    tab = visit()
    assert not engine.knows and not tab.locator("#knows").is_visible()
    listed = {"object": "list", "data": [{"id": "tiny", "knows": ["shoe", "hat"]}]}
    tab.route("**/v1/models", lambda route: route.fulfill(json=listed))
    tab.reload()
    wait_for_page(tab)
    tab.click("#knows summary")
    assert "What tiny knows: 2 objects and parts" in tab.locator("#knows").inner_text()
    assert "shoe, hat" in tab.locator("#names").inner_text()
    answer = {"text": "a", "found_x": 9, "found_y": 8, "there": 0.9, "confidence": 0.876}
    answer |= {"runner_up_x": 300, "runner_up_y": 200}
    tab.route("**/v1/localize", lambda route: route.fulfill(json={"points": [answer]}))
    open_photo(tab, photo)
    tab.fill("#own", "a hood")
    tab.click("#find-own")
    said = "◯ found at (9.0, 8.0) · 88% sure · or else at (300.0, 200.0)"
    tab.locator("#note-1", has_text=said).wait_for()


@needs_chromium
def test_marks_bear_the_numbers_of_their_answers(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()
    answer = {"text": "a", "found_x": 390, "found_y": 290, "there": 0.9, "confidence": None}
    tab.route("**/v1/localize", lambda route: route.fulfill(json={"points": [answer]}))
    open_photo(tab, photo)
    for u in (0.1, 0.4):
        click(tab, u, 0.1)
    for n in (1, 2):
        wait_for_answer(tab, n)
    assert tab.locator("#photo svg text").all_text_contents() in (["1", "1", "2", "2"],)
    tab.hover("#point-2")
    assert tab.locator("#photo .star:not(.faint)").count() == 1
    assert tab.locator("#photo svg text:not(.faint)").all_text_contents() == ["2", "2"]


@needs_chromium
def test_two_visitors_do_not_see_each_other(visit: Callable[..., Any], photo: Path) -> None:
    one, other = visit(), visit()
    for tab, at in ((one, 0.25), (other, 0.75)):
        open_photo(tab, photo)
        click(tab, at, 0.5)
    for tab, x in ((one, 10), (other, 30)):
        assert re.search(rf"asked at \({x}[01](\.\d+)?, 15[01](\.\d+)?\)", wait_for_answer(tab, 1))
    for tab in (one, other):
        assert not tab.locator("#point-2").count()


@needs_chromium
def test_the_example(visit: Callable[..., Any]) -> None:
    tab = visit()
    tab.click("#example")
    tab.locator("#status", has_text="512 × 600").wait_for()
    count = len(demo_photos()[0].points_px)
    wait_for_answer(tab, count)
    assert len({tab.locator(f"#note-{n}").inner_text() for n in range(1, count + 1)}) == count
