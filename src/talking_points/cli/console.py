"""What commands tell people on stderr while they work."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import typer


def say(message: str) -> None:
    """Tell a person at the terminal what is being done; a program that reads stderr gets errors only."""
    if sys.stderr.isatty():
        log(message)


def log(message: str) -> None:
    """Progress of long work, for people and for log files."""
    typer.echo(message, err=True)


def find_model(model: str) -> Path:
    """The folder of a model that is to be loaded next."""
    from talking_points.pointing.pretrained import find_checkpoint

    # Before torch is imported, so that an unknown model is reported at once.
    folder = find_checkpoint(model)
    say(f"loading {model}")
    let_threads_sleep()
    return folder


def let_threads_sleep() -> None:
    """Call it before torch is imported, which reads this then.

    Threads that wait by spinning stand in each other's way as soon as anything else runs on the machine: a description
    by `mini` took four times as long there.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


class Progress:
    """Progress of a long command on stderr: a bar with rate and time left, or a line now and then into a file."""

    LINE_EVERY_S = 10.0

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._lines = not console.is_terminal
        self._bar.start()
        self._stages: dict[str, tuple[Any, float, int]] = {}
        self._last_line = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage not in self._stages:
            self._stages[stage] = (self._bar.add_task(stage, total=total, completed=done, rate=""), now, done)
        task, begun, before = self._stages[stage]
        # Of this run alone: what an earlier run did took no time now.
        rate = (done - before) / max(now - begun, 1e-3)
        self._bar.update(task, completed=done, total=total, rate=f"{rate:.1f}/s" if rate else "")
        if self._lines and (done == total or now - self._last_line >= self.LINE_EVERY_S):
            self._last_line = now
            left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
            log(f"{stage}: {done:,} of {total:,}{f', {rate:.1f}/s' if rate and total > 1 else ''}{left}")
