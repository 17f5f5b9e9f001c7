"""Which pixel of a photo the page asks about, and says so: clicked, or given by its numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from talking_points.points import refuse_normalised
from tests.serving.live import needs_chromium
from tests.serving.visitor import SIZE_WH, click, open_photo, wait_for_answer


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


SMALL, LARGE = (40, 30), (2000, 900)
"""Shown larger than it is, and smaller."""
PHONE = {"device_scale_factor": 3, "has_touch": True, "is_mobile": True}


@needs_chromium
@pytest.mark.parametrize(
    ("size_wh", "width", "height", "screen", "full_screen"),
    [
        (SMALL, 1280, 900, {}, False),
        (LARGE, 1280, 900, {}, False),
        (LARGE, 1280, 900, {}, True),
        (SMALL, 1920, 1080, {}, True),
        (LARGE, 800, 1000, {}, True),
        # As a browser zoomed to 200%, and to 75%, has it.
        (SMALL, 640, 450, {"device_scale_factor": 2}, False),
        (LARGE, 1706, 1200, {"device_scale_factor": 0.75}, True),
        (SMALL, 375, 740, PHONE, False),
        (LARGE, 375, 740, PHONE, True),
        (LARGE, 740, 375, PHONE, False),
    ],
)
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
    assert (
        re.search(r"asked at \(20[01](\.\d+)?, 15[01](\.\d+)?\)", wait_for_answer(tab, 1))
        and not tab.locator("#point-2").count()
    )
    # The answer can be read there.
    assert tab.locator("#caption").is_visible() and "asked at (20" in tab.locator("#caption").inner_text()
    tab.keyboard.press("Escape")


@needs_chromium
def test_several_clicks_at_once(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()
    open_photo(tab, photo)
    for u in (0.25, 0.5, 0.75):
        click(tab, u, 0.5)
    said = [wait_for_answer(tab, n).split(" · ")[0] for n in (1, 2, 3)]
    # The middle of pixel 100 is at 100.5.
    assert all(
        re.search(rf"asked at \({x}[01](\.\d+)?, 15[01](\.\d+)?\)", one)
        for x, one in zip((10, 20, 30), said, strict=True)
    ), said


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


def type_pixel(tab: Any, x: str, y: str) -> None:
    if not tab.locator("#by-numbers").is_visible():
        tab.click("summary:has-text('Without a mouse')")
    tab.fill("#x", x)
    tab.fill("#y", y)
    tab.click("#by-numbers")


@needs_chromium
def test_what_is_shown_is_what_is_asked_saved_and_typed(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()
    answer = {"text": "a", "found_x": 212.46, "found_y": 143.5, "there": 0.9, "confidence": None}
    tab.route("**/v1/localize", lambda route: route.fulfill(json={"points": [answer]}))
    open_photo(tab, photo)
    # To the middle of a pixel, from which arrow keys go to the next one's.
    assert [tab.input_value(f"#{side}") for side in "xy"] == ["200.5", "150.5"]
    # Where the photo is shown as large as it is: the middle of pixel (212, 140).
    tab.evaluate("document.querySelector('#photo').style.width = '400px'")
    box = tab.locator("#photo img").bounding_box()
    assert (box["width"], box["height"]) == SIZE_WH
    x, y = -(-box["x"] // 1) + 212, -(-box["y"] // 1) + 140
    clicked = asked_pixel(tab, lambda: tab.mouse.click(x, y))
    said = [wait_for_answer(tab, 1)]
    shown = re.search(r"asked at \(([\d.]+), ([\d.]+)\)", said[0])
    assert shown is not None and tuple(map(float, shown.groups())) == clicked
    assert all(abs(side - middle) <= 0.5 for side, middle in zip(clicked, (212.5, 140.5), strict=True))
    assert all(round(side, 2) == side for side in clicked)
    assert asked_pixel(tab, lambda: type_pixel(tab, *shown.groups())) == clicked
    assert wait_for_answer(tab, 2) == said[0]
    assert asked_pixel(tab, lambda: type_pixel(tab, "212.524", "140.5")) == (212.52, 140.5)
    # As the command and the figure print it.
    assert (
        wait_for_answer(tab, 3) == "★ asked at (212.52, 140.5) · ◯ found at (212.5, 143.5) · 3.0 px, 1.0% of the photo"
    )
    assert "(★ asked at (212.52, 140.5)" in str(tab.locator("#caption").text_content())
    with tab.expect_download() as download:
        tab.click("#json")
    saved = json.loads(Path(download.value.path()).read_text())["points"]
    assert [(one["x"], one["y"]) for one in saved] == [clicked, clicked, (212.52, 140.5)]


@needs_chromium
def test_typed_numbers_that_look_normalised_are_refused_as_the_api_does(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit()
    open_photo(tab, photo)
    for x, y in [("0.4", "0.3"), ("0.04", "0.04"), ("1", "0.5"), ("1.01", "0")]:
        with pytest.raises(ValueError, match="looks normalised") as refused:
            refuse_normalised([(json.loads(x), json.loads(y))], SIZE_WH)
        type_pixel(tab, x, y)
        tab.get_by_text(str(refused.value)).wait_for()
        assert not tab.locator("#photo .star").count() and not tab.locator(".point").count()
    for n, (x, y) in enumerate([("0", "0"), ("1", "1"), ("0.5", "1.02"), ("0.5", "2")], start=1):
        refuse_normalised([(json.loads(x), json.loads(y))], SIZE_WH)
        type_pixel(tab, x, y)
        wait_for_answer(tab, n)


@needs_chromium
def test_of_a_photo_of_few_pixels_any_numbers_are_taken(visit: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (2, 300), "gray").save(path)
    tab = visit()
    tab.set_input_files("#upload input[type=file]", path)
    tab.locator("#status", has_text="2 × 300").wait_for()
    type_pixel(tab, "0.5", "0.5")
    assert "asked at (0.5, 0.5)" in wait_for_answer(tab, 1)
