"""How commands are made of settings: flags, --config, --show-config; and the options that stand beside settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from talking_points.files import disk_full_explained
from talking_points.settings import Setting, make, read, settings_of, to_toml

Run = TypeVar("Run", bound=Callable[..., None])
KEYWORD = inspect.Parameter.KEYWORD_ONLY

DeviceOption = Annotated[
    str | None, typer.Option("--device", help="'cpu', 'cuda', 'cuda:1', ...; chosen for you unless given.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
MORE_SETTINGS = "More settings: --show-config"
"""At the end of the help of a command that has more of them than flags that are shown."""
_CONFIG = typer.Option("--config", metavar="FILE.toml", help="Settings from a file; a flag counts more.")
_SHOW = typer.Option("--show-config", help="Print all settings as TOML, the less common ones too, and stop.")


def takes(cls: type, *, shown: Sequence[str] = ()) -> Callable[[Run], Run]:
    """Decorator: the function becomes a command whose flags are the fields of a settings class.

    Every field is a flag and a key of `--config`; a flag counts more than the file. The function takes the settings as
    its first parameter; its other parameters are options as typer knows them.

    Args:
        cls: the settings' class; see `talking_points.settings`.
        shown: fields that `--help` lists, in this order; all unless given. The others are in `--show-config`.
    """

    def decorate(run: Run) -> Run:
        signature = inspect.signature(run, eval_str=True)
        own = [one.replace(kind=KEYWORD) for one in list(signature.parameters.values())[1:]]
        settings = {one.name: one for one in settings_of(cls)}
        hidden = [name for name in settings if shown and name not in shown]
        # What a recipe may say is no default to show.
        with_defaults = not hasattr(cls, "beneath")
        parameters = [
            _parameter(settings[name], hidden=name in hidden, with_default=with_defaults)
            for name in [*(shown or settings), *hidden]
        ]
        config = inspect.Parameter("config", KEYWORD, default=None, annotation=Annotated[Path | None, _CONFIG])
        show = inspect.Parameter("show_config", KEYWORD, default=False, annotation=Annotated[bool, _SHOW])
        parameters += [*own, config, show]

        @functools.wraps(run)
        def call(config: Path | None, show_config: bool, **given: Any) -> None:
            beside = {one.name: given.pop(one.name) for one in own}
            if show_config:
                values = read(cls, given, config=config)
                if (told_of := getattr(cls, "told_of", None)) is not None:
                    typer.echo(f"# {told_of(values)}\n")
                typer.echo(to_toml(cls, values), nl=False)
            else:
                made: Any = make(cls, given, config=config)
                with disk_full_explained(getattr(made, "out", None)):
                    run(made, **beside)

        # What typer reads the command's parameters from.
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        return cast(Run, call)

    return decorate


def _parameter(setting: Setting, *, hidden: bool, with_default: bool) -> inspect.Parameter:
    """A setting as a parameter of a command; None where nothing is given."""
    said, default = setting.help, setting.default
    if default is MISSING:
        said += " Required."
    elif with_default and default not in (None, (), False, "", Path()):
        # Not as typer's default: that would look like something given. The backslash is Rich's.
        said += rf" \[default: {', '.join(map(str, default)) if setting.many else default}]"
    metavar = setting.metavar or "|".join(setting.choices) or ("PATH" if setting.kind is Path else None)
    if setting.flag is None:
        info: Any = typer.Argument(metavar=metavar, help=said, show_default=False)
    else:
        info = typer.Option(setting.flag, metavar=metavar, help=said, show_default=False, hidden=hidden)
    kind: Any = list[setting.kind] if setting.many else setting.kind  # type: ignore[name-defined]
    return inspect.Parameter(setting.name, KEYWORD, default=None, annotation=Annotated[kind | None, info])
