"""What the pixels around a point look like, by rules: colour words, texture, shade, what is next to it.

Deterministic and symmetric: a mirrored photo gives the mirrored answer. Lengths are in pixels of the scene's
photo; the window's size follows the photo's long side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import cv2
import numpy as np

from talking_points.dataset.colours import COLOURS, colour_indices
from talking_points.dataset.scene import Scene, ScenePart

WINDOW_SHARE = 0.014
"""Standard deviation of the Gaussian window, as a share of the photo's long side."""
COLOUR_WINDOW_SHARE = 0.005
"""The same of the window for the colour: what lies under the point, a strap or a letter, and not what is around it."""
ROUGHNESS_SIGMA_SHARE = 0.004
"""Lightness that changes within this distance, as a share of the long side, is texture; over more it is shading."""
SMOOTH_SPREAD = 9.0
"""Standard deviation of the lightness, 0 to 255, below which a surface is smooth."""
TEXTURED_ROUGHNESS = 12.0
"""The same of what differs from its surroundings, from which a surface is textured. Between the two nothing is said."""
NEIGHBOUR_SHARE = 0.035
"""Radius in which other parts are noticed, as a share of the photo's long side."""
BORDER_SHARE = 0.004
"""Outlines are drawn by hand: pixels so far inside a part's are surely its own. As a share of the photo's long side."""
BORDER_MARGIN_SHARE = 0.012
"""What is unlabelled so close to the photo's border is nothing beside the object."""
MIN_INNER_SHARE = 0.25
"""What is left without the border must hold this share of a part's weight in the window; else all of it counts."""
RARE_SHARE, AROUND_SHARE = 0.08, 0.15
"""A colour that so little of a part has, and so much of what is around the object, is that of a gap in it."""
BACKGROUND = -1
"""Stands for the background where a part index is expected."""


def colour_shares(scene: Scene, part_indices: Sequence[int]) -> np.ndarray:
    """(len(COLOURS),) share of each colour word in the pixels well inside some parts, together."""
    votes = np.zeros(len(COLOURS), dtype=np.int64)
    for k in part_indices:
        x0, y0, x1, y1 = (int(value) for value in scene.parts[k].box_xyxy)
        mask = _well_inside(
            np.pad(scene.part_map[y0:y1, x0:x1] == k + 1, 1), weights=None, long_side=max(scene.size_wh)
        )[1:-1, 1:-1]
        # Thinned by rows only, so that the mirrored part has the same pixels and the same answer.
        step = max(1, (y1 - y0) // 40)
        if not mask[::step].any():
            step = 1
        pixels = scene.photo[y0:y1:step, x0:x1][mask[::step]]
        # Weighted as if no row had been left out.
        votes += step * np.bincount(colour_indices(pixels), minlength=len(COLOURS))
    return votes / votes.sum()


def dominant_colour(scene: Scene, part_indices: Sequence[int]) -> str:
    """The colour word that most pixels of some parts, together, have."""
    return COLOURS[int(colour_shares(scene, part_indices).argmax())]


class PartColours:
    """Colour words of the parts of a scene and of what is around their objects, each counted once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._inside = cache(lambda part_index: colour_shares(scene, [part_index]))
        self._around = cache(partial(_shares_around, scene))

    def is_foreign(self, part_index: int, x: float, y: float) -> bool:
        """Whether a point of a part has a colour that is rare in the part and frequent around the object.

        Outlines take in the gaps between legs, and SIFT finds just these. x and y are in pixels of the photo.
        """
        sigma_px = max(1.0, COLOUR_WINDOW_SHARE * max(self._scene.size_wh))
        colour = int(_votes(*_own_window(self._scene, part_index, int(x), int(y), sigma_px)).argmax())
        owner = self._scene.parts[part_index].object_index
        return bool(self._inside(part_index)[colour] < RARE_SHARE and self._around(owner)[colour] > AROUND_SHARE)


def _shares_around(scene: Scene, object_index: int) -> np.ndarray:
    """(len(COLOURS),) share of each colour word in the box of an object, a little enlarged, outside the object."""
    thing = scene.objects[object_index]
    shares = np.zeros(len(COLOURS))
    if not thing.outlined:
        return shares
    width, height = scene.size_wh
    margin = 0.1 * max(thing.box_xyxy[2] - thing.box_xyxy[0], thing.box_xyxy[3] - thing.box_xyxy[1])
    x0, y0 = (max(0, int(low - margin)) for low in thing.box_xyxy[:2])
    x1, y1 = (min(end, int(high + margin) + 1) for end, high in zip((width, height), thing.box_xyxy[2:], strict=True))
    owned = np.array([False, *(part.object_index == object_index for part in scene.parts)])
    outside = ~owned[scene.part_map[y0:y1, x0:x1]]
    if scene.object_map is not None:
        outside &= scene.object_map[y0:y1, x0:x1] != object_index + 1
    # Thinned by rows only, so that the mirrored photo has the same pixels.
    step = max(1, (y1 - y0) // 60)
    pixels = scene.photo[y0:y1:step, x0:x1][outside[::step]]
    if len(pixels):
        shares = np.bincount(colour_indices(pixels), minlength=len(COLOURS)) / len(pixels)
    return shares


Texture = Literal["smooth", "textured", "patterned"]
"""What is said of a surface, where anything is."""
Direction = Literal["above", "below", "left", "right", "above left", "above right", "below left", "below right"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalLook:
    """What is seen around a point."""

    colour: str
    """Most common colour word in the window, of pixels well inside the point's own part."""
    second_colour: str | None
    """Another colour word with a large share of the window, None when there is one colour only."""
    texture: Texture | None
    shade: Literal["darker", "brighter"] | None
    """Against the rest of the part; None when about the same."""
    line: Literal["vertical", "horizontal", "diagonal"] | None
    """Run of a strong line or crease inside the part, through the point."""
    neighbour: int | None
    """What is close by: the index of another part; from `len(scene.parts)` on, that of another object of which no part
    is labelled there; BACKGROUND; None when there is nothing but the part, or nobody knows."""
    neighbour_direction: Direction | None
    """Where the neighbour is, seen from the point."""
    touching: bool
    """The neighbour begins within about two pixels of a 320-pixel photo."""
    colour_share: float = 1.0
    """Share of the window that has `colour`."""


def look_at(scene: Scene, point_px: tuple[float, float]) -> LocalLook:
    """Describe the surroundings of a point, in pixels of the photo; a ValueError where it lies in no part."""
    part_index = scene.part_index_at(point_px)
    if part_index is None:
        raise ValueError(f"point [{point_px[0]}, {point_px[1]}] is on the background, not in a part")
    width, height = scene.size_wh
    long_side = max(width, height)
    pixel = min(int(point_px[0]), width - 1), min(int(point_px[1]), height - 1)
    window = partial(_own_window, scene, part_index, *pixel, well_inside=True)
    around, weights = window(max(1.5, WINDOW_SHARE * long_side))
    near, near_weights = window(max(1.0, COLOUR_WINDOW_SHARE * long_side))
    votes = _votes(around, weights)
    first = int(_votes(near, near_weights).argmax())
    second = next(int(k) for k in np.argsort(-votes, kind="stable") if k != first)

    lightness = _lightness(around)
    spread, rough = _spread(lightness, weights), _roughness(lightness, weights, long_side)
    # Without an outline the window may reach out of the object.
    outlined = scene.objects[scene.parts[part_index].object_index].outlined
    line = _line_through(lightness, weights) if spread >= 12 and outlined else None
    texture: Texture | None = None
    if spread < SMOOTH_SPREAD:
        texture = "smooth"
    elif rough >= TEXTURED_ROUGHNESS and line is None and outlined:
        texture = "textured"
    second_colour = None
    if outlined and votes[second] >= 0.28 and rough >= TEXTURED_ROUGHNESS and _hue_word(first) != _hue_word(second):
        # Two hues, not two shades of one: a print, a stripe or a seam rather than a fold.
        second_colour = COLOURS[second]
        texture = "patterned"

    near_lightness = (near_weights * _lightness(near)).sum() / near_weights.sum()
    difference = float(near_lightness) - _part_lightness(scene, part_index)
    neighbour, direction, touching = _nearest_neighbour(scene, part_index, *pixel)
    return LocalLook(
        colour=COLOURS[first],
        second_colour=second_colour,
        texture=texture,
        shade="darker" if difference < -22 else "brighter" if difference > 22 else None,
        line=line,
        neighbour=neighbour,
        neighbour_direction=direction,
        touching=touching,
        colour_share=float(votes[first]),
    )


def _own_window(
    scene: Scene, part_index: int, column: int, row: int, sigma_px: float, *, well_inside: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels around one that a Gaussian reaches in the photo, and its weights there; 0 of pixels of other parts."""
    width, height = scene.size_wh
    radius = int(np.ceil(2.5 * sigma_px))
    left, right = min(radius, column), min(radius, width - 1 - column)
    above, below = min(radius, row), min(radius, height - 1 - row)
    window = np.s_[row - above : row + below + 1, column - left : column + right + 1]
    weights = _gaussian(radius, sigma_px)[radius - above : radius + below + 1, radius - left : radius + right + 1]
    own = scene.part_map[window] == part_index + 1
    if well_inside:
        own = _well_inside(own, weights, max(scene.size_wh))
    return np.ascontiguousarray(scene.photo[window]), weights * own


@cache
def _gaussian(radius: int, sigma_px: float) -> np.ndarray:
    offsets = np.arange(-radius, radius + 1, dtype=np.float64)
    one_axis = np.exp(-(offsets**2) / (2 * sigma_px**2))
    return np.outer(one_axis, one_axis)


def _votes(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(len(COLOURS),) share of each colour word. Rounded, so that the order of summation cannot decide a tie."""
    votes = np.bincount(colour_indices(pixels.reshape(-1, 3)), weights=weights.ravel(), minlength=len(COLOURS))
    return np.round(votes / votes.sum(), 6)


def _lightness(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to (H, W) float32, 0 to 255."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _spread(values: np.ndarray, weights: np.ndarray) -> float:
    """Weighted standard deviation."""
    mean = (weights * values).sum() / weights.sum()
    return float(np.sqrt((weights * (values - mean) ** 2).sum() / weights.sum()))


def _roughness(lightness: np.ndarray, weights: np.ndarray, long_side: int) -> float:
    """Weighted standard deviation of the lightness from that of its surroundings inside the part."""
    sigma_px = max(1.0, ROUGHNESS_SIGMA_SHARE * long_side)
    inside = (weights > 0).astype(np.float32)
    blurred, share = (
        cv2.GaussianBlur(one, (0, 0), sigma_px, borderType=cv2.BORDER_CONSTANT) for one in (lightness * inside, inside)
    )
    return _spread(lightness - blurred / np.maximum(share, 1e-6), weights)


def _well_inside(mask: np.ndarray, weights: np.ndarray | None, long_side: int) -> np.ndarray:
    """The mask without its border, where enough remains; pixels outside the window do not count as a border."""
    ring = max(1, round(BORDER_SHARE * long_side))
    inner = cv2.erode(mask.astype(np.uint8), np.ones((2 * ring + 1, 2 * ring + 1), np.uint8)).astype(bool)
    share = inner.sum() / mask.sum() if weights is None else weights[inner].sum() / weights[mask].sum()
    return inner if share >= MIN_INNER_SHARE else mask


def _hue_word(colour_index: int) -> str:
    word = COLOURS[colour_index].rpartition(" ")[2]
    return "gray" if word in ("black", "white") else word


def _part_lightness(scene: Scene, part_index: int) -> float:
    x0, y0, x1, y1 = (int(value) for value in scene.parts[part_index].box_xyxy)
    step = max(1, (y1 - y0) // 40)
    mask = scene.part_map[y0:y1:step, x0:x1] == part_index + 1
    gray = cv2.cvtColor(np.ascontiguousarray(scene.photo[y0:y1:step, x0:x1]), cv2.COLOR_RGB2GRAY)
    return float(gray[mask].mean()) if mask.any() else 0.0


def _line_through(lightness: np.ndarray, weights: np.ndarray) -> Literal["vertical", "horizontal", "diagonal"] | None:
    """Direction of the dominant line from the structure tensor, None when no direction dominates."""
    if min(lightness.shape) < 3:
        return None
    # Central differences: symmetric, and zero weight is given to differences across the part's border.
    inner = weights[1:-1, 1:-1] * (weights[1:-1, 2:] > 0) * (weights[1:-1, :-2] > 0)
    inner = inner * (weights[2:, 1:-1] > 0) * (weights[:-2, 1:-1] > 0)
    across = (lightness[1:-1, 2:] - lightness[1:-1, :-2]) / 2
    down = (lightness[2:, 1:-1] - lightness[:-2, 1:-1]) / 2
    xx, yy, xy = (float((inner * product).sum()) for product in (across**2, down**2, across * down))
    energy = xx + yy
    if energy <= 1e-6 or float(np.hypot(xx - yy, 2 * xy)) < 0.62 * energy:
        return None
    if abs(xx - yy) >= 2 * abs(xy):
        return "vertical" if xx > yy else "horizontal"
    return "diagonal"


def _nearest_neighbour(
    scene: Scene, part_index: int, column: int, row: int
) -> tuple[int | None, Direction | None, bool]:
    """The part, object or background nearest to a pixel in a small disc, its direction, and whether it touches."""
    nothing = None, None, False
    width, height = scene.size_wh
    long_side = max(width, height)
    radius = max(3, round(NEIGHBOUR_SHARE * long_side))
    x0, x1 = max(0, column - radius), min(width, column + radius + 1)
    y0, y1 = max(0, row - radius), min(height, row + radius + 1)
    labels = _things(scene, part_index, np.s_[y0:y1, x0:x1])
    # Outlines end a little before the photo does: that is where the photo ends, and not the object.
    rows, columns = np.mgrid[y0:y1, x0:x1]
    margin = BORDER_MARGIN_SHARE * long_side
    at_border = np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns)) < margin
    labels[at_border & (labels == 0)] = -1
    dx, dy = columns - column, rows - row
    squared = dx * dx + dy * dy
    inside = (labels >= 0) & (squared <= radius * radius)
    if not inside.any():
        return nothing
    dx, dy, squared, owners = dx[inside], dy[inside], squared[inside], labels[inside]
    # Nearer pixels count more; a sliver in the corner of the disc is not worth a word.
    pull = 1.0 / (squared + 2.0)
    strength = np.bincount(owners, weights=pull)
    if strength.max() < 0.5:
        return nothing
    label = int(np.round(strength, 6).argmax())
    chosen = owners == label
    mean_x = float((pull[chosen] * dx[chosen]).sum())
    mean_y = float((pull[chosen] * dy[chosen]).sum())
    length = float(np.hypot(mean_x, mean_y))
    if length < 0.35 * float(pull[chosen].sum()):
        return nothing  # on several sides at once: no single direction would be true
    words = []
    if abs(mean_y) > 0.42 * abs(mean_x):
        words.append("above" if mean_y < 0 else "below")
    if abs(mean_x) > 0.42 * abs(mean_y):
        words.append("left" if mean_x < 0 else "right")
    touching = bool(np.sqrt(squared[chosen].min()) <= 1.5 + long_side / 320)
    direction: Direction = " ".join(words)  # type: ignore[assignment]
    return label - 1, direction, touching


def _things(scene: Scene, part_index: int, window: tuple[slice, slice]) -> np.ndarray:
    """(h, w) int32: 0 is background, k + 1 is part k, and len(parts) + k + 1 is object k where it shows no part.

    -1 is the point's own part, what else is of its object without being another part, and all that is not known.
    """
    labels = scene.part_map[window].astype(np.int32)
    if scene.object_map is not None:
        objects = scene.object_map[window].astype(np.int32)
        labels = np.where((labels == 0) & (objects > 0), len(scene.parts) + objects, labels)
    own = scene.parts[part_index]
    thing = scene.objects[own.object_index]
    siblings = [k for k, part in enumerate(scene.parts) if part.object_index == own.object_index]
    # Beside one of its parts, the object itself is no other thing; nor is what a part is on, as the face is of a cheek.
    same = [k for k in siblings if scene.parts[k].name == thing.name or _contains(scene.parts[k], own)]
    labels[np.isin(labels, [*(k + 1 for k in same), len(scene.parts) + own.object_index + 1])] = -1
    if not thing.outlined:
        labels[~np.isin(labels, [k + 1 for k in siblings])] = -1
    return labels


def _contains(part: ScenePart, other: ScenePart) -> bool:
    """Whether the box of a part has that of another, or its own, inside."""
    x0, y0, x1, y1 = part.box_xyxy
    left, top, right, bottom = other.box_xyxy
    return x0 <= left and y0 <= top and right <= x1 and bottom <= y1
