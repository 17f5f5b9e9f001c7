"""The state of a training on disk: the last two, each a whole file or not there at all.

Not accelerate's `save_state`: that writes the frozen base each time, in files that a kill leaves half written.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

log = logging.getLogger(__name__)

KEPT = 2
"""States kept: should the last one be broken, the one before it serves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """What a training is at after a step. The step is also the position in schedule, data and trackers."""

    folder: Path
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    batches: str
    """What they are drawn from."""

    def save(self, accelerator: Accelerator, step: int) -> None:
        """Write the state beside those before it, then drop all but the last `KEPT`. Every process calls this."""
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
            }
            unfinished = self.folder / "state.part"
            with unfinished.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            path = self.folder / f"state-{step:08d}.pt"
            unfinished.replace(path)
            others = [one for one in self._files() if one != path]
            # States of this step and later ones are here only if they were broken, and this run started before them.
            broken = [one for one in others if _step_of(one) >= step]
            for old in broken + [one for one in others if one not in broken][KEPT - 1 :]:
                old.unlink()
        accelerator.wait_for_everyone()

    def resume(self, process: int) -> int:
        """Load the last whole state, if there is one. Returns the step to go on from.

        Raises:
            ValueError: the state is of another training or version, or there are states and every one is broken.
        """
        found = self._last()
        if found is None:
            return 0
        path, state = found
        saved = state["parameters"]
        different = sorted(
            saved.keys() ^ self.parameters.keys()
            | {
                name
                for name in saved.keys() & self.parameters.keys()
                if saved[name].shape != self.parameters[name].shape
            }
        )
        if different:
            raise ValueError(f"{path} is of another training: parameter {different[0]!r} differs; use another --out")
        if state["batches"] != self.batches:
            raise ValueError(f"{path} was trained on {state['batches']}, not on {self.batches}; use another --out")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(saved[name])
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
        return int(state["step"])

    def _last(self) -> tuple[Path, dict[str, Any]] | None:
        paths = self._files()
        for path in paths:
            if _is_whole(path):
                return path, torch.load(path, weights_only=True, map_location="cpu")
            log.warning("%s is broken: its bytes are not those that were written; using the state before it", path)
        if paths:
            raise ValueError(
                f"every training state in {self.folder} is broken, {paths[0].name} first; delete them to start anew"
            )
        return None

    def _files(self) -> list[Path]:
        """Last first."""
        return sorted(self.folder.glob("state-*.pt"), key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _is_whole(path: Path) -> bool:
    """By the checksums of the archive that `torch.save` writes; `torch.load` does not look at them."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False
