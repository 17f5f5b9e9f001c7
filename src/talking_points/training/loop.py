"""The training loop: any objective, on one process or many, resumable after a kill with nothing lost but the steps
since the last save."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from torch import Tensor, nn

from talking_points.pages import counted
from talking_points.training.batches import Batches, Parts, made_ahead
from talking_points.training.settings import TrainingSettings
from talking_points.training.sharding import leave_shards_alone, shard_frozen
from talking_points.training.state import TrainingState
from talking_points.training.tracking import Tracking

log = logging.getLogger(__name__)

HOW_IT_LEARNS = (
    *("learning_rate", "schedule", "warmup_steps", "max_grad_norm", "precision", "quantize", "base"),
    *("lora_alpha", "lora_dropout", "region", "max_kl"),
)
"""Of the settings, as far as a training has them, what a resumed one may have changed, which is said. What makes other
weights or batches is refused, and what is left, such as where photos are kept, changes nothing that is learnt."""
IDLE_STEPS = 5
"""Without any gradient, after which it is said that nothing is learnt. Ours."""

Metrics = dict[str, float]
Objective = Callable[[Any], tuple[Tensor, Metrics]]
OnStep = Callable[[int, Metrics], bool]
"""Told the steps done and the last one's metrics, at first those done before and none; True ends the training."""


def go_on(done: int, metrics: Metrics) -> bool:
    """An `OnStep` that does nothing."""
    return False


def train(
    modules: Mapping[str, nn.Module],
    parameters: Mapping[str, nn.Parameter],
    batches: Batches[Any],
    objective: Objective,
    settings: TrainingSettings,
    folder: Path,
    *,
    shard: bool = False,
    on_step: OnStep = go_on,
) -> bool:
    """Minimise an objective.

    Under `accelerate launch` or torchrun every process calls this with the same arguments and works on its own part of
    each step's batch; gradients are those of the whole batch, whatever the number of processes.

    Args:
        modules: put in training mode while the loop runs, in evaluation mode after it.
        parameters: what is updated, by a name that stays the same between runs.
        batches: as many as there are steps.
        objective: batch -> loss and what to log. A metric "weight", if there, is how many things the loss is the mean
            of, and parts count by it; without it all count alike.
        settings: of them, how fast and what is written when.
        folder: holds the training states, `metrics.jsonl` and `tensorboard/`; an earlier state there is resumed.
        shard: leave of the modules' frozen linear layers a share in each process.
        on_step: called after each step.

    Returns:
        True when all steps are done, False when SIGTERM stopped them (the state is saved) or `on_step` (it is not).

    Raises:
        FloatingPointError: the loss is not finite, and the batch's records are named; or the gradients are not.
        ValueError: the states in `folder` are broken, of other parameters or data, or of more steps; or a step has too
            few parts.
    """
    accelerator = _accelerator(next(iter(parameters.values())).device)
    processes, process, steps = accelerator.num_processes, accelerator.process_index, len(batches)
    parts = _own_parts(batches, processes, process, settings.accumulate)
    folder.mkdir(parents=True, exist_ok=True)
    model = _prepared(accelerator, modules, parameters, objective, shard)
    optimizer = torch.optim.AdamW(parameters.values(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    torch.manual_seed(settings.seed + process)
    _tell_of_warmup(settings, steps)
    state = _state(folder, parameters, optimizer, batches, settings)
    start = state.resume(process)
    data = made_ahead(parts, start * settings.accumulate, workers=settings.workers)
    since_logged: Counter[str] = Counter()
    idle = 0
    with (
        _training(modules),
        _sigterm(tell=process == 0) as asked,
        _tracking(accelerator, folder, start, batches, settings) as tracking,
    ):
        if on_step(start, {}):
            return False
        for done in range(start + 1, steps + 1):
            rate = settings.rate_at(done - 1, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            taken = _backward(accelerator, model, data, done, settings.accumulate)
            taken["stop"] = float(bool(asked))
            taken = _over_processes(accelerator, taken)
            norm = _update(parameters, optimizer, processes / taken["weight"], settings.max_grad_norm)
            stop, metrics = taken.pop("stop"), _means(taken)
            idle = 0 if norm else idle + 1
            if idle == IDLE_STEPS:
                log.warning("step %d: all gradients have been zero for %d steps: nothing is learnt", done, idle)
            since_logged.update({**taken, "steps": 1.0, "grad_norm": norm})
            is_logged = done % settings.log_every == 0 or done == steps
            if tracking is not None:
                tracking.step(done, metrics["loss"], is_logged=is_logged)
            if is_logged:
                mean_norm = since_logged.pop("grad_norm") / since_logged.pop("steps")
                if tracking is not None:
                    tracking.log(done, {"rate": rate, **_means(since_logged), "grad_norm": mean_norm})
                since_logged.clear()
            if on_step(done, metrics):
                return False
            if done % settings.save_every == 0 or done == steps or stop:
                state.save(accelerator, done)
            if stop and done < steps:
                log.warning("stopped at step %d by SIGTERM; the same command goes on from here", done)
                return False
    return True


def _state(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    batches: Batches[Any],
    settings: TrainingSettings,
) -> TrainingState:
    return TrainingState(
        folder=folder,
        parameters=parameters,
        optimizer=optimizer,
        steps=len(batches),
        batches=str(batches),
        fingerprint=batches.fingerprint,
        settings={name: getattr(settings, name) for name in HOW_IT_LEARNS if hasattr(settings, name)},
    )


def _tell_of_warmup(settings: TrainingSettings, steps: int) -> None:
    warmup = settings.warmup_of(steps)
    if warmup < settings.warmup_steps:
        log.info(
            "the learning rate rises over %s, a tenth of them all, and not over %d (--warmup-steps): else it "
            "would arrive late or never",
            *(counted(warmup, "step"), settings.warmup_steps),
        )


def is_main_process() -> bool:
    """Whether this process writes files: the only one, or the first of many."""
    return bool(PartialState().is_main_process)


def _own_parts(batches: Batches[Any], processes: int, process: int, count: int) -> Parts:
    """A process's parts of all steps, `count` of each."""
    if processes * count > batches.most_parts:
        raise ValueError(
            f"a step of this training has {batches.most_parts} parts at most, and {processes} processes times {count} "
            "accumulated are more; take fewer, or more --photos"
        )
    return Parts(batches, first=process * count, count=count, of=processes * count)


def _backward(
    accelerator: Accelerator, model: nn.Module, data: Iterator[Any], done: int, count: int
) -> dict[str, float]:
    """Gradients of this process's parts of a step, by their weight; returns "weight", and metrics times it."""
    taken: Counter[str] = Counter()
    for part in range(count):
        batch = next(data)
        with nullcontext() if part == count - 1 else accelerator.no_sync(model):
            loss, metrics = model(batch)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"step {done - 1}: loss is {loss.item()}; records {batch.record_ids}")
            weight = metrics.pop("weight", 1.0)
            # Divided by the weight of all parts in `_update`, when that is known.
            (loss * weight).backward()
        metrics = {"loss": loss.item(), **metrics}
        taken.update({"weight": weight, **{name: value * weight for name, value in metrics.items()}})
    return dict(taken)


def _over_processes(accelerator: Accelerator, numbers: dict[str, float]) -> dict[str, float]:
    """Their sums."""
    together = torch.tensor([*numbers.values()], dtype=torch.float64, device=accelerator.device)
    return dict(zip(numbers, accelerator.reduce(together).tolist(), strict=True))


def _means(taken: Mapping[str, float]) -> Metrics:
    return {name: value / taken["weight"] for name, value in taken.items() if name != "weight"}


def _update(
    parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, scale: float, max_norm: float
) -> float:
    """Take a step along the gradients times `scale`, clipped; returns their norm before that."""
    if scale != 1:
        # Processes' gradients were averaged, not summed.
        torch._foreach_mul_([p.grad for p in parameters.values() if p.grad is not None], scale)
    norm = float(nn.utils.clip_grad_norm_(parameters.values(), max_norm))
    if not math.isfinite(norm):
        raise FloatingPointError(f"the gradients' norm is {norm}; what is kept is of the steps before")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


class _Step(nn.Module):
    """A step as a module, for what wraps modules: DDP sees what is trained, and when its forward ends."""

    def __init__(
        self, modules: Mapping[str, nn.Module], parameters: Mapping[str, nn.Parameter], objective: Objective
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(modules)
        known = {id(p) for p in self.parts.parameters()}
        self.loose = nn.ParameterList([p for p in parameters.values() if id(p) not in known])
        # DDP looks for what a step does not use, and warns, each process by itself, when it finds nothing.
        self.unused = nn.Parameter(torch.zeros((), device=next(iter(parameters.values())).device))
        self.objective = objective

    def forward(self, batch: Any) -> tuple[Tensor, Metrics]:
        return self.objective(batch)


def _prepared(
    accelerator: Accelerator,
    modules: Mapping[str, nn.Module],
    parameters: Mapping[str, nn.Parameter],
    objective: Objective,
    shard: bool,
) -> nn.Module:
    """A step as a module that all processes share."""
    if shard:
        shard_frozen(modules.values(), accelerator.device)
    step = _Step(modules, parameters, objective)
    leave_shards_alone(step)
    model: nn.Module = accelerator.prepare_model(step, device_placement=False)
    return model


@contextmanager
def _training(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Modules in training mode."""
    for module in modules.values():
        module.train()
    yield
    for module in modules.values():
        module.eval()


@contextmanager
def _sigterm(*, tell: bool) -> Iterator[list[int]]:
    """Notes SIGTERM while the block runs: the list is no longer empty. tell: say so on stderr at once, once."""
    asked: list[int] = []

    # What it interrupts may hold the lock of an event, of a logger or of sys.stderr: none of them is touched here.
    def note(number: int, _: object) -> None:
        asked.append(number)
        if tell and len(asked) == 1:
            with suppress(OSError):
                os.write(2, b"SIGTERM: stopping after this step, whose state is then kept\n")

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _tracking(
    accelerator: Accelerator, folder: Path, start: int, batches: Batches[Any], settings: TrainingSettings
) -> Iterator[Tracking | None]:
    """In the main process, what is told of the training."""
    if not accelerator.is_main_process:
        yield None
        return
    told = {name: str(value) for name, value in vars(settings).items()}
    told |= {"batches": str(batches), "processes": str(accelerator.num_processes)}
    with Tracking(folder, start, len(batches), batches.samples, tracker=settings.tracker, told=told) as tracking:
        yield tracking


def _accelerator(device: torch.device) -> Accelerator:
    """Processes as `accelerate launch` or torchrun has set them up; one without either.

    Raises:
        ValueError: the launcher asks for a precision, which is the role's to set, or for weights in shards.
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
    # A step need not use all that is trained: a blind localizer's head reads some levels of cells alone.
    some_unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[some_unused])
