"""Where a server listens, and its life from start to SIGTERM."""

from __future__ import annotations

import logging
import signal
import socket

import uvicorn
from starlette.types import ASGIApp

LONGEST_GOODBYE_S = 60
"""What is not answered so long after SIGTERM is dropped. Ours."""


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
