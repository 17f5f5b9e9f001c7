"""The server: gate, API and page as one application, and its life from start to SIGTERM."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Mapping

import uvicorn

from talking_points.serving.api import make_api
from talking_points.serving.engine import Engine
from talking_points.serving.gate import Gate
from talking_points.serving.metrics import Metrics
from talking_points.serving.page import add_page
from talking_points.serving.service import Service
from talking_points.serving.settings import ServeSettings

LONGEST_GOODBYE_S = 60
"""What is not answered so long after SIGTERM is dropped. Ours."""


def make_app(engines: Mapping[str, Engine], settings: ServeSettings) -> Gate:
    """The whole application, ASGI.

    Args:
        engines: models by the names that requests give; the first is the default.
        settings: what is allowed, and whether the web page is at /.
    """
    service, metrics = Service(engines, settings), Metrics(engines)
    app = make_api(service, metrics)
    if settings.page:
        add_page(app, service)
    return Gate(app, settings, metrics)


def serve(app: Gate, engines: Mapping[str, Engine], listening: socket.socket) -> None:
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
        for engine in engines.values():
            engine.close()
