"""Where the files of a data set in COCO's form lie: people's own folders, COCO's, Roboflow's, Car-Parts'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

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

    @property
    def folder(self) -> Path:
        """Where what else there is of this split lies, such as landmarks.json."""
        return self.annotations[0].parent


def find_split(folder: Path, split: str) -> SplitFiles:
    """Look for a split in each layout that `coco_objects.open_coco` shows.

    Args:
        folder: the data set's.
        split: "train", "val" or "test".

    Raises:
        FileNotFoundError: the folder has no annotation file where one could lie.
    """
    own = {name: path for name in FOLDERS if (path := _own_file(folder, name)) is not None}
    coco = {name: files for name in ("train", "val") if (files := _coco_files(folder, name)) is not None}
    single = next((path for name in FILES if (path := folder / name).is_file()), None)
    if "test" not in own and "val" in own:
        # With two splits, the second is the test.
        own["test"] = own.pop("val")
    if split in own:
        return _beside(own[split], holds_out=split == "train" and "val" not in own)
    if split == "val" and "train" in own:
        return _beside(own["train"], holds_out=True)
    wanted = "val" if split == "test" else "train"
    if wanted in coco:
        return coco[wanted]
    if single is not None and split != "test":
        return _beside(single, holds_out=True)
    if split == "test" and (folder / "test").is_dir():
        raise FileNotFoundError(f"{folder / 'test' / FILES[0]} is missing")
    if split == "test" and (own or coco or single):
        remedy = "put some in test/ as they are in train/, or take --split train, of which --test-share holds some back"
        raise FileNotFoundError(f"{folder}: there are photos to train on and none to test on; {remedy}")
    raise FileNotFoundError(f"{folder}: no annotation file of the {split} split; expected one of {KNOWN}")


def _own_file(folder: Path, split: str) -> Path | None:
    paths = (folder / name / file for name in FOLDERS[split] for file in FILES)
    return next((path for path in paths if path.is_file()), None)


def _beside(path: Path, *, holds_out: bool) -> SplitFiles:
    photos = next(path.parent / name for name in PHOTO_FOLDERS if (path.parent / name).is_dir())
    return SplitFiles(annotations=(path,), photos=photos, holds_out=holds_out)


def _coco_files(folder: Path, name: str) -> SplitFiles | None:
    """`name`: "train" or "val". Of several years the last."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / "annotations").glob("*.json")) if (folder / "annotations").is_dir() else []:
        match = COCO_FILE.fullmatch(path.name)
        if match and match[2].startswith(name):
            found.setdefault(match[2], {})[match[1]] = path
    if not found:
        return None
    year = max(found)
    # Objects first: their file lists all photos.
    files = tuple(found[year][kind] for kind in ("instances", "person_keypoints") if kind in found[year])
    photos = next((path for path in (folder / year, folder / "images" / year) if path.is_dir()), folder / year)
    return SplitFiles(annotations=files, photos=photos, holds_out=name == "train")
