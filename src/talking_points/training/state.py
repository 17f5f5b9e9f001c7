"""The state of a training on disk: the last one, a whole file or not there at all.

Not accelerate's `save_state`: that writes the frozen base each time, in files that a kill leaves half written.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from talking_points.model.weights import shapes_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """What a training is at after a step. The step is also the position in schedule, data and trackers."""

    folder: Path
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    steps: int
    """Of the whole training."""
    batches: str
    """What they are drawn from,"""
    fingerprint: str
    """and of the data themselves. A state must be of the same ones."""
    settings: Mapping[str, str | int | float | None]
    """How it learns. A state may be of others, which is said."""

    def save(self, accelerator: Accelerator, step: int) -> None:
        """Write the state, and when it is on the disk drop the one before. Every process calls this."""
        random_states = gather_object([torch.get_rng_state()])
        cuda_states = gather_object([torch.cuda.get_rng_state() if torch.cuda.is_available() else None])
        if accelerator.is_main_process:
            state = {
                "step": step,
                "parameters": {name: p.detach() for name, p in self.parameters.items()},
                "optimizer": self.optimizer.state_dict(),
                "rng": random_states,
                "cuda_rng": cuda_states,
                "batches": self.batches,
                "fingerprint": self.fingerprint,
                "settings": dict(self.settings),
            }
            unfinished = self.folder / "state.part"
            try:
                with unfinished.open("wb") as file:
                    torch.save(state, file)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                # On a full disk it would take up what room there is.
                unfinished.unlink(missing_ok=True)
                raise
            before = self._files()
            path = unfinished.replace(self.folder / f"state-{step:08d}.pt")
            for old in before:
                if old != path:
                    old.unlink()
        accelerator.wait_for_everyone()

    def resume(self, process: int) -> int:
        """Load the last state, if there is one. Returns the step to go on from.

        Raises:
            ValueError: the state is broken, of another training or version, or of more steps than this training has.
        """
        files = self._files()
        if not files:
            return 0
        path = files[-1]
        if not _is_whole(path):
            raise ValueError(
                f"{path} is broken: its bytes are not those that were written; delete it to go on from the one before, "
                "or, where there is none, to start anew"
            )
        state = torch.load(path, weights_only=True, map_location="cpu")
        different = sorted(shapes_of(state["parameters"]).items() ^ shapes_of(self.parameters).items())
        if different:
            name = different[0][0]
            raise ValueError(f"{path} is of another training: parameter {name!r} differs; use another --out")
        if state["batches"] != self.batches:
            raise ValueError(f"{path} was trained on {state['batches']}, not on {self.batches}; use another --out")
        if (state.get("fingerprint") or self.fingerprint) != self.fingerprint:
            raise ValueError(
                f"{path} was trained on other photos, points or texts than these {self.batches}; use another --out, or "
                "the data as they were"
            )
        if state["step"] > self.steps:
            raise ValueError(
                f"{path} is of {state['step']} steps, and this training has {self.steps}; give as many --steps or "
                "--epochs at least, or use another --out"
            )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state["parameters"][name])
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError:
            raise ValueError(f"{path} is of an earlier version's training; use another --out") from None
        # More processes than before: the new ones keep their seed, and only dropout differs.
        if process < len(state["rng"]):
            torch.set_rng_state(state["rng"][process])
            if state["cuda_rng"][process] is not None and torch.cuda.is_available():
                torch.cuda.set_rng_state(state["cuda_rng"][process])
        log.info("resuming at step %d", state["step"])
        if "fingerprint" not in state:
            log.warning("%s is of an earlier version: whether data and settings are as they were is not known", path)
        self._tell_changes(state.get("settings", {}))
        return int(state["step"])

    def _tell_changes(self, before: Mapping[str, str | int | float | None]) -> None:
        """Say which settings are not those of the steps that are done."""
        changed = [name for name, value in self.settings.items() if before.get(name, value) != value]
        if changed:
            told = (
                f"{name} was {before[name]} up to here, and is {self.settings[name]} from here on" for name in changed
            )
            log.warning("%s", "; ".join(told))

    def _files(self) -> list[Path]:
        """One; with the one before it, where a kill came between writing and dropping."""
        return _files_of(self.folder)


def kept_step(folder: Path) -> int | None:
    """The step of the last state in a folder; None where there is none."""
    return max((int(path.stem.removeprefix("state-")) for path in _files_of(folder)), default=None)


def _files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.pt"))


def _is_whole(path: Path) -> bool:
    """By the checksums of the archive that `torch.save` writes; `torch.load` does not look at them."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False
