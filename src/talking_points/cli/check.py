"""The command that asks a model for known points: check-model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from talking_points.cli.console import expect_model, let_threads_sleep, log
from talking_points.cli.options import takes
from talking_points.progress import Progress
from talking_points.settings import argument, flag


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """Of check-model."""

    model: str = field(metadata=argument("NAME"))
    """'mini', a checkpoint folder, a Hub id (owner/name), or endpoint:URL,MODEL."""
    device: str | None = None
    """'cpu', 'cuda', 'cuda:1', 'mps', ...; chosen for you unless given."""
    quantize: str | None = None
    """nf4 or int8 for the language model, by bitsandbytes."""
    style: str | None = None
    """Of a stock model or an endpoint, how it writes points; told by its name unless given."""
    as_json: bool = field(default=False, metadata=flag("--json"))
    """Print the report as JSON."""
    dry_run: bool = False
    """Of a stock model, only say what it takes: nothing is downloaded or loaded."""


@takes(CheckSettings)
def check_model(settings: CheckSettings) -> None:
    """Ask a model for twenty known points, both ways: does it answer, and are its points where they should be?"""
    if settings.dry_run:
        _plan(settings)
        return
    expect_model(settings.model)
    from talking_points.pointing.checking import check_model as check
    from talking_points.pointing.pretrained import load_roles

    begun = time.monotonic()
    with Progress(log, f"loading {settings.model}") as progress:
        model = load_roles(settings.model, device=settings.device, quantize=settings.quantize, style=settings.style)
        loaded_s = time.monotonic() - begun
        style = getattr(model.localizer, "style", None)
        report = {
            "model": settings.model,
            "style": style,
            "loading_s": round(loaded_s, 1),
            **check(model, on_progress=progress.show),
        }
    typer.echo(json.dumps(report, indent=2) if settings.as_json else _as_text(report))
    if not report["passed"]:
        raise typer.Exit(1)


def _plan(settings: CheckSettings) -> None:
    let_threads_sleep()
    from talking_points.bases.sizes import known_config, plan

    folder = Path(settings.model)
    config = folder / "config.json" if folder.is_dir() else known_config(settings.model)
    if config is None:
        raise ValueError(
            f"--dry-run knows Qwen3-VL of 2B, 4B and 8B by their names, and folders; {settings.model!r} is neither"
        )
    planned = plan(config)
    if settings.as_json:
        typer.echo(json.dumps({"model": settings.model, **planned}, indent=2))
        return
    typer.echo(
        f"{settings.model}: {planned['weights'] / 1e9:.2f} billion weights. A photo: up to "
        f"{planned['tokens_of_a_photo']:,} tokens, {planned['keys_and_values_of_a_photo_gb']:.2f} GB kept while its "
        "points are asked about. Estimates:"
    )
    for how, memory in planned["estimated_memory"].items():
        cards = ", ".join(f"{count} on {card}" for card, count in memory["points_at_once"].items())
        typer.echo(
            f"  {how}: weights {memory['weights_gb']:.1f} GB; points at once: {cards or 'none on the usual cards'}"
        )


def _as_text(report: dict[str, Any]) -> str:
    finding, describing, absent = report["finding"], report["describing"], report["absent"]
    lines = [
        f"{report['model']}: loaded in {report['loading_s']:.0f} s"
        + (f", its points read as {report['style']!r} (--style sets it)" if report["style"] else ""),
        f"found {finding['found']:.0%} of {finding['points']} within a tenth of the photo, median error "
        f"{_share(finding['median_error'])}, {finding['seconds'] / finding['points']:.2f} s each",
        "  by the photo's long side: "
        + ", ".join(
            f"{side} px {of['found']:.0%} ({_share(of['median_error'])})" for side, of in finding["by_size"].items()
        ),
        "  by photo: " + ", ".join(f"{title} {of['found']:.0%}" for title, of in finding["by_photo"].items()),
    ]
    if finding["unreadable"]:
        lines.append(f"  {finding['unreadable']} answers could not be read; the first: {finding['first_problem']}")
    if finding["said_absent"]:
        lines.append(f"  of {finding['said_absent']} it said that they are not there")
    lines.append(f"not there: said of {absent['said_absent']} of {absent['asked']} things that are not in the photos")
    lines.append(
        f"described {describing['points'] - describing['empty']} of {describing['points']} points, "
        f"{describing['seconds'] / describing['points']:.2f} s each; its own words lead it back to "
        f"{describing['found_again']:.0%} of them, median error {_share(describing['median_error'])}"
    )
    lines += [f"  {one['asked']}: {one['said'] or '(nothing)'}" for one in describing["texts"][:5]]
    if report["frame"]:
        lines.append(f"the frame is wrong: {report['frame']['advice']}")
    elif report["passed"]:
        lines.append("passed: its points are where they should be")
    elif report["in_frame"]:
        away = _share(finding["median_error_of_found"])
        lines.append(
            f"not passed: its frame is right (what it finds lies {away} away, in the median), but many of these things "
            "it does not find: it does not know them"
        )
    else:
        lines.append("not passed, and no other frame or style would do better: it does not find these points")
    return "\n".join(lines)


def _share(error: float | None) -> str:
    return "unknown" if error is None else f"{error:.1%} of the photo"
