"""Progress of long work: what it tells, and a bar on stderr that shows it, or a line now and then into a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import TaskID

OnProgress = Callable[[str, int, int], None]
"""Told a stage's name, how many things are done, and how many there are."""
OnNote = Callable[[str], None]
"""Told one line."""

LINE_EVERY_S = 10.0
"""Between lines in a file; a terminal has a bar that moves at every step."""
FIRST_LINE_S = 5.0
"""Until what is done first is told, where there is nothing to count yet."""


def unheard(*_: Any) -> None:
    """In place of any of these where nobody listens."""


def one_line(said: object) -> str:
    """A text, or what an error says, its lines joined."""
    return " ".join(str(said).split())


class Progress:
    """Shows the progress of a long command. A context manager."""

    def __init__(self, on_line: OnNote | None = None, first: str = "") -> None:
        """
        Args:
            on_line: given lines where stderr is no terminal.
            first: what is done before there is anything to count, told where that takes a while.
        """
        # Here, as it takes a while to import, which the shell's help need not wait.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
        self.on_terminal = console.is_terminal
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not self.on_terminal)
        self._on_line = None if self.on_terminal else on_line
        self._stages: dict[str, tuple[TaskID, float, int]] = {}
        self._last_line = 0.0
        self._first = Timer(FIRST_LINE_S, self._on_line or self._bar.console.print, (first,)) if first else None

    def __enter__(self) -> Progress:
        self._bar.start()
        if self._first is not None:
            self._first.daemon = True
            self._first.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end_first()
        self._bar.stop()

    def _end_first(self) -> None:
        if self._first is not None:
            self._first.cancel()

    def show(self, stage: str, done: int, total: int, note: str | None = None) -> None:
        """See `OnProgress`. note: beside the bar; None: the rate, of this run alone."""
        self._end_first()
        now = time.monotonic()
        if stage not in self._stages:
            self._stages[stage] = (self._bar.add_task(stage, total=total, completed=done, note=""), now, done)
        task, begun, before = self._stages[stage]
        # What an earlier run did took no time now.
        rate = (done - before) / max(now - begun, 1e-3)
        self._bar.update(task, completed=done, total=total, note=note or (f"{rate:.1f}/s" if rate else ""))
        if self._on_line is not None and (done == total or now - self._last_line >= LINE_EVERY_S):
            self._last_line = now
            left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
            speed = f", {rate:.1f}/s" if rate and total > 1 else ""
            self._on_line(f"{stage}: {done:,} of {total:,}{speed}{left}")
