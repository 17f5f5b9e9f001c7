"""Commands that score: evaluate, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli.console import Progress, find_model, log
from talking_points.cli.options import DeviceOption, JsonOption, ModelOption, ObjectOption, PartOption, SeedOption
from talking_points.evaluation.settings import EvaluationSettings
from talking_points.memory import keep_freed_memory


def evaluate(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the report goes; an earlier run there resumes.")
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="A built set, a JSON-lines file of triplets, AP-10K or SPair-71k. Repeatable.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=DIR", help="Or part-labelled photos, to draw points from. Repeatable."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="With --source: 'plain' photos, or 'hard' crops and mosaics; 'mirrored', 'cropped' or 'recoloured' to "
            "be found in a changed photo. Repeatable; the first two.",
        ),
    ] = None,
    points: Annotated[int, typer.Option("--points", help="With --source: points of each photo.")] = 4,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="'test' for the last measurement; with --source also 'val', to choose by: the default there.",
        ),
    ] = None,
    model: ModelOption = "mini",
    describer: Annotated[
        list[str] | None,
        typer.Option(
            "--describer",
            help="ground-truth, descriptor, descriptor:DIR, object-caption, region-caption, file:PATH or "
            "endpoint:URL,MODEL. Repeatable; the first two.",
        ),
    ] = None,
    localizer: Annotated[
        list[str] | None,
        typer.Option(
            "--localizer",
            help="localizer, localizer:DIR, blind:DIR (trained blind), or endpoint:URL,MODEL. Repeatable.",
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", help="The paper's 1, 3, 4 or 'figure': its contestants, and its rows beside ours."),
    ] = None,
    styles: Annotated[
        bool, typer.Option("--styles", help="Every text in other styles too: a matrix of styles and judges.")
    ] = False,
    style_writer: Annotated[
        str | None,
        typer.Option("--style-writer", help="endpoint:URL,MODEL that rewrites for --styles; rules unless given."),
    ] = None,
    cross_photo: Annotated[
        bool,
        typer.Option(
            "--cross-photo",
            help="Described in one photo, found in another: with AP-10K the same keypoint of the same species, with "
            "--source the photo mirrored, cropped and recoloured.",
        ),
    ] = False,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Requests to endpoints side by side.")] = 8,
    max_requests: Annotated[int | None, typer.Option("--max-requests", help="To endpoints, in all runs.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Of endpoints, in all runs.")] = None,
    quantize: Annotated[
        str | None, typer.Option("--quantize", help="nf4 or int8 for the base's language model, by bitsandbytes.")
    ] = None,
    only_object: ObjectOption = None,
    only_part: PartOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="With --data: samples of each set, at most, drawn evenly over its sources."),
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray for a cluster.")] = "local",
    workers: Annotated[int, typer.Option("--workers", help="With --engine ray: actors, a model each.")] = 1,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score describers through localizers, beside references that show what a score is worth."""
    keep_freed_memory()
    settings = EvaluationSettings(
        out=out,
        data=tuple(data or ()),
        source=tuple(source or ()),
        sets=tuple(sets or ()),  # type: ignore[arg-type]
        points=points,
        split=split,
        model=model,
        describer=tuple(describer or ()),
        localizer=tuple(localizer or ("localizer",)),
        table=table,  # type: ignore[arg-type]
        styles=styles,
        style_writer=style_writer,
        cross_photo=cross_photo,
        concurrency=concurrency,
        max_requests=max_requests,
        max_tokens=max_tokens,
        quantize=quantize,
        objects=tuple(only_object or ()),
        parts=tuple(only_part or ()),
        limit=limit,
        engine=engine,  # type: ignore[arg-type]
        workers=workers,
        seed=seed,
        device=device,
    )
    from talking_points.dataset.sources.loading import parse_sources

    parse_sources(settings.source)
    find_model(model)
    from talking_points.evaluation.run import run

    with Progress() as progress:
        report = run(settings, on_problem=lambda problem: log(f"passed over: {problem}"), on_progress=progress.show)
    for name, check in report["checks"].items():
        if not check["passed"]:
            log(f'warning: {name}: the checks of the pairing failed, see "checks" in the report')
    typer.echo(json.dumps(report, indent=2) if as_json else (out / "report.md").read_text("utf-8"), nl=as_json)
    log(f"wrote {out}/: report.html shows each text beside where it leads")


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="Where `evaluate` wrote.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Where it wrote another time.")],
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one evaluation to another: paired differences in mPCK, with intervals."""
    from talking_points.evaluation.compare import compare as run

    rows = run(one, other)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        low, high = row["difference_ci"]
        typer.echo(
            f"{row['set']}: {row['describer']} -> {row['localizer']}: {row['mpck'][0]:.1f} -> {row['mpck'][1]:.1f}, "
            f"{row['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
        )
