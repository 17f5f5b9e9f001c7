"""The training loop: any objective, on one process or many, resumable after a kill with nothing lost but the steps
since the last save."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import Dataset

from talking_points.training.batches import batches_from
from talking_points.training.sharding import leave_shards_alone, shard_frozen
from talking_points.training.state import load_state, save_state
from talking_points.training.tracking import Tracking, check_tracker

log = logging.getLogger(__name__)

SCHEDULES = ("cosine", "constant")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How long and how fast."""

    steps: int
    learning_rate: float
    """At its highest."""
    schedule: str = "cosine"
    """After the warm-up: "cosine", to a fiftieth, or "constant"."""
    warmup_steps: int = 50
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm. OMG-LLaVA's."""
    accumulate: int = 1
    """Parts that each process takes its share of a step's batch in: memory of one part. The step is the same."""
    precision: str = "fp32"
    """Of activations: "fp32", or "bf16" where autocast allows it. What is trained is always fp32."""
    shard: bool = False
    """Frozen linear layers lie in shards, one in each process; else every process holds them whole."""
    save_every: int = 200
    """Steps between saves of the training state."""
    log_every: int = 20
    workers: int = 1
    """Processes that make batches, for each process that trains."""
    tracker: str | None = None
    """One of `tracking.TRACKERS`, beside the files that are always written."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: at least 1")
        for name in ("warmup_steps", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 0 or more")
        for name in ("learning_rate", "max_grad_norm"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: a positive number")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay is {self.weight_decay}; allowed: 0 or a positive number")
        for name, allowed in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}")
        check_tracker(self.tracker)

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then the schedule."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
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

    Under `accelerate launch` or torchrun every process calls this with the same arguments and works on its own part of
    each step's batch; gradients are those of the whole batch, whatever the number of processes.

    Args:
        modules: put in training mode while the loop runs, in evaluation mode after it.
        parameters: what is updated, by a name that stays the same between runs.
        batches: step -> batch; `str()` of it says what it draws from, and a resumed run must say the same. For more
            than one process, or `accumulate`, it has `part(step, index, of)`, too: one of `of` parts of that step's
            batch, at most `most_parts`. `samples`, if it has it, is how many samples a step sees.
        objective: batch -> loss and what to log. A metric "weight", if there, is how many things the loss is the mean
            of, and parts count by it; without it all count alike.
        config: the loop's.
        folder: holds the training states, `metrics.jsonl` and `tensorboard/`; an earlier state there is resumed.

    Returns:
        True when all steps are done, False when SIGTERM stopped them (the state is saved).

    Raises:
        FloatingPointError: the loss is not finite; names the batch's records.
        ValueError: the states in `folder` are broken or of other parameters, `batches` come whole only, or shards are
            asked for in one process.
    """
    accelerator = _accelerator(next(iter(parameters.values())).device)
    processes, index = accelerator.num_processes, accelerator.process_index
    of = processes * config.accumulate
    most = getattr(batches, "most_parts", 1)
    if of > most:
        raise ValueError(
            f"a step of this training has {most} parts at most, and {processes} processes times {config.accumulate} "
            "accumulated are more; take fewer, or more --photos"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if config.shard:
        shard_frozen(modules.values(), accelerator.device)
    step_module = _Step(modules, parameters, objective, config.precision)
    leave_shards_alone(step_module)
    model = accelerator.prepare_model(step_module, device_placement=False)
    optimizer = torch.optim.AdamW(_groups(parameters, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.98))
    torch.manual_seed(config.seed + index)
    start = _resume(folder, parameters, optimizer, str(batches), index)
    for module in modules.values():
        module.train()
    own = _Parts(batches, index * config.accumulate, config.accumulate, of)
    parts = iter(batches_from(own, start * config.accumulate, workers=config.workers))
    stopping = _Stop()
    sums: dict[str, float] = {}
    norms: list[float] = []
    counted = 0.0
    with ExitStack() as stack:
        stack.enter_context(stopping)
        tracking = None
        if accelerator.is_main_process:
            samples = getattr(batches, "samples", None)
            tracking = stack.enter_context(
                Tracking(
                    folder,
                    start=start,
                    steps=config.steps,
                    samples=samples,
                    tracker=config.tracker,
                    settings={**asdict(config), "batches": str(batches), "processes": processes},
                )
            )
        for step in range(start, config.steps):
            rate = config.rate_at(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            weights = losses = 0.0
            for part in range(config.accumulate):
                batch = next(parts)
                last = part == config.accumulate - 1
                with nullcontext() if last else accelerator.no_sync(model):
                    loss, metrics = model(batch)
                    if not torch.isfinite(loss):
                        raise FloatingPointError(f"step {step}: loss is {loss.item()}; records {batch.record_ids}")
                    weight = metrics.pop("weight", 1.0)
                    # Divided by the weight of all parts below, when that is known.
                    (loss * weight).backward()
                weights += weight
                losses += loss.item() * weight
                for name, value in metrics.items():
                    sums[name] = sums.get(name, 0.0) + value * weight
            counted += weights
            total, lost, asked = accelerator.reduce(
                torch.tensor([weights, losses, float(stopping.asked)], device=accelerator.device)
            ).tolist()
            if total != processes:
                # Processes' gradients were averaged, not summed.
                torch._foreach_mul_([p.grad for p in parameters.values() if p.grad is not None], processes / total)
            norms.append(float(nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done = step + 1
            if tracking is not None:
                tracking.step(done, lost / total)
            if done % config.log_every == 0 or done == config.steps:
                means = _means(accelerator, sums, counted)
                if tracking is not None:
                    tracking.log(done, {"rate": rate, **means, "grad_norm": sum(norms) / len(norms)})
                sums, counted, norms = {}, 0.0, []
            if done % config.save_every == 0 or done == config.steps or asked:
                _save(accelerator, folder, done, parameters, optimizer, str(batches))
            if asked and done < config.steps:
                log.warning("stopped at step %d by SIGTERM; the same command goes on from here", done)
                return False
    for module in modules.values():
        module.eval()
    return True


def is_main_process() -> bool:
    """Whether this process writes files: the only one, or the first of many."""
    return bool(PartialState().is_main_process)


class _Step(nn.Module):
    """A step as a module, for what wraps modules: DDP sees what is trained, and when its forward ends."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        parameters: Mapping[str, nn.Parameter],
        objective: Callable[[Any], tuple[Tensor, dict[str, float]]],
        precision: str,
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(modules)
        known = {id(p) for p in self.parts.parameters()}
        self.loose = nn.ParameterList([p for p in parameters.values() if id(p) not in known])
        self.objective = objective
        self.device_type = next(iter(parameters.values())).device.type
        self.bf16 = precision == "bf16"

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.objective(batch)


class _Parts(Dataset[Any]):
    """A process's parts of all steps' batches, in order."""

    def __init__(self, batches: Dataset[Any], first: int, count: int, of: int) -> None:
        """first, count: of the `of` parts of each step, those that are this process's."""
        self.batches, self.first, self.count, self.of = batches, first, count, of

    def __len__(self) -> int:
        return len(self.batches) * self.count  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        step, part = divmod(index, self.count)
        if self.of == 1:
            return self.batches[step]
        return self.batches.part(step, self.first + part, self.of)  # type: ignore[attr-defined]


class _Stop:
    """Notes SIGTERM while the block runs."""

    asked = False

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._ask)

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, *_: object) -> None:
        self.asked = True


def _accelerator(device: torch.device) -> Accelerator:
    """Processes as `accelerate launch` or torchrun has set them up; one without either.

    Raises:
        ValueError: the launcher asks for a precision, which is the loop's to set, or for weights in shards.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked != "no":
        raise ValueError(f"the launcher asks for mixed precision {asked}; leave that to --precision, and set no there")
    for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false") == "true":
            raise ValueError(
                f"the launcher asks for {name}, which is ours to do: launch without it, and give --shard if the base "
                "is too large for each process"
            )
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")


def _groups(parameters: Mapping[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms, biases and other vectors do not."""
    return [
        {"params": [p for p in parameters.values() if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters.values() if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _means(accelerator: Accelerator, sums: Mapping[str, float], weight: float) -> dict[str, float]:
    """Weighted means over the processes."""
    numbers = torch.tensor([*sums.values(), weight], dtype=torch.float64, device=accelerator.device)
    *totals, all_weight = accelerator.reduce(numbers).tolist()
    return {name: value / all_weight for name, value in zip(sums, totals, strict=True)}


def _save(
    accelerator: Accelerator,
    folder: Path,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    batches: str,
) -> None:
    """The whole state, by the main process. The step is also the position in schedule, data and trackers."""
    random_states = gather_object([torch.get_rng_state()])
    cuda_states = gather_object([torch.cuda.get_rng_state() if torch.cuda.is_available() else None])
    if accelerator.is_main_process:
        state = {
            "step": step,
            "parameters": {name: p.detach() for name, p in parameters.items()},
            "optimizer": optimizer.state_dict(),
            "rng": random_states,
            "cuda_rng": cuda_states,
            "batches": batches,
        }
        save_state(folder, step, state)
    accelerator.wait_for_everyone()


def _resume(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, batches: str, process: int
) -> int:
    """Load the last whole state, if there is one. Returns the step to go on from."""
    found = load_state(folder)
    if found is None:
        return 0
    path, state = found
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
    # More processes than before: the new ones keep their seed, and only dropout differs.
    if process < len(state["rng"]):
        torch.set_rng_state(state["rng"][process])
        if state["cuda_rng"][process] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda_rng"][process])
    log.info("resuming at step %d", state["step"])
    return int(state["step"])
