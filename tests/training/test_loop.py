from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from talking_points.training.batches import Batches
from talking_points.training.loop import train
from talking_points.training.settings import TrainingSettings
from tests.processes import exit_code_of, launch, start


def told(**changes: Any) -> TrainingSettings:
    """What a loop is told; the steps are the batches'."""
    return TrainingSettings(**{"out": Path("unused"), "steps": 1, "workers": 0, **changes})


class Numbers(Batches[Tensor]):
    """Step -> batch, as the real ones: a function of the step."""

    most_parts = 4

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __str__(self) -> str:
        return "random numbers"

    def part(self, step: int, index: int, of: int) -> Tensor:
        return torch.randn(4, 3, generator=torch.Generator().manual_seed(step))[index::of]


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

    settings = told(learning_rate=0.05, warmup_steps=2, save_every=3, log_every=1, workers=workers)
    finished = train({"model": model}, dict(model.named_parameters()), Numbers(steps), objective, settings, folder)
    return model, finished


def losses(folder: Path) -> dict[int, float]:
    """Loss of every step; the last one written where a step was done twice."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {(m := json.loads(line))["step"]: m["loss"] for line in lines}


@pytest.mark.parametrize("die_at", [1, 4, 8])
def test_killed_and_started_again_is_as_if_never_killed(tmp_path: Path, die_at: int) -> None:
    whole, _ = run(tmp_path / "whole", 10)
    assert exit_code_of(partial(run, die_at=die_at), tmp_path / "cut", 10) == -signal.SIGKILL
    resumed, finished = run(tmp_path / "cut", 10)
    assert finished
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_sigterm_saves_and_stops(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls, told_at_once = 0, []

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        nonlocal calls
        calls += 1
        if calls == 4:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
            told_at_once.append(capfd.readouterr().err)
        loss = layer(batch).square().mean()
        return loss, {"loss": loss.item()}

    layer = nn.Linear(3, 1)
    settings, parameters = told(save_every=100), dict(layer.named_parameters())
    assert not train({"layer": layer}, parameters, Numbers(10), objective, settings, tmp_path)
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-00000004.pt"]
    assert train({"layer": layer}, parameters, Numbers(10), objective, settings, tmp_path)
    assert calls == 10
    # Before the step ended, and once, however often it came.
    assert told_at_once == ["SIGTERM: stopping after this step, whose state is then kept\n"]


class Read(Numbers):
    """As read by processes, which leave their numbers in a folder."""

    def __init__(self, steps: int, folder: Path) -> None:
        super().__init__(steps)
        self.folder = folder

    def part(self, step: int, index: int, of: int) -> Tensor:
        (self.folder / f"reads-{os.getpid()}").touch()
        return super().part(step, index, of)


def train_slowly(folder: Path, steps: int) -> None:
    """A training with two processes that read, which says when it has begun and how it ended."""
    layer = nn.Linear(3, 1)

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        (folder / "began").touch()
        time.sleep(0.02)
        return layer(batch).square().mean(), {}

    # Who runs the tests in the background has it ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = told(workers=2, save_every=10**6)
    batches = Read(steps, folder)
    (folder / str(train({"m": layer}, dict(layer.named_parameters()), batches, objective, settings, folder))).touch()


def is_running(pid: int) -> bool:
    """A zombie, whose parent is gone and which nobody asks how it ended, is not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


@pytest.mark.skipif(os.name != "posix" or shutil.which("ps") is None, reason="sends signals and looks for processes")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_that_read_end_with_the_training_alone(sent: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, `timeout` and schedulers signal them, too: to the main process that was a reader's death, an error."""
    process = start(train_slowly, tmp_path, 10**6, stderr=tmp_path / "stderr.txt")
    assert process.pid is not None
    try:
        wait_until(lambda: (tmp_path / "began").exists() and len(list(tmp_path.glob("reads-*"))) == 2)
        if sent == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, sent)
        process.join(60)
        error = (tmp_path / "stderr.txt").read_text()
        readers = [int(path.name.removeprefix("reads-")) for path in tmp_path.glob("reads-*")]
        wait_until(lambda: not any(map(is_running, readers)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.pid not in readers
    assert "DataLoader worker" not in error, error
    states = list(tmp_path.glob("state-*"))
    if sent == signal.SIGTERM:
        assert process.exitcode == 0 and "Traceback" not in error and (tmp_path / "False").exists()
        [state] = states
        train_slowly(tmp_path, int(state.stem.removeprefix("state-")) + 3)
        assert (tmp_path / "True").exists()
    else:
        # multiprocessing tells of Ctrl-C, and ends with 1.
        assert process.exitcode == (1 if sent == signal.SIGINT else -sent) and not states
        assert sent == signal.SIGKILL or error.count("Traceback") == error.count("KeyboardInterrupt") == 1, error


def wait_until(what: Callable[[], bool]) -> None:
    """Or fail after a minute."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_whoever_is_told_of_steps_may_end_them(tmp_path: Path) -> None:
    layer, heard = nn.Linear(3, 1), []

    def on_step(done: int, metrics: dict[str, float]) -> bool:
        heard.append((done, sorted(metrics)))
        return done == 3

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        return layer(batch).square().mean(), {"more": 1.0}

    parameters = dict(layer.named_parameters())
    assert not train({"m": layer}, parameters, Numbers(5), objective, told(), tmp_path, on_step=on_step)
    assert heard == [(0, []), *((done, ["loss", "more"]) for done in (1, 2, 3))]
    assert not list(tmp_path.glob("state-*"))


def test_a_loss_that_is_not_finite_names_the_records(tmp_path: Path) -> None:
    layer = nn.Linear(3, 1)

    class Named(Numbers):
        def part(self, step: int, index: int, of: int) -> Any:
            return SimpleNamespace(x=super().part(step, index, of), record_ids=[f"photo{step}"])

    def objective(batch) -> tuple[Tensor, dict[str, float]]:  # type: ignore[no-untyped-def]
        return layer(batch.x).sum() * (float("nan") if batch.record_ids == ["photo2"] else 1.0), {}

    with pytest.raises(FloatingPointError, match=r"step 2: loss is nan; records \['photo2'\]"):
        train({"layer": layer}, dict(layer.named_parameters()), Named(5), objective, told(), tmp_path)


def test_a_state_of_another_training_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 3)
    other = nn.Linear(3, 1)
    with pytest.raises(ValueError, match="is of another training: parameter"):
        train(
            {"m": other}, dict(other.named_parameters()), Numbers(5), lambda b: (other(b).sum(), {}), told(), tmp_path
        )


def test_other_batches_are_refused(tmp_path: Path) -> None:
    run(tmp_path, 3)

    class Others(Numbers):
        def __str__(self) -> str:
            return "other numbers"

    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    with pytest.raises(ValueError, match="was trained on random numbers, not on other numbers"):
        train({"m": model}, dict(model.named_parameters()), Others(5), lambda b: (model(b).sum(), {}), told(), tmp_path)


class Marked(Numbers):
    """Of data that are known by a mark."""

    mark = "a"

    @property
    def fingerprint(self) -> str:
        return self.mark


def run_marked(folder: Path, steps: int, mark: str = "a", **settings: Any) -> bool:
    model, batches = nn.Linear(3, 1), Marked(steps)
    batches.mark = mark
    loss = lambda batch: (model(batch).square().mean(), {})  # noqa: E731
    return train({"m": model}, dict(model.named_parameters()), batches, loss, told(**settings), folder)


def test_other_data_of_the_same_size_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_marked(tmp_path, 3)
    with pytest.raises(ValueError, match="trained on other photos, points or texts than these random numbers; use ano"):
        run_marked(tmp_path, 5, "b")
    # A state that knows nothing of its data is gone on with, and that is said.
    [path] = tmp_path.glob("state-*")
    state = torch.load(path, weights_only=True)
    assert state.pop("fingerprint") == "a" and state.pop("settings")["learning_rate"] == 2e-4
    torch.save(state, path)
    assert run_marked(tmp_path, 5, "b", learning_rate=1e-3)
    [said] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said.endswith("is of an earlier version: whether data and settings are as they were is not known")


def test_fewer_steps_than_are_done_are_refused(tmp_path: Path) -> None:
    run_marked(tmp_path, 4)
    with pytest.raises(ValueError, match="0004.pt is of 4 steps, and this training has 1; give as many --steps"):
        run_marked(tmp_path, 1)
    assert run_marked(tmp_path, 4) and run_marked(tmp_path, 5)


def test_settings_that_changed_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_marked(tmp_path, 2, learning_rate=0.001)
    run_marked(tmp_path, 4, learning_rate=0.001)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    run_marked(tmp_path, 6, learning_rate=0.5, schedule="constant", workers=1)
    [said] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == (
        "learning_rate was 0.001 up to here, and is 0.5 from here on; "
        "schedule was cosine up to here, and is constant from here on"
    )


def test_the_state_is_one_file_and_a_broken_one_is_named(tmp_path: Path) -> None:
    run(tmp_path, 6)
    content = (tmp_path / "state-00000006.pt").read_bytes()
    (tmp_path / "state.part").write_bytes(b"cut off by a kill")
    run(tmp_path, 9)  # saves after steps 3, 6 and 9
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-00000009.pt"]
    last = tmp_path / "state-00000009.pt"
    whole = last.read_bytes()
    weights = torch.load(last, weights_only=True)["parameters"]["0.weight"].numpy().tobytes()
    place = whole.index(weights)
    last.write_bytes(whole[:place] + bytes([weights[0] ^ 1]) + whole[place + 1 :])
    # Killed between writing one and dropping the one before it.
    (tmp_path / "state-00000006.pt").write_bytes(content)
    with pytest.raises(ValueError, match="state-00000009.pt is broken: its bytes are not those .*; delete it to go on"):
        run(tmp_path, 10)
    last.unlink()
    run(tmp_path, 10)
    assert losses(tmp_path).keys() == set(range(1, 11))
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-00000010.pt"]
    last = tmp_path / "state-00000010.pt"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(ValueError, match="state-00000010.pt is broken"):
        run(tmp_path, 12)


def curve(folder: Path, *, accumulate: int = 1) -> dict[int, float]:
    """Ten steps in which rows count differently, as texts of many lengths do."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        counts = batch[:, 0] > -0.5
        loss = ((model(batch) - 1).square().squeeze(1) * counts).sum() / counts.sum().clamp(min=1)
        return loss, {"loss": loss.item(), "weight": float(counts.sum())}

    settings = told(learning_rate=0.05, warmup_steps=2, save_every=4, log_every=1, accumulate=accumulate)
    assert train({"model": model}, dict(model.named_parameters()), Numbers(10), objective, settings, folder)
    return losses(folder)


def train_until_sigterm(folder: Path) -> None:
    """In each of several processes; launchers hand the signal on to all."""
    layer, calls = nn.Linear(3, 1), []

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        calls.append(batch)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return layer(batch).square().mean(), {}

    settings = told(save_every=100)
    assert not train({"m": layer}, dict(layer.named_parameters()), Numbers(10), objective, settings, folder)


def test_of_several_processes_one_tells_of_sigterm(tmp_path: Path) -> None:
    said = launch(2, train_until_sigterm, tmp_path)
    assert [one.count("SIGTERM: stopping after this step") for one in said] == [1, 0]
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-00000003.pt"]


def test_two_processes_and_accumulated_parts_train_as_one_process_does(tmp_path: Path) -> None:
    one = curve(tmp_path / "one")
    assert one[10] < 0.5 * one[1]
    assert curve(tmp_path / "parts", accumulate=4) == pytest.approx(one, abs=1e-6)
    launch(2, curve, tmp_path / "two")
    launch(2, partial(curve, accumulate=2), tmp_path / "both")
    assert losses(tmp_path / "two") == pytest.approx(one, abs=1e-6)
    assert losses(tmp_path / "both") == pytest.approx(one, abs=1e-6)


def sparse_curve(folder: Path) -> dict[int, float]:
    """Five steps in which a part's first number chooses the one layer that it uses; a third layer none uses."""
    torch.manual_seed(5)
    layers = nn.ModuleList(nn.Linear(3, 1) for _ in range(3))

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        return (layers[int(batch[0, 0] > 0)](batch) - 1).square().mean(), {"weight": float(len(batch))}

    settings = told(learning_rate=0.05, log_every=1, accumulate=2 if "WORLD_SIZE" not in os.environ else 1)
    assert train({"layers": layers}, dict(layers.named_parameters()), Numbers(5), objective, settings, folder)
    return losses(folder)


def test_two_processes_need_not_use_the_same_weights(tmp_path: Path) -> None:
    signs = {tuple(bool(Numbers(5).part(step, index, 2)[0, 0] > 0) for index in range(2)) for step in range(5)}
    assert len(signs) > 2  # in some steps both use one layer, in some each another
    one = sparse_curve(tmp_path / "one")
    launch(2, sparse_curve, tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(one, abs=1e-6)


def test_batches_that_come_whole_only_are_not_shared(tmp_path: Path) -> None:
    layer, whole = nn.Linear(3, 1), Numbers(4)
    whole.most_parts = 1
    with pytest.raises(ValueError, match="has 1 parts at most, and 1 processes times 2 accumulated are more"):
        train(
            {"m": layer}, dict(layer.named_parameters()), whole, lambda b: (b.sum(), {}), told(accumulate=2), tmp_path
        )


def test_a_launcher_must_leave_precision_to_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="mixed precision fp16; leave that to --precision"):
        run(tmp_path, 3)


def test_weights_in_shards_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="the launcher asks for FSDP, which is ours to do"):
        run(tmp_path, 3)


def test_a_warm_up_that_is_cut_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layer = nn.Linear(3, 1)

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        return layer(batch).square().mean(), {}

    def warned(out: str, warmup_steps: int) -> list[str]:
        caplog.clear()
        caplog.set_level("INFO")
        settings = told(warmup_steps=warmup_steps, learning_rate=0.0015)
        train({"layer": layer}, dict(layer.named_parameters()), Numbers(6), objective, settings, tmp_path / out)
        return [message for message in caplog.messages if "the learning rate rises" in message]

    [said] = warned("long", 50)
    assert "rises over 1 step, a tenth of them all, and not over 50 (--warmup-steps)" in said
    assert warned("short", 1) == []


def test_gradients_that_are_zero_are_told_while_it_happens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layer = nn.Linear(3, 1)

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        return layer(batch).sum() * 0.0, {}

    train({"layer": layer}, dict(layer.named_parameters()), Numbers(9), objective, told(warmup_steps=0), tmp_path)
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == "step 5: all gradients have been zero for 5 steps: nothing is learnt"
