"""ADE20KPart234 (OV-PARTS): photos of ADE20K with a map of part classes, and objects as COCO instances."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.names import called
from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.coco import CocoFile, is_crowd, read_coco, sound_annotations
from talking_points.dataset.sources.coco_masks import frame_of_photo
from talking_points.dataset.sources.reading import SourcePhoto, check_labels, of_split, read_labels, read_photo, stems
from talking_points.dataset.sources.semantic import PUBLISHED, Instance, part_classes, scene_of_instances
from talking_points.dataset.sources.source import Source

NAME = "ade20k-part-234"
OBJECTS = PUBLISHED[NAME]["objects"]
"""Class of each `category_id`, 0 to 43."""
PARTS = part_classes(PUBLISHED[NAME])
"""Object and part class of each label of the part map, 0 to 233; the objects are in another order than above."""

UNLABELLED = 65535


def open_ade20k_part_234(folder: Path, split: str) -> Source:
    """ADE20KPart234 as its authors distribute it; the folder's own name does not matter.

        images/{training,validation}/NAME.jpg
        annotations_detectron2_part/{training,validation}/NAME.png    16 bits: 0 to 233, 65535 elsewhere
        ade20k_instance_{train,val}.json                              objects: polygons or run lengths

    The distributed "validation" is "test" here, and "val" is held out of the distributed "training".

    Raises:
        FileNotFoundError: a folder or the JSON file is missing.
        ValueError: the JSON file is not COCO's.
    """
    own = "validation" if split == "test" else "training"
    coco = read_coco(folder / ("ade20k_instance_val.json" if split == "test" else "ade20k_instance_train.json"))
    photos, maps = folder / "images" / own, folder / "annotations_detectron2_part" / own
    found = coco.photos.keys() | stems(photos, ".jpg") | stems(maps, ".png")
    paths = {name: photos / f"{name}.jpg" for name in found if of_split(name, split)}
    return Source(name=NAME, split=split, paths=paths, read=partial(_read_scene, coco, paths, maps))


def _read_scene(coco: CocoFile, paths: dict[str, Path], maps: Path, photo_id: str) -> Scene:
    photo = read_photo(paths[photo_id])
    path = maps / f"{photo_id}.png"
    labels, _ = read_labels(path, photo, said=coco.labels_frame, where=coco.path)
    # Some tools write such maps with 8 bits, and 65535 becomes 255.
    check_labels(labels, path, len(PARTS), 255 if labels.dtype == np.uint8 else UNLABELLED)
    return scene_of_instances(photo, labels, PARTS, _instances(coco, photo_id, photo), source=NAME)


def _instances(coco: CocoFile, photo_id: str, photo: SourcePhoto) -> list[Instance]:
    if photo_id not in coco.photos:
        raise ValueError(f"{photo.path} has no record in {coco.path}")
    frame = frame_of_photo(coco, photo_id, photo)
    instances = []
    for annotation in sound_annotations(coco, photo_id):
        label = int(annotation["category_id"])
        if not 0 <= label < len(OBJECTS):
            raise ValueError(
                f"{coco.path}: annotation {annotation.get('id')} of {photo_id} has category {label}, "
                f"known are 0 to {len(OBJECTS) - 1}"
            )
        # A crowd's mask is of several things.
        mask = None if is_crowd(annotation) else frame.pixels(annotation)
        if mask is not None and mask.any():
            instances.append(Instance(class_name=OBJECTS[label], name=called(OBJECTS[label]), mask=mask))
    return instances
