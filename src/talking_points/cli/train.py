"""`talking-points train ...`: one command a stage."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from talking_points.cli.console import log
from talking_points.cli.options import DeviceOption, ObjectOption, OutOption, PartOption, SeedOption, SourceOption
from talking_points.memory import keep_freed_memory

train_app = typer.Typer(help="Train the network, stage by stage.", no_args_is_help=True)


StepsOption = Annotated[int, typer.Option("--steps", help="Steps in all.")]
RateOption = Annotated[float, typer.Option("--learning-rate", help="Highest learning rate.")]
PhotosOption = Annotated[int, typer.Option("--photos", help="Scenes a step.")]
PointsOption = Annotated[int, typer.Option("--points", help="Points, or phrases and captions, of each scene.")]
LoraRankOption = Annotated[int, typer.Option("--lora-rank", help="Rank of the adapter; the 7B's is 512.")]
LoraAlphaOption = Annotated[int, typer.Option("--lora-alpha", help="Scale of the adapter; the 7B's is 256.")]
LoraDropoutOption = Annotated[float, typer.Option("--lora-dropout", help="The 7B's is 0.05.")]
DialectOption = Annotated[
    list[str] | None,
    typer.Option("--dialect", help="Of the texts: paper, coarse, place-free or short. Repeatable; the role's own mix."),
]
BaseOption = Annotated[Path, typer.Option("--base", metavar="DIR", help="Checkpoint folder of the base.")]


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
    source: SourceOption,
    base: BaseOption,
    out: OutOption,
    steps: StepsOption = 450,
    learning_rate: RateOption = 1.5e-3,
    photos: PhotosOption = 8,
    points: PointsOption = 8,
    lora_rank: LoraRankOption = 32,
    lora_alpha: LoraAlphaOption = 32,
    lora_dropout: LoraDropoutOption = 0.0,
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
    dialects = _dialects(dialect)
    sources, loop, sizes = _training(source, steps, learning_rate, photos, points, seed)
    from talking_points.model.checkpoint import lora_config
    from talking_points.pretrained import choose_device
    from talking_points.training.run import DESCRIPTOR_DIALECTS, train_role

    lora = lora_config("descriptor", rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout)
    only = _selection(only_object, only_part)
    finished = train_role(
        "descriptor",
        sources,
        base,
        out,
        loop,
        sizes,
        lora=lora,
        dialects=dialects or DESCRIPTOR_DIALECTS,
        region=region,
        device=choose_device(device),
        selection=only,
    )
    _finish(finished, out / "checkpoint")


@train_app.command("localizer")
def train_localizer(
    source: SourceOption,
    base: BaseOption,
    out: OutOption,
    steps: StepsOption = 400,
    learning_rate: RateOption = 1.5e-3,
    photos: PhotosOption = 8,
    points: PointsOption = 8,
    lora_rank: LoraRankOption = 32,
    lora_alpha: LoraAlphaOption = 32,
    lora_dropout: LoraDropoutOption = 0.0,
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
    dialects = _dialects(dialect)
    sources, loop, sizes = _training(source, steps, learning_rate, photos, points, seed)
    from talking_points.model.checkpoint import lora_config
    from talking_points.pretrained import choose_device
    from talking_points.training.run import LOCALIZER_DIALECTS, train_role

    lora = lora_config("localizer", rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout)
    chosen = choose_device(device)
    only = _selection(only_object, only_part)
    finished = train_role(
        "localizer",
        sources,
        base,
        out,
        loop,
        sizes,
        lora=lora,
        dialects=dialects or LOCALIZER_DIALECTS,
        device=chosen,
        blind=blind,
        frozen_language=frozen_language,
        selection=only,
        regression=regression,
    )
    _finish(finished, out / "checkpoint")


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
    import logging

    # Threads that wait by spinning stand in each other's way as soon as anything else runs on the machine. Read
    # when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source)
    from talking_points.training.batches import BatchSizes
    from talking_points.training.loop import LoopConfig

    loop = LoopConfig(steps=steps, learning_rate=rate, weight_decay=weight_decay, seed=seed)
    return sources, loop, BatchSizes(photos=photos, points=points)


def _selection(objects: list[str] | None, parts: list[str] | None) -> Any:
    from talking_points.dataset.selection import Selection

    return Selection(objects=tuple(objects or ()), parts=tuple(parts or ()))


def _dialects(names: list[str] | None) -> tuple[str, ...]:
    from talking_points.dataset.relations import DIALECTS

    for name in names or []:
        if name not in DIALECTS:
            raise ValueError(f"--dialect is {name!r}; allowed: {', '.join(DIALECTS)}")
    return tuple(names or ())


def _finish(finished: bool, written: Path) -> None:
    if finished:
        log(f"wrote {written}")
    else:
        raise typer.Exit(143)
