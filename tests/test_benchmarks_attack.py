"""The scripts that attack a server and kill long commands, in short."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import talking_points

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MINI = Path(talking_points.__file__).parent / "pretrained" / "mini" / "config.json"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts can be imported, as they import each other, and are forgotten afterwards."""
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not beside the tests")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").is_file():
            del sys.modules[name]


@pytest.mark.skipif(not MINI.is_file(), reason="the embedded checkpoint pretrained/mini is not here")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, and resets connections")
@pytest.mark.usefixtures("scripts")
def test_a_server_under_attack() -> None:
    checks = importlib.import_module("attack").attack(0, 40, whole=False)
    assert len(checks) >= 11
    assert not [str(check) for check in checks if check.problems]
    [fuzzed] = [check for check in checks if check.name.startswith("random requests")]
    assert sum(fuzzed.outcomes.values()) == 40
    assert {"200", "400", "404", "405"} <= fuzzed.outcomes.keys()


@pytest.mark.usefixtures("scripts")
def test_what_is_wrong_is_noticed() -> None:
    attacked: ModuleType = importlib.import_module("attacked")
    check = attacked.Check("paths")
    check.note(404, good=True)
    assert str(check).startswith("right ")
    check.note(500, good=False, of="/etc/passwd")
    assert str(check).startswith("WRONG ") and "/etc/passwd: 500" in str(check)
    callers, fuzzing = importlib.import_module("callers"), importlib.import_module("fuzzing")
    request = fuzzing.Request(path="/v1/describe")
    json, stream = {"content-type": "application/json"}, {"content-type": "text/event-stream; charset=utf-8"}
    for status, headers, body in (
        (500, json, b'{"error": {"message": "it failed"}}'),
        (400, json, b'{"detail": "no"}'),
        (400, json, b'{"error": {"message": "two\\nlines"}}'),
        (200, stream, b"data: {}\n\n"),
    ):
        assert callers.wrong_with(request, status, headers, body)
    for status, headers, body in (
        (400, json, b'{"error": {"message": "no photo"}}'),
        (200, stream, b"data: [DONE]\n\n"),
    ):
        assert not callers.wrong_with(request, status, headers, body)


@pytest.mark.usefixtures("scripts")
def test_a_random_request_is_its_seeds_and_its_numbers() -> None:
    draw = importlib.import_module("fuzzing").draw
    many = [draw(3, number) for number in range(60)]
    assert many[::-1] == [draw(3, number) for number in reversed(range(60))]
    assert many != [draw(4, number) for number in range(60)]
    assert len({one.path for one in many}) >= 10
    assert any(b'"stream": true' in one.body for one in many)


@pytest.mark.usefixtures("scripts")
def test_an_end_that_differs_is_noticed(tmp_path: Path) -> None:
    kills = importlib.import_module("kills")
    job = kills.Job("any", lambda out: [])
    for name, content in (("whole", "1 at OUT"), ("same", "1 at OUT"), ("other", "2 at OUT")):
        (tmp_path / name / "checkpoint").mkdir(parents=True)
        (tmp_path / name / "checkpoint" / "a.json").write_text(content.replace("OUT", str(tmp_path / name)))
        (tmp_path / name / "ledger.sqlite").write_text(name)
    job.expected = kills.files_of(tmp_path / "whole")
    assert kills.differences(job, tmp_path / "same", 0, "") == []
    assert "checkpoint/a.json" in kills.differences(job, tmp_path / "other", 0, "")[0]
    assert kills.differences(job, tmp_path / "same", 2, "error: no")[0].endswith("error: no")
