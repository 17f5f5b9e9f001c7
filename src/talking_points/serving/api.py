"""The HTTP API: parse, ask the service, answer."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import talking_points
from talking_points.samples import points_as_json
from talking_points.serving import chat, label_studio
from talking_points.serving.bodies import media_type, read_body, read_form
from talking_points.serving.engine import Point, Task
from talking_points.serving.gate import error_response
from talking_points.serving.metrics import Metrics
from talking_points.serving.schemas import (
    ChatAnswer,
    ChatAnswerMessage,
    ChatChoice,
    ChatRequest,
    ErrorAnswer,
    Health,
    ModelList,
    PointsAnswer,
    PointsRequest,
    ServedModel,
    TextsRequest,
)
from talking_points.serving.service import Service, bad_request

_ABOUT = """Describe one pixel of a photo in words, and find it again from those words.

Points are pixels of the photo as it is seen (its EXIF orientation applied), from its top left corner."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "What is wrong with the request, in one line."},
    401: {"model": ErrorAnswer, "description": "The token is missing or another."},
    404: {"model": ErrorAnswer, "description": "No such model."},
    408: {"model": ErrorAnswer, "description": "The body came too slowly."},
    413: {"model": ErrorAnswer, "description": "The body is too large."},
    415: {"model": ErrorAnswer, "description": "Neither JSON nor a form."},
    429: {"model": ErrorAnswer, "description": "Too much is waiting; Retry-After says when to come back, in seconds."},
    503: {"model": ErrorAnswer, "description": "The server is stopping."},
}


def make_api(service: Service, metrics: Metrics) -> FastAPI:
    """The application without its gate and its page."""
    app: FastAPI = FastAPIOffline(
        title="Talking Points", version=talking_points.__version__, description=_ABOUT, redoc_url=None
    )

    @app.exception_handler(HTTPException)
    async def _refuse(request: Request, error: HTTPException) -> Response:
        return error_response(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _fail(request: Request, error: Exception) -> Response:
        # starlette logs the traceback; callers get nothing of it.
        return error_response(500, "the server failed on this request; its log says why")

    @app.get("/health", response_model=Health)
    async def health() -> Health:
        """Whether the server answers, and with which models."""
        return Health(models=list(service.engines))

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
    async def prometheus_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models", response_model=ModelList, responses={401: _ERRORS[401]})
    async def models() -> ModelList:
        """The models served, in OpenAI's form."""
        return ModelList(data=[ServedModel(id=name) for name in service.engines])

    # What is null of a point is told or left out by `samples` alone.
    options: dict[str, Any] = {"response_model_exclude_unset": True, "responses": _ERRORS}

    @app.post("/v1/describe", response_model=PointsAnswer, openapi_extra=_body(PointsRequest, "point"), **options)
    async def describe(request: Request) -> dict[str, Any]:
        """Put points of a photo into words."""
        return await _answer(service, request, "describe")

    @app.post("/v1/localize", response_model=PointsAnswer, openapi_extra=_body(TextsRequest, "text"), **options)
    async def localize(request: Request) -> dict[str, Any]:
        """Find the point of a photo that each text is about."""
        return await _answer(service, request, "localize")

    @app.post("/v1/round-trip", response_model=PointsAnswer, openapi_extra=_body(PointsRequest, "point"), **options)
    async def round_trip(request: Request) -> dict[str, Any]:
        """Describe points, and find them again from the descriptions alone."""
        return await _answer(service, request, "round-trip")

    @app.post(
        "/v1/chat/completions", response_model=ChatAnswer, openapi_extra=_json_body(ChatRequest), responses=_ERRORS
    )
    async def chat_completions(request: Request) -> Any:
        """OpenAI's chat: a photo and a point give a description, a photo and a description give a point."""
        return await _chat(service, await read_body(request, ChatRequest))

    label_studio.add_routes(app, service)
    return app


def _body(schema: type[BaseModel], field: str) -> dict[str, Any]:
    """The request's body in OpenAPI: JSON, or a form with a photo."""
    what = {"point": "X,Y in pixels, such as 212.5,140.5", "text": "describes one point"}[field]
    form = {
        "type": "object",
        "required": ["photo", field],
        "properties": {
            "photo": {"type": "string", "format": "binary"},
            field: {"type": "array", "items": {"type": "string"}, "description": f"Repeatable: {what}."},
            "model": {"type": "string"},
        },
    }
    extra = _json_body(schema)
    extra["requestBody"]["content"]["multipart/form-data"] = {
        "schema": form,
        # A field of its own for each, as curl -F sends them.
        "encoding": {field: {"style": "form", "explode": True}},
    }
    return extra


def _json_body(schema: type[BaseModel]) -> dict[str, Any]:
    described = schema.model_json_schema()
    for name, part in described.pop("$defs", {}).items():
        described = json.loads(json.dumps(described).replace(f'{{"$ref": "#/$defs/{name}"}}', json.dumps(part)))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": described}}}}


async def _answer(service: Service, request: Request, task: Task) -> dict[str, Any]:
    photo: bytes | str
    points: list[Point] = []
    texts: list[str] = []
    if media_type(request) == "multipart/form-data":
        model, photo, points, texts = await read_form(request, task)
    elif task == "localize":
        given = await read_body(request, TextsRequest)
        model, photo, texts = given.model, given.photo, given.texts
    else:
        asked = await read_body(request, PointsRequest)
        model, photo, points = asked.model, asked.photo, asked.points
    engine = service.engine(model)
    try:
        service.check_count(texts if task == "localize" else points)
    except ValueError as error:
        raise bad_request(error) from None
    prepared = await service.prepared(photo, engine)
    answered = await service.answer(task, engine, prepared, points_px=points, texts=texts)
    return points_as_json(answered.answers, answered.size_wh, model=answered.model)


async def _chat(service: Service, asked: ChatRequest) -> Any:
    engine = service.engine(asked.model)
    try:
        question = chat.read_question(asked.messages)
    except ValueError as error:
        raise bad_request(error) from None
    photo = await service.prepared(question.photo, engine)
    name, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
    if not asked.stream:
        answered = await service.answer(
            question.task, engine, photo, points_px=question.points_px, texts=question.texts
        )
        message = ChatAnswerMessage(content=chat.say(answered.answers[0]))
        return ChatAnswer(id=name, created=created, model=engine.name, choices=[ChatChoice(message=message)])

    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str]()

    def on_text(_: int, text: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, text)

    answering = asyncio.ensure_future(
        service.answer(
            question.task, engine, photo, points_px=question.points_px, texts=question.texts, on_text=on_text
        )
    )
    # Before the first byte is sent, so that what is refused has its status.
    first = asyncio.ensure_future(pieces.get())
    await asyncio.wait({answering, first}, return_when=asyncio.FIRST_COMPLETED)
    if answering.done() and answering.exception() is not None:
        first.cancel()
        await answering
    shape = {"id": name, "object": "chat.completion.chunk", "created": created, "model": engine.name}

    async def events() -> AsyncIterator[str]:
        sent = ""
        waiting = first
        while not answering.done():
            await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                text = waiting.result()
                waiting = asyncio.ensure_future(pieces.get())
                # A last character of several tokens may still change.
                if text.startswith(sent) and not text.endswith("\ufffd"):
                    yield _event(shape, text[len(sent) :])
                    sent = text
        waiting.cancel()
        whole = chat.say((await answering).answers[0])
        if whole.startswith(sent):
            yield _event(shape, whole[len(sent) :])
        yield _event(shape, None)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def _event(shape: Mapping[str, Any], text: str | None) -> str:
    delta = {} if text is None else {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if text is None else None}
    return f"data: {json.dumps({**shape, 'choices': [choice]})}\n\n"
