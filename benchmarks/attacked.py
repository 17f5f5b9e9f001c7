"""The server that `attack.py` attacks, in a process of its own, and what is noted of each check."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, TextIO

from fuzzing import FORM, JSON, TASKS, Request, form, photo

TIMEOUT_S = 600.0
"""Forty tasks of Label Studio in one request take a minute, and more where others compute, too."""
# What names mean in the server's process; the rest is as `talking-points serve` starts it.
STAND_IN = """
import socket, sys
import anyio
from talking_points.cli import main
port, names = int(sys.argv.pop(1)), {"inside.example": ["127.0.0.1"], "both.example": ["93.184.216.34", "10.0.0.1"]}
names |= {"mapped.example": ["::ffff:127.0.0.1"], "cloud.example": ["169.254.169.254"]}
names |= {"public.example": ["93.184.216.34"]}
resolve, connect, asked = socket.getaddrinfo, anyio.connect_tcp, []
def getaddrinfo(host, *rest, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if name == "rebinding.example":
        asked.append(name)
        found = ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]
    elif name in names:
        found = names[name]
    else:
        return resolve(host, *rest, **options)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, rest[0])) for one in found]
async def connect_tcp(remote_host, remote_port, **options):
    there = ("127.0.0.1", port) if remote_host == "93.184.216.34" else (remote_host, remote_port)
    return await connect(*there, **options)
socket.getaddrinfo, anyio.connect_tcp = getaddrinfo, connect_tcp
main()
"""


@dataclass
class Check:
    """A line of the table."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def note(self, outcome: object, *, good: bool, of: object = "") -> None:
        """Count what came of one try; one that is not good is a problem. of: the try."""
        self.outcomes[str(outcome)] += 1
        if not good:
            self.problems.append(f"{of}: {outcome}"[:300])

    def __str__(self) -> str:
        came = ", ".join(f"{n}x {outcome}" for outcome, n in sorted(self.outcomes.items()))
        said = f"{'WRONG' if self.problems else 'right':<6}{self.name:<38}{sum(self.outcomes.values()):>6}  {came}"
        return "\n".join([said, *(f"      {problem}" for problem in self.problems[:10])])


@dataclass
class Server:
    """A server's process, and how to ask it."""

    process: subprocess.Popen[bytes]
    log: TextIO
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def ask(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; HTTPException or OSError where none comes."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.putrequest(request.method, _sendable(request.path), skip_host="Host" in request.headers)
            for name, value in {**request.headers, "Connection": "close"}.items():
                connection.putheader(name, value.encode("latin-1"))
            if request.body or request.method == "POST":
                connection.putheader("Content-Length", str(len(request.body)))
            # What is refused may be answered before all of it has come.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(request.body)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()

    def post(self, path: str, content: Any) -> tuple[int, str]:
        """Status, and the error's message or the answer, of JSON."""
        status, _, body = self.ask(
            Request(path=path, body=json.dumps(content).encode(), headers={"Content-Type": JSON})
        )
        answer = json.loads(body)
        return status, str(answer["error"]["message"] if "error" in answer else answer)

    def metric(self, name: str) -> float:
        told = self.ask(Request(method="GET", path="/metrics"))[2].decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", told, re.MULTILINE))


def as_json(path: str, content: Any) -> Request:
    """A request with a JSON body."""
    return Request(path=path, body=json.dumps(content).encode(), headers={"Content-Type": JSON})


def as_form(path: str, fields: list[tuple[str, str | bytes]]) -> Request:
    """A request with a form."""
    return Request(path=path, body=form(fields), headers={"Content-Type": FORM})


def _sendable(path: str) -> str:
    # http.client refuses what a hostile client would send; those bytes are sent by `raw`.
    return re.sub(r"[\x00-\x20\x7f-\U0010ffff]", "%20", path)


@contextlib.contextmanager
def started(stands_for_public: int) -> Iterator[Server]:
    """A server. stands_for_public: the port here that a public address leads to."""
    with tempfile.TemporaryFile("w+") as log:
        program = [sys.executable, "-c", STAND_IN, str(stands_for_public), "serve", "--allow-urls", "--port", "0"]
        process = subprocess.Popen(program, stderr=log)
        try:
            while not (found := re.search(r"serving .* at http://127\.0\.0\.1:(\d+)/", told(log))):
                if process.poll() is not None:
                    raise RuntimeError(f"the server did not start: {told(log)}")
                time.sleep(0.1)
            yield Server(process, log, int(found[1]))
        finally:
            process.kill()
            process.wait()


def told(log: TextIO) -> str:
    log.seek(0)
    return log.read()


def good_photo() -> bytes:
    return next(one for n in range(99) if (one := photo(random.Random(n)))[:2] == b"\xff\xd8")


def usual(path: str = "/v1/describe", **more: Any) -> dict[str, Any]:
    asked = {"texts": ["the wheel"]} if path == "/v1/localize" else {"points": [[9.5, 9.5]]}
    return {"photo": base64.b64encode(good_photo()).decode(), **asked, **more}


def check_usual(server: Server, check: Check) -> None:
    for path in TASKS:
        status, said = server.post(path, usual(path))
        check.note(status, good=status == 200, of=said)


def status_of(connection: socket.socket) -> str:
    """The status that was sent, or what came in its place."""
    data = b""
    try:
        while b"\r\n" not in data and (some := connection.recv(4096)):
            data += some
    except TimeoutError:
        return "nothing came"
    except OSError:
        return "closed"
    found = re.match(rb"HTTP/1\.1 (\d+)", data)
    return found[1].decode() if found else "closed"
