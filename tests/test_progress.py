"""Long work tells where it is: at once, while it goes on, and when it is stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from talking_points import progress
from talking_points.dataset.scene import Scene
from talking_points.evaluation.answers import KeptAnswers
from talking_points.evaluation.sets import make_set
from talking_points.pointing.checking import check_model
from talking_points.pointing.files import run_bulk
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.progress import Progress
from talking_points.training.calibration import calibrate
from tests.tiny import tiny_network


class Told(list[tuple[str, int, int]]):
    """An `OnProgress` that keeps what it is told."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.append((stage, done, total))

    def check(self, *stages: str) -> None:
        """Each stage begins with nothing done, before its first answer, and ends with all."""
        for stage in stages:
            counts = [(done, total) for name, done, total in self if name == stage]
            assert counts[0][0] == 0 and counts[-1][0] == counts[-1][1] > 0, (stage, counts)
            assert counts == sorted(counts)


@pytest.fixture(scope="module")
def tp() -> TalkingPoints:
    return TalkingPoints.over(tiny_network())


def test_what_takes_long_to_begin_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.05)
    lines: list[str] = []
    with Progress(lines.append, "loading it") as shown:
        time.sleep(0.3)
        assert lines == ["loading it"]
        shown.show("photos", 0, 3)
    # What begins or fails at once does not.
    with Progress(lines.append, "loading it") as shown:
        shown.show("photos", 0, 3)
        time.sleep(0.3)
    with pytest.raises(ValueError, match="bad"), Progress(lines.append, "loading it"):
        raise ValueError("bad")
    time.sleep(0.3)
    assert lines == ["loading it", "photos: 0 of 3", "photos: 0 of 3"]


def test_the_time_left_is_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    lines: list[str] = []
    with Progress(lines.append) as shown:
        for seconds, done in ((0, 40), (5, 45), (20, 60)):
            clock[0] = 100.0 + seconds
            shown.show("photos", done, 100)
    assert lines == ["photos: 40 of 100", "photos: 60 of 100, 1.0/s, 40 s left"]


def test_files_of_lines(tp: TalkingPoints, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    source, counts = tmp_path / "points.jsonl", []
    source.write_text('{"photo": "a.png", "x": 3, "y": 4}\n' * 3)

    def loaded() -> TalkingPoints:
        assert counts == []
        return tp

    run_bulk("describe", loaded, source, tmp_path / "out.jsonl", model="tiny", on_progress=counts.append)
    assert counts[0] == 0 and counts[-1] == 3


def test_checking_a_model(tp: TalkingPoints) -> None:
    told = Told()
    check_model(tp, on_progress=told)
    told.check("points found", "absent things", "points described")


def test_calibrating(tp: TalkingPoints, pool: list[Scene]) -> None:
    told = Told()
    calibrate(PointLocalizer(tp.localizer.network), make_set("plain", pool, points=1, seed=0), told)  # type: ignore[attr-defined]
    told.check("photos")


def test_evaluating_goes_on_where_it_was(tp: TalkingPoints, pool: list[Scene], tmp_path: Path) -> None:
    samples = make_set("plain", pool, points=1, seed=0)
    for again in (False, True):
        told = Told()
        with KeptAnswers(tmp_path, {}, told) as answers:
            answers.texts("descriptor", tp, samples)
        if again:
            # What is known is not asked again, and counts from the beginning.
            assert told == [("descriptor", len(samples), len(samples))]
        else:
            told.check("descriptor")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("command", ["build-dataset", "describe", "evaluate"])
def test_sigterm_in_the_midst_is_clean(
    command: str, tmp_path: Path, label_map_writer: Callable[[Path, list[str], list[str]], None]
) -> None:
    photos = [f"{number:02d}" for number in range(30)]
    label_map_writer(tmp_path / "people", photos, [])
    points = [{"photo": f"people/photos/{one}.jpg", "x": 9, "y": 9, "text": "the shoe"} for one in photos]
    (tmp_path / "points.jsonl").write_text("".join(json.dumps(one) + "\n" for one in points))
    arguments = {
        "build-dataset": ["--source", "label-map=people", "--out", "set"],
        "describe": ["--input", "points.jsonl", "--out", "described.jsonl"],
        "evaluate": ["--data", "points.jsonl", "--out", "scores"],
    }
    program = [sys.executable, "-m", "talking_points", command, *arguments[command]]
    process = subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert re.search(r": 0 of \d+$|^loading|^reading", first), first
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait() == 143 and "Traceback" not in rest and "error" not in rest
    if command == "build-dataset":
        assert subprocess.run(program, cwd=tmp_path, capture_output=True).returncode == 0
