"""Objects with parts in COCO polygons: a folder for each split with `annotations.json` and `images/`.

The layout of Car-Parts-Segmentation (dsmlr), and for people's own data; that set's category names are made into
words by `CAR_PART_WORDS`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.scene import ObjectLabel, Scene, make_scene
from talking_points.dataset.sources.coco import CocoFile, annotation_mask, category_name, read_coco
from talking_points.dataset.sources.reading import of_split, read_photo, split_blobs
from talking_points.dataset.sources.source import Source

BACKGROUND = "_background_"

CAR_PART_WORDS = {
    "back_bumper": "rear bumper",
    "back_glass": "rear window",
    "back_left_light": "left taillight",
    "back_right_light": "right taillight",
    "front_glass": "windshield",
    "front_left_light": "left headlight",
    "front_right_light": "right headlight",
}
"""Category names that are not words yet; of all others, underscores become spaces."""

SEPARATE_THINGS = frozenset({"wheel"})
"""Names of which an object has several: each blob is a part of its own."""

ASPECT_TOLERANCE = 0.02
"""A photo of another size than the JSON says is read when the aspect ratios agree within this share."""


def open_coco_parts(folder: Path, split: str) -> Source:
    """Objects whose parts are COCO polygons or run lengths.

        train/annotations.json, train/images/NAME.jpg      "val" is held out of "train"
        test/annotations.json, test/images/NAME.jpg

    A part's class is its category's name, the object's class is the category's "supercategory". Parts of one
    object share the annotations' "object_id", a key of ours; without it, a photo shows one object of a class.
    Overlapping parts: the smaller is on top. Photos without annotations are not listed. Left and right in the
    names are the object's own. A photo of another size than the JSON says is read when its shape is the same.

    Raises:
        ValueError: annotations.json is not COCO's.
        FileNotFoundError: it is missing.
    """
    where = folder / ("test" if split == "test" else "train")
    coco = read_coco(where / "annotations.json")
    background = {number for number, category in coco.categories.items() if category["name"] == BACKGROUND}
    listed = [
        photo_id
        for photo_id, photo in coco.photos.items()
        if of_split(photo_id, split) and any(one["category_id"] not in background for one in photo.annotations)
    ]
    return Source(
        name="coco-parts",
        folder=folder,
        split=split,
        photo_ids=tuple(sorted(listed)),
        read=partial(_read_scene, coco, folder.name),
        photo_path=partial(_photo_path, coco),
    )


def _photo_path(coco: CocoFile, photo_id: str) -> Path:
    return coco.path.parent / "images" / Path(coco.photos[photo_id].file_name).name


def _read_scene(coco: CocoFile, dataset: str, photo_id: str) -> Scene:
    path = _photo_path(coco, photo_id)
    photo = read_photo(path)
    height, width = photo.shape[:2]
    stated_wh = coco.photos[photo_id].size_wh
    if abs((width / height) / (stated_wh[0] / stated_wh[1]) - 1) > ASPECT_TOLERANCE:
        raise ValueError(f"{path} is {width}x{height}, but {coco.path.name} says {stated_wh[0]}x{stated_wh[1]}")

    masks: list[tuple[tuple[str, int, str], np.ndarray]] = []
    for annotation in coco.photos[photo_id].annotations:
        name = category_name(coco, annotation)
        if name != BACKGROUND:
            owner = coco.categories[int(annotation["category_id"])].get("supercategory")
            if not isinstance(owner, str) or not owner:
                raise ValueError(f'{coco.path}: category "{name}" needs a "supercategory", the class of its object')
            mask = annotation_mask(annotation, stated_wh, (width, height), coco.path)
            masks.append(((owner, int(annotation.get("object_id", 0)), name), mask))
    # Larger first: a mirror in front of a door stays visible.
    masks.sort(key=lambda item: -int(item[1].sum()))
    keys = sorted({key for key, _ in masks})
    layers = np.zeros((height, width), dtype=np.int16)
    for key, mask in masks:
        layers[mask] = keys.index(key) + 1

    owners = sorted({key[:2] for key in keys})
    part_map = np.zeros((height, width), dtype=np.int16)
    part_names: list[str] = []
    part_objects: list[int] = []
    for number, (owner, object_id, name) in enumerate(keys, start=1):
        mask = layers == number
        word = CAR_PART_WORDS.get(name, name.replace("_", " "))
        for blob in split_blobs(mask) if word in SEPARATE_THINGS else [mask]:
            part_names.append(word)
            part_objects.append(owners.index((owner, object_id)))
            part_map[blob] = len(part_names)
    return make_scene(
        photo,
        part_map,
        part_names,
        part_objects,
        # A car's roof and fenders have no label.
        [ObjectLabel(name=owner, outlined=False) for owner, _ in owners],
        source=dataset,
        photo_id=photo_id,
    )
