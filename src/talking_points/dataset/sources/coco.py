"""Where annotation files in COCO's form and their photos lie, split by split."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from talking_points.dataset.sources.reading import of_split
from talking_points.labels.coco import CocoFile, read_coco
from talking_points.labels.finding import find_photos

PHOTO_FOLDERS = ("images", "JPEGImages", "photos", "")
"""Beside an annotation file, the first of these that is there; "" is the file's own folder."""

FOLDERS = {"train": ("train", "trainingset"), "val": ("valid", "val"), "test": ("test", "testset")}
"""What a split's folder is called."""
FILES = ("annotations.json", "_annotations.coco.json")
"""What the annotation file in it is called: people's own and Car-Parts', Roboflow's."""

COCO_FILE = re.compile(r"(instances|person_keypoints)_((?:train|val)\d*)\.json")
"""COCO's own, in `annotations/`; of any year."""

COCO_NAMES = {"train": "train2017", "test": "val2017"}
"""What COCO's own file of a split is called after: of two splits, the second is the test."""


def open_split(
    folder: Path, split: str, *, means_nothing: Callable[[str], bool] = lambda name: False
) -> tuple[CocoFile, dict[str, Path]]:
    """The annotations of a split, and by id its photos that have any whose category's name does not mean nothing.

    Errors are those of `find_split` and `read_coco`, but what makes a file unsure is in `refused`.
    """
    annotations, photos, holds_out = find_split(folder, split)
    coco = read_coco(*annotations, lenient=True)
    nothing = {number for number, one in coco.categories.items() if means_nothing(str(one["name"]))}
    wanted = {
        photo_id: photo.file_name
        for photo_id, photo in coco.photos.items()
        if (not holds_out or of_split(photo_id, split))
        and (photo.problems or any(one["category_id"] not in nothing for one in photo.annotations))
    }
    return coco, find_photos(photos, wanted)


def find_split(folder: Path, split: str) -> tuple[tuple[Path, ...], Path, bool]:
    """Where a split lies, in each layout that `coco_objects.open_coco` shows; FileNotFoundError where there is none.

    Given are its annotation files, one or two that describe the same photos; the folder of its photos; and whether
    "val" is held out of "train", as the folder has no photos of its own for it.
    """
    single = [path for name in FILES if (path := folder / name).is_file()]
    found: dict[str, tuple[tuple[Path, ...], Path]] = {}
    for layout in (
        {"train": _beside(single[0])} if single else {},
        {name: files for name in ("train", "val") if (files := _coco_files(folder, name)) is not None},
        {name: _beside(file) for name in FOLDERS if (file := _own_file(folder, name)) is not None},
    ):
        if "test" not in layout and "val" in layout:
            # With two splits, the second is the test.
            layout["test"] = layout.pop("val")
        found |= layout
    name = "train" if split == "val" and split not in found else split
    if name in found:
        annotations, photos = found[name]
        return annotations, photos, split != "test" and "val" not in found
    if split == "test" and (folder / "test").is_dir():
        raise FileNotFoundError(f"{folder / 'test' / FILES[0]} is missing")
    if split == "test" and found:
        remedy = "put some in test/ as they are in train/, or take --split train, of which --test-share holds some back"
        raise FileNotFoundError(f"{folder}: there are photos to train on and none to test on; {remedy}")
    raise FileNotFoundError(f"{folder}: no annotation file of the {split} split; expected {_expected(split)}")


def _expected(split: str) -> str:
    """What the annotation file of a split may be called."""
    places = [f"{FOLDERS[split][0]}/{name}" for name in FILES] + [f"{FOLDERS[split][1]}/{FILES[0]}"]
    places += [FILES[0]] if split == "train" else []
    if split == "val":
        return f"{', '.join(places)}, or one of the train split, of which some photos are held out"
    return f"one of {', '.join(places)} or annotations/instances_{COCO_NAMES[split]}.json"


def _own_file(folder: Path, split: str) -> Path | None:
    paths = (folder / name / file for name in FOLDERS[split] for file in FILES)
    return next((path for path in paths if path.is_file()), None)


def _beside(path: Path) -> tuple[tuple[Path, ...], Path]:
    return (path,), next(path.parent / name for name in PHOTO_FOLDERS if (path.parent / name).is_dir())


def _coco_files(folder: Path, name: str) -> tuple[tuple[Path, ...], Path] | None:
    """`name`: "train" or "val". Of several years the last."""
    found: dict[str, dict[str, Path]] = {}
    for path in (folder / "annotations").glob("*.json"):
        match = COCO_FILE.fullmatch(path.name)
        if match and match[2].startswith(name):
            found.setdefault(match[2], {})[match[1]] = path
    if not found:
        return None
    year = max(found)
    # Objects first: their file lists all photos.
    files = tuple(found[year][kind] for kind in ("instances", "person_keypoints") if kind in found[year])
    photos = next((path for path in (folder / year, folder / "images" / year) if path.is_dir()), folder / year)
    return files, photos
