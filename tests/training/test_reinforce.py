from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from talking_points.evaluation.samples import Sample
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.weights import read_tensors
from talking_points.pointing.encoding import PhotoCache, PreparedPhoto
from talking_points.pointing.localizer import PointLocalizer
from talking_points.samples import FoundPoint
from talking_points.training import policy as policy_module
from talking_points.training.batches import BatchSizes
from talking_points.training.grpo import GRPOConfig
from talking_points.training.keypoint_sets import KeypointBatches
from talking_points.training.loop import LoopConfig
from talking_points.training.policy import Policy
from talking_points.training.reinforce import Reinforcement, Watching, load_judged, train_grpo
from tests.tiny import tiny_network

# Random weights end no text.
LENIENT = GRPOConfig(max_broken=1.0, min_distinct=0.0, blocks=1, max_kl=100.0)
SIZES = BatchSizes(photos=2, points=2)


def samples(photos: int, first: int = 0) -> list[Sample]:
    """Three points in each of some noisy photos."""
    made = []
    for photo in range(first, first + photos):
        pixels = np.random.default_rng(photo).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        made += [
            Sample(
                sample_id=f"{photo}/{k}",
                photo_id=str(photo),
                open_photo=partial(Image.fromarray, pixels),
                size_wh=(60, 40),
                point_px=(10.0 + 20 * k, 20.0),
                object_name="thing",
            )
            for k in range(3)
        ]
    return made


def run(checkpoint: Path, out: Path, *, die_at: int | None = None, config: GRPOConfig = LENIENT) -> bool:
    """Six steps, an evaluation every two, a save every two; optionally killed in the middle of a step."""
    policy_module.MAX_NEW_TOKENS = 8
    seen = 0
    whole = Policy.logprobs

    def logprobs(self: Policy, rollout: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, rollout)

    Policy.logprobs = logprobs  # type: ignore[method-assign]
    try:
        return train_grpo(
            samples(3),
            checkpoint,
            [checkpoint],
            out,
            LoopConfig(steps=6, learning_rate=0.01, warmup_steps=1, save_every=2, log_every=1, workers=0),
            SIZES,
            config,
            Watching(samples=samples(2, first=9), every=2, unseen=[checkpoint]),
            device=torch.device("cpu"),
        )
    finally:
        Policy.logprobs = whole  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    save_checkpoint(tiny_network(), folder)
    return folder


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing disturbed; not to be written to."""
    out = tmp_path_factory.mktemp("whole")
    longest = policy_module.MAX_NEW_TOKENS
    assert run(checkpoint, out)
    policy_module.MAX_NEW_TOKENS = longest
    return out


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `run` sets for itself, also in a process of its own, goes back."""
    monkeypatch.setattr(policy_module, "MAX_NEW_TOKENS", policy_module.MAX_NEW_TOKENS)


def lines(out: Path) -> dict[int, dict[str, float]]:
    """Metrics of every step; the last one written where a step was done twice."""
    return {(m := json.loads(one))["step"]: m for one in (out / "training" / "metrics.jsonl").read_text().splitlines()}


@pytest.mark.parametrize("die_at", [1, 4])
def test_killed_and_started_again_is_as_if_never_killed(
    checkpoint: Path, whole: Path, tmp_path: Path, die_at: int
) -> None:
    """Losses, everything logged, evaluations and weights, bit for bit."""
    code = (
        "from pathlib import Path; from tests.training.test_reinforce import run; "
        f"run(Path({str(checkpoint)!r}), Path({str(tmp_path)!r}), die_at={die_at})"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert run(checkpoint, tmp_path)
    assert lines(tmp_path) == lines(whole)
    for name in ("000000.md", "000002.json", "000006.md"):
        assert (tmp_path / "evaluations" / name).read_bytes() == (whole / "evaluations" / name).read_bytes()
    mine, theirs = (
        read_tensors(out / "checkpoint" / "descriptor" / "adapter_model.safetensors") for out in (tmp_path, whole)
    )
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_what_is_trained_watched_and_written(checkpoint: Path, whole: Path) -> None:
    before, after = load_checkpoint(checkpoint), load_checkpoint(whole / "checkpoint")
    moved = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])}
    assert moved and all(".layers.1." in name and ".lora_" in name and ".descriptor." in name for name in moved)
    logged = lines(whole)[6]
    assert logged.keys() >= {"reward", "reward_std", "kl", "tokens", "distinct_2", "empty", "cut_off", "grad_norm"}
    assert logged["held_out_localizer"] == logged["held_out_unseen"]  # they are the same
    assert all(math.isfinite(value) for value in logged.values())
    table = (whole / "evaluations" / "000004.md").read_text()
    assert "# After 4 steps" in table and table.count("| thing |") == 6
    # Every row of the table has all its columns, whatever the texts hold.
    rows = [line.replace("\\|", "") for line in table.splitlines() if "| thing |" in line]
    assert {row.count("|") for row in rows} == {7}


def test_a_rule_stops_and_leaves_what_was_evaluated_last(checkpoint: Path, tmp_path: Path) -> None:
    strict = GRPOConfig(max_broken=1.0, min_distinct=0.0, blocks=1, max_kl=1e-7)
    assert run(checkpoint, tmp_path, config=strict)
    said = json.loads((tmp_path / "stopped.json").read_text())
    assert said["checkpoint_after_steps"] == 0 and "step 1: KL is" in said["reason"]
    before, after = load_checkpoint(checkpoint), load_checkpoint(tmp_path / "checkpoint")
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())


def test_texts_that_end_nowhere_stop_it(checkpoint: Path, tmp_path: Path) -> None:
    assert run(checkpoint, tmp_path, config=GRPOConfig(blocks=1))
    assert (
        "of the texts are empty or cut off, more than 50%"
        in json.loads((tmp_path / "stopped.json").read_text())["reason"]
    )


def test_other_settings_do_not_resume(checkpoint: Path, whole: Path) -> None:
    with pytest.raises(ValueError, match="group_size 3.* not on .*group_size 4.*use another --out"):
        run(checkpoint, whole, config=GRPOConfig(group_size=4, max_broken=1.0, min_distinct=0.0, blocks=1))


class EarlyLetters:
    """A judge that looks the farther to the right, the more of a text's letters are late in the alphabet."""

    def __init__(self, network: Any) -> None:
        self.network, self.cache = network, PhotoCache()
        self.asked = 0

    def locate_many(self, pairs: list[tuple[PreparedPhoto, str]]) -> list[FoundPoint]:
        self.asked += len(pairs)
        assert len({(photo.key, text) for photo, text in pairs}) == len(pairs)  # equal texts are asked once

        def place(text: str) -> tuple[float, float]:
            letters = [c for c in text.lower() if c.isalpha()]
            return (60.0 * np.mean([c > "m" for c in letters]) if letters else 30.0, 20.0)

        return [FoundPoint(point_px=place(text), confidence=None, runner_up_px=None) for _, text in pairs]


def test_what_is_rewarded_becomes_more_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_module, "MAX_NEW_TOKENS", 8)
    network = tiny_network()
    policy = Policy(network, blocks=2)
    at_left = [replace(sample, point_px=(0.0, 20.0)) for sample in samples(2)]
    batches = KeypointBatches(at_left, side=64, sizes=BatchSizes(photos=2, points=3), seed=0, steps=30)
    # Groups as big as this because another CPU's rounding draws other texts, as another seed does.
    config = GRPOConfig(
        group_size=32, max_broken=1.0, min_distinct=0.0, reward="distance", max_kl=100.0, kl_weight=0.01
    )
    objective = Reinforcement(policy, {"judge": EarlyLetters(network)}, PhotoCache(), config)  # type: ignore[dict-item]
    optimizer = torch.optim.Adam(policy.parameters.values(), lr=0.06)
    rewards = []
    for step in range(len(batches)):
        loss, metrics = objective(batches[step])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rewards.append(metrics["reward"])
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.05


def test_unreadable_texts_are_found_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    policy = Policy(network, blocks=1)
    judge = EarlyLetters(network)
    objective = Reinforcement(policy, {"judge": judge}, PhotoCache(), GRPOConfig(group_size=2))  # type: ignore[dict-item]
    batch = KeypointBatches(samples(1), side=64, sizes=BatchSizes(photos=1, points=3), seed=0, steps=1)[0]
    [found], true = objective.find(batch, ["", "abc", "the [SEG] shoe", "abc", "xyz", "x " * 600])
    assert judge.asked == 2
    assert torch.isnan(found[[0, 2, 5]]).all()
    torch.testing.assert_close(found[[1, 3, 4]], torch.tensor([[0.0, 0.5], [0.0, 0.5], [1.0, 0.5]]))
    assert true.shape == (6, 2) and torch.equal(true[0], true[1]) and not torch.equal(true[0], true[2])


def test_judges_share_the_base_where_they_can(checkpoint: Path, tmp_path: Path) -> None:
    network, judges = load_judged(checkpoint, [checkpoint, checkpoint], device=torch.device("cpu"))
    assert list(judges) == ["localizer", "localizer2"]
    assert judges["localizer"].network is network and judges["localizer2"].network is not network
    other = tiny_network()
    with torch.no_grad():
        other.text_to_vision[0].weight += 1
    save_checkpoint(other, tmp_path / "other")
    network, judges = load_judged(checkpoint, [tmp_path / "other"], device=torch.device("cpu"))
    assert judges["localizer"].network is not network and network.localizer is None
    assert isinstance(judges["localizer"], PointLocalizer)


@pytest.mark.parametrize("role", ["descriptor", "localizer"])
def test_a_missing_role_is_told(checkpoint: Path, tmp_path: Path, role: str) -> None:
    save_checkpoint(tiny_network(roles=tuple({"descriptor", "localizer"} - {role})), tmp_path / "half")
    folders = {"descriptor": checkpoint, "localizer": checkpoint, role: tmp_path / "half"}
    with pytest.raises(ValueError, match=f"half has no {role}; give a checkpoint"):
        load_judged(folders["descriptor"], [folders["localizer"]], device=torch.device("cpu"))
