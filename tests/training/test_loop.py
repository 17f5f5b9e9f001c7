from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from talking_points.training.loop import STATE_FILE, LoopConfig, train


class Batches(Dataset[Tensor]):
    """Step -> batch, as the real ones: a function of the step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __str__(self) -> str:
        return "random numbers"

    def __getitem__(self, step: int) -> Tensor:
        return torch.randn(4, 3, generator=torch.Generator().manual_seed(step))


def run(folder: Path, steps: int, *, die_at: int | None = None, workers: int = 0) -> tuple[nn.Module, bool]:
    """Train a layer with dropout, so that the random state matters too."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    seen = 0

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        nonlocal seen
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        loss = (model(batch) - 1).square().mean()
        return loss, {"loss": loss.item()}

    config = LoopConfig(steps=steps, learning_rate=0.05, warmup_steps=2, save_every=3, log_every=1, workers=workers)
    finished = train({"model": model}, dict(model.named_parameters()), Batches(steps), objective, config, folder)
    return model, finished


def losses(folder: Path) -> dict[int, float]:
    """Loss of every step; the last one written where a step was done twice."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {(m := json.loads(line))["step"]: m["loss"] for line in lines}


@pytest.mark.parametrize("die_at", [1, 4, 8])
def test_killed_and_started_again_is_as_if_never_killed(tmp_path: Path, die_at: int) -> None:
    whole, _ = run(tmp_path / "whole", 10)
    code = (
        "from pathlib import Path; from tests.training.test_loop import run; "
        f"run(Path({str(tmp_path / 'cut')!r}), 10, die_at={die_at})"
    )
    root = Path(__file__).resolve().parents[2]
    killed = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed, finished = run(tmp_path / "cut", 10)
    assert finished
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_sigterm_saves_and_stops(tmp_path: Path) -> None:
    calls = 0

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        nonlocal calls
        calls += 1
        if calls == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = layer(batch).square().mean()
        return loss, {"loss": loss.item()}

    layer = nn.Linear(3, 1)
    config = LoopConfig(steps=10, learning_rate=0.01, save_every=100, workers=0)
    parameters = dict(layer.named_parameters())
    assert not train({"layer": layer}, parameters, Batches(10), objective, config, tmp_path)
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["step"] == 4
    assert train({"layer": layer}, parameters, Batches(10), objective, config, tmp_path)
    assert calls == 10


def test_a_loss_that_is_not_finite_names_the_records(tmp_path: Path) -> None:
    layer = nn.Linear(3, 1)

    class Named(Batches):
        def __getitem__(self, step: int):  # type: ignore[no-untyped-def]
            from types import SimpleNamespace

            return SimpleNamespace(x=super().__getitem__(step), record_ids=[f"photo{step}"])

    def objective(batch) -> tuple[Tensor, dict[str, float]]:  # type: ignore[no-untyped-def]
        return layer(batch.x).sum() * (float("nan") if batch.record_ids == ["photo2"] else 1.0), {}

    config = LoopConfig(steps=5, learning_rate=0.01, workers=0)
    with pytest.raises(FloatingPointError, match=r"step 2: loss is nan; records \['photo2'\]"):
        train({"layer": layer}, dict(layer.named_parameters()), Named(5), objective, config, tmp_path)


def test_a_state_of_another_training_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 3)
    other = nn.Linear(3, 1)
    config = LoopConfig(steps=5, learning_rate=0.01, workers=0)
    with pytest.raises(ValueError, match="is of another training: parameter"):
        train(
            {"m": other}, dict(other.named_parameters()), Batches(5), lambda b: (other(b).sum(), {}), config, tmp_path
        )


def test_other_batches_are_refused(tmp_path: Path) -> None:
    run(tmp_path, 3)

    class Others(Batches):
        def __str__(self) -> str:
            return "other numbers"

    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    config = LoopConfig(steps=5, learning_rate=0.01, workers=0)
    with pytest.raises(ValueError, match="was trained on random numbers, not on other numbers"):
        train({"m": model}, dict(model.named_parameters()), Others(5), lambda b: (model(b).sum(), {}), config, tmp_path)


def test_rate_warms_up_and_decays() -> None:
    config = LoopConfig(steps=110, learning_rate=1.0, warmup_steps=10)
    assert config.rate_at(0) == pytest.approx(0.1)
    assert config.rate_at(9) == pytest.approx(1.0)
    assert config.rate_at(60) == pytest.approx(0.51)  # half way down a cosine from 1 to 0.02
    assert config.rate_at(110) == pytest.approx(0.02)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"learning_rate": float("nan")}, {"learning_rate": -1.0}])
def test_a_bad_config_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        LoopConfig(**{"steps": 5, "learning_rate": 0.1, **changes})  # type: ignore[arg-type]
