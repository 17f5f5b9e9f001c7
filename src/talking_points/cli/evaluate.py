"""Commands that score: evaluate, compare."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talking_points.cli.console import Progress, find_model, log
from talking_points.cli.options import DeviceOption, JsonOption, ModelOption, ObjectOption, PartOption, SeedOption
from talking_points.evaluation.paper import contestants_of
from talking_points.memory import keep_freed_memory

if TYPE_CHECKING:
    from talking_points.evaluation.samples import Sample


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
    if bool(data) == bool(source):
        raise ValueError("expected --data PATH, or --source NAME=DIR, and not both")
    for option, value in (("--limit", limit), ("--points", points), ("--concurrency", concurrency)):
        if value is not None and value < 1:
            raise ValueError(f"{option} is {value}; allowed: at least 1")
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine is {engine!r}; allowed: local, ray")
    if workers < 1 or (workers > 1 and engine == "local"):
        raise ValueError(f"--workers is {workers}; allowed: 1, or 1 and more with --engine ray")
    if style_writer is not None and not styles:
        raise ValueError("--style-writer comes with --styles")
    if table is not None:
        describer, localizer = contestants_of(table, describer or [], localizer or [])
    split = split or ("test" if data else "val")
    keep_freed_memory()
    from talking_points.dataset.selection import Selection
    from talking_points.dataset.sources.loading import parse_sources

    sources = parse_sources(source or [])
    selection = Selection(objects=tuple(only_object or ()), parts=tuple(only_part or ()))
    folder = find_model(model)
    from talking_points.endpoint import Budget, Endpoint, EndpointConfig
    from talking_points.evaluation import run
    from talking_points.evaluation.contestants import hashes_of, open_describers, open_localizers, short_name
    from talking_points.evaluation.endpoints import parse_endpoint
    from talking_points.evaluation.remote import Contestants, RemoteContestant, is_remote
    from talking_points.evaluation.sets import CROSS_PHOTO
    from talking_points.evaluation.styles import asked_texts, styled_texts
    from talking_points.journal import Ledger
    from talking_points.ray_actors import start_actors

    problems: list[str] = []
    if data:
        chosen = run.sets_of_data(
            data,
            split=split,
            limit=limit,
            seed=seed,
            problems=problems,
            cross_photo=cross_photo,
            selection=selection,
        )
    else:
        sets = sets or (list(CROSS_PHOTO) if cross_photo else ["plain", "hard"])
        chosen = run.sets_of_sources(sources, sets, split=split, points=points, seed=seed, selection=selection)
    for problem in problems:
        log(f"passed over: {problem}")
    samples = [sample for one in chosen for sample in one.samples]
    have_texts = all(sample.text is not None for sample in samples)
    describer = describer or [*(["ground-truth"] if have_texts else []), "descriptor"]
    localizer = localizer or ["localizer"]
    names = [*describer, *localizer]
    remote: dict[str, RemoteContestant] = {}
    if engine == "ray":
        actors = start_actors(Contestants, folder.absolute(), device, quantize, workers=workers)
        remote = {name: RemoteContestant(name, actors) for name in names if is_remote(name)}
    ours = None
    if not remote and {"descriptor", "object-caption", "region-caption", "localizer"} & {*describer, *localizer}:
        from talking_points.pointing.round_trip import TalkingPoints

        ours = TalkingPoints.from_pretrained(folder, device=device, quantize=quantize)
    settings = {
        "model": model,
        "quantize": quantize,
        "split": split,
        "only": str(selection),
        "describers": describer,
        "localizers": localizer,
        "sha256": hashes_of(folder, names),
        "style_writer": style_writer,
    }
    out.mkdir(parents=True, exist_ok=True)
    with Ledger(out) as ledger, Progress() as progress:
        budget = Budget(max_requests=max_requests, max_tokens=max_tokens, spent=ledger.spent())

        def ask(config: EndpointConfig) -> Endpoint:
            return Endpoint(config, ledger, budget)

        def restyle(who: str, of: Sequence[Sample], texts: list[str]) -> Mapping[str, list[str]]:
            if style_writer is not None:
                return asked_texts(texts, ask(parse_endpoint(style_writer)), concurrency=concurrency)
            return styled_texts(of, texts, written=who == "ground-truth", seed=seed)

        here = [name for name in describer if name not in remote]
        opened = open_describers(here, ours, samples, ask, concurrency=concurrency, device=device)
        describers = {name: remote.get(name) or opened[name] for name in describer}
        finders = open_localizers(
            [name for name in localizer if name not in remote], ours, ask, concurrency=concurrency, device=device
        )
        finders = {**finders, **{short_name(name): remote[name] for name in localizer if name in remote}}
        localizers = {short_name(name): finders[short_name(name)] for name in localizer}
        report = run.evaluate(
            chosen,
            describers,
            localizers,
            out,
            settings=settings,
            seed=seed,
            restyle=restyle if styles else None,
            table=table,
            problems=problems,
            on_progress=progress.show,
        )
    for name, check in report["checks"].items():
        if not check["passed"]:
            log(f'warning: {name}: the checks of the pairing failed, see "checks" in the report')
    typer.echo(json.dumps(report, indent=2) if as_json else (out / "report.md").read_text(), nl=as_json)
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
