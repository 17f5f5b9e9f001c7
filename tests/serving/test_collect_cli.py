"""`talking-points collect` from the shell: what is refused, what a kill leaves, and the way to a report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import talking_points
from talking_points.cli import main
from talking_points.evaluation.report import pairing_said

MINI = Path(talking_points.__file__).parent / "pretrained" / "mini" / "config.json"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere/"], "no such file or folder: nowhere"),
        (["points.jsonl", "--out", "nowhere/texts.jsonl"], "no such folder for the texts"),
        (["points.jsonl", "--out", "texts.csv"], "JSON lines are written; name it texts.jsonl"),
        (["points.jsonl", "--out", "texts.xml"], "JSON lines are written; name it texts.jsonl"),
        (["points.jsonl", "--out", "points.jsonl"], "--out is the set itself, points.jsonl; choose another file"),
        (["points.jsonl", "--out", "copy.jsonl"], 'copy.jsonl, line 1: expected {"sample": ID, "description": TEXT}'),
        (["points.jsonl", "--out", "other.jsonl"], "text of 'line 1', which is no point of this set; choose another"),
        (["points.jsonl", "--out", "notes.txt"], "notes.txt, line 1: not a JSON line"),
        (["points.jsonl", "--out", "."], "--out is a folder, .; name a file in it"),
        (["points.jsonl", "--limit", "0"], "--limit is 0; allowed: at least 1"),
        (["points.jsonl", "--port", "70000"], "port is 70000; allowed: 0 to 65535"),
        (["points.jsonl", "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["points.jsonl", "--token-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE: that environment variable is not set"),
        (["empty.jsonl"], "empty.jsonl holds no points"),
        ([], "SET is missing"),
    ],
)
def test_bad_input_is_one_line_and_touches_no_file(
    points: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(points.parent)
    Path("copy.jsonl").write_bytes(points.read_bytes())
    Path("other.jsonl").write_text('{"sample": "line 1", "description": "a", "photo": "c.png", "x": 1, "y": 2}\n')
    Path("notes.txt").write_text("to do: lunch")
    Path("empty.jsonl").touch()
    before = {path: path.read_bytes() for path in Path().iterdir()}
    with pytest.raises(SystemExit) as ended:
        main(["collect", *arguments, *([] if "--out" in arguments else ["--out", "texts.jsonl"])])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and said in err and err.startswith("error: ") and err.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`talking-points collect` in a process of its own, and its address."""
    # Who runs the tests in the background has Ctrl-C ignored, and children inherit that.
    code = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from talking_points.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, "collect", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://[\d.:]+", line)
    assert found, line + process.stderr.read()
    yield process, found[0]
    process.kill()
    process.wait()


def put(url: str, body: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(url, json.dumps(body).encode(), headers, method="PUT")
    assert urllib.request.urlopen(asked).status == 200


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.skipif(not MINI.is_file(), reason="the embedded checkpoint pretrained/mini is not here")
def test_from_the_shell_to_a_report(
    points: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(points.parent)
    command = ("points.jsonl", "--out", "texts.jsonl", "--limit", "3", "--name", "Ann")
    with running(*command) as (process, url):
        put(f"{url}/points/1", {"text": "the left ear"})
        put(f"{url}/points/2", {"skipped": True})
        process.kill()
    evaluate = ["evaluate", "--data", "points.jsonl", "--limit", "3", "--out", "scores", "--table", "figure"]
    evaluate += ["--describer", "file:texts.jsonl=people"]
    with running(*command) as (process, url):
        assert json.load(urllib.request.urlopen(f"{url}/points")) == ["text", "skipped", ""]
        put(f"{url}/points/3", {"text": "the nose"})
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == "stopped; texts.jsonl: 2 of 3 points described, 1 skipped\n"
        assert process.wait() == 130
    with pytest.raises(SystemExit) as ended:
        main(evaluate)
    told, said = capsys.readouterr(), "1 point is in no row: people skipped 1"
    assert not ended.value.code and f"passed over: points.jsonl: {said}\n" in told.err
    assert "\n**points.jsonl** (2 points)\n" in f"\n{told.out}" and f"\n{said}.\n" in told.out
    assert f"<p>{said}.</p>" in Path("scores/report.html").read_text("utf-8")
    skipped = json.loads(Path("texts.jsonl").read_text().splitlines()[1])["sample"]
    report = json.loads(Path("scores/report.json").read_text())
    assert {row["n"] for row in report["rows"]} == {2} and report["skipped"] == {"points.jsonl": {"people": [skipped]}}
    with running(*command) as (process, url):
        put(f"{url}/points/2", {"text": "the mouth"})
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    with pytest.raises(SystemExit) as ended:
        main(evaluate)
    assert not ended.value.code
    report = json.loads(Path("scores/report.json").read_text())
    people = [row for row in report["rows"] if row["describer"] == "people"]
    assert [(row["localizer"], row["n"]) for row in people] == [("localizer", 3)] and not report["skipped"]


@pytest.mark.skipif(not MINI.is_file(), reason="the embedded checkpoint pretrained/mini is not here")
def test_points_without_texts_are_scored_without_a_table(
    points: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(points.parent)
    bare = [
        {key: line[key] for key in ("photo", "x", "y")} for line in map(json.loads, points.read_text().splitlines())
    ]
    points.write_text("".join(f"{json.dumps(line)}\n" for line in bare))
    texts = [{"sample": f"line {n}", "description": f"the ear {n}"} for n in range(1, 7)]
    Path("texts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in texts))

    def evaluated(*more: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", "--data", "points.jsonl", "--describer", "file:texts.jsonl=people", "--out", "s", *more])
        return ended.value.code, capsys.readouterr().err

    code, err = evaluated("--table", "figure")
    assert code == 2 and err == (
        "error: the data has no text for 6 samples, the first of them 'line 1': --table figure scores the data's own "
        "texts, ground-truth; give every point a text, or leave out --table\n"
    )
    code, err = evaluated("--describer", "ground-truth")
    assert code == 2 and ": --describer ground-truth scores the data's own texts" in err
    code, err = evaluated()
    # Texts without sense on two grey photos.
    check = json.loads(Path("s/report.json").read_text())["checks"]["points.jsonl"]
    assert not code and check["texts_of"] == "people" and not check["passed"]
    assert f"warning: points.jsonl: {pairing_said(check)}\n" in err and "With 2 photos it may be chance." in err
    Path("texts.jsonl").write_text(f"{json.dumps(texts[0])}\n")
    code, err = evaluated()
    assert code == 2 and "texts.jsonl has no text for 5 samples, the first of them 'line 2': each needs a line" in err


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_file_is_one_command_s_until_that_ends(
    points: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(points.parent)
    Path("link.jsonl").symlink_to("texts.jsonl")

    def refused(out: str, url: str) -> None:
        # Of a port that is taken it would end all the same, and say something else.
        with pytest.raises(SystemExit) as ended:
            main(["collect", "points.jsonl", "--out", out, "--port", url.rpartition(":")[2]])
        assert ended.value.code == 2 and capsys.readouterr().err == (
            f"error: {out} is in use: another command writes to it; stop that one, or choose another --out\n"
        )

    with running("points.jsonl", "--out", "texts.jsonl") as (process, url):
        for out in ("texts.jsonl", "link.jsonl"):
            refused(out, url)
        assert {path.name for path in Path().glob(".*")} == {".texts.jsonl.lock"}
        # People who write side by side have a file each.
        with running("points.jsonl", "--out", "other.jsonl"):
            put(f"{url}/points/1", {"text": "the ear"})
        process.kill()
        process.wait()
    with running("points.jsonl", "--out", "texts.jsonl") as (process, url):
        assert json.load(urllib.request.urlopen(f"{url}/points"))[0] == "text"
        refused("texts.jsonl", url)
        process.send_signal(signal.SIGINT)
        process.wait()
    assert not list(Path().glob(".texts*"))
