"""Commands that score: evaluate, evaluate-pointing, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from talking_points.cli.console import expect_model, log
from talking_points.cli.options import JsonOption, takes
from talking_points.evaluation.settings import EvaluationSettings, PointingSettings
from talking_points.memory import keep_freed_memory
from talking_points.progress import Progress

SHOWN: tuple[str, ...] = ("data", "fields", "source", "out", "model", "describer", "localizer", "split", "table")
SHOWN += ("styles", "limit", "device")
POINTING_SHOWN = ("data", "layout", "out", "model", "localizer", "concurrency", "max_requests", "max_tokens", "device")


@takes(EvaluationSettings, shown=SHOWN)
def evaluate(settings: EvaluationSettings, as_json: JsonOption = False) -> None:
    """Score describers through localizers, beside references that show what a score is worth."""
    keep_freed_memory()
    expect_model(settings.model)
    from talking_points.evaluation.report import pairing_said
    from talking_points.evaluation.run import run

    with Progress(log, f"reading what is scored, loading {settings.model}") as progress:
        report = run(settings, on_problem=_pass_over, on_progress=progress.show)
    for name, check in report["checks"].items():
        if not check["passed"]:
            log(f"warning: {name}: {pairing_said(check)}")
    _print_report(report, settings.out, as_json=as_json)
    log(f"wrote {settings.out}/: report.html shows each text beside where it leads")


@takes(PointingSettings, shown=POINTING_SHOWN)
def evaluate_pointing(settings: PointingSettings, as_json: JsonOption = False) -> None:
    """Score localizers on a pointing benchmark with its official metric, beside references."""
    keep_freed_memory()
    expect_model(settings.model)
    from talking_points.evaluation.pointing.run import run

    with Progress(log, f"reading what is scored, loading {settings.model}") as progress:
        report = run(settings, on_problem=_pass_over, on_progress=progress.show)
    if not report["checks"]["passed"]:
        log('warning: right answers do not score 100, see "checks" in the report')
    _print_report(report, settings.out, as_json=as_json)
    log(f"wrote {settings.out}/: samples.parquet has every answer")


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
    from talking_points.evaluation.report import interval_said

    for row in rows:
        style = f" ({row['style']})" if "style" in row else ""
        typer.echo(
            f"{row['set']}: {row['describer']}{style} -> {row['localizer']}: "
            f"{row['mpck'][0]:.1f} -> {row['mpck'][1]:.1f}, "
            f"{row['difference']:+.1f} ({interval_said(row['difference_ci'], signed=True)})"
        )


def _pass_over(problem: str) -> None:
    log(f"passed over: {problem}")


def _print_report(report: dict[str, Any], out: Path, *, as_json: bool) -> None:
    typer.echo(json.dumps(report, indent=2) if as_json else (out / "report.md").read_text("utf-8"), nl=as_json)
