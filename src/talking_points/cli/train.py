"""`talking-points train ...`: the roles, GRPO, and what makes one calibrated checkpoint of two roles."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli.console import let_threads_sleep, log
from talking_points.cli.options import MORE_SETTINGS, DeviceOption, takes
from talking_points.fields import Fields
from talking_points.files import disk_full_explained
from talking_points.memory import keep_freed_memory
from talking_points.progress import Progress
from talking_points.training.settings import DescriptorSettings, GRPOSettings, LocalizerSettings

logger = logging.getLogger(__name__)

LOADING = "importing torch and transformers, which takes a while"
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print sizes, steps, memory and hours as JSON; load no weights.")
]
ROLE_SHOWN = ("data", "base", "out", "recipe", "epochs", "steps", "photos", "learning_rate", "objects", "device")
GRPO_SHOWN: tuple[str, ...] = ("keypoints", "descriptor", "localizer", "out", "objects", "held_out_objects")
GRPO_SHOWN += ("steps", "photos", "points", "learning_rate", "reward", "device")

train_app = typer.Typer(help="Train descriptor and localizer.", no_args_is_help=True)


@train_app.command("descriptor", epilog=MORE_SETTINGS)
@takes(DescriptorSettings, shown=(*ROLE_SHOWN, "fields", "region"))
def train_descriptor(settings: DescriptorSettings, dry_run: DryRunOption = False) -> None:
    """Train the descriptor's adapter over a frozen base."""
    _train_role(settings, dry_run)


@train_app.command("localizer", epilog=MORE_SETTINGS)
@takes(LocalizerSettings, shown=(*ROLE_SHOWN, "head", "blind"))
def train_localizer(settings: LocalizerSettings, dry_run: DryRunOption = False) -> None:
    """Train the localizer's adapter, projector and heads over a frozen base."""
    _train_role(settings, dry_run)


def _train_role(settings: DescriptorSettings | LocalizerSettings, dry_run: bool) -> None:
    _prepare()
    if dry_run:
        from talking_points.training.dry_run import plan

        typer.echo(json.dumps(plan(settings), indent=2))
        return
    with _told_when_interrupted(settings.out):
        # What is wrong with base or data is said before torch is imported.
        from talking_points.pointing.pretrained import find_base
        from talking_points.training.data import read_texts

        find_base(settings.base)
        settings.check_held()
        logger.info("reading %s", settings.data)
        data = read_texts(settings)
        logger.info(LOADING)
        from talking_points.training.roles import train_role

        finished = train_role(settings, data)
    _finish(finished, settings.out / "checkpoint")


@train_app.command("join")
def train_join(
    descriptor: Annotated[str, typer.Option("--descriptor", metavar="MODEL", help="'mini', or a checkpoint folder.")],
    localizer: Annotated[str, typer.Option("--localizer", metavar="MODEL", help="The same, over the same base.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
) -> None:
    """Put a descriptor and a localizer over one base into one checkpoint folder."""
    _prepare()
    with Progress(log, f"reading {descriptor} and {localizer}"):
        import torch

        from talking_points.bases.loading import load_joined, save_base
        from talking_points.model.checkpoint import check_role, check_same_roles, read_trainings, write_trainings
        from talking_points.pointing.pretrained import find_checkpoint

        roles = {"descriptor": find_checkpoint(descriptor), "localizer": find_checkpoint(localizer)}
        for role, folder in roles.items():
            check_role(folder, role)
        check_same_roles(out, roles, dtype=torch.float16)
        told = read_trainings(roles)
        # In the type in which it is written: of a large base that is half the memory.
        joined = load_joined(*roles.values(), dtype=torch.float16)
    with disk_full_explained(out, goes_on=False):
        save_base(joined, out, dtype=torch.float16)
        write_trainings(told, out)
    log(f"wrote {out}")


@train_app.command("calibrate")
def train_calibrate(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="PATH", help="A built set, or a file of points with texts, not trained on."),
    ],
    model: Annotated[str, typer.Option("--model", help="With a localizer: 'mini', or a checkpoint folder.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New checkpoint folder, fp16.")],
    split: Annotated[str, typer.Option("--split", help="Of a built set: 'train', or 'test'.")] = "test",
    fields: Annotated[
        str | None,
        typer.Option("--fields", metavar="image=...,point=...,text=...", help="As `train descriptor` has it."),
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Fit how sure the localizer says it is to how often it is right, on photos held out of its training."""
    _prepare()
    import torch

    from talking_points.bases.loading import load_base, save_base
    from talking_points.evaluation.data import read_samples
    from talking_points.model.checkpoint import (
        check_replaceable,
        check_same_roles,
        read_trainings,
        write_trainings,
    )
    from talking_points.model.roles import ROLES
    from talking_points.pointing.localizer import PointLocalizer
    from talking_points.pointing.pretrained import choose_device, find_checkpoint
    from talking_points.training.calibration import calibrate

    folder = find_checkpoint(model)
    # Before the work, not after it.
    check_replaceable(out)
    held = {role: folder for role in ROLES if (folder / role).is_dir()}
    # An earlier calibration of the same is what is calibrated anew.
    check_same_roles(out, held, dtype=torch.float16, passing="head.temperature")
    named = None if fields is None else Fields.parse(fields)
    with Progress(log, f"reading {data}, loading {model}") as progress:
        samples = read_samples(data, split, lambda problem: log(f"passed over: {problem}"), fields=named)
        base = load_base(folder, device=choose_device(device))
        found = calibrate(PointLocalizer(base), [one for one in samples if one.text is not None], progress.show)
    told = read_trainings(dict.fromkeys(base.roles, folder))
    with disk_full_explained(out, goes_on=False):
        save_base(base, out, dtype=torch.float16)
        write_trainings(told, out)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2))


@train_app.command("grpo", epilog=MORE_SETTINGS)
@takes(GRPOSettings, shown=GRPO_SHOWN)
def train_grpo(settings: GRPOSettings, dry_run: DryRunOption = False) -> None:
    """Reinforce a descriptor on points without texts: rewarded is what a localizer finds from its descriptions."""
    _prepare()
    if dry_run:
        from talking_points.training.dry_run import plan_grpo

        typer.echo(json.dumps(plan_grpo(settings), indent=2))
        return
    with _told_when_interrupted(settings.out):
        from talking_points.pointing.pretrained import find_checkpoint
        from talking_points.training.data import read_points

        for name in (settings.descriptor, settings.localizer, *settings.unseen_localizers):
            find_checkpoint(name)
        logger.info("reading %s", settings.keypoints)
        data = read_points(settings)
        logger.info(LOADING)
        from talking_points.training.reinforce import train_grpo as run

        finished = run(settings, data)
    _finish(finished, settings.out / "checkpoint")


@contextmanager
def _told_when_interrupted(out: Path) -> Iterator[None]:
    """Say what becomes of a training that Ctrl-C ends, or SIGTERM before the first step."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            from talking_points.training.state import kept_step

            step = kept_step(out / "training")
            where = "begins anew: no state was kept yet" if step is None else f"goes on from step {step}"
            log(f"interrupted; the same command {where}")
        raise


def _prepare() -> None:
    """Memory, threads, and a log on stderr, of the first process alone."""
    let_threads_sleep()
    keep_freed_memory()
    level = logging.INFO if _is_first_process() else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", stream=sys.stderr)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _finish(finished: bool, written: Path) -> None:
    """Say where the checkpoint is; a training that SIGTERM stopped ends as SIGTERM ends a program."""
    if not finished:
        raise typer.Exit(143)
    if _is_first_process():
        log(f"wrote {written}")
