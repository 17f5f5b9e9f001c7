"""The command line: parse, call the library, print.

Only the answer goes to stdout; what is being done goes to stderr. The exit status is 0; 1 when some lines of a file
failed (and for numbers of `parity` that differ, and a `check-model` that is not passed); 2 with one line on stderr for
bad input, or when all lines failed; 130 after Ctrl-C; 143 after SIGTERM. torch takes seconds to import, so it is
imported by the library, after everything that can be checked without it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import talking_points
from talking_points.cli import agents, check, dataset, evaluate, points, serve, train, weights
from talking_points.cli.options import MORE_SETTINGS

# typer keeps its exceptions' common parents to itself: BadParameter is a UsageError is a ClickException.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    help="Describe one pixel of a photo in words, and find it again from those words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog=MORE_SETTINGS)(points.describe)
app.command(epilog=MORE_SETTINGS)(points.localize)
app.command("round-trip", epilog=MORE_SETTINGS)(points.round_trip)
app.command()(points.demo)
app.command("check-model")(check.check_model)
app.command("build-dataset", epilog=MORE_SETTINGS)(dataset.build_dataset)
app.command("inspect-dataset")(dataset.inspect_dataset)
app.add_typer(train.train_app, name="train")
app.command(epilog=MORE_SETTINGS)(evaluate.evaluate)
app.command("evaluate-pointing", epilog=MORE_SETTINGS)(evaluate.evaluate_pointing)
app.command()(evaluate.compare)
app.command(epilog=MORE_SETTINGS)(serve.serve)
app.command()(serve.collect)
app.command(epilog=MORE_SETTINGS)(agents.mcp)
app.command("import-omg-llava")(weights.import_omg_llava)
app.command()(weights.parity)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"talking-points {talking_points.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: what follows the program's name; those of the process unless given.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if is_main else None
    try:
        status = app(args=arguments, prog_name="talking-points", standalone_mode=False)
    except _Terminated:
        status = 143
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except _ClickException as error:
        message: str = error.format_message()  # type: ignore[attr-defined]
        context = getattr(error, "ctx", None)
        # A word in excess, or an option that there is not: what was meant, only the help can say. Without a message it
        # was printed, as there were no arguments.
        is_usage = isinstance(error, _UsageError) and not isinstance(error, typer.BadParameter)
        if message and is_usage and context is not None:
            message += f"{'' if message.endswith(('.', '?')) else '.'} See `{context.command_path} --help`"
        status = _fail(message)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        status = _fail(str(error))
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    sys.exit(status or 0)


class _Terminated(BaseException):
    """SIGTERM came; the work ends where it is, as after Ctrl-C."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _fail(message: str) -> int:
    """Print a message as one line, if there is one."""
    if message:
        typer.echo(f"error: {' '.join(message.split())}", err=True)
    return 2
