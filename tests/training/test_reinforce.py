from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from talking_points.evaluation.samples import Sample
from talking_points.model import generation
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.generation import Sampling
from talking_points.model.weights import read_tensors
from talking_points.pointing import descriptor as descriptor_module
from talking_points.pointing.prepared import PreparedPhoto
from talking_points.training import policy as policy_module
from talking_points.training import watching
from talking_points.training.batches import PointBatches
from talking_points.training.policy import Policy
from talking_points.training.reinforce import CachedBase, grpo_objective, load_judged, train_grpo
from talking_points.training.settings import GRPOSettings
from talking_points.training.watching import Watch, stop_reason
from tests.processes import exit_code_of, launch
from tests.tiny import tiny_network


def told(**changes: Any) -> GRPOSettings:
    """Two photos of two points a step, of random weights."""
    usual: dict[str, Any] = {"keypoints": Path("unused"), "descriptor": "mini", "localizer": "mini", "device": "cpu"}
    usual |= {"out": Path("unused"), "steps": 6, "photos": 2, "points": 2, "blocks": 1, "max_kl": 100.0, "workers": 0}
    return GRPOSettings(**{**usual, **changes})


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


def run(checkpoint: Path, out: Path, *, die_at: int | None = None, lenient: bool = True, **changes: Any) -> bool:
    """Six steps, an evaluation every two, a save every two; optionally killed in the middle of a step."""
    descriptor_module.MAX_NEW_TOKENS = policy_module.MAX_NEW_TOKENS = 8
    if lenient:  # random weights end no text
        watching.MAX_BROKEN, watching.MIN_DISTINCT = 1.0, 0.0
    seen = 0
    whole = Policy.logprobs

    def logprobs(self: Policy, rollout: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, rollout)

    Policy.logprobs = logprobs  # type: ignore[method-assign]
    models = dict.fromkeys(("descriptor", "localizer"), str(checkpoint))
    paced = {"learning_rate": 0.01, "warmup_steps": 1, "save_every": 2, "log_every": 1, "evaluate_every": 2}
    settings = told(**models, **paced, out=out, unseen_localizers=(str(checkpoint),), **changes)
    try:
        return train_grpo(settings, (samples(3), samples(2, first=9)))
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
    with pytest.MonkeyPatch.context() as patched:
        keep(patched)
        assert run(checkpoint, out)
    return out


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch)


def keep(patched: pytest.MonkeyPatch) -> None:
    """Of what `run` sets for itself, also in a process of its own, what goes back."""
    for module in (descriptor_module, policy_module):
        patched.setattr(module, "MAX_NEW_TOKENS", module.MAX_NEW_TOKENS)
    for name in ("MAX_BROKEN", "MIN_DISTINCT"):
        patched.setattr(watching, name, getattr(watching, name))


def lines(out: Path) -> dict[int, dict[str, float]]:
    """Metrics of every step; the last one written where a step was done twice."""
    return {(m := json.loads(one))["step"]: m for one in (out / "training" / "metrics.jsonl").read_text().splitlines()}


def test_killed_and_started_again_is_as_if_never_killed(checkpoint: Path, whole: Path, tmp_path: Path) -> None:
    """Losses, everything logged, evaluations and weights, bit for bit."""
    assert exit_code_of(partial(run, die_at=4), checkpoint, tmp_path) == -signal.SIGKILL
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
    assert run(checkpoint, tmp_path, max_kl=1e-7)
    said = json.loads((tmp_path / "stopped.json").read_text())
    # In the first step the policy is the reference.
    assert said["checkpoint_after_steps"] == 0 and "step 2: KL is" in said["reason"]
    before, after = load_checkpoint(checkpoint), load_checkpoint(tmp_path / "checkpoint")
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())


def test_texts_that_end_nowhere_stop_it(checkpoint: Path, tmp_path: Path) -> None:
    assert run(checkpoint, tmp_path, lenient=False)
    reason = json.loads((tmp_path / "stopped.json").read_text())["reason"]
    assert "of the texts are empty or cut off, more than 50%" in reason


def test_stop_rules_by_hand() -> None:
    settings = told(max_kl=0.3)
    at_the_limits = {"kl": 0.3, "broken": 0.5, "own_text": 0.2}
    assert stop_reason(settings, at_the_limits) is None
    assert stop_reason(settings, at_the_limits | {"kl": 0.31}) == "KL is 0.310 nats a token, above 0.3"
    assert "51% of the texts are empty or cut off" in str(stop_reason(settings, at_the_limits | {"broken": 0.51}))
    assert "only 19% of the points have a text" in str(stop_reason(settings, at_the_limits | {"own_text": 0.19}))
    # The first reason of several is said.
    assert str(stop_reason(settings, {"kl": 0.31, "broken": 0.6, "own_text": 0.1})).startswith("KL")


def test_rewards_without_spread_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(Any, {}, [], told(evaluate_every=1000, temperature=0.25), steps=100)
    good = {"kl": 0.0, "broken": 0.0, "own_text": 1.0}
    shares = [1.0, 1.0, 1.0, 1.0, 0.5, *[0.95] * 7]
    for done, share in enumerate(shares, start=1):
        assert not watch(done, {**good, "flat_groups": share})
    [said] = caplog.messages
    assert said.startswith("step 10: for 5 steps") and "--temperature (it is 0.25)" in said


def test_other_settings_do_not_resume(checkpoint: Path, whole: Path) -> None:
    with pytest.raises(ValueError, match="group_size 3.* not on .*group_size 4.*use another --out"):
        run(checkpoint, whole, group_size=4)


class EarlyLetters(CachedBase):
    """A judge that looks the farther to the right, the more of a text's letters are late in the alphabet."""

    def find(self, photos: Sequence[PreparedPhoto], asked: Sequence[tuple[int, str]]) -> torch.Tensor:
        assert len(set(asked)) == len(asked)  # equal texts of a photo are asked once

        def place(text: str) -> float:
            letters = [c for c in text.lower() if c.isalpha()]
            return float(np.mean([c > "m" for c in letters])) if letters else 0.5

        return torch.tensor([(place(text), 0.5) for _, text in asked])


def test_what_is_rewarded_becomes_more_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_module, "MAX_NEW_TOKENS", 8)
    network = tiny_network()
    policy = Policy(network, blocks=2)
    at_left = [replace(sample, point_px=(0.0, 20.0)) for sample in samples(2)]
    # So many steps because another CPU's rounding draws other texts, as another seed does.
    settings = told(photos=3, steps=60, group_size=16, reward="distance", kl_weight=0.01, blocks=2)
    batches = PointBatches(at_left, settings, side=64)
    optimizer = torch.optim.Adam(policy.parameters.values(), lr=0.03)
    rewards = []
    for step in range(len(batches)):
        loss, metrics = grpo_objective(policy, batches[step], CachedBase(network), EarlyLetters(network), settings)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rewards.append(metrics["reward"])
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.05


def test_unreadable_texts_are_found_nowhere() -> None:
    judge = CachedBase(tiny_network())
    photos = PointBatches(samples(2), told(), side=64)[0].photos
    texts = ["", "abc", "the [SEG] shoe", "xyz", "x " * 600]
    found = judge.find(photos, [(n % 2, text) for n, text in enumerate(texts)])
    assert torch.isnan(found).all(-1).tolist() == [True, False, True, False, True]
    assert ((found[[1, 3]] >= 0) & (found[[1, 3]] <= 1)).all()
    # Whatever else is asked, a text is found at the same place, to the bit.
    assert torch.equal(judge.find(photos, [(1, "abc")])[0], judge.find(photos, [(1, "abc")])[0])


def test_the_judge_shares_the_base_where_it_can(checkpoint: Path, tmp_path: Path) -> None:
    network, judge = load_judged(checkpoint, checkpoint)
    assert judge is network and network.roles == ("descriptor", "localizer")
    other = tiny_network()
    with torch.no_grad():
        other.text_to_vision[0].weight += 1
    save_checkpoint(other, tmp_path / "other")
    network, judge = load_judged(checkpoint, tmp_path / "other")
    assert judge is not network and (network.roles, judge.roles) == (("descriptor",), ("localizer",))


@pytest.mark.parametrize("role", ["descriptor", "localizer"])
def test_a_missing_role_is_told(checkpoint: Path, tmp_path: Path, role: str) -> None:
    save_checkpoint(tiny_network(roles=tuple({"descriptor", "localizer"} - {role})), tmp_path / "half")
    folders = {"descriptor": checkpoint, "localizer": checkpoint, role: tmp_path / "half"}
    with pytest.raises(ValueError, match=f"half has no {role}; train one, load another.*train join --descriptor"):
        load_judged(folders["descriptor"], folders["localizer"])


def as_one_or_many(checkpoint: Path, out: Path) -> None:
    """Samples chosen so that they do not depend on which texts are drawn together."""

    def choose(logits_PV: torch.Tensor, sampling: Sampling, generator: Any) -> torch.Tensor:
        if sampling.temperature == 0:
            return logits_PV.argmax(-1)
        noise_GV = torch.randn(sampling.samples, logits_PV.shape[-1], generator=torch.Generator().manual_seed(1))
        of_sample = torch.arange(len(logits_PV)) % sampling.samples
        return (logits_PV + 10 * noise_GV[of_sample]).argmax(-1)

    generation._choose = choose
    generation.COMPACT_BELOW = 0.0
    run(checkpoint, out)


def test_two_processes_reinforce_as_one_does(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_choose", "COMPACT_BELOW"):
        monkeypatch.setattr(generation, name, getattr(generation, name))
    as_one_or_many(checkpoint, tmp_path / "one")
    launch(2, as_one_or_many, checkpoint, tmp_path / "two")
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert len(two) == 6 and any(metrics["reward_std"] > 0.001 for metrics in one.values())
    for step, metrics in one.items():
        for name in ("loss", "policy", "kl", "reward", "grad_norm", "held_out_localizer"):
            assert two[step][name] == pytest.approx(metrics[name], abs=1e-4), (step, name)
    mine, theirs = (
        read_tensors(tmp_path / out / "checkpoint" / "descriptor" / "adapter_model.safetensors")
        for out in ("one", "two")
    )
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-4) for name in theirs)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16", "recompute": True},
        {"precision": "bf16", "quantize": "int8"},
    ],
    ids=str,
)
def test_in_bf16_and_on_a_quantized_base(
    checkpoint: Path, whole: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    if "quantize" in changes:  # nf4 wants wider layers: tests/test_grpo_cli.py
        pytest.importorskip("bitsandbytes", reason="quantizes")
    assert run(checkpoint, tmp_path, **changes)
    # In the first step policy and reference are the same; later they are not.
    logged = lines(tmp_path)
    assert logged[1]["kl"] == 0 and logged[6]["kl"] > 0
    assert all(math.isfinite(value) for metrics in logged.values() for value in metrics.values())
    before, after = load_checkpoint(checkpoint), load_checkpoint(tmp_path / "checkpoint")
    moved = set()
    for name, tensor in after.state_dict().items():
        was = before.state_dict()[name]
        if ".layers.1." in name and ".lora_" in name and ".descriptor." in name:
            moved |= {name} if not torch.equal(tensor, was) else set()
        else:  # the base on disk, rounded
            assert torch.equal(tensor, was.bfloat16().float()) or torch.equal(tensor, was), name
    assert moved
    # What learns is kept in fp32: a step of 5e-6 is lost in bf16.
    [weights] = {
        tensor.dtype
        for name, tensor in read_tensors(tmp_path / "checkpoint/descriptor/adapter_model.safetensors").items()
        if ".layers.1." in name
    }
    assert weights == torch.float32


def test_recomputed_gradients_are_those_that_were_kept(checkpoint: Path, whole: Path, tmp_path: Path) -> None:
    assert run(checkpoint, tmp_path, recompute=True)
    for step, metrics in lines(whole).items():
        assert lines(tmp_path)[step] == pytest.approx(metrics, abs=1e-5)


def test_groups_without_spread_are_told_while_it_happens(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Texts of a point that are all the same: as good as no temperature."""
    monkeypatch.setattr(generation, "_choose", lambda logits_PV, sampling, generator: logits_PV.argmax(-1))
    assert run(checkpoint, tmp_path)
    told_of = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(one.startswith("step 5: for 5 steps the texts of nearly every point earned the same") for one in told_of)
    assert any("step 5: all gradients have been zero for 5 steps" in one for one in told_of)
    assert any("the descriptor is as it was" in one for one in told_of)
    assert {metrics["flat_groups"] for metrics in lines(tmp_path).values()} == {1.0}


@pytest.mark.parametrize("apart", [False, True], ids=["one folder", "two folders"])
def test_the_command_loads_a_common_base_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """`train grpo` with the 7B's recipe; roles that were trained apart over one base stand on it together."""
    from talking_points.cli import main
    from talking_points.model import hugging_face

    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(4):
        Image.fromarray(np.random.default_rng(n).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(
            photos / f"{n}.png"
        )
    points = photos / "points.jsonl"
    points.write_text("".join(json.dumps({"photo": f"{n}.png", "x": 20.5, "y": 9.5}) + "\n" for n in range(4)))
    folders = {"descriptor": checkpoint, "localizer": checkpoint}
    if apart:
        for role in folders:
            folders[role] = tmp_path / role
            save_checkpoint(load_checkpoint(checkpoint, roles=(role,)), folders[role])
    read: list[tuple[Path, torch.dtype]] = []
    whole = hugging_face.load_language_model

    def load_language_model(folder: Path, dtype: torch.dtype, *others: Any) -> Any:
        read.append((folder, dtype))
        return whole(folder, dtype, *others)

    monkeypatch.setattr(hugging_face, "load_language_model", load_language_model)
    descriptor_module.MAX_NEW_TOKENS = policy_module.MAX_NEW_TOKENS = 8
    watching.MAX_BROKEN, watching.MIN_DISTINCT = 1.0, 0.0
    models = [f"--{role}={folder}" for role, folder in folders.items()]
    few = ("--steps", "1", "--photos", "1", "--points", "1", "--blocks", "1", "--held-out-points", "1")
    out = ("--out", str(tmp_path / "out"), "--device", "cpu", "--workers", "0")
    with pytest.raises(SystemExit) as exit_:
        main(["train", "grpo", "--recipe", "7b", "--keypoints", str(points), *models, *few, *out])
    assert exit_.value.code in (0, None)
    assert read == [(folders["descriptor"] / "language_model", torch.bfloat16)]
    assert load_checkpoint(tmp_path / "out" / "checkpoint").roles == ("descriptor", "localizer")
