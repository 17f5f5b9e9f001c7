"""Finding the files of photos by the names that somebody wrote."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote


def composed(name: str) -> str:
    """A name with its accents composed: macOS writes them apart, and most files do not."""
    return unicodedata.normalize("NFC", name)


def file_names(folder: Path) -> list[str]:
    """Sorted names of what is in a folder, without the "._" files of macOS; none where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("._"))
    except OSError:
        return []


def is_file(path: Path) -> bool:
    """Whether there is such a file; of a name that is longer than one may be there is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def find_photos(folder: Path, wanted: Mapping[str, str]) -> dict[str, Path]:
    """The files of photos in a folder, by id; no file is given to two names.

    `wanted` is id to file name as written by somebody: with folders that may not be here, on a machine that does not
    tell capital letters apart, with accents in another form, or with "%20" for a blank. Found is the file with just
    that name, else the one without its folders, else the one that differs only so; where there is none, where several
    differ so, or where one file may be of several names, the path is that of the name as written, which is no file.
    """
    listed: dict[Path, dict[str, list[str]]] = {}
    exact: dict[str, Path] = {}
    whole: dict[str, Path] = {}
    others: dict[str, list[Path]] = {}
    for photo_id, written in wanted.items():
        # Inside the folder in any case.
        parts = [part for part in written.split("/") if part not in ("", ".", "..")] or [written]
        places = [folder.joinpath(*parts), folder / parts[-1]]
        for place in places:
            if place.parent not in listed:
                listed[place.parent] = defaultdict(list)
                for name in file_names(place.parent):
                    listed[place.parent][_alike(name)].append(name)
        found = [
            place.parent / name
            for place in dict.fromkeys(places)
            for key in dict.fromkeys((_alike(place.name), _alike(unquote(place.name))))
            for name in listed[place.parent].get(key, [])
        ]
        same = [place for place in places if place in found]
        exact[photo_id], whole[photo_id] = same[0] if same else places[-1], places[0]
        if not same:
            others[photo_id] = found
    names_of: dict[Path, set[Path]] = defaultdict(set)
    for photo_id, place in exact.items():
        names_of[place].add(whole[photo_id])
    # Without their folders several are called so.
    exact = {
        one: whole[one] if len(names_of[place]) > 1 and one not in others else place for one, place in exact.items()
    }
    taken = set(exact.values())
    claimed: dict[Path, list[str]] = defaultdict(list)
    for photo_id, found in others.items():
        if len(found) == 1:
            claimed[found[0]].append(photo_id)
    return exact | {ids[0]: path for path, ids in claimed.items() if len(ids) == 1 and path not in taken}


def _alike(name: str) -> str:
    return composed(name).casefold()
