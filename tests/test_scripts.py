"""Every script that is a command says how it is used, and does nothing, when it is asked for `--help`."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [
    *sorted((ROOT / "examples").glob("*.py")),
    *(path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "\nif __name__" in path.read_text("utf-8")),
]
TENSORS = {"grpo", "heads", "heads_qwen", "import_memory", "probes", "prompt_stages", "throughput", "training"}
"""Benchmarks that are about tensors throughout import torch at their head, as the package does."""
pytestmark = pytest.mark.skipif(not SCRIPTS, reason="examples/ and benchmarks/ are not beside the tests")


def names(paths: list[Path]) -> list[str]:
    return [f"{path.parent.name}/{path.name}" for path in paths]


@pytest.fixture
def beside_itself(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A script finds the modules of its folder, and they are gone afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


@pytest.mark.usefixtures("beside_itself")
@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_help(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    out, err = capsys.readouterr()
    assert left.value.code == 0 and out.startswith(f"usage: {script.name} ") and not err
    assert not [*tmp_path.iterdir()]


def test_help_does_not_wait_for_torch(tmp_path: Path) -> None:
    """All in one process, which tells after each whether it is there."""
    light = [str(path) for path in SCRIPTS if path.stem not in TENSORS]
    code = (
        "import contextlib, io, runpy, sys\n"
        "for script in sys.argv[1:]:\n"
        "    sys.argv, sys.path[0] = [script, '--help'], script.rpartition('/')[0]\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        runpy.run_path(script, run_name='__main__')\n"
        "    assert 'torch' not in sys.modules, script\n"
    )
    command = [sys.executable, "-c", code, *light]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
