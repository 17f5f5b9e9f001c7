"""What people call things: the table `names.toml`."""

from __future__ import annotations

from pathlib import Path

from talking_points.files import read_table

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
