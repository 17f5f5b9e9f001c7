"""Texts that are written already, by people or by models elsewhere: files that `evaluate` reads and `collect` writes.

JSON lines of `sample` and `description`; `skipped` in place of the description says that its writer had none. Of
several lines of a sample the last one holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talking_points.evaluation.samples import Sample
from talking_points.evaluation.settings import DESCRIBERS
from talking_points.pages import counted
from talking_points.sample_files import OTHER_ENDINGS, Line, read_samples

REFERENCES = ("none", "swapped-photo", "shuffled")
"""What rows of a report are called that no describer wrote."""
LINE = '{"sample": ID, "description": TEXT}'
"""Of a file of texts."""
EXPECTED = (
    f'each needs a line {LINE}, or "skipped": true in place of the description; of points '
    "that `collect` drew, repeat its --split, --limit and --seed"
)
"""Of a file that lacks texts."""


def last_lines(path: Path, lines: Iterable[Line]) -> dict[str, dict[str, Any]]:
    """The last of a file's lines about each sample, by the sample's id. A ValueError names a line of another form."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        sample, text, skipped = (line.record.get(key) for key in ("sample", "description", "skipped"))
        if not isinstance(sample, str) or not (isinstance(text, str) or skipped is True):
            raise ValueError(f"{path}, line {line.number}: {line.problem or f'expected {LINE}'}")
        found[sample] = line.record
    return found


def path_and_name(describer: str) -> tuple[Path, str]:
    """Where the texts of "file:PATH" or "file:PATH=NAME" are, and what their rows are called: all of it, or NAME.

    Raises:
        ValueError: there is nothing before or after the "=", or others are called so.
    """
    where = describer.removeprefix("file:")
    path, equals, name = where.rpartition("=")
    if not equals or Path(where).exists():
        return Path(where), describer
    if not path or not name:
        raise ValueError(f"describer is {describer!r}; allowed: file:PATH, or file:PATH=NAME")
    if name in (*DESCRIBERS, *REFERENCES) or ":" in name:
        raise ValueError(f"describer is {describer!r}: rows of {name!r} are others'; choose another name")
    return Path(path), name


def row_names(describers: Sequence[str]) -> dict[str, str]:
    """What the rows of each describer are called.

    Raises:
        ValueError: two have the same name, or a name is not allowed.
    """
    names = {one: path_and_name(one)[1] if one.startswith("file:") else one for one in describers}
    for name in names.values():
        alike = [one for one, other in names.items() if other == name]
        if len(alike) > 1:
            raise ValueError(f"describers {alike[0]} and {alike[1]} have the same name; give each its own")
    return names


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenTexts:
    """Texts by the ids of their samples, and what their writer skipped."""

    where: str
    """What holds them, for people."""
    texts: Mapping[str, str]
    skipped: frozenset[str] = frozenset()
    """Ids of samples that the writer saw, and did not want to describe."""
    several: tuple[str, ...] = ()
    """Ids of samples that the writer described more than once."""

    def expect_all(self, samples: Sequence[Sample], remedy: str) -> None:
        """A ValueError where samples have no text: how many, the first of them, and what to do, `remedy`."""
        missing = [sample.sample_id for sample in samples if sample.sample_id not in self.texts]
        if missing:
            first = f"{'the first of them ' if len(missing) > 1 else ''}{missing[0]!r}"
            raise ValueError(f"{self.where} has no text for {counted(len(missing), 'sample')}, {first}: {remedy}")

    def left_over(self, samples: Sequence[Sample]) -> list[str]:
        """What is not scored, in words: earlier texts of a sample, and texts of others than these samples."""
        known = {sample.sample_id for sample in samples}
        others = [sample for sample in self.texts if sample not in known]
        said = (
            ("earlier texts of {}, of which the last one holds", self.several),
            ("texts of {}, not among those that are scored", others),
        )
        return [
            f"{self.where}: {what.format(counted(len(some), 'sample'))}, such as {some[0]!r}"
            for what, some in said
            if some
        ]


def texts_of_data(samples: Sequence[Sample], asked_by: str) -> WrittenTexts:
    """The data's own texts, those of "ground-truth".

    Args:
        asked_by: the option that has them scored, such as "--table figure".

    Raises:
        ValueError: samples without a text.
    """
    own = WrittenTexts(where="the data", texts={s.sample_id: s.text for s in samples if s.text is not None})
    option = asked_by.partition(" ")[0]
    own.expect_all(
        samples, f"{asked_by} scores the data's own texts, ground-truth; give every point a text, or leave out {option}"
    )
    return own


def texts_of_file(describer: str) -> WrittenTexts:
    """The texts of "file:PATH" or "file:PATH=NAME".

    Raises:
        ValueError, FileNotFoundError: no such file, or a line of another form.
    """
    path, _ = path_and_name(describer)
    if path.suffix.lower() in OTHER_ENDINGS:
        raise ValueError(f"{path} is not JSON lines; expected {LINE} a line, in a file named .jsonl")
    every = list(read_samples(path))
    lines = last_lines(path, every)
    counts = Counter(line.record["sample"] for line in every if line.record.get("skipped") is not True)
    skipped = frozenset(sample for sample, line in lines.items() if line.get("skipped") is True)
    texts = {sample: line["description"] for sample, line in lines.items() if sample not in skipped}
    several = tuple(sample for sample, count in counts.items() if count > 1)
    return WrittenTexts(where=str(path), texts=texts, skipped=skipped, several=several)
