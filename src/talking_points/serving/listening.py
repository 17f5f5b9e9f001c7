"""Where a server listens, and its life from start to SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

LONGEST_GOODBYE_S = 60
"""What is not answered so long after SIGTERM is dropped. Ours."""
HEAD_TIMEOUT_S = 20.0
"""Longest time that a request's head may take to arrive; the connection is closed then. Ours."""


def open_socket(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes any free one. An OSError of one line when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"cannot listen on {host}, port {port} ({reason}); choose others with --host and --port"
        ) from None


def answer_until_stopped(app: ASGIApp, listening: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT; what is in flight then is answered first."""
    config = uvicorn.Config(
        app,
        http=_Punctual,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LONGEST_GOODBYE_S,
        lifespan="on",
    )
    # uvicorn raises the signal anew once it is done; it has done all that it asks for by then.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)


class _Punctual(AutoHTTPProtocol):  # type: ignore[misc, valid-type, unused-ignore]
    """uvicorn's protocol, which waits for a request's head for ever: silent callers would hold all connections."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._due = self.loop.call_later(HEAD_TIMEOUT_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._due is None:
            self._due = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
