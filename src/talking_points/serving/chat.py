"""What a chat message asks: a point in it wants a description, words want a point.

In OpenAI's form, so that its clients, and `talking-points evaluate` with endpoint:URL,MODEL, can ask this server.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from talking_points.evaluation.pointing.formats import words_of_prompt
from talking_points.samples import PhotoPoint
from talking_points.serving.engine import Point, Task
from talking_points.serving.schemas import ChatMessage

_NUMBER = r"(-?\d{1,6}(?:\.\d{1,6})?)"
_POINT = re.compile(
    rf"\bx\s*[=:]\s*{_NUMBER}\s*,?\s*(?:and\s+)?y\s*[=:]\s*{_NUMBER}|\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)", re.IGNORECASE
)
_EXPECTED = 'expected a user\'s message with a photo (a part of type "image_url" with a data URL)'


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A chat request, understood."""

    photo: str
    """As `Service.read_source` takes it."""
    task: Task
    points_px: list[Point]
    texts: list[str]


def read_question(messages: list[ChatMessage]) -> Question:
    """What the last of the user's messages asks about the last photo shown.

    Raises:
        ValueError: no photo, no words, or more than one point.
    """
    photo, words = None, ""
    for message in messages:
        if message.role == "user":
            said, shown = _parts(message)
            photo, words = shown or photo, said
    if photo is None:
        raise ValueError(f"the chat shows no photo; {_EXPECTED}")
    if not words.strip():
        raise ValueError("the last message has no words; give a point such as x = 212, y = 140, or a description")
    # What our own evaluation writes: its words may hold numbers of any kind.
    asked = words_of_prompt("pixels", words)
    points = [] if asked else [_as_point(found) for found in _POINT.findall(words)]
    if len(set(points)) > 1:
        raise ValueError(f"the last message has {len(points)} points; ask about one at a time, or use /v1/describe")
    if points:
        return Question(photo=photo, task="describe", points_px=points[:1], texts=[])
    return Question(photo=photo, task="localize", points_px=[], texts=[(asked or {}).get("text", words).strip()])


def say(answer: PhotoPoint) -> str:
    """An answer as the assistant's words: a description, or a point as JSON in pixels of the photo."""
    if answer.found_px is None:
        return answer.words or ""
    x, y = answer.found_px
    return json.dumps({"x": round(x, 2), "y": round(y, 2)})


def _parts(message: ChatMessage) -> tuple[str, str | None]:
    """Words and photo of a message."""
    if not isinstance(message.content, list):
        return message.content or "", None
    words, photo = [], None
    for part in message.content:
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            words.append(part["text"])
        elif kind == "image_url":
            photo = _address(part.get("image_url"))
        else:
            raise ValueError(f'a part of type {str(kind)[:40]!r}; allowed: "text" and "image_url"')
    return "\n".join(words), photo


def _address(image: Any) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url:
        raise ValueError(f"a photo without a url; {_EXPECTED}")
    return url


def _as_point(groups: tuple[str, ...]) -> Point:
    x, y = (float(number) for number in groups if number)
    return x, y
