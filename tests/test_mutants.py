"""The mutants are made as they should be, and those of a small package die or survive as they must."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks/ is not beside the tests"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked as on Linux"),
]


@pytest.fixture
def mutations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mutations  # type: ignore[import-not-found]

    return mutations


def made(mutations: ModuleType, source: str, **options: Any) -> list[str]:
    """Where each mutant puts what, in order."""
    return [mutant.after for mutant in mutations.mutants_of(source, **options)]


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a < b", ["a <= b"]),
        ("a < b <= c", ["a <= b <= c", "a < b < c"]),
        ("a == b and c", ["a == b or c", "a != b and c"]),
        ("not a", ["a"]),
        ("-a", ["a"]),
        ("a + b * c", ["a - b * c", "a + (b / c)"]),
        ("a // b", ["a * b"]),
        ("a += b", ["a -= b"]),
        ("f(0)", ["f(1)"]),
        ("f(7, 0.5, True)", ["f(8, 0.5, True)", "f(7, 0.55, True)", "f(7, 0.5, False)"]),
        ("a[0]", ["a[1]"]),
        ("a[:, 1]", ["a[:, 0]"]),
        ("a[1:]", ["a[2:]"]),
        ("min(a)", ["max(a)"]),
        ("a.argmax()", ["a.argmin()"]),
        ("a.clamp(max=b)", ["a.clamp(min=b)"]),
        ("round(a)", ["int(a)"]),
        ("int(a)", ["round(a)"]),
        ("int(a.argmax())", ["int(a.argmin())"]),
        ("abs(a)", ["a"]),
        ("f(dx=a, dy=b)", ["f(dx=b, dy=a)"]),
        ("a = 'left of the top'", ["a = 'right of the top'", "a = 'left of the bottom'"]),
        ("f('second {left}, leftmost')", ["f('third {left}, leftmost')", "f('second {left}, rightmost')"]),
        ("def f(x, y):\n    return x", ["return None", "return y"]),
        # Of nothing that is computed:
        ("def f(a: Literal['left'] = b) -> Literal['right']:\n    'The left one.'", []),
        ("from a import left\n@f(0)\nclass A:\n    'above'", []),
        ("Side = Literal['left', 'right']", []),
        ("def f(x):\n    return", []),
    ],
)  # fmt: skip
def test_mutants_by_hand(mutations: ModuleType, source: str, changed: list[str]) -> None:
    assert made(mutations, source) == changed


def test_tables_may_be_left_out(mutations: ModuleType) -> None:
    assert made(mutations, "A = 1\nB: int = 1\n", left_out=("A",)) == ["B: int = 2"]


def test_each_mutant_compiles_and_differs(mutations: ModuleType) -> None:
    source = (BENCHMARKS.parent / "src/talking_points/evaluation/metrics.py").read_text()
    plain = mutations.code_of(source, None, "metrics.py")
    mutants = mutations.mutants_of(source)
    assert len(mutants) > 50
    assert all(mutations.code_of(source, mutant, "metrics.py") != plain for mutant in mutants)


TOY = """
def side(x):
    return "left" if x < 0 else "right"


def halvings(x):
    count = 0
    while x > 1:
        x //= 2
        count += 1
    return count
"""
TOY_TESTS = """
from talking_points.toy import halvings, side


def test_all():
    assert side(-3) == "left" and side(3) == "right"
    assert halvings(8) == 3 and halvings(9) == 3
"""
RUN = """
import sys
import mutants
mutants.SLOW_IMPORTS, mutants.LEAST_TIMEOUT_S = (), 1.0
target = mutants.Target(path="toy.py", tests=("tests/test_toy.py",), share=5)
sys.exit(mutants.main(sys.argv[2:], root=mutants.Path(sys.argv[1]), targets=[target]))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name, text in (
        ("src/talking_points/__init__.py", ""),
        ("src/talking_points/toy.py", TOY),
        ("tests/test_toy.py", TOY_TESTS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(root), *arguments]
    return subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=120)


def test_what_a_test_notices_is_killed_and_the_rest_survives(toy: Path) -> None:
    ended = run(toy, "--every", "--least", "1", "--out", str(toy / "out.json"))
    assert ended.returncode == 1, ended.stderr
    rows = json.loads((toy / "out.json").read_text())["mutants"]
    alive = [row["after"] for row in rows if row["outcome"] == "survived"]
    # Nothing is asked between -3 and 3.
    assert alive == ['return "left" if x <= 0 else "right"', 'return "left" if x < 1 else "right"']
    # Doubled, it never gets to 1.
    assert [row["outcome"] for row in rows if row["after"] == "x *= 2"] == ["timeout"]
    assert f"{len(rows):8}{len(rows) - 2:8}{2:10}" in ended.stdout
    assert "toy.py:3 comparison" in ended.stdout


def test_a_sample_is_a_function_of_the_seed(toy: Path) -> None:
    first, again, other = (run(toy, "--list", "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other
    assert first.startswith("toy.py: 5 mutants\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tests/test_toy.py", "def test_no():\n    assert False", "the tests of toy.py fail without any mutant"),
        ("tests/test_toy.py", "def test_nothing():\n    pass", "tests/test_toy.py do not import toy.py"),
        ("tests/test_toy.py", None, "test_toy.py is not there; name in TARGETS what is"),
    ],
)
def test_what_cannot_be_measured_is_refused(toy: Path, name: str, text: str | None, message: str) -> None:
    (toy / name).unlink()
    if text is not None:
        (toy / name).write_text(text)
    ended = run(toy)
    assert ended.returncode == 1
    assert message in ended.stderr.splitlines()[-1]


def test_targets_and_their_tests_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    mutants = importlib.import_module("mutants")
    root = BENCHMARKS.parent
    files = [f"src/talking_points/{one.path}" for one in mutants.TARGETS]
    files += [test.split("::")[0] for one in mutants.TARGETS for test in (*one.tests, *one.deselected)]
    assert files and [file for file in files if not (root / file).is_file()] == []
