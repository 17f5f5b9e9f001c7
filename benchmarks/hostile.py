"""Single requests that mean ill: bodies and photos that are too large, addresses inside, paths out; for `attack.py`."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import struct
import zlib
from http.server import BaseHTTPRequestHandler
from typing import Any

from attacked import Check, Server, as_form, as_json, good_photo, status_of, usual
from fuzzing import BOUNDARY, FORM, INTERFACE, JSON, TASKS, Request

# ---- sizes


def check_large_bodies(server: Server, check: Check, *, whole: bool) -> None:
    """60 MB to everything that takes a body, with its length told and in pieces."""
    piece = b"a" * 1_000_000
    paths = (*TASKS, "/v1/chat/completions", "/page/photo", "/page/figure", "/label-studio/predict", "/nothing")
    for path in paths if whole else paths[:1]:
        for kind in (JSON, FORM):
            for told in (True, False):
                size = f"Content-Length: {60 * len(piece)}" if told else "Transfer-Encoding: chunked"
                head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{size}\r\n\r\n"
                part = 'Content-Disposition: form-data; name="photo"; filename="a"'
                first = f"--{BOUNDARY}\r\n{part}\r\n\r\n".encode() if kind == FORM else b'{"photo": "'
                with server.connect() as connection:
                    connection.sendall(head.encode())
                    # A server that has answered may close before all has come.
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        for data in (first, *[piece] * 60):
                            connection.sendall(data if told else b"%x\r\n%s\r\n" % (len(data), data))
                        connection.sendall(b"" if told else b"0\r\n\r\n")
                    status = status_of(connection)
                # What nobody reads need not be refused for its size.
                unread = {"/nothing": "404", "/page/photo": "400", "/page/figure": "400"} if not told else {}
                check.note(status, good=status in ("413", unread.get(path)), of=f"{path} {kind[:20]} {size}")


def png(width: int, height: int, depth: int = 8, extra: tuple[bytes, bytes] | None = None) -> bytes:
    """A PNG of one grey, as small as it can be packed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(9)
    row = bytes(1 + width * depth // 8)
    packed = b"".join(rows.compress(row) for _ in range(min(height, 20_000))) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *([chunk(*extra)] if extra else []), chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def check_bombs(server: Server, check: Check) -> None:
    """Small files that decode to large ones, and small texts that grow."""
    packed = zlib.compress(bytes(50_000_000), 9)
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b","
    gif += struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\x00;"
    bombs = {
        "PNG of 30000x30000": png(30_000, 30_000),
        "PNG of 2^31-1 squared": png(8, 8)[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + png(8, 8)[24:],
        "16-bit PNG of 7200x7000": png(7200, 7000, 16),
        "text of 50 MB in a PNG": png(64, 64, extra=(b"zTXt", b"a\0\0" + packed)),
        "profile of 50 MB in a PNG": png(64, 64, extra=(b"iCCP", b"a\0\0" + packed)),
        "GIF of 65535x65535": gif,
        "PPM of 10^9 pixels": b"P6 100000 10000 255\n" + bytes(100),
        "BMP of 2^30 pixels": b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 2**15, 2**15, 1, 24, *[0] * 6),
    }
    for name, data in bombs.items():
        for request in (
            as_json("/v1/describe", usual(photo=base64.b64encode(data).decode())),
            as_form("/page/photo", [("photo", data)]),
        ):
            status, _, _ = server.ask(request)
            # Small photos with odd text in them are photos.
            check.note(status, good=status == 400 or (status == 200 and "50 MB" in name), of=f"{name} {request.path}")
    laughs = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for path, content in (
        ("/label-studio/setup", {"schema": f"{laughs}]><View>&i;</View>"}),
        ("/label-studio/predict", {"tasks": [], "label_config": f"{laughs}]>{INTERFACE}"}),
    ):
        status, said = server.post(path, content)
        check.note(status, good=status == 400, of=f"entities {path} {said}")
    for path in (*TASKS, "/v1/chat/completions", "/label-studio/predict"):
        for body in (b"[" * 1_000_000, b'{"a":' * 200_000, b'{"photo": "a", "points": [[' + b"9" * 100_000 + b",1]]}"):
            status, _, _ = server.ask(Request(path=path, body=body, headers={"Content-Type": JSON}))
            check.note(status, good=status == 400, of=f"nested {path}")
    point = {"x": 1, "y": 1, "description": "a " * 1000, "found_x": 1, "found_y": 1, "there": 1}
    status, _, _ = server.ask(as_form("/page/figure", [("photo", good_photo()), ("points", json.dumps([point] * 400))]))
    check.note(status, good=status == 400, of="a figure of 400 points")


# ---- addresses


class Elsewhere(BaseHTTPRequestHandler):
    """Stands for a public host, which redirects to where it is told, and for one inside, which nobody may reach."""

    reached: list[str] = []

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        if "public.example" in host and self.path.startswith("/to/"):
            self.send_response(302)
            # As it stands, in whatever letters.
            self.send_header("Location", base64.urlsafe_b64decode(self.path[4:]).decode("latin-1"))
            self.end_headers()
        else:
            if host != "public.example":
                self.reached.append(f"{host}{self.path}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(good_photo())

    def log_message(self, *_: Any) -> None:
        pass


def check_addresses(server: Server, check: Check, inside: int, *, whole: bool) -> None:
    """inside: the port here of a host that is not public."""
    hosts = [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "127.0.0.1.", "localhost"),
        *(
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
        ),
        *("169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *(
            "①②⑦.⓪.⓪.①",
            "127。0。0。1",
            "inside.example",
            "both.example",
            "mapped.example",
            "cloud.example",
            "LOCALHOST",
        ),
        *("user@127.0.0.1", "public.example@127.0.0.1", "127.0.0.1#@public.example", "127.0.0.1\\@public.example"),
        *("[::ffff:a9fe:a9fe]", "ip6-localhost", socket.gethostname(), "unknown.example"),
    ]
    urls = [f"http://{host}:{inside}/secret" for host in hosts if not re.search("[@#]", host)]
    urls += [f"http://{host}/secret" for host in hosts] + [f"https://127.0.0.1:{inside}/secret"]
    urls += [f"{scheme}://127.0.0.1:{inside}/" for scheme in ("ftp", "file", "gopher", "dict", "HTTP", "Http", "ws")]
    urls += [
        f"http:127.0.0.1:{inside}/",
        f"http:///127.0.0.1:{inside}/",
        f"//127.0.0.1:{inside}/",
        "file:///etc/passwd",
    ]
    # Without a host a redirect stays where it is.
    targets = [url for url in urls if not re.match("http:(?!//[^/])", url)]
    redirected = [f"http://public.example/to/{base64.urlsafe_b64encode(url.encode()).decode()}" for url in targets]
    # The right answer to a name that means something else the second time is a photo of the first address, or none.
    asked = [(url, 400) for url in urls + redirected]
    asked += [("http://public.example/a.jpg", 200), ("http://rebinding.example/a.jpg", 200)]
    asked += [("http://rebinding.example/", 400)]
    for url, right in asked:
        parts = [{"type": "text", "text": "the wheel"}, {"type": "image_url", "image_url": {"url": url}}]
        chat = {"messages": [{"role": "user", "content": parts}]}
        words = {"id": "a", "from_name": "text", "value": {"text": ["the wheel"]}}
        task = {"data": {"image": url}, "annotations": [{"result": [words]}]}
        predict = {"tasks": [task], "label_config": INTERFACE}
        ways: list[tuple[str, Any]] = [("/v1/describe", usual(photo=url))]
        if whole and "rebinding" not in url:
            ways += [("/v1/chat/completions", chat), ("/label-studio/predict", predict)]
        for path, content in ways:
            status, said = server.post(path, content)
            check.note(status, good=status == right, of=f"{path} {url} {said}")
    reached = [one for one in Elsewhere.reached if "rebinding.example" not in one]
    check.note(f"{len(reached)} reached", good=not reached, of=reached)


# ---- paths


def check_paths(server: Server, check: Check, *, whole: bool) -> None:
    """Files of the machine, asked for through whatever serves files."""
    ups = ("..", "%2e%2e", "%2E.", "..%2f..", "..%5c..", "....//", "%252e%252e", "..;", "..%00", "%c0%ae%c0%ae", "\\..")
    files = ("etc/passwd", "server.py", "settings.py", "templates/page.html.j2", "__init__.py")
    roots = ("/static/", "/static-offline-docs/", "/v1/models/", "/page/", "/docs/", "/")
    for root in roots if whole else roots[:1]:
        paths = [f"{root}{'/'.join([up] * n)}/{file}" for up in ups for n in (1, 3, 12) for file in files]
        paths += [f"{root}{name}" for name in ("/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "C:%5cwindows")]
        paths += [f"{root}{name}" for name in ("page.js%00", "%00", "~root/.ssh/id_rsa", ".git/config", "a" * 5000)]
        for path in paths:
            status, _, body = server.ask(Request(method="GET", path=path))
            leaked = b"root:" in body or b"from __future__" in body or b"{%" in body
            check.note("leaked" if leaked else status, good=not leaked and status < 500, of=path)
