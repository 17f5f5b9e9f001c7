from __future__ import annotations

import contextlib
import gzip
import socket
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import anyio
import httpx
import pytest

from talking_points.serving import fetching
from talking_points.serving.fetching import is_public, public_address


def fetch(url: str, **options: Any) -> bytes:
    return anyio.run(partial(fetching.fetch, url, **options))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # clouds tell credentials there
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        # IPv4 within IPv6: mapped, NAT64, 6to4
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def resolving(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Stand in for name resolution; gives what was asked."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host: bytes | str, port: int, *rest: Any, **options: Any) -> list[Any]:
        host = host.decode() if isinstance(host, bytes) else host
        if host == "127.0.0.1":
            return resolve(host, port, *rest, **options)
        asked.append(host)
        if host not in names:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]

    monkeypatch.setattr(fetching.socket, "getaddrinfo", getaddrinfo)
    return asked


def test_every_address_of_a_name_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"good": ["8.8.8.8"], "both": ["8.8.8.8", "10.0.0.1"], "inside": ["127.0.0.1"]})
    assert anyio.run(public_address, httpx.URL("http://good/")) == "8.8.8.8"
    for host in ("both", "inside"):
        with pytest.raises(ValueError, match="not public"):
            anyio.run(public_address, httpx.URL(f"http://{host}/"))
    for url in ("http://nowhere/", "http://[/"):
        with pytest.raises(ValueError, match="unknown"):
            anyio.run(public_address, httpx.URL(url))


@pytest.mark.parametrize(
    "url",
    ["ftp://good/a", "file:///etc/passwd", "http:///a", "http://user:key@good/", "http://good:port/"],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        fetch(url, max_bytes=10)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A server on this machine that stands for a public one; `answer` is called with the request."""

    class Handler(BaseHTTPRequestHandler):
        answer: Callable[[BaseHTTPRequestHandler], None]

        def do_GET(self) -> None:
            type(self).answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    connected: list[str] = []
    connect = anyio.connect_tcp

    async def to_this_machine(remote_host: str, remote_port: int, **options: Any) -> Any:
        connected.append(remote_host)
        return await connect("127.0.0.1", server.server_address[1])

    monkeypatch.setattr(anyio, "connect_tcp", to_this_machine)
    Handler.connected = connected  # type: ignore[attr-defined]
    yield Handler
    server.shutdown()
    server.server_close()
    thread.join()


def send(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_the_connection_goes_to_the_address_that_was_checked(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to another address the second time is not resolved a second time."""
    asked = resolving(monkeypatch, {"photos.example": ["8.8.8.8"]})
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.extend([handler.headers["Host"], handler.path])
        send(b"a photo")(handler)

    host.answer = answer
    assert fetch("http://photos.example/ä b.jpg?c=1", max_bytes=100) == b"a photo"
    assert seen == ["photos.example", "/%C3%A4%20b.jpg?c=1"]
    assert asked == ["photos.example"] and host.connected == ["8.8.8.8"]


def test_redirects_are_checked_like_the_first_address(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"a.example": ["8.8.8.8"], "b.example": ["8.8.4.4"], "inside": ["192.168.0.1"]})
    host.answer = lambda handler: send(
        b"" if handler.headers["Host"] == "a.example" else b"there",
        302 if handler.headers["Host"] == "a.example" else 200,
        Location="//b.example/x",
    )(handler)
    assert fetch("http://a.example/", max_bytes=100) == b"there"
    assert host.connected == ["8.8.8.8", "8.8.4.4"]
    host.answer = send(b"", 302, Location="http://inside/")
    with pytest.raises(ValueError, match="not public"):
        fetch("http://a.example/", max_bytes=100)
    host.answer = send(b"", 302, Location="file:///etc/passwd")
    with pytest.raises(ValueError, match="URL"):
        fetch("http://a.example/", max_bytes=100)
    host.answer = send(b"", 302, Location="/again")
    with pytest.raises(ValueError, match="more than 3 times"):
        fetch("http://a.example/", max_bytes=100)


def test_too_much_and_other_answers(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"a.example": ["8.8.8.8"]})
    host.answer = send(b"0123456789")
    assert fetch("http://a.example/", max_bytes=10) == b"0123456789"
    with pytest.raises(ValueError, match="more than the 9 bytes"):
        fetch("http://a.example/", max_bytes=9)
    host.answer = send(b"no", 404)
    with pytest.raises(ValueError, match="status 404"):
        fetch("http://a.example/", max_bytes=10)
    with pytest.raises(ValueError, match="does not answer"):
        fetch("https://a.example/", max_bytes=10)


def test_a_server_that_the_operator_named_may_be_anywhere(host: Any) -> None:
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        send(b"a photo" if handler.path == "/data/1.jpg" else b"", 200 if handler.path == "/data/1.jpg" else 302)(
            handler
        )

    host.answer = answer
    headers = {"Authorization": "Token abc"}
    assert fetch("http://localhost:1/data/1.jpg", trusted_headers=headers, max_bytes=10) == b"a photo"
    assert seen == ["Token abc"]
    for location, said in (({"Location": "/again"}, "a redirect"), ({}, "status 302")):
        host.answer = send(b"", 302, **location)
        with pytest.raises(ValueError, match=said):
            fetch("http://localhost:1/other", trusted_headers=headers, max_bytes=10)


def test_a_host_that_drips(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"a.example": ["8.8.8.8"]})
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(20):
                handler.wfile.write(b"a")
                time.sleep(0.05)

    host.answer = drip
    with pytest.raises(ValueError, match="did not arrive within 0.2 s"):
        fetch("http://a.example/", max_bytes=100)


def test_what_is_packed_stays_packed(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small answer may unpack to one without end."""
    resolving(monkeypatch, {"a.example": ["8.8.8.8"]})
    packed = gzip.compress(bytes(10_000))
    host.answer = send(packed, **{"Content-Encoding": "gzip"})
    assert fetch("http://a.example/", max_bytes=100) == packed


@pytest.mark.parametrize("location", ["http://[::1", "//h:abc/", "http://a\x01b/", "/" * 70_000])
def test_a_redirect_that_is_no_address_is_one_line(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def redirect(*_: Any) -> str:
        return location

    async def public(*_: Any) -> str:
        return "93.184.216.34"

    monkeypatch.setattr(fetching, "_get", redirect)
    monkeypatch.setattr(fetching, "public_address", public)
    with pytest.raises(ValueError, match="the photo's URL|a photo's URL"):
        fetch("http://example.org/a.jpg", max_bytes=1)
