"""Where a training's numbers go: `metrics.jsonl`, TensorBoard and a tracker by accelerate, and a line for people."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, TensorBoardTracker

from talking_points.files import write_whole
from talking_points.progress import LINE_EVERY_S, Progress

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"


class Tracking:
    """What the main process tells of a training. After a kill it goes on behind the step that was saved."""

    def __init__(
        self,
        folder: Path,
        start: int,
        steps: int,
        samples: int = 1,
        *,
        tracker: str | None = None,
        told: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            folder: of the training; `metrics.jsonl` and `tensorboard/` go there.
            start: steps done before; what was written of later ones is dropped.
            samples: of a step, for samples a second.
            tracker: "wandb" or "trackio", for an account or a page besides; None: nothing leaves the folder.
            told: of the training, to that tracker.
        """
        self.start, self.steps, self.samples = start, steps, samples
        _drop_after(folder / METRICS_FILE, start)
        self._metrics = (folder / METRICS_FILE).open("a")
        # purge_step hides what a killed run wrote of the steps that are now done again.
        self._trackers: list[Any] = [TensorBoardTracker("tensorboard", str(folder), purge_step=start + 1)]
        if tracker is not None:
            # One run a folder, whichever process goes on with it.
            place = folder.resolve()
            name = hashlib.blake2b(str(place).encode(), digest_size=6).hexdigest()
            options = {"name": f"{place.parent.name}-{name}", "config": dict(told or {}), "resume": "allow"}
            options |= {"id": name} if tracker == "wandb" else {}
            self._trackers.append(LOGGER_TYPE_TO_CLASS[tracker]("talking-points", **options))
        for one in self._trackers:
            one.start()
        self._bar = Progress()
        self._begun = self._last_line = time.monotonic()

    def __enter__(self) -> Tracking:
        self._bar.__enter__()
        self._bar.show("", self.start, self.steps)
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__()
        self._metrics.close()
        for tracker in self._trackers:
            tracker.finish()

    def step(self, done: int, loss: float, *, is_logged: bool = False) -> None:
        """A step is done: its loss, for the bar, or a line now and then. is_logged: `log` follows, and has a line."""
        self._bar.show("", done, self.steps, f"loss {loss:.4f}  {self._speed(done):.3g} samples/s")
        # Steps may be long: a line after the first one, and between those of `log`.
        if not is_logged and (done == self.start + 1 or time.monotonic() - self._last_line >= LINE_EVERY_S):
            self._say(done, f"loss {loss:.4g}")

    def log(self, done: int, metrics: Mapping[str, float]) -> None:
        """Means of the steps since the last call."""
        print(json.dumps({"step": done, **metrics}), file=self._metrics, flush=True)
        told = {f"train/{name}": value for name, value in metrics.items()}
        for tracker in self._trackers:
            tracker.log({**told, "speed/samples_a_second": self._speed(done)}, step=done)
        if done == self.steps or time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._say(done, "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))

    def _say(self, done: int, said: str) -> None:
        """A line, where no bar is seen."""
        if self._bar.on_terminal:
            return
        self._last_line = time.monotonic()
        left_s = (self.steps - done) * (self._last_line - self._begun) / max(1, done - self.start)
        left = f", {left_s / 60:.0f} min left" if left_s >= 60 else ", under a minute left" if done < self.steps else ""
        log.info("step %d/%d  %s  %.3g samples/s%s", done, self.steps, said, self._speed(done), left)

    def _speed(self, done: int) -> float:
        """Samples a second of this run alone."""
        return (done - self.start) * self.samples / max(time.monotonic() - self._begun, 1e-6)


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
    write_whole(path, "".join(f"{line}\n" for line in kept))
