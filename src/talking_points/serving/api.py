"""The HTTP API: parse, ask the service, answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Form, Response
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

import talking_points
from talking_points.points import refuse_normalised
from talking_points.samples import points_as_json
from talking_points.serving import chat, label_studio, schemas
from talking_points.serving.chat_schemas import ChatAnswer, ChatRequest
from talking_points.serving.engine import Engine, Task
from talking_points.serving.errors import FORM, answer_errors, media_type
from talking_points.serving.metrics import Metrics
from talking_points.serving.service import Service, refusing

_ABOUT = """Describe one pixel of a photo in words, and find it again from those words.

Points are pixels of the photo as it is seen (its EXIF orientation applied), from its top left corner."""
_MEANINGS: dict[int | str, str] = {
    400: "What is wrong with the request, in one line.",
    401: "The token is missing or another.",
    404: "No such model.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "Neither JSON nor a form.",
    429: "Too much is waiting; Retry-After says when to come back, in seconds.",
    503: "The server is stopping.",
    # FastAPI would tell of a 422 of its own shape here.
    "4XX": "Any other error has the same shape.",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.ErrorAnswer, "description": meaning} for status, meaning in _MEANINGS.items()
}


class _FormRoute(APIRoute):
    """Takes forms; what is none goes on to the route of the same path that takes JSON."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_form = scope["type"] == "http" and media_type(Headers(scope=scope)) == FORM
        return super().matches(scope) if is_form else (Match.NONE, {})


def make_api(service: Service, metrics: Metrics) -> FastAPI:
    """The application without its gate and its page."""
    app: FastAPI = FastAPIOffline(
        title="Talking Points", version=talking_points.__version__, description=_ABOUT, redoc_url=None
    )
    answer_errors(app, takes=f"application/json, or {FORM} with a photo")
    _add_tasks(app, service)

    @app.get("/health", response_model=schemas.Health)
    async def health() -> schemas.Health:
        """Whether the server answers, and with which models."""
        return schemas.Health(models=list(service.engines))

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
    async def prometheus_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models", response_model=schemas.ModelList, responses={401: _ERRORS[401]})
    async def models() -> schemas.ModelList:
        """The models served, in OpenAI's form."""
        return schemas.ModelList(data=[_served(one) for one in service.engines.values()])

    @app.get(
        "/v1/models/{name:path}", response_model=schemas.ServedModel, responses={k: _ERRORS[k] for k in (401, 404)}
    )
    async def model(name: str) -> schemas.ServedModel:
        """One of the models served, in OpenAI's form."""
        return _served(service.engine(name))

    @app.post("/v1/chat/completions", response_model=ChatAnswer, responses=_ERRORS)
    async def chat_completions(asked: ChatRequest) -> Any:
        """OpenAI's chat: a photo and a point give a description, a photo and a description give a point."""
        return await chat.complete(service, asked)

    label_studio.add_routes(app, service)
    return app


def _served(engine: Engine) -> schemas.ServedModel:
    return schemas.ServedModel(id=engine.name, created=engine.loaded_s, knows=list(engine.knows))


def _add_tasks(app: FastAPI, service: Service) -> None:
    """The three questions about a photo, each asked by JSON or by a form."""

    def add(task: Task, body: Any, **route: Any) -> None:
        async def ask(asked: schemas.Question) -> dict[str, Any]:
            engine = service.engine(asked.model)
            source = asked.photo if isinstance(asked.photo, str) else await asked.photo.read()
            photo = await service.prepare(engine, source)
            points_or_texts = asked.points_or_texts()
            with refusing():
                refuse_normalised([one.point_px for one in points_or_texts if one.point_px is not None], photo.size_wh)
            answers = await service.answer(task, engine, photo, points_or_texts)
            return points_as_json(answers, photo.size_wh, model=engine.name)

        # What FastAPI reads the body as.
        ask.__annotations__ = {"asked": body}
        app.router.add_api_route(f"/v1/{task}", ask, name=task, methods=["POST"], **route)

    questions: list[tuple[Task, Any, Any, str]] = [
        ("describe", schemas.PointsRequest, schemas.PointsForm, "Put points of a photo into words."),
        ("localize", schemas.TextsRequest, schemas.TextsForm, "Find the point of a photo that each text is about."),
        ("round-trip", schemas.PointsRequest, schemas.PointsForm, "Describe points, and find them by the words alone."),
    ]
    for task, as_json, as_form, about in questions:
        add(task, Annotated[as_form, Form()], route_class_override=_FormRoute, include_in_schema=False)
        add(
            task,
            as_json,
            description=about,
            response_model=schemas.PointsAnswer,
            # What is null of a point is told or left out by `samples` alone.
            response_model_exclude_unset=True,
            responses=_ERRORS,
            openapi_extra={"requestBody": {"content": {FORM: {"schema": as_form.model_json_schema()}}}},
        )
