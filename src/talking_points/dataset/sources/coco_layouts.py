"""One split of a data set in COCO's form: where its files lie, in people's own folders or published ones; opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from talking_points.dataset.sources.coco import CocoFile, read_coco
from talking_points.dataset.sources.reading import find_photos, of_split

PHOTO_FOLDERS = ("images", "JPEGImages", "photos", "")
"""Beside an annotation file, the first of these that is there; "" is the file's own folder."""

FOLDERS = {"train": ("train", "trainingset"), "val": ("valid", "val"), "test": ("test", "testset")}
"""What a split's folder is called."""
FILES = ("annotations.json", "_annotations.coco.json")
"""What the annotation file in it is called: people's own and Car-Parts', Roboflow's."""

COCO_FILE = re.compile(r"(instances|person_keypoints)_((?:train|val)\d*)\.json")
"""COCO's own, in `annotations/`; of any year."""

KNOWN = (
    "train/annotations.json, train/_annotations.coco.json, trainingset/annotations.json, annotations.json or "
    "annotations/instances_train2017.json"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFiles:
    """One split of a data set, as its folder has it."""

    annotations: tuple[Path, ...]
    """One file, or two that describe the same photos and share the annotations' ids."""
    photos: Path
    holds_out: bool
    """"val" is a share of "train": the folder has no photos of its own for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoSplit:
    """One split of a data set, its annotation files read."""

    coco: CocoFile
    paths: Mapping[str, Path]
    """The split's photos by id: those with annotations."""
    dataset: str
    """Its folder's name."""


def open_split(folder: Path, split: str, *, means_nothing: Callable[[str], bool] | None = None) -> CocoSplit:
    """Find and read a split; what makes it unsure is in `CocoFile.refused`. Errors as `find_split` and `read_coco`.

    `means_nothing`: of a category's name, whether a photo with that alone is not listed.
    """
    files = find_split(folder, split)
    coco = read_coco(*files.annotations, lenient=True)
    nothing = {k for k, one in coco.categories.items() if means_nothing is not None and means_nothing(str(one["name"]))}
    wanted = {
        photo_id: photo.file_name
        for photo_id, photo in coco.photos.items()
        if (not files.holds_out or of_split(photo_id, split))
        and (photo.problems or any(one["category_id"] not in nothing for one in photo.annotations))
    }
    return CocoSplit(coco=coco, paths=find_photos(files.photos, wanted), dataset=folder.name)


def find_split(folder: Path, split: str) -> SplitFiles:
    """Look for a split in each layout that `coco_objects.open_coco` shows; FileNotFoundError where there is none."""
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
        return SplitFiles(annotations=annotations, photos=photos, holds_out=split != "test" and "val" not in found)
    if split == "test" and (folder / "test").is_dir():
        raise FileNotFoundError(f"{folder / 'test' / FILES[0]} is missing")
    if split == "test" and found:
        remedy = "put some in test/ as they are in train/, or take --split train, of which --test-share holds some back"
        raise FileNotFoundError(f"{folder}: there are photos to train on and none to test on; {remedy}")
    raise FileNotFoundError(f"{folder}: no annotation file of the {split} split; expected one of {KNOWN}")


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
