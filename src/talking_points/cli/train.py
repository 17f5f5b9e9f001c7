"""`talking-points train ...`: the stages of mini, one command each; the roles and GRPO have files of their own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli import train_grpo, train_roles
from talking_points.cli.console import log
from talking_points.cli.options import DeviceOption, ObjectOption, OutOption, PartOption, SeedOption, SourceOption
from talking_points.cli.training import (
    BaseOption,
    PhotosOption,
    PointsOption,
    RateOption,
    StepsOption,
    WorkersOption,
    finish,
    prepare,
    selection_of,
    start_training,
)

train_app = typer.Typer(help="Train the network, stage by stage.", no_args_is_help=True)


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
        typer.Option("--from", metavar="DIR", help="Where a trunk finished that is to learn more. Use another --seed."),
    ] = None,
    workers: WorkersOption = 1,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train mini's trunk: the part that each cell of a photo shows, and where on it the cell is."""
    sources, loop, sizes = start_training(
        source, steps, learning_rate, photos, 1, seed, workers=workers, weight_decay=0.05
    )
    from talking_points.pointing.pretrained import choose_device
    from talking_points.training.stages import TRUNK_FILE
    from talking_points.training.stages import train_trunk as run

    finished = run(sources, out, loop, photos=sizes.photos, side=side, start=start, device=choose_device(device))
    finish(finished, out / TRUNK_FILE)


@train_app.command("vision")
def train_vision(
    source: SourceOption,
    out: OutOption,
    trunk: Annotated[
        Path | None, typer.Option("--trunk", metavar="DIR", help="Where `train trunk` finished; else mini's own.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="A base that is to see better: where `train vision` or `train base` finished, 'mini', or a checkpoint "
            "folder. Use another --seed.",
        ),
    ] = None,
    side: Annotated[
        int | None,
        typer.Option("--side", help="Side of the square that the base sees from now on, in pixels; else as it is."),
    ] = None,
    steps: StepsOption = 3000,
    learning_rate: RateOption = 1.5e-3,
    photos: PhotosOption = 16,
    points: PointsOption = 8,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    workers: WorkersOption = 1,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train the vision encoder of mini's base over its trunk: masks, class words, points that know where they are."""
    sources, loop, sizes = start_training(
        source, steps, learning_rate, photos, points, seed, workers=workers, weight_decay=0.02
    )
    from talking_points.pointing.pretrained import choose_device
    from talking_points.training.stages import train_vision as run

    finished = run(
        sources,
        out,
        loop,
        sizes,
        trunk=trunk,
        start=start,
        side=side,
        selection=selection_of(only_object, only_part),
        device=choose_device(device),
    )
    finish(finished, out / "checkpoint")


@train_app.command("language")
def train_language(
    source: SourceOption,
    base: BaseOption,
    out: OutOption,
    steps: StepsOption = 1500,
    learning_rate: RateOption = 1e-3,
    photos: PhotosOption = 6,
    points: PointsOption = 12,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    workers: WorkersOption = 1,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Teach a base's language model, without photos, to read and write where a point is."""
    sources, loop, sizes = start_training(
        source, steps, learning_rate, photos, points, seed, workers=workers, weight_decay=0.02
    )
    from talking_points.pointing.pretrained import choose_device, find_checkpoint
    from talking_points.training.stages import train_language as run

    selection = selection_of(only_object, only_part)
    finished = run(sources, find_checkpoint(base), out, loop, sizes, selection=selection, device=choose_device(device))
    finish(finished, out / "checkpoint")


@train_app.command("base")
def train_base(
    source: SourceOption,
    vision: Annotated[Path, typer.Option("--vision", metavar="DIR", help="Where `train vision` finished.")],
    language: Annotated[
        Path,
        typer.Option(
            "--language",
            metavar="DIR",
            help="Where `train language` finished; or `train base`, if its base is to go on with a better encoder.",
        ),
    ],
    out: OutOption,
    steps: StepsOption = 1000,
    learning_rate: RateOption = 1e-3,
    photos: PhotosOption = 6,
    points: PointsOption = 4,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    workers: WorkersOption = 1,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Train mini's base, encoder and language model together: captions, pointing at regions, texts about points."""
    sources, loop, sizes = start_training(
        source, steps, learning_rate, photos, points, seed, workers=workers, weight_decay=0.02
    )
    from talking_points.pointing.pretrained import choose_device
    from talking_points.training.stages import train_base as run

    selection = selection_of(only_object, only_part)
    finished = run(sources, vision, language, out, loop, sizes, selection=selection, device=choose_device(device))
    finish(finished, out / "checkpoint")


train_app.command("descriptor")(train_roles.train_descriptor)
train_app.command("localizer")(train_roles.train_localizer)


@train_app.command("calibrate")
def train_calibrate(
    source: SourceOption,
    model: Annotated[str, typer.Option("--model", help="With a localizer: 'mini', or a checkpoint folder.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
    points: Annotated[int, typer.Option("--points", help="Of each photo.")] = 4,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Fit how sure the localizer says it is to how often it is right, on photos held out of its training."""
    sources, loop, _ = start_training(source, 1, 1.0, 1, points, seed)
    import torch

    from talking_points.evaluation.run import sets_of_sources
    from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
    from talking_points.pointing.localizer import PointLocalizer
    from talking_points.pointing.pretrained import choose_device, find_checkpoint
    from talking_points.training.calibration import calibrate

    network = load_checkpoint(find_checkpoint(model), device=choose_device(device))
    chosen = sets_of_sources(sources, ["plain", "hard"], split="val", points=points, seed=loop.seed)
    found = calibrate(PointLocalizer(network), [sample for one in chosen for sample in one.samples])
    save_checkpoint(network, out, dtype=torch.float16)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2))


@train_app.command("join")
def train_join(
    descriptor: Annotated[str, typer.Option("--descriptor", metavar="MODEL", help="'mini', or a checkpoint folder.")],
    localizer: Annotated[str, typer.Option("--localizer", metavar="MODEL", help="The same, over the same base.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
) -> None:
    """Put a descriptor and a localizer over one base into one checkpoint folder."""
    prepare()
    from talking_points.pointing.pretrained import find_checkpoint
    from talking_points.training.roles import join_roles

    join_roles(find_checkpoint(descriptor), find_checkpoint(localizer), out)
    log(f"wrote {out}")


train_app.command("grpo")(train_grpo.train_grpo)
