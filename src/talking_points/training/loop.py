"""The training loop: any objective, resumable after a kill with nothing lost but the steps since the last save."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from talking_points.training.batches import batches_from

log = logging.getLogger(__name__)

STATE_FILE = "training_state.pt"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How long and how fast."""

    steps: int
    learning_rate: float
    """At its highest."""
    warmup_steps: int = 50
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm. OMG-LLaVA's."""
    save_every: int = 200
    """Steps between saves of the training state."""
    log_every: int = 20
    workers: int = 1
    """Processes that make batches."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: at least 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate is {self.learning_rate}; allowed: a positive number")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine to a fiftieth."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train(
    modules: Mapping[str, nn.Module],
    parameters: Mapping[str, nn.Parameter],
    batches: Dataset[Any],
    objective: Callable[[Any], tuple[Tensor, dict[str, float]]],
    config: LoopConfig,
    folder: Path,
) -> bool:
    """Minimise an objective.

    Args:
        modules: put in training mode while the loop runs, in evaluation mode after it.
        parameters: what is updated, by a name that stays the same between runs.
        batches: step -> batch; `str()` of it says what it draws from, and a resumed run must say the same.
        objective: batch -> loss and what to log.
        config: the loop's.
        folder: holds the training state and `metrics.jsonl`; an earlier state there is resumed.

    Returns:
        True when all steps are done, False when SIGTERM stopped them (the state is saved).

    Raises:
        FloatingPointError: the loss is not finite; names the batch's records.
        ValueError: the state in `folder` is of other parameters.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(_groups(parameters, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.98))
    torch.manual_seed(config.seed)
    start = _resume(folder / STATE_FILE, parameters, optimizer, str(batches))
    for module in modules.values():
        module.train()
    stopping = _Stop()
    sums: dict[str, float] = {}
    counted, since = 0, time.monotonic()
    with stopping, (folder / "metrics.jsonl").open("a") as metrics_file:
        for step, batch in enumerate(batches_from(batches, start, workers=config.workers), start=start):
            rate = config.rate_at(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, metrics = objective(batch)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"step {step}: loss is {loss.item()}; records {batch.record_ids}")
            loss.backward()
            metrics["grad_norm"] = float(nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + value
            counted += 1
            done = step + 1
            if done % config.log_every == 0 or done == config.steps:
                seconds = (time.monotonic() - since) / counted
                means = {name: value / counted for name, value in sums.items()}
                print(json.dumps({"step": done, "rate": rate, **means}), file=metrics_file, flush=True)
                log.info(
                    "step %d/%d  %s  %.2f s/step, %.0f min left",
                    done,
                    config.steps,
                    "  ".join(f"{n} {v:.3f}" for n, v in means.items()),
                    seconds,
                    seconds * (config.steps - done) / 60,
                )
                sums, counted, since = {}, 0, time.monotonic()
            if done % config.save_every == 0 or done == config.steps or stopping.asked:
                _save(folder / STATE_FILE, done, parameters, optimizer, str(batches))
            if stopping.asked and done < config.steps:
                log.warning("stopped at step %d by SIGTERM; the same command goes on from here", done)
                return False
    for module in modules.values():
        module.eval()
    return True


class _Stop:
    """Notes SIGTERM while the block runs."""

    asked = False

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._ask)

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, *_: object) -> None:
        self.asked = True


def _groups(parameters: Mapping[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms, biases and other vectors do not."""
    return [
        {"params": [p for p in parameters.values() if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters.values() if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _save(
    path: Path, step: int, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, batches: str
) -> None:
    """Write the whole state beside the old one and swap them: a kill leaves one or the other."""
    state = {
        "step": step,
        "parameters": {name: p.detach() for name, p in parameters.items()},
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all(),
        "batches": batches,
    }
    new = path.with_suffix(".new")
    torch.save(state, new)
    new.replace(path)


def _resume(path: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, batches: str) -> int:
    """Load the state, if there is one. Returns the step to go on from."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    saved = state["parameters"]
    different = sorted(
        saved.keys() ^ parameters.keys()
        | {name for name in saved.keys() & parameters.keys() if saved[name].shape != parameters[name].shape}
    )
    if different:
        raise ValueError(f"{path} is of another training: parameter {different[0]!r} differs; use another --out")
    if state["batches"] != batches:
        raise ValueError(f"{path} was trained on {state['batches']}, not on {batches}; use another --out")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[name])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if state["cuda_rng"]:
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    log.info("resuming at step %d", state["step"])
    return int(state["step"])
