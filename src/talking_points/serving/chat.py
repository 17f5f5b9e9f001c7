"""OpenAI's chat: a point in a message wants a description, words want a point.

So that OpenAI's clients, and `talking-points evaluate` with endpoint:URL,MODEL, can ask this server.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import StreamingResponse

from talking_points.pointing.forms import words_of_prompt
from talking_points.samples import PhotoPoint, absence
from talking_points.serving.engine import Task
from talking_points.serving.schemas import AssistantMessage, ChatAnswer, ChatChoice, ChatMessage, ChatRequest
from talking_points.serving.service import Service, refusing

_NUMBER = r"(-?\d{1,6}(?:\.\d{1,6})?)"
_POINT = re.compile(
    rf"\bx\s*[=:]\s*{_NUMBER}\s*,?\s*(?:and\s+)?y\s*[=:]\s*{_NUMBER}|\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)", re.IGNORECASE
)
_EXPECTED = 'expected a user\'s message with a photo (a part of type "image_url" with a data URL)'


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A chat request, understood."""

    photo: str
    """As `Service.with_photo` takes it."""
    task: Task
    asked: PhotoPoint


async def complete(service: Service, request: ChatRequest) -> ChatAnswer | StreamingResponse:
    """Answer a chat request, whole or as it is written."""
    engine = service.engine(request.model)
    with refusing():
        question = read_question(request.messages)
    photo = await service.prepare(engine, question.photo)
    head: dict[str, Any] = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": engine.name}
    if request.stream:
        pieces = _written(partial(service.answer, question.task, engine, photo, [question.asked]))
        # Before the first byte is sent, so that what is refused has its status.
        return StreamingResponse(_events(head, await anext(pieces), pieces), media_type="text/event-stream")
    [answer] = await service.answer(question.task, engine, photo, [question.asked])
    return ChatAnswer(**head, choices=[ChatChoice(message=AssistantMessage(content=say(answer)))])


async def _written(answer: Callable[..., Awaitable[list[PhotoPoint]]]) -> AsyncIterator[str]:
    """An answer's words as they are written, each time from the beginning; whole at last."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def on_text(_: int, text: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, text)

    answering = asyncio.ensure_future(answer(on_text=on_text))
    answering.add_done_callback(lambda _: pieces.put_nowait(None))
    while (text := await pieces.get()) is not None:
        # A last character of several tokens may still change.
        if not text.endswith("\ufffd"):
            yield text
    yield say((await answering)[0])


async def _events(head: dict[str, Any], first: str, others: AsyncIterator[str]) -> AsyncIterator[str]:
    """Server-sent events of what each piece adds to the one before."""

    def event(delta: dict[str, str], finish_reason: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"

    yield event({"role": "assistant", "content": first}, None)
    sent = first
    async for text in others:
        if text.startswith(sent):
            yield event({"role": "assistant", "content": text[len(sent) :]}, None)
            sent = text
    yield event({}, "stop")
    yield "data: [DONE]\n\n"


def read_question(messages: list[ChatMessage]) -> Question:
    """What the last of the user's messages asks about the last photo shown.

    Raises:
        ValueError: no photo, more than one in a message, no words, or more than one point.
    """
    shown: list[str] = []
    words = ""
    for message in messages:
        if message.role == "user":
            words, photos = _parts(message)
            shown = photos or shown
    if not shown:
        raise ValueError(f"the chat shows no photo; {_EXPECTED}")
    # What our own evaluation asks shows the point's surroundings as well.
    if len(shown) > 1 and words_of_prompt("describe", words) is None:
        raise ValueError(f"the message shows {len(shown)} photos; ask about one at a time")
    photo = shown[0]
    if not words.strip():
        raise ValueError("the last message has no words; give a point such as x = 212, y = 140, or a description")
    # What our own evaluation writes: its words may hold numbers of any kind.
    sought = words_of_prompt("pixels", words)
    points = {tuple(float(n) for n in found if n) for found in _POINT.findall(words)} if sought is None else set()
    if len(points) > 1:
        raise ValueError(f"the last message has {len(points)} points; ask about one at a time, or use /v1/describe")
    if points:
        x, y = points.pop()
        return Question(photo=photo, task="describe", asked=PhotoPoint(point_px=(x, y)))
    text = (sought or {}).get("text", words).strip()
    return Question(photo=photo, task="localize", asked=PhotoPoint(text=text))


def say(answer: PhotoPoint) -> str:
    """An answer as the assistant's words: a description, or a point as JSON in pixels of the photo.

    Of a thing that counts as absent it says so first; the JSON after it is the likeliest place.
    """
    if answer.found_px is None:
        return answer.words or ""
    x, y = answer.found_px
    place = json.dumps({"x": round(x, 2), "y": round(y, 2)})
    absent = absence(answer.there)
    return f"{absent}; the likeliest place is {place}" if absent else place


def _parts(message: ChatMessage) -> tuple[str, list[str]]:
    """Words and photos of a message."""
    if not isinstance(message.content, list):
        return message.content or "", []
    words, photos = [], []
    for part in message.content:
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            words.append(part["text"])
        elif kind == "image_url":
            photos.append(_address(part.get("image_url")))
        else:
            raise ValueError(f'a part of type {str(kind)[:40]!r}; allowed: "text" and "image_url"')
    return "\n".join(words), photos


def _address(image: Any) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url:
        raise ValueError(f"a photo without a url; {_EXPECTED}")
    return url
