from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from talking_points.training.tracking import Tracking


def scalars(folder: Path, name: str) -> dict[int, float]:
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    return {event.step: event.value for event in board.Scalars(name)}


def test_what_was_told_of_steps_that_are_done_again_is_dropped(tmp_path: Path) -> None:
    with Tracking(tmp_path, 0, 8, 16) as tracking:
        for done in (1, 2, 3, 4):
            tracking.step(done, 0.5)
            tracking.log(done, {"loss": float(done)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # killed while it wrote
    with Tracking(tmp_path, 2, 8, 16) as tracking:
        for done in (3, 4, 5):
            tracking.log(done, {"loss": 10.0 * done})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]
    assert scalars(tmp_path, "train/loss") == {1: 1, 2: 2, 3: 30, 4: 40, 5: 50}
    assert min(scalars(tmp_path, "speed/samples_a_second").values()) > 0


def test_a_slow_step_has_a_line_before_it_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with Tracking(tmp_path, 0, 8, 16) as tracking:
        # The first step has a line, so that long ones are seen to go on.
        tracking.step(1, 0.5)
        assert [line.split("  ")[0] for line in caplog.messages] == ["step 1/8"]
        caplog.clear()
        monkeypatch.setattr("talking_points.training.tracking.LINE_EVERY_S", 0.0)
        tracking.step(2, 0.25)
        tracking.step(3, 0.125, is_logged=True)
        tracking.log(3, {"loss": 0.375})
    assert [line.split("  ")[:2] for line in caplog.messages] == [["step 2/8", "loss 0.25"], ["step 3/8", "loss 0.375"]]


def test_what_is_left_is_said_in_minutes_and_not_at_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("talking_points.training.tracking.LINE_EVERY_S", 0.0)
    with Tracking(tmp_path, 0, 10) as tracking:
        # A step took a second, or a minute.
        for done, seconds in ((8, 8), (8, 8 * 60), (9, 9), (10, 10)):
            tracking._begun = time.monotonic() - seconds
            tracking.step(done, 0.5)
    ends = [line.rpartition("samples/s")[2] for line in caplog.messages]
    assert ends == [", under a minute left", ", 2 min left", ", under a minute left", ""]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_by_name_gets_one_run_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, object]]] = []
    run = SimpleNamespace(
        log=lambda metrics, step: calls.append(("log", {**metrics, "step": step})),
        finish=lambda: calls.append(("finish", {})),
    )

    def init(**options: object) -> SimpleNamespace:
        calls.append(("init", options))
        return run

    monkeypatch.setitem(sys.modules, name, SimpleNamespace(init=init))
    for start in (0, 1):
        with Tracking(tmp_path, start, 2, tracker=name, told={"seed": "3"}) as tracking:
            tracking.log(start + 1, {"loss": 0.5})
    assert [kind for kind, _ in calls] == ["init", "log", "finish"] * 2
    assert calls[0] == calls[3] and calls[0][1]["config"] == {"seed": "3"} and calls[0][1]["resume"] == "allow"
    assert calls[1][1]["train/loss"] == 0.5 and calls[1][1]["step"] == 1
