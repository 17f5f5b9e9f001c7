"""Requests that are wrong in random ways, for `attack.py`: each is drawn by a seed and its number alone."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

BOUNDARY = "talking-points-fuzzing"
JSON = "application/json"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
TASKS = ("/v1/describe", "/v1/localize", "/v1/round-trip")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SIZE_WH = (96, 64)
INTERFACE = (
    '<View><Image name="image" value="$image"/><KeyPointLabels name="kp" toName="image"><Label value="a"/>'
    '</KeyPointLabels><TextArea name="text" toName="image" perRegion="true"/></View>'
)
WORDS = ("the left wheel", "x = 20, y = 30", "(20, 30)", '{"x": 20, "y": 30}', "<point x='1' y='2'>", "[1, 2], [3, 4]")
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 10**30, float("nan"), float("inf"), -float("inf")),
    *("", " ", "\n", "\0", "\ud800", "\u202e", "é", "😀" * 50, "a" * 5000, "<mark>", "<p>", "../../etc/passwd", "NaN"),
    *("data:image/png;base64,", "data:,", "http://127.0.0.1/", "file:///etc/passwd", "1,1", "%s%n", "'; --", "$image"),
    *([], {}, [[]], [{}], [None], {"": None}, {"url": 1}, [[1, 2, 3]], [["1", "2"]], [[1]], {"x": 1}, [0] * 1000),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
TYPES = (JSON, FORM, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "a/b; charset=\xff")
TYPES += (f"{JSON}; charset=utf-16", "application/xml", "multipart/form-data; boundary=", "image/jpeg")
GETS = ("/", "/page/example", "/static/page.js", "/health", "/metrics", "/v1/models", "/v1/models/mini", "/docs")
GETS += ("/openapi.json", "/label-studio/health", "/static-offline-docs/swagger-ui.css", "/docs/oauth2-redirect")


@dataclass(kw_only=True, slots=True)
class Request:
    """A request as it is sent."""

    method: str = "POST"
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def draw(seed: int, number: int) -> Request:
    """The request of a number: some of them are right, the others wrong in one to three ways."""
    dice = random.Random(f"{seed} {number}")
    request = dice.choice((_task_json, _task_form, _chat, _page, _label_studio, _get))(dice)
    if dice.random() < 0.5:
        _change_request(request, dice)
    return request


def photo(dice: random.Random) -> bytes:
    """A photo's file; of four, one is damaged."""
    values = np.random.default_rng(dice.getrandbits(32)).integers(0, 255, (SIZE_WH[1], SIZE_WH[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, dice.choice(FORMATS))
    return damaged(stream.getvalue(), dice) if dice.random() < 0.25 else stream.getvalue()


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Bytes with some changed, cut off, repeated or put in."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at, how = dice.randrange(len(changed) + 1), dice.randrange(4)
        if how == 0:
            del changed[at:]
        elif how == 1:
            changed[at:at] = dice.randbytes(dice.randint(1, 20))
        elif how == 2:
            changed[at : at + 1] = dice.randbytes(1)
        else:
            changed[at:at] = changed[at : at + dice.randint(1, 200)]
    return bytes(changed)


def form(fields: list[tuple[str, str | bytes]]) -> bytes:
    """A form's body; bytes are files."""
    lines = []
    for name, value in fields:
        file = '; filename="a.jpg"' if isinstance(value, bytes) else ""
        lines.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode())
        lines.append((value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")) + b"\r\n")
    return b"".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


def _json_request(path: str, content: Any, dice: random.Random) -> Request:
    for _ in range(dice.choice((0, 1, 1, 2))):
        content = _changed(content, dice)
    # As Python's parser reads it, NaN and lone surrogates included.
    return Request(path=path, body=json.dumps(content).encode(), headers={"Content-Type": JSON})


def _changed(content: Any, dice: random.Random) -> Any:
    """A JSON value of which one place, however deep, is something strange, missing, or there in addition."""
    if isinstance(content, dict) and content and dice.random() < 0.85:
        key, how = dice.choice(list(content)), dice.random()
        if how < 0.1:
            return {name: value for name, value in content.items() if name != key}
        if how < 0.2:
            return {**content, str(dice.choice(STRANGE)): dice.choice(STRANGE)}
        return {**content, key: _changed(content[key], dice)}
    if isinstance(content, list) and content and dice.random() < 0.7:
        at, how = dice.randrange(len(content)), dice.random()
        if how < 0.15:
            return content * dice.choice((2, 3, 40))
        return [*content[:at], _changed(content[at], dice), *content[at + 1 :]]
    return dice.choice(STRANGE)


def _base64(dice: random.Random) -> str:
    return dice.choice(("", "data:image/jpeg;base64,")) + base64.b64encode(photo(dice)).decode()


def _points(dice: random.Random) -> list[list[float]]:
    return [[dice.uniform(0, side) for side in SIZE_WH] for _ in range(dice.choice((1, 1, 2)))]


def _task_json(dice: random.Random) -> Request:
    path = dice.choice(TASKS)
    asked = {"texts": [dice.choice(WORDS)]} if path == "/v1/localize" else {"points": _points(dice)}
    return _json_request(path, {"photo": _base64(dice), **asked}, dice)


def _task_form(dice: random.Random) -> Request:
    path = dice.choice(TASKS)
    name = "text" if path == "/v1/localize" else "point"
    said = [dice.choice(WORDS)] if name == "text" else [f"{x},{y}" for x, y in _points(dice)]
    fields: list[tuple[str, str | bytes]] = [("photo", photo(dice)), *((name, one) for one in said)]
    for _ in range(dice.choice((0, 1, 1))):
        fields[dice.randrange(len(fields))] = (dice.choice((name, "photo", "", "model", '"\\')), _value(dice))
    return Request(path=path, body=form(fields), headers={"Content-Type": FORM})


def _value(dice: random.Random) -> str | bytes:
    strange = dice.choice(STRANGE)
    return (
        strange.encode("utf-8", "surrogatepass") if isinstance(strange, str) and dice.random() < 0.2 else str(strange)
    )


def _chat(dice: random.Random) -> Request:
    parts = [{"type": "text", "text": dice.choice(WORDS)}, {"type": "image_url", "image_url": {"url": _base64(dice)}}]
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": parts}], "stream": dice.random() < 0.5}
    settings: tuple[tuple[str, Any], ...] = (
        *(("max_tokens", 5), ("stop", ["."]), ("response_format", {"type": "json_object"}), ("n", 1), ("seed", 3)),
        *(("temperature", 0), ("stream_options", {"include_usage": True}), ("tools", []), ("logit_bias", {})),
    )
    asked |= dict(dice.sample(settings, dice.choice((0, 0, 1, 2))))
    return _json_request("/v1/chat/completions", asked, dice)


def _page(dice: random.Random) -> Request:
    if dice.random() < 0.4:
        return Request(path="/page/photo", body=form([("photo", photo(dice))]), headers={"Content-Type": FORM})
    drawn: Any = [
        {"x": x, "y": y, "description": dice.choice(WORDS), "found_x": y, "found_y": x, "there": dice.random()}
        for x, y in _points(dice)
    ]
    for _ in range(dice.choice((0, 1, 2))):
        drawn = _changed(drawn, dice)
    fields: list[tuple[str, str | bytes]] = [("photo", photo(dice)), ("points", json.dumps(drawn))]
    return Request(path="/page/figure", body=form(fields), headers={"Content-Type": FORM})


def _label_studio(dice: random.Random) -> Request:
    kind = dice.random()
    interface = damaged(INTERFACE.encode(), dice).decode("latin-1") if dice.random() < 0.3 else INTERFACE
    if kind < 0.1:
        return _json_request("/label-studio/webhook", {"action": "ANNOTATION_CREATED"}, dice)
    if kind < 0.3:
        return _json_request("/label-studio/setup", {"project": "1", "schema": interface}, dice)
    x, y = (dice.uniform(0, 100) for _ in range(2))
    point = {"id": "a", "from_name": "kp", "type": "keypointlabels", "value": {"x": x, "y": y, "width": 1}}
    text = {"id": "b", "from_name": "text", "type": "textarea", "value": {"text": [dice.choice(WORDS)]}}
    frame = {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1], "image_rotation": 0}
    regions = [{**one, **frame} for one in dice.sample((point, text), dice.choice((1, 2)))]
    task = {"id": 1, "data": {"image": _base64(dice)}, "annotations": [{"result": regions}]}
    return _json_request("/label-studio/predict", {"tasks": [task], "label_config": interface, "params": None}, dice)


def _get(dice: random.Random) -> Request:
    return Request(method="GET", path=dice.choice(GETS))


def _change_request(request: Request, dice: random.Random) -> None:
    """What is around the body, or its bytes."""
    changes: tuple[Callable[[], None], ...] = (
        lambda: setattr(request, "method", dice.choice(METHODS)),
        lambda: setattr(request, "path", _strange_path(request.path, dice)),
        lambda: setattr(request, "body", damaged(request.body, dice)),
        lambda: request.headers.__setitem__("Content-Type", dice.choice(TYPES)),
        lambda: request.headers.__setitem__(
            dice.choice(
                ("Range", "Accept", "Cookie", "Origin", "Host", "Authorization", "If-Modified-Since", "X" * 99)
            ),
            dice.choice(("", "bytes=0-", "bytes=9-1,-5", "*/*", "a" * 4000, "\xff\xfe", "Basic !!", "null", "0")),
        ),
    )
    dice.choice(changes)()


def _strange_path(path: str, dice: random.Random) -> str:
    added = (
        "/..",
        "/%2e%2e/%2e%2e",
        "%00",
        "/",
        "//",
        "?a=%ff&a",
        "?" + "a" * 3000,
        "%",
        "/" + "a/" * 300,
        "%0d%0aA:b",
    )
    return dice.choice((path + dice.choice(added), dice.choice(added[:1] + added[4:5]) + path, path.upper(), path[:-1]))
