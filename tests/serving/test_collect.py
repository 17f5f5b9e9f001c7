"""`talking-points collect`: what people save is in the file, whatever happens next, and `evaluate` reads it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from talking_points.evaluation.run import sets_of_data
from talking_points.evaluation.settings import EvaluationSettings
from talking_points.evaluation.written import texts_of_file
from talking_points.serving.collect import loupe_box, make_collect_app, points_of
from talking_points.serving.kept_texts import KeptTexts
from talking_points.serving.settings import MOST_CHARS, CollectSettings
from tests.serving.live import Caller, listening, needs_chromium

SIZE_WH = (90, 60)


@pytest.fixture
def opened(points: Path, tmp_path: Path) -> Callable[..., Any]:
    """A client of the page over the points, each time as a new start of the command has it."""

    @contextmanager
    def opened(**settings: Any) -> Iterator[TestClient]:
        given = CollectSettings(data=points, out=tmp_path / "texts.jsonl", **settings)
        samples, drawn = points_of(given, pytest.fail)
        with KeptTexts(given.out, samples, given.name) as kept:
            app = make_collect_app(drawn, kept, given)
            yield TestClient(app, base_url="http://127.0.0.1:8001", raise_server_exceptions=False)

    return opened


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_texts_are_kept_replaced_and_gone_on_with(opened: Callable[..., Any], points: Path, tmp_path: Path) -> None:
    with opened(name="Ann") as client:
        assert client.get("/points").json() == [""] * 6
        saved = client.put("/points/2", json={"text": "  the left\n ear "})
        assert saved.json() == {"state": "text", "text": "the left ear", "warning": ""}
        assert client.put("/points/3", json={"skipped": True}).json()["state"] == "skipped"
        client.put("/points/4", json={"text": "Größe <b>&amp;"})
        # On the disk, though nothing was closed.
        assert len(lines_of(tmp_path / "texts.jsonl")) == 3
    with opened() as client:
        assert client.get("/points").json() == ["", "text", "skipped", "text", "", ""]
        assert client.get("/points/4").json()["text"] == "Größe <b>&amp;"
        client.put("/points/2", json={"text": "the right ear"})
        client.put("/points/3", json={"text": "the nose"})
        client.put("/points/4", json={"skipped": True})
    with opened() as client:
        shown = [client.get(f"/points/{n}").json() for n in (1, 2, 3, 4)]
        assert [one["text"] for one in shown] == ["", "the right ear", "the nose", ""]
        assert [one["state"] for one in shown] == ["", "text", "text", "skipped"]
    place = {"photo": "a.png", "x": 21.0, "y": 30.5}
    first, *_, last = [line for line in lines_of(tmp_path / "texts.jsonl") if line["sample"] == "line 2"]
    assert first == {"sample": "line 2", "description": "the left ear", **place, "by": "Ann"}
    assert last == {"sample": "line 2", "description": "the right ear", **place}
    written = texts_of_file(f"file:{tmp_path / 'texts.jsonl'}")
    assert written.texts == {"line 2": "the right ear", "line 3": "the nose"} and written.skipped == {"line 4"}
    # Nothing else is left behind.
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png", "points.jsonl", "texts.jsonl"}


@pytest.mark.parametrize("cut", [1, 5, 15, -3])
def test_a_last_line_that_was_cut_off_is_dropped(opened: Callable[..., Any], tmp_path: Path, cut: int) -> None:
    out = tmp_path / "texts.jsonl"
    with opened() as client:
        client.put("/points/1", json={"text": "one"})
        whole = out.read_bytes()
        client.put("/points/2", json={"text": "zwölf"})
    last = out.read_bytes().removeprefix(whole)
    out.write_bytes(whole + last[:cut])
    with opened() as client:
        assert client.get("/points").json() == ["text", *[""] * 5] and out.read_bytes() == whole
        client.put("/points/3", json={"text": "three"})
    # What lacks its line's end alone is whole.
    out.write_bytes(out.read_bytes().removesuffix(b"\n"))
    with opened() as client:
        client.put("/points/4", json={"text": "four"})
    assert [line["description"] for line in lines_of(out)] == ["one", "three", "four"]


def test_what_the_disk_does_not_take_is_told_and_leaves_nothing(
    opened: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with opened() as client:
        client.put("/points/1", json={"text": "one"})
        monkeypatch.setattr(os, "fsync", full)
        answer = client.put("/points/2", json={"text": "two"})
        assert answer.status_code == 507 and "the text is not saved" in answer.json()["error"]["message"]
        assert client.get("/points/2").json()["state"] == ""
    assert [line["sample"] for line in lines_of(tmp_path / "texts.jsonl")] == ["line 1"]


def test_a_save_is_kept_though_its_page_is_closed_at_once(opened: Callable[..., Any], tmp_path: Path) -> None:
    async def save_and_leave(app: Any) -> None:
        caller = Caller(app, "/points/1", b'{"text": "one"}', method="PUT")
        caller.leave()
        await caller.task

    with opened() as client:
        asyncio.run(save_and_leave(client.app))
    assert [line["description"] for line in lines_of(tmp_path / "texts.jsonl")] == ["one"]


def test_numbers_for_places_are_warned_of_and_kept(opened: Callable[..., Any]) -> None:
    with opened() as client:
        saved = client.put("/points/1", json={"text": "the ear at 120, 40"}).json()
        assert saved["state"] == "text" and 'numbers for places ("120")' in saved["warning"]
        assert client.put("/points/1", json={"text": "the number 35 on the shirt"}).json()["warning"] == ""


@pytest.mark.parametrize("body", [{}, {"text": " \n"}, {"text": "a", "skipped": True}, {"text": 1}, {"texts": "a"}, []])
def test_what_is_no_text_is_refused(opened: Callable[..., Any], tmp_path: Path, body: Any) -> None:
    with opened() as client:
        answer = client.put("/points/1", json=body)
        assert answer.status_code == 400 and answer.json()["error"]["type"] == "invalid_request_error"
    assert not (tmp_path / "texts.jsonl").read_bytes()


def test_limits(opened: Callable[..., Any]) -> None:
    with opened() as client:
        assert client.put("/points/1", json={"text": "ü" * MOST_CHARS}).json()["text"] == "ü" * MOST_CHARS
        assert client.put("/points/1", json={"text": "a" * (MOST_CHARS + 1)}).status_code == 400
        assert client.put("/points/1", json={"text": "a" * 100_000}).status_code == 413
        # Half a character, which no file in UTF-8 can hold.
        raw = client.put("/points/1", content=b'{"text": "a \\ud800"}', headers={"Content-Type": "application/json"})
        assert raw.status_code == 400 and "unicode" in raw.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["0", "7", "-1", "x", "1/%2e%2e", "1/%2e%2e%2fpoints.jsonl", "1/a.png", "1%2fphoto%2f..", "..%2f..%2fa.png"],
)
def test_photos_go_by_number_alone(opened: Callable[..., Any], path: str) -> None:
    with opened() as client:
        assert client.get("/points/1/photo").status_code == client.get("/points/6/loupe").status_code == 200
        assert client.get(f"/points/{path}").status_code in (400, 404)
        assert client.get(f"/static/{path}").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8001"}, 200),
        ({"Host": "localhost:8001", "Origin": "http://localhost:8001"}, 200),
        ({"Host": "[::1]:8001"}, 200),
        ({"Host": "192.0.2.7:8001"}, 200),
        ({"Host": "annotators.lab"}, 200),
        ({"Host": "evil.example:8001"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Host": "["}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=a"}, 400),
    ],
)
def test_pages_of_other_sites_can_save_nothing(
    opened: Callable[..., Any], headers: dict[str, str], status: int
) -> None:
    with opened(host="annotators.lab") as client:
        given = {"Content-Type": "application/json", **headers}
        assert client.put("/points/1", content=b'{"text": "a"}', headers=given).status_code == status
        assert client.get("/points").json()[0] == ("text" if status == 200 else "")


def test_a_token_is_asked_for(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECT_TOKEN", "long enough")
    with opened(token_env="COLLECT_TOKEN") as client:
        assert client.get("/points").status_code == 401
        assert client.get("/points", auth=("ann", "long enough")).status_code == 200


def test_the_point_is_marked_in_both_pictures(points: Path, opened: Callable[..., Any], tmp_path: Path) -> None:
    photo = Image.new("RGB", (60, 90))
    # Stored on its side; upright it is 90 x 60, and the point's pixel is red.
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    upright.paste("red", (30, 29, 33, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    with opened() as client:
        shown = client.get("/points/3").json()
        for kind, (u, v) in (("photo", shown["at"]), ("loupe", shown["loupe_at"])):
            answer = client.get(f"/points/3/{kind}")
            picture = Image.open(io.BytesIO(answer.content))
            assert answer.headers["Cache-Control"] == "no-store" and max(picture.size) == 640
            red, green, _ = picture.getpixel((int(u * picture.width), int(v * picture.height)))  # type: ignore[misc]
            assert red > 200 and green < 60


def test_the_loupe_stays_in_the_photo() -> None:
    assert loupe_box((600, 400), (600, 400)) == (500, 300, 600, 400)
    assert loupe_box((0, 0), (10, 300)) == (0, 0, 10, 50)
    assert loupe_box((0.5, 0.5), (1, 1)) == (0, 0, 1, 1)


def test_across_photos_the_other_one_is_described(points: Path, tmp_path: Path) -> None:
    settings = CollectSettings(data=points, out=tmp_path / "texts.jsonl")
    samples, _ = points_of(settings, pytest.fail)
    pair = replace(samples[0], described=samples[5])
    with KeptTexts(settings.out, [pair]) as kept:
        client = TestClient(make_collect_app([pair], kept, settings), base_url="http://127.0.0.1")
        assert client.get("/points/1").json()["at"] == list(samples[5].point_unit)
        client.put("/points/1", json={"text": "the ear"})
    assert lines_of(settings.out)[0].items() >= {"sample": "line 1", "photo": "b.png", "x": 21.0}.items()


def test_points_are_drawn_as_evaluate_draws_them(points: Path, tmp_path: Path) -> None:
    _, drawn = points_of(CollectSettings(data=points, out=tmp_path / "o.jsonl", limit=3, seed=1), pytest.fail)
    (one,) = sets_of_data(EvaluationSettings(out=tmp_path, data=(points,), limit=3, seed=1), pytest.fail)
    assert [s.sample_id for s in drawn] == [s.sample_id for s in one.samples]
    assert {s.source for s in drawn} == {"a", "b"}


def test_a_photo_that_is_gone_is_told(opened: Callable[..., Any], tmp_path: Path) -> None:
    with opened() as client:
        (tmp_path / "b.png").unlink()
        answer = client.get("/points/5/photo")
        assert answer.status_code == 404 and "no such photo" in answer.json()["error"]["message"]
        assert client.put("/points/5", json={"skipped": True}).status_code == 200


def test_nothing_of_the_page_comes_from_elsewhere(opened: Callable[..., Any]) -> None:
    with opened() as client:
        page = client.get("/")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
        names = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text)
        assert "static/collect.js" in names
        for name in [*names, "static/asking.js"]:
            part = client.get(f"/{name}")
            assert part.status_code == 200 and "://" not in part.text.replace("http://www.w3.org/2000/svg", "")


@needs_chromium
@pytest.mark.parametrize("width", [375, 768, 1440])
def test_with_keys_alone(opened: Callable[..., Any], browser: Any, tmp_path: Path, width: int) -> None:
    with opened() as client, listening(client.app) as url:
        tab = browser.new_context(viewport={"width": width, "height": 800}).new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(url)
        tab.wait_for_selector("html[data-listens]", state="attached")

        def progress(said: str) -> None:
            tab.locator("#progress", has_text=said).wait_for()

        progress("1 of 6 · 0 described, 0 skipped")
        tab.keyboard.type("<b>the ear</b>")
        tab.keyboard.press("Control+Enter")
        progress("2 of 6 · 1 described, 0 skipped")
        tab.keyboard.type("half")
        tab.keyboard.press("Alt+ArrowLeft")
        progress("1 of 6")
        assert tab.input_value("#text") == "<b>the ear</b>" and not tab.locator("form b").count()
        tab.keyboard.press("Alt+ArrowRight")
        progress("2 of 6")
        assert tab.input_value("#text") == "half"
        # A complaint is of the point that is shown.
        tab.keyboard.press("Alt+s")
        tab.locator("#problem", has_text="there are words here").wait_for()
        tab.keyboard.press("Alt+ArrowLeft")
        progress("1 of 6")
        assert not tab.locator("#problem").is_visible()
        tab.keyboard.press("Alt+ArrowRight")
        progress("2 of 6")
        tab.fill("#text", "")
        tab.keyboard.press("Alt+s")
        progress("3 of 6 · 1 described, 1 skipped")
        tab.keyboard.type("the eye at 12, 30")
        tab.keyboard.press("Control+Enter")
        # Saved, and the page says that it waits, and for what.
        tab.locator("#note", has_text='numbers for places ("12")').wait_for()
        assert "The page waits here: change the words, or go on with them." in tab.inner_text("#note")
        progress("3 of 6 · 2 described, 1 skipped")
        assert tab.inner_text("#save") == "Go on with these words"
        tab.keyboard.type("?")
        assert tab.inner_text("#save") == "Save and go on"
        tab.keyboard.press("Backspace")
        tab.keyboard.press("Control+Enter")
        progress("4 of 6 · 2 described, 1 skipped")
        assert tab.inner_text("#save") == "Save and go on"
        for kind, at, ratio in (("photo", (42 / 90, 30.5 / 60), 1.5), ("loupe", (0.5, 0.5), 1)):
            image, ring = (tab.locator(f"#{kind} {part}").bounding_box() for part in ("img", ".thin"))
            for share, side, length in zip(at, "xy", ("width", "height"), strict=True):
                middle = ring[side] + ring[length] / 2
                assert middle == pytest.approx(image[side] + share * image[length], abs=0.03 * image[length])
            assert image["width"] / image["height"] == pytest.approx(ratio, abs=0.02)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.context.close()
        assert asked and all(one.startswith((url, "data:", "blob:")) for one in asked)
    kept = [line.get("description") for line in lines_of(tmp_path / "texts.jsonl")]
    assert kept == ["<b>the ear</b>", None, "the eye at 12, 30"]
