"""`talking-points train descriptor` and `train localizer`: a role's adapter over a frozen base, by a recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from talking_points.cli.options import DeviceOption, ObjectOption, OutOption, PartOption, SeedOption
from talking_points.cli.training import BaseOption, finish, prepare, selection_of

DataOption = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", help="A set that build-dataset wrote, or a .jsonl of triplets."),
]
RecipeOption = Annotated[
    str, typer.Option("--recipe", metavar="NAME", help="mini, 7b, or a TOML file; the options below change it.")
]
RoleStepsOption = Annotated[int | None, typer.Option("--steps", help="Steps in all.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Times that everything is seen; or --steps.")]
RoleRateOption = Annotated[float | None, typer.Option("--learning-rate", help="Highest learning rate.")]
ScheduleOption = Annotated[str | None, typer.Option("--schedule", help="After the warm-up: cosine or constant.")]
RolePhotosOption = Annotated[int | None, typer.Option("--photos", help="Photos a step, of all processes together.")]
RolePointsOption = Annotated[int | None, typer.Option("--points", help="Points of each photo, at most.")]
AccumulateOption = Annotated[
    int | None, typer.Option("--accumulate", help="Parts that a process takes its share of a step in.")
]
PrecisionOption = Annotated[str | None, typer.Option("--precision", help="fp32 or bf16.")]
RecomputeOption = Annotated[
    bool | None,
    typer.Option("--recompute/--no-recompute", help="Activation checkpointing of the language model's blocks."),
]
QuantizeOption = Annotated[
    str | None, typer.Option("--quantize", help="nf4 or int8 for the base's language model, by bitsandbytes.")
]
ShardOption = Annotated[
    bool | None,
    typer.Option("--shard/--no-shard", help="The base's frozen weights in shards, one in each process (FSDP)."),
]
RoleWorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Processes that read photos ahead: many for a GPU.")
]
LoraRankOption = Annotated[int | None, typer.Option("--lora-rank", help="Rank of the adapter.")]
LoraAlphaOption = Annotated[int | None, typer.Option("--lora-alpha", help="Scale of the adapter.")]
LoraDropoutOption = Annotated[float | None, typer.Option("--lora-dropout", help="Dropout before the adapter.")]
FeatureCacheOption = Annotated[
    Path | None,
    typer.Option("--feature-cache", metavar="DIR", help="Keeps what the frozen encoder says; runs may share it."),
]
FeatureCacheGbOption = Annotated[float, typer.Option("--feature-cache-gb", help="Room for it.")]
TrackerOption = Annotated[
    str | None, typer.Option("--tracker", help="wandb or trackio, beside TensorBoard's files in --out.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print sizes, steps, tokens and memory as JSON; load no weights.")
]

RECIPE_OPTIONS = (
    "steps",
    "epochs",
    "learning_rate",
    "schedule",
    "photos",
    "points",
    "accumulate",
    "precision",
    "recompute",
    "quantize",
    "shard",
    "workers",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
)
"""Options that change what a recipe says."""


def train_descriptor(
    data: DataOption,
    base: BaseOption,
    out: OutOption,
    recipe: RecipeOption = "mini",
    steps: RoleStepsOption = None,
    epochs: EpochsOption = None,
    learning_rate: RoleRateOption = None,
    schedule: ScheduleOption = None,
    photos: RolePhotosOption = None,
    points: RolePointsOption = None,
    accumulate: AccumulateOption = None,
    precision: PrecisionOption = None,
    recompute: RecomputeOption = None,
    quantize: QuantizeOption = None,
    shard: ShardOption = None,
    workers: RoleWorkersOption = None,
    lora_rank: LoraRankOption = None,
    lora_alpha: LoraAlphaOption = None,
    lora_dropout: LoraDropoutOption = None,
    feature_cache: FeatureCacheOption = None,
    feature_cache_gb: FeatureCacheGbOption = 100.0,
    tracker: TrackerOption = None,
    dry_run: DryRunOption = False,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    region: Annotated[
        str | None,
        typer.Option("--region", help="'predicted-mask': keypoints without the Gaussian, as in the paper's Table 3."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train the descriptor's adapter over a frozen base."""
    _train_role("descriptor", locals())


def train_localizer(
    data: DataOption,
    base: BaseOption,
    out: OutOption,
    recipe: RecipeOption = "mini",
    steps: RoleStepsOption = None,
    epochs: EpochsOption = None,
    learning_rate: RoleRateOption = None,
    schedule: ScheduleOption = None,
    photos: RolePhotosOption = None,
    points: RolePointsOption = None,
    accumulate: AccumulateOption = None,
    precision: PrecisionOption = None,
    recompute: RecomputeOption = None,
    quantize: QuantizeOption = None,
    shard: ShardOption = None,
    workers: RoleWorkersOption = None,
    lora_rank: LoraRankOption = None,
    lora_alpha: LoraAlphaOption = None,
    lora_dropout: LoraDropoutOption = None,
    feature_cache: FeatureCacheOption = None,
    feature_cache_gb: FeatureCacheGbOption = 100.0,
    tracker: TrackerOption = None,
    dry_run: DryRunOption = False,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Blank the photo: the text-only reference of the model card.")
    ] = False,
    frozen_language: Annotated[
        bool, typer.Option("--frozen-language-model", help="Train projector and heads only, as in the paper's Table 4.")
    ] = False,
    head: Annotated[
        str | None,
        typer.Option("--head", help="regression (the paper's), mixture or heatmap; else the base's coordinate head."),
    ] = None,
) -> None:
    """Train the localizer's adapter, projector and heads over a frozen base."""
    _train_role("localizer", locals())


def _train_role(role: str, given: Mapping[str, Any]) -> None:
    """Train one role.

    Args:
        given: all of the command's options, by the names of its parameters.
    """
    from talking_points.training.recipes import read_recipe

    recipe = read_recipe(given["recipe"], role, **{name: given[name] for name in RECIPE_OPTIONS})
    prepare()
    data, gigabytes, tracker = given["data"], given["feature_cache_gb"], given["tracker"]
    if not data.exists():
        raise FileNotFoundError(f"--data {data}: no such file or folder")
    if not gigabytes > 0:
        raise ValueError(f"--feature-cache-gb is {gigabytes}; allowed: a positive number")
    from talking_points.model.config import COORDINATE_HEADS
    from talking_points.pointing.pretrained import find_checkpoint
    from talking_points.training.built import open_triplets
    from talking_points.training.roles import role_batches, role_loop, role_lora, train_role

    # What can be wrong with the settings is said before photos are read.
    role_loop(recipe, recipe.steps or 1, tracker=tracker, seed=given["seed"])
    role_lora(role, recipe)
    head = given.get("head")
    if head not in (None, *COORDINATE_HEADS):
        raise ValueError(f"--head is {head!r}; allowed: {', '.join(COORDINATE_HEADS)}")
    base, out, frozen = find_checkpoint(given["base"]), given["out"], given.get("frozen_language", False)
    triplets = open_triplets(data, selection_of(given["only_object"], given["only_part"]))
    batches = role_batches(recipe, base, triplets, seed=given["seed"])
    if given["dry_run"]:
        from talking_points.training.dry_run import plan

        planned = plan(role, recipe, base, batches, processes=_processes(), frozen_language=frozen)
        typer.echo(json.dumps(planned, indent=2))
        return
    from talking_points.training.features import FeatureCache

    folder = given["feature_cache"]
    finished = train_role(
        role,
        recipe,
        base,
        batches,
        out,
        feature_cache=None if folder is None else FeatureCache(folder, int(gigabytes * 1e9)),
        tracker=tracker,
        seed=given["seed"],
        device=_device(given["device"]),
        blind=given.get("blind", False),
        region=given.get("region"),
        frozen_language=frozen,
        head=head,
    )
    finish(finished, out / "checkpoint")


def _processes() -> int:
    """Of this training, as torchrun and `accelerate launch` tell."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _device(device: str | None) -> Any:
    """Each process of a machine has a GPU of its own."""
    from talking_points.pointing.pretrained import choose_device

    if _processes() > 1 and device in (None, "cuda"):
        import torch

        if torch.cuda.is_available():
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return choose_device(device)
