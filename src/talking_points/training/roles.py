"""What `talking-points train descriptor` and `train localizer` run: a role's adapter over a frozen base."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from talking_points.bases.base import Base
from talking_points.bases.loading import attach_role, holds_base, load_base, load_outline, save_base
from talking_points.evaluation.samples import Sample
from talking_points.files import read_json, write_whole
from talking_points.model.checkpoint import write_trainings
from talking_points.model.weights import fingerprint
from talking_points.pages import counted
from talking_points.pointing.pretrained import choose_device, find_base
from talking_points.settings import to_toml
from talking_points.training.batches import PointBatch, PointBatches
from talking_points.training.data import check_learnt, read_texts
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.loop import Metrics, OnStep, go_on, is_main_process, train
from talking_points.training.objectives import descriptor_objective, localizer_objective
from talking_points.training.settings import DescriptorSettings, LocalizerSettings, TrainingSettings, processes
from talking_points.training.sharding import check_several

log = logging.getLogger(__name__)

Settings = DescriptorSettings | LocalizerSettings


def train_role(
    settings: Settings, data: Sequence[Sample] | PointBatches | None = None, *, on_step: OnStep = go_on
) -> bool:
    """Train the role that the settings are of.

    Args:
        settings: they are written to `settings.toml` in their `out`, too.
        data: samples with texts, or batches of them at the base's size, whose number is that of the steps; None: what
            `settings.data` holds.
        on_step: as `train` takes it.

    Returns:
        True when finished and saved to `out/checkpoint`; False when stopped early (the same call resumes).

    Raises:
        ValueError: the data has no texts, the base is none, or settings do not fit them; says which.
    """
    if settings.shard:
        check_several(processes())
    role, folder = settings.section, find_base(settings.base)
    if settings.further:
        settings = with_held_adapter(settings, folder)
        log.info("going on with the %s in %s, of rank %d", role, folder, settings.lora_rank)
    if data is None:
        log.info("reading %s", settings.data)
        data = read_texts(settings)
    log.info("reading the tokenizer and the sizes of the base in %s", folder)
    outline = load_outline(folder, side=settings.side)
    check_learnt(data.points if isinstance(data, PointBatches) else data, outline.prompts, settings)
    device = own_device(settings.device)
    log.info("reading the base in %s", folder)
    roles = (role,) if settings.further else ()
    base = load_base(
        folder,
        device=device,
        dtype=own_dtype(settings),
        roles=roles,
        quantize=settings.quantize,
        side=settings.side,
    )
    # Who goes on with a run must have begun from the same role, or from none.
    told = f", further from {fingerprint(base.role_weights(role).values())}" if settings.further else ""
    batches = data if isinstance(data, PointBatches) else PointBatches(data, settings, side=base.side, told=told)
    attach(base, settings)
    parameters = role_parameters(base, role, language=not settings.frozen_language_model)
    weights = sum(p.numel() for p in parameters.values())
    log.info(
        "%s; an epoch is %s, there are %d; %d weights learn",
        *(batches.shown, counted(batches.epoch_steps, "step"), len(batches), weights),
    )
    base.recompute(settings.recompute)
    cache = None
    if settings.feature_cache is not None:
        cache = FeatureCache(settings.feature_cache, int(settings.feature_cache_gb * 1e9))
    vision = FrozenVision(base, role, cache)
    minimised = descriptor_objective if role == "descriptor" else localizer_objective

    def objective(batch: PointBatch) -> tuple[Tensor, Metrics]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
            return minimised(base, batch, vision)

    finished = train(
        base.role_modules(role),
        parameters,
        batches,
        objective,
        settings,
        settings.out / "training",
        shard=settings.shard,
        on_step=settings_first(settings, on_step),
    )
    log.info("%s", vision.work_said())
    if finished and is_main_process():
        _save(base, settings, folder)
        write_trainings({role: told_of(settings, batches)}, settings.out / "checkpoint")
    return finished


def _save(base: Base, settings: Settings, folder: Path) -> None:
    """Write what was trained over the base in a folder."""
    if holds_base(base) and (settings.quantize is not None or settings.shard):
        # The checkpoint's base is the one on disk: a quantized one has lost something, of shards each has a part.
        language = not settings.frozen_language_model
        trained = base.role_weights(settings.section, language=language)
        roles = (settings.section,) if settings.further else ()
        base = load_base(folder, dtype=base.dtype, roles=roles, side=settings.side)
        attach(base, settings)
        with torch.no_grad():
            for name, parameter in base.role_weights(settings.section, language=language).items():
                parameter.copy_(trained[name])
    save_base(base, settings.out / "checkpoint")


def with_held_adapter(settings: Settings, folder: Path) -> Settings:
    """The settings, with the sizes of the adapter that the base's folder holds; a ValueError where it holds none."""
    settings.check_held()
    held = read_json(folder / settings.section / "adapter_config.json")
    return replace(settings, lora_rank=held["r"], lora_alpha=held["lora_alpha"], lora_dropout=held["lora_dropout"])


TOLD = ("epochs", "photos", "points", "learning_rate", "schedule", "seed")
"""Of the settings, what a checkpoint tells of its training."""
TOLD_OF_ROLE = ("further", "train_projector", "blind", "frozen_language_model")


def told_of(settings: Settings, batches: PointBatches) -> dict[str, Any]:
    """How a role is trained, without names of folders: for its checkpoint to tell."""
    told = {name: getattr(settings, name) for name in TOLD}
    told |= {name: getattr(settings, name) for name in TOLD_OF_ROLE if hasattr(settings, name)}
    return {"steps": len(batches), "texts": len(batches.points), **told}


def attach(base: Base, settings: Settings) -> None:
    """Give a base without roles the untrained one that the settings are of, and what they change of the base.

    One that is trained further is there already; a localizer's confidence is no longer calibrated.
    """
    torch.manual_seed(settings.seed)
    if settings.section in base.roles:
        if settings.section == "localizer" and base.temperature is not None:
            base.temperature.fill_(1.0)
        return
    attach_role(
        base,
        settings.section,
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        head=settings.head if isinstance(settings, LocalizerSettings) else None,
        blind=isinstance(settings, LocalizerSettings) and settings.blind,
        region=settings.region if isinstance(settings, DescriptorSettings) else None,
        projector=isinstance(settings, DescriptorSettings) and settings.train_projector,
    )


def role_parameters(base: Base, role: str, *, language: bool = True) -> dict[str, nn.Parameter]:
    """What a role's training updates: its LoRA weights, if `language`, and its own parts."""
    parameters = dict(base.role_weights(role, language=language))
    for parameter in parameters.values():
        # fp32 whatever the base's type: small steps are lost in bf16.
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return parameters


def settings_first(settings: TrainingSettings, on_step: OnStep) -> OnStep:
    """`on_step` of a training whose settings are written into `out/settings.toml` at its first call.

    Not sooner: a run that may not go on from what is there must leave it as it is.
    """

    def told(done: int, metrics: Metrics) -> bool:
        if not metrics and is_main_process():
            settings.out.mkdir(parents=True, exist_ok=True)
            write_whole(settings.out / "settings.toml", to_toml(type(settings), vars(settings)))
        return on_step(done, metrics)

    return told


def own_dtype(settings: TrainingSettings) -> torch.dtype:
    """Of the base."""
    return torch.bfloat16 if settings.precision == "bf16" else torch.float32


def own_device(device: str | None) -> torch.device:
    """A device that was asked for, or chosen: each process of a machine has a GPU of its own."""
    if processes() > 1 and device in (None, "cuda") and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return choose_device(device)
