"""What all `talking-points train ...` commands share: options, how a training starts and how it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from talking_points.cli.console import let_threads_sleep, log
from talking_points.memory import keep_freed_memory

BaseOption = Annotated[str, typer.Option("--base", metavar="MODEL", help="The base: 'mini', or a checkpoint folder.")]


def selection_of(objects: list[str] | None, parts: list[str] | None) -> Any:
    from talking_points.dataset.selection import Selection

    return Selection(objects=tuple(objects or ()), parts=tuple(parts or ()))


def prepare() -> None:
    """Memory, threads, and a log on stderr, of the first process alone."""
    import logging

    let_threads_sleep()
    keep_freed_memory()
    level = logging.INFO if first_process() else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", stream=sys.stderr)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def finish(finished: bool, written: Path) -> None:
    if not finished:
        raise typer.Exit(143)
    if first_process():
        log(f"wrote {written}")
