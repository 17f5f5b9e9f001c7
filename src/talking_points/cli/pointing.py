"""The command that scores localizers on pointing benchmarks of others: evaluate-pointing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli.console import Progress, find_model, log
from talking_points.cli.options import DeviceOption, JsonOption, ModelOption
from talking_points.evaluation.settings import PointingSettings
from talking_points.memory import keep_freed_memory


def evaluate_pointing(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The benchmark's files, as distributed.")],
    layout: Annotated[
        str,
        typer.Option("--layout", help="pixmo-points, point-bench, refspatial-bench or ap-10k: whose files they are."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the report goes; an earlier run there resumes.")
    ],
    model: ModelOption = "mini",
    localizer: Annotated[
        list[str] | None,
        typer.Option(
            "--localizer",
            help="localizer, localizer:DIR, blind:DIR (trained blind), or endpoint:URL,MODEL. Repeatable; the first.",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Requests to endpoints side by side.")] = 8,
    max_requests: Annotated[int | None, typer.Option("--max-requests", help="To endpoints, in all runs.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Of endpoints, in all runs.")] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score localizers on a pointing benchmark with its official metric, beside references."""
    settings = PointingSettings(
        data=data,
        layout=layout,
        out=out,
        model=model,
        localizer=tuple(localizer or ("localizer",)),
        concurrency=concurrency,
        max_requests=max_requests,
        max_tokens=max_tokens,
        device=device,
    )
    keep_freed_memory()
    find_model(model)
    from talking_points.evaluation.pointing.run import run

    with Progress() as progress:
        report = run(settings, on_problem=lambda problem: log(f"passed over: {problem}"), on_progress=progress.show)
    if not report["checks"]["passed"]:
        log('warning: right answers do not score 100, see "checks" in the report')
    typer.echo(json.dumps(report, indent=2) if as_json else (out / "report.md").read_text("utf-8"), nl=as_json)
    log(f"wrote {out}/: samples.parquet has every answer")
