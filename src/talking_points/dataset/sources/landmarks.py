"""Faces, hands and body joints that a detector found in photos: `landmarks.json`, and the parts that follow from it.

    {"photos": {"0002.jpg": {"pose": [[x, y, visibility] * 33] or null,
                             "faces": [{"face": [[x, y], ...], "left eye": [[x, y], ...], "nose tip": [[x, y]], ...}],
                             "hands": [{"side": "left", "points": [[x, y] * 21]}]}}}

Numbers are pixels of the photo; the joints and points are MediaPipe's, in its order. Left and right are the person's
own. Where nothing was found nothing is claimed, and nothing follows from what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from talking_points.dataset.places import Box, mirror_words
from talking_points.dataset.problems import refuse
from talking_points.dataset.sources.reading import read_json
from talking_points.dataset.sources.shapes import Point, capsule, disc, hull

NamedMask = tuple[str, np.ndarray]
"""A part's name and its pixels, (H, W) bool."""

FACE = "face"
FACE_REGIONS = (
    FACE,
    "nose",
    "mouth",
    "left eyebrow",
    "right eyebrow",
    "left eye",
    "right eye",
)
"""Regions given by their outlines, as far as a file has them; later ones are on top."""

FACE_SPOTS = {
    "forehead": ("forehead", 0.09),
    "left cheek": ("left cheek", 0.10),
    "right cheek": ("right cheek", 0.10),
    "chin": ("chin", 0.07),
    "nose tip": ("tip of the nose", 0.05),
    "left corner of the mouth": ("left corner of the mouth", 0.045),
    "right corner of the mouth": ("right corner of the mouth", 0.045),
}
"""Single points: what they are called, and the radius of their disc as a share of the face's height."""

TURNED_AWAY = 0.45
"""An eye that looks narrower than this share of the other is on the side that the head turns away: the detector draws
it all the same, and the photo does not show that half of the face."""

MIN_VISIBILITY = 0.5
"""Of a body joint that is used."""

POSE = {
    "shoulder": (11, 12),
    "elbow": (13, 14),
    "wrist": (15, 16),
    "little finger": (17, 18),
    "index finger": (19, 20),
    "thumb": (21, 22),
    "hip": (23, 24),
    "knee": (25, 26),
    "ankle": (27, 28),
    "heel": (29, 30),
    "toe": (31, 32),
}
"""Of the 33 joints the left one and the right one."""
POSE_COUNT = 33

HAND_COUNT = 21
PALM = (0, 1, 5, 9, 13, 17)
FINGERS = {
    "thumb": (1, 2, 3, 4),
    "index finger": (5, 6, 7, 8),
    "middle finger": (9, 10, 11, 12),
    "ring finger": (13, 14, 15, 16),
    "little finger": (17, 18, 19, 20),
}
FINGER_HALF_WIDTH = 0.10
"""As a share of the palm's length, from the wrist to the middle finger's knuckle."""
MIN_FINGER_RADIUS_PX = 1.7
"""Fingers of smaller hands are not told apart."""
MIN_FINGER_SEEN = 0.6
"""A finger that the others cover more than this leaves is not told apart, either."""

SIDES = ("left", "right")


@dataclass(frozen=True, kw_only=True, slots=True)
class Hand:
    """One hand."""

    side: str
    """As the detector believes, which is less sure than the points."""
    points: tuple[Point, ...]
    """21, the wrist first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoLandmarks:
    """What was found in one photo."""

    pose: tuple[tuple[float, float, float], ...] = ()
    """x, y, visibility of 33 joints, or none."""
    faces: tuple[Mapping[str, tuple[Point, ...]], ...] = ()
    """Of each face the outlines and points by name."""
    hands: tuple[Hand, ...] = ()


NOTHING_FOUND = PhotoLandmarks()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Body:
    """A person to whom a face or a hand may belong."""

    mask: np.ndarray | None
    """(H, W) bool, None where only the box is known."""
    box_xyxy: Box
    joints: Mapping[str, Point] = field(default_factory=dict)
    """Visible joints by their words, in pixels of the photo."""
    has_joints: bool = False
    """Somebody labelled joints of this person: one that is not in `joints` is hidden."""

    def holds(self, point: Point) -> bool:
        """Whether a point lies in the mask or, without one, in the box."""
        x, y = point
        if self.mask is None:
            x0, y0, x1, y1 = self.box_xyxy
            return x0 <= x < x1 and y0 <= y < y1
        height, width = self.mask.shape
        return 0 <= x < width and 0 <= y < height and bool(self.mask[int(y), int(x)])


def read_landmarks(path: Path) -> dict[str, PhotoLandmarks]:
    """Landmarks of photos by their file names; none when there is no such file.

    Raises:
        LabelError: the file is there and is not as this module's docstring shows.
    """
    if not path.is_file():
        return {}
    content = read_json(path)
    photos = content.get("photos") if isinstance(content, dict) else None
    if not isinstance(photos, dict):
        raise refuse(path, "", 'expected an object with "photos"', "write it as landmarks.py shows, or take it away")
    return {name: _photo_landmarks(path, name, found) for name, found in photos.items()}


def _photo_landmarks(path: Path, name: str, found: Any) -> PhotoLandmarks:
    try:
        return PhotoLandmarks(
            pose=_numbers(found.get("pose") or [], 3, (0, POSE_COUNT)),
            faces=tuple(
                {str(region): _numbers(points, 2, None) for region, points in face.items()}
                for face in found.get("faces") or []
            ),
            hands=tuple(
                Hand(side=hand["side"], points=_numbers(hand["points"], 2, (HAND_COUNT,)))
                for hand in found.get("hands") or []
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"not landmarks: {type(error).__name__} {error}"
        raise refuse(path, name, problem, "write it as landmarks.py shows, or take it away") from None


def _numbers(rows: Any, width: int, counts: tuple[int, ...] | None) -> tuple[Any, ...]:
    table = np.asarray(rows, dtype=np.float64).reshape(-1, width) if len(rows) else np.zeros((0, width))
    if len(table) != len(rows) or not np.isfinite(table).all():
        raise ValueError(f"expected rows of {width} numbers")
    if counts is not None and len(table) not in counts:
        raise ValueError(f"{len(table)} points, expected {counts[-1]}")
    return tuple(tuple(float(value) for value in row) for row in table)


# --- faces --------------------------------------------------------------------------------------------------


def face_middle(face: Mapping[str, Sequence[Point]]) -> Point | None:
    """The middle of a face's outline, None without one."""
    outline = face.get(FACE, ())
    if len(outline) < 3:
        return None
    x, y = np.asarray(outline).mean(axis=0)
    return float(x), float(y)


def owner_of_face(face: Mapping[str, Sequence[Point]], bodies: Sequence[Body], size_wh: tuple[int, int]) -> int | None:
    """Whose face it is: an index into `bodies`, None where that is not clear.

    The one whose nose or eye lies in it; else the one whose mask or box holds its middle and whose own nose or eyes are
    not seen elsewhere. Of several the smallest mask, as the person in front; several boxes tell nothing.
    """
    middle = face_middle(face)
    if middle is None:
        return None
    oval = hull(size_wh, face[FACE])
    holders = []
    for k, body in enumerate(bodies):
        seen = [body.joints[name] for name in ("nose", "left eye", "right eye") if name in body.joints]
        if any(_is_on(oval, point) for point in seen):
            return k
        if not seen and body.holds(middle):
            holders.append(k)
    masked = [(int(mask.sum()), k) for k in holders if (mask := bodies[k].mask) is not None]
    if masked:
        return min(masked)[1]
    return holders[0] if len(holders) == 1 else None


def face_parts(
    face: Mapping[str, Sequence[Point]], size_wh: tuple[int, int], body: Body | None = None
) -> list[NamedMask]:
    """The regions of a face, in the order in which they are painted over each other.

    The half that is turned away is left out: that of an eye which looks much narrower than the other, or is not among
    the visible joints of `body`. Where those joints have the eyes exchanged, no region has a side.
    """
    if len(face.get(FACE, ())) < 3:
        return []
    gone = _hidden_sides(face, body)
    outline = np.asarray(face[FACE])
    height = float(math.dist(outline.max(axis=0), outline.min(axis=0)) / math.sqrt(2))
    oval = hull(size_wh, face[FACE])
    parts: list[NamedMask] = []
    spots = [(name, word, share) for name, (word, share) in FACE_SPOTS.items() if name in face and len(face[name]) == 1]

    def is_shown(name: str) -> bool:
        return not any(name.startswith(side) for side in gone)

    on_skin = ("forehead", "left cheek", "right cheek", "chin")
    for name, word, share in spots:
        if name in on_skin and is_shown(name):
            parts.append((word, disc(size_wh, face[name][0], share * height) & oval))
    for name in FACE_REGIONS:
        if len(face.get(name, ())) >= 3 and is_shown(name):
            parts.insert(0 if name == FACE else len(parts), (name, hull(size_wh, face[name])))
    for name, word, share in spots:
        if name not in on_skin and is_shown(name):
            parts.append((word, disc(size_wh, face[name][0], share * height)))
    return parts


def _hidden_sides(face: Mapping[str, Sequence[Point]], body: Body | None) -> set[str]:
    middles = {side: np.mean(eye, axis=0) for side in SIDES if len(eye := face.get(f"{side} eye", ())) >= 3}
    if len(middles) < 2:
        return set(SIDES) - middles.keys()
    widths = {side: float(np.ptp(np.asarray(face[f"{side} eye"]), axis=0).max()) for side in SIDES}
    gone = {side for side in SIDES if widths[side] < TURNED_AWAY * max(widths.values())}
    if body is not None and body.has_joints:
        gone |= {side for side in SIDES if f"{side} eye" not in body.joints}
        for side in set(SIDES) - gone:
            own = body.joints[f"{side} eye"]
            other = mirror_words(side)
            if math.dist(own, middles[side]) > math.dist(own, middles[other]):
                return set(SIDES)
    return gone


# --- hands --------------------------------------------------------------------------------------------------


def hand_side(hand: Hand, wrists: Mapping[str, Point]) -> str:
    """The side of a hand: that of the wrist joint which is much nearer to it than the other, and "" where none is near.

    Where the detector says the other side, the two contradict each other, and the side is not told.

    Args:
        hand: what was found.
        wrists: the person's visible wrists by side, in pixels of the photo.
    """
    near = sorted((math.dist(point, hand.points[0]), side) for side, point in wrists.items())
    if not near or near[0][0] > 0.7 * _palm_length(hand):
        return ""
    if len(near) > 1 and near[1][0] < 2 * near[0][0]:
        return ""
    return near[0][1] if near[0][1] == hand.side else ""


def owner_of_hand(hand: Hand, bodies: Sequence[Body]) -> int | None:
    """Whose hand it is: of whom a visible wrist is nearest and near, else whose mask alone holds its middle."""
    reach = 0.7 * _palm_length(hand)
    near = [
        (math.dist(body.joints[name], hand.points[0]), k)
        for k, body in enumerate(bodies)
        for name in ("left wrist", "right wrist")
        if name in body.joints
    ]
    if near and min(near)[0] <= reach:
        return min(near)[1]
    x, y = np.mean(hand.points, axis=0)
    holders = [k for k, body in enumerate(bodies) if body.mask is not None and body.holds((float(x), float(y)))]
    return holders[0] if len(holders) == 1 else None


def hand_parts(hand: Hand, side: str, size_wh: tuple[int, int]) -> list[NamedMask]:
    """A hand, its fingers and their tips, in the order in which they are painted over each other.

    Without a side they are just "hand" and "thumb". Fingers are left out of a hand that is too small for them, and so
    is a finger that others cover.
    """
    palm = _palm_length(hand)
    radius = FINGER_HALF_WIDTH * palm
    whole = hull(size_wh, hand.points)
    parts: list[NamedMask] = [(f"{side} hand".strip(), whole)]
    chains = {
        name: np.logical_or.reduce(
            [capsule(size_wh, hand.points[a], hand.points[b], radius) for a, b in zip(chain, chain[1:], strict=False)]
        )
        for name, chain in FINGERS.items()
    }
    parts[0] = (parts[0][0], np.logical_or.reduce([whole, *chains.values()]))
    if radius < MIN_FINGER_RADIUS_PX:
        return parts
    for name, chain in FINGERS.items():
        others = np.logical_or.reduce([mask for other, mask in chains.items() if other != name])
        own = chains[name] & ~others
        if own.sum() >= MIN_FINGER_SEEN * chains[name].sum():
            word = f"{side} {name}".strip()
            parts.append((word, own))
            parts.append((f"tip of the {word}", disc(size_wh, hand.points[chain[-1]], radius) & own))
    return parts


def is_of_hand(name: str) -> bool:
    """Whether a part that `hand_parts` named is meant, rather than one of a face."""
    return name.endswith(("hand", "finger", "thumb"))


def _palm_length(hand: Hand) -> float:
    # The palm's breadth is nearly its length; from the side or from the front one of both is short.
    along = math.dist(hand.points[0], hand.points[9])
    across = math.dist(hand.points[5], hand.points[17])
    return max(along, 1.2 * across)


# --- clothes and bare skin of one person ----------------------------------------------------------------------

_FEET = ("ankle", "heel", "toe")
_FINGERTIPS = ("little finger", "index finger", "thumb")
_HANDS = ("wrist", *_FINGERTIPS)
SIDED_PARTS: dict[str, tuple[str, ...]] = {
    "shoe": _FEET,
    "boot": _FEET,
    "sandal": _FEET,
    "sneaker": _FEET,
    "sock": _FEET,
    "foot": _FEET,
    "leg": ("knee", "ankle"),
    "arm": ("elbow", "wrist"),
    "hand": _HANDS,
    "glove": _HANDS,
}
"""Parts of which a person has two, and the joints that lie in them."""

MIN_WHOLE = 0.8
"""A part has a side when one blob is this share of it; of another in pieces, some may be of the other side."""

NEAR_SHARE = 0.008
"""A joint lies in a part when it is no farther from it than this share of the photo's long side: joints of limbs that
are seen from the side lie on their outlines."""

NECK_SHARE, CHEST_SHARE = 0.15, 0.5
"""Outside a face's outline the neck begins this share of its height above its lowest point, and the chest this share
below it."""

SKIN = "skin"
SKIN_PARTS = frozenset({SKIN, "face", "neck", "arm", "hand", "leg", "legs", "foot"})
"""A found face or hand is painted over these alone: a hair, a hat or a bag in front of it stays what it is."""

SKIN_LIMBS = {"arm": (("shoulder", "elbow"), ("elbow", "wrist")), "leg": (("hip", "knee"), ("knee", "ankle"))}
"""What bare skin along the line between two joints is, where the labels say just "skin"."""
SKIN_LIMB_HALF_WIDTH = 0.22
FAR_CRUMB_SHARE = 0.06
"""A piece of an arm or a leg this far from the rest, as a share of the photo's long side, is not known to be of it."""


def person_parts(parts: Sequence[NamedMask], found: PhotoLandmarks) -> list[NamedMask]:
    """The labelled clothes and skin of the one person in a photo, with sides, the regions of the face and the hands.

    A part of a pair has a side when joints of that side lie in it and none of the other, whose place is known, and the
    same does not hold for the other part of the pair. Plurals ("shoes") have none: where joints show one side only,
    the other shoe is in the blob all the same in every second photo. The face and the hands are painted over bare skin
    only.

    Args:
        parts: as labelled; masks do not overlap.
        found: in this photo.

    Returns:
        Parts that do not overlap; a name comes twice only where `parts` had it twice.
    """
    if not parts or found == NOTHING_FOUND:
        return list(parts)
    size_wh = parts[0][1].shape[1], parts[0][1].shape[0]
    joints = _pose_joints(found)
    parts = _told_by_joints(parts, joints)
    bare = [mask for name, mask in parts if name in SKIN_PARTS]
    skin = np.logical_or.reduce(bare) if bare else np.zeros(size_wh[::-1], dtype=bool)
    named = _with_sides([(_arm_or_hand(name, mask, joints), mask) for name, mask in parts], joints)
    layers: list[NamedMask] = []
    for face in found.faces:
        layers += _clothed_face(face, named, skin, size_wh)
    wrists = {side: point for (name, side), point in joints.items() if name == "wrist"}
    for hand in found.hands:
        named, fingers = _clothed_hand(hand, hand_side(hand, wrists), named, skin, size_wh)
        layers += fingers
    return _painted(named, [(name, mask & skin) for name, mask in layers])


def _told_by_joints(parts: Sequence[NamedMask], joints: Mapping[tuple[str, str], Point]) -> list[NamedMask]:
    """Pieces of skin far from the limb that they were added to are skin again; skin along a limb is that limb."""
    shape = parts[0][1].shape
    size_wh = (shape[1], shape[0])
    skin = np.zeros(shape, dtype=bool)
    others: list[NamedMask] = []
    for name, mask in parts:
        near = mask if name not in ("arm", "leg", "legs", "hand", "foot") else _largest_and_near(mask)
        skin |= mask & ~near if name != SKIN else mask
        if name != SKIN:
            others.append((name, near))
    if not skin.any():
        return others
    layers: list[NamedMask] = []
    for limb, bones in SKIN_LIMBS.items():
        for side in SIDES:
            for first, second in bones:
                ends = [joints[one, side] for one in (first, second) if (one, side) in joints]
                if len(ends) == 2 and all(_is_near(skin, end) for end in ends):
                    radius = SKIN_LIMB_HALF_WIDTH * math.dist(*ends)
                    layers.append((f"{side} {limb}", capsule(size_wh, ends[0], ends[1], radius) & skin))
    for side in SIDES:
        points = [joints[one, side] for one in _HANDS if (one, side) in joints]
        if len(points) == len(_HANDS) and all(_is_near(skin, point) for point in points):
            layers.append((f"{side} hand", hull(size_wh, points) & skin))
    return _painted([*others, (SKIN, skin)], layers)


def _largest_and_near(mask: np.ndarray) -> np.ndarray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    if count < 3:
        return mask
    largest = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    distance = cv2.distanceTransform((~largest).view(np.uint8), cv2.DIST_L2, 3)
    far = FAR_CRUMB_SHARE * max(mask.shape)
    kept = [k for k in range(1, count) if distance[labels == k].min() <= far]
    near: np.ndarray = np.isin(labels, kept)
    return near


def _arm_or_hand(name: str, mask: np.ndarray, joints: Mapping[tuple[str, str], Point]) -> str:
    """ "arm" for a piece of a forearm, as between a sleeve and a bracelet, that was taken for a hand."""
    if name != "hand" or any(_is_near(mask, point) for (one, _), point in joints.items() if one in _FINGERTIPS):
        return name
    for side in SIDES:
        if ("elbow", side) in joints and ("wrist", side) in joints:
            (x0, y0), (x1, y1) = joints["elbow", side], joints["wrist", side]
            if _is_near(mask, ((x0 + x1) / 2, (y0 + y1) / 2)):
                return "arm"
    return name


def _clothed_hand(
    hand: Hand, side: str, named: list[NamedMask], skin: np.ndarray, size_wh: tuple[int, int]
) -> tuple[list[NamedMask], list[NamedMask]]:
    """The parts, one of them with a side where only the hand shows it, and what is to be painted over them.

    Where labels show the hand by itself, it keeps their outline, and its fingers are painted; with a side that
    contradicts the labels' one, nothing is.
    """
    whole, *fingers = hand_parts(hand, side, size_wh)
    seen = whole[1] & skin
    if not seen.any():
        return named, []
    shares = [int((mask & seen).sum()) for _, mask in named]
    k = int(np.argmax(shares))
    label, mask = named[k]
    if not label.endswith("hand"):
        return named, [whole, *fingers]
    if label == whole[0]:
        return named, fingers
    if label != "hand" or any(name == whole[0] for name, _ in named):
        return named, []
    return [*named[:k], (whole[0], mask), *named[k + 1 :]], fingers


def _pose_joints(found: PhotoLandmarks) -> dict[tuple[str, str], Point]:
    """Joint and side of what is visible."""
    joints = {}
    for name, pair in POSE.items() if found.pose else ():
        for side, number in zip(SIDES, pair, strict=True):
            x, y, visibility = found.pose[number]
            if visibility > MIN_VISIBILITY:
                joints[name, side] = (x, y)
    return joints


def _clothed_face(
    face: Mapping[str, Sequence[Point]], named: Sequence[NamedMask], skin: np.ndarray, size_wh: tuple[int, int]
) -> list[NamedMask]:
    """What is painted over bare skin: a labelled "face" is cut below the chin, where neck and chest begin."""
    middle = face_middle(face)
    if middle is None or not _is_on(skin, middle):
        return []
    outline = np.asarray(face[FACE])
    top, bottom = float(outline[:, 1].min()), float(outline[:, 1].max())
    labelled = [mask for name, mask in named if name == FACE and _is_on(mask, middle)]
    layers: list[NamedMask] = []
    if labelled:
        centres = np.arange(size_wh[1])[:, None] + 0.5
        layers.append(("neck", labelled[0] & (centres > bottom - NECK_SHARE * (bottom - top))))
        layers.append(("chest", labelled[0] & (centres > bottom + CHEST_SHARE * (bottom - top))))
    return layers + face_parts(face, size_wh)


def _with_sides(parts: Sequence[NamedMask], joints: Mapping[tuple[str, str], Point]) -> list[NamedMask]:
    sides = [_side_of(name, mask, joints) for name, mask in parts]
    names = [name for name, _ in parts]
    told: list[NamedMask] = []
    for k, (name, mask) in enumerate(parts):
        twins = [other for other, twin in enumerate(names) if twin == name and other != k]
        # Of a pair, the other one's side must not contradict; of three, nothing is sure.
        sure = len(twins) < 2 and all(sides[other] != sides[k] for other in twins)
        told.append((f"{sides[k]} {name}" if sides[k] and sure else name, mask))
    return told


def _side_of(name: str, mask: np.ndarray, joints: Mapping[tuple[str, str], Point]) -> str:
    wanted = SIDED_PARTS.get(name, ())
    inside = {side: [_is_near(mask, joints[one, side]) for one in wanted if (one, side) in joints] for side in SIDES}
    for side in SIDES:
        other = inside[mirror_words(side)]
        if any(inside[side]) and other and not any(other) and _is_whole(mask):
            return side
    return ""


def _is_whole(mask: np.ndarray) -> bool:
    areas = cv2.connectedComponentsWithStats(mask.view(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= MIN_WHOLE * areas.sum())


def _is_near(mask: np.ndarray, point: Point) -> bool:
    near = NEAR_SHARE * max(mask.shape)
    return bool((disc((mask.shape[1], mask.shape[0]), point, max(1.0, near)) & mask).any())


def _is_on(mask: np.ndarray, point: Point) -> bool:
    x, y = int(math.floor(point[0])), int(math.floor(point[1]))
    return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and bool(mask[y, x])


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
