"""Annotation files in COCO's form, indexed by photo, and what is wrong with their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from talking_points.dataset.problems import LabelError, Problem, problem_of, refuse
from talking_points.dataset.sources.frames import read_said_frame
from talking_points.dataset.sources.reading import composed, read_json

CROWD_NOTE = "a crowd region"

LISTS = ("images", "annotations", "categories")


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
    """Read an annotation file.

    Ids may be numbers or texts of numbers. An annotation without a known category, or of an unknown photo, is left out
    and is among the problems.

    Args:
        path: of the file.
        others: further files of the same photos, whose annotations of the same id have the keys of all.
        lenient: a file of COCO's form whose photos or categories are unsure is read without these, and `refused` says
            which; to list what else is wrong with it. Else it is an error.

    Raises:
        FileNotFoundError: it is missing.
        LabelError: it is not JSON, not of COCO's form, or names photos or categories twice; with all that is found.
    """
    lists, frame = _read_lists(path)
    for other in others:
        more, said = _read_lists(other)
        more["annotations"] = _same_photos(path, lists["images"], other, more["images"], more["annotations"])
        lists = {
            "images": _joined(lists["images"], more["images"], _file_of),
            "annotations": _joined(lists["annotations"], more["annotations"], _what_it_is_of),
            "categories": _joined(lists["categories"], more["categories"], _own_id),
        }
        frame = frame or said
    categories, of_categories = _read_categories(path, lists["categories"])
    photos, by_name, of_photos = _read_photos(path, lists["images"])
    refused = (*of_categories, *of_photos)
    if refused and not lenient:
        raise LabelError(refused)
    homeless = _share_annotations(path, lists["annotations"], categories, photos)
    return CocoFile(
        path=path,
        categories=categories,
        photos=by_name,
        problems=tuple(homeless),
        refused=refused,
        labels_frame=frame,
    )


def sound_annotations(coco: CocoFile, photo_id: str) -> list[dict[str, Any]]:
    """A photo's annotations, of published files, in which none may be left out: LabelError if one had to be."""
    if coco.photos[photo_id].problems:
        raise LabelError(coco.photos[photo_id].problems)
    return coco.photos[photo_id].annotations


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


def _read_lists(path: Path) -> tuple[dict[str, list[Any]], str | None]:
    """The lists of a file, and which frame it says that its labels are of."""
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        found = f'{_looks_like(content)}; expected an object with "images" and "annotations"'
        raise refuse(path, "", found, "export the labels as COCO JSON")
    lists = {name: content.get(name) or [] for name in LISTS}
    for name, records in lists.items():
        if not isinstance(records, list):
            raise refuse(path, f'"{name}"', f"expected a list, got {type(records).__name__}", "export the labels again")
    info = content.get("info")
    said = content.get("labels_frame", info.get("labels_frame") if isinstance(info, dict) else None)
    return lists, read_said_frame(said, path)


def _joined(records: list[Any], others: list[Any], key: Callable[[Any], Hashable]) -> list[Any]:
    """Records of two files; one of the same key has the keys of both, where a key is known."""
    joined = list(records)
    place = {key(record): k for k, record in enumerate(records)}
    for record in others:
        k = None if key(record) is None else place.get(key(record))
        if k is None:
            joined.append(record)
        else:
            joined[k] = record | joined[k] if key is _file_of else joined[k] | record
    return joined


def _file_of(record: Any) -> str | None:
    return _file_name(record) or None if isinstance(record, dict) else None


def _what_it_is_of(record: Any) -> tuple[Any, ...] | None:
    """What tells an annotation: files of one dataset may each count annotations from 1."""
    names = ("id", "image_id", "category_id")
    known = tuple(id_of(record.get(name)) for name in names) if isinstance(record, dict) else (None,)
    return None if None in known else known


def _same_photos(path: Path, images: list[Any], other: Path, others: list[Any], annotations: list[Any]) -> list[Any]:
    """Annotations of another file, of the photos as the first file counts them: photos are the same by their names.

    Raises:
        LabelError: an id is one photo's here and another's there.
    """
    ids = {_file_of(record): _own_id(record) for record in images if _file_of(record)}
    names = {number: name for name, number in ids.items()}
    here: dict[Any, Any] = {}
    for record in others:
        name, number = _file_of(record), _own_id(record)
        if name in ids:
            here[number] = ids[name]
        elif number in names:
            found = f'is "{name}", and in {path.name} "{names[number]}"'
            raise refuse(other, f"image {number}", found, "give each photo one id in both files")
    return [
        record | {"image_id": here.get(id_of(record.get("image_id")), record.get("image_id"))}
        if isinstance(record, dict) and "image_id" in record
        else record
        for record in annotations
    ]


def _own_id(record: Any) -> int | str | None:
    return id_of(record.get("id")) if isinstance(record, dict) else None


def _read_categories(path: Path, records: list[Any]) -> tuple[dict[int, dict[str, Any]], list[Problem]]:
    categories: dict[int, dict[str, Any]] = {}
    problems = []
    for place, record in enumerate(records, start=1):
        number = _own_id(record)
        if not isinstance(number, int) or record.get("name") in (None, ""):
            found = f"expected a number as id and a name, got {str(record)[:60]}"
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
            wrong(f"images {by_name[photo_id].file_name} and {name}", "have one name but for the ending", "rename one")
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
        if "annotations" in first and "data" in first:
            return "looks like Label Studio's own JSON"
        return "is a list"
    if not isinstance(content, dict):
        return f"is a {type(content).__name__}"
    if "shapes" in content:
        return "looks like LabelMe's JSON of one photo"
    if "_via_img_metadata" in content or any(isinstance(one, dict) and "regions" in one for one in content.values()):
        return "looks like VIA's JSON"
    if content.get("type") == "FeatureCollection":
        return "looks like GeoJSON"
    if "names" in content:
        return "looks like a labels.json of label maps"
    return f"has {', '.join(str(key) for key in list(content)[:6]) or 'nothing in it'}"
