"""AP-10K: animals with up to 17 labelled keypoints each, boxes and no masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.problems import LabelError, refuse
from talking_points.dataset.scene import NamedPoint, Scene, SceneObject
from talking_points.dataset.sources.coco import CROWD_NOTE, CocoFile, is_crowd, read_coco, record_of
from talking_points.dataset.sources.coco_masks import frame_of_photo
from talking_points.dataset.sources.coco_objects import read_box
from talking_points.dataset.sources.reading import read_photo
from talking_points.dataset.sources.skeletons import VISIBLE, read_joints, read_skeleton
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
    path, photos = folder / "annotations" / f"ap10k-{split}-split1.json", folder / "data"
    sample = folder / f"{split}_ap10k.json"
    if not path.is_file() and sample.is_file():
        path, photos = sample, folder
    coco = read_coco(path)
    paths = {photo_id: photos / Path(photo.file_name).name for photo_id, photo in coco.photos.items()}
    read = partial(_read_scene, coco, paths)
    return Source(name="ap-10k", split=split, paths=paths, read=read, problems=coco.problems)


def _read_scene(coco: CocoFile, paths: Mapping[str, Path], photo_id: str) -> Scene:
    photo = read_photo(paths[photo_id])
    frame = frame_of_photo(coco, photo_id, photo)
    width, height = photo.size_wh
    objects: list[SceneObject] = []
    keypoints: list[NamedPoint] = []
    problems = list(coco.photos[photo_id].problems)
    notes = list(frame.notes)
    uncounted: set[str] = set()
    for annotation in coco.photos[photo_id].annotations:
        category = coco.category_of(annotation)
        species = str(category["name"])
        if is_crowd(annotation):
            notes.append(CROWD_NOTE)
            uncounted.add(species)
            continue
        record = record_of(annotation, frame.photo_name)
        try:
            joints = read_joints(record, annotation, read_skeleton(coco.path, category), frame)
            box = read_box(record, annotation, frame)
            if not annotation.get("bbox"):
                raise refuse(coco.path, record, "expected a bbox x, y, width, height", "add or remove it")
        except LabelError as error:
            problems += error.problems
            continue
        if not joints or box is None:
            continue
        x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
        if x0 < x1 and y0 < y1:
            keypoints += [
                NamedPoint(
                    name=joint.name,
                    x=joint.point[0],
                    y=joint.point[1],
                    visible=joint.mark == VISIBLE,
                    object_index=len(objects),
                )
                for joint in joints
            ]
            family = str(category.get("supercategory", ""))
            objects.append(SceneObject(name=species, box_xyxy=(x0, y0, x1, y1), category=family))
    return Scene(
        photo=photo.pixels,
        objects=tuple(objects),
        parts=(),
        part_map=np.zeros(photo.pixels.shape[:2], dtype=np.int16),
        source="ap-10k",
        photo_id=photo_id,
        keypoints=tuple(keypoints),
        uncounted=frozenset(uncounted),
        problems=tuple(problems),
        notes=tuple(notes),
    )
