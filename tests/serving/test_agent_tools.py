"""The tools for agents, asked by the SDK's own client in this process."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import FoundPoint
from talking_points.serving import fetching
from talking_points.serving.agent_tools import AgentTools
from talking_points.serving.settings import AgentSettings
from tests.serving.conftest import SIZE_WH, photo_bytes
from tests.tiny import TEXTS

TEXT = TEXTS[0]
DATA_URL = "data:image/png;base64," + base64.b64encode(photo_bytes()).decode()
LOCATE = {"photo": DATA_URL, "text": TEXT}
VERIFY = {**LOCATE, "x": 10.5, "y": 20}


def asked(tools: AgentTools, work: Callable[[Client], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with Client(tools.server) as client:
            return await work(client)

    return anyio.run(connected)


def call(tools: AgentTools, name: str, arguments: dict[str, Any], **options: Any) -> Any:
    return asked(tools, lambda client: client.call_tool(name, arguments, **options))


def refused(tools: AgentTools, name: str, arguments: dict[str, Any]) -> str:
    """What a call is told that went wrong."""
    result = call(tools, name, arguments)
    assert result.is_error and result.structured_content is None
    [content] = result.content
    assert "\n" not in content.text and len(content.text) < 500
    return str(content.text)


@pytest.fixture
def tools_of(tp: TalkingPoints) -> Callable[..., AgentTools]:
    return lambda **settings: AgentTools(AgentSettings(**{"model": "tiny", **settings}), lambda: tp)


@pytest.fixture
def tools(tools_of: Callable[..., AgentTools]) -> AgentTools:
    return tools_of()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "photo.png"
    path.parent.mkdir()
    path.write_bytes(photo_bytes())
    return path


def test_what_the_client_is_told_before_anything_is_loaded() -> None:
    tools = AgentTools(AgentSettings(), load=lambda: pytest.fail("loaded"))
    listed = {tool.name: tool for tool in asked(tools, lambda client: client.list_tools()).tools}
    assert list(listed) == ["locate", "describe_point", "verify"]
    assert set(listed["verify"].input_schema["required"]) == {"photo", "x", "y", "text"}
    for tool in listed.values():
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema["type"] == "object" and "photo" in tool.output_schema["required"]
        for key, value in tool.output_schema["properties"].items():
            # An agent that reads the schema alone knows the frame of every number that is a place.
            is_place = re.search(r"(^|_)[xy]$", key) is not None
            assert ("pixels of the upright photo" in value.get("description", "")) == is_place, key
        assert tool.annotations.read_only_hint and not tool.annotations.open_world_hint


def test_locate_is_what_the_model_locates(tools: AgentTools, tp: TalkingPoints, photo: Path) -> None:
    [found] = tp.locate(photo, [TEXT])
    result = call(tools, "locate", {"photo": str(photo), "text": TEXT})
    answer = result.structured_content
    assert (answer["found_x"], answer["found_y"]) == pytest.approx(found.point_px)
    assert answer["confidence"] == pytest.approx(found.confidence, abs=1e-4)
    assert answer["in_photo"] is True and answer["model"] == "tiny" and answer["text"] == TEXT
    assert answer["photo"] == {"width": SIZE_WH[0], "height": SIZE_WH[1]}
    assert answer["said"].startswith(f"({found.point_px[0]:.1f}, {found.point_px[1]:.1f}): {TEXT}; ")
    # For clients that read texts alone.
    [content] = result.content
    assert json.loads(content.text) == answer


def test_what_is_not_there_is_said_plainly(tools: AgentTools, nothing_is_there: FoundPoint) -> None:
    answer = call(tools, "locate", LOCATE).structured_content
    assert answer["in_photo"] is False and answer["there"] == 0.04
    assert answer["said"].startswith("not in the photo: ")
    assert (answer["found_x"], answer["runner_up_x"]) == (7.0, 60.0)


def test_describe_point(tools: AgentTools, tp: TalkingPoints, photo: Path) -> None:
    answer = call(tools, "describe_point", {"photo": DATA_URL, "x": 10.5, "y": 20}).structured_content
    assert [answer["description"]] == tp.describe(photo, [(10.5, 20)])
    assert (answer["x"], answer["y"]) == (10.5, 20.0)


def test_verify(tools: AgentTools, tp: TalkingPoints, photo: Path) -> None:
    verdict = tp.verify(photo, (10.5, 20), TEXT)
    answer = call(tools, "verify", VERIFY).structured_content
    assert answer["verdict"] == verdict.answer and answer["said"] == verdict.in_words()
    assert answer["probability"] == pytest.approx(verdict.probability)
    assert (answer["found_x"], answer["found_y"]) == pytest.approx(verdict.found.point_px)
    # Places are pixels of the photo that was sent, 70 by 40, not of the square that the model sees.
    assert answer["photo"] == {"width": SIZE_WH[0], "height": SIZE_WH[1]} and (answer["x"], answer["y"]) == (10.5, 20)
    assert 0 <= answer["found_x"] <= SIZE_WH[0] and 0 <= answer["found_y"] <= SIZE_WH[1]


def test_the_model_is_loaded_once_and_for_good_questions_only(tp: TalkingPoints) -> None:
    loads: list[str] = []

    def load() -> TalkingPoints:
        loads.append("")
        if len(loads) == 1:
            raise ValueError("unknown model\n'tiny'")
        return tp

    tools = AgentTools(AgentSettings(model="tiny"), load)
    assert "outside the 70x40 photo" in refused(tools, "verify", {**VERIFY, "x": 71})
    for name, asks in (("verify", VERIFY), ("describe_point", {"photo": DATA_URL})):
        said = refused(tools, name, {**asks, "x": 0.4, "y": 0.3})
        assert said.startswith("the point [0.4, 0.3] looks normalised; expected pixels of the 70x40 photo")
    assert not loads
    # What the first call fails on, the next tries again.
    assert refused(tools, "locate", LOCATE) == "unknown model 'tiny'"
    beats: list[str] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        beats.append(message or "")

    for _ in range(2):
        assert not call(tools, "locate", LOCATE, progress_callback=heard).is_error
    assert len(loads) == 2 and beats == ["loading tiny", "asking tiny"]


def test_questions_at_the_same_time(tools: AgentTools) -> None:
    texts = list(TEXTS) * 3

    async def together(client: Client) -> list[str]:
        answers: dict[int, str] = {}

        async def one(place: int) -> None:
            result = await client.call_tool("locate", {**LOCATE, "text": texts[place]})
            answers[place] = result.structured_content["text"]

        async with anyio.create_task_group() as group:
            for place in range(len(texts)):
                group.start_soon(one, place)
        return [answers[place] for place in range(len(texts))]

    assert asked(tools, together) == texts


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("locate", {"photo": DATA_URL}, "text: Field required"),
        ("locate", {**LOCATE, "text": " "}, "text 1: the text is empty; describe the point in words"),
        ("locate", {**LOCATE, "text": "shoe " * 1000}, "the text has 5,000 characters; at most 4,000 are allowed"),
        ("locate", {**LOCATE, "root": "/"}, "root: Extra inputs are not permitted"),
        ("verify", {**VERIFY, "x": "10"}, "x: Input should be a valid number"),
        ("verify", {**VERIFY, "y": True}, "y: Input should be a valid number"),
        ("describe_point", {"photo": DATA_URL, "x": -1, "y": 3}, "the point [-1.0, 3.0] is outside the 70x40 photo"),
        ("locate", {**LOCATE, "photo": "data:image/png,abc"}, "not like data:image/jpeg;base64,..."),
        ("locate", {**LOCATE, "photo": "data:image/png;base64,%%"}, "neither base64 nor a data URL"),
        ("locate", {**LOCATE, "photo": "data:image/png;base64,aGVsbG8="}, "the photo is not a photo"),
        ("locate", {**LOCATE, "photo": "https://example.com/a.jpg"}, "photos are not fetched from addresses here"),
        ("locate", {**LOCATE, "photo": "no-such.png"}, "no such photo: 'no-such.png'"),
        ("locate", {**LOCATE, "photo": "a\0b"}, "cannot be read: a path holds no null byte"),
        ("locate", {**LOCATE, "photo": "x" * 100_000}, "cannot be read: File name too long"),
        ("locate", {**LOCATE, "photo": __file__}, "the photo is not a photo"),
    ],
)
def test_errors_are_one_line(tools: AgentTools, name: str, arguments: dict[str, Any], said: str) -> None:
    assert said in refused(tools, name, arguments)


def test_a_tool_that_there_is_not(tools: AgentTools) -> None:
    async def ask(client: Client) -> None:
        with pytest.raises(MCPError, match="no tool 'delete'; there are locate, describe_point, verify"):
            await client.call_tool("delete", {})

    asked(tools, ask)


def test_limits_of_photos(tools_of: Callable[..., AgentTools], photo: Path) -> None:
    small = tools_of(max_megabytes=0.005)
    for source in (DATA_URL, str(photo)):
        said = refused(small, "locate", {**LOCATE, "photo": source})
        assert said == f"the photo has {len(photo_bytes()):,} bytes; at most 5,000 are allowed"
    said = refused(tools_of(max_megapixels=0.001), "locate", LOCATE)
    assert said == "the photo is 70x40, 2,800 pixels; at most 1,000 are allowed"


def test_photos_of_one_folder_alone(tools_of: Callable[..., AgentTools], photo: Path) -> None:
    tools, outside = tools_of(root=photo.parent), photo.parent.parent / "secret.png"
    outside.write_bytes(photo_bytes())
    (photo.parent / "link.png").symlink_to(outside)
    (photo.parent / "inside.png").symlink_to(photo)
    (photo.parent / "circle.png").symlink_to("circle.png")
    os.mkfifo(photo.parent / "pipe.png")
    for name in (str(photo), "photo.png", "inside.png", "../photos/photo.png"):
        assert not call(tools, "locate", {**LOCATE, "photo": name}).is_error, name
    # Whether there is such a file is not told.
    for name in (str(outside), "../secret.png", "link.png", "../no-such.png", "/etc/passwd"):
        said = refused(tools, "locate", {**LOCATE, "photo": name})
        assert said == f"the photo {name!r} is outside {photo.parent}; photos are read from that folder alone"
    for name in ("circle.png", "pipe.png", "."):
        assert name in refused(tools, "locate", {**LOCATE, "photo": name})


def test_addresses_where_they_are_allowed(tools_of: Callable[..., AgentTools], monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tools_of(allow_urls=True)
    assert "is not public" in refused(tools, "locate", {**LOCATE, "photo": "http://127.0.0.1/photo.png"})

    async def fetch(url: str, *, max_bytes: int) -> bytes:
        assert (url, max_bytes) == ("https://example.com/photo.png", 20_000_000)
        return photo_bytes()

    monkeypatch.setattr(fetching, "fetch", fetch)
    assert not call(tools, "locate", {**LOCATE, "photo": "https://example.com/photo.png"}).is_error


def test_an_answer_that_could_not_be_read(
    tools: AgentTools, tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = FoundPoint(point_px=(float("nan"),) * 2, confidence=None, runner_up_px=None, problem="it was refused")
    monkeypatch.setattr(tp.localizer, "sure_at", lambda photo, asked: [(found, None)])
    monkeypatch.setattr(tp, "locate_many", lambda pairs: [found])
    for name, arguments in (("locate", LOCATE), ("verify", VERIFY)):
        assert refused(tools, name, arguments) == "the model gave no answer: it was refused"


def test_what_fails_inside_stays_inside(
    tools: AgentTools, tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(tp, "describe", fail)
    said = refused(tools, "describe_point", {"photo": DATA_URL, "x": 3, "y": 3})
    assert said == "the server failed on this call; its log says why" and "secret" in caplog.text
