"""A server in this process, on a port of its own, for clients that need one; a browser that is one, and a caller."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from talking_points.serving.listening import open_socket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """The address of a running application."""
    listener = open_socket("127.0.0.1", 0)
    begun = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):  # type: ignore[no-untyped-def]
            await super().startup(sockets)
            begun.set()

    server = Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert begun.wait(60)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        # Also of a test that failed: the thread would keep the run from its end.
        server.should_exit = True
        thread.join()


class Caller:
    """Sends a request to an application, and leaves when it is told to."""

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        body: bytes,
        *,
        method: str = "POST",
        whole: bool = True,
        stated: int | None = None,
    ) -> None:
        """whole: whether the body is all there is. stated: the size that is announced; the body's unless given."""
        size = len(body) if stated is None else stated
        headers = [(b"content-type", b"application/json"), (b"content-length", str(size).encode())]
        headers += [(b"host", b"127.0.0.1")]
        self.scope: dict[str, Any] = {
            **{"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""},
            **{"headers": headers, "http_version": "1.1", "scheme": "http", "server": ("a", 1), "client": ("b", 2)},
            **{"root_path": "", "asgi": {"version": "3.0", "spec_version": "2.3"}},
        }
        self.status: int | None = None
        self.body = b""
        self._left, self._sent = asyncio.Event(), asyncio.Event()
        self._first: dict[str, Any] | None = {"type": "http.request", "body": body, "more_body": not whole}
        self.task = asyncio.ensure_future(app(self.scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._first is not None:
            message, self._first = self._first, None
            return message
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
        self._sent.set()

    def leave(self) -> None:
        self._left.set()
