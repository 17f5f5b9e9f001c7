"""The words of the rules' grammar and of the checks, `words.toml`, and what people call things, `names.toml`."""

from __future__ import annotations

from pathlib import Path

from talking_points.dataset.places import AT_EDGE, EDGES, ORDINALS
from talking_points.files import read_table, read_toml

NAMES = Path(__file__).with_name("names.toml")
_TABLES = read_toml(Path(__file__).with_name("words.toml"))

KINDS: dict[str, frozenset[str]] = {name: frozenset(names) for name, names in _TABLES.pop("kinds").items()}
"""Names of objects, parts and colours by what they have in common, such as KINDS["vehicles"]."""
SAID: dict[str, frozenset[str]] = {name: frozenset(words) for name, words in _TABLES.pop("said").items()}
"""Words by what they tell of a text that has them."""
_OF_A_PLACE = _TABLES.pop("said_of_a_place")
SIZES: list[tuple[float, str]] = _OF_A_PLACE["sizes"]
WAYS: list[tuple[float, str]] = _OF_A_PLACE["ways"]

PHRASES: dict[str, tuple[str, ...]] = {name: tuple(some) for name, some in _TABLES.pop("phrases").items()}
"""Phrases of which one is picked. Those of a table of its own have its name before them: "place center slight"."""
for _table, _phrases in _TABLES.items():
    PHRASES |= {f"{_table} {name}": tuple(some) for name, some in _phrases.items()}
for _ordinal in ORDINALS[1:]:
    for _end in ("left", "right", "top", "bottom"):
        PHRASES[f"order {_ordinal} from the {_end}"] = (
            f"{_ordinal} {{noun}} from the {_end}",
            f"{{noun}} that is {_ordinal} from the {_end}",
        )
for _order, _edge in EDGES.items():
    # Of whole objects only: of a part, the edge could be that of its object.
    _side = ("left", "top", "right", "bottom")[_edge]
    PHRASES[f"order {_order}{AT_EDGE}"] = (*PHRASES[f"order {_order}"], f"{{noun}} closest to the {_side} edge")
for _name in [name for name in PHRASES if name.startswith("order ")]:
    PHRASES.setdefault(f"part_{_name}", PHRASES[_name])

FIRST_OR_LAST = frozenset((*EDGES, *(order + AT_EDGE for order in EDGES)))
"""Orders that stay true among fewer things: the leftmost car, if it is red, is the leftmost red car."""


def with_article(noun_phrase: str, name: str) -> str:
    """The phrase with "a" or "an", where the name that it ends with takes one."""
    if name in KINDS["without_article"]:
        return noun_phrase
    return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"


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
