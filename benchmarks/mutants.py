"""How many small wrong changes of the code that holds numbers and words do its tests notice?

    python benchmarks/mutants.py --out mutants.json             # a sample of each file of TARGETS
    python benchmarks/mutants.py --file photos.py --every       # every mutant of one file
    python benchmarks/mutants.py --list                         # the mutants, without running any

`mutations.py` makes them. Each runs the tests of its file alone, to the first that fails, in a process of its own; one
that hangs counts as killed. Processes are forked from one that has imported what is slow to import and nothing of ours
(Linux only). The sample is a function of the seed and the source. Exits with 1 when fewer than --least are killed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mutations import Mutant, code_of, mutants_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "talking_points"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A file and what tests it."""

    path: str
    """Below src/talking_points."""
    tests: tuple[str, ...]
    """Below the root; the quickest first."""
    share: int
    """Mutants in a sample."""
    left_out: tuple[str, ...] = ()
    """Module-level tables without mutants."""
    deselected: tuple[str, ...] = ()
    """Tests that are slow beside what they add."""


WORD_TESTS = (
    "tests/dataset/test_words.py",
    "tests/dataset/test_grammar.py",
    "tests/dataset/test_facts.py",
    "tests/dataset/test_places.py",
)
SLOW_WORD_TESTS = ("tests/dataset/test_places.py::test_mirror_words_is_its_own_inverse",)

TARGETS = (
    Target(path="points.py", tests=("tests/test_points.py",), share=40),
    Target(
        path="photos.py",
        tests=("tests/test_photos.py",),
        share=40,
        deselected=(
            "tests/test_photos.py::TestErrors::test_damaged_bytes_give_a_photo_or_the_one_error",
            "tests/test_photos.py::TestErrors::test_large_but_allowed_says_nothing",
        ),
    ),
    Target(path="dataset/places.py", tests=WORD_TESTS, share=40),
    Target(path="dataset/grammar.py", tests=WORD_TESTS, share=60, deselected=SLOW_WORD_TESTS),
    Target(path="dataset/facts.py", tests=WORD_TESTS, share=40, deselected=SLOW_WORD_TESTS),
    Target(path="dataset/colours.py", tests=("tests/dataset/test_colours.py",), share=20),
    Target(
        path="dataset/looks.py",
        tests=("tests/dataset/test_looks.py", "tests/dataset/test_words.py"),
        share=60,
    ),
    Target(path="evaluation/metrics.py", tests=("tests/evaluation/test_metrics.py",), share=40),
    Target(path="training/grpo.py", tests=("tests/training/test_grpo.py",), share=60),
    Target(path="model/keypoint_prompt.py", tests=("tests/model/test_keypoint_prompt.py",), share=20),
)

# Imported once, before the forks.
SLOW_IMPORTS = (
    *("numpy", "cv2", "PIL.ImageOps", "hypothesis.extra.numpy", "doctest", "supervision", "torch", "torch.testing"),
    # What torch imports when tensors are first compared.
    *("sympy", "torch.distributed.tensor"),
)
LEAST_TIMEOUT_S = 20.0
"""Beside five times what the tests take without a mutant."""
MOST_MEMORY = 4 * 2**30
"""Bytes of its own that a mutant's process may take."""
NEVER_IMPORTED = 99
"""Exit status of a process whose tests passed and have not imported the file."""


def main(argv: Sequence[str] | None = None, *, root: Path = ROOT, targets: Sequence[Target] = TARGETS) -> int:
    options = _options(argv, [target.path for target in targets])
    chosen = [target for target in targets if options.file is None or target.path in options.file]
    samples = [(target, _sample(target, root, options.seed, every=options.every)) for target in chosen]
    if options.list:
        for target, mutants in samples:
            print(f"{target.path}: {len(mutants)} mutants")
            for mutant in mutants:
                print(_as_text(mutant))
        return 0
    _get_ready(root)
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    for target, mutants in samples:
        rows += (found := _try_all(target, mutants, root, options.jobs))
        print("".join(map(_survivor, filter(_is_survivor, found))), end="", flush=True)
    print(_table(rows))
    print(f"{time.perf_counter() - began:.0f} s, seed {options.seed}, {options.jobs} jobs")
    if options.out is not None:
        options.out.write_text(json.dumps({"seed": options.seed, "every": options.every, "mutants": rows}, indent=1))
    return 0 if sum(map(_is_survivor, rows)) <= (1 - options.least) * len(rows) else 1


def _options(argv: Sequence[str] | None, paths: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--file", action="append", choices=paths, metavar="FILE", help="only this one; may be repeated")
    parser.add_argument("--every", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=2, help="mutants at once")
    parser.add_argument("--least", type=float, default=0.9, help="share that must be killed")
    parser.add_argument("--list", action="store_true", help="print the mutants and run none")
    parser.add_argument(
        "--out", type=lambda text: Path(text).resolve(), help="every mutant and what became of it, as JSON"
    )
    return parser.parse_args(argv)


def _sample(target: Target, root: Path, seed: int, *, every: bool) -> list[Mutant]:
    """Some mutants of a file, in the order of its lines."""
    mutants = mutants_of(_source(target, root).read_text(), target.left_out)
    if every or len(mutants) <= target.share:
        return mutants
    chosen = random.Random(f"{seed} {target.path}").sample(range(len(mutants)), target.share)
    return [mutants[k] for k in sorted(chosen)]


def _source(target: Target, root: Path) -> Path:
    path = root / "src" / PACKAGE / target.path
    for needed in (path, *(root / test for test in target.tests)):
        if not needed.is_file():
            raise SystemExit(f"{needed} is not there; name in TARGETS what is")
    return path


# --- running ------------------------------------------------------------------------------------------------


def _get_ready(root: Path) -> None:
    """Import what every process needs, and nothing of the package: each process imports it anew."""
    # Before numpy and torch start threads: a forked process would wait for threads that it does not have.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in ("pytest", "hypothesis", *SLOW_IMPORTS):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            if name in ("pytest", "hypothesis"):
                raise SystemExit(f"{name} is not installed: make venv") from None
    import hypothesis

    # The same examples each time and few of them, none remembered from another mutant, no search for the smallest.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None, max_examples=20, phases=phases
    )
    if "PIL.Image" in sys.modules:
        sys.modules["PIL.Image"].init()  # imports its readers
    sys.path.insert(0, str(root / "src"))
    os.chdir(root)
    # What is here stays: no process need look at it, which would copy it.
    gc.freeze()
    assert not any(name.split(".")[0] == PACKAGE for name in sys.modules)


def _try_all(target: Target, mutants: list[Mutant], root: Path, jobs: int) -> list[dict[str, Any]]:
    """What became of each mutant. The tests must pass without any change first.

    Returns:
        file, line, kind, before, after, outcome ("killed", "timeout" or "survived") and seconds of each.
    """
    source = _source(target, root).read_text()
    timeout_s = LEAST_TIMEOUT_S + 5 * _time_unchanged(target, source, root)
    waiting, running = list(enumerate(mutants)), {}
    found: dict[int, dict[str, Any]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number, mutant = waiting.pop(0)
            folder = Path(tempfile.mkdtemp(prefix="mutant-"))
            running[_start(target, source, mutant, root, folder)] = number, folder, time.perf_counter()
        for child, (number, folder, began) in list(running.items()):
            status = _status(child, time.perf_counter() - began > timeout_s)
            if status is None:
                continue
            del running[child]
            shutil.rmtree(folder)
            found[number] = {
                "file": target.path,
                **{name: getattr(mutants[number], name) for name in ("line", "kind", "before", "after")},
                "outcome": "survived" if status == 0 else "timeout" if status == -signal.SIGKILL else "killed",
                "seconds": round(time.perf_counter() - began, 2),
            }
        time.sleep(0.01)
    return [found[number] for number in sorted(found)]


def _time_unchanged(target: Target, source: str, root: Path) -> float:
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    began = time.perf_counter()
    child = _start(target, source, None, root, folder)
    while (status := _status(child, late=False)) is None:
        time.sleep(0.01)
    if status == NEVER_IMPORTED:
        raise SystemExit(f"{', '.join(target.tests)} do not import {target.path}; name those that do")
    if status != 0:
        raise SystemExit(f"the tests of {target.path} fail without any mutant: see {folder}/output")
    shutil.rmtree(folder)
    return time.perf_counter() - began


def _status(child: int, late: bool) -> int | None:
    """Exit status, negative after a signal; None while it runs. One that is late is killed."""
    if late:
        os.kill(child, signal.SIGKILL)
    ended, status = os.waitpid(child, 0 if late else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _start(target: Target, source: str, mutant: Mutant | None, root: Path, folder: Path) -> int:
    """Fork a process that runs the tests with the mutant in the file's place; its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = _run_tests(target, source, mutant, root, folder)
    finally:
        # Without the parent's own ways of ending.
        os._exit(status)


def _run_tests(target: Target, source: str, mutant: Mutant | None, root: Path, folder: Path) -> int:
    import pytest

    name = ".".join((PACKAGE, *Path(target.path).with_suffix("").parts))
    path = str(root / "src" / PACKAGE / target.path)
    loader = _Loader(name, path, code_of(source, mutant, path))
    sys.meta_path.insert(0, loader)  # type: ignore[arg-type]
    # Nothing but running and failing: no doctests, no texts of failed assertions, no looking for what is left over.
    arguments = ["-x", "-q", "--assert=plain", "-oaddopts=--import-mode=importlib", "-p_hypothesis_pytestplugin"]
    arguments += [f"-pno:{plugin}" for plugin in ("cacheprovider", "unraisableexception", "threadexception")]
    arguments += ["--hypothesis-profile=mutants", f"--basetemp={folder / 'files'}"]
    arguments += [f"--deselect={test}" for test in target.deselected]
    status = int(pytest.main([*arguments, *target.tests]))
    return NEVER_IMPORTED if status == 0 and not loader.was_used else status


class _Loader(importlib.machinery.SourceFileLoader):
    """Finds and loads one module, from code that is at hand."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code
        self.was_used = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        return self.code

    def exec_module(self, module: ModuleType) -> None:
        self.was_used = True
        super().exec_module(module)


# --- report -------------------------------------------------------------------------------------------------


def _table(rows: list[dict[str, Any]]) -> str:
    """Counts by file."""
    made, alive = Counter(row["file"] for row in rows), Counter(row["file"] for row in rows if _is_survivor(row))
    counts = [(file, made[file], alive[file]) for file in made] + [("all", made.total(), alive.total())]
    lines = [f"{'file':32}{'mutants':>8}{'killed':>8}{'survived':>10}"]
    for name, number, survived in counts:
        lines.append(f"{name:32}{number:8}{number - survived:8}{survived:10}{1 - survived / max(number, 1):8.0%}")
    return "\n".join(lines)


def _survivor(row: dict[str, Any]) -> str:
    return f"{row['file']}:{row['line']} {row['kind']}\n  - {row['before']}\n  + {row['after']}\n\n"


def _is_survivor(row: dict[str, Any]) -> bool:
    return bool(row["outcome"] == "survived")


def _as_text(mutant: Mutant) -> str:
    return f"  {mutant.line} {mutant.kind}\n    - {mutant.before}\n    + {mutant.after}"


if __name__ == "__main__":
    sys.exit(main())
