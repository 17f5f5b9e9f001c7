"""A role's training as plain TOML: what is set, checked before anything is loaded."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import talking_points

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(talking_points.__file__).parent / "recipes"
"""The embedded ones, by file name."""
MAX_BYTES = 2**20
"""A larger recipe is none."""
_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "int | None": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "a text"),
    "str | None": (str, "a text"),
    "bool": (bool, "true or false"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleRecipe:
    """How a role is trained. Numbers are checked again, and more closely, where they are used."""

    learning_rate: float
    """At its highest."""
    photos: int
    """Of a step."""
    points: int
    """Of each photo, at most."""
    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    steps: int | None = None
    """This, or `epochs`."""
    epochs: int | None = None
    """Times that every triplet is seen."""
    schedule: str = "cosine"
    warmup_steps: int = 50
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    accumulate: int = 1
    precision: str = "fp32"
    recompute: bool = False
    """Activation checkpointing of the language model's blocks: less memory, more time."""
    quantize: str | None = None
    """The frozen base's language model: "nf4", "int8", or None: as it is."""
    shard: bool = False
    """The frozen base in shards, one in each process."""
    save_every: int = 200
    log_every: int = 20
    workers: int = 1

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of them")
        for name in ("epochs", "lora_rank", "lora_alpha", "photos", "points"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; allowed: at least 1")
        if self.shard and self.quantize is not None:
            raise ValueError(f"shard goes without quantize, which is {self.quantize!r}; give one of them")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout}; allowed: 0 or more, below 1")

    def to_toml(self, role: str) -> str:
        """The same recipe as a file."""
        lines = [f"{name} = {json.dumps(value)}" for name, value in asdict(self).items() if value is not None]
        return "\n".join([f"[{role}]", *lines, ""])


def read_recipe(name_or_file: str, role: str, **changes: Any) -> RoleRecipe:
    """A role's section of a recipe.

    Args:
        name_or_file: an embedded recipe's name ("mini", "7b"), or a TOML file.
        role: "descriptor" or "localizer".
        changes: fields given otherwise; None: as the recipe says. `steps` takes the place of its `epochs`, and `epochs`
            that of its `steps`.

    Raises:
        ValueError: no such recipe, not TOML, an unknown key, or a value that is not allowed; the file is named.
    """
    path = RECIPES / f"{name_or_file}.toml"
    if not path.is_file():
        path = Path(name_or_file)
    if not path.is_file():
        embedded = ", ".join(sorted(one.stem for one in RECIPES.glob("*.toml")))
        raise ValueError(f"no recipe {name_or_file!r}: give one of {embedded}, or a TOML file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; a recipe has less than {MAX_BYTES}")
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are
        raise ValueError(f"{path} is not TOML: {error}") from None
    unknown = sorted(sections.keys() - {"descriptor", "localizer"})
    if unknown:
        raise ValueError(f"{path}: unknown section {unknown[0]!r}; known: descriptor, localizer")
    if not isinstance(sections.get(role), dict):
        raise ValueError(f"{path} has no section [{role}]")
    values = _checked(sections[role], f"{path}: [{role}]")
    given = {name: value for name, value in changes.items() if value is not None}
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in given and other not in given:
            values.pop(other, None)
    try:
        return RoleRecipe(**{**values, **given})
    except TypeError:
        required = [f.name for f in fields(RoleRecipe) if f.name not in values and f.default is f.default_factory]
        raise ValueError(f"{path}: [{role}] lacks {', '.join(required)}") from None
    except ValueError as error:
        raise ValueError(f"{path}: [{role}]: {error}") from None


def _checked(section: dict[str, Any], where: str) -> dict[str, Any]:
    """The section, its keys and types checked."""
    known = {field.name: str(field.type) for field in fields(RoleRecipe)}
    unknown = sorted(section.keys() - known.keys())
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    for name, value in section.items():
        kind, said = _TYPES[known[name]]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{where}: {name} is {value!r}; allowed: {said}")
    return dict(section)
