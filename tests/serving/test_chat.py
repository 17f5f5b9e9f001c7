from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from talking_points.pointing.forms import FORMS, prompt, words_of_prompt
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.pointing.stock import StockLocalizer
from talking_points.samples import PhotoPoint
from talking_points.serving.chat import read_question
from talking_points.serving.chat_ending import Ending
from talking_points.serving.chat_schemas import ChatMessage
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
        ('{"x": 12, "y": 30}', (12.0, 30.0)),
        ('Here it is:\n```json\n{"x": 12.0, "y": 30.0, "there": 0.97}\n```', (12.0, 30.0)),
        ("[12, 30]", (12.0, 30.0)),
        ("What is at x 12, y 30 in this 70x40 photo?", (12.0, 30.0)),
        # Qwen's, thousandths; Molmo's, hundredths; Molmo 2's, thousandths.
        ('[{"point_2d": [500, 250], "label": "shoe"}]', (35.0, 10.0)),
        ('point_2d: {"point_2d": [500, 250]}', (35.0, 10.0)),
        ('<point x="50.0" y="25" alt="the shoe">the shoe</point>', (35.0, 10.0)),
        ('<points coords="1 1 500 250">the shoe</points>', (35.0, 10.0)),
    ],
)
def test_a_point_asks_for_a_description(text: str, point: tuple[float, float]) -> None:
    question = read_question([ChatMessage.model_validate(one) for one in messages(text)])
    asked = question.about((70, 40))
    assert (question.task, asked, question.photo) == ("describe", PhotoPoint(point_px=point), URL)


def test_words_ask_for_a_point() -> None:
    for text, expected in (
        ("the left shoe", "the left shoe"),
        (prompt("pixels", width=70, height=40, text="the shoe (1, 2)"), "the shoe (1, 2)"),
        ("the 2nd button of 3, at 5 pm [sic], of size 10x20", "the 2nd button of 3, at 5 pm [sic], of size 10x20"),
    ):
        question = read_question([ChatMessage.model_validate(one) for one in messages(text)])
        assert (question.task, question.about((70, 40))) == ("localize", PhotoPoint(text=expected))


def test_the_last_words_are_about_the_last_photo() -> None:
    chat = [*messages("(1, 2)"), {"role": "assistant", "content": "a shoe"}, *messages("(3, 4)", None)]
    question = read_question([ChatMessage.model_validate(one) for one in chat])
    assert question.about((70, 40)).point_px == (3.0, 4.0) and question.photo == URL


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
        (messages("\0 ..."), "the last message has no words"),
        (messages('{"x": 0.41, "y": 0.35}'), "the point [0.41, 0.35] looks normalised; expected pixels of the 70x40"),
        (messages('{"left": 12, "top": 30}'), "looks like a point"),
        (messages("(1, 2) and (3, 4)"), "has 2 points; ask about one at a time"),
        (messages('(1, 2) and {"point_2d": [3, 4]}'), "has 2 points; ask about one at a time"),
        (messages("the point 12,30"), "'point 12,30' looks like a point and is not understood; write a point as {"),
        (messages("What is at 12 30?"), "'12 30' looks like a point"),
        (messages("12.5%, 30%"), "looks like a point"),
        (messages("[1, 2, 3]"), "looks like a point"),
        (messages("y = 30"), "looks like a point"),
        (messages("x = 1e1, y = 2"), "looks like a point"),
        (messages('{"points": [{"x": 0.5, "y": 0.5}]}'), "looks like a point"),
        (messages('[{"box_2d": [1, 2, 3, 4]}]'), "looks like a point"),
        (messages('{"x": "12", "y": true}'), "looks like a point"),
        (messages("(1, 2) or else 3, 4"), "looks like a point"),
        (
            messages(prompt("describe", pictures="Two pictures.", place=FORMS["qwen"].say((0.5, 0.5), (70, 40)))),
            "'counted from 0 to' says that the point is not in pixels",
        ),
        (messages("[a" * 4500), "has 9,000 characters; at most 8,000"),
        (messages('{"point_2d": [1200, 2]}'), "outside the photo, which goes from 0 to 1000 here"),
        (messages("(71, 2)"), "outside the 70x40 photo"),
        (messages("(1, 2)", "http://example.org/a.jpg"), "not fetched from URLs here"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "a part of type 'audio'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "a photo without a url"),
        ([{"role": "user"}], "the chat shows no photo"),
        ([{"role": "tool", "content": "a"}], "messages 1.role: Input should be"),
        (messages("(1, 2)", "data:image/png,abc"), "is not like data:image/jpeg;base64"),
        (messages("(1, 2)", URL.replace("A", " ")), "holds spaces"),
        ([], "messages: List should have at least 1 item"),
    ],
)
def test_chats_that_ask_nothing(client: TestClient, chat: list[object], said: str) -> None:
    response = client.post("/v1/chat/completions", json={"messages": chat})
    assert response.status_code == 400 and said in response.json()["error"]["message"]


def whole(response: Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    "url",
    [
        URL.removeprefix("data:image/png;base64,"),
        URL.replace("data:image/png;base64,", "DATA:IMAGE/PNG;charset=utf-8;BASE64,"),
        URL.replace("data:image/png;base64,", "data:;base64,"),
        URL.rstrip("="),
        URL.replace("+", "-").replace("/", "_").replace("data:image_png", "data:image/png"),
        "\r\n  ".join(URL[start : start + 76] for start in range(0, len(URL), 76)),
    ],
)
def test_photos_in_all_the_usual_ways(client: TestClient, url: str) -> None:
    plain = client.post("/v1/chat/completions", json={"messages": messages("(12, 30)")})
    other = client.post("/v1/chat/completions", json={"messages": messages("(12, 30)", url)})
    assert whole(other) == whole(plain)


def ask(client: TestClient, text: str = "(12, 30)", **settings: object) -> Response:
    return client.post("/v1/chat/completions", json={"messages": messages(text), **settings})


def streamed(response: Response) -> tuple[str, str, list[dict[str, object]]]:
    """The words of a stream, why it ended, and all of its events."""
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    choices = [choice for event in events for choice in event["choices"]]
    reasons = [one["finish_reason"] for one in choices]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    return "".join(one["delta"].get("content", "") for one in choices), reasons[-1], events


def test_max_tokens_and_stop_are_kept_to(client: TestClient, tp: TalkingPoints) -> None:
    [text] = tp.describe(Image.open(io.BytesIO(PHOTO)), [(12.0, 30.0)])
    prompts = tp.descriptor.network.prompts  # type: ignore[attr-defined]
    most = prompts.count(text) // 2
    short = prompts.cut(text, most)
    assert 0 < len(short) < len(text) and text.startswith(short)
    stop = text[len(text) // 3 : len(text) // 3 + 6]
    for settings, said, reason in (
        ({"max_tokens": most}, short, "length"),
        ({"max_completion_tokens": most, "max_tokens": most}, short, "length"),
        ({"max_tokens": 4000}, text, "stop"),
        ({"stop": stop}, text[: text.index(stop)], "stop"),
        ({"stop": ["\0", stop], "max_tokens": 4000}, text[: text.index(stop)], "stop"),
        ({"stop": ["no such words"]}, text, "stop"),
    ):
        answer = ask(client, **settings)
        assert (whole(answer), answer.json()["choices"][0]["finish_reason"]) == (said, reason)
        assert answer.json()["usage"]["completion_tokens"] == prompts.count(said)
        assert streamed(ask(client, stream=True, **settings))[:2] == (said, reason)


def test_usage_is_told(client: TestClient) -> None:
    answer = ask(client).json()
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 0 and usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    said, _, events = streamed(ask(client, stream=True, stream_options={"include_usage": True}))
    assert said == answer["choices"][0]["message"]["content"]
    assert events[-1]["choices"] == [] and events[-1]["usage"] == usage
    assert {str(one["usage"]) for one in events[:-1]} == {"None"}
    assert all("usage" not in one for one in streamed(ask(client, stream=True))[2])


def test_answers_in_json(client: TestClient, tp: TalkingPoints) -> None:
    [text] = tp.describe(Image.open(io.BytesIO(PHOTO)), [(12.0, 30.0)])
    wanted = {"response_format": {"type": "json_object"}}
    assert json.loads(whole(ask(client, **wanted))) == {"description": text}
    assert json.loads(streamed(ask(client, stream=True, **wanted))[0]) == {"description": text}
    assert set(json.loads(whole(ask(client, "the shoe", **wanted)))) == {"x", "y", "there"}
    assert whole(ask(client, response_format={"type": "text"})) == text


@pytest.mark.usefixtures("nothing_is_there")
def test_our_own_client_is_told_how_likely_a_thing_is_there(client: TestClient) -> None:
    words = prompt("pixels", width=70, height=40, text="the unicorn")
    said = whole(ask(client, words))
    assert json.loads(said) == {"x": 7.0, "y": 8.0, "there": 0.04}
    found = StockLocalizer(SimpleNamespace(shown_wh=lambda size_wh: size_wh), "pixels").read(said, (70, 40))
    assert (found.point_px, found.there) == ((7.0, 8.0), 0.04)


@pytest.mark.usefixtures("nothing_is_there")
def test_what_is_not_in_the_photo_is_said_in_json_alone(client: TestClient) -> None:
    said = whole(ask(client, "the unicorn", response_format={"type": "json_object"}))
    assert json.loads(said) == {"x": 7.0, "y": 8.0, "there": 0.04}


def test_settings_that_change_nothing_are_taken(client: TestClient) -> None:
    plain = whole(ask(client))
    same: dict[str, object] = {"n": 1, "seed": 7, "temperature": 0.0, "top_p": 0.1, "logprobs": False, "tools": []}
    same |= {"user": "me", "metadata": {"run": "1"}, "presence_penalty": None, "stop": None, "store": False}
    assert whole(ask(client, **same)) == plain


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n": 2}, "Unsupported value: 'n' is 2; allowed: 1"),
        ({"n": True}, "'n' is True"),
        ({"temperature": 0.7}, "'temperature' is 0.7; allowed: 0, as answers are the likeliest"),
        ({"top_p": 0}, "top_p: "),
        ({"logprobs": True}, "'logprobs' is True; allowed: False"),
        ({"tools": [{"type": "function"}]}, "'tools' is"),
        ({"tool_choice": "required"}, "allowed: 'none' or 'auto'"),
        ({"top_k": 5}, "Unsupported parameter: 'top_k' is not known here; leave it out"),
        ({"seed": "a"}, "seed: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: "),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens and max_completion_tokens differ"),
        ({"stop": ["a", ""]}, "stop is a text, or a list of one to four"),
        ({"stop": list("abcde")}, "stop is a text, or a list of one to four"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.type: Input should be"),
        ({"stream_options": {"include_usage": True}}, "stream_options is for streams"),
        ({"stream": True, "stream_options": {"include": True}}, "stream_options.include: Extra inputs"),
    ],
)
def test_settings_that_are_not_kept_to_are_refused(client: TestClient, settings: dict[str, object], said: str) -> None:
    response = ask(client, **settings)
    assert response.status_code == 400 and said in response.json()["error"]["message"]


def test_two_photos_in_a_message_are_refused(client: TestClient) -> None:
    [message] = messages("(12, 30)")
    message["content"].append(message["content"][-1])  # type: ignore[attr-defined, index]
    response = client.post("/v1/chat/completions", json={"messages": [message]})
    assert response.status_code == 400 and "shows 2 photos; ask about one" in response.json()["error"]["message"]


def test_models_are_listed_and_retrieved(client: TestClient) -> None:
    [listed] = client.get("/v1/models").json()["data"]
    assert client.get("/v1/models/tiny").json() == listed
    response = client.get("/v1/models/owner/other")
    assert response.status_code == 404 and "served: tiny" in response.json()["error"]["message"]


def test_a_word_that_changes_while_it_is_written_ends_no_stream(
    client: TestClient, tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = ["on", "on the photo", "on the photo '", "on the photo's", "on the photo's edge"]

    def describe_many(pairs: list[object], *, on_text: Callable[[int, str], None] | None = None) -> list[str]:
        for text in written:
            if on_text is not None:
                on_text(0, text)
        return [written[-1]]

    monkeypatch.setattr(tp, "describe_many", describe_many)
    assert streamed(ask(client, stream=True))[0] == written[-1]
    # One that was sent and is another at last breaks the stream off.
    written[:] = ["on the photo of", "on a wall"]
    assert "[DONE]" not in ask(client, stream=True).text


def test_what_surely_stays_of_an_answer_that_is_written() -> None:
    ending = Ending(["the end"], None, None)
    assert ending.sure("so far the en") == "so far " and ending.sure("so far and") == "so far"
    # A tokenizer writes the beginning of "photo's" so.
    assert ending.sure("of the photo '") == "of the photo"
    assert ending.cut("so far the end, and more") == ("so far ", "stop")
    with pytest.raises(ValueError, match="max_tokens"):
        Ending([], 5, None)
