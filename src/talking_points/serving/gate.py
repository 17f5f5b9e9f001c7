"""What every request passes before anything is done for it: the token, the size of its body, room for it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talking_points.serving.config import ServingConfig
from talking_points.serving.metrics import Metrics

OPEN_PATHS = ("/health",)
"""Answered without a token."""
API_PATHS = ("/v1/", "/label-studio/")
"""Whose bodies are counted here; the page has its own limit on files."""
# The page's own scripts evaluate code and set styles; nothing comes from, or goes to, another host.
PAGE_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, config: ServingConfig, metrics: Metrics) -> None:
        self.app, self.config, self.metrics = app, config, metrics
        self.requests_in_flight = 0
        self._bytes_in_flight = 0
        metrics.in_flight.set_function(lambda: self.requests_in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        is_api = path.startswith(API_PATHS)
        if path not in OPEN_PATHS and not self._may_enter(headers.get("authorization", "")):
            scheme = "Bearer" if is_api else 'Basic realm="talking-points"'
            refusal = error_response(
                401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": scheme}
            )
            await refusal(scope, receive, send)
            return
        if not is_api:
            await self.app(scope, receive, _with_policy(send) if scope["type"] == "http" else send)
            return
        await self._api(scope, headers, receive, send)

    def _may_enter(self, authorization: str) -> bool:
        """Bearer TOKEN, or Basic with the token as the password, which browsers and Label Studio can send."""
        if self.config.token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError, ValueError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.config.token.encode())

    async def _api(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        config, begun_s = self.config, time.monotonic()
        most = config.max_body_bytes
        stated = headers.get("content-length", "")
        size = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else most
        if scope["method"] in ("GET", "HEAD"):
            size = 0
        status = 500

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if size > most:
            self.metrics.refused.labels("too large").inc()
            await error_response(413, _too_large(most))(scope, receive, answering)
            return
        if self._bytes_in_flight + size > config.max_bytes_in_flight:
            self.metrics.refused.labels("busy").inc()
            await error_response(429, "too many requests are being read; try again in 1 s", {"Retry-After": "1"})(
                scope, receive, answering
            )
            return
        self._bytes_in_flight += size
        self.requests_in_flight += 1
        try:
            await self.app(scope, _bounded(receive, size, config.body_timeout_s), answering)
        finally:
            self._bytes_in_flight -= size
            self.requests_in_flight -= 1
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.monotonic() - begun_s)


def _bounded(receive: Receive, most: int, timeout_s: float) -> Receive:
    """The body's messages, of at most so many bytes and so much time together."""
    deadline_s = time.monotonic() + timeout_s
    got, whole = 0, False

    async def bounded() -> Message:
        nonlocal got, whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), deadline_s - time.monotonic())
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the request's body did not arrive within {timeout_s:g} s") from None
        if message["type"] == "http.request":
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > most:
                raise HTTPException(413, _too_large(most))
        return message

    return bounded


def _with_policy(send: Send) -> Send:
    async def answering(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(b"content-security-policy", PAGE_POLICY.encode()), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return answering


def _too_large(most: int) -> str:
    return f"the request is larger than the {most:,} bytes allowed; send a smaller photo"


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The shape of every error."""
    kinds = {401: "authentication_error", 429: "rate_limit_error", 503: "unavailable_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return JSONResponse({"error": {"message": message, "type": kind}}, status, headers)
