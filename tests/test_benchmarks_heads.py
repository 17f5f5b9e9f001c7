"""The comparison of heads, run on a tiny network and drawn photos."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from talking_points.evaluation.metrics import mpck
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from tests.benchmark_modules import load_benchmark, needs_benchmarks
from tests.conftest import write_coco, write_label_map
from tests.tiny import tiny_network

pytestmark = needs_benchmarks


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_benchmark(monkeypatch, "heads")
    monkeypatch.setattr(sys.modules["heads_training"], "HEADS", ("regression", "heatmap"))
    for name in set(module.SETS) - {"clothing_parts", "car_parts"}:
        monkeypatch.delitem(module.SETS, name)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two people and a car of the test split with two texts each; one of the people with texts to learn from."""
    folder = tmp_path / "data"
    write_label_map(folder / "clothing_parts", ["a"], ["b", "c"])
    write_coco(folder / "car_parts", ["d"])
    lines = [
        {"set": name, "split": "test", "photo": photo, "width": width, "height": height, "x": 30.5, "y": 40.5}
        for name, photo, width, height in (
            ("clothing_parts", "b.jpg", 60, 120),
            ("clothing_parts", "c.jpg", 60, 120),
            ("car_parts", "d.jpg", 100, 60),
        )
    ]
    said = {"long": "The point is on the left shoe.", "short": "the hood"}
    (folder / "texts.jsonl").write_text("".join(f"{json.dumps(line | said)}\n" for line in lines))
    learnt = [{"photo": "photos/a.jpg", "x": x, "y": 40.5, "text": f"The shoe {x}."} for x in (10.5, 30.5)]
    (folder / "clothing_parts" / "points.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in learnt))
    return folder


def run(heads: ModuleType, out: Path, *words: object) -> dict[str, Any]:
    heads.main([*map(str, words), "--json", str(out)])
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_heads_beside_blind_twins(heads: ModuleType, data: Path, tmp_path: Path) -> None:
    network = tiny_network()
    save_checkpoint(network, tmp_path / "base")
    points = data / "clothing_parts" / "points.jsonl"
    train = ["train", "--base", tmp_path / "base", "--data", points, "--validation", points, "--round", 1]
    train += ["--out", tmp_path / "runs"]
    heads.main([*map(str, train), "--steps", "1"])
    heads.main([*map(str, train), "--steps", "2"])
    heads.main([*map(str, train), "--steps", "1", "--run", "own-blind"])
    for name in ("regression", "regression-blind", "heatmap", "heatmap-blind"):
        assert set(json.loads((tmp_path / "runs" / name / "validation.json").read_text())) == {"1", "2"}
        trained = load_checkpoint(tmp_path / "runs" / name / "checkpoint")
        assert trained.is_blind == name.endswith("blind") and trained.config.coordinate_head in name
        if trained.config.coordinate_head == "heatmap":
            # Drawn anew: in two steps no weight of the base's head could have gone so far.
            assert trained.localizer is not None and network.head is not None
            own, base = (head.state_dict()["answer.0.weight"] for head in (trained.localizer.head.ours, network.head))
            assert (own - base).abs().max() > 0.05
    trained = load_checkpoint(tmp_path / "runs" / "own-blind" / "checkpoint")
    assert trained.is_blind and trained.localizer is not None and network.head is not None
    own, base = (head.state_dict()["answer.0.weight"] for head in (trained.localizer.head.ours, network.head))
    assert 0 < (own - base).abs().max() < 0.01

    texts = ("--texts", data / "texts.jsonl", "--data", data)
    table = run(
        heads, tmp_path / "heads.json", "table", "--runs", tmp_path / "runs", "--model", tmp_path / "base", *texts
    )
    assert {(row["head"], row["blind twin of"]) for row in table["rows"]} == {
        ("regression", "regression"),
        ("heatmap", "heatmap"),
        (str(tmp_path / "base"), "own"),
    }
    assert {row["texts"]: row["n"] for row in table["rows"]} == {
        "long": 3,
        "short": 3,
        "hard": len(table["errors"]["heatmap"]["hard"]),
    }
    for row in table["rows"]:
        one, other = (table["errors"][name][row["texts"]] for name in (row["head"], f"{row['blind twin of']}-blind"))
        scores = [mpck(np.array(some, float)) for some in (one, other)]
        assert [row[key]["value"] for key in ("seeing", "blind")] == pytest.approx(scores, abs=0.01)
        assert row["gain"]["value"] == pytest.approx(scores[0] - scores[1], abs=0.01)


def test_heads_over_a_frozen_base(heads: ModuleType, data: Path, tmp_path: Path) -> None:
    network = tiny_network()
    save_checkpoint(network, tmp_path / "base")
    points = data / "clothing_parts" / "points.jsonl"
    words = ["train", "--base", tmp_path / "base", "--data", points, "--validation", points, "--round", 2, "--steps", 2]
    heads.main([*map(str, words), "--frozen", "--out", str(tmp_path / "runs")])
    training = sys.modules["heads_training"]
    for name in ("regression", "regression-blind", "heatmap", "heatmap-blind"):
        folder = tmp_path / "runs" / name / "checkpoint"
        trained = load_checkpoint(folder)
        assert trained.localizer is not None
        own, base = trained.localizer.projector.state_dict(), network.projector.state_dict()
        assert all((own[key] - base[key]).abs().max() < 1e-3 for key in base), "fp16, and nothing learned"
        own, base = trained.localizer.text_to_vision.state_dict(), network.text_to_vision.state_dict()
        # All that a heatmap reads of [SEG] is its states.
        learned = max(float((own[key] - base[key]).abs().max()) for key in base) > 1e-3
        assert learned or name.startswith("heatmap")
        # What was kept of texts and photos is what reading them gives, but for fp16.
        scores = json.loads((tmp_path / "runs" / name / "validation.json").read_text())
        reader = load_checkpoint(folder)
        samples = training.read_samples(points, "val", print)
        errors = training.Photos(samples, reader).errors(reader, [sample.text or "" for sample in samples])
        assert scores["2"] == pytest.approx(mpck(errors), abs=0.01)


def test_own_texts_before_and_after(heads: ModuleType, data: Path, tmp_path: Path) -> None:
    save_checkpoint(tiny_network(), tmp_path / "base")
    save_checkpoint(tiny_network(), tmp_path / "after")
    words = ["own", "--texts", data / "texts.jsonl", "--data", data, "--localizer", tmp_path / "base"]
    words += ["--descriptor", tmp_path / "base", "--descriptor", tmp_path / "after"]
    result = run(heads, tmp_path / "own.json", *words)
    before, after = result["rows"]
    assert "gain" not in before and after["gain"] == {"value": 0.0, "ci": [0.0, 0.0]}
    assert [len(texts) for texts in result["texts"].values()] == [3, 3]
