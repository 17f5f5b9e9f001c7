"""The server: gate, API and page as one application, and its life from start to SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Mapping

import uvicorn

from talking_points.serving.api import make_api
from talking_points.serving.config import ServingConfig
from talking_points.serving.engine import Engine
from talking_points.serving.gate import Gate
from talking_points.serving.metrics import Metrics
from talking_points.serving.service import Service

LONGEST_GOODBYE_S = 60
"""What is not answered so long after SIGTERM is dropped. Ours."""


def make_app(engines: Mapping[str, Engine], config: ServingConfig, *, page: bool = True) -> Gate:
    """The whole application, ASGI.

    Args:
        engines: models by the names that requests give; the first is the default.
        config: what is allowed.
        page: whether the web page is at /.
    """
    service, metrics = Service(engines, config), Metrics()
    metrics.watch(engines)
    app = make_api(service, metrics)
    if page:
        from talking_points.serving.page import mount_page

        app = mount_page(app, service)
    return Gate(app, config, metrics)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, is_idle: Callable[[], bool]) -> None:
        super().__init__(config)
        self._is_idle = is_idle

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Open pages hold event streams that never end: once every question is answered they are hung up.
        async def hang_up() -> None:
            while not self._is_idle():
                await asyncio.sleep(0.05)
            for connection in list(self.server_state.connections):
                connection.transport.close()

        hanging_up = asyncio.create_task(hang_up())
        await super().shutdown(sockets)
        hanging_up.cancel()


def serve(app: Gate, engines: Mapping[str, Engine], listening: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT; what is in flight then is answered first."""

    def is_idle() -> bool:
        return not app.requests_in_flight and all(engine.idle for engine in engines.values())

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
        _Server(config, is_idle).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        for engine in engines.values():
            engine.close()
