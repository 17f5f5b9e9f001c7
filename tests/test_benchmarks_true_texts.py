"""What a reader finds of the rules' true texts: drawn photos, answers that are known."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from talking_points.samples import FoundPoint
from tests.benchmark_modules import load_benchmark, needs_benchmarks
from tests.conftest import write_coco, write_label_map

pytestmark = needs_benchmarks


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Of two sets, and with a model that answers with a corner of the photo."""
    module = load_benchmark(monkeypatch, "true_texts")
    monkeypatch.setattr(module, "SETS", {"clothing_parts": "label-map", "car_parts": "coco-parts"})
    corner = FoundPoint(point_px=(0.5, 0.5), confidence=0.5, runner_up_px=None, there=0.9)
    model = SimpleNamespace(
        network=SimpleNamespace(prompts=SimpleNamespace(is_readable=bool)),
        locate_many=lambda pairs: [corner] * len(pairs),
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
    words = ["--data", str(data), "--set", "hard", "--split", "test", "--photos", "3", "--out", str(out)]
    benchmark.main(words)
    key = lines_of(out / "key.jsonl")
    # One text of each photo, and what the finder reads is not where it leads.
    assert len({line["photo"] for line in key}) == len(key) == 3
    assert [line["text"] for line in lines_of(out / "find" / "texts.jsonl")] == [line["text"] for line in key]
    assert all("photo" not in line["text"] and line["photo"].startswith("hard/") for line in key)
    right = [
        {"n": line["n"]} | {axis: 100 * line["point_px"][k] / line["size_wh"][k] for k, axis in enumerate("xy")}
        for line in key
    ]
    # Two right ones, and no answer to the third.
    answers.write_text("".join(f"{json.dumps(line)}\n" for line in right[:2]))
    read = [*words, "--read", str(answers), "--json", str(scores)]
    benchmark.main(read)
    result = json.loads(scores.read_text())
    reader, model = result["rows"]
    assert reader["mpck"]["value"] == 66.67 and result["unanswered"] == 1
    assert model["mpck"]["value"] == 0.0 and result["model_minus_reader"]["value"] == -66.67
    assert [line["error"] for line in result["answers"][:2]] == [0.0, 0.0]


def test_sheets_of_other_points_are_refused(
    benchmark: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, answers = tmp_path / "sheets", tmp_path / "answers.jsonl"
    words = ["--data", str(data), "--split", "test", "--photos", "3", "--out", str(out)]
    benchmark.main([*words, "--set", "hard"])
    answers.write_text('{"n": 0, "x": 1, "y": 1}\n')
    for more, message in ((["--read", str(answers)], "of other points"), ([], "holds sheets already")):
        with pytest.raises(SystemExit) as left:
            benchmark.main([*words, "--set", "plain", *more])
        assert left.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
