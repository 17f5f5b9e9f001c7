"""Where a training's numbers go: `metrics.jsonl`, TensorBoard files, a tracker by name, and a line for people."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

TRACKERS = ("wandb", "trackio")
METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
LINE_EVERY_S = 10.0
"""Between lines in a log file; a terminal has a bar that moves at every step."""


def check_tracker(name: str | None) -> None:
    """A tracker that is unknown is a ValueError, one that is not installed an ImportError."""
    if name is None:
        return
    if name not in TRACKERS:
        raise ValueError(f"tracker is {name!r}; allowed: {', '.join(TRACKERS)}, or none")
    if importlib.util.find_spec(name) is None:
        raise ImportError(f"--tracker {name} needs {name}: pip install {name}")


class Tracking:
    """What is told of a training while it runs. After a kill it goes on behind the step that was saved."""

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        steps: int,
        samples: int | None,
        tracker: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            folder: of the training; `metrics.jsonl` and `tensorboard/` go there.
            start: steps done before; what was written of later ones is dropped.
            samples: of a step, for samples a second; None: unknown.
            tracker: one of `TRACKERS`, for an account or a page besides; None: nothing leaves the folder.
            settings: shown by that tracker.
        """
        check_tracker(tracker)
        self.folder, self.start, self.steps, self.samples = folder, start, steps, samples
        self.tracker, self.settings = tracker, dict(settings or {})

    def __enter__(self) -> Tracking:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from torch.utils.tensorboard import SummaryWriter

        metrics = self.folder / METRICS_FILE
        _drop_after(metrics, self.start)
        self._metrics = metrics.open("a")
        # purge_step hides what a killed run wrote of the steps that are now done again.
        self._board = SummaryWriter(str(self.folder / TENSORBOARD_FOLDER), purge_step=self.start + 1)
        self._hosted = None
        if self.tracker is not None:
            # One run a folder, whichever process goes on with it.
            name = hashlib.blake2b(str(self.folder.resolve()).encode(), digest_size=6).hexdigest()
            label = f"{self.folder.resolve().parent.name}-{name}"
            self._hosted = importlib.import_module(self.tracker)
            options = {"id": name} if self.tracker == "wandb" else {}
            self._hosted.init(project="talking-points", name=label, config=self.settings, resume="allow", **options)
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._lines = not console.is_terminal
        self._task = self._bar.add_task("", total=self.steps, completed=self.start, now="")
        self._bar.start()
        self._begun = self._last_line = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        self._metrics.close()
        self._board.close()
        if self._hosted is not None:
            self._hosted.finish()

    def step(self, done: int, loss: float) -> None:
        """A step is done: its loss, for the bar."""
        self._bar.update(self._task, completed=done, now=f"loss {loss:.4f}{self._speed(done)}")

    def log(self, done: int, metrics: Mapping[str, float]) -> None:
        """Means of the steps since the last call."""
        print(json.dumps({"step": done, **metrics}), file=self._metrics, flush=True)
        speed = self._rate(done)
        for name, value in metrics.items():
            self._board.add_scalar(f"train/{name}", value, done)
        self._board.add_scalar("speed/samples_a_second" if self.samples else "speed/steps_a_second", speed, done)
        self._board.flush()
        if self._hosted is not None:
            self._hosted.log(dict(metrics), step=done)
        now = time.monotonic()
        if self._lines and (done == self.steps or now - self._last_line >= LINE_EVERY_S):
            self._last_line = now
            left = (self.steps - done) * (now - self._begun) / max(1, done - self.start)
            said = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            log.info("step %d/%d  %s%s, %s left", done, self.steps, said, self._speed(done), _duration(left))

    def _rate(self, done: int) -> float:
        """Samples a second where a step's are known, else steps; of this run alone."""
        return (done - self.start) * (self.samples or 1) / max(time.monotonic() - self._begun, 1e-6)

    def _speed(self, done: int) -> str:
        return f"  {self._rate(done):.3g} {'samples' if self.samples else 'steps'}/s"


def _drop_after(path: Path, step: int) -> None:
    """Drop the lines of later steps, and one that a kill cut off."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:
            log.warning("%s: passed over a line that was cut off", path)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text("".join(f"{line}\n" for line in kept))
    unfinished.replace(path)


def _duration(seconds: float) -> str:
    """As in "3 min" or "2.1 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
