"""One person's label map and what a detector found: sides of shoes and limbs, the face's regions, hands, fingers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import cv2
import numpy as np

from talking_points.dataset.places import mirror_words
from talking_points.dataset.sources.landmarks import (
    FACE,
    NOTHING_FOUND,
    TABLE,
    Face,
    Hand,
    PhotoLandmarks,
    face_middle,
    face_parts,
    hand_parts,
    hand_side,
    is_on,
)
from talking_points.dataset.sources.painting import NamedMask, capsule, hull, is_near
from talking_points.files import read_table
from talking_points.part_sides import SIDES
from talking_points.points import Point

SKIN = "skin"
SKIN_LIMB_HALF_WIDTH = 0.22
"""Of a bare limb, as a share of its length."""
NECK_FROM, CHEST_FROM = -0.15, 0.5
"""Outside a face's outline the neck begins this share of its height below its lowest point, and the chest this one."""
MIN_WHOLE = 0.8
"""A part has a side when one blob is this share of it; of another in pieces, some may be of the other side."""
NEAR_SHARE = 0.008
"""A joint lies in a part when it is no farther from it than this share of the photo's long side: joints of limbs that
are seen from the side lie on their outlines."""

Joints = Mapping[str, Point]
"""Places of the visible joints by their words: "left wrist"."""


def person_parts(parts: Sequence[NamedMask], found: PhotoLandmarks) -> list[NamedMask]:
    """The labelled clothes and skin of the one person in a photo, with sides, the regions of the face and the hands.

    A part of a pair has a side when joints of that side lie in it and none of the other, whose place is known, and the
    same does not hold for the other part of the pair. Plurals ("shoes") have none: where joints show one side only,
    the other shoe is in the blob all the same in every second photo. What is labelled just "skin" is told by the joints
    and the face in it; the face and the hands are painted over bare skin only. Neither the
    masks given nor those returned overlap; a name comes twice only where `parts` had it twice.
    """
    if not parts or found == NOTHING_FOUND:
        return list(parts)
    joints = found.joints
    nothing = np.zeros_like(parts[0][1])
    just_skin = np.logical_or.reduce([nothing, *(mask for name, mask in parts if name == SKIN)])
    bare = [mask for name, mask in parts if name in read_table(TABLE)["skin_parts"]]
    skin = np.logical_or.reduce([nothing, *bare])
    faces = [face for face in found.faces if is_on(skin, face_middle(face))]
    named = _painted(_with_sides(parts, joints), _told_skin(just_skin, joints, faces))
    layers: list[NamedMask] = []
    for face in faces:
        layers += face_parts(face, (skin.shape[1], skin.shape[0]))
    for hand in found.hands:
        layers += _hand_over(named, hand, joints, skin)
    return _painted(named, [(name, mask & skin) for name, mask in layers])


def _told_skin(skin: np.ndarray, joints: Joints, faces: Sequence[Face]) -> list[NamedMask]:
    """What is labelled just "skin": in a piece with a face, that and below its chin the neck and the chest; the limb
    whose bones alone lie in a piece; else what is along the bones.
    """
    layers: list[NamedMask] = []
    count, pieces = cv2.connectedComponents(skin.view(np.uint8))
    for number in range(1, count):
        piece = pieces == number
        limbs = _limbs_in(piece, joints)
        chins = [np.asarray(face[FACE])[:, 1] for face in faces if is_on(piece, face_middle(face))]
        alone = len({name for name, _ in limbs}) == 1 and not chins
        for rows in chins:
            top, bottom = rows.min(), rows.max()
            below = (np.arange(skin.shape[0])[:, None] + 0.5 - bottom) / max(bottom - top, 1)
            layers += [(FACE, piece), ("neck", piece & (below > NECK_FROM)), ("chest", piece & (below > CHEST_FROM))]
        layers += [(name, piece if alone else mask) for name, mask in limbs]
    return layers


def _limbs_in(skin: np.ndarray, joints: Joints) -> list[NamedMask]:
    """Arms and legs along their bones, and hands between their joints, where these lie on a piece of skin."""
    table = read_table(TABLE)
    size_wh = (skin.shape[1], skin.shape[0])
    layers: list[NamedMask] = []
    for limb, bones in table["skin_limbs"].items():
        for side, bone in product(SIDES, bones):
            ends = _present(joints, side, bone)
            if len(ends) < 2:
                continue
            (ax, ay), (bx, by) = ends
            # One end may be in a sleeve or a shoe.
            if any(_is_near(skin, end) for end in ends) and _is_near(skin, ((ax + bx) / 2, (ay + by) / 2)):
                radius = SKIN_LIMB_HALF_WIDTH * math.dist(*ends)
                layers.append((f"{side} {limb}", capsule(size_wh, ends[0], ends[1], radius) & skin))
    for side in SIDES:
        wanted = table["sided_parts"]["hand"]
        points = _present(joints, side, wanted)
        if len(points) == len(wanted) and all(_is_near(skin, point) for point in points):
            layers.append((f"{side} hand", hull(size_wh, points) & skin))
    return layers


def _present(joints: Joints, side: str, names: Sequence[str]) -> list[Point]:
    return [joints[f"{side} {name}"] for name in names if f"{side} {name}" in joints]


def _hand_over(named: Sequence[NamedMask], hand: Hand, joints: Joints, skin: np.ndarray) -> list[NamedMask]:
    """What is painted of a hand. One that is labelled keeps its outline; where its side is another, nothing is."""
    whole, *fingers = hand_parts(hand, hand_side(hand, joints), (skin.shape[1], skin.shape[0]))
    seen = whole[1] & skin
    if not seen.any():
        return []
    label = max(named, key=lambda part: int((part[1] & seen).sum()))[0]
    if not label.endswith("hand"):
        return [whole, *fingers]
    return fingers if label in ("hand", whole[0]) else []


def _with_sides(parts: Sequence[NamedMask], joints: Joints) -> list[NamedMask]:
    sides = [_side_of(name, mask, joints) for name, mask in parts]
    names = [name for name, _ in parts]
    told: list[NamedMask] = []
    for k, (name, mask) in enumerate(parts):
        twins = [other for other, twin in enumerate(names) if twin == name and other != k]
        # Of a pair, the other one's side must not contradict; of three, nothing is sure.
        sure = len(twins) < 2 and all(sides[other] != sides[k] for other in twins)
        told.append((f"{sides[k]} {name}" if sides[k] and sure else name, mask))
    return told


def _side_of(name: str, mask: np.ndarray, joints: Joints) -> str:
    wanted = read_table(TABLE)["sided_parts"].get(name, ())
    inside = {side: [_is_near(mask, point) for point in _present(joints, side, wanted)] for side in SIDES}
    for side in SIDES:
        other = inside[mirror_words(side)]
        if any(inside[side]) and other and not any(other) and _is_whole(mask):
            return side
    return ""


def _is_whole(mask: np.ndarray) -> bool:
    areas = cv2.connectedComponentsWithStats(mask.view(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= MIN_WHOLE * areas.sum())


def _is_near(mask: np.ndarray, point: Point) -> bool:
    return is_near(mask, point, max(1.0, NEAR_SHARE * max(mask.shape)))


def _painted(parts: Sequence[NamedMask], layers: Sequence[NamedMask]) -> list[NamedMask]:
    """Parts with layers over them; a layer joins a part of its name."""
    names = [name for name, _ in parts]
    number = np.zeros(parts[0][1].shape, dtype=np.int16)
    for k, (_, mask) in enumerate(parts, start=1):
        number[mask] = k
    for name, mask in layers:
        if name not in names:
            names.append(name)
        number[mask] = names.index(name) + 1
    return [(name, mask) for k, name in enumerate(names, start=1) if (mask := number == k).any()]
