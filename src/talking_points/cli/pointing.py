"""The command that scores localizers on pointing benchmarks of others: evaluate-pointing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from talking_points.cli.console import Progress, find_model, log
from talking_points.cli.options import DeviceOption, JsonOption, ModelOption
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
    if concurrency < 1:
        raise ValueError(f"--concurrency is {concurrency}; allowed: at least 1")
    keep_freed_memory()
    from talking_points.evaluation.pointing_sets import read_tasks

    problems: list[str] = []
    tasks = read_tasks(data, layout, problems.append)
    for problem in problems:
        log(f"passed over: {problem}")
    folder = find_model(model)
    from talking_points.endpoint import Budget, Endpoint, EndpointConfig
    from talking_points.evaluation import pointing_run
    from talking_points.evaluation.contestants import hashes_of, open_localizers
    from talking_points.journal import Ledger

    localizer = localizer or ["localizer"]
    ours = None
    if "localizer" in localizer:
        from talking_points.pointing.round_trip import TalkingPoints

        ours = TalkingPoints.from_pretrained(folder, device=device)
    settings = {"model": model, "localizers": localizer, "sha256": hashes_of(folder, localizer)}
    out.mkdir(parents=True, exist_ok=True)
    with Ledger(out) as ledger, Progress() as progress:
        budget = Budget(max_requests=max_requests, max_tokens=max_tokens, spent=ledger.spent())

        def ask(config: EndpointConfig) -> Endpoint:
            return Endpoint(config, ledger, budget)

        report = pointing_run.evaluate_pointing(
            layout,
            tasks,
            open_localizers(localizer, ours, ask, concurrency=concurrency, device=device),
            out,
            settings=settings,
            problems=problems,
            on_progress=progress.show,
        )
    if not report["checks"]["passed"]:
        log('warning: right answers do not score 100, see "checks" in the report')
    typer.echo(json.dumps(report, indent=2) if as_json else (out / "report.md").read_text(), nl=as_json)
    log(f"wrote {out}/: samples.parquet has every answer")
