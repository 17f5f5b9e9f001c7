from __future__ import annotations

import base64
import io
import json

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from talking_points.pointing.forms import FORMS, prompt, words_of_prompt
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import PhotoPoint
from talking_points.serving.chat import read_question
from talking_points.serving.schemas import ChatMessage
from tests.serving.conftest import photo_bytes

PHOTO = photo_bytes()
URL = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"


def messages(text: str, url: str | None = URL) -> list[dict[str, object]]:
    content: list[dict[str, object]] = [{"type": "text", "text": text}]
    if url is not None:
        content.append({"type": "image_url", "image_url": {"url": url}})
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("name", ["pixels", "qwen", "molmo", "moondream", "gemini", "internvl"])
def test_prompts_are_read_as_they_are_written(name: str) -> None:
    text = "the point at x = 3,\n\nnear (4, 5) $1"
    assert (words_of_prompt(name, prompt(name, width=70, height=40, text=text)) or {})["text"] == text
    assert words_of_prompt(name, "something else") is None


@pytest.mark.parametrize(
    ("text", "point"),
    [
        (
            prompt("describe", pictures="Two pictures.", place="x = 12, y = 30 pixels from the top left corner"),
            (12.0, 30.0),
        ),
        ("What is at x = 12.5, y = 30?", (12.5, 30.0)),
        ("x: 12 and y: 30", (12.0, 30.0)),
        ("Describe (12, 30.25).", (12.0, 30.25)),
        ("(12, 30), I mean x=12, y=30", (12.0, 30.0)),
    ],
)
def test_a_point_asks_for_a_description(text: str, point: tuple[float, float]) -> None:
    question = read_question([ChatMessage.model_validate(one) for one in messages(text)])
    assert (question.task, question.asked, question.photo) == ("describe", PhotoPoint(point_px=point), URL)


def test_words_ask_for_a_point() -> None:
    for text, expected in (
        ("the left shoe", "the left shoe"),
        (prompt("pixels", width=70, height=40, text="the shoe (1, 2)"), "the shoe (1, 2)"),
    ):
        question = read_question([ChatMessage.model_validate(one) for one in messages(text)])
        assert (question.task, question.asked) == ("localize", PhotoPoint(text=expected))


def test_the_last_words_are_about_the_last_photo() -> None:
    chat = [*messages("(1, 2)"), {"role": "assistant", "content": "a shoe"}, *messages("(3, 4)", None)]
    question = read_question([ChatMessage.model_validate(one) for one in chat])
    assert question.asked.point_px == (3.0, 4.0) and question.photo == URL


def test_answers(client: TestClient, tp: TalkingPoints) -> None:
    image = Image.open(io.BytesIO(PHOTO))
    [expected] = tp.describe(image, [(12.0, 30.0)])
    asked = {"model": "tiny", "messages": messages("(12, 30)"), "temperature": 0, "max_tokens": 400, "seed": 1}
    answer = client.post("/v1/chat/completions", json=asked).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": expected}
    assert answer["object"] == "chat.completion" and answer["model"] == "tiny"
    answer = client.post("/v1/chat/completions", json={"messages": messages("the left shoe")}).json()
    found = json.loads(answer["choices"][0]["message"]["content"])
    assert (found["x"], found["y"]) == pytest.approx(tp.localize(image, ["the left shoe"])[0], abs=0.02)


@pytest.mark.usefixtures("nothing_is_there")
def test_what_is_not_in_the_photo_is_said(client: TestClient) -> None:
    said = 'not in the photo; the likeliest place is {"x": 7.0, "y": 8.0}'
    answer = client.post("/v1/chat/completions", json={"messages": messages("the unicorn")}).json()
    assert answer["choices"][0]["message"]["content"] == said
    stream = client.post("/v1/chat/completions", json={"messages": messages("the unicorn"), "stream": True})
    assert json.dumps(said)[1:-1] in stream.text
    # Our own evaluation scores the point, as it does without a server.
    assert FORMS["pixels"].numbers(said) == [(7.0, 8.0)]
    # A description is no less one.
    answer = client.post("/v1/chat/completions", json={"messages": messages("(12, 30)")}).json()
    assert "not in the photo" not in answer["choices"][0]["message"]["content"]


def test_streams(client: TestClient, tp: TalkingPoints) -> None:
    [expected] = tp.describe(Image.open(io.BytesIO(PHOTO)), [(12.0, 30.0)])
    for text, whole in (("(12, 30)", expected), ("the left shoe", None)):
        response = client.post("/v1/chat/completions", json={"messages": messages(text), "stream": True})
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
        assert lines[-1] == "[DONE]"
        deltas = [json.loads(line)["choices"][0] for line in lines[:-1]]
        said = "".join(one["delta"].get("content", "") for one in deltas)
        assert said == whole if whole is not None else set(json.loads(said)) == {"x", "y"}
        assert [one["finish_reason"] for one in deltas][-1] == "stop"
    refused = client.post("/v1/chat/completions", json={"messages": messages("(71, 30)"), "stream": True})
    assert refused.status_code == 400 and "outside" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        (messages("(1, 2)", None), "the chat shows no photo"),
        (messages("  "), "the last message has no words"),
        (messages("(1, 2) and (3, 4)"), "has 2 points; ask about one at a time"),
        (messages("(1, 2)", "http://example.org/a.jpg"), "not fetched from URLs here"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "a part of type 'audio'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "a photo without a url"),
        ([{"role": "user"}], "the chat shows no photo"),
        ([], "messages: List should have at least 1 item"),
    ],
)
def test_chats_that_ask_nothing(client: TestClient, chat: list[object], said: str) -> None:
    response = client.post("/v1/chat/completions", json={"messages": chat})
    assert response.status_code == 400 and said in response.json()["error"]["message"]
