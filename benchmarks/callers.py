"""Callers who are slow, who leave, or who send anything at all; for `attack.py`."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from attacked import Check, Server, status_of, usual
from fuzzing import JSON, Request, draw

SLOW_CALLERS = 64
HEAD_S, BODY_S = 20, 60
"""How long the server waits for a request's head and for its body, as docs/serving.md says."""
USUAL_S = 60.0
"""So soon a usual request has to be answered while others are slow; alone it takes a second on a machine at rest."""


# ---- callers


class SlowCallers:
    """Callers who send a byte now and then, begun at once: heads, and bodies that are announced."""

    def __init__(self, server: Server) -> None:
        self._stop = threading.Event()
        self.ended: list[tuple[str, str, float]] = []
        kinds = ("nothing", "head", "body", "pieces")
        self._threads = [
            threading.Thread(target=self._call, args=(server, kinds[n % len(kinds)])) for n in range(SLOW_CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, server: Server, kind: str) -> None:
        head = b"POST /v1/describe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        size = {"body": b"Content-Length: 27000000\r\n\r\n", "pieces": b"Transfer-Encoding: chunked\r\n\r\n"}
        drop = {"nothing": b"", "head": b"A: b\r\n", "body": b" ", "pieces": b"1\r\n \r\n"}[kind]
        begun = time.monotonic()
        with server.connect() as connection:
            if kind != "nothing":
                connection.sendall(head + size.get(kind, b""))
            connection.settimeout(0.5)
            how = "waited for"
            while how == "waited for" and not self._stop.is_set():
                try:
                    got = connection.recv(4096)
                    how = got.split(b" ")[1].decode() if got else "closed"
                except TimeoutError:
                    with contextlib.suppress(OSError):
                        connection.sendall(drop)
                except OSError:
                    how = "closed"
            self.ended.append((kind, how, time.monotonic() - begun))

    def end(self) -> None:
        """Until all have been given up on; or by now, where the server waits too long."""
        deadline = time.monotonic() + BODY_S + 15
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._stop.set()
        for thread in self._threads:
            thread.join()


def check_slow(server: Server, check: Check, *, whole: bool) -> None:
    """Slow callers are given up on, and others are answered meanwhile. whole: which takes a minute."""
    slow = SlowCallers(server)
    time.sleep(2)
    for _ in range(5):
        begun = time.monotonic()
        status, said = server.post("/v1/describe", usual())
        soon = time.monotonic() - begun < USUAL_S
        check.note(f"{status} meanwhile", good=status == 200 and soon, of=f"{time.monotonic() - begun:.1f} s {said}")
    if not whole:
        slow._stop.set()
    slow.end()
    for kind, how, seconds in slow.ended if whole else []:
        most = HEAD_S if kind in ("nothing", "head") else BODY_S
        right = "closed" if kind in ("nothing", "head") else "408"
        check.note(
            f"{how} in time" if seconds < most + 5 else how,
            good=how == right and seconds < most + 5,
            of=(kind, seconds),
        )


def check_dropped(server: Server, check: Check, seed: int, callers: int) -> None:
    """Callers who leave: within the head, the body, the wait, the stream. Nothing is worked on for them in the end."""
    dice = random.Random(seed)
    photo = {"type": "image_url", "image_url": {"url": usual()["photo"]}}
    parts = [{"type": "text", "text": "(9, 9)"}, photo]
    streams = {"messages": [{"role": "user", "content": parts}], "stream": True}

    def call(n: int, where: str, wait_s: float) -> None:
        path, content = ("/v1/chat/completions", streams) if where == "stream" else ("/v1/round-trip", usual())
        body = json.dumps(content).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
        data = head.encode() + body
        cut = {"head": len(head) // 2, "body": len(head) + len(body) // 2}.get(where, len(data))
        with server.connect() as connection:
            if n % 2:
                # Reset, not closed.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(data[:cut])
            if where == "stream":
                connection.recv(300)
            time.sleep(wait_s)

    places = ("head", "body", "wait", "stream")
    with ThreadPoolExecutor(32) as pool:
        calls = [pool.submit(call, n, places[n % 4], dice.uniform(0, 1.5)) for n in range(callers)]
        for one in calls:
            one.result()
    check.outcomes["left"] = callers
    begun = time.monotonic()
    while (still := server.metric("talking_points_waiting") + server.metric("talking_points_in_flight")) > 0:
        if time.monotonic() - begun > USUAL_S:
            break
        time.sleep(0.2)
    check.note(f"done with in {time.monotonic() - begun:.0f} s", good=not still, of=f"{still:g} still worked on")
    status, said = server.post("/v1/describe", usual())
    check.note(f"{status} afterwards", good=status == 200, of=said)


# ---- random requests


def check_fuzzed(server: Server, check: Check, seed: int, count: int) -> None:
    def ask(number: int) -> tuple[int, str, str]:
        request = draw(seed, number)
        try:
            status, headers, body = server.ask(request)
        except (OSError, HTTPException) as error:
            return number, f"no answer, {type(error).__name__}", "wrong"
        return number, str(status), wrong_with(request, status, headers, body)

    with ThreadPoolExecutor(8) as pool:
        for number, outcome, wrong in pool.map(ask, range(count)):
            check.note(outcome, good=not wrong, of=f"--seed {seed}, request {number}: {wrong}")


def wrong_with(request: Request, status: int, headers: dict[str, str], body: bytes) -> str:
    if status >= 500:
        return body[:100].decode("latin-1")
    kind = {name.lower(): value for name, value in headers.items()}.get("content-type", "")
    if status >= 400 and kind.startswith("application/json") and request.method != "HEAD":
        error = json.loads(body).get("error")
        if not isinstance(error, dict) or "\n" in error["message"] or not error["message"]:
            return f"an error of another shape: {body[:100]!r}"
    if status == 200 and kind.startswith("text/event-stream") and not body.endswith(b"data: [DONE]\n\n"):
        return f"a stream without an end: {body[-100:]!r}"
    return ""


def check_raw(server: Server, check: Check, seed: int, count: int) -> None:
    """Bytes that are no HTTP, or nearly."""
    heads = (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/describe HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/describe HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/describe HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET " + b"/a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\n\r\n" * 50,
    )
    dice = random.Random(seed)
    for n in range(count):
        data = heads[n] if n < len(heads) else _spoilt(dice.choice(heads), dice)
        with server.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            status = status_of(connection)
        check.note(status, good=status != "nothing came" and not status.startswith("5"), of=data[:100])


def _spoilt(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.randbytes(dice.randint(1, 8)) + data[at + dice.randint(0, 8) :]
