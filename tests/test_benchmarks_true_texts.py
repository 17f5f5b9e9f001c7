"""What a reader finds of the rules' true texts: drawn photos, answers that are known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from talking_points.samples import FoundPoint
from tests.benchmark_modules import load_benchmark, needs_benchmarks, refused
from tests.conftest import write_coco, write_label_map

pytestmark = needs_benchmarks


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Of two sets, and with a model that answers by the length of a text, at the top of its photo."""
    module = load_benchmark(monkeypatch, "true_texts")
    monkeypatch.setattr(module, "SETS", {"clothing_parts": "label-map", "car_parts": "coco-parts"})
    model = SimpleNamespace(
        network=SimpleNamespace(prompts=SimpleNamespace(is_readable=bool)),
        # Within the photo, and another place for each text.
        locate_many=lambda pairs: [
            FoundPoint(point_px=(len(text) % photo.width, 0.5), confidence=0.5, runner_up_px=None, there=0.9)
            for photo, text in pairs
        ],
    )
    monkeypatch.setattr(module, "load_model", lambda *_, **__: model)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_label_map(tmp_path / "data" / "clothing_parts", ["a"], ["b", "c"])
    write_coco(tmp_path / "data" / "car_parts", ["d"])
    return tmp_path / "data"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_reader_beside_the_model(benchmark: ModuleType, data: Path, tmp_path: Path) -> None:
    out, answers, scores = tmp_path / "sheets", tmp_path / "answers.jsonl", tmp_path / "scores.json"
    words = ["--data", str(data), "--set", "hard", "--split", "test", "--photos", "2", "--out", str(out)]
    benchmark.main(words)
    key = lines_of(out / "key.jsonl")
    # One text of each photo, and what the finder reads is not where it leads.
    assert len({line["photo"] for line in key}) == len(key) == 2
    shown = lines_of(out / "find" / "texts.jsonl")
    assert [line["text"] for line in shown] == [line["text"] for line in key]
    assert all(set(line) == {"n", "sheet", "text"} for line in shown)
    assert all(line["photo"].startswith("hard/") for line in key)
    right = [
        {"n": line["n"]} | {axis: 100 * line["point_px"][k] / line["size_wh"][k] for k, axis in enumerate("xy")}
        for line in key
    ]
    # A right one, and no answer to the other.
    answers.write_text(f"{json.dumps(right[0])}\n")
    read = [*words, "--read", str(answers), "--json", str(scores)]
    benchmark.main(read)
    # Python would read NaN, which is no JSON.
    result = json.loads(scores.read_text(), parse_constant=pytest.fail)
    reader, model = result["rows"]
    assert reader["mpck"]["value"] == 50.0 and result["unanswered"] == 1
    assert [line["error"] for line in result["answers"]] == [0.0, None]
    assert result["answers"][1]["answer"] is None and result["answers"][0]["text"] == key[0]["text"]
    errors = [
        math.dist(
            (len(line["text"]) % line["size_wh"][0] / line["size_wh"][0], 0.5 / line["size_wh"][1]),
            (line["point_px"][0] / line["size_wh"][0], line["point_px"][1] / line["size_wh"][1]),
        )
        for line in key
    ]
    assert [line["model_error"] for line in result["answers"]] == pytest.approx(errors, abs=1e-4)
    difference = model["mpck"]["value"] - reader["mpck"]["value"]
    assert result["model_minus_reader"]["value"] == pytest.approx(difference, abs=0.01)
    # Who saw the points has not said where texts lead.
    answers.write_text('{"n": 0, "wrong": [], "colour": false}\n')
    with pytest.raises(SystemExit) as left:
        benchmark.main(read)
    assert left.value.code == 2


def test_sheets_of_other_points_are_refused(
    benchmark: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, answers = tmp_path / "sheets", tmp_path / "answers.jsonl"
    words = ["--data", str(data), "--split", "test", "--photos", "2", "--out", str(out)]
    benchmark.main([*words, "--set", "hard"])
    answers.write_text('{"n": 0, "x": 1, "y": 1}\n')
    for more, message in (
        (["--read", str(answers)], "of other points"),
        ([], "holds sheets already"),
        (["--photos", "0"], "1 and more"),
    ):
        with refused(capsys, message):
            benchmark.main([*words, "--set", "plain", *more])
