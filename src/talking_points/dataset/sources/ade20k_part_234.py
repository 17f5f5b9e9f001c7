"""ADE20KPart234 (OV-PARTS): photos of ADE20K with a map of part classes, and objects as COCO instances."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.names import called
from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.coco import (
    CocoFile,
    annotation_mask,
    checked_size,
    is_crowd,
    read_coco,
    sound_annotations,
)
from talking_points.dataset.sources.reading import of_split, present_labels, read_labels, read_sure_photo, stems
from talking_points.dataset.sources.semantic import Instance, class_list, comma_list, scene_of_instances
from talking_points.dataset.sources.source import Source

OBJECTS = comma_list(
    "airplane, armchair, bed, bench, bookcase, bus, cabinet, car, chair, chandelier, chest of drawers, clock, "
    "coffee table, computer, cooking stove, desk, dishwasher, door, fan, glass, kitchen island, lamp, light, "
    "microwave, minibike, ottoman, oven, person, pool table, refrigerator, sconce, shelf, sink, sofa, stool, "
    "swivel chair, table, television receiver, toilet, traffic light, truck, van, wardrobe, washer"
)
"""Class of each `category_id`, 0 to 43."""

PARTS = class_list(
    {
        "person": "arm, back, foot, gaze, hand, head, leg, neck, torso",
        "door": "door frame, handle, knob, panel",
        "clock": "face, frame",
        "toilet": "bowl, cistern, lid",
        "cabinet": "door, drawer, front, shelf, side, skirt, top",
        "sink": "bowl, faucet, pedestal, tap, top",
        "lamp": "arm, base, canopy, column, cord, highlight, light source, shade, tube",
        "sconce": "arm, backplate, highlight, light source, shade",
        "chair": "apron, arm, back, base, leg, seat, seat cushion, skirt, stretcher",
        "chest of drawers": "apron, door, drawer, front, leg",
        "chandelier": "arm, bulb, canopy, chain, cord, highlight, light source, shade",
        "bed": "footboard, headboard, leg, side rail",
        "table": "apron, drawer, leg, shelf, top, wheel",
        "armchair": "apron, arm, back, back pillow, leg, seat, seat base, seat cushion",
        "ottoman": "back, leg, seat",
        "shelf": "door, drawer, front, shelf",
        "swivel chair": "back, base, seat, wheel",
        "fan": "blade, canopy, tube",
        "coffee table": "leg, top",
        "stool": "leg, seat",
        "sofa": "arm, back, back pillow, leg, seat base, seat cushion, skirt",
        "computer": "computer case, keyboard, monitor, mouse",
        "desk": "apron, door, drawer, leg, shelf, top",
        "wardrobe": "door, drawer, front, leg, mirror, top",
        "car": "bumper, door, headlight, hood, license plate, logo, mirror, wheel, window, wiper",
        "bus": "bumper, door, headlight, license plate, logo, mirror, wheel, window, wiper",
        "oven": "button panel, door, drawer, top",
        "cooking stove": "burner, button panel, door, drawer, oven, stove",
        "microwave": "button panel, door, front, side, top, window",
        "refrigerator": "button panel, door, drawer, side",
        "kitchen island": "door, drawer, front, side, top",
        "dishwasher": "button panel, handle, skirt",
        "bookcase": "door, drawer, front, side",
        "television receiver": "base, buttons, frame, keys, screen, speaker",
        "glass": "base, bowl, opening, stem",
        "pool table": "bed, leg, pocket",
        "van": "bumper, door, headlight, license plate, logo, mirror, taillight, wheel, window, wiper",
        "airplane": "door, fuselage, landing gear, propeller, stabilizer, turbine engine, wing",
        "truck": "bumper, door, headlight, license plate, logo, mirror, wheel, window",
        "minibike": "license plate, mirror, seat, wheel",
        "washer": "button panel, door, front, side",
        "bench": "arm, back, leg, seat",
        "traffic light": "housing, pole",
        "light": "aperture, canopy, diffusor, highlight, light source, shade",
    }
)
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
    found = coco.photos.keys() | stems(folder / "images" / own, ".jpg")
    found |= stems(folder / "annotations_detectron2_part" / own, ".png")
    return Source(
        name="ade20k-part-234",
        folder=folder,
        split=split,
        photo_ids=tuple(sorted(name for name in found if of_split(name, split))),
        read=partial(_read_scene, folder, own, coco),
        photo_path=partial(_photo_path, folder, own),
    )


def _photo_path(folder: Path, own: str, photo_id: str) -> Path:
    return folder / "images" / own / f"{photo_id}.jpg"


def _read_scene(folder: Path, own: str, coco: CocoFile, photo_id: str) -> Scene:
    path = _photo_path(folder, own, photo_id)
    photo = read_sure_photo(path)
    labels = _read_parts(folder / "annotations_detectron2_part" / own / f"{photo_id}.png", photo)
    return scene_of_instances(
        photo,
        labels,
        PARTS,
        _instances(coco, photo_id, path, photo),
        source="ade20k-part-234",
        photo_id=photo_id,
    )


def _read_parts(path: Path, photo: np.ndarray) -> np.ndarray:
    labels = read_labels(path, photo)
    # Some tools write such maps with 8 bits, and 65535 becomes 255.
    unlabelled = 255 if labels.dtype == np.uint8 else UNLABELLED
    unknown = [label for label in present_labels(labels) if label >= len(PARTS) and label != unlabelled]
    if unknown:
        raise ValueError(f"{path} holds label {unknown[0]}, known are 0 to {len(PARTS) - 1} and {unlabelled}")
    return labels


def _instances(coco: CocoFile, photo_id: str, path: Path, photo: np.ndarray) -> list[Instance]:
    if photo_id not in coco.photos:
        raise ValueError(f"{path} has no record in {coco.path}")
    size_wh = checked_size(coco, photo_id, path, photo)
    instances = []
    for annotation in sound_annotations(coco, photo_id):
        label = int(annotation["category_id"])
        if not 0 <= label < len(OBJECTS):
            raise ValueError(
                f"{coco.path}: annotation {annotation.get('id')} of {photo_id} has category {label}, "
                f"known are 0 to {len(OBJECTS) - 1}"
            )
        # A crowd's mask is of several things.
        if not is_crowd(annotation):
            mask = annotation_mask(annotation, size_wh, size_wh, coco.path)
            if mask.any():
                name = OBJECTS[label]
                instances.append(Instance(class_name=name, name=called(name), mask=mask))
    return instances
