"""A stand-in for a language model's endpoint, on this machine: answers as it is told, and remembers what was asked."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

Reply = tuple[int, dict[str, str], bytes]


def completion(text: str | None, *, prompt_tokens: int = 10, answer_tokens: int = 5) -> Reply:
    """A good answer."""
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": answer_tokens},
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


class EndpointServer:
    """`reply` gets the parsed request and its number, from 0; `requests` and `headers` are what came."""

    def __init__(self, reply: Callable[[dict[str, Any], int], Reply]) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    number = len(outer.requests)
                    outer.requests.append(asked)
                    outer.headers.append({name.title(): value for name, value in self.headers.items()})
                    outer.paths.append(self.path)
                    outer._now += 1
                    outer.most_at_once = max(outer.most_at_once, outer._now)
                try:
                    status, headers, body = outer.reply(asked, number)
                finally:
                    # Before the answer leaves: who gets it may ask again at once.
                    with outer._lock:
                        outer._now -= 1
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving(reply: Callable[[dict[str, Any], int], Reply]) -> Iterator[EndpointServer]:
    server = EndpointServer(reply)
    try:
        yield server
    finally:
        server.close()


def prompt_of(asked: dict[str, Any]) -> str:
    """The words of a request."""
    content = asked["messages"][0]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def picture_of(asked: dict[str, Any]) -> Image.Image:
    """The picture of a request."""
    url = asked["messages"][0]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))
