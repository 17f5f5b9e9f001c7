"""Everything that is wrong with people's labels, found in one go: each source is read whole, and nothing is written."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.layouts import PUBLISHED, FolderFound, look_at_folder
from talking_points.dataset.sources.source import SPLITS, Source
from talking_points.files import sha256_of
from talking_points.labels.problems import LabelError, Problem, problem_of
from talking_points.progress import OnProgress, one_line, unheard

MEND, ADD = "mend or remove it", "add it"
MOST_NAMED, MOST_ALIKE = 3, 10
"""So many places of one problem, and lines that differ by numbers alone, are told in `lines_of`. Ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """What was found."""

    photos: int
    """How many were read, or tried."""
    problems: tuple[Problem, ...]
    """Those of photos first, of whole files and folders last, where a terminal shows them; no two equal."""
    notes: dict[str, int]
    """What was assumed, or left out as it should be, and how often; no problems."""
    folders: tuple[FolderFound, ...]
    """Of each source, what its folder holds of its layout."""


def check_sources(sources: Mapping[str, Path], on_progress: OnProgress = unheard) -> CheckReport:
    """Read all photos of all splits that the sources' folders have, and gather what is wrong with them.

    Besides what reading them tells: what a published archive's folder lacks, whose split is then not read; and a
    photo's file that is in the test split and, with the same content, in another.
    """
    problems: list[Problem] = []
    of_files: list[Problem] = []
    notes: Counter[str] = Counter()
    opened: list[Source] = []
    folders: list[FolderFound] = []
    for done, (name, folder) in enumerate(sources.items()):
        on_progress("sources", done, len(sources))
        folders.append(look_at_folder(name, folder))
        lacking: list[Problem] = folders[-1].problems() if name.partition(".")[0] in PUBLISHED else []
        of_files += lacking
        if lacking and not folders[-1].found:
            continue
        splits, found = _open_splits(name, folder, but=folders[-1].lacking if lacking else ())
        opened += splits
        notes.update(note for source in splits for note in source.notes)
        problems += [problem for source in splits for problem in source.problems]
        found += [problem for source in splits for problem in source.refused]
        is_right = not found and not any(source.problems for source in splits)
        if not lacking and is_right and not any(source.photo_ids for source in splits):
            found = [problem_of(folder, "", "lists no photo that has labels", "give the folder of the labels")]
        of_files += found
    photos = [(source, photo_id) for source in opened for photo_id in source.photo_ids]
    for done, (source, photo_id) in enumerate(photos):
        on_progress("photos", done, len(photos))
        try:
            scene = source.read(photo_id)
        except (ValueError, OSError) as error:
            problems += problems_of(error, source.paths[photo_id])
        else:
            problems += scene.problems
            notes.update(scene.notes)
    on_progress("photos", len(photos), len(photos))
    for name in sources:
        problems += _in_both_splits([source for source in opened if source.name == name])
    return CheckReport(
        photos=len(photos),
        problems=tuple(dict.fromkeys(problems + of_files)),
        notes=dict(sorted(notes.items())),
        folders=tuple(folders),
    )


def lines_of(problems: Sequence[Problem]) -> list[str]:
    """Problems for people to read: what is wrong in the same way in one folder is one line, with how many there are.

    Of lines that then differ by numbers alone the first `MOST_ALIKE` are given, and how many more there are.
    """
    same: dict[tuple[str, ...], list[Problem]] = defaultdict(list)
    for one in problems:
        file = Path(one.file)
        # A record is told beside its own file.
        where = one.file if one.record else str(file.parent)
        same[where, file.suffix, one.problem, one.remedy, "record" if one.record else ""].append(one)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for (where, suffix, problem, remedy, kind), (first, *others) in same.items():
        key = (
            str(Path(where).parent) if kind else where,
            suffix,
            kind,
            *(re.sub(r"\d+", "0", said) for said in (problem, remedy)),
        )
        alike[key].append(str(replace(first, **_first_of(first, others))))
    lines = []
    for those in alike.values():
        lines += those[:MOST_ALIKE]
        if (more := len(those) - MOST_ALIKE) > 0:
            lines.append(f"... and {more:,} more like it")
    return lines


def _first_of(first: Problem, others: Sequence[Problem]) -> dict[str, str]:
    """Where a problem is that others share: its file or record, with the first of the others' beside it."""
    if not others:
        return {}
    name = "record" if first.record else "file"
    places = [one.record or Path(one.file).name for one in others]
    named = places if len(places) < MOST_NAMED else places[: MOST_NAMED - 1]
    more = len(places) - len(named)
    beside = ", ".join(named) + (f" and {more:,} more like it, {len(others) + 1:,} in all" if more else "")
    return {name: f"{getattr(first, name)} (and {beside})"}


def problems_of(error: ValueError | OSError, file: Path) -> tuple[Problem, ...]:
    """What an error of a source says, as problems: a `LabelError`'s own, else one of the file that it begins with.

    Where it names none, as "people/a.jpg is not a photo" does, the problem is that of `file`.
    """
    if isinstance(error, LabelError):
        return error.problems
    message = one_line(error)
    named = re.match(r"(\S.*?\.\w{2,5}):? ((?:is|has|holds|cannot)\b.*)", message)
    missing = re.match(r"no such photo: (.+)", message)
    if named:
        return (problem_of(named[1], "", named[2], ADD if named[2] == "is missing" else MEND),)
    if missing:
        return (problem_of(missing[1], "", "no such photo", "add it, or remove its record"),)
    return (problem_of(file, "", message.removeprefix(f"{file}: ") or "cannot be read", MEND),)


def _open_splits(name: str, folder: Path, *, but: Sequence[str]) -> tuple[list[Source], list[Problem]]:
    """The splits that a folder has, and what is wrong with its annotation files.

    but: splits that are left out; where the files have no "val", it goes with "train", out of which it is held.
    """
    opened: list[Source] = []
    missing: list[Problem] = []
    problems: list[Problem] = []
    for split in SPLITS:
        if split in but or (split == "val" and "train" in but and name.partition(".")[0] != "part-imagenet"):
            continue
        try:
            opened.append(open_source(name, folder, split, lenient=True))
        except FileNotFoundError as error:
            # A folder may come without a test split; but a folder of that name without its files is a mistake.
            found = problems_of(error, folder)
            own = "train" if split == "val" and not (folder / "val").exists() else split
            (problems if (folder / own).is_dir() else missing).extend(found)
        except (ValueError, OSError) as error:
            problems += problems_of(error, folder)
    return opened, list(dict.fromkeys(problems if opened or problems else missing))


def _in_both_splits(splits: list[Source]) -> list[Problem]:
    """Photos of the test split whose file has the content of one of another split's."""
    digests: dict[bool, dict[str, Path]] = {True: {}, False: {}}
    for source in splits:
        for path in (source.paths[photo_id] for photo_id in source.photo_ids):
            if path.is_file() and os.access(path, os.R_OK):
                digests[source.split == "test"].setdefault(sha256_of(path.read_bytes()), path)
    twins = {digests[True][one]: digests[False][one] for one in digests[True].keys() & digests[False].keys()}
    said = "is the same photo as {}, which is not of the test split"
    return [problem_of(path, "", said.format(twins[path]), "leave it in one split") for path in sorted(twins, key=str)]
