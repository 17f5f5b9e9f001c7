"""Annotation files in COCO's form, indexed by photo, and what is wrong with their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from talking_points.labels.finding import composed
from talking_points.labels.frames import read_said_frame
from talking_points.labels.problems import LabelError, Problem, problem_of, refuse
from talking_points.labels.reading import is_name, read_json
from talking_points.points import is_finite_number

CROWD_NOTE = "a crowd region"
NO_SIZE_NOTE = "a photo whose width and height the labels do not say, taken as its file's own"

LISTS = ("images", "annotations", "categories")
ONE_NAME = "have one name but for the ending"


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
    looks_percent: bool = False
    """It has polygons, and no number of them is over 100."""

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
    coco = coco_of(path, read_json(path))
    for other in others:
        coco = _joined(coco, coco_of(other, read_json(other)))
    if coco.refused and not lenient:
        raise LabelError(coco.refused)
    return replace(coco, looks_percent=_looks_percent(coco))


def coco_of(path: Path, content: Any) -> CocoFile:
    """`read_coco` of what a file holds, lenient."""
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


def _looks_percent(coco: CocoFile) -> bool:
    """As `CocoFile` has it. In pixels, the first polygons tell."""
    outlines = (one.get("segmentation") for photo in coco.photos.values() for one in photo.annotations)
    found = False
    for outline in outlines:
        left: list[Any] = [outline] if isinstance(outline, list) else []
        while left:
            value = left.pop()
            if isinstance(value, list):
                left += value
            elif isinstance(value, int | float):
                found = True
                if value > 100:
                    return False
    return found


def _told_by(annotation: dict[str, Any]) -> tuple[int | str | None, int]:
    """What tells an annotation of a photo: files of one dataset may each count annotations from 1."""
    return id_of(annotation.get("id")), annotation["category_id"]


def id_of(value: object) -> int | str | None:
    """An id of a file: a number, also where it is written as a text or as 12.0; another text; None where it is none."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is a region of many things ("iscrowd"), or one that does not count ("ignore"): neither a
    part nor an object."""
    said = (str(annotation.get(key, 0)).strip().casefold() for key in ("iscrowd", "ignore"))
    return any(one in ("1", "1.0", "true", "yes") for one in said)


def bbox_of(path: Path, record: str, annotation: Mapping[str, Any]) -> list[float] | None:
    """x, y, width, height of an annotation as the file counts; None where it has no box or an empty one; LabelError, in
    which it is called `record`, where that is no box."""
    numbers = annotation.get("bbox")
    if not numbers:
        return None
    if not (isinstance(numbers, list) and len(numbers) == 4 and all(is_finite_number(one) for one in numbers)):
        problem = f"its bbox is {str(numbers)[:60]}"
        raise refuse(path, record, problem, "give x, y, width, height, or take it away")
    return numbers if numbers[2] > 0 and numbers[3] > 0 else None


def keypoint_names(path: Path, category: Mapping[str, Any]) -> list[str]:
    """What a category calls its keypoints, none where it has none; LabelError where they are no names."""
    names = category.get("keypoints") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        record = f'category "{category.get("name")}"'
        raise refuse(path, record, "its keypoints are no list of names", 'give a list as ["left eye", ...]')
    return names


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
                with suppress(ValueError):  # no address: a name
                    name = urlsplit(name).path
                name = unquote(PurePosixPath(name).name)
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
