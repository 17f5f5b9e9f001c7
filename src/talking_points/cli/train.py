"""`talking-points train ...`: one command a stage."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talking_points.cli.console import log
from talking_points.cli.options import DeviceOption, ObjectOption, OutOption, PartOption, SeedOption, SourceOption
from talking_points.memory import keep_freed_memory

if TYPE_CHECKING:
    from talking_points.training.recipes import RoleRecipe

train_app = typer.Typer(help="Train the network, stage by stage.", no_args_is_help=True)


StepsOption = Annotated[int, typer.Option("--steps", help="Steps in all.")]
RateOption = Annotated[float, typer.Option("--learning-rate", help="Highest learning rate.")]
PhotosOption = Annotated[int, typer.Option("--photos", help="Scenes a step.")]
PointsOption = Annotated[int, typer.Option("--points", help="Points, or phrases and captions, of each scene.")]
DialectOption = Annotated[
    list[str] | None,
    typer.Option("--dialect", help="Of the texts: paper, coarse, place-free or short. Repeatable; the role's own mix."),
]
BaseOption = Annotated[Path, typer.Option("--base", metavar="DIR", help="Checkpoint folder of the base.")]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="A set that build-dataset wrote, or a .jsonl of triplets."),
]
RecipeOption = Annotated[
    str, typer.Option("--recipe", metavar="NAME", help="mini, 7b, or a TOML file; the options below change it.")
]
RoleSourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME=DIR", help="Part-labelled photos to compose scenes from. Repeatable."),
]
RoleStepsOption = Annotated[int | None, typer.Option("--steps", help="Steps in all.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Times that everything is seen; or --steps.")]
ScenesOption = Annotated[
    int | None, typer.Option("--scenes", help="With --source: so many scenes that repeat; else every scene is new.")
]
RoleRateOption = Annotated[float | None, typer.Option("--learning-rate", help="Highest learning rate.")]
ScheduleOption = Annotated[str | None, typer.Option("--schedule", help="After the warm-up: cosine or constant.")]
RolePhotosOption = Annotated[int | None, typer.Option("--photos", help="Photos a step, of all processes together.")]
RolePointsOption = Annotated[int | None, typer.Option("--points", help="Points of each photo; with --data, at most.")]
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


@train_app.command("trunk")
def train_trunk(
    source: SourceOption,
    out: OutOption,
    steps: StepsOption = 2400,
    learning_rate: RateOption = 1.5e-3,
    photos: PhotosOption = 16,
    side: Annotated[int, typer.Option("--side", help="Side of the square seen, in pixels; a multiple of 32.")] = 192,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start", metavar="DIR", help="Where a trunk finished that is to learn more. Use another --seed."
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train mini's trunk: the part that each cell of a photo shows, and where on it the cell is."""
    sources, loop, sizes = _training(source, steps, learning_rate, photos, 1, seed, weight_decay=0.05)
    from talking_points.pretrained import choose_device
    from talking_points.training.run import TRUNK_FILE
    from talking_points.training.run import train_trunk as run

    finished = run(sources, out, loop, photos=sizes.photos, side=side, start=start, device=choose_device(device))
    _finish(finished, out / TRUNK_FILE)


@train_app.command("base")
def train_base(
    source: SourceOption,
    out: OutOption,
    trunk: Annotated[
        Path | None, typer.Option("--trunk", metavar="DIR", help="Where `train trunk` finished; else mini's own.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start", metavar="DIR", help="Checkpoint folder of a base that is to learn more. Use another --seed."
        ),
    ] = None,
    steps: StepsOption = 3000,
    learning_rate: RateOption = 1e-3,
    photos: PhotosOption = 8,
    points: PointsOption = 4,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train mini's base over its trunk: masks, class words, captions, pointing at regions and points."""
    sources, loop, sizes = _training(source, steps, learning_rate, photos, points, seed, weight_decay=0.02)
    from talking_points.pretrained import choose_device
    from talking_points.training.run import train_base as run

    finished = run(
        sources,
        out,
        loop,
        sizes,
        trunk=trunk,
        start=start,
        selection=_selection(only_object, only_part),
        device=choose_device(device),
    )
    _finish(finished, out / "checkpoint")


@train_app.command("reading")
def train_reading(
    source: SourceOption,
    base: BaseOption,
    out: OutOption,
    steps: StepsOption = 500,
    learning_rate: RateOption = 1e-3,
    photos: PhotosOption = 6,
    points: PointsOption = 12,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Teach a base to read where texts say that a point is, without photos; `train base --start` goes on from it."""
    sources, loop, sizes = _training(source, steps, learning_rate, photos, points, seed, weight_decay=0.02)
    from talking_points.pretrained import choose_device
    from talking_points.training.run import train_reading as run

    _finish(run(sources, base, out, loop, sizes, device=choose_device(device)), out / "checkpoint")


@train_app.command("descriptor")
def train_descriptor(
    base: BaseOption,
    out: OutOption,
    source: RoleSourceOption = None,
    data: DataOption = None,
    recipe: RecipeOption = "mini",
    steps: RoleStepsOption = None,
    epochs: EpochsOption = None,
    scenes: ScenesOption = None,
    learning_rate: RoleRateOption = None,
    schedule: ScheduleOption = None,
    photos: RolePhotosOption = None,
    points: RolePointsOption = None,
    accumulate: AccumulateOption = None,
    precision: PrecisionOption = None,
    recompute: RecomputeOption = None,
    quantize: QuantizeOption = None,
    lora_rank: LoraRankOption = None,
    lora_alpha: LoraAlphaOption = None,
    lora_dropout: LoraDropoutOption = None,
    feature_cache: FeatureCacheOption = None,
    feature_cache_gb: FeatureCacheGbOption = 100.0,
    tracker: TrackerOption = None,
    dry_run: DryRunOption = False,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    dialect: DialectOption = None,
    region: Annotated[
        str | None,
        typer.Option("--region", help="'predicted-mask': keypoints without the Gaussian, as in the paper's Table 3."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train the descriptor's adapter over a frozen base."""
    from talking_points.training.recipes import read_recipe

    changes = dict(
        steps=steps,
        epochs=epochs,
        scenes=scenes,
        learning_rate=learning_rate,
        schedule=schedule,
        photos=photos,
        points=points,
        accumulate=accumulate,
        precision=precision,
        recompute=recompute,
        quantize=quantize,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
    )
    _train_role(
        "descriptor",
        read_recipe(recipe, "descriptor", **changes),
        base,
        out,
        source=source,
        data=data,
        feature_cache=feature_cache,
        feature_cache_gb=feature_cache_gb,
        tracker=tracker,
        dry_run=dry_run,
        region=region,
        dialect=dialect,
        selection=_selection(only_object, only_part),
        seed=seed,
        device=device,
    )


@train_app.command("localizer")
def train_localizer(
    base: BaseOption,
    out: OutOption,
    source: RoleSourceOption = None,
    data: DataOption = None,
    recipe: RecipeOption = "mini",
    steps: RoleStepsOption = None,
    epochs: EpochsOption = None,
    scenes: ScenesOption = None,
    learning_rate: RoleRateOption = None,
    schedule: ScheduleOption = None,
    photos: RolePhotosOption = None,
    points: RolePointsOption = None,
    accumulate: AccumulateOption = None,
    precision: PrecisionOption = None,
    recompute: RecomputeOption = None,
    quantize: QuantizeOption = None,
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
    dialect: DialectOption = None,
    frozen_language: Annotated[
        bool, typer.Option("--frozen-language-model", help="Train projector and heads only, as in the paper's Table 4.")
    ] = False,
    regression: Annotated[
        bool, typer.Option("--regression", help="The paper's coordinate head, where the base has a heatmap.")
    ] = False,
) -> None:
    """Train the localizer's adapter, projector and heads over a frozen base."""
    from talking_points.training.recipes import read_recipe

    changes = dict(
        steps=steps,
        epochs=epochs,
        scenes=scenes,
        learning_rate=learning_rate,
        schedule=schedule,
        photos=photos,
        points=points,
        accumulate=accumulate,
        precision=precision,
        recompute=recompute,
        quantize=quantize,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
    )
    _train_role(
        "localizer",
        read_recipe(recipe, "localizer", **changes),
        base,
        out,
        source=source,
        data=data,
        feature_cache=feature_cache,
        feature_cache_gb=feature_cache_gb,
        tracker=tracker,
        dry_run=dry_run,
        selection=_selection(only_object, only_part),
        seed=seed,
        device=device,
        blind=blind,
        dialect=dialect,
        frozen_language=frozen_language,
        regression=regression,
    )


@train_app.command("calibrate")
def train_calibrate(
    source: SourceOption,
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="Checkpoint folder with a localizer.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
    points: Annotated[int, typer.Option("--points", help="Of each photo.")] = 4,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Fit how sure the localizer says it is to how often it is right, on photos held out of its training."""
    sources, loop, _ = _training(source, 1, 1.0, 1, points, seed)
    import torch

    from talking_points.evaluation.run import sets_of_sources
    from talking_points.localizer import PointLocalizer
    from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
    from talking_points.pretrained import choose_device
    from talking_points.training.calibration import calibrate

    network = load_checkpoint(model, device=choose_device(device))
    chosen = sets_of_sources(sources, ["plain", "hard"], split="val", points=points, seed=loop.seed)
    found = calibrate(PointLocalizer(network), [sample for one in chosen for sample in one.samples])
    save_checkpoint(network, out, dtype=torch.float16)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2))


@train_app.command("join")
def train_join(
    descriptor: Annotated[Path, typer.Option("--descriptor", metavar="DIR", help="Checkpoint folder.")],
    localizer: Annotated[Path, typer.Option("--localizer", metavar="DIR", help="Checkpoint folder, same base.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
) -> None:
    """Put a descriptor and a localizer over one base into one checkpoint folder."""
    from talking_points.training.run import join_roles

    join_roles(descriptor, localizer, out)
    log(f"wrote {out}")


@train_app.command("grpo")
def train_grpo(
    descriptor: Annotated[str, typer.Option("--descriptor", metavar="DIR", help="Checkpoint to start from.")],
    localizer: Annotated[
        list[str],
        typer.Option("--localizer", metavar="DIR", help="Checkpoint of the judge, frozen. Repeatable: a panel."),
    ],
    out: OutOption,
    keypoints: Annotated[
        Path | None,
        typer.Option("--keypoints", metavar="SET", help="A built set, a JSON-lines file of points, or AP-10K."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=DIR", help="Or part-labelled photos, to draw points in. Repeatable."),
    ] = None,
    set_name: Annotated[
        str, typer.Option("--set", help="With --source: 'plain' photos, or 'hard' crops and mosaics.")
    ] = "plain",
    draw: Annotated[int, typer.Option("--draw", help="With --source: points drawn in each photo.")] = 8,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="The paper's on AP-10K, bovidae-to-canidae or canidae-to-bovidae: learn on all of the one family, "
            "watch by the other.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="To learn on: train unless given, or all.")] = None,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    held_out_split: Annotated[
        str | None, typer.Option("--held-out-split", help="To watch by: val, or some of --split where there is none.")
    ] = None,
    held_out_object: Annotated[
        list[str] | None, typer.Option("--held-out-object", help="As --object; the same ones unless given.")
    ] = None,
    held_out_part: Annotated[
        list[str] | None, typer.Option("--held-out-part", help="As --part; the same ones unless given.")
    ] = None,
    held_out_points: Annotated[int, typer.Option("--held-out-points", help="About how many, of whole photos.")] = 200,
    unseen_localizer: Annotated[
        list[str] | None,
        typer.Option("--unseen-localizer", metavar="DIR", help="A judge that only watches. Repeatable."),
    ] = None,
    evaluate_every: Annotated[
        int, typer.Option("--evaluate-every", help="Steps between looks at held-out points.")
    ] = 50,
    steps: StepsOption = 300,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Highest; the 7B's is 5e-6.")] = 1e-4,
    photos: Annotated[int, typer.Option("--photos", help="Photos a step.")] = 8,
    points: Annotated[int, typer.Option("--points", help="Points of each, at most.")] = 4,
    group_size: Annotated[int, typer.Option("--group-size", help="Texts sampled a point.")] = 3,
    temperature: Annotated[float, typer.Option("--temperature", help="Of the samples.")] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Of the samples.")] = 1.0,
    blocks: Annotated[int, typer.Option("--blocks", help="Last blocks whose adapter learns.")] = 2,
    kl_weight: Annotated[float, typer.Option("--kl-weight", help="Of staying near the descriptor as it was.")] = 0.1,
    reward: Annotated[str, typer.Option("--reward", help="mse (the paper's), distance, or pck.")] = "mse",
    panel: Annotated[str, typer.Option("--panel", help="Of several localizers: mean or worst.")] = "mean",
    guard: Annotated[str, typer.Option("--guard", help="Against texts that are code: none, length, fluency.")] = "none",
    guard_weight: Annotated[float, typer.Option("--guard-weight", help="Of the guard's penalty.")] = 0.1,
    divide_by_std: Annotated[
        bool, typer.Option("--divide-by-std/--no-divide-by-std", help="Advantages over their group's spread.")
    ] = True,
    max_kl: Annotated[float, typer.Option("--max-kl", help="Nats a token; above it the training stops.")] = 1.0,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Reinforce a descriptor on points without texts: rewarded is what a localizer finds from its descriptions."""
    sources, loop, sizes = _training(source or [], steps, learning_rate, photos, points, seed)
    # A step is long: what it was like is worth a line, and little is lost by a kill.
    loop = dataclasses.replace(loop, warmup_steps=min(50, steps // 10), log_every=5, save_every=20)
    from talking_points.pretrained import choose_device, find_checkpoint
    from talking_points.training.grpo import GRPOConfig
    from talking_points.training.keypoint_sets import PRESETS, KeypointSet, learning_and_held_out
    from talking_points.training.reinforce import Watching
    from talking_points.training.reinforce import train_grpo as run

    config = GRPOConfig(
        group_size=group_size,
        kl_weight=kl_weight,
        blocks=blocks,
        reward=reward,
        panel=panel,
        guard=guard,
        guard_weight=guard_weight,
        temperature=temperature,
        top_p=top_p,
        divide_by_std=divide_by_std,
        max_kl=max_kl,
    )
    if preset is not None:
        if preset not in PRESETS:
            raise ValueError(f"preset is {preset!r}; allowed: {', '.join(PRESETS)}")
        if keypoints is None or only_object or held_out_object:
            raise ValueError("--preset chooses the animals of --keypoints: leave out --source and --object")
        only_object, held_out_object = ([family] for family in PRESETS[preset])
        split = split or "all"
    folders = {name: find_checkpoint(name) for name in (descriptor, *localizer, *(unseen_localizer or ()))}
    chosen = choose_device(device)
    learning, held_out = learning_and_held_out(
        KeypointSet(path=keypoints, sources=sources, set_name=set_name, points=draw),
        split=split or "train",
        selection=_selection(only_object, only_part),
        held_out_split=held_out_split,
        held_out_selection=_selection(held_out_object or only_object, held_out_part or only_part),
        held_out_points=held_out_points,
        seed=seed,
    )
    watching = Watching(
        samples=held_out, every=evaluate_every, unseen=[folders[name] for name in unseen_localizer or ()]
    )
    finished = run(
        learning,
        folders[descriptor],
        [folders[name] for name in localizer],
        out,
        loop,
        sizes,
        config,
        watching,
        device=chosen,
    )
    _finish(finished, out / "checkpoint")


def _train_role(
    role: str,
    recipe: RoleRecipe,
    base: Path,
    out: Path,
    *,
    source: list[str] | None,
    data: Path | None,
    feature_cache: Path | None,
    feature_cache_gb: float,
    tracker: str | None,
    dry_run: bool,
    selection: Any,
    seed: int,
    device: str | None,
    dialect: list[str] | None,
    region: str | None = None,
    blind: bool = False,
    frozen_language: bool = False,
    regression: bool = False,
) -> None:
    _prepare()
    dialects = _dialects(dialect)
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source or [])
    if data is not None and not data.exists():
        raise FileNotFoundError(f"--data {data}: no such file or folder")
    if not feature_cache_gb > 0:
        raise ValueError(f"--feature-cache-gb is {feature_cache_gb}; allowed: a positive number")
    from talking_points.training.run import role_batches, role_loop, role_lora, train_role

    # What can be wrong with the settings is said before photos are read.
    role_loop(recipe, recipe.steps or 1, tracker=tracker, seed=seed)
    role_lora(role, recipe)
    if dry_run:
        from talking_points.training.dry_run import plan

        batches = role_batches(
            role, recipe, base, sources=sources, data=data, selection=selection, dialects=dialects, seed=seed
        )
        planned = plan(role, recipe, base, batches, processes=_processes(), frozen_language=frozen_language)
        typer.echo(json.dumps(planned, indent=2))
        return
    from talking_points.training.features import FeatureCache

    cache = None if feature_cache is None else FeatureCache(feature_cache, int(feature_cache_gb * 1e9))
    finished = train_role(
        role,
        recipe,
        base,
        out,
        sources=sources,
        data=data,
        feature_cache=cache,
        tracker=tracker,
        seed=seed,
        device=_device(device),
        blind=blind,
        region=region,
        frozen_language=frozen_language,
        selection=selection,
        dialects=dialects,
        regression=regression,
    )
    _finish(finished, out / "checkpoint")


def _processes() -> int:
    """Of this training, as torchrun and `accelerate launch` tell."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _device(device: str | None) -> Any:
    """Each process of a machine has a GPU of its own."""
    from talking_points.pretrained import choose_device

    if _processes() > 1 and device in (None, "cuda"):
        import torch

        if torch.cuda.is_available():
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return choose_device(device)


def _training(
    source: list[str],
    steps: int,
    rate: float,
    photos: int,
    points: int,
    seed: int,
    *,
    weight_decay: float = 0.0,
) -> Any:
    """Sources, loop and sizes of a training command, and its log on stderr."""
    _prepare()
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source)
    from talking_points.training.batches import BatchSizes
    from talking_points.training.loop import LoopConfig

    loop = LoopConfig(steps=steps, learning_rate=rate, weight_decay=weight_decay, seed=seed)
    return sources, loop, BatchSizes(photos=photos, points=points)


def _selection(objects: list[str] | None, parts: list[str] | None) -> Any:
    from talking_points.dataset.selection import Selection

    return Selection(objects=tuple(objects or ()), parts=tuple(parts or ()))


def _dialects(names: list[str] | None) -> tuple[str, ...] | None:
    from talking_points.dataset.relations import DIALECTS

    for name in names or []:
        if name not in DIALECTS:
            raise ValueError(f"--dialect is {name!r}; allowed: {', '.join(DIALECTS)}")
    return tuple(names) if names else None


def _prepare() -> None:
    """Memory, threads, and a log on stderr, of the first process alone."""
    import logging

    # Threads that wait by spinning stand in each other's way as soon as anything else runs on the machine. Read
    # when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    keep_freed_memory()
    level = logging.INFO if _first_process() else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", stream=sys.stderr)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _finish(finished: bool, written: Path) -> None:
    if not finished:
        raise typer.Exit(143)
    if _first_process():
        log(f"wrote {written}")
