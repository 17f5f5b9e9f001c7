"""Every error of a server in the same shape, with a message of one line."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from talking_points.serving.gate import error_response

FORM = "multipart/form-data"


def answer_errors(app: FastAPI, *, takes: str) -> None:
    """Answer an application's errors. takes: what its bodies may be, for people."""

    @app.exception_handler(RequestValidationError)
    async def misread(request: Request, error: RequestValidationError) -> Response:
        if request.method not in ("GET", "HEAD") and media_type(request.headers) not in ("application/json", FORM):
            return error_response(415, f"expected Content-Type: {takes}")
        return error_response(400, "; ".join(_say(one) for one in error.errors()[:3])[:300])

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        return error_response(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        # starlette logs the traceback; callers get nothing of it.
        return error_response(500, "the server failed on this request; its log says why")


def media_type(headers: Headers) -> str:
    """A body's, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _say(problem: dict[str, Any]) -> str:
    """One of pydantic's errors, in words."""
    if problem["type"] == "json_invalid":
        return f"the body is no JSON: {problem['ctx']['error']}"
    if "UploadFile" in problem["msg"]:
        return f"{problem['loc'][-1]}: expected a file; with curl, -F {problem['loc'][-1]}=@street.jpg"
    where = "".join(_step(step) for step in problem["loc"][1:]).removeprefix(".")
    return f"{where or 'the body'}: {problem['msg'].removeprefix('Value error, ')}"


def _step(step: str | int) -> str:
    """On the way to what is wrong. Counted from 1, as "point 1 [300.0, 3.0] is outside the 200x100 photo" counts."""
    return f" {step + 1}" if isinstance(step, int) else f".{step[:40]}"
