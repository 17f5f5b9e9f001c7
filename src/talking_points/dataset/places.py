"""Where a box stands in a frame and which of several things is meant, in symbols; and how exactly a text says it.

Everything here is a pure function of numbers, in pixels of the photo (x right, y down). Mirroring the
numbers mirrors the answer and changes nothing else: offsets are computed antisymmetrically, so that not even
rounding breaks the symmetry. `grammar` turns these symbols into sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from talking_points.points import Box

Degree = Literal["center", "slight", "plain", "edge"]
"""How far something is from the middle of its frame, along one axis."""

# Where the steps away from the middle begin, as |offset| in units of the frame's extent (0.5 is its border).
STEP_LIMITS: dict[int, tuple[tuple[float, Degree], ...]] = {
    3: ((0.17, "plain"),),
    5: ((0.10, "slight"), (0.30, "edge")),
    7: ((0.07, "slight"), (0.16, "plain"), (0.36, "edge")),
}
NEAR_BORDER_GAP = 0.06
"""A box that leaves less than this share of the frame free on one side stands at that edge, if it is no larger than
NEAR_BORDER_SPAN along that axis and its centre at least NEAR_BORDER_OFFSET from the middle."""
NEAR_BORDER_SPAN = 0.5
NEAR_BORDER_OFFSET = 0.2

MOST_SHARE = 0.72
"""From this share of the frame's extent on, a box spans most of it."""
WHOLE_SHARE = 0.97


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How exact, in which order and how long a text about a point is."""

    name: str
    object_place: bool
    """Say where the object stands in the photo and where the part is in the object."""
    place_bins: Literal[3, 5, 7]
    """Steps per axis of a place: 3 is left, middle, right; 7 adds "slightly" and "near the edge"."""
    local: bool = True
    """Say what the pixels around the point look like."""
    order: Literal["coarse-to-fine", "fine-to-coarse"] = "coarse-to-fine"
    length: Literal["full", "short"] = "full"
    only_clear: bool = False
    """Say where in the photo the point is, not the object; of places in object and part `clear_sides`; one colour."""


DIALECTS: dict[str, Dialect] = {
    one.name: one
    for one in (
        Dialect(name="paper", object_place=True, place_bins=7),
        Dialect(name="coarse", object_place=True, place_bins=3),
        Dialect(name="place-free", object_place=False, place_bins=7),
        Dialect(name="short", object_place=False, place_bins=5, local=False, order="fine-to-coarse", length="short"),
        Dialect(name="clear", object_place=True, place_bins=7, only_clear=True),
    )
}
"""The paper's way of writing, and others that the same points are described in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a box or a point is in a frame, in units of the frame's extent."""

    dx: float
    """Centre's offset from the frame's middle: -0.5 is the left border, +0.5 the right one."""
    dy: float
    """-0.5 is the top border, +0.5 the bottom one."""
    span_x: float = 0.0
    """Share of the frame's width that is covered; 0 for a point."""
    span_y: float = 0.0

    def in_frame(self, frame: Place) -> Place:
        """This place in what the frame itself is in. frame: the frame's place there."""
        return Place(
            dx=frame.dx + frame.span_x * self.dx,
            dy=frame.dy + frame.span_y * self.dy,
            span_x=frame.span_x * self.span_x,
            span_y=frame.span_y * self.span_y,
        )


def place_of_box(box_xyxy: Box, frame_xyxy: Box) -> Place:
    """Place of a box in a frame; both in pixels of the photo.

    Example:
        >>> place_of_box((0, 0, 50, 100), (0, 0, 100, 100))
        Place(dx=-0.25, dy=0.0, span_x=0.5, span_y=1.0)
    """
    x0, y0, x1, y1 = box_xyxy
    left, top, right, bottom = frame_xyxy
    width, height = right - left, bottom - top
    return Place(
        dx=((x0 - left) - (right - x1)) / (2 * width),
        dy=((y0 - top) - (bottom - y1)) / (2 * height),
        span_x=(x1 - x0) / width,
        span_y=(y1 - y0) / height,
    )


def place_of_point(point_px: tuple[float, float], frame_xyxy: Box) -> Place:
    """Place of a point in a frame, such as the box of its part; both in pixels of the photo."""
    x, y = point_px
    return place_of_box((x, y, x, y), frame_xyxy)


def degree(offset: float, span: float, bins: int) -> Degree:
    """How far from the middle, in words of `bins` steps per axis, 3, 5 or 7; offset and span are a `Place`'s."""
    distance = abs(offset)
    found: Degree = "center"
    for limit, name in STEP_LIMITS[bins]:
        if distance >= limit:
            found = name
    gap = 0.5 - distance - span / 2
    if bins > 3 and 0 < span <= NEAR_BORDER_SPAN and gap < NEAR_BORDER_GAP and distance >= NEAR_BORDER_OFFSET:
        found = "edge"
    return found


LEAST_FRAME = 0.6
"""What an object or a part spans of the photo, along the axis of which it spans more, for its sides to be clear. In
smaller ones the place in the photo says as much, and where they end is less sure. Ours."""
CLEAR_MIDDLE, CLEAR_SIDE = 0.09, 0.28
"""Along one axis, as |offset|: what is nearer to the middle is there, what is farther is on that side; of what lies in
between one person says this and another that. Ours."""


def clear_sides(place: Place) -> Place | None:
    """The sides of a frame on which everybody would see a place; None where there is nothing to say.

    Args:
        place: of a box, which has no place along an axis that it spans most of, or of a point.

    Returns:
        0.25 stands for a side, and 0 along an axis for nothing, where the other axis has something to say, or for the
        middle of both.
    """
    axes = [(d, span < MOST_SHARE) for d, span in ((place.dx, place.span_x), (place.dy, place.span_y))]
    dx, dy = (math.copysign(0.25, d) if tells and abs(d) >= CLEAR_SIDE else 0.0 for d, tells in axes)
    in_the_middle = all(tells and abs(d) < CLEAR_MIDDLE for d, tells in axes)
    return Place(dx=dx, dy=dy) if dx or dy or in_the_middle else None


def extent(span: float) -> Literal["whole", "most", "part"]:
    """How much of the frame's axis a box covers."""
    if span >= WHOLE_SHARE:
        return "whole"
    return "most" if span >= MOST_SHARE else "part"


def order_of(boxes_xyxy: Sequence[Box], index: int) -> str | None:
    """Which of several things of one kind is meant, as in the tables of `words.toml`.

    Side by side: "left", "right" of two, then "leftmost", "second from the left", "middle", ...; one above
    the other: "top", "bottom", ...; two by two: "top left", ...; in rows, such as the windows of a house: "third
    from the left in the top row". Counting starts at the nearer end, so that mirrored boxes have mirrored words.
    None when there is only one, or when nothing tells it from another (the same centre).

    Example:
        >>> order_of([(0, 0, 10, 10), (20, 0, 30, 10), (50, 0, 60, 10)], 1)
        'middle'
    """
    if len(boxes_xyxy) < 2:
        return None
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sizes = np.maximum((boxes[:, 2:] - boxes[:, :2]).mean(axis=0), 1e-6)
    # In units of the things' own size: half of it is seen at once, less needs a closer look.
    nearest_x, nearest_y = (float(np.diff(np.sort(centres[:, k])).min() / sizes[k]) for k in (0, 1))
    widest_y = float(np.diff(np.sort(centres[:, 1])).max() / sizes[1])
    # Among things that stand here and there, "the fourth from the right" is found by nobody.
    in_a_row, in_a_column = (bool(np.ptp(centres[:, k]) < sizes[k]) for k in (1, 0))
    side_by_side = _ranks(centres[:, 0], ("left", "right"))
    stacked = _ranks(centres[:, 1], ("top", "bottom"))
    # Fewer things make no rows that anybody would count.
    grid = _grid(boxes) if len(boxes) >= 5 else [None] * len(boxes)
    schemes = (
        (nearest_x >= 0.5 and (len(boxes) == 2 or widest_y < 0.6), side_by_side),
        (nearest_y >= 0.5, stacked),
        (widest_y >= 0.5, _two_by_two(centres, sizes)),
        (True, grid),
        (nearest_x >= 0.2 and in_a_row, side_by_side),
        (nearest_y >= 0.2 and in_a_column, stacked),
        (nearest_x > 0 and in_a_row, side_by_side),
        (nearest_y > 0 and in_a_column, stacked),
    )
    for holds, found in schemes:
        if holds and None not in found and len(set(found)) == len(found):
            return found[index]
    # Some of many windows may be told by their row where others cannot.
    return grid[index]


EDGES = {"left": 0, "leftmost": 0, "top": 1, "topmost": 1, "right": 2, "rightmost": 2, "bottom": 3, "lowest": 3}
"""Orders that an edge of the photo may tell, and the index of that edge in a box."""
AT_EDGE = " at the edge"
"""Added to an order of `EDGES`."""


def object_order_of(boxes_xyxy: Sequence[Box], index: int) -> str | None:
    """`order_of` for whole objects, which may also be told by the edge of the photo that they are closest to.

    Centres make the order, and a wide thing may reach farther than one whose centre lies beyond its own; " at the
    edge" is added where no other reaches as far.

    Example:
        >>> object_order_of([(0, 0, 10, 10), (20, 0, 30, 10), (50, 0, 60, 10)], 2)
        'rightmost at the edge'
    """
    order = order_of(boxes_xyxy, index)
    if order not in EDGES:
        return order
    side = EDGES[order]
    # Larger is farther, on the right and at the bottom; on the left and at the top smaller is.
    reach = [box[side] if side >= 2 else -box[side] for box in boxes_xyxy]
    is_farthest = max(reach) == reach[index] and reach.count(reach[index]) == 1
    return order + AT_EDGE if is_farthest else order


_FARTHEST = {"left": "leftmost", "right": "rightmost", "top": "topmost", "bottom": "lowest"}
ORDINALS = ("", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def _ranks(positions: np.ndarray, ends: tuple[str, str]) -> list[str | None]:
    """Words for all things in a row, counted from the nearer end."""
    count = len(positions)
    words: list[str | None] = []
    for position in positions:
        rank = int((positions < position).sum())
        from_start = rank < count / 2
        steps = rank if from_start else count - 1 - rank
        end = ends[0] if from_start else ends[1]
        if count == 2:
            words.append(ends[rank])
        elif count % 2 and rank == count // 2:
            words.append("middle")
        elif steps == 0:
            words.append(_FARTHEST[end])
        else:
            words.append(f"{ORDINALS[steps]} from the {end}" if steps < len(ORDINALS) else None)
    return words


def _two_by_two(centres: np.ndarray, sizes: np.ndarray) -> list[str | None]:
    """Words for things in two rows of at most two: "top left", or "top" for one that is alone in its row."""
    heights = np.sort(centres[:, 1])
    split = int(np.diff(heights).argmax())
    border = (heights[split] + heights[split + 1]) / 2
    words: list[str | None] = [None] * len(centres)
    for name, is_member in (("top", centres[:, 1] < border), ("bottom", centres[:, 1] > border)):
        members = np.flatnonzero(is_member)
        if len(members) == 1:
            words[members[0]] = name
        elif len(members) == 2:
            first, second = members[np.argsort(centres[members, 0], kind="stable")]
            if centres[second, 0] - centres[first, 0] >= 0.3 * sizes[0]:
                words[first], words[second] = f"{name} left", f"{name} right"
    return words


ROW = " in the "
"""Between the place in a row and the row: "second from the left in the top row"."""


def _grid(boxes: np.ndarray) -> list[str | None]:
    """Words for things in rows: the place in the row, and the row; None where either cannot be told at a glance.

    Rows are told when the things of one overlap in height and the next row begins below the middles of all of them.
    """
    words: list[str | None] = [None] * len(boxes)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    rows: list[list[int]] = []
    for k in np.argsort(centres[:, 1], kind="stable"):
        # A row goes on as long as the next middle is above the bottoms of what it has.
        if rows and centres[k, 1] < min(boxes[other, 3] for other in rows[-1]):
            rows[-1].append(int(k))
        else:
            rows.append([int(k)])
    if len(rows) < 2:
        return words
    for above, below in zip(rows, rows[1:], strict=False):
        if max(centres[k, 1] for k in above) >= min(boxes[k, 1] for k in below):
            return words
    names = _ranks(np.arange(len(rows)), ("top", "bottom"))
    for name, row in zip(names, rows, strict=True):
        if name is None:
            continue
        row_name = f"{_ROW_NAMES.get(name, name)} row" if " " not in name else name.replace(" from", " row from")
        if len(row) == 1:
            words[row[0]] = row_name
            continue
        across = centres[row, 0]
        width = (boxes[row, 2] - boxes[row, 0]).mean()
        if np.diff(np.sort(across)).min() < 0.5 * width:
            continue
        for k, place in zip(row, _ranks(across, ("left", "right")), strict=True):
            words[k] = None if place is None else f"{place}{ROW}{row_name}"
    return words


_ROW_NAMES = {"topmost": "top", "lowest": "bottom"}
_MIRRORED = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
_SIDE_WORD = re.compile(r"\b(leftmost|rightmost|left|right)\b", re.IGNORECASE)


def mirror_words(text: str) -> str:
    """Swap the words of left and right in a name or a text that this package wrote.

    Its texts never say "right" but for the side, as in "right at the edge".

    Example:
        >>> mirror_words("front left door of the rightmost car")
        'front right door of the leftmost car'
    """

    def other(match: re.Match[str]) -> str:
        word = match.group()
        swapped = _MIRRORED[word.lower()]
        return swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped

    return _SIDE_WORD.sub(other, text)
