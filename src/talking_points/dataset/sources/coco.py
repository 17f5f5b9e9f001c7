"""Annotation files in COCO's form: where they lie, indexed by photo, and what is wrong with their records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from talking_points.dataset.problems import LabelError, Problem, problem_of, refuse
from talking_points.dataset.sources.reading import composed, find_photos, is_name, of_split, read_json, read_said_frame

CROWD_NOTE = "a crowd region"

LISTS = ("images", "annotations", "categories")
ONE_NAME = "have one name but for the ending"

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
class CocoPhoto:
    """What a file says of one photo."""

    file_name: str
    """As written there, with "/" between folders, which often are not here; of an address, the last part."""
    size_wh: tuple[int, int] | None
    """Width and height that the annotations count in, in pixels; None where the file does not say. See
    `coco_masks.frame_of_photo`."""
    record: dict[str, Any]
    """The photo's own object of the JSON, which may say more, as its "breed"."""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    """Objects of the JSON, in its order, crowds included: see `is_crowd`. `category_id` is an int, of a category that
    the file has where it lists any; nothing else is checked."""
    problems: list[Problem] = field(default_factory=list)
    """Annotations of the photo that are not among these, for `Scene.problems`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoFile:
    """One annotation file, or several that describe the same photos."""

    path: Path
    """The first one's."""
    categories: dict[int, dict[str, Any]]
    """By id; empty when the file has no list of them."""
    photos: dict[str, CocoPhoto]
    """By the file name without folder and ending; where two folders have photos of one name, with "folder_" before."""
    problems: tuple[Problem, ...]
    """Annotations of no photo of the file, for `Source.problems`."""
    refused: tuple[Problem, ...]
    """What makes the whole file unsure, such as an id of two photos, for `Source.refused`; see `read_coco`."""
    labels_frame: str | None
    """What the file says of itself: its numbers are of "stored" or of "upright" photos; see `frame_of_labels`."""

    def category_of(self, annotation: dict[str, Any]) -> dict[str, Any]:
        """The category of an annotation, LabelError if the file has none of its id."""
        number = int(annotation["category_id"])
        if number not in self.categories:
            found = f"has category {number}, known are {sorted(self.categories)}"
            raise refuse(self.path, record_of(annotation), found, 'add it to "categories"')
        return self.categories[number]


def read_coco(path: Path, *others: Path, lenient: bool = False) -> CocoFile:
    """Read an annotation file, and `others` of the same photos, whose annotations of the same id have the keys of all.

    Ids may be numbers or texts of numbers. An annotation without a known category, or of an unknown photo, is left out
    and is among the problems. With `lenient`, photos and categories that are unsure are left out, too, and `refused`
    says which; else they are an error.

    Raises:
        FileNotFoundError: it is missing.
        LabelError: it is not JSON, not of COCO's form, or names photos or categories twice; with all that is found.
    """
    coco = _read_file(path)
    for other in others:
        coco = _joined(coco, _read_file(other))
    if coco.refused and not lenient:
        raise LabelError(coco.refused)
    return coco


def _read_file(path: Path) -> CocoFile:
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        found = f'{_looks_like(content)}; expected an object with "images" and "annotations"'
        raise refuse(path, "", found, "export the labels as COCO JSON")
    lists = {name: content.get(name) or [] for name in LISTS}
    for name, records in lists.items():
        if not isinstance(records, list):
            raise refuse(path, f'"{name}"', f"expected a list, got {type(records).__name__}", "export the labels again")
    info = content.get("info")
    frame = content.get("labels_frame", info.get("labels_frame") if isinstance(info, dict) else None)
    used = {id_of(one.get("category_id")) for one in lists["annotations"] if isinstance(one, dict)}
    categories, of_categories = _read_categories(path, lists["categories"], used)
    photos, by_name, of_photos = _read_photos(path, lists["images"])
    return CocoFile(
        path=path,
        categories=categories,
        photos=by_name,
        problems=tuple(_share_annotations(path, lists["annotations"], categories, photos)),
        refused=(*of_categories, *of_photos),
        labels_frame=read_said_frame(frame, path),
    )


def _joined(one: CocoFile, other: CocoFile) -> CocoFile:
    """Two files of the same photos, told by their names: each file counts photos and annotations in its own way."""
    photos = dict(one.photos)
    id_of_name = {photo.file_name: photo_id for photo_id, photo in photos.items()}
    alike: list[Problem] = []
    for photo_id, more in other.photos.items():
        photo = photos.get(id_of_name.get(more.file_name, ""))
        if photo is None:
            if photos.setdefault(photo_id, more) is not more:
                names = f"images {photos[photo_id].file_name} and {more.file_name}"
                alike.append(problem_of(other.path, names, ONE_NAME, "rename one"))
            continue
        own = {_told_by(annotation): annotation for annotation in photo.annotations}
        for annotation in more.annotations:
            key = _told_by(annotation)
            if key in own and key[0] is not None:
                own[key].update(annotation)
            else:
                photo.annotations.append(annotation)
        photo.problems.extend(more.problems)
        joined = replace(photo, record=more.record | photo.record, size_wh=photo.size_wh or more.size_wh)
        photos[id_of_name[more.file_name]] = joined
    categories = {number: one.categories.get(number, {}) | record for number, record in other.categories.items()}
    return replace(
        one,
        categories=one.categories | categories,
        photos=photos,
        problems=one.problems + other.problems,
        refused=(*one.refused, *other.refused, *alike),
        labels_frame=one.labels_frame or other.labels_frame,
    )


def _told_by(annotation: dict[str, Any]) -> tuple[int | str | None, int]:
    """What tells an annotation of a photo: files of one dataset may each count annotations from 1."""
    return id_of(annotation.get("id")), annotation["category_id"]


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


def id_of(value: object) -> int | str | None:
    """An id of a file: a number, also where it is written as a text or as 12.0; another text; None where it is none."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is a region of many things ("iscrowd"), which is neither a part nor an object."""
    return str(annotation.get("iscrowd", 0)).strip().casefold() in ("1", "1.0", "true", "yes")


def record_of(annotation: dict[str, Any], photo_name: str = "") -> str:
    """An annotation as `Problem.record` names it."""
    named = f"annotation {annotation['id']}" if annotation.get("id") is not None else "an annotation without id"
    return f"{named} of {photo_name}" if photo_name else named


def _own_id(record: Any) -> int | str | None:
    return id_of(record.get("id")) if isinstance(record, dict) else None


def _read_categories(
    path: Path, records: list[Any], used: Collection[int | str | None]
) -> tuple[dict[int, dict[str, Any]], list[Problem]]:
    """The categories by id, without those that have no name and no annotation; and what is wrong."""
    categories: dict[int, dict[str, Any]] = {}
    problems = []
    for place, record in enumerate(records, start=1):
        number = _own_id(record)
        nameless = isinstance(number, int) and not is_name(record.get("name"))
        if nameless and number not in used:
            # Exporters put a "-" or "0" first, of which nothing is.
            continue
        if not isinstance(number, int) or nameless:
            found = f"expected a number as id and a name with a letter in it, got {str(record)[:60]}"
            problems.append(problem_of(path, f"category {place} of the list", found, "mend it"))
        elif categories.setdefault(number, record)["name"] != record["name"]:
            found = f'has two names, "{categories[number]["name"]}" and "{record["name"]}"'
            problems.append(problem_of(path, f"category {number}", found, "give each category an id of its own"))
    return categories, problems


def _read_photos(
    path: Path, records: list[Any]
) -> tuple[dict[int | str, CocoPhoto], dict[str, CocoPhoto], list[Problem]]:
    """The photos by the id of the JSON, and by ours; and what is wrong."""
    problems: list[Problem] = []
    photos: dict[int | str, CocoPhoto] = {}
    owner: dict[str, int | str] = {}

    def wrong(record: str, found: str, remedy: str) -> None:
        problems.append(problem_of(path, record, found, remedy))

    for place, record in enumerate(records, start=1):
        number = _own_id(record)
        name = _file_name(record) if isinstance(record, dict) else ""
        if number is None or not name:
            what = "an id" if number is None else 'a "file_name" (or "coco_url")'
            where = f"image {place} of the list" if number is None else f"image {number}"
            wrong(where, f"needs {what}, got {str(record)[:60]}", "add it")
            continue
        try:
            photo = CocoPhoto(file_name=name, size_wh=_size(record), record=record)
        except (TypeError, ValueError, OverflowError):
            shown = f"width {record.get('width')!r} and height {record.get('height')!r}"
            wrong(f"image {number} ({name})", f"has {shown}", "write its pixels as numbers")
            continue
        if number in photos:
            if photos[number].record != record:
                remedy = "give each photo an id of its own, and its annotations the image_id with it"
                wrong(f"images {photos[number].file_name} and {name}", f"have one id, {number}", remedy)
        elif name in owner:
            wrong(f"images {owner[name]} and {number}", f"are both of {name}", "keep one record of each photo")
        else:
            photos[number] = photo
            owner[name] = number
    stems = Counter(PurePosixPath(name).stem for name in owner)
    by_name: dict[str, CocoPhoto] = {}
    for name, number in owner.items():
        whole = PurePosixPath(name)
        photo_id = whole.stem if stems[whole.stem] == 1 else "_".join([*whole.parts[:-1], whole.stem])
        if photo_id in by_name:
            wrong(f"images {by_name[photo_id].file_name} and {name}", ONE_NAME, "rename one")
            del photos[number]
        else:
            by_name[photo_id] = photos[number]
    return photos, by_name, problems


def _file_name(record: dict[str, Any]) -> str:
    """A photo's file name, "" where the record has none."""
    for key in ("file_name", "coco_url", "flickr_url", "url"):
        value = record.get(key)
        if isinstance(value, str) and value.strip():
            name = value.strip().replace("\\", "/")
            if "://" in name:
                name = unquote(PurePosixPath(urlsplit(name).path).name)
            return "/".join(part for part in composed(name).split("/") if part not in ("", "."))
    return ""


def _size(record: dict[str, Any]) -> tuple[int, int] | None:
    given = [record.get(name) or 0 for name in ("width", "height")]
    if 0 in given:
        return None
    width, height = (float(value) for value in given)
    if not (width > 0 and height > 0) or int(width) != width or int(height) != height:
        raise ValueError
    return int(width), int(height)


def _share_annotations(
    path: Path, records: list[Any], categories: dict[int, dict[str, Any]], photos: dict[int | str, CocoPhoto]
) -> list[Problem]:
    """Give each photo its annotations and what is wrong with others; returns what is wrong with those of no photo."""
    homeless: list[Problem] = []
    of_unknown: Counter[str] = Counter()
    seen: dict[int | str, dict[str, Any]] = {}
    for place, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            found = f"expected an object, got {str(record)[:40]}"
            homeless.append(problem_of(path, f"annotation {place} of the list", found, "remove it"))
            continue
        own = id_of(record.get("id"))
        # The same record twice, as merged files have it, is one; another of the same id is another.
        if own is not None and seen.setdefault(own, record) is not record and seen[own] == record:
            continue
        image = id_of(record.get("image_id"))
        if image is None or image not in photos:
            of_unknown[str(record.get("image_id"))] += 1
            continue
        number = id_of(record.get("category_id"))
        if not isinstance(number, int) or (categories and number not in categories):
            missing = record.get("category_id") is None
            found = "has no category" if missing else f"has category {record['category_id']!r}, which the file lacks"
            remedy = f"known are {', '.join(str(one) for one in sorted(categories)[:30])}" if categories else "add it"
            photo = photos[image]
            photo.problems.append(problem_of(path, record_of(record, photo.file_name), found, remedy))
            continue
        kept = record if record["category_id"] is number else {**record, "category_id": number}
        photos[image].annotations.append(kept)
    for image_id, count in of_unknown.items():
        what = f"{count} annotations are" if count > 1 else "an annotation is"
        found = f"{what} of image_id {image_id}, which the file lacks"
        homeless.append(problem_of(path, f"image_id {image_id}", found, "add the image's record, or remove them"))
    return homeless


def _looks_like(content: object) -> str:
    """What JSON that is not COCO's seems to be."""
    if isinstance(content, list):
        first = content[0] if content and isinstance(content[0], dict) else {}
        if {"image_id", "category_id"} <= first.keys():
            return "is a list of annotations alone, as COCO's results are"
        return "looks like Label Studio's own JSON" if {"annotations", "data"} <= first.keys() else "is a list"
    if not isinstance(content, dict):
        return f"is a {type(content).__name__}"
    of_photos = [one for one in content.values() if isinstance(one, dict)]
    tools = {
        "LabelMe's JSON of one photo": "shapes" in content,
        "VIA's JSON": "_via_img_metadata" in content or any("regions" in one for one in of_photos),
        "GeoJSON": content.get("type") == "FeatureCollection",
        "a labels.json of label maps": "names" in content,
    }
    tool = next((f"looks like {name}" for name, holds in tools.items() if holds), None)
    return tool or f"has {', '.join(str(key) for key in list(content)[:6]) or 'nothing in it'}"
