"""The benchmark of the server says what it is at while it works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmark_modules import load_benchmark, needs_benchmarks

pytestmark = [
    needs_benchmarks,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read as Linux tells it"),
]


def test_it_says_what_it_is_at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serving = load_benchmark(monkeypatch, "serving")
    monkeypatch.setattr(serving, "PHOTOS", 12)
    monkeypatch.setattr("talking_points.progress.LINE_EVERY_S", 0.5)
    serving.main(["--callers", "2", "--seconds", "4", "--fill", "3"])
    out, err = capsys.readouterr()
    first, *lines = err.splitlines()
    assert first.startswith(
        "3 photos fill the server, then one caller for 1 s, 2 at once for 4 s, and SIGTERM: about 1 min"
    )
    assert lines[0].startswith("photos that the server is filled with: 0 of 3")
    seconds = [line for line in lines if line.startswith("seconds of callers, 2 at once: ")]
    assert len(seconds) >= 3 and lines[-1] == "SIGTERM with requests in flight"
    result = json.loads(out)
    assert result["fill_photos"] == 3 and result["sigterm"]["exit_status"] == 0
