"""Cars with parts in COCO polygons: a folder for each split with `annotations.json` and `images/`.

The layout of Car-Parts-Segmentation (dsmlr); its category names are made into words by `CAR_PART_WORDS`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from talking_points.dataset.scene import Scene, make_scene
from talking_points.dataset.sources.reading import (
    check_split,
    fitted_size,
    of_split,
    read_json,
    read_photo,
    shrink_photo,
    split_blobs,
)

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


def load_coco_parts(folder: Path | str, split: str, *, object_name: str = "car", max_side: int = 384) -> list[Scene]:
    """Load one split of a dataset of one labelled object a photo, its parts as COCO polygons.

    Overlapping polygons: the smaller is on top. Photos without annotations are passed over. Left and right in
    the names are the object's own.

    Args:
        folder: holds `train/` and `test/`, each with `annotations.json` and `images/`.
        split: "train" (without what "val" holds out), "val" or "test".
        object_name: the class word of the whole.
        max_side: photos are scaled down to at most this long side, in pixels.

    Raises:
        ValueError: a file is missing or broken, a category is unknown, a segmentation is no polygon, a
            photo's shape disagrees with the JSON; the message names the file.
    """
    check_split(split)
    where = Path(folder) / ("test" if split == "test" else "train")
    path = where / "annotations.json"
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise ValueError(f'{path}: expected an object with "images", "annotations" and "categories"')
    names = {category["id"]: category["name"] for category in content["categories"]}
    of_photo: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        if annotation["category_id"] not in names:
            raise ValueError(
                f"{path}: annotation {annotation.get('id')} has category {annotation['category_id']}, "
                f"known are {sorted(names)}"
            )
        if names[annotation["category_id"]] != BACKGROUND:
            of_photo[annotation["image_id"]].append(annotation)
    scenes = []
    for record in content["images"]:
        photo_id = Path(record["file_name"]).stem
        if of_photo[record["id"]] and of_split(photo_id, split):
            scenes.append(_read_scene(where, record, of_photo[record["id"]], names, object_name, max_side))
    return scenes


def _read_scene(
    where: Path,
    record: dict[str, Any],
    annotations: list[dict[str, Any]],
    names: dict[int, str],
    object_name: str,
    max_side: int,
) -> Scene:
    path = where / "images" / Path(record["file_name"]).name
    photo = read_photo(path)
    height, width = photo.shape[:2]
    stated_width, stated_height = record["width"], record["height"]
    aspect_change = (width / height) / (stated_width / stated_height)
    if abs(aspect_change - 1) > ASPECT_TOLERANCE:
        raise ValueError(f"{path} is {width}x{height}, but annotations.json says {stated_width}x{stated_height}")
    size_wh = fitted_size((width, height), max_side)
    scale = np.array([size_wh[0] / stated_width, size_wh[1] / stated_height])

    drawn: list[tuple[float, str, list[np.ndarray]]] = []
    for annotation in annotations:
        polygons = _polygons(annotation, path)
        area = sum(abs(cv2.contourArea(polygon.astype(np.float32))) for polygon in polygons)
        drawn.append((area, names[annotation["category_id"]], polygons))
    drawn.sort(key=lambda item: -item[0])
    # Larger first: a mirror in front of a door stays visible.
    category_names = sorted({name for _, name, _ in drawn})
    categories = np.zeros((size_wh[1], size_wh[0]), dtype=np.uint8)
    for _, name, polygons in drawn:
        for polygon in polygons:
            # Coordinates count from the pixel's corner; fillPoly's count from its centre.
            corners = np.round(polygon * scale - 0.5).astype(np.int32)
            cv2.fillPoly(categories, [corners], category_names.index(name) + 1)

    part_map = np.zeros(categories.shape, dtype=np.int16)
    part_names: list[str] = []
    for number, name in enumerate(category_names, start=1):
        mask = categories == number
        word = CAR_PART_WORDS.get(name, name.replace("_", " "))
        for blob in split_blobs(mask) if word in SEPARATE_THINGS else [mask]:
            part_names.append(word)
            part_map[blob] = len(part_names)
    return make_scene(
        shrink_photo(photo, size_wh),
        part_map,
        part_names,
        [0] * len(part_names),
        [object_name],
        source=where.parent.name,
        photo_id=path.stem,
    )


def _polygons(annotation: dict[str, Any], path: Path) -> list[np.ndarray]:
    segmentation = annotation["segmentation"]
    if not isinstance(segmentation, list):
        raise ValueError(
            f"{path}: annotation {annotation.get('id')} is a {type(segmentation).__name__} (run lengths?), "
            "only lists of polygons are read"
        )
    polygons = []
    for numbers in segmentation:
        if len(numbers) % 2 or len(numbers) < 6:
            raise ValueError(
                f"{path}: annotation {annotation.get('id')} has a polygon of {len(numbers)} numbers, "
                "expected pairs x, y of at least 3 corners"
            )
        polygons.append(np.asarray(numbers, dtype=np.float64).reshape(-1, 2))
    return polygons
