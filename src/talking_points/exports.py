"""Points and their texts in the forms of other tools: COCO keypoints, and FiftyOne's datasets.

`supervision.KeyPoints` are in `points`. None of these libraries is needed here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from talking_points.points import photo_to_coco, photo_to_unit
from talking_points.records import Triplet

_KEYPOINT = "point"


def triplets_to_coco(triplets: Sequence[Triplet]) -> dict[str, Any]:
    """COCO's keypoint format, as pycocotools and CVAT read it: an annotation of one keypoint for each triplet.

    Args:
        triplets: of any number of photos.

    Returns:
        The content of a COCO file. Pixels are counted as COCO does, from 0 at the centre of the first. The text is
        the annotation's "caption"; the box is the object's where it is known, else one pixel around the point.

    Raises:
        ValueError: a photo has two sizes.
    """
    photos = _photos(triplets)
    annotations = []
    for number, one in enumerate(triplets, start=1):
        x, y = one.point_px
        left, top, right, bottom = one.object_box_xyxy or (x - 0.5, y - 0.5, x + 0.5, y + 0.5)
        annotations.append(
            {
                "id": number,
                "image_id": photos[one.photo_path][0],
                "category_id": 1,
                "keypoints": photo_to_coco([one.point_px]),
                "num_keypoints": 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
                "caption": one.text,
            }
        )
    return {
        "images": [
            {"id": number, "file_name": path, "width": size_wh[0], "height": size_wh[1]}
            for path, (number, size_wh) in photos.items()
        ],
        "annotations": annotations,
        "categories": [
            {"id": 1, "name": _KEYPOINT, "supercategory": "", "keypoints": [_KEYPOINT], "skeleton": []},
        ],
    }


def triplets_to_fiftyone(triplets: Sequence[Triplet]) -> list[dict[str, Any]]:
    """FiftyOne's samples, one for each photo: `fiftyone.Sample.from_dict` takes each as it is.

    Args:
        triplets: of any number of photos.

    Returns:
        Samples with a field "points" of fiftyone.Keypoints: x and y in the photo's [0, 1]^2, the part's name (or
        "point") as the label, the text as the attribute "description".

    Raises:
        ValueError: a photo has two sizes.
    """
    samples = []
    for path, (_, size_wh) in _photos(triplets).items():
        keypoints = [
            {
                "_cls": "Keypoint",
                "label": one.part_name or _KEYPOINT,
                "points": photo_to_unit([one.point_px], size_wh).tolist(),
                "description": one.text,
                "tags": [],
                "attributes": {},
            }
            for one in triplets
            if one.photo_path == path
        ]
        samples.append(
            {
                "filepath": path,
                "tags": [],
                "metadata": {"_cls": "ImageMetadata", "width": size_wh[0], "height": size_wh[1]},
                "points": {"_cls": "Keypoints", "keypoints": keypoints},
            }
        )
    return samples


def write_json(path: Path | str, content: Any) -> None:
    """Write an export; the file appears whole or not at all."""
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    os.replace(unfinished, path)


def _photos(triplets: Sequence[Triplet]) -> dict[str, tuple[int, tuple[int, int]]]:
    """Number, from 1, and size of each photo."""
    photos: dict[str, tuple[int, tuple[int, int]]] = {}
    for one in triplets:
        _, size_wh = photos.setdefault(one.photo_path, (len(photos) + 1, one.size_wh))
        if size_wh != one.size_wh:
            raise ValueError(
                f"{one.photo_path} is {size_wh[0]}x{size_wh[1]} in one record and "
                f"{one.size_wh[0]}x{one.size_wh[1]} in another"
            )
    return photos
