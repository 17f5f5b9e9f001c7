"""The paper's tables: whom each row set puts to the test, and what the paper measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talking_points.files import read_table

if TYPE_CHECKING:
    from talking_points.evaluation.protocol import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRow:
    """One line of a table. Scores in percent; None where the paper gives none."""

    says: str
    """What the paper calls it."""
    describer: str
    """Ours, by `settings.DESCRIBERS`; "descriptor:DIR" stands for the checkpoint of the ablation, and in Table 2 for
    the descriptor before its reinforcement."""
    localizer: str
    pck_01: float | None
    pck_02: float | None
    mpck: float
    of: str = ""
    """The family of animals that is tested; empty: whatever is."""


TABLES: Mapping[str, tuple[PaperRow, ...]] = {
    number: tuple(PaperRow(**row) for row in rows)
    for number, rows in read_table(Path(__file__).with_name("paper_tables.json")).items()
}
"""By number; "figure" is the row set of Figure 1 (its texts by people and by ChatGPT-5 are of 100 samples).
Source: paper, Tables 1 to 4 and 6 to 9, Figure 1. OMG-LLaVA's and DAM's places are taken by our base's own captions."""
OPEN = ("descriptor:DIR", "localizer:DIR", "endpoint:URL,MODEL", "file:PATH")
"""Names that the caller fills in."""


def rows_of(table: str, objects: Sequence[str] = ()) -> tuple[PaperRow, ...]:
    """A table's rows about what is tested.

    Args:
        table: a key of `TABLES`.
        objects: what is tested, by name; Table 2 has rows for each of two families, and takes one of them.

    Raises:
        ValueError: no such table, or not one of its families.
    """
    if table not in TABLES:
        raise ValueError(f"--table is {table!r}; allowed: {', '.join(TABLES)}")
    families = list(dict.fromkeys(row.of for row in TABLES[table] if row.of))
    if families and (len(objects) != 1 or objects[0] not in families):
        raise ValueError(f"table {table} tests one family at a time: give --object {' or --object '.join(families)}")
    return tuple(row for row in TABLES[table] if not row.of or row.of in objects)


def contestants_of(
    table: str, describers: Sequence[str], localizers: Sequence[str], objects: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Describers and localizers of a table, and those that the caller names.

    Args:
        table: a key of `TABLES`.
        describers, localizers: the caller's; among them those that fill the table's open places, such as
            "descriptor:runs/without/checkpoint". Texts of a file that is called as a row stand in that row alone:
            "file:dam.jsonl=DAM".
        objects: as `rows_of` takes them.

    Raises:
        ValueError: as `rows_of`, or an open place of Tables 2 to 4 that nobody fills; the figure may do without.
    """
    rows = rows_of(table, objects)
    chosen: list[list[str]] = []
    for option, given, places in (
        ("--describer", describers, [row.describer for row in rows if not _is_given(row, describers)]),
        ("--localizer", localizers, [row.localizer for row in rows]),
    ):
        for place in places:
            if place.endswith(":DIR") and not any(_fills(name, place) for name in given):
                raise ValueError(f"table {table} compares with another checkpoint: give {option} {place}")
        chosen.append(list(dict.fromkeys([*(place for place in places if place not in OPEN), *given])))
    return chosen[0], chosen[1]


def beside_paper(
    table: Sequence[PaperRow], rows: Sequence[Row], *, of_files: Collection[str] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A table's rows with the paper's scores and ours; and what each row gains over the row before it.

    Args:
        table: of `rows_of`.
        rows: ours, of one set.
        of_files: describers whose texts are of files, which may have names of their own.

    Returns:
        Rows; and gains in mPCK, the paper's and ours, ours paired by sample with its interval over photos.
    """
    # numpy: settings import this module, and the shell's help is to be there at once.
    from talking_points.evaluation.metrics import mpck_difference, told_interval

    found = [(line, row) for line in table for row in rows if _stands_for(row, line, of_files)]
    beside, gains = [], []
    for line, row in found:
        summary = row.summary()
        scores = {"pck@0.1": line.pck_01, "pck@0.2": line.pck_02, "mpck": line.mpck}
        ours = {key: summary[key] for key in (*scores, "mpck_ci", "n")}
        names = {key: summary[key] for key in ("set", "describer", "localizer")}
        beside.append({**names, "row": line.says, "paper": scores, "ours": ours})
    for (line, row), (before, other) in zip(found[1:], found, strict=False):
        both = row.read & other.read
        if line is before or not both.any():
            continue
        one, two = row.only(both), other.only(both)
        mpck, *interval = mpck_difference(one.errors, two.errors, one.photos)
        paper = round(line.mpck - before.mpck, 2)
        gains.append(
            {"set": row.set_name, "row": line.says, "over": before.says, "paper": paper}
            | {"ours": round(mpck, 2), "ci": told_interval(*interval)}
        )
    return beside, gains


def _is_given(row: PaperRow, describers: Sequence[str]) -> bool:
    """Whether one of the files of texts is called as the row is."""
    return any(name.startswith("file:") and name.endswith(f"={row.says}") for name in describers)


def _stands_for(row: Row, line: PaperRow, of_files: Collection[str]) -> bool:
    who = "file:PATH" if row.describer in of_files else row.describer
    is_called_so = row.describer in of_files and row.describer == line.says
    return not row.style and (is_called_so or _fills(who, line.describer)) and _fills(row.localizer, line.localizer)


def _fills(name: str, place: str) -> bool:
    """Whether a name stands in a row's place: it is the same, or "descriptor:runs/x" for "descriptor:DIR"."""
    kind, _, rest = name.partition(":")
    return name == place or (place in OPEN and bool(rest) and kind == place.partition(":")[0])
