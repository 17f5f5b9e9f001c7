"""Faces, hands and body joints that a detector found in photos: `landmarks.json`, and the parts that follow from it.

    {"photos": {"0002.jpg": {"pose": [[x, y, visibility] * 33] or null,
                             "faces": [{"face": [[x, y], ...], "left eye": [[x, y], ...], "nose tip": [[x, y]], ...}],
                             "hands": [{"side": "left", "points": [[x, y] * 21]}]}}}

Numbers are pixels of the photo; the joints and points are MediaPipe's, in its order (`landmarks.toml`). Left and right
are the person's own. Where nothing was found nothing is claimed, and nothing follows from what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.places import mirror_words
from talking_points.dataset.sources.painting import NamedMask, capsule, disc, hull
from talking_points.files import read_table
from talking_points.labels.problems import refuse
from talking_points.labels.reading import read_json
from talking_points.part_sides import SIDES
from talking_points.points import Box, Point

TABLE = Path(__file__).with_name("landmarks.toml")

FACE = "face"
FARTHEST = 1e6
"""Pixels from the photo's corner, beyond which a number is none of a landmark."""
POSE_COUNT = 33
HAND_COUNT = 21
MIN_VISIBILITY = 0.5
"""Of a body joint that is used."""

TURNED_AWAY = 0.45
"""An eye that looks narrower than this share of the other is on the side that the head turns away: the detector draws
it all the same, and the photo does not show that half of the face."""
NEAR_PALMS = 0.7
"""A wrist joint is a hand's when it is no farther from the hand's own wrist than this many lengths of the palm."""
FINGER_HALF_WIDTH = 0.10
"""As a share of the palm's length, from the wrist to the middle finger's knuckle."""
MIN_FINGER_RADIUS_PX = 1.7
"""Fingers of smaller hands are not told apart."""
MIN_FINGER_SEEN = 0.6
"""A finger that the others cover more than this leaves is not told apart, either."""


Face = Mapping[str, Sequence[Point]]
"""Outlines and points of a face by name; its own outline, `FACE`, is one of them."""


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

    joints: Mapping[str, Point] = field(default_factory=dict)
    """Of the body, those that are visible, by their words: "left wrist"."""
    faces: tuple[Face, ...] = ()
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
        if self.mask is not None:
            return is_on(self.mask, point)
        x0, y0, x1, y1 = self.box_xyxy
        return x0 <= point[0] < x1 and y0 <= point[1] < y1


def read_landmarks(path: Path) -> dict[str, PhotoLandmarks]:
    """Landmarks of photos by file name; none without the file, a LabelError where it is not as shown above."""
    if not path.is_file():
        return {}
    content = read_json(path)
    photos = content.get("photos") if isinstance(content, dict) else None
    if not isinstance(photos, dict):
        raise refuse(path, "", 'expected an object with "photos"', "write it as landmarks.py shows, or take it away")
    return {name: _photo_landmarks(path, name, found) for name, found in photos.items()}


def _photo_landmarks(path: Path, name: str, found: Any) -> PhotoLandmarks:
    try:
        pose = _numbers(found.get("pose") or [], 3, (0, POSE_COUNT))
        faces = [
            {str(region): _numbers(points, 2, None) for region, points in face.items()}
            for face in found.get("faces") or []
        ]
        return PhotoLandmarks(
            joints={
                f"{side} {name}": pose[number][:2]
                for name, pair in read_table(TABLE)["pose"].items()
                for side, number in zip(SIDES, pair, strict=True)
                if pose and pose[number][2] > MIN_VISIBILITY
            },
            faces=tuple(face for face in faces if len(face.get(FACE, ())) >= 3),
            hands=tuple(
                Hand(side=hand["side"], points=_numbers(hand["points"], 2, (HAND_COUNT,)))
                for hand in found.get("hands") or []
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        problem = f"not landmarks: {type(error).__name__} {error}"
        raise refuse(path, name, problem, "write it as landmarks.py shows, or take it away") from None


def _numbers(rows: Any, width: int, counts: tuple[int, ...] | None) -> tuple[Any, ...]:
    table = np.asarray(rows, dtype=np.float64).reshape(-1, width) if len(rows) else np.zeros((0, width))
    # Of the photo's width and height; NaN is no number either.
    if len(table) != len(rows) or not (np.abs(table) < FARTHEST).all():
        raise ValueError(f"expected rows of {width} numbers")
    if counts is not None and len(table) not in counts:
        raise ValueError(f"{len(table)} points, expected {counts[-1]}")
    return tuple(tuple(float(value) for value in row) for row in table)


def landmark_parts(
    found: PhotoLandmarks, bodies: Sequence[Body], size_wh: tuple[int, int]
) -> dict[int, list[NamedMask]]:
    """Parts of faces and hands by whose they are, an index into `bodies`; nobody has two faces."""
    parts: dict[int, list[NamedMask]] = {}
    for face in found.faces:
        owner = owner_of_face(face, bodies, size_wh)
        if owner is not None and owner not in parts:
            parts[owner] = face_parts(face, size_wh, bodies[owner])
    for hand in found.hands:
        owner = owner_of_hand(hand, bodies)
        if owner is not None:
            parts.setdefault(owner, []).extend(hand_parts(hand, hand_side(hand, bodies[owner].joints), size_wh))
    return parts


# --- faces --------------------------------------------------------------------------------------------------


def face_middle(face: Face) -> Point:
    """The middle of a face's outline."""
    x, y = np.asarray(face[FACE]).mean(axis=0)
    return float(x), float(y)


def owner_of_face(face: Face, bodies: Sequence[Body], size_wh: tuple[int, int]) -> int | None:
    """Whose face it is: an index into `bodies`, None where that is not clear.

    The one whose nose or eye lies in it; else the one whose mask or box holds its middle and whose own nose or eyes are
    not seen elsewhere. Of several the smallest mask, as the person in front; several boxes tell nothing.
    """
    middle, oval = face_middle(face), hull(size_wh, face[FACE])
    holders = []
    for k, body in enumerate(bodies):
        seen = [body.joints[name] for name in ("nose", "left eye", "right eye") if name in body.joints]
        if any(is_on(oval, point) for point in seen):
            return k
        if not seen and body.holds(middle):
            holders.append(k)
    masked = [(int(mask.sum()), k) for k in holders if (mask := bodies[k].mask) is not None]
    if masked:
        return min(masked)[1]
    return holders[0] if len(holders) == 1 else None


def face_parts(face: Face, size_wh: tuple[int, int], body: Body | None = None) -> list[NamedMask]:
    """The regions of a face, in the order in which they are painted over each other.

    The half that is turned away is left out: that of an eye which looks much narrower than the other, or is not among
    the visible joints of `body`. Where those joints have the eyes exchanged, no region has a side.
    """
    table = read_table(TABLE)
    gone = tuple(_hidden_sides(face, body))
    outline = np.asarray(face[FACE])
    height = float(math.dist(outline.max(axis=0), outline.min(axis=0)) / math.sqrt(2))
    oval = hull(size_wh, face[FACE])
    regions = [
        (name, hull(size_wh, face[name]))
        for name in table["face_regions"]
        if len(face.get(name, ())) >= 3 and not name.startswith(gone)
    ]
    spots = {
        name: (word, disc(size_wh, face[name][0], share * height))
        for name, (word, share) in table["spots"].items()
        if len(face.get(name, ())) == 1 and not name.startswith(gone)
    }
    under = [(word, spot & oval) for name, (word, spot) in spots.items() if name in table["on_skin"]]
    over = [spot for name, spot in spots.items() if name not in table["on_skin"]]
    return [regions[0], *under, *regions[1:], *over]


def _hidden_sides(face: Face, body: Body | None) -> set[str]:
    middles = {side: np.mean(eye, axis=0) for side in SIDES if len(eye := face.get(f"{side} eye", ())) >= 3}
    if len(middles) < 2:
        return set(SIDES) - middles.keys()
    widths = {side: float(np.ptp(np.asarray(face[f"{side} eye"]), axis=0).max()) for side in SIDES}
    gone = {side for side in SIDES if widths[side] < TURNED_AWAY * max(widths.values())}
    if body is not None and body.has_joints:
        gone |= {side for side in SIDES if f"{side} eye" not in body.joints}
        for side in set(SIDES) - gone:
            own = body.joints[f"{side} eye"]
            if math.dist(own, middles[side]) > math.dist(own, middles[mirror_words(side)]):
                return set(SIDES)
    return gone


# --- hands --------------------------------------------------------------------------------------------------


def _to_wrists(hand: Hand, joints: Mapping[str, Point]) -> list[tuple[float, str]]:
    """Distances from a hand to a person's visible wrists, and their sides; the nearest first."""
    wrists = {side: joints[f"{side} wrist"] for side in SIDES if f"{side} wrist" in joints}
    return sorted((math.dist(point, hand.points[0]), side) for side, point in wrists.items())


def hand_side(hand: Hand, joints: Mapping[str, Point]) -> str:
    """The side of a hand: that of the wrist joint which is much nearer to it than the other, and "" where none is near.

    Where the detector says the other side, the two contradict each other, and the side is not told.
    """
    near = _to_wrists(hand, joints)
    if not near or near[0][0] > NEAR_PALMS * _palm_length(hand) or near[0][1] != hand.side:
        return ""
    return "" if len(near) > 1 and near[1][0] < 2 * near[0][0] else hand.side


def owner_of_hand(hand: Hand, bodies: Sequence[Body]) -> int | None:
    """Whose hand it is: of whom a visible wrist is nearest and near, else whose mask alone holds its middle."""
    near = [(distance, k) for k, body in enumerate(bodies) for distance, _ in _to_wrists(hand, body.joints)]
    if near and min(near)[0] <= NEAR_PALMS * _palm_length(hand):
        return min(near)[1]
    x, y = np.mean(hand.points, axis=0)
    holders = [k for k, body in enumerate(bodies) if body.mask is not None and body.holds((float(x), float(y)))]
    return holders[0] if len(holders) == 1 else None


def hand_parts(hand: Hand, side: str, size_wh: tuple[int, int]) -> list[NamedMask]:
    """A hand, its fingers and their tips, in the order in which they are painted over each other.

    Without a side they are just "hand" and "thumb". Fingers are left out of a hand that is too small for them, and so
    is a finger that others cover.
    """
    fingers = read_table(TABLE)["fingers"]
    radius = FINGER_HALF_WIDTH * _palm_length(hand)
    drawn = {}
    for name, chain in fingers.items():
        places = [hand.points[k] for k in chain]
        bones = [capsule(size_wh, a, b, radius) for a, b in zip(places, places[1:], strict=False)]
        drawn[name] = np.logical_or.reduce(bones)
    whole = np.logical_or.reduce([hull(size_wh, hand.points), *drawn.values()])
    parts: list[NamedMask] = [(f"{side} hand".strip(), whole)]
    if radius < MIN_FINGER_RADIUS_PX:
        return parts
    for name, mask in drawn.items():
        others = np.logical_or.reduce([other for other_name, other in drawn.items() if other_name != name])
        own = mask & ~others
        if own.sum() >= MIN_FINGER_SEEN * mask.sum():
            word = f"{side} {name}".strip()
            tip = disc(size_wh, hand.points[fingers[name][-1]], radius)
            parts += [(word, own), (f"tip of the {word}", tip & own)]
    return parts


def is_of_hand(name: str) -> bool:
    """Whether a part that `hand_parts` named is meant, rather than one of a face."""
    return name.endswith(("hand", "finger", "thumb"))


def _palm_length(hand: Hand) -> float:
    # The palm's breadth is nearly its length; from the side or from the front one of both is short.
    along = math.dist(hand.points[0], hand.points[9])
    across = math.dist(hand.points[5], hand.points[17])
    return max(along, 1.2 * across)


def is_on(mask: np.ndarray, point: Point) -> bool:
    """Whether a point lies in a mask; not outside the photo."""
    x, y = int(math.floor(point[0])), int(math.floor(point[1]))
    return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and bool(mask[y, x])
