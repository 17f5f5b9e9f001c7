"""Masks of pointing tasks: read, kept small, and a point on them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from talking_points.photos import open_photo

Pixels = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """The pixels of a photo that a text may mean. Packed: a benchmark has thousands of them."""

    size_wh: tuple[int, int]
    packed: bytes

    def pixels(self) -> Pixels:
        """(H, W)"""
        width, height = self.size_wh
        bits = np.unpackbits(np.frombuffer(zlib.decompress(self.packed), np.uint8), count=width * height)
        return bits.reshape(height, width).astype(bool)


def checked_mask(pixels: Pixels, size_wh: tuple[int, int]) -> Mask:
    """Pack (H, W) pixels.

    Raises:
        ValueError: they are not of the photo's size, or none is set, so that no point would be right.
    """
    height, width = pixels.shape
    if (width, height) != size_wh:
        raise ValueError(f"the mask is {width}x{height}, the photo {size_wh[0]}x{size_wh[1]}")
    if not pixels.any():
        raise ValueError("the mask is empty")
    return Mask(size_wh=size_wh, packed=zlib.compress(np.packbits(pixels).tobytes(), 1))


def read_mask(path: Path, size_wh: tuple[int, int], is_set: Callable[[NDArray[np.uint8]], Pixels]) -> Mask:
    """Read a mask from a picture.

    Args:
        path: of it.
        size_wh: the photo's.
        is_set: (H, W, 3) uint8 -> (H, W), which pixels are the mask's.

    Raises:
        ValueError, FileNotFoundError: it cannot be read, is of another size or empty; the message names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such mask: {path}")
    try:
        return checked_mask(is_set(np.asarray(open_photo(path))), size_wh)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def deepest_point(pixels: Pixels) -> tuple[float, float]:
    """The centre of the pixel that is farthest from the mask's edge, (x, y)."""
    # A rim of background: the photo's border is an edge, too.
    depth = cv2.distanceTransform(np.pad(pixels, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x) - 0.5, float(y) - 0.5


def nearest_pixel(pixels: Pixels, point_px: tuple[float, float]) -> tuple[float, float]:
    """Column and row, whole numbers, of the mask's pixel that is nearest to a point."""
    rows, columns = np.nonzero(pixels)
    nearest = int(np.hypot(columns - point_px[0], rows - point_px[1]).argmin())
    return float(columns[nearest]), float(rows[nearest])
