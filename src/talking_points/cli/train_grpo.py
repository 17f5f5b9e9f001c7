"""`talking-points train grpo`: localization as reward."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli.options import DeviceOption, ObjectOption, OutOption, PartOption, SeedOption
from talking_points.cli.training import finish, prepare, selection_of


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
    steps: Annotated[int, typer.Option("--steps", help="Steps in all.")] = 300,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Highest; the 7B's is 5e-6.")] = 1e-3,
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
    prepare()
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source or [])
    from talking_points.training.batches import BatchSizes
    from talking_points.training.loop import LoopConfig

    # A step is long: what it was like is worth a line, and little is lost by a kill.
    loop = LoopConfig(
        steps=steps,
        learning_rate=learning_rate,
        warmup_steps=min(50, steps // 10),
        log_every=5,
        save_every=20,
        seed=seed,
    )
    sizes = BatchSizes(photos=photos, points=points)
    from talking_points.pointing.pretrained import choose_device, find_checkpoint
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
        selection=selection_of(only_object, only_part),
        held_out_split=held_out_split,
        held_out_selection=selection_of(held_out_object or only_object, held_out_part or only_part),
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
    finish(finished, out / "checkpoint")
