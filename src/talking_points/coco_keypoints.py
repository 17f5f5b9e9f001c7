"""What COCO's JSON says of labelled keypoints, as records of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.points import coco_to_photo, look_normalised

PHOTOS_SOUGHT = 100
"""Of a file, to tell in which folder its photos are."""


def folder_of_photos(folder: Path, names: Sequence[str]) -> str:
    """Where photos of these names are, seen from the annotations' folder; "" too when none is found."""
    known = ("", "../data/", "../images/")
    return next((one for one in known if any((folder / one / name).is_file() for name in names[:PHOTOS_SOUGHT])), "")


def keypoints_of(labelled: dict[str, Any], photo: dict[str, Any], category: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The labelled keypoints of an annotation, with what they are on: AP-10K's `supercategory` is the family.

    A ValueError where they are not as COCO has them, or look normalised.
    """
    points_px, visibility = coco_to_photo(labelled.get("keypoints") or [])
    given = (points_px[visibility > 0] - 0.5).round(6).tolist()
    if look_normalised(given):
        raise ValueError(f"the keypoints look normalised, the first is {given[0]}; COCO's are pixels of the photo")
    names = category.get("keypoints") or []
    thing: dict[str, Any] = {"annotation_id": labelled.get("id")}
    thing |= {"object_name": category["name"]} if "name" in category else {}
    thing |= {"object_category": category["supercategory"]} if category.get("supercategory") else {}
    x0, y0, width, height = labelled.get("bbox") or (0, 0, 0, 0)
    x1, y1 = x0 + width, y0 + height
    if "width" in photo and "height" in photo:
        thing["size_wh"] = [photo["width"], photo["height"]]
        # Some of AP-10K's points are at the width: meant is the last pixel. Some of its boxes reach beyond.
        edge = np.array(thing["size_wh"])
        points_px = np.where((points_px > edge) & (points_px <= edge + 0.5), edge - 0.5, points_px)
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(photo["width"], x1), min(photo["height"], y1)
    if x0 < x1 and y0 < y1:
        thing["object_box_xyxy"] = [x0, y0, x1, y1]
    for place, ((x, y), seen) in enumerate(zip(points_px.tolist(), visibility.tolist(), strict=True)):
        if seen:
            name = names[place] if place < len(names) else str(place)
            part = re.sub(r"\bof (?!the )", "of the ", name.replace("_", " "))  # "root of the tail"
            yield {"x": x, "y": y, **thing, "keypoint": name, "part_name": part, "hidden": seen == 1}
