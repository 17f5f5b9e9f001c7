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
    batches: str
    """What they are drawn from."""

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
            ValueError: the state is broken, or of another training or version.
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
        return int(state["step"])

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
