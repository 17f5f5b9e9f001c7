"""OpenAI's chat: a point in a message wants a description, words want a point.

So that OpenAI's clients, and `talking-points evaluate` with endpoint:URL,MODEL, can ask this server. Which settings are
kept to, `chat_schemas` says, and how points may be written, `asked_points`.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import StreamingResponse

from talking_points.model.prompts import Prompts
from talking_points.pointing.forms import FORMS, words_of_prompt
from talking_points.samples import PhotoPoint, absence, says_something
from talking_points.serving.asked_points import EXAMPLE, AskedPoint, asked_point, check_length
from talking_points.serving.chat_ending import Ending
from talking_points.serving.chat_schemas import (
    AssistantMessage,
    ChatAnswer,
    ChatChoice,
    ChatMessage,
    ChatRequest,
    Usage,
)
from talking_points.serving.engine import Task
from talking_points.serving.service import Service, refusing

_EXPECTED = 'expected a user\'s message with a photo (a part of type "image_url" with a data URL)'


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A chat request, understood."""

    photo: str
    """As `Service.with_photo` takes it."""
    words: str
    """Of the last message."""
    asked: AskedPoint | str
    """A point to describe, or a text to find."""
    in_json: bool = False
    """The words themselves ask for nothing but JSON."""

    @property
    def task(self) -> Task:
        return "localize" if isinstance(self.asked, str) else "describe"

    def about(self, size_wh: tuple[int, int]) -> PhotoPoint:
        """What a model is asked about a photo of this size. A ValueError for a point outside it."""
        if isinstance(self.asked, str):
            return PhotoPoint(text=self.asked)
        return PhotoPoint(point_px=self.asked.pixels(size_wh))


async def complete(service: Service, request: ChatRequest) -> ChatAnswer | StreamingResponse:
    """Answer a chat request, whole or as it is written."""
    engine = service.engine(request.model)
    with refusing():
        question = read_question(request.messages)
        ending = Ending(request.stops, request.most_tokens, engine.prompts)
        if request.wants_usage:
            _usage(engine.prompts, question, "", needed=True)
    photo = await service.prepare(engine, question.photo)
    with refusing():
        asked = question.about(photo.size_wh)
    head: dict[str, Any] = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": engine.name}
    answering = partial(service.answer, question.task, engine, photo, [asked])
    in_json = request.wants_json or question.in_json
    if request.stream:
        pieces = _written(answering, ending, in_json=in_json)
        # Before the first byte is sent, so that what is refused has its status.
        first = await anext(pieces)
        counted = partial(_usage, engine.prompts, question) if request.wants_usage else None
        return StreamingResponse(_events(head, first, pieces, counted), media_type="text/event-stream")
    [answer] = await answering()
    said, reason = ending.cut(say(answer, in_json=in_json))
    choice = ChatChoice(message=AssistantMessage(content=said), finish_reason=reason)
    return ChatAnswer(**head, choices=[choice], usage=_usage(engine.prompts, question, said))


def _usage(prompts: Prompts | None, question: Question, said: str, *, needed: bool = False) -> Usage | None:
    """Tokens of question and answer; None where they are not known, or a ValueError where they are needed."""
    if prompts is None:
        if needed:
            raise ValueError("include_usage: the tokens of this model are not known here; leave it out")
        return None
    asked, answered = prompts.count(question.words), prompts.count(said)
    return Usage(prompt_tokens=asked, completion_tokens=answered, total_tokens=asked + answered)


_Piece = tuple[str, str | None]
"""An answer from its beginning, and why it ends there; None: it goes on."""


async def _written(
    answer: Callable[..., Awaitable[list[PhotoPoint]]], ending: Ending, *, in_json: bool
) -> AsyncIterator[_Piece]:
    """An answer's words as they are written, each time from the beginning; whole at last."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def on_text(_: int, text: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, text)

    answering = asyncio.ensure_future(answer(on_text=None if in_json else on_text))

    def done(task: asyncio.Future[list[PhotoPoint]]) -> None:
        pieces.put_nowait(None)
        if not task.cancelled():
            task.exception()  # told where it is awaited, and by nobody where the caller has left

    answering.add_done_callback(done)
    try:
        while (text := await pieces.get()) is not None:
            # A last character of several tokens may still change.
            if not text.endswith("\ufffd"):
                yield ending.sure(text), None
        yield ending.cut(say((await answering)[0], in_json=in_json))
    finally:
        # Of a caller who left: what still waits for the model need not be done.
        answering.cancel()


async def _events(
    head: dict[str, Any], first: _Piece, others: AsyncIterator[_Piece], counted: Callable[[str], Usage | None] | None
) -> AsyncIterator[str]:
    """Server-sent events of what each piece adds to the one before. counted: the tokens of an answer, told at last."""
    # As OpenAI sends them: with `usage` asked for, it is null until the last event.
    usage: dict[str, Any] = {} if counted is None else {"usage": None}

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        chunk = {**head, "object": "chat.completion.chunk", "choices": choices, **usage, **more}
        return f"data: {json.dumps(chunk)}\n\n"

    def choice(delta: dict[str, str], reason: str | None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": reason}]

    sent, reason = first
    yield event(choice({"role": "assistant", "content": sent}, None))
    async for text, why in others:
        reason = why
        if not text.startswith(sent):
            if why is None:
                continue
            # What was sent cannot be taken back; a stream without an end says that it is none.
            raise RuntimeError(f"the answer's words changed after they were sent: {sent!r} is {text!r}")
        if text != sent:
            yield event(choice({"content": text[len(sent) :]}, None))
            sent = text
    yield event(choice({}, reason))
    if counted is not None and (count := counted(sent)) is not None:
        yield event([], usage=count.model_dump())
    yield "data: [DONE]\n\n"


def read_question(messages: list[ChatMessage]) -> Question:
    """What the last of the user's messages asks about the last photo shown.

    Raises:
        ValueError: no photo, more than one in a message, no words, several points, or one that is not understood.
    """
    shown: list[str] = []
    words = ""
    for message in messages:
        if message.role == "user":
            words, photos = _parts(message)
            shown = photos or shown
    if not shown:
        raise ValueError(f"the chat shows no photo; {_EXPECTED}")
    # Before anything is looked for in them, which takes the longer the longer they are.
    check_length(words)
    # What our own evaluation asks shows the point's surroundings as well.
    if len(shown) > 1 and words_of_prompt("describe", words) is None:
        raise ValueError(f"the message shows {len(shown)} photos; ask about one at a time")
    photo = shown[0]
    if not says_something(words):
        raise ValueError(f"the last message has no words; give a description, or a point such as {EXAMPLE}")
    # What our own evaluation writes: its words may hold numbers of any kind.
    sought = words_of_prompt("pixels", words)
    others = {form.asks for form in FORMS.values()} - {"pixels"}
    if sought is None and any(words_of_prompt(asks, words) is not None for asks in others):
        raise ValueError("points are answered in pixels of the photo here; ask with --style pixels")
    point = asked_point(words) if sought is None else None
    asked = (sought or {}).get("text", words).strip() if point is None else point
    return Question(photo=photo, words=words, asked=asked, in_json=sought is not None)


def say(answer: PhotoPoint, *, in_json: bool) -> str:
    """An answer as the assistant's words: a description, or a point as JSON in pixels of the photo.

    Of a thing that counts as absent it says so first; the JSON after it is the likeliest place, where there is one.
    in_json: nothing but JSON, {"description": ...} or {"x": ..., "y": ..., "there": ...} with the likelihood that the
    thing is there.
    """
    if answer.problem is not None:
        return f"no answer: {answer.problem}"
    if answer.found_px is None:
        if absence(answer.there) and in_json:
            return json.dumps({"x": None, "y": None, "there": answer.there})
        said = absence(answer.there) or answer.words or ""
        return json.dumps({"description": said}, ensure_ascii=False) if in_json else said
    x, y = answer.found_px
    point = {"x": round(x, 2), "y": round(y, 2)}
    if in_json:
        return json.dumps({**point, "there": None if answer.there is None else round(answer.there, 4)})
    place = json.dumps(point)
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
