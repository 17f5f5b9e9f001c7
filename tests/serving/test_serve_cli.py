"""`talking-points serve` from start to SIGTERM, and every command of docs/serving.md."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import talking_points
from talking_points import open_photo
from talking_points.cli import main
from talking_points.cli import serve as serve_command
from talking_points.demo import demo_photos
from talking_points.serving import listening as serving_listening
from talking_points.serving.listening import open_socket

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"
MINI = Path(talking_points.__file__).parent / "pretrained" / "mini" / "config.json"
HERE = "http://127.0.0.1:7860"
CLI = f"{sys.executable} -c 'from talking_points.cli import main; main()'"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str]]:
    def run(*arguments: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as stopped:
            main(["serve", *arguments])
        return stopped.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--token-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE: that environment variable is not set"),
        (["--token-env", "SHORT_TOKEN"], "at least 8 ASCII characters"),
        (["--model", "foo"], "unknown model 'foo'"),
        (["--max-points", "0"], "max_points is 0"),
        (["--max-megapixels", "1000"], "max_megapixels is 1000"),
        (["--max-megabytes", "nan"], "max_megabytes is nan"),
        (["--port", "70000"], "port is 70000; allowed: 0 to 65535"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--max-waiting", "0"], "max_waiting is 0"),
        (["--label-studio", "localhost:8080"], "label_studio is"),
    ],
)
def test_errors_are_one_line(
    run: Callable[..., tuple[Any, str]], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("SHORT_TOKEN", "secret")
    status, err = run(*arguments)
    assert status == 2 and said in err and err.startswith("error: ") and err.count("\n") == 1
    assert "secret" not in err


def test_without_the_extra(run: Callable[..., tuple[Any, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_command, "has", lambda module: module != "httpx")
    assert run() == (2, "error: serve needs httpx: pip install 'talking-points[web]'\n")


def test_a_port_that_is_taken() -> None:
    with open_socket("127.0.0.1", 0) as taken, pytest.raises(OSError, match="choose others with --host and --port"):
        open_socket("127.0.0.1", taken.getsockname()[1])


def blocks() -> list[str]:
    """Shell blocks of the docs."""
    return [
        re.sub(r"^  ", "", block, flags=re.MULTILINE) if block.startswith("  ") else block
        for block in re.findall(r"^ *```sh\n(.*?)^ *```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    ]


def commands(block: str) -> list[str]:
    return [line.strip() for line in block.replace("\\\n", " ").splitlines()]


needs_docs = pytest.mark.skipif(not DOCS.is_file(), reason="docs/ is not beside the tests")
needs_mini = pytest.mark.skipif(not MINI.is_file(), reason="the embedded checkpoint pretrained/mini is not here")


@needs_docs
def test_the_docs_ways_to_serve(run: Callable[..., tuple[Any, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each starts, with what it says in its configuration; what a server then does is tested below."""
    served: list[Any] = []
    monkeypatch.setenv("TALKING_POINTS_TOKEN", "long enough")
    monkeypatch.setattr("talking_points.pointing.round_trip.TalkingPoints.from_pretrained", lambda *_, **__: None)
    stand_in = "answer_until_stopped"
    monkeypatch.setattr(serving_listening, stand_in, lambda app, listening: served.append((app, listening)))
    monkeypatch.setattr(serving_listening, "open_socket", lambda host, port: open_socket("127.0.0.1", 0))
    lines = [line for block in blocks() for line in commands(block) if line.startswith("talking-points serve")]
    assert len(lines) >= 5
    for line in lines:
        page = [] if "--no-page" in line else ["--no-page"]
        status, err = run(*line.split()[2:], *page)
        assert status == 0 and err.startswith("serving mini at http://"), (line, err)
        app, listening = served.pop()
        listening.close()
        assert app.settings.allow_urls == ("--allow-urls" in line)
        assert app._token == ("long enough" if "--token-env" in line else None)
        assert app.settings.label_studio == ("http://localhost:8080" if "--label-studio" in line else None)
        assert ("warning" in err) == ("--host" in line and "--token-env" not in line)


def test_an_endpoint_that_is_not_there_yet_is_told(
    run: Callable[..., tuple[Any, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the server goes on: it may come up. One that is there is told of nothing, and asked nothing."""
    ended: list[Any] = []
    stand_in = "answer_until_stopped"
    monkeypatch.setattr(serving_listening, stand_in, lambda app, listening: ended.append(listening.close()))
    with open_socket("127.0.0.1", 0) as there, open_socket("127.0.0.1", 0) as closed:
        up, down = (f"http://127.0.0.1:{one.getsockname()[1]}/v1" for one in (there, closed))
        closed.close()
        begun = time.monotonic()
        status, err = run("--port", "0", "--model", f"endpoint:{down},a", "--model", f"endpoint:{up},b")
        assert time.monotonic() - begun < 20
        there.settimeout(5)
        connection, _ = there.accept()
        with connection:
            assert connection.recv(1) == b""
    assert status == 0 and ended == [None]
    first, second, last = err.splitlines()
    assert first.startswith(f"serving endpoint:{down},a, endpoint:{up},b at http://127.0.0.1:")
    assert second.startswith(f"warning: nothing answers at {down} yet (") and second.endswith(
        "): start the server, or mend the address"
    )
    assert last == "stopped"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`talking-points serve` with mini, in a process of its own, and its address."""
    program = [sys.executable, "-c", "from talking_points.cli import main; main()", "serve", "--port", "0"]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("serving mini at "), line + process.stderr.read()
    yield process, line.split()[3].rstrip("/")
    process.kill()
    process.wait()


@needs_docs
@needs_mini
def test_the_docs_requests(served: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    _, url = served
    open_photo(demo_photos()[0].path).resize((512, 341)).save(tmp_path / "street.jpg")
    record = {"photo_path": "street.jpg", "point_px": [212.5, 140.5], "size_wh": [512, 341], "text": "the collar"}
    (tmp_path / "points.jsonl").write_text(json.dumps(record) + "\n")
    ran = 0
    for block in blocks():
        if any(line.startswith(("talking-points serve", "pip install")) for line in commands(block)):
            continue
        script = f'set -e\ntalking-points() {{ {CLI} "$@"; }}\n{block.replace(HERE, url)}'
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and '{"error":{"message"' not in done.stdout, block + done.stdout + done.stderr
        ran += 1
        if "chat/completions" in block and block.startswith("curl"):
            assert json.loads(done.stdout)["choices"][0]["message"]["content"]
        if "evaluate" in block:
            rows = json.loads((tmp_path / "scores" / "report.json").read_text())["rows"]
            asked = [row for row in rows if row["describer"].startswith("endpoint") and row["n"]]
            assert asked and all(0 <= row["mpck"] <= 100 for row in asked)
    assert ran == 5
    [client] = re.findall(r"```python\n(import base64\n.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    program = [sys.executable, "-c", client.replace(HERE, url)]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("The point is "), done.stderr


@needs_mini
def test_the_page_is_there(served: tuple[subprocess.Popen[str], str]) -> None:
    with urllib.request.urlopen(served[1]) as response:
        assert b"Click a pixel" in response.read()
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


@needs_mini
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_sigterm_finishes_what_is_in_flight(served: tuple[subprocess.Popen[str], str]) -> None:
    """Six requests of eight points each are in flight when the signal comes."""
    process, url = served
    photo = base64.b64encode(demo_photos()[0].path.read_bytes()).decode()
    statuses: list[int] = []

    def ask(n: int) -> None:
        points = [[10 + 50 * n, 20 + 60 * k] for k in range(8)]
        body = json.dumps({"photo": photo, "points": points})
        connection = HTTPConnection(url.removeprefix("http://"))
        connection.request("POST", "/v1/round-trip", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        statuses.append(response.status if len(answer["points"]) == 8 else 0)

    def in_flight() -> int:
        told = urllib.request.urlopen(f"{url}/metrics").read().decode()
        return int(float(told.split("\ntalking_points_in_flight ")[1].split("\n")[0]))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    while in_flight() < len(threads) and not statuses:
        pass
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert statuses == [200] * 6
    assert process.wait(timeout=100) == 0
    assert process.stderr is not None
    told = process.stderr.read()
    assert told.splitlines()[-1] == "stopped" and "Traceback" not in told
