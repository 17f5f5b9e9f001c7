"""`talking-points train ...`: the roles, GRPO, and what makes one calibrated checkpoint of two roles."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli import train_grpo, train_roles
from talking_points.cli.console import log
from talking_points.cli.options import DeviceOption
from talking_points.cli.training import prepare

train_app = typer.Typer(help="Train descriptor and localizer.", no_args_is_help=True)
train_app.command("descriptor")(train_roles.train_descriptor)
train_app.command("localizer")(train_roles.train_localizer)


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


@train_app.command("calibrate")
def train_calibrate(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="PATH", help="A built set, or a JSON-lines file of triplets, not trained on."),
    ],
    model: Annotated[str, typer.Option("--model", help="With a localizer: 'mini', or a checkpoint folder.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
    split: Annotated[str, typer.Option("--split", help="Of a built set: 'train', or 'test'.")] = "test",
    device: DeviceOption = None,
) -> None:
    """Fit how sure the localizer says it is to how often it is right, on photos held out of its training."""
    prepare()
    import torch

    from talking_points.evaluation.data import read_samples
    from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
    from talking_points.pointing.localizer import PointLocalizer
    from talking_points.pointing.pretrained import choose_device, find_checkpoint
    from talking_points.training.calibration import calibrate

    folder = find_checkpoint(model)
    samples = read_samples(data, split, lambda problem: log(f"passed over: {problem}"))
    network = load_checkpoint(folder, device=choose_device(device))
    found = calibrate(PointLocalizer(network), [sample for sample in samples if sample.text is not None])
    save_checkpoint(network, out, dtype=torch.float16)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2))


train_app.command("grpo")(train_grpo.train_grpo)
