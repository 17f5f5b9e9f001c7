"""The benchmark that needs a GPU runs here at small size, so that it does not fail when there is one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from talking_points import descriptor, encoding

THROUGHPUT = Path(__file__).parents[1] / "benchmarks" / "throughput.py"


@pytest.fixture
def throughput(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not THROUGHPUT.is_file():
        pytest.skip("benchmarks/ is not beside the tests")
    spec = importlib.util.spec_from_file_location("throughput", THROUGHPUT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "throughput", module)
    spec.loader.exec_module(module)
    # What the benchmark sets for random weights goes back after the test.
    monkeypatch.setattr(descriptor, "MAX_NEW_TOKENS", descriptor.MAX_NEW_TOKENS)
    monkeypatch.setattr(encoding, "MOST_AT_ONCE", encoding.MOST_AT_ONCE)
    monkeypatch.setattr(module, "TEXT_TOKENS", 5)
    monkeypatch.setattr(module, "BATCHES", (1, 4))
    monkeypatch.setattr(module, "POINTS_A_PHOTO", (1, 4))
    return module


def test_random_weights_at_small_size(throughput: ModuleType) -> None:
    result = throughput.grow("tiny", torch.device("cpu"))
    assert [(row["batch"], row["points_a_photo"]) for row in result["rows"]] == [(1, 1), (4, 1), (4, 4)]
    for row in result["rows"]:
        assert set(row["stages_seconds"]) == {"vision", "prefix", "describe", "localize", "rest"}
        assert row["round_trips_a_second"] > 0 and row["decode_flop_a_second"] > 0
    assert result["peaks"]["flop_a_second"] > 0
