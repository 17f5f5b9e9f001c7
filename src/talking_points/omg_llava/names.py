"""OMG-LLaVA's published names of weights and ours, by the tables of names.toml, in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path

from torch import Tensor

from talking_points.files import read_table

Table = Mapping[str, str]
"""Published name to our name; both with placeholders as names.toml explains them."""

_TABLES = read_table(Path(__file__).with_name("names.toml"))
SEGMENTER: Table = _TABLES["segmenter"]
PROJECTOR: Table = _TABLES["projector"]
TEXT_TO_VISION: Table = _TABLES["text_to_vision"]
OPEN_CLIP: Table = _TABLES["open_clip"]
INTERNLM2: Table = _TABLES["internlm2"]
DROPPED: Mapping[str, list[str]] = _TABLES["dropped"]

_PLACEHOLDER = re.compile(r"\*\*|\*|#")
_MEANS = {"#": "([0-9]+)", "*": "(weight|bias)", "**": "(.*)"}


def rename(
    weights: Mapping[str, Tensor], names: Table, dropped: Iterable[str] = (), *, source: str
) -> dict[str, Tensor]:
    """Published weights under our names; those on the drop list are left out.

    Raises:
        ValueError: a name is in neither the table nor the drop list, or two names become one.
    """
    renamed: dict[str, Tensor] = {}
    unknown = []
    left_out = {name: name for name in dropped}
    for name, tensor in weights.items():
        if _translated(name, left_out):
            continue
        new = _translated(name, names)
        if new is None:
            unknown.append(name)
        elif new in renamed:
            raise ValueError(f"{source}: two tensors become {new!r}, the second is {name!r}")
        else:
            renamed[new] = tensor
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ValueError(f"{source}: unknown tensor {unknown[0]!r}{more}")
    return renamed


def published_name(ours: str, names: Table) -> str:
    """The published name of one of our tensors; `ours` where the table has no row for it.

    Example:
        >>> published_name("trunk.stages.0.blocks.2.gamma", SEGMENTER)
        'backbone.layer1.blocks.2.gamma'
    """
    return _translated(ours, {new: old for old, new in names.items()}) or ours


def is_dropped(name: str, part: str) -> bool:
    """Whether a published name is on the drop list of a part."""
    return _translated(name, {dropped: dropped for dropped in DROPPED[part]}) is not None


def _translated(name: str, rows: Table) -> str | None:
    for old, new in rows.items():
        if match := _pattern(old).fullmatch(name):
            between = _PLACEHOLDER.split(new)
            return "".join(chain.from_iterable(zip_longest(between, match.groups(), fillvalue="")))
    return None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*|#)", template)
    return re.compile("".join(_MEANS.get(part, re.escape(part)) for part in parts))
