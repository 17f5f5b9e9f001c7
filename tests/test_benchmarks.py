"""The benchmark that needs a GPU runs here at small size, and one's plain step is compared with what it is beside."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from talking_points.model.generation import Sampling
from talking_points.pointing import descriptor, role
from talking_points.training.policy import Policy
from talking_points.training.reinforce import CachedBase
from tests.tiny import tiny_network

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not beside the tests")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def throughput(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("throughput", monkeypatch)
    # What the benchmark sets for random weights goes back after the test.
    monkeypatch.setattr(descriptor, "MAX_NEW_TOKENS", descriptor.MAX_NEW_TOKENS)
    monkeypatch.setattr(role, "MOST_AT_ONCE", role.MOST_AT_ONCE)
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


def test_the_plain_loop_answers_as_the_engine_does(throughput: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "POINTS", 3)
    monkeypatch.setattr(throughput, "load_checkpoint", lambda *_, **__: tiny_network())
    monkeypatch.setattr(descriptor, "MAX_NEW_TOKENS", 8)
    result = throughput.compare_with_plain_loop(torch.device("cpu"))
    assert result["a_and_b_say_the_same"] == 3 and result["a_and_b_differ_by_px"] < 0.1
    assert set(result["rows"]["a"]["stages_seconds"]) == {"vision", "describe", "localize", "rest"}


@pytest.mark.parametrize("photos_once", [False, True])
def test_the_plain_grpo_step_is_ours_done_slowly(
    throughput: ModuleType, monkeypatch: pytest.MonkeyPatch, photos_once: bool
) -> None:
    """Of the same texts: log-probabilities, and where the judge finds them."""
    monkeypatch.setattr("talking_points.training.policy.MAX_NEW_TOKENS", 8)
    grpo = load("grpo", monkeypatch)
    network, config = tiny_network(), grpo.settings(blocks=1)
    [batch] = grpo.batches_of(network, photos=2, points=2, steps=1)
    base, policy = CachedBase(network), Policy(network, blocks=1)
    first, *others = base.features(batch.photos)
    sampling = Sampling(temperature=1.0, samples=config.group_size)
    rollout = policy.sample(first.join(others), batch.points_BP2, sampling, torch.Generator().manual_seed(0))
    texts = [network.prompts.decode(one.ids) for one in rollout.texts]
    plain = grpo.Plain(network, tiny_network(), config, photos_once=photos_once)
    rows = grpo.rows_of(batch, config.group_size)
    said = [one.ids + [network.prompts.end_id] * one.ended for one in rollout.texts]
    got, wanted = plain.logprobs(network, batch, rows, said), policy.logprobs(rollout)
    torch.testing.assert_close(got * rollout.is_token_NT, wanted, atol=1e-4, rtol=1e-4)
    readable = [text if network.prompts.is_readable(text) else "the point" for text in texts]
    asked = list(zip(rollout.photo_of_text_N.tolist(), readable, strict=True))
    found = base.find(batch.photos, asked)
    true = batch.points_px_BP2 / torch.tensor(batch.sizes_wh, dtype=torch.float32)[:, None]
    true = true.flatten(0, 1).repeat_interleave(config.group_size, 0)
    torch.testing.assert_close(plain.find(batch, rows, readable), found, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(rows.true_N2, true)
