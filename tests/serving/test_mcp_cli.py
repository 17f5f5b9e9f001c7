"""`talking-points mcp` from start to end, asked by the SDK's own client over stdio."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from talking_points.cli import agents, main
from talking_points.model.checkpoint import save_checkpoint
from tests.serving.conftest import photo_bytes
from tests.tiny import TEXTS, tiny_network

DOCS = Path(__file__).parents[2] / "docs" / "agents.md"
# Prints where only the protocol may be.
PROGRAM = """
import talking_points.pointing.pretrained as pretrained
load = pretrained.load_roles
pretrained.load_roles = lambda *given, **named: (print("noise", flush=True), load(*given, **named))[1]
from talking_points.cli import main
main()
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to which nothing is in any photo."""
    network = tiny_network()
    network.localizer.head.ours.there[-1].bias.data.fill_(-20.0)  # type: ignore[union-attr, index]
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_checkpoint(network, folder)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "photo.png").write_bytes(photo_bytes())
    (tmp_path / "outside.png").write_bytes(photo_bytes())
    return tmp_path / "photos"


@pytest.fixture
def started(checkpoint: Path, root: Path) -> list[str]:
    """Arguments of a Python that serves."""
    options = ["--model", str(checkpoint), "--root", str(root), "--device", "cpu", "--max-megabytes", "0.05"]
    return ["-c", PROGRAM, "mcp", *options]


def test_an_agent_over_stdio(started: list[str], checkpoint: Path, tmp_path: Path) -> None:
    too_large = "data:image/png;base64," + base64.b64encode(b"x" * 50_001).decode()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("locate", {"photo": "photo.png", "text": TEXTS[0]}),
        ("describe_point", {"photo": "photo.png", "x": 10.5, "y": 20}),
        ("verify", {"photo": "photo.png", "x": 10.5, "y": 20, "text": TEXTS[0]}),
        ("verify", {"photo": "photo.png", "x": 10.5, "text": TEXTS[0]}),
        ("locate", {"photo": str(tmp_path / "outside.png"), "text": TEXTS[0]}),
        ("locate", {"photo": too_large, "text": TEXTS[0]}),
    ]

    async def ask() -> tuple[list[str], list[Any]]:
        server = StdioServerParameters(command=sys.executable, args=started, env=dict(os.environ))
        async with Client(server) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            return names, [await client.call_tool(name, arguments) for name, arguments in calls]

    names, results = anyio.run(ask)
    assert names == ["locate", "describe_point", "verify"]
    located, described, verified = (result.structured_content for result in results[:3])
    assert located["in_photo"] is False and located["said"].startswith("not in the photo: ")
    assert described["photo"] == {"width": 70, "height": 40} and described["description"]
    assert verified["verdict"] == "not in the photo" and verified["probability"] < 0.01
    assert all(answer["model"] == str(checkpoint) for answer in (located, described, verified))
    assert [result.is_error for result in results] == [False] * 3 + [True] * 3
    assert [result.content[0].text.partition(";")[0] for result in results[3:]] == [
        "y: Field required",
        f"the photo '{tmp_path / 'outside.png'}' is outside {tmp_path / 'photos'}",
        "the photo has 50,001 bytes",
    ]


def test_stdout_is_the_protocol_and_a_signal_ends_it(started: list[str]) -> None:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, *started], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin is not None and process.stdout is not None
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    call = {"name": "describe_point", "arguments": {"photo": "photo.png", "x": 1, "y": 2}}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": call},
    ]
    for message in messages:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [one["id"] for one in answers] == [1, 2] and answers[1]["result"]["structuredContent"]["description"]
    process.send_signal(signal.SIGTERM)
    rest, said = process.communicate(timeout=60)
    assert (process.returncode, rest) == (143, "") and "noise" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "foo"], "unknown model 'foo'"),
        (["--root", "no-such-folder"], "--root no-such-folder: no such folder"),
        (["--max-megabytes", "0"], "max_megabytes is 0"),
    ],
)
def test_errors_at_start(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["mcp", *arguments])
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and said in err and err.count("\n") == 1


@pytest.mark.parametrize(("missing", "extra", "options"), [("mcp", "mcp", []), ("httpx", "web", ["--allow-urls"])])
def test_without_what_it_needs(
    missing: str,
    extra: str,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agents, "has", lambda module: module != missing)
    with pytest.raises(SystemExit) as stopped:
        main(["mcp", *options])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"error: mcp needs {missing}: pip install 'talking-points[{extra}]'\n"


@pytest.mark.skipif(not DOCS.is_file(), reason="docs/ is not beside the tests")
def test_the_docs_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    [block] = re.findall(r"^```json\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    started = json.loads(block)["mcpServers"]["talking-points"]
    assert started["command"] == "talking-points"
    with pytest.raises(SystemExit) as stopped:
        main([*started["args"], "--show-config"])
    assert stopped.value.code == 0 and 'root = "."' in capsys.readouterr().out
