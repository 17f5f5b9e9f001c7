"""A command's settings: one frozen dataclass, from which its TOML file, its flags and its help are made.

A field is a str, int, float, bool, Path or Literal of texts, a tuple of any length of one of these, or `| None`; the
text beneath it is its help, in the shell and in TOML. A flag has the field's name unless `flag` says otherwise; one
of a tuple is given once for each value. The class lies in the package that uses it and imports neither torch nor
transformers; a base class gives its fields to several commands. A class method `beneath(given)` says, from the values
given, what holds in place of defaults, as a recipe does; `told_of(given)` says which, for people. `make` reads such a
class from a TOML file and from flags, `to_toml` writes it. The shell's side is `talking_points.cli.options`.
"""

from __future__ import annotations

import ast
import inspect
import json
import math
import sys
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from talking_points.files import read_toml

T = TypeVar("T")

MAX_BYTES = 2**20
"""A larger file is no file of settings."""
_SAID = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


def flag(declaration: str = "", *, metavar: str | None = None) -> Mapping[str, Any]:
    """Metadata of a field: its flag, such as "--object" or "--balance/--random", and its value's name in the help."""
    return MappingProxyType({"flags": (declaration,) if declaration else (), "metavar": metavar})


def argument(metavar: str) -> Mapping[str, Any]:
    """Metadata of a field that is given by its place, without a flag. `metavar` is its name in the help."""
    return MappingProxyType({"argument": True, "metavar": metavar})


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A field of a settings class."""

    name: str
    kind: type
    """str, int, float, bool or Path."""
    choices: tuple[str, ...]
    """Of a Literal."""
    many: bool
    """A tuple of `kind`."""
    default: Any
    """`dataclasses.MISSING` where it has to be given."""
    help: str
    flag: str | None
    """None of an argument, which is given by its place."""
    metavar: str | None
    """What its value is called in the help."""

    def read(self, value: Any) -> Any:
        """A value of TOML, or of a parsed flag, as the dataclass takes it.

        Raises:
            ValueError: it is of another type, or none of the choices.
        """
        if self.many:
            if not isinstance(value, list | tuple):
                raise ValueError(f'{self.name} is {value!r}; allowed: a list, as in {self.name} = ["..."]')
            return tuple(self._read_one(one) for one in value)
        return self._read_one(value)

    def _read_one(self, value: Any) -> Any:
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            with suppress(OverflowError):
                value = float(value)
        if self.kind is Path and isinstance(value, str) and value:
            value = Path(value)
        wrong = not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool)
        if self.kind is int and not wrong and not (0 if self.name == "seed" else -(2**63)) <= value < 2**63:
            allowed = "0 to 2**63 - 1" if self.name == "seed" else "a whole number of 64 bits"
            raise ValueError(f"{self.name} is {value}; allowed: {allowed}")
        if wrong or (self.choices and value not in self.choices) or (self.kind is float and math.isnan(value)):
            allowed = ", ".join(self.choices) or _SAID[self.kind]
            raise ValueError(f"{self.name} is {value!r}; allowed: {allowed}")
        return value


# A command asks several times.
@cache
def settings_of(cls: type) -> tuple[Setting, ...]:
    """The fields of a settings class, in order.

    Raises:
        TypeError: a field is of a type that settings do not have.
    """
    hints, docs = get_type_hints(cls), _docs_of(cls)
    found = []
    for one in fields(cls):
        kinds = get_args(hints[one.name]) if get_origin(hints[one.name]) in (Union, UnionType) else (hints[one.name],)
        given = [kind for kind in kinds if kind is not NoneType]
        many = get_origin(given[0]) is tuple
        kind = get_args(given[0])[0] if many else given[0]
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        kind = str if choices else kind
        if kind not in _SAID or len(given) > 1:
            raise TypeError(f"{cls.__name__}.{one.name} is {hints[one.name]}: no type of a setting")
        default = one.default if one.default_factory is MISSING else one.default_factory()
        flags = one.metadata.get("flags") or (_flag_of(one.name, kind),)
        found.append(
            Setting(
                name=one.name,
                kind=kind,
                choices=choices,
                many=many,
                default=default,
                help=docs.get(one.name, ""),
                flag=None if one.metadata.get("argument") else flags[0],
                metavar=one.metadata.get("metavar"),
            )
        )
    return tuple(found)


def _flag_of(name: str, kind: type) -> str:
    """The flag of a name; of a switch both ways, as a file may have turned it on."""
    name = name.replace("_", "-")
    return f"--{name}/--no-{name}" if kind is bool else f"--{name}"


def _docs_of(cls: type) -> dict[str, str]:
    """The texts beneath the fields of a class and of its base classes; empty where there is no source."""
    docs: dict[str, str] = {}
    for part in reversed(cls.__mro__[:-1]):
        of_part = _docs_in_module(part.__module__).get(part.__qualname__)
        if of_part is None:  # a class inside a function
            of_part = next(map(_docs_beneath, _classes(part)), {})
        docs |= of_part
    return docs


@cache
def _docs_in_module(name: str) -> dict[str, dict[str, str]]:
    """Of its classes, read once: all commands ask for theirs as the program starts."""
    return {one.name: _docs_beneath(one) for one in _classes(sys.modules.get(name))}


def _classes(of: Any) -> list[ast.ClassDef]:
    """Those at the top of a module's or a class's source; none where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(of)))
    except (OSError, TypeError):
        return []
    return [one for one in tree.body if isinstance(one, ast.ClassDef)]


def _docs_beneath(cls: ast.ClassDef) -> dict[str, str]:
    docs = {}
    for one, after in zip(cls.body, cls.body[1:], strict=False):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(after, ast.Expr):
            docs[one.target.id] = " ".join(str(ast.literal_eval(after.value)).split())
    return docs


def make(cls: type[T], given: Mapping[str, Any], *, config: Path | None = None) -> T:
    """Settings from a TOML file and from what was given beside it; see `read`.

    Raises:
        FileNotFoundError, ValueError: as `read`; or a value lacks, or is not allowed.
    """
    values = read(cls, given, config=config)
    kind: type = cls  # what is cached takes no type variable
    for one in settings_of(kind):
        if one.default is MISSING and one.name not in values:
            raise ValueError(f"{one.flag or one.metavar} is missing: {one.help or 'it has to be given'}")
    return cls(**values)


def read(cls: type, given: Mapping[str, Any], *, config: Path | None = None) -> dict[str, Any]:
    """What a TOML file sets and what was given beside it, which goes before the file; and what is `beneath` both.

    Args:
        cls: the settings' class.
        given: values by field; None, or an empty list, stands for nothing given.
        config: the TOML file. Its relative paths start where the command runs, as those of flags do.

    Raises:
        FileNotFoundError, ValueError: no such file, not TOML, an unknown key, or a value of another type.
    """
    values = {} if config is None else _of_file(cls, config)
    values |= read_values(cls, {name: value for name, value in given.items() if value is not None and value != []})
    beneath = getattr(cls, "beneath", None)
    return values if beneath is None else {**beneath(values), **values}


def _of_file(cls: type, path: Path) -> dict[str, Any]:
    """What a TOML file sets, checked as `read_values` does; the errors name the file."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file of settings: {path}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; a file of settings has at most {MAX_BYTES}")
    content = read_toml(path)
    try:
        return read_values(cls, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_values(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the dataclass takes them.

    Raises:
        ValueError: an unknown name, or a value of another type.
    """
    known = {one.name: one for one in settings_of(cls)}
    for name in values:
        if name not in known:
            raise ValueError(f"unknown key {name!r}; known: {', '.join(known)}")
    return {name: known[name].read(value) for name, value in values.items()}


def to_toml(cls: type, values: Mapping[str, Any] = MappingProxyType({})) -> str:
    """A documented TOML file of all settings, which `make` reads.

    Args:
        cls: the settings' class.
        values: in place of the defaults; `dataclasses.asdict` of settings writes those. What is None or lacks stands in
            a comment.
    """
    blocks = []
    for one in settings_of(cls):
        value = values.get(one.name, one.default)
        text = textwrap.fill(one.help, 100, initial_indent="# ", subsequent_indent="# ")
        unset = value is None or value is MISSING
        allowed = "|".join(json.dumps(choice) for choice in one.choices) or _SAID[one.kind]
        line = f"# {one.name} = ({allowed})" if unset else f"{one.name} = {_toml_of(value)}"
        blocks.append("\n".join([*([text] if one.help else []), line]))
    return "\n\n".join(blocks) + "\n"


def _toml_of(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_of(one) for one in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is one of TOML, but for the escapes of what is not ASCII.
    return json.dumps(str(value), ensure_ascii=False)
