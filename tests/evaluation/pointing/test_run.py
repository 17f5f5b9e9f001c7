from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

import talking_points
from talking_points.cli import main
from talking_points.evaluation.pointing.benchmarks import read_tasks
from talking_points.evaluation.pointing.run import evaluate_pointing
from talking_points.samples import NOWHERE, FoundPoint
from tests.endpoint_server import completion, serving
from tests.evaluation.pointing.layouts import (
    write_crosspoint_bench,
    write_instruct_part,
    write_paco,
    write_pixmo_points,
    write_point_bench,
    write_refspatial_bench,
)
from tests.shared import SHARED

MINI = Path(talking_points.__file__).parent / "pretrained" / "mini" / "config.json"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "external-sets.md"
needs_mini = pytest.mark.skipif(not MINI.is_file(), reason="the embedded checkpoint pretrained/mini is not here")


class Finder:
    """Answers every text with one point, or with none."""

    def __init__(self, point_px: tuple[float, float]) -> None:
        self.point_px = point_px
        self.asked = 0

    def localize(self, photo: Image.Image, texts: list[str]) -> list[tuple[float, float]]:
        assert photo.mode == "RGB"
        self.asked += len(texts)
        return [self.point_px for _ in texts]


def run(layout: str, folder: Path, out: Path, finder: Finder, model: str = "m") -> dict[str, Any]:
    problems: list[str] = []
    tasks = read_tasks(folder, layout, problems.append)
    return evaluate_pointing(layout, tasks, {"finder": finder}, out, settings={"model": model}, problems=problems)


def scores_of(report: dict[str, Any]) -> dict[str, float]:
    return {row["localizer"]: row["score"] for row in report["rows"]}


def test_pixmo_points_by_hand(tmp_path: Path) -> None:
    write_pixmo_points(tmp_path)
    report = run("pixmo-points", tmp_path, tmp_path / "out", Finder((12, 20)))
    # The left box always: right; one of two; wrong where there is nothing; wrong where it is the other one.
    assert report["metrics"] == ["f1", "precision", "recall"]
    row = report["rows"][0]
    assert (row["n"], row["unanswered"]) == (4, 0)
    assert (row["f1"], row["precision"], row["recall"]) == (round((100 + 200 / 3) / 4, 2), 50, 37.5)
    assert {name: one["score"] for name, one in row["categories"].items()} == {
        "nothing there": 0,
        "one thing": 50,
        "several things": 66.67,
    }
    # One point cannot be two.
    assert scores_of(report) == {
        "finder": row["f1"],
        "constant": 0,
        "oracle-one-point": round((100 + 200 / 3 + 100 + 100) / 4, 2),
        "oracle": 100,
    }
    assert report["checks"] == {"oracle_score": 100, "passed": True}
    assert report["data"]["tasks"] == 4 and report["data"]["photos"] == 3


def test_what_is_written(tmp_path: Path) -> None:
    write_refspatial_bench(tmp_path)
    path = tmp_path / "Location" / "question.json"
    path.write_text(json.dumps([*json.loads(path.read_text()), "nothing"]))
    report = run("refspatial-bench", tmp_path, tmp_path / "out", Finder((12, 20)))
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert [row["localizer"] for row in report["rows"]] == ["finder", "constant", "oracle"]
    row = report["rows"][0]
    assert row["score"] == row["accuracy"] == 33.33 and row["categories"]["Location"]["score"] == 100
    # Six photos, two of them right.
    low, high = row["score_ci"]
    assert low == 0 and 33.33 < high < 100 and row["categories"]["Unseen"]["score_ci"] == [0, 0]
    assert len(report["passed_over"]) == 1 and "entry 2: expected an object" in report["passed_over"][0]
    table = (tmp_path / "out" / "report.md").read_text().splitlines()
    assert table[0].startswith("**refspatial-bench** (6 tasks on 6 photos, passed over: 1; the score is accuracy)")
    assert f"| finder | 33.3 | {low:.1f} to {high:.1f} |" in table and "| Location | 2 | 100.0 | 0.0 | 100.0 |" in table
    samples = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    assert len(samples) == 18
    assert samples[0] == {
        "localizer": "finder",
        "sample": "Location/0",
        "photo": "Location/image/0.png",
        "category": "Location",
        "text": "the box that is number 0 from the left",
        "width": 60,
        "height": 40,
        "found_x": [12.0],
        "found_y": [20.0],
        "accuracy": 100.0,
    }


def test_no_answer_is_counted_and_scores_nothing(tmp_path: Path) -> None:
    write_point_bench(tmp_path)
    report = run("point-bench", tmp_path, tmp_path / "out", Finder((math.nan, math.nan)))
    assert (report["rows"][0]["unanswered"], report["rows"][0]["score"]) == (2, 0)
    assert pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()[0]["found_x"] == []
    assert scores_of(report)["oracle-one-point"] == 50


class Doubter:
    """Finds one point of each text, and says whether it is there."""

    def __init__(self, there: dict[str, float | None]) -> None:
        self.there = there

    def localize(self, photo: Image.Image, texts: list[str]) -> list[tuple[float, float]]:
        raise AssertionError("locate_many is asked")

    def locate_many(self, pairs: list[tuple[Image.Image, str]]) -> list[FoundPoint]:
        return [
            FoundPoint(point_px=(12, 20), confidence=None, runner_up_px=None, there=self.there.get(text))
            for _, text in pairs
        ]


class Unreadable:
    def locate_many(self, pairs: list[tuple[Image.Image, str]]) -> list[FoundPoint]:
        return [replace(NOWHERE, problem="no JSON")] * len(pairs)


def test_what_cannot_be_read_is_no_right_silence(tmp_path: Path) -> None:
    write_pixmo_points(tmp_path)
    unreadable: Any = Unreadable()
    row = run("pixmo-points", tmp_path, tmp_path / "out", unreadable)["rows"][0]
    assert (row["unreadable"], row["score"]) == (4, 0)


def test_who_says_that_a_thing_is_not_there_is_silent_where_that_may_be_right(tmp_path: Path) -> None:
    write_pixmo_points(tmp_path / "pixmo")
    write_refspatial_bench(tmp_path / "ref")
    doubter: Any = Doubter({"giraffe": 0.2, "the box that is blue": 0.49, "red box": 0.5})
    row = run("pixmo-points", tmp_path / "pixmo", tmp_path / "out", doubter)["rows"][0]
    # Silent about the giraffe, which is right, and about the blue box, which is there; what is not known is pointed at.
    assert (row["absent"], row["unanswered"]) == (2, 2)
    assert {name: one["score"] for name, one in row["categories"].items()} == {
        "nothing there": 100,
        "one thing": 50,
        "several things": 66.67,
    }
    doubter = Doubter({"the box that is number 0 from the left": 0.1})
    row = run("refspatial-bench", tmp_path / "ref", tmp_path / "other", doubter)["rows"][0]
    # There something is meant by every text, and the likeliest place counts.
    assert (row["absent"], row["unanswered"], row["score"]) == (3, 0, 33.33)


def test_keypoints_count_the_same_however_many_there_are(tmp_path: Path, ap_10k_writer: Callable[..., None]) -> None:
    ap_10k_writer(tmp_path, {"test": ["3"]})
    # Two left eyes, a right eye, two roots of tails; the dog's right eye alone is found.
    report = run("ap-10k", tmp_path / "annotations" / "ap10k-test-split1.json", tmp_path / "out", Finder((66.5, 20.5)))
    row = report["rows"][0]
    assert {name: one["n"] for name, one in row["categories"].items()} == {
        "left eye": 2,
        "right eye": 1,
        "root of the tail": 2,
    }
    # The dog's box is 50x60: its left eye, 6 px away, is at 0.1, which is not below 0.1.
    assert (row["pck@0.05"], row["pck@0.1"], row["pck@0.2"]) == (33.33, 33.33, 50)


def test_a_run_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any beginning of the kept answers gives the same report, and what it holds is not asked again."""
    monkeypatch.setattr("talking_points.evaluation.answers.PHOTOS_AT_ONCE", 2)
    write_refspatial_bench(tmp_path)
    out = tmp_path / "out"
    finder = Finder((12, 20))
    report = run("refspatial-bench", tmp_path, out, finder)
    assert finder.asked == 6
    kept = (out / "answers.jsonl").read_bytes()
    assert kept.count(b"\n") == 4
    for cut, asked in ((0, 6), (len(kept) - 3, 2), (len(kept), 0)):
        (out / "answers.jsonl").write_bytes(kept[:cut])
        finder = Finder((12, 20))
        assert run("refspatial-bench", tmp_path, out, finder) == report
        assert finder.asked == asked and (out / "answers.jsonl").read_bytes() == kept
    # Another model, or other data, leaves it as it is.
    finder = Finder((12, 20))
    with pytest.raises(ValueError, match="holds an evaluation with model m, now it is other: repeat the first command"):
        run("refspatial-bench", tmp_path, out, finder, model="other")
    (tmp_path / "Unseen" / "mask" / "0.png").write_bytes((tmp_path / "Location" / "mask" / "0.png").read_bytes())
    with pytest.raises(ValueError, match=r"holds an evaluation with data sha256 \w+, now it is sha256 \w+: repeat the"):
        run("refspatial-bench", tmp_path, out, finder)
    assert not finder.asked and (out / "answers.jsonl").read_bytes() == kept
    assert run("refspatial-bench", tmp_path, tmp_path / "anew", finder)["rows"][0]["score"] == 50


def commands_of_docs() -> list[list[str]]:
    """Commands of the guide's shell blocks, as a shell would split them."""
    blocks = DOCS.read_text(encoding="utf-8").split("```sh\n")[1:]
    joined = "\n".join(block.partition("```")[0] for block in blocks).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line]


@needs_mini
def test_the_guide_s_commands_run_on_small_copies(
    tmp_path: Path,
    ap_10k_writer: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_pixmo_points(tmp_path / "pixmo-points-eval")
    write_point_bench(tmp_path / "pointarena-data")
    write_refspatial_bench(tmp_path / "RefSpatial-Bench")
    ap_10k_writer(tmp_path / "ap-10k", {"test": ["3", "4"]})
    write_paco(tmp_path / "paco")
    write_instruct_part(tmp_path / "InstructPart" / "test")
    write_crosspoint_bench(tmp_path / "CrossPoint-Bench")
    monkeypatch.chdir(tmp_path)
    commands = commands_of_docs()
    assert [command[:2] for command in commands] == [["talking-points", "evaluate-pointing"]] * 8
    with serving(lambda asked, number: completion('<point x="20" y="50" alt="box">box</point>')) as server:
        for command in commands:
            arguments = [word.replace("http://localhost:8000/v1", server.url) for word in command[1:]]
            with pytest.raises(SystemExit) as stopped:
                main([*arguments, "--device", "cpu"])
            out, err = capsys.readouterr()
            assert stopped.value.code == 0 and "passed over" not in err, err
            folder = Path(command[command.index("--out") + 1])
            assert out == (folder / "report.md").read_text()
            report = json.loads((folder / "report.json").read_text())
            assert scores_of(report)["oracle"] == 100 and report["checks"]["passed"]
            row = report["rows"][0]
            # Where silence may be right, what a localizer says is not there has no point.
            silent = row["absent"] if report["layout"] == "pixmo-points" else 0
            assert row["localizer"] == "localizer" and row["unanswered"] == silent
        # (12, 20) of 60x40 is on the left box, which is asked for in Location alone.
        endpoint = report["rows"][1]
        assert endpoint["localizer"].endswith("Molmo-7B-D") and endpoint["categories"]["Location"]["score"] == 100
        assert endpoint["score"] == 33.33 and len(server.requests) == 6


@needs_mini
@pytest.mark.skipif(not (SHARED / "data" / "ap10k_sample").is_dir(), reason="needs ../shared/data/ap10k_sample")
def test_mini_on_the_published_sample_of_ap_10k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = SHARED / "data" / "ap10k_sample" / "test_ap10k.json"
    arguments = ["--data", str(labels), "--layout", "ap-10k", "--device", "cpu"]
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate-pointing", *arguments, "--json", "--out", str(tmp_path)])
    assert stopped.value.code == 0
    report = json.loads(capsys.readouterr().out)
    localizer, constant, oracle = report["rows"]
    assert localizer["n"] == 32 and len(localizer["categories"]) == 16 and localizer["unanswered"] == 0
    assert oracle["score"] == 100 > constant["score"]
    for sample in pq.read_table(tmp_path / "samples.parquet").to_pylist():
        [x], [y] = sample["found_x"], sample["found_y"]
        assert 0 <= x <= sample["width"] and 0 <= y <= sample["height"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layout", "ap-10k"], "--data is missing"),
        (["--data", ".", "--layout", "coco"], "layout is 'coco'; allowed: pixmo-points, point-bench, "),
        (["--data", "nowhere", "--layout", "point-bench"], "no such file or folder: nowhere"),
        (["--data", ".", "--layout", "point-bench"], "data.json is missing"),
        (["--data", ".", "--layout", "point-bench", "--concurrency", "0"], "--concurrency is 0; allowed: at least 1"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate-pointing", "--out", "out", *arguments])
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (2, "")
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
