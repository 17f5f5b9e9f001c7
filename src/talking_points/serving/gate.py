"""What every request passes before anything is done for it: the token, the size of its body, room for it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talking_points.serving.metrics import Metrics
from talking_points.serving.settings import AddressSettings

MOST_BYTES_IN_FLIGHT = 256_000_000
"""Bodies of all requests being read or answered, as far as they have come; what would make it more is refused for now.
Ours."""
BODY_TIMEOUT_S = 60.0
"""Longest time that a request's body may take to arrive. Ours."""
OPEN_PATHS = ("/health",)
"""Answered without a token."""
_BUSY = "too many requests are being read; try again in 1 s"
_LEFT = 499
"""What the metrics call a request whose caller left before it was answered; nginx's number."""
# Nothing comes from, or goes to, another host.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self' data: blob:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: AddressSettings, metrics: Metrics) -> None:
        """Raises a ValueError when the token that `settings` name is none."""
        self.app, self.settings, self.metrics = app, settings, metrics
        self._token = settings.read_token()
        self._most_in_flight = max(MOST_BYTES_IN_FLIGHT, settings.max_body_bytes)
        self._bytes_in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        authorization = Headers(scope=scope).get("authorization", "")
        if scope["path"] not in OPEN_PATHS and not self._may_enter(authorization):
            # Browsers and Label Studio ask for a password then; clients of the API know their token.
            challenge = {"WWW-Authenticate": 'Basic realm="talking-points"'}
            await error_response(401, "a token is needed: Authorization: Bearer TOKEN", challenge)(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell the metrics of a request."""
        status, begun_s = _LEFT, time.monotonic()

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self.metrics.in_flight.track_inprogress():
                await self._admit(scope, receive, answering)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.monotonic() - begun_s)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on while there is room for its body."""
        most, arrived = self.settings.max_body_bytes, 0

        def take(count: int) -> None:
            """Note what has come. What a caller only announces takes no room: a few slow ones would keep all out."""
            nonlocal arrived
            if self._bytes_in_flight + count > self._most_in_flight:
                raise HTTPException(429, _BUSY, {"Retry-After": "1"})
            arrived += count
            self._bytes_in_flight += count

        stated = Headers(scope=scope).get("content-length", "")
        size = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else 0
        if size > most:
            await error_response(413, _too_large(most))(scope, receive, send)
        elif self._bytes_in_flight + size > self._most_in_flight:
            await error_response(429, _BUSY, {"Retry-After": "1"})(scope, receive, send)
        else:
            try:
                await _answer_while_waited_for(self.app, scope, _bounded(receive, most, take), send)
            finally:
                self._bytes_in_flight -= arrived

    def _may_enter(self, authorization: str) -> bool:
        """Bearer TOKEN, or Basic with the token as the password, which browsers and Label Studio can send."""
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError, ValueError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode())


class OwnPagesOnly:
    """ASGI middleware: what pages of other sites ask is refused.

    A page may send here by itself, which its Origin tells; or after its site's name has come to mean this machine (DNS
    rebinding), which Host tells: a server that nobody gave a name is asked for by its address.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        """host: what the server was told to listen on; also by that name it may be asked for."""
        self.app, self._names = app, ("localhost", host.lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            asked, origin = headers.get("host", ""), headers.get("origin")
            if not self._is_own(asked):
                said = f"nobody is called {asked[:100]!r} here; ask by the address, or give that name as --host"
                await error_response(421, said)(scope, receive, send)
                return
            if origin is not None and origin.partition("://")[2] != asked:
                await error_response(403, "the page of another site may not ask here")(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_own(self, asked: str) -> bool:
        try:
            name = urlsplit(f"//{asked}").hostname or ""
            return name in self._names or bool(ipaddress.ip_address(name))
        except ValueError:
            return False


async def _answer_while_waited_for(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application, and end it when the caller leaves: what still waits for a model need not be done."""
    whole, left, answered = asyncio.Event(), asyncio.Event(), False

    async def receiving() -> Message:
        if whole.is_set():
            await left.wait()
            return {"type": "http.disconnect"}
        message = await receive()
        if not message.get("more_body", False):
            whole.set()
        return message

    async def sending(message: Message) -> None:
        nonlocal answered
        await send(message)
        answered = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def watch(work: anyio.CancelScope) -> None:
        await whole.wait()
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()
        if not answered:
            work.cancel()

    with anyio.CancelScope() as work:
        watching = asyncio.ensure_future(watch(work))
        try:
            await app(scope, receiving, sending)
        finally:
            watching.cancel()


def _bounded(receive: Receive, most: int, take: Callable[[int], None]) -> Receive:
    """The body's messages, of at most so many bytes and so much time together. take: told the bytes of each."""
    deadline_s = time.monotonic() + BODY_TIMEOUT_S
    got, whole = 0, False

    async def bounded() -> Message:
        nonlocal got, whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), deadline_s - time.monotonic())
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the request's body did not arrive within {BODY_TIMEOUT_S:g} s") from None
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            got += count
            whole = not message.get("more_body", False)
            if got > most:
                raise HTTPException(413, _too_large(most))
            take(count)
        return message

    return bounded


def _too_large(most: int) -> str:
    return f"the request is larger than the {most:,} bytes allowed; send a smaller photo or less text"


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The shape of every error; the message becomes one line, whatever of a request it tells."""
    kinds = {401: "authentication_error", 429: "rate_limit_error", 503: "unavailable_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return JSONResponse({"error": {"message": " ".join(message.split()), "type": kind}}, status, headers)
