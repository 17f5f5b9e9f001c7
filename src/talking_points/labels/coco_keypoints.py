"""The labelled keypoints of a COCO file, as records of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.labels.coco import (
    NO_SIZE_NOTE,
    CocoFile,
    CocoPhoto,
    bbox_of,
    coco_of,
    is_crowd,
    keypoint_names,
    record_of,
)
from talking_points.labels.finding import find_photos, is_file
from talking_points.labels.frames import LabelFrame, frame_of_labels
from talking_points.labels.problems import LabelError, Problem, refuse
from talking_points.photos import photo_header
from talking_points.points import coco_to_photo, look_normalised
from talking_points.progress import OnNote, one_line

FOLDERS = ("", "../data/", "../images/", "images/")
"""Where photos are sought, seen from the annotations' folder; AP-10K has the second."""
PHOTOS_SOUGHT = 100
"""Of a file, to tell in which of these its photos are."""
NAMELESS_NOTE = "keypoints of a category that has no names of them; no part is told"


def coco_keypoints(path: Path, content: Any, note: OnNote) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The labelled keypoints of a file, photo by photo, each with why it cannot be read where that is so.

    Points are of the upright photo: those of the stored pixels are turned, see `frame_of_labels`.

    Args:
        path: of the file; photos are sought in `FOLDERS`.
        content: of the file.
        note: told what was assumed.

    Raises:
        ValueError: it is not COCO's, names photos or categories twice, or has no labelled keypoint.
    """
    coco = coco_of(path, content)
    if coco.refused:
        raise LabelError(coco.refused)
    paths = _paths_of_photos(coco)
    nothing = True
    for found in chain(coco.problems, _of_photos(coco, paths, note)):
        nothing = False
        yield ({}, _said(found, path)) if isinstance(found, Problem) else (found, None)
    if nothing:
        count = sum(len(photo.annotations) for photo in coco.photos.values())
        raise ValueError(f"{path} has no labelled keypoints in its {count} annotations")


def _said(problem: Problem, path: Path) -> str:
    """A problem where the file is named already; one of another file, a photo, names that."""
    return str(problem) if problem.file != str(path) else f"{problem.record}: {problem.problem}; {problem.remedy}"


def _of_photos(coco: CocoFile, paths: Mapping[str, str], note: OnNote) -> Iterator[dict[str, Any] | Problem]:
    for photo_id, photo in coco.photos.items():
        yield from photo.problems
        labelled = [one for one in photo.annotations if one.get("keypoints") and not is_crowd(one)]
        if not labelled:
            continue
        if photo.size_wh is None:
            note(NO_SIZE_NOTE)
        try:
            frame = _frame(coco, photo, coco.path.parent / paths[photo_id])
        except LabelError as error:
            # Of the photo, not of each of its points.
            yield from error.problems
            continue
        for told in frame.notes if frame else ():
            note(told)
        for annotation in labelled:
            category = coco.categories.get(annotation["category_id"], {})
            try:
                keypoints = _keypoints(coco.path, annotation, category, photo, frame)
            except LabelError as error:
                yield from error.problems
                continue
            if any("keypoint" not in one for one in keypoints):
                note(NAMELESS_NOTE)
            for known in keypoints:
                yield {"photo": paths[photo_id], **known}


def _frame(coco: CocoFile, photo: CocoPhoto, path: Path) -> LabelFrame | None:
    """In which frame the points of a photo are; None where it cannot be opened, of which its points tell later."""
    try:
        size_wh, orientation = photo_header(path)
    except (ValueError, OSError):
        return None
    return frame_of_labels(size_wh, orientation, photo.size_wh, file=path, said=coco.labels_frame, where=coco.path)


def _keypoints(
    path: Path, annotation: dict[str, Any], category: dict[str, Any], photo: CocoPhoto, frame: LabelFrame | None
) -> list[dict[str, Any]]:
    """The labelled keypoints of an annotation, with what they are on: AP-10K's `supercategory` is the family.

    A LabelError where they cannot be read.
    """
    record = record_of(annotation, photo.file_name)
    names = keypoint_names(path, category)
    try:
        points_px, visibility = coco_to_photo(annotation["keypoints"])
        if names and len(names) != len(points_px):
            raise ValueError(f"it has {len(points_px)} keypoints, its category names {len(names)}")
    except (TypeError, ValueError, OverflowError) as error:
        remedy = "give x, y and visibility of each, zeros for those not labelled"
        raise LabelError([Problem(file=str(path), record=record, problem=one_line(error), remedy=remedy)]) from None
    given = (points_px[visibility > 0] - 0.5).round(6).tolist()
    if look_normalised(given):
        what = f"the keypoints look normalised, the first is {given[0]}; COCO's are pixels of the photo"
        raise refuse(path, record, what, "multiply them by the photo's width and height")
    thing: dict[str, Any] = {"annotation_id": annotation.get("id")}
    thing |= {"object_name": str(category["name"])} if "name" in category else {}
    thing |= {"object_category": category["supercategory"]} if category.get("supercategory") else {}
    corners = np.zeros((2, 2))
    if bbox := bbox_of(path, record, annotation):
        corners = np.array([bbox[:2], np.add(bbox[:2], bbox[2:])])
    stated_wh = own_wh = photo.size_wh
    if frame is not None:
        fits = own_wh in (None, frame.own_wh, frame.own_wh[::-1] if frame.orientation >= 5 else None)
        stated_wh, own_wh = (frame.size_wh, frame.own_wh) if fits else (own_wh, own_wh)
    if own_wh is not None:
        # Some of AP-10K's points are at the width: meant is the last pixel. Some of its boxes reach beyond.
        edge = np.array(own_wh)
        points_px = np.where((points_px > edge) & (points_px <= edge + 0.5), edge - 0.5, points_px)
        corners = corners.clip(0, edge)
    if frame is not None:
        points_px, corners = frame.turn_points(points_px), frame.turn_points(corners)
    if stated_wh is not None:
        thing["size_wh"] = list(stated_wh)
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    if x0 < x1 and y0 < y1:
        thing["object_box_xyxy"] = [x0, y0, x1, y1]
    found = []
    for place, ((x, y), seen) in enumerate(zip(points_px.tolist(), visibility.tolist(), strict=True)):
        if seen:
            known = {"x": x, "y": y, **thing}
            if names:
                part = re.sub(r"\bof (?!the )", "of the ", names[place].replace("_", " "))  # "root of the tail"
                known |= {"keypoint": names[place], "part_name": part}
            found.append({**known, "hidden": seen == 1})
    return found


def _paths_of_photos(coco: CocoFile) -> dict[str, str]:
    """Where each photo lies, seen from the file's folder: as written, else as `find_photos` finds it in one of
    `FOLDERS`; that of one that is not there is as written."""
    folder = coco.path.parent
    paths = {photo_id: photo.file_name for photo_id, photo in coco.photos.items()}
    for photo_id, photo in coco.photos.items():
        written = photo.record.get("file_name")
        if isinstance(written, str) and is_file(folder / written):
            paths[photo_id] = written
    wanted = {photo_id: name for photo_id, name in paths.items() if not is_file(folder / name)}
    some = dict(list(wanted.items())[:PHOTOS_SOUGHT])
    for place in FOLDERS:
        if any(is_file(path) for path in find_photos(folder / place, some).values()):
            for photo_id, path in find_photos(folder / place, wanted).items():
                if is_file(path):
                    paths[photo_id] = path.relative_to(folder).as_posix()
            break
    return paths
