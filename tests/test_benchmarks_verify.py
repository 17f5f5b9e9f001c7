"""What the benchmark of `verify` asks, and how it counts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talking_points.evaluation.samples import Sample
from talking_points.pointing.round_trip import TalkingPoints
from tests.benchmark_modules import load_benchmark, needs_benchmarks, refused
from tests.tiny import TEXTS, tiny_network

SIZE_WH = (200, 100)
pytestmark = needs_benchmarks


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "verify")


def texts_at(benchmark: ModuleType, *points: tuple[float, float]) -> list[Any]:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE_WH[::-1], 3), dtype=np.uint8))
    samples = [
        Sample(sample_id=str(k), photo_id="set/a", open_photo=lambda: photo, size_wh=SIZE_WH, point_px=point)
        for k, point in enumerate(points)
    ]
    return [benchmark.FreeText(where=one, photo_id="a", split="test", long=TEXTS[0], short=TEXTS[1]) for one in samples]


def test_what_is_asked_of_a_photo(benchmark: ModuleType) -> None:
    # Of the longer side, 200 px, the second is 0.15 from the first, and the third 0.5.
    texts = texts_at(benchmark, (20, 50), (50, 50), (120, 50))
    tp = TalkingPoints.over(tiny_network())
    rows = benchmark.asked_of_photo(tp, texts, "long", seed=1)
    kinds = [row["kind"] for row in rows]
    assert (kinds.count("true"), kinds.count("other"), kinds.count("far")) == (3, 4, 3)
    assert kinds.count("anywhere") == 3 * benchmark.ANYWHERE
    assert {row["kind"]: row["near"] for row in rows if row["kind"] != "anywhere"} == {
        "true": True,
        "other": False,
        "far": False,
    }
    assert rows == benchmark.asked_of_photo(tp, texts, "long", seed=1)


def test_texts_that_are_not_there(benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with refused(capsys, f"error: no such file: {tmp_path / 'test.jsonl'}$"):
        benchmark.main(["--texts", str(tmp_path / "test.jsonl"), "--data", str(tmp_path)])


def test_how_it_counts(benchmark: ModuleType) -> None:
    def row(kind: str, answer: str, probability: float, near: bool) -> dict[str, Any]:
        known = {"photo": "set/a", "texts": "long"}
        return {**known, "kind": kind, "answer": answer, "probability": probability, "near": near}

    rows = [row("true", "yes", 0.9, True), row("true", "maybe", 0.3, True), row("other", "no", 0.0, False)]
    rows += [row("far", "maybe", 0.3, False), row("anywhere", "no", 0.1, True), row("anywhere", "no", 0.1, False)]
    [long, _] = benchmark.accuracy(rows)
    # Half of the true ones and all of the false; all of the true ones and half of the false.
    assert (long["yes alone"]["value"], long["yes or maybe"]["value"]) == (75.0, 75.0)
    [first, *_] = benchmark.answers_by_kind(rows)
    assert first["n"] == 2 and first["yes"]["value"] == first["maybe"]["value"] == 50.0
    [bin_] = [one for one in benchmark.calibration(rows) if one["n"]]
    assert (bin_["n"], bin_["given"], bin_["near"]["value"]) == (2, 10.0, 50.0)
