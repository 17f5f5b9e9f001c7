"""Annotation files in COCO's form: an index by photo, and masks from polygons and run lengths."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from talking_points.dataset.sources.reading import read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoPhoto:
    """What a file says of one photo."""

    file_name: str
    """As written there, often with folders that are not here."""
    size_wh: tuple[int, int]
    """Width and height that the annotations count in, in pixels."""
    annotations: tuple[dict[str, Any], ...]
    """Objects of the JSON, in its order; `category_id` is there, nothing else is checked."""
    record: dict[str, Any] = field(default_factory=dict)
    """The photo's own object of the JSON, which may say more, as its "breed"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoFile:
    """One annotation file."""

    path: Path
    categories: dict[int, dict[str, Any]]
    """By id; empty when the file has no list of them."""
    photos: dict[str, CocoPhoto]
    """By the file name without folder and ending."""


def read_coco(path: Path) -> CocoFile:
    """Read an annotation file.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is not JSON, or not of COCO's form.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise ValueError(f'{path}: expected an object with "images" and "annotations"')
    try:
        of_photo: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            int(annotation["category_id"])
            of_photo[annotation["image_id"]].append(annotation)
        return CocoFile(
            path=path,
            categories={int(category["id"]): category for category in content.get("categories", [])},
            photos={
                Path(record["file_name"]).stem: CocoPhoto(
                    file_name=record["file_name"],
                    size_wh=(int(record["width"]), int(record["height"])),
                    annotations=tuple(of_photo[record["id"]]),
                    record=record,
                )
                for record in content["images"]
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not COCO's form: {type(error).__name__} {error} in a record") from None


def category_name(coco: CocoFile, annotation: dict[str, Any]) -> str:
    """The name of an annotation's category, ValueError if the file has no such category."""
    number = int(annotation["category_id"])
    if number not in coco.categories:
        raise ValueError(
            f"{coco.path}: annotation {annotation.get('id')} has category {number}, known are {sorted(coco.categories)}"
        )
    return str(coco.categories[number]["name"])


def checked_size(coco: CocoFile, photo_id: str, path: Path, photo: np.ndarray) -> tuple[int, int]:
    """Width and height of a photo, ValueError if the file says another size."""
    size_wh = (photo.shape[1], photo.shape[0])
    stated_wh = coco.photos[photo_id].size_wh
    if size_wh != stated_wh:
        raise ValueError(
            f"{path} is {size_wh[0]}x{size_wh[1]}, but {coco.path.name} says {stated_wh[0]}x{stated_wh[1]}"
        )
    return size_wh


def annotation_mask(
    annotation: dict[str, Any], stated_wh: tuple[int, int], size_wh: tuple[int, int], path: Path
) -> np.ndarray:
    """Pixels that an annotation covers.

    Args:
        annotation: its `segmentation` is a list of polygons, or run lengths as a list or compressed in a text.
            Polygons of fewer than three corners cover nothing.
        stated_wh: size of the photo that its numbers count in, in pixels.
        size_wh: size of the mask that is made.
        path: the annotation file, for errors.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: the segmentation is none of these; the message names the file and the annotation.
    """
    segmentation = annotation.get("segmentation")
    problem = f"{path}: annotation {annotation.get('id')}"
    if isinstance(segmentation, list):
        return _mask_of_polygons(segmentation, stated_wh, size_wh, problem)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError(f"{problem}: expected polygons or run lengths as segmentation, got {str(segmentation)[:40]}")
    if tuple(segmentation["size"]) != stated_wh[::-1]:
        raise ValueError(
            f"{problem}: run lengths are of {segmentation['size'][1]}x{segmentation['size'][0]} pixels, "
            f"the photo of {stated_wh[0]}x{stated_wh[1]}"
        )
    counts = segmentation["counts"]
    runs = decode_counts(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    if sum(runs) != stated_wh[0] * stated_wh[1] or min(runs) < 0:
        raise ValueError(f"{problem}: run lengths sum to {sum(runs)}, expected {stated_wh[0]}x{stated_wh[1]} pixels")
    # Runs go down the columns, and the first is background.
    flat = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    mask = np.ascontiguousarray(flat.reshape(stated_wh).T)
    if size_wh != stated_wh:
        mask = cv2.resize(mask, size_wh, interpolation=cv2.INTER_NEAREST)
    return mask.astype(bool)


def _mask_of_polygons(
    polygons: list[list[float]], stated_wh: tuple[int, int], size_wh: tuple[int, int], problem: str
) -> np.ndarray:
    mask = np.zeros(size_wh[::-1], dtype=np.uint8)
    scale = np.array(size_wh) / np.array(stated_wh)
    for numbers in polygons:
        if not isinstance(numbers, list) or len(numbers) % 2:
            raise ValueError(f"{problem}: a polygon has {len(numbers)} numbers, expected pairs x, y")
        # Published files hold such crumbs of two corners and fewer.
        if len(numbers) >= 6:
            corners = np.asarray(numbers, dtype=np.float64).reshape(-1, 2)
            # Coordinates count from the pixel's corner, fillPoly wants pixels; it draws the outline's own, too.
            cv2.fillPoly(mask, [np.floor(corners * scale).astype(np.int32)], 1)
    return mask.astype(bool)


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
