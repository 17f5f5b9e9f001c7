"""Commands about sets of triplets: build-dataset, inspect-dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from talking_points.cli.console import log
from talking_points.cli.options import JsonOption, takes
from talking_points.dataset.settings import BuildSettings
from talking_points.memory import keep_freed_memory
from talking_points.progress import Progress
from talking_points.settings import flag

SHOWN: tuple[str, ...] = ("sources", "out", "split", "records", "points_per_photo", "dialects")
SHOWN += ("object_describer", "local_describer", "writer", "workers", "seed", "check", "as_json")


@dataclass(frozen=True, kw_only=True)
class BuildOrCheckSettings(BuildSettings):
    """Of build-dataset, which may look through the labels instead."""

    # Not given with --check, which writes nothing.
    out: Path | None = field(default=None, metadata=flag(metavar="DIR"))  # type: ignore[assignment]
    """Folder of the set; an earlier run there goes on."""
    check: bool = False
    """Only read the sources, in all their splits, and list everything that is wrong."""
    as_json: bool = field(default=False, metadata=flag("--json"))
    """With --check: print the problems as JSON."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.as_json and not self.check:
            raise ValueError("--json goes with --check")
        if self.out is None and not self.check:
            raise ValueError("give --out, the folder for the set; or --check, to have the labels looked through alone")


@takes(BuildOrCheckSettings, shown=SHOWN)
def build_dataset(settings: BuildOrCheckSettings) -> None:
    """Build image, point and text triplets from part-labelled photos; the same command goes on after a stop."""
    keep_freed_memory()
    if settings.check:
        _check(settings)
        return
    from talking_points.dataset.build import build

    with Progress(log, "reading the sources") as progress:
        report = build(settings, progress.show)
    _print("built.txt.j2", report=report, out=settings.out)
    log(f"wrote {settings.out}")
    if settings.audit_share is not None:
        log(f"the audit's page is {settings.out}/audit/index.html")


def _check(settings: BuildOrCheckSettings) -> None:
    """Print what is wrong with labels; leaves with status 2 where anything is."""
    from talking_points.dataset.check import check_sources, lines_of
    from talking_points.dataset.sources.loading import parse_sources
    from talking_points.pages import counted, render

    with Progress(log, "reading the sources") as progress:
        found = check_sources(parse_sources(settings.sources), progress.show)
    for note, count in found.notes.items():
        log(f"noted: {count:,} x {note}")
    for folder in (one for one in found.folders if one.missing):
        # Beside the problems: a split that is missing may be none.
        for line in render("talking_points.cli", "folder.txt.j2", folder=folder).splitlines():
            log(line)
    photos, lines = counted(found.photos, "photo"), lines_of(found.problems)
    if settings.as_json:
        report = {name: [asdict(one) for one in getattr(found, name)] for name in ("problems", "folders")}
        typer.echo(_printable(json.dumps(report, indent=2, ensure_ascii=False)))
    else:
        for line in lines:
            typer.echo(_printable(line))
        if not found.problems:
            typer.echo(f"no problems in {photos}")
    if found.problems:
        each = "; --json has each" if len(lines) < len(found.problems) and not settings.as_json else ""
        log(f"{counted(len(found.problems), 'problem')} in {photos}{each}")
        raise typer.Exit(2)


def _printable(text: str) -> str:
    """The text with a "?" for what no terminal can show: JSON may hold halves of characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def inspect_dataset(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What build-dataset wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Count a built set, measure its texts, and list records that look wrong."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    from talking_points.dataset.report import inspect_dataset as inspect

    found, audit = inspect(folder)
    if as_json:
        answers = None if audit is None else asdict(audit)
        typer.echo(json.dumps({**asdict(found), "audit": answers}, indent=2, ensure_ascii=False))
        return
    _print("inspected.txt.j2", found=found, audit=audit)


def _print(template: str, **values: Any) -> None:
    # Imported here: Jinja2 is not needed to print help.
    from talking_points.pages import render

    typer.echo(render("talking_points.cli", template, listed=_listed, **values), nl=False)


def _listed(counts: Mapping[str, int], most: int | None = None) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:most])
    return listed + (", ..." if most is not None and len(counts) > most else "")
