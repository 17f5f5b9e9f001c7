"""Callers who are slow, over real connections."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from talking_points.serving import listening

HEAD = b"GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PATIENCE_S = 0.5


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes longer than a head may."""
    if scope["type"] == "http":
        await asyncio.sleep(2 * PATIENCE_S)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(listening, "HEAD_TIMEOUT_S", PATIENCE_S)
    servers: list[uvicorn.Server] = []

    class Server(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

        def install_signal_handlers(self) -> None:
            pass

    monkeypatch.setattr(listening.uvicorn, "Server", Server)
    monkeypatch.setattr(listening.signal, "signal", lambda *_: None)
    listener = listening.open_socket("127.0.0.1", 0)
    thread = threading.Thread(target=listening.answer_until_stopped, args=(app, listener))
    thread.start()
    while not servers or not servers[0].started:
        time.sleep(0.01)
    yield listener.getsockname()
    servers[0].should_exit = True
    thread.join()


def closed_after(connection: socket.socket, drop: bytes = b"") -> float:
    """Seconds until the server closes a connection; `drop` is sent again and again meanwhile."""
    begun = time.monotonic()
    connection.settimeout(PATIENCE_S / 5)
    while time.monotonic() - begun < 20 * PATIENCE_S:
        try:
            if not connection.recv(1000):
                return time.monotonic() - begun
        except TimeoutError:
            if drop:
                connection.sendall(drop)
        except ConnectionError:
            return time.monotonic() - begun
    raise AssertionError("it stays open")


@pytest.mark.parametrize(
    ("first", "drop"), [(b"", b""), (HEAD % 1, b""), (HEAD % 1, b"A: b\r\n")], ids=["silent", "half", "dribbled"]
)
def test_a_head_that_does_not_come(address: tuple[str, int], first: bytes, drop: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(first)
        assert 0.8 * PATIENCE_S < closed_after(connection, drop) < 4 * PATIENCE_S


def test_an_answer_may_take_longer_and_the_next_head_is_waited_for_alike(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        for number in range(2):
            connection.sendall(HEAD % number + b"\r\n")
            got = b""
            while not got.endswith(b"ok"):
                got += connection.recv(1000)
            assert b" 200 " in got
        connection.sendall(HEAD % 3)
        assert 0.8 * PATIENCE_S < closed_after(connection, b"A: b\r\n") < 4 * PATIENCE_S
