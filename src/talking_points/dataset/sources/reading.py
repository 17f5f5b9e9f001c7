"""What the sources share: reading photos, label maps and polygons; holding out photos; telling blobs apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from talking_points.images import open_photo

VAL_PERCENT = 8
"""Share of a training split that is held out as "val"."""
SPLITS = ("train", "val", "test")

MIN_BLOB_SHARE = 0.15
"""A blob counts as a thing of its own from this share of the largest blob's area on."""
MIN_BLOB_PX = 30


def is_held_out(photo_id: str) -> bool:
    """Whether a photo of a training split belongs to "val": fixed by its name, for all time."""
    return int(hashlib.sha1(photo_id.encode()).hexdigest(), 16) % 100 < VAL_PERCENT


def of_split(photo_id: str, split: str) -> bool:
    """Whether a photo of the files' own training or test split belongs to `split`."""
    return split == "test" or is_held_out(photo_id) == (split == "val")


def read_json(path: Path) -> Any:
    """Read a JSON file; a broken one is a ValueError naming it, a missing one a FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


def read_photo(path: Path) -> np.ndarray:
    """Read a photo as (H, W, 3) uint8 RGB, upright; a bad file is an error naming it, see `open_photo`."""
    return np.asarray(open_photo(path))


def read_labels(path: Path, photo: np.ndarray) -> np.ndarray:
    """Read a label map of the same size as its photo, in the depth it is stored in.

    Returns:
        (H, W) uint8, uint16 or int32: values are never scaled, cut or looked up in a palette.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no label map, or of another size than the photo.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a label map: {error}") from None
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16, np.int32):
        raise ValueError(f"{path}: expected one 8- or 16-bit label a pixel, got {labels.dtype} of shape {labels.shape}")
    if labels.shape != photo.shape[:2]:
        raise ValueError(
            f"{path} is {labels.shape[1]}x{labels.shape[0]}, its photo is {photo.shape[1]}x{photo.shape[0]}"
        )
    if labels.dtype == np.int32 and labels.size and labels.min() < 0:
        raise ValueError(f"{path} holds label {labels.min()}, labels are never negative")
    return labels


def present_labels(labels: np.ndarray) -> list[int]:
    """Sorted values of a map of unsigned labels."""
    # Many times faster than np.unique, which sorts all pixels.
    return [int(label) for label in np.flatnonzero(np.bincount(labels.ravel()))]


def split_blobs(mask: np.ndarray) -> list[np.ndarray]:
    """Separate blobs of a mask that are big enough to be things of their own, from left to right.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool masks. Crumbs join the nearest big blob, so that the masks' union is `mask`. Empty when
        `mask` is empty.
    """
    pixels = mask.view(np.uint8)
    x, y, width, height = cv2.boundingRect(pixels)
    window = slice(y, y + height), slice(x, x + width)
    if not width:
        return []
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(pixels[window], connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    big = np.flatnonzero(areas >= min(max(MIN_BLOB_PX, MIN_BLOB_SHARE * areas.max()), areas.max())) + 1
    big = big[np.argsort(centroids[big, 0], kind="stable")]
    owner = np.zeros(count, dtype=np.int32)
    for label in range(1, count):
        distances = np.linalg.norm(centroids[big] - centroids[label], axis=1)
        owner[label] = int(np.argmin(distances)) + 1
    owner[big] = np.arange(1, len(big) + 1)
    owned = np.zeros(mask.shape, dtype=np.int32)
    owned[window] = owner[labels]
    return [owned == number for number in range(1, len(big) + 1)]


def stems(folder: Path, ending: str) -> set[str]:
    """Names without ending of the files in a folder; the "._" files that macOS leaves in archives are no files.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    names = (path.name for path in folder.iterdir())
    return {name[: -len(ending)] for name in names if name.endswith(ending) and not name.startswith("._")}
