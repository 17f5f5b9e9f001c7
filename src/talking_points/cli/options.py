"""How commands are made of settings: flags, --config, --show-config; and the options that stand beside settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from talking_points.settings import Setting, make, read, settings_of, to_toml

Run = TypeVar("Run", bound=Callable[..., None])
KEYWORD = inspect.Parameter.KEYWORD_ONLY

ModelOption = Annotated[str, typer.Option("--model", help="'mini', a checkpoint folder, or a Hub id (owner/name).")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="'cpu', 'cuda', 'cuda:1', ...; chosen for you unless given.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
_CONFIG = typer.Option("--config", metavar="FILE.toml", help="Settings from a file; flags go before it.")
_SHOW = typer.Option("--show-config", help="Print all settings as TOML, the less common ones too, and stop.")


def takes(cls: type, *, shown: Collection[str] = ()) -> Callable[[Run], Run]:
    """Decorator: the function becomes a command whose flags are the fields of a settings class.

    Every field is a flag and a key of `--config`; a flag goes before the file. The function takes the settings as its
    first parameter; its other parameters are options as typer knows them.

    Args:
        cls: the settings' class; see `talking_points.settings`.
        shown: fields that `--help` lists; all unless given. The others are in `--show-config`.
    """

    def decorate(run: Run) -> Run:
        signature = inspect.signature(run, eval_str=True)
        own = [one.replace(kind=KEYWORD) for one in list(signature.parameters.values())[1:]]
        parameters = [_parameter(one, hidden=bool(shown) and one.name not in shown) for one in settings_of(cls)]
        config = inspect.Parameter("config", KEYWORD, default=None, annotation=Annotated[Path | None, _CONFIG])
        show = inspect.Parameter("show_config", KEYWORD, default=False, annotation=Annotated[bool, _SHOW])
        parameters += [*own, config, show]

        @functools.wraps(run)
        def call(config: Path | None, show_config: bool, **given: Any) -> None:
            beside = {one.name: given.pop(one.name) for one in own}
            if show_config:
                typer.echo(to_toml(cls, read(cls, given, config=config)), nl=False)
            else:
                run(make(cls, given, config=config), **beside)

        # What typer reads the command's parameters from.
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        return cast(Run, call)

    return decorate


def _parameter(setting: Setting, *, hidden: bool) -> inspect.Parameter:
    """A setting as a parameter of a command; None where nothing is given."""
    default, required = setting.default, setting.default is MISSING
    said = setting.help + (" Required." if required else "")
    metavar = setting.metavar or "|".join(setting.choices) or ("PATH" if setting.kind is Path else None)
    if setting.flag is None:
        info: Any = typer.Argument(metavar=metavar, help=said, show_default=False)
    else:
        shown: str | bool = False if required or default in (None, (), "", False) else _as_shown(default, setting.flag)
        info = typer.Option(setting.flag, metavar=metavar, help=said, show_default=shown, hidden=hidden)
    kind: Any = list[setting.kind] if setting.many else setting.kind  # type: ignore[name-defined]
    return inspect.Parameter(setting.name, KEYWORD, default=None, annotation=Annotated[kind | None, info])


def _as_shown(default: Any, flag: str) -> str:
    """A default as the help shows it."""
    if isinstance(default, bool):
        return flag.split("/")[0].removeprefix("--")
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


SourceOption = Annotated[
    list[str],
    typer.Option(
        "--source",
        metavar="NAME=DIR",
        help="Part-labelled photos: pascal-part-116, ade20k-part-234, part-imagenet, ap-10k, label-map, coco-parts or "
        "coco (objects, joints, boxes). Repeatable.",
    ),
]


OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where results go; an earlier run there resumes.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Equal seeds make equal choices.")]
ObjectOption = Annotated[
    list[str] | None,
    typer.Option("--object", help="Only points on these: an object's name, or its family in AP-10K. Repeatable."),
]
PartOption = Annotated[
    list[str] | None,
    typer.Option("--part", help="Only points on these parts, by their name or a word of it. Repeatable."),
]
