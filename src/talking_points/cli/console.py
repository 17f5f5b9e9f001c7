"""What commands tell people on stderr while they work."""

from __future__ import annotations

import os
import sys

import typer


def say(message: str) -> None:
    """Tell a person at the terminal what is being done; a program that reads stderr gets errors only."""
    if sys.stderr.isatty():
        log(message)


def log(message: str) -> None:
    """Progress of long work, for people and for log files."""
    typer.echo(message, err=True)


def expect_model(model: str) -> None:
    """Call it before a model is loaded, and before torch is imported: an unknown model is reported at once."""
    from talking_points.pointing.pretrained import find_model

    find_model(model)
    say(f"loading {model}")
    let_threads_sleep()


def let_threads_sleep() -> None:
    """Call it before torch is imported, which reads this then.

    Threads that wait by spinning stand in each other's way as soon as anything else runs on the machine: a description
    by `mini` took four times as long there.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
