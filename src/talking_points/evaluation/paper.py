"""The paper's tables: whom each row set puts to the test, and what the paper measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talking_points.files import read_table


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRow:
    """One line of a table. Scores in percent; None where the paper gives none."""

    says: str
    """What the paper calls it."""
    describer: str
    """Ours, by `settings.DESCRIBERS`; "descriptor:DIR" stands for the checkpoint of the ablation."""
    localizer: str
    pck_01: float | None
    pck_02: float | None
    mpck: float


TABLES: Mapping[str, tuple[PaperRow, ...]] = {
    number: tuple(PaperRow(**row) for row in rows)
    for number, rows in read_table(Path(__file__).with_name("paper_tables.json")).items()
}
"""By number; "figure" is the row set of Figure 1 (its texts by people and by ChatGPT-5 are of 100 samples).
Source: paper, Tables 1, 3 and 4, Figure 1. OMG-LLaVA's and DAM's places are taken by our base's own captions."""
OPEN = ("descriptor:DIR", "localizer:DIR", "endpoint:URL,MODEL", "file:PATH")
"""Names that the caller fills in."""


def contestants_of(table: str, describers: Sequence[str], localizers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Describers and localizers of a table, and those that the caller names.

    Args:
        table: a key of `TABLES`.
        describers, localizers: the caller's; among them those that fill the table's open places, such as
            "descriptor:runs/without/checkpoint".

    Raises:
        ValueError: no such table, or an open place of Tables 3 and 4 that nobody fills; the figure may do without.
    """
    if table not in TABLES:
        raise ValueError(f"--table is {table!r}; allowed: {', '.join(TABLES)}")
    chosen: list[list[str]] = []
    for option, given, places in (
        ("--describer", describers, [row.describer for row in TABLES[table]]),
        ("--localizer", localizers, [row.localizer for row in TABLES[table]]),
    ):
        for place in places:
            if place.endswith(":DIR") and not any(_fills(name, place) for name in given):
                raise ValueError(f"table {table} compares with another checkpoint: give {option} {place}")
        chosen.append(list(dict.fromkeys([*(place for place in places if place not in OPEN), *given])))
    return chosen[0], chosen[1]


def beside_paper(
    table: str, rows: Sequence[Mapping[str, Any]], *, of_files: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The rows of a table with the paper's scores and ours, which are summaries of a report.

    of_files: describers whose texts are of files, which may have names of their own.
    """
    found = []
    for line in TABLES[table]:
        for row in rows:
            who = "file:PATH" if row["describer"] in of_files else row["describer"]
            if row.get("style") or not (_fills(who, line.describer) and _fills(row["localizer"], line.localizer)):
                continue
            scores = {"pck@0.1": line.pck_01, "pck@0.2": line.pck_02, "mpck": line.mpck}
            ours = {key: row[key] for key in (*scores, "mpck_ci", "n")}
            names = {key: row[key] for key in ("set", "describer", "localizer")}
            found.append({**names, "row": line.says, "paper": scores, "ours": ours})
    return found


def _fills(name: str, place: str) -> bool:
    """Whether a name stands in a row's place: it is the same, or "descriptor:runs/x" for "descriptor:DIR"."""
    kind, _, rest = name.partition(":")
    return name == place or (place in OPEN and bool(rest) and kind == place.partition(":")[0])
