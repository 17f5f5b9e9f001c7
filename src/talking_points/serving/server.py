"""The server: gate, API and page as one application."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from talking_points.serving.api import make_api
from talking_points.serving.engine import Engine
from talking_points.serving.gate import Gate
from talking_points.serving.listening import answer_until_stopped
from talking_points.serving.metrics import Metrics
from talking_points.serving.page import add_page
from talking_points.serving.service import Service
from talking_points.serving.settings import ServeSettings


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
    """`answer_until_stopped`, and then stop the models."""
    try:
        answer_until_stopped(app, listening)
    finally:
        for engine in engines.values():
            engine.close()
