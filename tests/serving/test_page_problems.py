"""What the page complains of and offers, and where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import photo_bytes
from tests.serving.live import needs_chromium
from tests.serving.visitor import click, open_photo, wait_for_answer

MOST_POINTS = 8


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
    tab.locator("#note-1", has_text=re.compile(r"asked at \(20[01](\.\d+)?, 3[01](\.\d+)?\)")).wait_for()
    assert not tab.locator("#problem").is_visible() and not tab.locator("#point-9").count()
    click(tab, 0.5, 0.2)
    tab.get_by_role("button", name="Remove point 2 for this one").wait_for()
    tab.click("#clear")
    tab.wait_for_selector("#point-1", state="detached")


def offered(tab: Any) -> Any:
    """The offer of the room of the oldest point, after a ninth click; its button."""
    answer = {"text": "a", "found_x": 9, "found_y": 8, "there": 0.9, "confidence": None}
    tab.route("**/v1/localize", lambda route: route.fulfill(json={"points": [answer]}))
    for n in range(MOST_POINTS):
        click(tab, 0.1 + 0.1 * n, 0.5)
        wait_for_answer(tab, n + 1)
    click(tab, 0.5, 0.2)
    offer = tab.get_by_role("button", name="Remove point 1 for this one")
    offer.wait_for()
    return offer


def open_other(tab: Any, folder: Path) -> None:
    other = folder / "other.png"
    other.write_bytes(photo_bytes((300, 200), seed=1))
    tab.set_input_files("#upload input[type=file]", other)
    tab.locator("#status", has_text="300 × 200").wait_for()


WAYS: dict[str, Callable[[Any, Path], None]] = {
    "another photo": open_other,
    "the example": lambda tab, _: tab.click("#example"),
    "all points removed": lambda tab, _: tab.click("#clear"),
    "one point removed": lambda tab, _: tab.click("#remove-3"),
}


@needs_chromium
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_an_offer_is_withdrawn_with_what_it_was_about(
    visit: Callable[..., Any], photo: Path, tmp_path: Path, way: Callable[[Any, Path], None]
) -> None:
    tab = visit()
    open_photo(tab, photo)
    offer = offered(tab)
    way(tab, tmp_path)
    # Well before it would go by itself.
    offer.wait_for(state="hidden", timeout=6000)
    assert not tab.locator("#problem").is_visible()


@needs_chromium
def test_on_a_narrow_screen_a_message_covers_nothing(visit: Callable[..., Any], photo: Path) -> None:
    tab = visit(390, 844)
    open_photo(tab, photo)
    offer = offered(tab)
    tab.evaluate("scrollTo(0, 0)")
    message = tab.locator("#problem").bounding_box()
    assert message["y"] >= 0 and message["y"] + message["height"] <= 844
    for needed in ("#upload", "#photo", "#status", "#example", "#clear", "#fullscreen", "summary", "#point-8"):
        box = tab.locator(needed).first.bounding_box()
        above, below = box["y"] + box["height"] <= message["y"], box["y"] >= message["y"] + message["height"]
        assert above or below, needed
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    # Far below the photo it is in sight all the same.
    tab.locator("#own-words").scroll_into_view_if_needed()
    message = tab.locator("#problem").bounding_box()
    assert offer.is_visible() and message["y"] >= 0 and message["y"] + message["height"] <= 844


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_in_full_screen_a_message_is_seen_and_its_button_works(
    visit: Callable[..., Any], photo: Path, width: int
) -> None:
    tab = visit(width, 844)
    open_photo(tab, photo)
    tab.click("#fullscreen")
    tab.wait_for_function("document.fullscreenElement")
    offer = offered(tab)
    middle = offer.bounding_box()
    x, y = middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2
    # Nor does it lie over the newest answer.
    message, caption = tab.locator("#problem").bounding_box(), tab.locator("#caption").bounding_box()
    assert message["y"] + message["height"] <= caption["y"]
    assert tab.evaluate("([x, y]) => document.elementFromPoint(x, y).tagName", [x, y]) == "BUTTON"
    tab.mouse.click(x, y)
    # Number 1 is the new one, at half the width; the old one was at a tenth.
    tab.wait_for_function("/asked at \\((199|20[01])/.test(document.querySelector('#note-1')?.innerText)")
    assert not tab.locator("#problem").is_visible()
    tab.evaluate("document.exitFullscreen()")
    # Out of it, messages stand where they did.
    tab.wait_for_selector("#photo + #problem", state="attached")
