"""AP-10K: animals with up to 17 labelled keypoints each, boxes and no masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.problems import Problem, refuse
from talking_points.dataset.scene import NamedPoint, Scene, SceneObject
from talking_points.dataset.sources.coco import (
    CROWD_NOTE,
    CocoFile,
    CocoFrame,
    category_name,
    frame_of_photo,
    is_crowd,
    read_coco,
)
from talking_points.dataset.sources.reading import read_turned_photo
from talking_points.dataset.sources.source import Source


def open_ap_10k(folder: Path, split: str) -> Source:
    """AP-10K as its authors distribute it, in the first of its three random splits.

        annotations/ap10k-{train,val,test}-split1.json
        data/000000000001.jpg

    or its small sample, {train,val,test}_ap10k.json with the photos beside it. The scenes have no parts but
    `keypoints`, of animals that their own loader keeps: not a crowd, a box that is not empty, a point or more.
    `SceneObject.name` is the species, `category` the family. Points that were not labelled are left out.

    Raises:
        FileNotFoundError: the JSON file is missing.
        ValueError: it is not COCO's.
    """
    path = folder / "annotations" / f"ap10k-{split}-split1.json"
    photos = folder / "data"
    sample = folder / f"{split}_ap10k.json"
    if not path.is_file() and sample.is_file():
        path, photos = sample, folder
    coco = read_coco(path)
    return Source(
        name="ap-10k",
        folder=folder,
        split=split,
        photo_ids=tuple(sorted(coco.photos)),
        read=partial(_read_scene, photos, coco),
        photo_path=partial(_photo_path, photos, coco),
        problems=coco.problems,
    )


def _photo_path(photos: Path, coco: CocoFile, photo_id: str) -> Path:
    return photos / Path(coco.photos[photo_id].file_name).name


def _read_scene(photos: Path, coco: CocoFile, photo_id: str) -> Scene:
    path = _photo_path(photos, coco, photo_id)
    photo, orientation = read_turned_photo(path)
    frame = frame_of_photo(coco, photo_id, path, photo, orientation)
    objects: list[SceneObject] = []
    keypoints: list[NamedPoint] = []
    problems: list[Problem] = list(coco.photos[photo_id].problems)
    notes = list(frame.notes)
    uncounted: set[str] = set()
    for annotation in coco.photos[photo_id].annotations:
        species = category_name(coco, annotation)
        category = coco.categories[annotation["category_id"]]
        if is_crowd(annotation):
            notes.append(CROWD_NOTE)
            uncounted.add(species)
            continue
        try:
            points = _points(annotation, category, frame, len(objects))
            x0, y0, x1, y1 = frame.box(_bbox(annotation))
        except (TypeError, ValueError) as error:
            where = f"annotation {annotation.get('id')} of {frame.photo_name}"
            found = " ".join(str(error).split())
            problems += refuse(coco.path, where, found, "mend or remove it").problems
            continue
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(photo.shape[1], x1), min(photo.shape[0], y1)
        if points and x0 < x1 and y0 < y1:
            objects.append(
                SceneObject(name=species, box_xyxy=(x0, y0, x1, y1), category=str(category.get("supercategory", "")))
            )
            keypoints += points
    return Scene(
        photo=photo,
        objects=tuple(objects),
        parts=(),
        part_map=np.zeros(photo.shape[:2], dtype=np.int16),
        source="ap-10k",
        photo_id=photo_id,
        keypoints=tuple(keypoints),
        uncounted=frozenset(uncounted),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _bbox(annotation: dict[str, Any]) -> list[float]:
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"expected a bbox x, y, width, height, got {box}")
    return box


def _points(
    annotation: dict[str, Any], category: dict[str, Any], frame: CocoFrame, object_index: int
) -> list[NamedPoint]:
    names, numbers = category.get("keypoints", []), annotation.get("keypoints", [])
    if not names or len(numbers) != 3 * len(names):
        raise ValueError(f"{len(numbers)} numbers of keypoints, expected 3 for each of {len(names)} names")
    width, height = frame.stated_wh
    points = []
    for name, x, y, visibility in zip(names, numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        if visibility not in (0, 1, 2):
            raise ValueError(f"visibility of {name} is {visibility}, expected 0, 1 or 2")
        if not visibility:
            continue
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f"{name} [{x}, {y}] is outside the {width}x{height} photo")
        # The file counts pixels; the point is the pixel's centre, and on the border that of the last one.
        centre = np.array([[min(x + 0.5, width - 0.5), min(y + 0.5, height - 0.5)]])
        [[own_x, own_y]] = frame.points(centre).tolist()
        points.append(
            NamedPoint(
                name=str(name).replace("_", " ").replace("root of tail", "root of the tail"),
                x=own_x,
                y=own_y,
                visible=visibility == 2,
                object_index=object_index,
            )
        )
    return points
