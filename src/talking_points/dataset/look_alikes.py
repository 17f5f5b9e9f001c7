"""Photos that are the same shot: cropped, shifted, mirrored, recompressed or recoloured a little, or a moment later.

Two looks: all pairs by 144 numbers; what is left then is laid on top of each other, and must be alike everywhere:
another animal before the same wall is another photo.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from talking_points.photos import MAX_PIXELS, open_photo

THUMB_SIDE = 32
"""Of the thumbnails that photos are compared by, in pixels. All numbers here are ours."""
FIRST_SIDE, FIRST_LIKENESS = 12, 0.83
"""Correlation of the photos' structure that the first look asks for, at so many cells a side."""
LIKENESS = 0.8
"""Of the second look: mean likeness of the least alike quarter of the cells of a 4 x 4 grid."""
BEFORE_LIKENESS = 0.45
"""The same before the two are laid exactly on top of each other, which is what takes time."""
CROP = 0.08
"""Of a side: crops up to about so much at each edge are seen through."""
_CROPS = (
    (0.0, 0.0, 0.0, 0.0),
    (CROP / 2, CROP / 2, CROP / 2, CROP / 2),
    (CROP, CROP, CROP, CROP),
    (CROP, CROP, 0.0, 0.0),
    (CROP, 0.0, 0.0, CROP),
    (0.0, CROP, CROP, 0.0),
    (0.0, 0.0, CROP, CROP),
)
"""Shares of the sides that are cut off at left, top, right and bottom; what lies between is near enough to one."""
_ROWS = 512
"""Photos compared with all others at a time, for memory."""
_KEPT = 2048
"""Photos whose parts of the second look are kept, for memory."""


def thumbnail(photo: np.ndarray) -> np.ndarray:
    """(32, 32) uint8 brightness. photo: (H, W, 3) uint8, RGB."""
    return cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)


def thumbnail_of_file(path: Path) -> np.ndarray | None:
    """`thumbnail` of a photo's file, None of a bad one. A JPEG is decoded at an eighth of its size at least."""
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            if image.width * image.height <= MAX_PIXELS:
                image.draft("RGB", (4 * THUMB_SIDE, 4 * THUMB_SIDE))
                return thumbnail(np.asarray(open_photo(image)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # Not a JPEG, or a bad one: the careful way tells.
        pass
    try:
        return thumbnail(np.asarray(open_photo(path)))
    except (OSError, ValueError):
        return None


def thumb_to_text(thumb: np.ndarray | None) -> str | None:
    """For a ledger; `text_to_thumb` is the inverse."""
    return None if thumb is None else base64.b64encode(thumb.tobytes()).decode()


def text_to_thumb(text: str) -> np.ndarray:
    """(32, 32) uint8."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(THUMB_SIDE, THUMB_SIDE)


def same_shots(thumbs: Sequence[np.ndarray]) -> list[list[int]]:
    """Groups of photos, by index and in order, that are the same shot, one through the other; one alone is a group."""
    # Here, as it takes a second to import, which the processes that only make thumbnails need not wait.
    from scipy.cluster.hierarchy import DisjointSet

    groups = DisjointSet(range(len(thumbs)))
    # Equal ones first, once: a thousand photos of one colour are one comparison each.
    first_of: dict[bytes, int] = {}
    for index, thumb in enumerate(thumbs):
        groups.merge(first_of.setdefault(thumb.tobytes(), index), index)
    distinct = sorted(first_of.values())
    some = [thumbs[index] for index in distinct]
    likeness = _second_look(some, some)
    for one, other, mirrored in _candidates(some, None):
        a, b = distinct[one], distinct[other]
        if not groups.connected(a, b) and likeness(one, other, mirrored) >= LIKENESS:
            groups.merge(a, b)
    return sorted(sorted(group) for group in groups.subsets())


def shot_among(thumbs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> list[int | None]:
    """For each photo the index of one of the others that is the same shot; None where there is none."""
    known = {thumb.tobytes(): index for index, thumb in reversed(list(enumerate(others)))}
    found = [known.get(thumb.tobytes()) for thumb in thumbs]
    likeness = _second_look(thumbs, others)
    for one, other, mirrored in _candidates(thumbs, others):
        if found[one] is None and likeness(one, other, mirrored) >= LIKENESS:
            found[one] = other
    return found


def _candidates(thumbs: Sequence[np.ndarray], others: Sequence[np.ndarray] | None) -> Iterator[tuple[int, int, bool]]:
    """Pairs that pass the first look, and whether the second photo is mirrored; of a photo the likeliest first.

    others: None for pairs among `thumbs`, each once, the smaller index first.
    """
    if not thumbs or (others is not None and not others):
        return
    ones = _structures(thumbs)
    twos = ones if others is None else _structures(others)
    for start in range(0, len(thumbs), _ROWS):
        some = ones[:, start : start + _ROWS]
        # Highest correlation over the crops of either photo: as they are, and one mirrored.
        alike = np.full((2, some.shape[1], twos.shape[1]), -1.0, np.float32)
        for view in range(len(ones)):
            turned = alike[view // len(_CROPS)]
            np.maximum(turned, some[view] @ twos[0].T, out=turned)
            np.maximum(turned, some[0] @ twos[view].T, out=turned)
        best = alike.max(0)
        rows, columns = np.nonzero(best >= FIRST_LIKENESS)
        for k in np.lexsort((columns, rows, -best[rows, columns])):
            one, other = int(rows[k]), int(columns[k])
            if others is not None or start + one < other:
                yield start + one, other, bool(alike[1, one, other] > alike[0, one, other])


def _structures(thumbs: Sequence[np.ndarray]) -> np.ndarray:
    """(14, N, 144) float32 of each of `_CROPS`, then of each mirrored: what rises above and falls below its
    surroundings, of unit length."""
    found = np.empty((len(_CROPS), len(thumbs), FIRST_SIDE, FIRST_SIDE), np.float32)
    for number, crop in enumerate(_CROPS):
        for index, thumb in enumerate(thumbs):
            seen = thumb.astype(np.float32)
            if any(crop):
                seen = _warped(seen, _STARTS[number])
            seen -= cv2.GaussianBlur(seen, (0, 0), THUMB_SIDE / 6.4)
            seen = cv2.GaussianBlur(seen, (0, 0), THUMB_SIDE / FIRST_SIDE / 2)
            found[number, index] = cv2.resize(seen, (FIRST_SIDE, FIRST_SIDE), interpolation=cv2.INTER_AREA)
    views = np.concatenate([found, found[..., ::-1]]).reshape(2 * len(_CROPS), len(thumbs), FIRST_SIDE**2)
    views -= views.mean(-1, keepdims=True)
    # A photo that is nearly of one colour has no structure to be alike in.
    views /= np.maximum(np.linalg.norm(views, axis=-1, keepdims=True), float(FIRST_SIDE))
    return views


def _crop_matrix(crop: tuple[float, float, float, float]) -> np.ndarray:
    """(2, 3) from pixels of the cropped thumbnail, which is as large again, to those of the whole one."""
    left, top, right, bottom = crop
    wide, high = 1 - left - right, 1 - top - bottom
    across = [wide, 0, THUMB_SIDE * left + wide / 2 - 0.5]
    return np.array([across, [0, high, THUMB_SIDE * top + high / 2 - 0.5]], np.float32)


def _warped(image: np.ndarray, matrix: np.ndarray, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    size = (THUMB_SIDE, THUMB_SIDE)
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)


_STARTS = [_crop_matrix(crop) for crop in _CROPS]
_STARTS += [cv2.invertAffineTransform(matrix).astype(np.float32) for matrix in _STARTS[1:]]
"""From where one thumbnail is laid on another: either may be the cropped one."""


def _detail(thumb: np.ndarray) -> np.ndarray:
    seen = thumb.astype(np.float32)
    seen -= cv2.GaussianBlur(seen, (0, 0), THUMB_SIDE / 8)
    return cv2.GaussianBlur(seen, (0, 0), 0.7)


def _second_look(thumbs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> Callable[[int, int, bool], float]:
    """How alike two thumbnails, laid on top of each other, are where they are least so, at most 1.

    Called with the index of one, that of the other, and whether the other is mirrored. What is computed of one photo
    is kept for a while: herds of photos that look alike are compared again and again.
    """
    still_of = lru_cache(_KEPT)(lambda index: _detail(thumbs[index]))
    moved_of = lru_cache(_KEPT)(lambda index, mirrored: _detail(others[index][:, :: -1 if mirrored else 1]))

    @lru_cache(_KEPT)
    def laid_of(index: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
        laid = np.stack([_warped(moved_of(index, mirrored), matrix) for matrix in _STARTS])
        return laid, laid.reshape(len(_STARTS), -1) / (np.linalg.norm(laid, axis=(1, 2))[:, None] + 1e-6)

    def likeness(one: int, other: int, mirrored: bool) -> float:
        still, moved = still_of(one), moved_of(other, mirrored)
        laid, units = laid_of(other, mirrored)
        start = int(np.argmax(units @ still.ravel()))
        # What is far from alike there is not brought together by moving it a little; most pairs end here, cheaply.
        if _least_alike(still, laid[start], _SEEN_OF_STARTS[start]) < BEFORE_LIKENESS:
            return 0.0
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
        try:
            _, matrix = cv2.findTransformECC(still, moved, _STARTS[start].copy(), cv2.MOTION_AFFINE, stop, None, 3)
        except cv2.error:
            # It found no way to lay one over the other.
            return 0.0
        scales = np.linalg.svd(matrix[:, :2], compute_uv=False)
        seen = _seen_of(matrix)
        if scales.max() > 1.35 or scales.min() < 0.74 or seen.mean() < 0.6:
            return 0.0
        return _least_alike(still, _warped(moved, matrix), seen)

    return likeness


def _seen_of(matrix: np.ndarray) -> np.ndarray:
    """(32, 32) bool: where a thumbnail that is laid so covers the other."""
    return _warped(np.ones((THUMB_SIDE, THUMB_SIDE), np.float32), matrix, cv2.BORDER_CONSTANT) > 0.99


_SEEN_OF_STARTS = [_seen_of(matrix) for matrix in _STARTS]


def _least_alike(still: np.ndarray, laid: np.ndarray, seen: np.ndarray) -> float:
    """Mean likeness of the four least alike cells of a 4 x 4 grid, where both are seen."""
    a, b = (_in_unit_contrast(image, seen) for image in (still, laid))
    together, alone, area = (_cells(values) for values in (a * b, (a * a + b * b) / 2, seen.astype(np.float32)))
    # Cells without detail in both are alike: what little there is in them is noise.
    cell_px = (THUMB_SIDE // 4) ** 2
    alike = np.sort(((together + 0.15 * area) / (alone + 0.15 * area + 1e-6))[area > 0.3 * cell_px])
    return float(alike[:4].mean())


def _in_unit_contrast(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    values = image[seen]
    return np.where(seen, (image - values.mean()) / (values.std() + 1e-3), 0.0)


def _cells(values: np.ndarray) -> np.ndarray:
    """(4, 4) sums over a grid."""
    return values.reshape(4, THUMB_SIDE // 4, 4, THUMB_SIDE // 4).sum((1, 3))
