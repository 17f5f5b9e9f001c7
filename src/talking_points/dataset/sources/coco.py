"""Annotation files in COCO's form: an index by photo, and masks from polygons and run lengths."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np

from talking_points.dataset.places import Box
from talking_points.dataset.problems import LabelError, Problem, refuse
from talking_points.dataset.sources.frames import LabelFrame, frame_of_labels, read_said_frame, same_shape
from talking_points.dataset.sources.reading import composed, read_json

CROWD_NOTE = "a crowd region"
NO_SIZE_NOTE = "a photo whose width and height the labels do not say, taken as its file's own"

FARTHEST_SIDES = 100
"""Coordinates farther out than so many sides of the photo are a mistake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoPhoto:
    """What a file says of one photo."""

    file_name: str
    """As written there, with "/" between folders, which often are not here; of an address, the last part."""
    size_wh: tuple[int, int] | None
    """Width and height that the annotations count in, in pixels; None where the file does not say. See
    `frame_of_photo`."""
    annotations: tuple[dict[str, Any], ...]
    """Objects of the JSON, in its order, crowds included: see `is_crowd`. `category_id` is an int, of a category that
    the file has where it lists any; nothing else is checked."""
    problems: tuple[Problem, ...] = ()
    """Annotations of the photo that are not among these, for `Scene.problems`."""
    record: dict[str, Any] = field(default_factory=dict)
    """The photo's own object of the JSON, which may say more, as its "breed"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoFile:
    """One annotation file."""

    path: Path
    categories: dict[int, dict[str, Any]]
    """By id; empty when the file has no list of them."""
    photos: dict[str, CocoPhoto]
    """By the file name without folder and ending; where two folders have photos of one name, with "folder_" before."""
    problems: tuple[Problem, ...] = ()
    """Annotations of no photo of the file, for `Source.problems`."""
    refused: tuple[Problem, ...] = ()
    """What makes the whole file unsure, such as an id of two photos, for `Source.refused`; see `read_coco`."""
    labels_frame: str | None = None
    """What the file says of itself: its numbers are of "stored" or of "upright" photos; see `frame_of_labels`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoFrame:
    """How the numbers that a file gives of one photo become pixels of that photo, opened upright."""

    turn: LabelFrame
    stated_wh: tuple[int, int]
    """Size of the photo that the numbers count in; its shape is that of `turn.own_wh`."""
    file: Path
    """The annotation file, and
    photo_name: the photo, for errors."""
    photo_name: str
    notes: tuple[str, ...]
    """For `Scene.notes`."""

    def mask(self, annotation: dict[str, Any]) -> np.ndarray:
        """(H, W) bool: the pixels of the upright photo that an annotation covers; at least one.

        Raises:
            LabelError: it has no segmentation, one that cannot be read, or one that covers nothing.
        """
        own_wh = self.turn.own_wh
        mask = annotation_mask(annotation, self.stated_wh, own_wh, self.file, self.photo_name)
        if not mask.any():
            raise refuse(
                self.file,
                _record(annotation, self.photo_name),
                _why_empty(annotation, self.stated_wh),
                "draw its outline, or remove it",
            )
        return self.turn.turn_map(mask)

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) x and y as the file counts them, as pixels of the upright photo; both count from the corner."""
        scale = np.array(self.turn.own_wh) / np.array(self.stated_wh)
        return self.turn.turn_points(np.asarray(points, dtype=np.float64).reshape(-1, 2) * scale)

    def box(self, bbox: Iterable[float]) -> Box:
        """x, y, width, height as the file counts them, as x0, y0, x1, y1 in pixels of the upright photo, not cut."""
        x, y, width, height = bbox
        (ax, ay), (bx, by) = self.points(np.array([[x, y], [x + width, y + height]])).tolist()
        return (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def read_coco(path: Path, *, lenient: bool = False) -> CocoFile:
    """Read an annotation file.

    Ids may be numbers or texts of numbers. An annotation without a known category, or of an unknown photo, is left out
    and is among the problems.

    Args:
        path: of the file.
        lenient: a file of COCO's form whose photos or categories are unsure is read without these, and `refused` says
            which; to list what else is wrong with it. Else it is an error.

    Raises:
        FileNotFoundError: it is missing.
        LabelError: it is not JSON, not of COCO's form, or names photos or categories twice; with all that is found.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        found = f'{_looks_like(content)}; expected an object with "images" and "annotations"'
        raise refuse(path, "", found, "export the labels as COCO JSON")
    lists = {name: content.get(name) or [] for name in ("images", "annotations", "categories")}
    for name, records in lists.items():
        if not isinstance(records, list):
            raise refuse(path, f'"{name}"', f"expected a list, got {type(records).__name__}", "export the labels again")
    info = content.get("info")
    said = content.get("labels_frame", info.get("labels_frame") if isinstance(info, dict) else None)
    categories, problems = _read_categories(path, lists["categories"])
    photos, of_photos = _read_photos(path, lists["images"])
    refused = (*problems, *of_photos)
    if refused and not lenient:
        raise LabelError(refused)
    kept, left_out, homeless = _read_annotations(path, lists["annotations"], categories, photos)
    return CocoFile(
        path=path,
        categories=categories,
        photos={
            photo_id: CocoPhoto(
                file_name=name,
                size_wh=size_wh,
                annotations=tuple(kept.get(number, ())),
                problems=tuple(left_out.get(number, ())),
                record=record,
            )
            for number, (photo_id, name, size_wh, record) in photos.items()
        },
        problems=tuple(homeless),
        refused=refused,
        labels_frame=read_said_frame(said, path),
    )


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


def _read_categories(path: Path, records: list[Any]) -> tuple[dict[int, dict[str, Any]], list[Problem]]:
    categories: dict[int, dict[str, Any]] = {}
    problems = []
    for place, record in enumerate(records, start=1):
        number = id_of(record.get("id")) if isinstance(record, dict) else None
        if not isinstance(number, int) or record.get("name") in (None, ""):
            found = f"expected a number as id and a name, got {str(record)[:60]}"
            problems.append(_problem(path, f"category {place} of the list", found, "mend it"))
        elif number in categories and categories[number]["name"] != record["name"]:
            found = f'has two names, "{categories[number]["name"]}" and "{record["name"]}"'
            problems.append(_problem(path, f"category {number}", found, "give each category an id of its own"))
        else:
            categories.setdefault(number, record)
    return categories, problems


_Photos = dict[int | str, tuple[str, str, tuple[int, int] | None, dict[str, Any]]]


def _read_photos(path: Path, records: list[Any]) -> tuple[_Photos, list[Problem]]:
    """By the id of the JSON: our id, file name, size and the record; and what is wrong."""
    problems = []
    found: dict[int | str, tuple[dict[str, Any], str, tuple[int, int] | None]] = {}
    owner: dict[str, int | str] = {}
    for place, record in enumerate(records, start=1):
        number = id_of(record.get("id")) if isinstance(record, dict) else None
        name = _file_name(record) if isinstance(record, dict) else ""
        if number is None or not name:
            what = "an id" if number is None else 'a "file_name" (or "coco_url")'
            where = f"image {place} of the list" if number is None else f"image {number}"
            problems.append(_problem(path, where, f"needs {what}, got {str(record)[:60]}", "add it"))
            continue
        try:
            size_wh = _size(record)
        except (TypeError, ValueError, OverflowError):
            shown = f"width {record.get('width')!r} and height {record.get('height')!r}"
            problems.append(_problem(path, f"image {number} ({name})", f"has {shown}", "write its pixels as numbers"))
            continue
        if number in found:
            if found[number][0] != record:
                both = f"images {found[number][1]} and {name}"
                remedy = "give each photo an id of its own, and its annotations the image_id with it"
                problems.append(_problem(path, both, f"have one id, {number}", remedy))
            continue
        if name in owner:
            both = f"images {owner[name]} and {number}"
            problems.append(_problem(path, both, f"are both of {name}", "keep one record of each photo"))
            continue
        found[number] = (record, name, size_wh)
        owner[name] = number

    stems = Counter(PurePosixPath(name).stem for _, name, _ in found.values())
    photos: _Photos = {}
    names: dict[str, str] = {}
    for number, (record, name, size_wh) in found.items():
        whole = PurePosixPath(name)
        photo_id = whole.stem if stems[whole.stem] == 1 else "_".join([*whole.parts[:-1], whole.stem])
        if photo_id in names:
            both = f"images {names[photo_id]} and {name}"
            problems.append(_problem(path, both, "have one name but for the ending", "rename one"))
            continue
        names[photo_id] = name
        photos[number] = (photo_id, name, size_wh, record)
    return photos, problems


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


def _read_annotations(
    path: Path, records: list[Any], categories: dict[int, dict[str, Any]], photos: _Photos
) -> tuple[dict[int | str, list[dict[str, Any]]], dict[int | str, list[Problem]], list[Problem]]:
    """By the photo's id in the JSON: annotations, and what is wrong with others; and what is of no photo."""
    kept: dict[int | str, list[dict[str, Any]]] = defaultdict(list)
    left_out: dict[int | str, list[Problem]] = defaultdict(list)
    homeless: list[Problem] = []
    of_unknown: Counter[str] = Counter()
    seen: dict[int | str, dict[str, Any]] = {}
    for place, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            found = f"expected an object, got {str(record)[:40]}"
            homeless.append(_problem(path, f"annotation {place} of the list", found, "remove it"))
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
            left_out[image].append(_problem(path, _record(record, photos[image][1]), found, remedy))
            continue
        kept[image].append(record if record["category_id"] is number else {**record, "category_id": number})
    for image_id, count in of_unknown.items():
        what = f"{count} annotations are" if count > 1 else "an annotation is"
        found = f"{what} of image_id {image_id}, which the file lacks"
        homeless.append(_problem(path, f"image_id {image_id}", found, "add the image's record, or remove them"))
    return kept, left_out, homeless


def _problem(path: Path, record: str, problem: str, remedy: str) -> Problem:
    return Problem(file=str(path), record=record, problem=problem, remedy=remedy)


def _record(annotation: dict[str, Any], photo_name: str = "") -> str:
    named = f"annotation {annotation['id']}" if annotation.get("id") is not None else "an annotation without id"
    return f"{named} of {photo_name}" if photo_name else named


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


def sound_annotations(coco: CocoFile, photo_id: str) -> tuple[dict[str, Any], ...]:
    """A photo's annotations, of published files, in which none may be left out: LabelError if one had to be."""
    if coco.photos[photo_id].problems:
        raise LabelError(coco.photos[photo_id].problems)
    return coco.photos[photo_id].annotations


def category_name(coco: CocoFile, annotation: dict[str, Any]) -> str:
    """The name of an annotation's category, LabelError if the file has no such category."""
    number = int(annotation["category_id"])
    if number not in coco.categories:
        found = f"has category {number}, known are {sorted(coco.categories)}"
        raise refuse(coco.path, _record(annotation), found, 'add it to "categories"')
    return str(coco.categories[number]["name"])


def checked_size(coco: CocoFile, photo_id: str, path: Path, photo: np.ndarray) -> tuple[int, int]:
    """Width and height of a photo, LabelError if the file says another size."""
    size_wh = (photo.shape[1], photo.shape[0])
    stated_wh = coco.photos[photo_id].size_wh or size_wh
    if size_wh != stated_wh:
        found = f"is {size_wh[0]}x{size_wh[1]}, but {coco.path.name} says {stated_wh[0]}x{stated_wh[1]}"
        raise refuse(path, "", found, "give the photo that was labelled")
    return size_wh


def frame_of_photo(
    coco: CocoFile, photo_id: str, path: Path, photo: np.ndarray, orientation: int, *, tolerance: float = 0.0
) -> CocoFrame:
    """How the file's numbers of a photo become its pixels: checked against its size, scaled, and turned upright.

    Args:
        coco: the file.
        photo_id: in it.
        path: of the photo.
        photo: (H, W, 3), upright; and its
        orientation: both from `reading.read_turned_photo`.
        tolerance: a photo of another size than the file says is taken when the aspect ratios agree within this share.

    Raises:
        LabelError: the photo is not of the stated size, or nothing tells in which frame its labels are; see
            `frame_of_labels`.
    """
    size_wh = (photo.shape[1], photo.shape[0])
    record = coco.photos[photo_id]
    stated_wh, said = record.size_wh, coco.labels_frame
    turn = frame_of_labels(path, orientation, size_wh, stated_wh, said=said, where=coco.path, tolerance=tolerance)
    notes = turn.notes
    if stated_wh is None:
        stated_wh, notes = turn.own_wh, (*notes, NO_SIZE_NOTE)
    if not same_shape(stated_wh, turn.own_wh, tolerance):
        # What is said of the labels holds, also where a tool wrote down the other frame's size.
        if orientation < 5 or said is None or not same_shape(stated_wh[::-1], turn.own_wh, tolerance):
            found = f"is {size_wh[0]}x{size_wh[1]}, but {coco.path.name} says {stated_wh[0]}x{stated_wh[1]}"
            raise refuse(path, "", found, "give the photo that was labelled")
        stated_wh = (stated_wh[1], stated_wh[0])
    elif orientation >= 5 and said is None and _fits_only_turned(record.annotations, stated_wh):
        found = f"EXIF orientation {orientation}: its size is that of one frame, and its labels fit the other only"
        remedy = f'write "labels_frame": "stored" or "labels_frame": "upright" into {coco.path}'
        raise refuse(path, "", found, remedy)
    return CocoFrame(turn=turn, stated_wh=stated_wh, file=coco.path, photo_name=record.file_name, notes=notes)


def _fits_only_turned(annotations: Iterable[dict[str, Any]], stated_wh: tuple[int, int]) -> bool:
    """Whether labels reach clearly out of a photo, and would not if its sides were exchanged."""
    width = height = 0.0
    for annotation in annotations:
        try:
            corners = [polygon.max(axis=0) for polygon in _polygons(annotation.get("segmentation"))]
        except (TypeError, ValueError, OverflowError):
            continue
        for x, y in corners:
            width, height = max(width, float(x)), max(height, float(y))
    beyond = width > 1.02 * stated_wh[0] or height > 1.02 * stated_wh[1]
    return beyond and width <= 1.02 * stated_wh[1] and height <= 1.02 * stated_wh[0]


def annotation_mask(
    annotation: dict[str, Any], stated_wh: tuple[int, int], size_wh: tuple[int, int], path: Path, photo_name: str = ""
) -> np.ndarray:
    """Pixels that an annotation covers; see also `CocoFrame.mask`, for people's own files.

    Args:
        annotation: its `segmentation` is a list of polygons, one polygon, or run lengths as a list or compressed in a
            text. Polygons of fewer than three corners cover nothing.
        stated_wh: size of the photo that its numbers count in, in pixels.
        size_wh: size of the mask that is made.
        path: the annotation file, for errors.
        photo_name: the photo, for errors.

    Returns:
        (H, W) bool; nothing is set where the segmentation is an empty list.

    Raises:
        LabelError: the segmentation is none of these; the message names the file and the annotation.
    """
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list) and len(segmentation) == 1 and isinstance(segmentation[0], dict):
        segmentation = segmentation[0]
    try:
        if isinstance(segmentation, list):
            return _mask_of_polygons(_polygons(segmentation), stated_wh, size_wh)
        if isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
            mask = _mask_of_runs(segmentation, stated_wh)
        elif segmentation is None:
            found = _why_empty(annotation, stated_wh)
            raise refuse(path, _record(annotation, photo_name), found, "draw its outline, or remove it")
        else:
            raise ValueError(f"expected polygons or run lengths as segmentation, got {str(segmentation)[:40]}")
    except LabelError:
        raise
    except (TypeError, ValueError, OverflowError, IndexError) as error:
        found = " ".join(str(error).split())
        raise refuse(path, _record(annotation, photo_name), found, "draw it again, or remove it") from None
    if size_wh != stated_wh:
        mask = cv2.resize(mask, size_wh, interpolation=cv2.INTER_NEAREST)
    return mask.astype(bool)


def _mask_of_runs(segmentation: dict[str, Any], stated_wh: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 of the stated size."""
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list) or len(size) != 2 or [int(one) for one in size] != [stated_wh[1], stated_wh[0]]:
        shown = f"{size[1]}x{size[0]}" if isinstance(size, list) and len(size) == 2 else str(size)[:40]
        raise ValueError(f"run lengths are of {shown} pixels, the photo of {stated_wh[0]}x{stated_wh[1]}")
    runs = decode_counts(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    if sum(runs) != stated_wh[0] * stated_wh[1] or min(runs) < 0:
        raise ValueError(f"run lengths sum to {sum(runs)}, expected {stated_wh[0]}x{stated_wh[1]} pixels")
    # Runs go down the columns, and the first is background.
    flat = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    return np.ascontiguousarray(flat.reshape(stated_wh).T)


def _polygons(segmentation: object) -> list[np.ndarray]:
    """(N, 2) corners of each polygon of three corners or more.

    Polygons are lists x, y, x, y, ... or of pairs; a single one may stand without a list around it.

    Raises:
        ValueError: something in it is no polygon.
    """
    if not isinstance(segmentation, list):
        raise ValueError("no polygons")
    polygons = segmentation
    of_numbers = bool(polygons) and all(_is_number(one) for one in polygons)
    if of_numbers or (len(polygons) >= 3 and all(_is_pair(one) for one in polygons)):
        polygons = [polygons]
    found = []
    for one in polygons:
        if not isinstance(one, list):
            raise ValueError(f"expected polygons as lists of x, y, x, y, ..., got {str(one)[:40]}")
        numbers = [number for pair in one for number in pair] if one and all(_is_pair(two) for two in one) else one
        if not all(_is_number(number) for number in numbers):
            raise ValueError(f"a polygon holds more than numbers: {str(one)[:60]}")
        if len(numbers) % 2:
            raise ValueError(f"a polygon has {len(numbers)} numbers, expected pairs x, y")
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a polygon has a number that is not finite")
        # Published files hold such crumbs of two corners and fewer.
        if len(numbers) >= 6:
            found.append(np.asarray(numbers, dtype=np.float64).reshape(-1, 2))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(number) for number in value)


def _mask_of_polygons(polygons: list[np.ndarray], stated_wh: tuple[int, int], size_wh: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size_wh[::-1], dtype=np.uint8)
    scale = np.array(size_wh) / np.array(stated_wh)
    if polygons:
        largest = max(float(np.abs(corners).max()) for corners in polygons)
        if largest > FARTHEST_SIDES * max(stated_wh):
            raise ValueError(f"a polygon reaches to {largest:g}, the photo is {stated_wh[0]}x{stated_wh[1]}")
        if largest <= 1 and min(stated_wh) > 2:
            raise ValueError("all numbers of its polygons are between 0 and 1, expected pixels")
    for corners in polygons:
        # Coordinates count from the pixel's corner, fillPoly wants pixels; it draws the outline's own, too.
        cv2.fillPoly(mask, [np.floor(corners * scale).astype(np.int32)], 1)
    return mask.astype(bool)


def _why_empty(annotation: dict[str, Any], stated_wh: tuple[int, int]) -> str:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict) or (segmentation and isinstance(segmentation[0], dict)):
        return "its run lengths cover no pixel"
    if segmentation in (None, "", [], [[]]):
        return "has a box and no segmentation" if annotation.get("bbox") else "has no segmentation"
    if not _polygons(segmentation):
        return "its polygons have fewer than 3 corners"
    return f"lies wholly outside the {stated_wh[0]}x{stated_wh[1]} photo"


def decode_counts(text: str | bytes) -> list[int]:
    """Run lengths from COCO's compressed text.

    Each number is written in characters from "0" on, 5 bits a character, lowest first; 32 says that more follow,
    16 in the last is the sign. From the fourth number on, the difference to the one two before is written.

    Example:
        >>> decode_counts("52203")
        [5, 2, 2, 2, 5]
    """
    runs: list[int] = []
    value = shift = 0
    for character in text if isinstance(text, bytes) else text.encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
