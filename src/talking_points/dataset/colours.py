"""The words for colours: `colours.toml` has examples of each, and the nearest one gives a colour its word."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from talking_points.files import read_table

_EXAMPLES: dict[str, list[list[int]]] = read_table(Path(__file__).with_name("colours.toml"))
COLOURS = tuple(_EXAMPLES)
"""The colour words, all of them."""

# Below this chroma (CIELAB) a colour is seen as a gray, however small the distance to a pale hue; the darker,
# the more chroma it takes to be seen.
_GRAY_CHROMA = 7.0
_GRAYS = ("black", "dark gray", "gray", "light gray", "white")
_GRAY_LIMITS_L = (17.0, 36.0, 58.0, 78.0)
_GRAY_GAIN = 1.25  # hue and chroma weigh more than lightness: shade must not change a colour's name early


def rgb_to_lab(colours: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 sRGB to (N, 3) float32 CIELAB (D65; L in [0, 100])."""
    return cv2.cvtColor((colours[None] / np.float32(255)).astype(np.float32), cv2.COLOR_RGB2Lab)[0]


def colour_indices(colours: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 sRGB to (N,) indices into COLOURS.

    Example:
        >>> COLOURS[colour_indices(np.array([[20, 28, 70]], dtype=np.uint8))[0]]
        'dark blue'
    """
    steps = colours >> 2
    return _colour_table()[steps[:, 0], steps[:, 1], steps[:, 2]]


@cache
def _colour_table() -> np.ndarray:
    """(64, 64, 64) uint8 index into COLOURS for each colour, in steps of 4 levels."""
    levels = np.arange(64, dtype=np.uint8) * 4 + 2
    lab = rgb_to_lab(np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3))
    weights = np.array([1.0, _GRAY_GAIN, _GRAY_GAIN], dtype=np.float32)
    # One example colour after the other: all distances at once would not fit a processor's cache.
    x, y, z = np.ascontiguousarray((lab * weights).T)
    nearest = np.full(len(lab), np.inf, dtype=np.float32)
    table = np.zeros(len(lab), dtype=np.uint8)
    for index, examples in enumerate(_EXAMPLES.values()):
        for target in rgb_to_lab(np.array(examples, dtype=np.uint8)) * weights:
            distance = (x - target[0]) ** 2
            distance += (y - target[1]) ** 2
            distance += (z - target[2]) ** 2
            np.copyto(table, np.uint8(index), where=distance < nearest)
            np.minimum(nearest, distance, out=nearest)
    # Gray metal and white paint reflect the sky: a little blue is still gray.
    chroma = np.hypot(lab[:, 1], lab[:, 2]) * np.where(lab[:, 2] < 0, 0.6, 1.0)
    gray = chroma < _GRAY_CHROMA + 0.4 * np.maximum(0, 22 - lab[:, 0])
    gray_names = np.array([COLOURS.index(name) for name in _GRAYS], dtype=np.uint8)
    table[gray] = gray_names[np.searchsorted(_GRAY_LIMITS_L, lab[gray, 0])]
    return table.reshape(64, 64, 64)
