"""Reading what requests hold: JSON or a form. What is wrong with it is an HTTPException of one line."""

from __future__ import annotations

import json
from typing import NoReturn, TypeVar

from anyio.to_thread import run_sync
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from talking_points.serving.engine import Point, Task

M = TypeVar("M", bound=BaseModel)


async def read_form(request: Request, task: Task) -> tuple[str | None, bytes, list[Point], list[str]]:
    """model, photo, points and texts of a form."""
    field = "text" if task == "localize" else "point"
    async with request.form(max_files=1, max_fields=1000) as form:
        unknown = sorted(form.keys() - {"model", "photo", field})
        if unknown:
            raise HTTPException(400, f"unknown field {unknown[0][:100]!r}; allowed: photo, {field}, model")
        photo, model = form.get("photo"), form.get("model")
        if not isinstance(photo, UploadFile):
            raise HTTPException(400, "the form has no file named photo, as curl -F photo=@street.jpg sends it")
        data = await photo.read()
        values = form.getlist(field)
    if any(not isinstance(value, str) for value in (*values, model or "")):
        raise HTTPException(400, f"{field} and model are texts, not files")
    words = [str(value) for value in values]
    if not words:
        raise HTTPException(400, f"the form has no {field}, as curl -F {field}=... sends it")
    points = [] if task == "localize" else [_parse_point(value) for value in words]
    return None if model is None else str(model), data, points, words if task == "localize" else []


def _parse_point(text: str) -> Point:
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        raise HTTPException(400, f"a point is X,Y such as 120,45.5, got {text[:100]!r}") from None
    return x, y


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, schema: type[M]) -> M:
    """A request's JSON body, checked; an HTTPException of one line when it is none."""
    if media_type(request) not in ("application/json", "text/json"):
        raise HTTPException(415, "expected Content-Type: application/json, or multipart/form-data with a photo")
    body = await request.body()
    # In a thread: of a large photo it takes long enough for others to notice.
    return await run_sync(_parse_json, body, schema)


def _parse_json(body: bytes, schema: type[M]) -> M:
    try:
        given = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise HTTPException(400, "the body is no JSON: nested too deep") from None
    except ValueError as error:
        raise HTTPException(400, f"the body is no JSON: {' '.join(str(error).split())[:200]}") from None
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step)[:40] for step in first["loc"])
        raise HTTPException(400, f"{where or 'the body'}: {first['msg']}"[:300]) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
