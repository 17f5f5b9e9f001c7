"""The server: gate, API and page as one application."""

from __future__ import annotations

from collections.abc import Mapping

from talking_points.serving.api import make_api
from talking_points.serving.engine import Engine
from talking_points.serving.gate import Gate
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
