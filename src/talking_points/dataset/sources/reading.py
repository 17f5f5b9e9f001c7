"""What the loaders share: opening a photo, holding out a validation split, telling blobs of a mask apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

VAL_PERCENT = 8
"""Share of a training split that is held out as "val"."""
SPLITS = ("train", "val", "test")

MIN_BLOB_SHARE = 0.15
"""A blob counts as a thing of its own from this share of the largest blob's area on."""
MIN_BLOB_PX = 30


def check_split(split: str) -> None:
    """Raise ValueError unless `split` is train, val or test."""
    if split not in SPLITS:
        raise ValueError(f'split must be one of {", ".join(SPLITS)}, got "{split}"')


def is_held_out(photo_id: str) -> bool:
    """Whether a photo of a training split belongs to "val": fixed by its name, for all time."""
    return int(hashlib.sha1(photo_id.encode()).hexdigest(), 16) % 100 < VAL_PERCENT


def of_split(photo_id: str, split: str) -> bool:
    """Whether a photo of the files' own training or test split belongs to `split`."""
    return split == "test" or is_held_out(photo_id) == (split == "val")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a ValueError naming it."""
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


def read_photo(path: Path) -> np.ndarray:
    """Read a photo as (H, W, 3) uint8 RGB, EXIF orientation applied; ValueError names a bad file."""
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a photo: {error}") from None


def fitted_size(size_wh: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Width and height scaled down so that neither exceeds `max_side`; never scaled up."""
    scale = min(1.0, max_side / max(size_wh))
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))


def shrink_photo(photo: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Resize a photo to `size_wh` by averaging the pixels that fall together."""
    if photo.shape[1::-1] == size_wh:
        return photo
    return cv2.resize(photo, size_wh, interpolation=cv2.INTER_AREA)


def split_blobs(mask: np.ndarray) -> list[np.ndarray]:
    """Separate blobs of a mask that are big enough to be things of their own, from left to right.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool masks. Crumbs join the nearest big blob, so that the masks' union is `mask`. Empty when
        `mask` is empty.
    """
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return []
    areas = stats[1:, cv2.CC_STAT_AREA]
    big = np.flatnonzero(areas >= min(max(MIN_BLOB_PX, MIN_BLOB_SHARE * areas.max()), areas.max())) + 1
    big = big[np.argsort(centroids[big, 0], kind="stable")]
    owner = np.zeros(count, dtype=np.int32)
    for label in range(1, count):
        distances = np.linalg.norm(centroids[big] - centroids[label], axis=1)
        owner[label] = int(np.argmin(distances)) + 1
    owner[big] = np.arange(1, len(big) + 1)
    owned = owner[labels]
    return [owned == number for number in range(1, len(big) + 1)]
