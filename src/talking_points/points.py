"""Coordinates of points, from one frame to another.

Our own frame, called "photo" here and `_px` in names: pixels of the photo as opened (EXIF orientation
applied), x to the right, y down, origin at the top-left corner of the top-left pixel. The centre of
pixel (i, j) is (i + 0.5, j + 0.5) and a W x H photo spans [0, W] x [0, H].

Points are (N, 2), x then y: an array or a list of pairs, and come back as float64. `size_wh` is the photo's width and
height in pixels. Functions that take photo pixels refuse a point outside the photo; functions that return them do not,
because what a model answers may lie outside. Another shape, or a number that is not finite, is a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import supervision

ROUNDED_ONE = 1.01
"""A normalised number may be so large, by rounding. Ours."""
WITHIN_ONE_PIXEL = "points are in pixels; these are within the photo's top left one"
"""What is noted of points that look normalised, and may all the same be meant."""
FloatArray = NDArray[np.float64]
Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1, the last two exclusive."""


def check_points(points_px: ArrayLike, size_wh: tuple[int, int]) -> FloatArray:
    """Return the points as an array once each is known to lie in the photo, its border included.

    Raises:
        ValueError: the shape is another, or a point is not finite or is outside [0, W] x [0, H]. The message
            names the first such point, counted from 1.

    Example:
        >>> check_points([(100, 50)], (200, 100))
        array([[100.,  50.]])
        >>> check_points([(100, 50), (300, 3)], (200, 100))
        Traceback (most recent call last):
        ValueError: point 2 [300.0, 3.0] is outside the 200x100 photo
    """
    width, height = _check_size(size_wh)
    points = _as_pairs(points_px)
    outside = np.any((points < 0) | (points > (width, height)), axis=1)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(f"point {first + 1} {points[first].tolist()} is outside the {width}x{height} photo")
    return points


def check_point(point_px: Sequence[float], size_wh: tuple[int, int]) -> tuple[float, float]:
    """Return one point once it is known to lie in the photo; a ValueError as `check_points` otherwise.

    Example:
        >>> check_point((300, 3), (200, 100))
        Traceback (most recent call last):
        ValueError: the point [300.0, 3.0] is outside the 200x100 photo
    """
    try:
        [(x, y)] = check_points([point_px], size_wh).tolist()
    except ValueError as error:
        raise ValueError(str(error).replace("point 1 ", "the point ", 1)) from None
    return x, y


def look_normalised(points: Iterable[Sequence[float]], size_wh: tuple[float, float] = (math.inf, math.inf)) -> bool:
    """Whether what should be pixels is rather normalised: no number is beyond 1, and not all of them are whole.

    Hardly anybody means points that are all within the top left pixel; who does writes (0, 0).

    Args:
        points: x and y of each, as given.
        size_wh: of the photo, where it is known; one of two pixels or fewer has few others.

    Example:
        >>> look_normalised([(0.41, 0.35), (0, 1)]), look_normalised([(0.41, 0.35), (212, 140)])
        (True, False)
        >>> look_normalised([(0, 0)])
        False
    """
    numbers = [number for point in points for number in point]
    near = all(0 <= number <= ROUNDED_ONE for number in numbers)
    return near and any(number % 1 for number in numbers) and min(size_wh) > 2


def refuse_normalised(points: Sequence[Sequence[float]], size_wh: tuple[int, int]) -> None:
    """ValueError where points of a photo, all that were asked about at once, look normalised; see `look_normalised`."""
    if look_normalised(points, size_wh):
        photo = f"the {size_wh[0]}x{size_wh[1]} photo"
        raise ValueError(
            f"the point {list(points[0])} looks normalised; expected pixels of {photo} (its top left one is [0, 0])"
        )


def distance_unit(found_px: tuple[float, float], point_px: tuple[float, float], size_wh: tuple[int, int]) -> float:
    """Distance of two points in the photo's [0, 1]^2, as PCK measures it: x over its width, y over its height.

    Example:
        >>> distance_unit((120, 50), (100, 50), (200, 100))
        0.1
    """
    return float(distances_unit([found_px], [point_px], [size_wh])[0])


def distances_unit(found_px: ArrayLike, points_px: ArrayLike, sizes_wh: ArrayLike) -> FloatArray:
    """`distance_unit` of (N, 2) and (N, 2) points on photos of (N, 2) sizes: (N,), NaN where a point is."""
    offset = (np.asarray(found_px, float) - np.asarray(points_px, float)) / np.asarray(sizes_wh, float)
    return np.hypot(offset[:, 0], offset[:, 1])


def photo_to_unit(points_px: ArrayLike, size_wh: tuple[int, int]) -> FloatArray:
    """Map photo pixels to the photo's [0, 1]^2: (x / W, y / H). `unit_to_photo` is the inverse.

    Example:
        >>> photo_to_unit([(100, 25)], (200, 100))
        array([[0.5 , 0.25]])
    """
    return check_points(points_px, size_wh) / size_wh


def unit_to_photo(points_unit: ArrayLike, size_wh: tuple[int, int]) -> FloatArray:
    """Map the photo's [0, 1]^2 to photo pixels: (x * W, y * H). The inverse of `photo_to_unit`.

    Example:
        >>> unit_to_photo([(0.5, 0.25)], (200, 100))
        array([[100.,  25.]])
    """
    return _as_pairs(points_unit) * _check_size(size_wh)


def photo_to_scaled(points_px: ArrayLike, size_wh: tuple[int, int], *, full_scale: float) -> FloatArray:
    """Map photo pixels to the numbers that other models speak, not rounded. `scaled_to_photo` is the inverse.

    Args:
        full_scale: the number that stands for the right and the bottom border: 1, 100 or 1000.

    Example:
        >>> photo_to_scaled([(100, 25)], (200, 100), full_scale=1000)
        array([[500., 250.]])
    """
    return photo_to_unit(points_px, size_wh) * _check_full_scale(full_scale)


def scaled_to_photo(points_scaled: ArrayLike, size_wh: tuple[int, int], *, full_scale: float) -> FloatArray:
    """Map numbers from 0 to `full_scale` over each side to photo pixels. The inverse of `photo_to_scaled`.

    Example:
        >>> scaled_to_photo([(50, 25)], (200, 100), full_scale=100)
        array([[100.,  25.]])
    """
    return unit_to_photo(points_scaled, size_wh) / _check_full_scale(full_scale)


def square_padding(size_wh: tuple[int, int]) -> tuple[int, int, int]:
    """How a photo lies in its square: pad on the left, pad on the top, side of the square, in photo pixels.

    The photo is centred on a square of its longer side; of an odd remainder the left or the top gets the
    smaller half.

    Example:
        >>> square_padding((200, 101))
        (0, 49, 200)
    """
    width, height = _check_size(size_wh)
    side = max(width, height)
    return (side - width) // 2, (side - height) // 2, side


def photo_to_square(points_px: ArrayLike, size_wh: tuple[int, int]) -> FloatArray:
    """Map photo pixels to the [0, 1]^2 of the letterboxed square, which is what the model sees.

    Example:
        >>> photo_to_square([(100, 0)], (200, 100))
        array([[0.5 , 0.25]])
    """
    pad_x, pad_y, side = square_padding(size_wh)
    return (check_points(points_px, size_wh) + (pad_x, pad_y)) / side


def square_to_photo(points_square: ArrayLike, size_wh: tuple[int, int]) -> FloatArray:
    """Map the square's [0, 1]^2 to photo pixels; a point on the padding comes out outside the photo.

    The inverse of `photo_to_square`.

    Example:
        >>> square_to_photo([(0.5, 0.25)], (200, 100))
        array([[100.,   0.]])
    """
    pad_x, pad_y, side = square_padding(size_wh)
    return _as_pairs(points_square) * side - (pad_x, pad_y)


def is_finite_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number, which a truth value is not, and finite as a float, which 10**400 is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def coco_to_photo(keypoints: Sequence[float]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Read a COCO keypoint array. COCO names a pixel by its index: half a pixel is added to reach its centre.

    Args:
        keypoints: 3 K numbers, [x, y, v] for each keypoint; v is 0 for not labelled, 1 for labelled and
            hidden, 2 for labelled and visible.

    Returns:
        (K, 2) float64 in pixels of the photo, NaN where v is 0, and (K,) int64, the v.

    Raises:
        ValueError: the length is not a multiple of 3, or some v is not 0, 1 or 2.

    Example:
        >>> points_px, visibility = coco_to_photo([10, 20, 2, 0, 0, 0])
        >>> points_px
        array([[10.5, 20.5],
               [ nan,  nan]])
        >>> visibility
        array([2, 0])
    """
    numbers = np.asarray(keypoints, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) % 3:
        raise ValueError(f"expected COCO keypoints as one list [x, y, v] * k, got shape {numbers.shape}")
    rows = numbers.reshape(-1, 3)
    if not np.isin(rows[:, 2], (0, 1, 2)).all():
        raise ValueError(f"COCO visibility must be 0, 1 or 2, got {sorted(set(rows[:, 2].tolist()))}")
    visibility = rows[:, 2].astype(np.int64)
    return np.where(visibility[:, None] > 0, rows[:, :2] + 0.5, np.nan), visibility


def photo_to_coco(points_px: ArrayLike, visibility: Sequence[int] | None = None) -> list[float]:
    """Write a COCO keypoint array. The inverse of `coco_to_photo`.

    Args:
        points_px: (K, 2) in pixels of the photo; NaN for a keypoint that is not labelled.
        visibility: one of 0, 1, 2 for each point; None means 2 for each point that is not NaN.

    Returns:
        3 K numbers, [x, y, v] for each keypoint; 0, 0, 0 for one that is not labelled.

    Raises:
        ValueError: visibility has another length or another value, or a point that it calls labelled is not finite.

    Example:
        >>> photo_to_coco([(10.5, 20.5), (float("nan"), float("nan"))])
        [10.0, 20.0, 2, 0, 0, 0]
    """
    points = _as_pairs(points_px, finite=False)
    flags = [0 if np.isnan(point).all() else 2 for point in points] if visibility is None else list(visibility)
    if len(flags) != len(points) or not set(flags) <= {0, 1, 2}:
        raise ValueError(f"expected {len(points)} visibilities of 0, 1 or 2, got {flags}")
    labelled = np.asarray(flags, dtype=np.int64) > 0
    _check_finite(np.where(labelled[:, None], points, 0.0))
    numbers: list[float] = []
    for (x, y), flag in zip((points - 0.5).tolist(), flags, strict=True):
        numbers += [x, y, int(flag)] if flag else [0, 0, 0]
    return numbers


def supervision_to_photo(key_points: supervision.KeyPoints) -> FloatArray:
    """Read the points of `supervision.KeyPoints`, whose pixels are measured as ours are: (objects, K, 2).

    NaN where supervision holds (0, 0), its sign for a keypoint that was not found.
    """
    points = np.asarray(key_points.xy, dtype=np.float64)
    return np.where((points == 0).all(axis=-1, keepdims=True), np.nan, points)


def photo_to_supervision(points_px: ArrayLike) -> supervision.KeyPoints:
    """Make `supervision.KeyPoints`, for its annotators and metrics. The inverse of `supervision_to_photo`.

    Args:
        points_px: (K, 2) for the points of one object, or (objects, K, 2); NaN for a keypoint that was not found.

    Raises:
        ImportError: supervision is not installed.
    """
    points = np.asarray(points_px, dtype=np.float64)
    if points.ndim not in (2, 3) or points.shape[-1] != 2:
        raise ValueError(f"expected points of shape (K, 2) or (objects, K, 2), got {points.shape}")
    try:
        # Not one of our dependencies: whoever wants the object has the library.
        import supervision
    except ImportError:
        raise ImportError("supervision.KeyPoints needs supervision: pip install supervision") from None
    objects = points if points.ndim == 3 else points[None]
    return supervision.KeyPoints(xy=np.nan_to_num(objects, nan=0.0).astype(np.float32))


def _as_pairs(points: ArrayLike, *, finite: bool = True) -> FloatArray:
    try:
        pairs = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"expected points as a list of (x, y) pairs of numbers, got {points!r}") from None
    if pairs.size == 0 and pairs.shape in ((0,), (0, 2)):
        return np.empty((0, 2))
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"expected points of shape (N, 2), x then y, got {pairs.shape}")
    if finite:
        _check_finite(pairs)
    return pairs


def _check_finite(pairs: FloatArray) -> None:
    bad = ~np.isfinite(pairs).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"point {first + 1} {pairs[first].tolist()} is not finite: expected two numbers, x and y")


def _check_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    width, height = size_wh
    if width < 1 or height < 1:
        raise ValueError(f"expected a photo of at least 1x1 pixels, got {width}x{height}")
    return width, height


def _check_full_scale(full_scale: Any) -> float:
    if not (np.isfinite(full_scale) and full_scale > 0):
        raise ValueError(f"full_scale must be a positive number such as 1, 100 or 1000, got {full_scale}")
    return float(full_scale)
