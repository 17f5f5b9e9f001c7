"""The page in a real browser: what a visitor does, sees and may do wrong."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
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
from tests.serving.live import listening, needs_chromium

MOST_POINTS = 8
SIZE_WH = (400, 300)


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
    assert f'<body data-absent-below="{ABSENT_BELOW}" data-absent="not in the photo">' in client.get("/").text


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


def open_photo(tab: Any, photo: Path) -> None:
    tab.set_input_files("#upload input[type=file]", photo)
    tab.wait_for_selector("#photo img")
    tab.locator("#status", has_text="400 × 300").wait_for()


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
    # The middle of the pixel that was hit, wherever between two the page has laid the photo.
    assert re.search(r"asked at \(20[01], 7[56]\)", said)
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
    expected = f"found at ({found.found_px[0]:.0f}, {found.found_px[1]:.0f})"
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
    assert tab.locator("#note-1").inner_text() == "not in the photo · 4% likely to be there · likeliest place (7, 8)"
    click(tab, 0.5, 0.25)
    tab.wait_for_selector("#note-2 .absent")
    assert (
        tab.locator("#note-2")
        .inner_text()
        .endswith(" · not in the photo · 4% likely to be there · likeliest place (7, 8)")
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


def asked_pixel(tab: Any, press: Callable[[], None]) -> tuple[float, float]:
    """The point that the page asks the server about when somebody presses the photo."""
    with tab.expect_request("**/v1/chat/completions") as asked:
        press()
    text = asked.value.post_data_json["messages"][0]["content"][0]["text"]
    x, y = re.fullmatch(r"x = ([\d.]+), y = ([\d.]+) in pixels", text).groups()
    return float(x), float(y)


def wait_for_answer_beside(tab: Any, n: int) -> None:
    """Also where a photo in full screen hides it."""
    tab.wait_for_selector(f"#note-{n} .found", state="attached")


PHONE = {"device_scale_factor": 3, "has_touch": True, "is_mobile": True}


@needs_chromium
@pytest.mark.parametrize(
    ("width", "height", "screen", "full_screen"),
    [
        (1280, 900, {}, False),
        (1280, 900, {}, True),
        (1920, 1080, {}, True),
        (800, 1000, {}, True),
        # As a browser zoomed to 200%, and to 75%, has it.
        (640, 450, {"device_scale_factor": 2}, False),
        (1706, 1200, {"device_scale_factor": 0.75}, True),
        (375, 740, PHONE, False),
        (375, 740, PHONE, True),
        (740, 375, PHONE, False),
    ],
)
@pytest.mark.parametrize("size_wh", [(40, 30), (2000, 900)])
def test_the_pixel_clicked_is_the_pixel_asked(
    visit: Callable[..., Any],
    tmp_path: Path,
    size_wh: tuple[int, int],
    width: int,
    height: int,
    screen: dict[str, Any],
    full_screen: bool,
) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", size_wh, "gray").save(path)
    tab = visit(width, height, **screen)
    tab.set_input_files("#upload input[type=file]", path)
    tab.locator("#status", has_text=f"{size_wh[0]} × {size_wh[1]}").wait_for()
    if full_screen:
        tab.click("#fullscreen")
        tab.wait_for_function("document.fullscreenElement && document.querySelector('#photo img').width > 300")
    image = tab.locator("#photo img")
    for n, (u, v) in enumerate([(0.02, 0.03), (0.3, 0.3), (0.7, 0.2), (0.97, 0.7)], start=1):
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        assert box["width"] / box["height"] == pytest.approx(size_wh[0] / size_wh[1], rel=0.02)
        x, y = round(box["x"] + u * box["width"]), round(box["y"] + v * box["height"])
        press = tab.touchscreen.tap if screen.get("has_touch") else tab.mouse.click
        asked = asked_pixel(tab, lambda x=x, y=y, press=press: press(x, y))  # type: ignore[misc]
        # What is under the middle of the CSS pixel that was pressed, to within that pixel.
        for got, pressed, edge, shown, side in zip(
            asked, (x, y), (box["x"], box["y"]), (box["width"], box["height"]), size_wh, strict=True
        ):
            assert abs(got - (pressed + 0.5 - edge) / shown * side) <= 0.51 * side / shown + 0.01, (u, v)
        wait_for_answer_beside(tab, n)


@needs_chromium
def test_beside_the_photo_nothing_is_asked(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit(1280, 600)
    open_photo(tab, photo)
    tab.click("#fullscreen")
    tab.wait_for_function("document.fullscreenElement && document.querySelector('#photo img').width > 500")
    box = tab.locator("#photo img").bounding_box()
    tab.mouse.click(box["x"] - 3, 300)
    tab.mouse.click(box["x"] + box["width"] + 3, 300)
    click(tab, 0.5, 0.5)
    assert re.search(r"asked at \(20[01], 15[01]\)", wait_for_answer(tab, 1)) and not tab.locator("#point-2").count()
    # The answer can be read there.
    assert tab.locator("#caption").is_visible() and "asked at (20" in tab.locator("#caption").inner_text()
    tab.keyboard.press("Escape")


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
    said = "◯ found at (9, 8) · 88% sure · or else at (300, 200)"
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
def test_several_clicks_at_once(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()
    open_photo(tab, photo)
    for u in (0.25, 0.5, 0.75):
        click(tab, u, 0.5)
    said = [wait_for_answer(tab, n).split(" · ")[0] for n in (1, 2, 3)]
    # The middle of pixel 100 is at 100.5.
    assert all(re.search(rf"asked at \({x}[01], 15[01]\)", one) for x, one in zip((10, 20, 30), said, strict=True)), (
        said
    )


@needs_chromium
def test_two_visitors_do_not_see_each_other(visit: Callable[..., Any], photo: Path) -> None:
    one, other = visit(), visit()
    for tab, at in ((one, 0.25), (other, 0.75)):
        open_photo(tab, photo)
        click(tab, at, 0.5)
    for tab, x in ((one, 10), (other, 30)):
        assert re.search(rf"asked at \({x}[01], 15[01]\)", wait_for_answer(tab, 1))
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


@needs_chromium
def test_broken_and_too_large_files_are_told(visit: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    tab = visit()
    broken, large = tmp_path / "broken.jpg", tmp_path / "large.jpg"
    broken.write_bytes(b"this is no photo")
    large.write_bytes(bytes(2_500_000))
    tab.set_input_files("#upload input[type=file]", broken)
    tab.get_by_text("the photo is not a photo").first.wait_for()
    tab.set_input_files("#upload input[type=file]", large)
    tab.get_by_text("at most 2,000,000 are allowed", exact=False).first.wait_for()
    # and goes on
    open_photo(tab, photo)
    tab.click("#find-own")
    tab.get_by_text("the text is empty", exact=False).first.wait_for()


@needs_chromium
def test_on_a_phone_with_keys_alone(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit(375, 740)
    open_photo(tab, photo)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375
    tab.locator("summary", has_text="Without a mouse").focus()
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
    for n in range(MOST_POINTS):
        wait_for_answer(tab, n + 1)
    click(tab, 0.5, 0.1)
    tab.get_by_text(f"{MOST_POINTS} points are the most", exact=False).first.wait_for()
    # A ninth takes the place of the oldest, where that is wanted.
    tab.click("#problem button")
    tab.locator("#note-1", has_text=re.compile(r"asked at \(20[01], 3[01]\)")).wait_for()
    assert not tab.locator("#problem").is_visible() and not tab.locator("#point-9").count()
    click(tab, 0.5, 0.2)
    tab.get_by_role("button", name="Remove point 2 for this one").wait_for()
    tab.click("#clear")
    tab.wait_for_selector("#point-1", state="detached")
