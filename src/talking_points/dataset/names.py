"""What people call things: the table `names.toml`, and how such tables beside the code are read."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@cache
def read_table(path: Path) -> dict[str, Any]:
    """A TOML file of this package, read once; nobody changes what it gives."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


NAMES = Path(__file__).with_name("names.toml")


def called(label: str) -> str:
    """The word that people use for a data set's label; the label in words where the table has none.

    Example:
        >>> called("cell_phone"), called("dog")
        ('phone', 'dog')
    """
    name = " ".join(label.replace("_", " ").split())
    return str(read_table(NAMES)["called"].get(name, name))


def ways_to_say(name: str) -> tuple[str, ...]:
    """A name and its synonyms, the name itself first.

    The whole name is looked up, then its last word.

    Example:
        >>> ways_to_say("left headlight")
        ('left headlight', 'left front light', 'left headlamp')
    """
    synonyms = read_table(NAMES)["synonyms"]
    words = name.split(" ")
    for first in range(len(words)):
        others = synonyms.get(" ".join(words[first:]), ())
        if others:
            return (name, *(" ".join([*words[:first], other]) for other in others))
    return (name,)
