"""What people call things: the table `names.toml`, read once."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@cache
def _table() -> dict[str, dict[str, object]]:
    return tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))


def called(label: str) -> str:
    """The word that people use for a data set's label; the label in words where the table has none.

    Example:
        >>> called("cell_phone"), called("dog")
        ('phone', 'dog')
    """
    name = " ".join(label.replace("_", " ").split())
    return str(_table()["called"].get(name, name))


def ways_to_say(name: str) -> tuple[str, ...]:
    """A name and its synonyms, the name itself first.

    The whole name is looked up, then its last word.

    Example:
        >>> ways_to_say("left headlight")
        ('left headlight', 'left front light', 'left headlamp')
    """
    synonyms = _table()["synonyms"]
    words = name.split(" ")
    for first in range(len(words)):
        last = " ".join(words[first:])
        if last in synonyms:
            others = synonyms[last]
            assert isinstance(others, list)
            return (name, *(" ".join([*words[:first], other]) for other in others))
    return (name,)
