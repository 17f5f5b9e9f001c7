"""check-model against servers that know every answer, and do something wrong with it."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from PIL import Image

from talking_points.demo import demo_photos
from talking_points.pointing import checking
from talking_points.pointing.checking import check_model, known_points
from talking_points.pointing.pretrained import load_roles
from talking_points.points import check_points
from tests.endpoint_server import Reply, completion, prompt_of, serving

KNOWN = {
    text: (x / size[0], y / size[1])
    for photo in demo_photos()
    for size in [Image.open(photo.path).size]
    for (x, y), text in photo.known
}
Write = Callable[[float, float, tuple[int, int]], str]
"""x, y in [0, 1]^2 and the size of the picture that came, to an answer."""


@pytest.fixture(autouse=True)
def opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "known_points", all_known)


@cache
def all_known() -> list[checking.KnownPoint]:
    return known_points()


def as_qwen(x: float, y: float, size: tuple[int, int]) -> str:
    return json.dumps([{"point_2d": [round(x * 1000), round(y * 1000)]}])


def as_pixels(x: float, y: float, size: tuple[int, int]) -> str:
    return json.dumps({"x": round(x * size[0]), "y": round(y * size[1])})


def knowing(write: Write, *, absent: str = "[]") -> Callable[[dict[str, Any], int], Reply]:
    """A model that finds what is known exactly, describes with the known words, and knows what is not there."""

    def reply(asked: dict[str, Any], number: int) -> Reply:
        words = prompt_of(asked)
        pictures = [one["image_url"]["url"] for one in asked["messages"][0]["content"][:-1]]
        size = Image.open(io.BytesIO(b64decode(pictures[0].partition(",")[2]))).size
        if len(pictures) == 2:
            return completion("the cat's nose")
        text = max((one for one in KNOWN if one in words), key=len, default=None)
        return completion(absent if text is None else write(*KNOWN[text], size))

    return reply


def checked(model: str, reply: Callable[[dict[str, Any], int], Reply], **how: Any) -> dict[str, Any]:
    with serving(reply) as server:
        return check_model(load_roles(f"endpoint:{server.url},{model}", **how))


def test_the_known_points() -> None:
    known = known_points()
    assert len(KNOWN) == 20 and len(known) == 60
    for one in known:
        check_points([one.point_px], one.photo.size_wh)
        assert max(one.photo.size_wh) == one.side_px


@pytest.mark.parametrize(("model", "write"), [("qwen3-vl", as_qwen), ("gpt-5", as_pixels)])
def test_a_good_model_passes(model: str, write: Write) -> None:
    report = checked(model, knowing(write))
    assert report["passed"] and report["frame"] == {}
    assert report["finding"]["found"] == 1.0 and report["finding"]["median_error"] < 0.003
    assert set(report["finding"]["by_size"]) == {"400", "900", "2000"}
    assert report["absent"] == {"asked": 5, "said_absent": 5, "found_all_the_same": [], "unreadable": 0}
    assert report["describing"]["points"] == 20 and report["describing"]["empty"] == 0


@pytest.mark.parametrize(
    ("model", "write", "style"),
    [
        # The model's name tells another form than the one that it writes.
        ("qwen3-vl", lambda x, y, size: as_qwen(y, x, size), "gemini"),
        ("gpt-5", lambda x, y, size: json.dumps({"x": x, "y": y}), "moondream"),
    ],
)
def test_another_form_is_found_and_named(model: str, write: Write, style: str) -> None:
    report = checked(model, knowing(write))
    assert not report["passed"] and report["frame"]["style"] == style
    assert f"set --style {style}" in report["frame"]["advice"]
    again = checked(model, knowing(write), style=style)
    assert again["passed"] and again["frame"] == {}


@pytest.mark.parametrize(
    ("write", "key", "value", "said"),
    [
        # The server shows the model a picture at 0.625 of its size, and the model counts its pixels.
        (lambda x, y, size: as_pixels(0.625 * x, 0.625 * y, size), "scale_across", 0.625, "0.62 times as far across"),
        # It pads the picture below to a square and the model counts shares of that.
        (lambda x, y, size: as_pixels(x, 0.8 * y, size), "scale_down", 0.8, "0.80 times as far down"),
        (
            lambda x, y, size: as_pixels(min(1, x + 0.06), y, size),
            "shift_across",
            0.06,
            "6% of the photo too far right",
        ),
    ],
)
def test_a_moved_frame_is_measured(write: Write, key: str, value: float, said: str) -> None:
    report = checked("gpt-5", knowing(write))
    assert not report["passed"]
    assert report["frame"][key] == pytest.approx(value, abs=0.01) and said in report["frame"]["advice"]


def test_pixels_of_the_photo_that_was_sent_smaller() -> None:
    """A model that has been told the photo's own size counts its pixels: outside the picture for large photos."""
    sizes = {text: one.photo.size_wh for one in known_points() for text in [one.text] if one.side_px == 2000}

    def write(x: float, y: float, size: tuple[int, int]) -> str:
        big = next(wh for text, wh in sizes.items() if KNOWN[text] == (x, y))
        return as_pixels(x, y, big if max(size) == 1024 else size)

    report = checked("gpt-5", knowing(write))
    # Of the three sizes two are right: enough to see that it is no other form, and that the largest is wrong.
    by_size = report["finding"]["by_size"]
    assert by_size["400"]["found"] == by_size["900"]["found"] == 1.0 and by_size["2000"]["found"] < 0.5
    assert not report["passed"]


def knowing_half(write: Write) -> Callable[[dict[str, Any], int], Reply]:
    """Every second thing is found exactly, and of the others some place or other is said."""
    known = {KNOWN[text] for text in list(KNOWN)[::2]}

    def half(x: float, y: float, size: tuple[int, int]) -> str:
        return write(*((x, y) if (x, y) in known else ((7 * x + 3 * y) % 1, (5 * y + 2 * x) % 1)), size)

    return knowing(half)


def test_a_model_that_knows_half_is_told_from_a_wrong_frame() -> None:
    report = checked("qwen3-vl", knowing_half(as_qwen))
    assert 0.5 <= report["finding"]["found"] < 0.7 and report["frame"] == {}
    assert report["in_frame"] and not report["passed"]


@pytest.mark.parametrize(
    "write",
    [
        lambda x, y, size: as_qwen(0.5 * x, 0.5 * y, size),
        # Only photos that are shown small are read rightly.
        lambda x, y, size: as_qwen(x, y, size) if max(size) < 1000 else as_qwen(0.6 * x, 0.6 * y, size),
    ],
)
def test_half_known_in_a_wrong_frame_is_not_called_right(write: Write) -> None:
    report = checked("qwen3-vl", knowing_half(write))
    assert not report["in_frame"] and not report["passed"]


def test_a_model_that_answers_nonsense_is_not_blamed_on_the_frame() -> None:
    report = checked("gpt-5", lambda asked, number: completion("I am a poet."), style="pixels")
    assert not report["passed"] and report["frame"] == {}
    assert report["finding"]["unreadable"] == 60 and "I am a poet" in report["finding"]["first_problem"]
    report = checked("gpt-5", lambda asked, number: completion(json.dumps({"x": number % 97, "y": number % 89})))
    assert not report["passed"] and report["frame"] == {}
