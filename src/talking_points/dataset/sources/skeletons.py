"""Names of joints and of the limbs between them, in words: for people, for four-legged animals, and for any skeleton.

Joints are named by their files: "left_shoulder", "L_F_Paw", "root_of_tail". What a body's parts are called is data
below. Left and right are the body's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PEOPLE = frozenset({"person", "people", "human", "man", "woman", "boy", "girl", "child", "pedestrian", "player"})
"""Categories that have a person's limbs, a face and hands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limb:
    """What lies between two joints."""

    name: str
    half_width: float
    """As a share of its length, such that what is drawn stays inside the body: points are drawn to its edges."""


def _limbs(table: str) -> dict[frozenset[str], Limb | None]:
    limbs: dict[frozenset[str], Limb | None] = {}
    for line in table.strip().splitlines():
        pair, name, *width = (text.strip() for text in line.split("|"))
        limb = Limb(name=name, half_width=float(width[0])) if name else None
        limbs[frozenset(joint.strip() for joint in pair.split(","))] = limb
    return limbs


# Joints in words without their side | the limb, nothing where nobody has a word for it | half its width.
PERSON_LIMBS = _limbs("""
    shoulder, elbow           | upper arm       | 0.14
    elbow, wrist              | forearm         | 0.11
    wrist, hand               | hand            | 0.40
    hip, knee                 | thigh           | 0.15
    knee, ankle               | lower leg       | 0.10
    ankle, heel               | heel            | 0.40
    ankle, big toe            | foot            | 0.25
    ankle, small toe          | foot            | 0.25
    ankle, foot               | foot            | 0.25
    ankle, toe                | foot            | 0.25
    head top, neck            | head            | 0.25
    top of the head, neck     | head            | 0.25
    head, neck                | neck            | 0.25
    eye                       |
    eye, nose                 |
    eye, ear                  |
    ear, nose                 |
    ear, shoulder             |
    nose, neck                |
    shoulder                  |
    shoulder, neck            |
    shoulder, hip             |
    neck, hip                 |
    hip                       |
""")
"""Of people. One joint alone is the pair of both sides, as both hips."""

ANIMAL_LIMBS = _limbs("""
    shoulder, elbow           | shoulder        | 0.20
    elbow, front paw          | foreleg         | 0.07
    front elbow, front knee   | upper foreleg   | 0.10
    front knee, front paw     | lower foreleg   | 0.08
    elbow, front knee         | upper foreleg   | 0.10
    front knee, front foot    | lower foreleg   | 0.08
    hip, knee                 | thigh           | 0.20
    knee, back paw            | lower hind leg  | 0.08
    hip, hind knee            | thigh           | 0.20
    base of the tail, hind knee | thigh         | 0.15
    hind knee, hock           | upper hind leg  | 0.08
    hock, back paw            | lower hind leg  | 0.08
    hock, hind foot           | lower hind leg  | 0.08
    throat, withers           | neck            | 0.16
    ear, neck                 | neck            | 0.13
    neck, shoulder            | neck            | 0.16
    neck, root of the tail    | back            | 0.04
    withers, base of the tail | back            | 0.04
    shoulder, side of the chest | side of the body | 0.15
    shoulder, hip             | side of the body | 0.12
    hip, root of the tail     | rump            | 0.20
    hip, base of the tail     | rump            | 0.20
    nose, throat              | jaw             | 0.10
    eye, mouth                | face            | 0.15
    throat, front elbow       |
    neck, nose                |
    eye, nose                 |
    eye                       |
    ear, eye                  |
    ear base, eye             |
""")
"""Of four-legged animals, as AP-10K, Animal Pose and LivestockKeypoints join their joints. None stands where the line
between two joints crosses what nobody has one word for."""

UNKNOWN_HALF_WIDTH = 0.1

JOINT_WORDS = {
    "root of tail": "root of the tail",
    "tail root": "root of the tail",
    "tail base": "base of the tail",
    "corner of mouth": "corner of the mouth",
    "top of head": "top of the head",
}
"""Joints that are said with more words than their files spend."""

ANIMAL_JOINT_WORDS = {
    "back elbow": "hind knee",
    "back knee": "hock",
    "hind hock": "hock",
    "fore wrist": "front knee",
    "fore foot": "front foot",
    "fore paw": "front paw",
    "fore knee": "front knee",
    "fore elbow": "front elbow",
    "hind paw": "back paw",
    "chest": "side of the chest",
    "tail": "base of the tail",
    "tailbase": "base of the tail",
}
"""Joints of animals that people call otherwise. A horse's "knee" is its wrist, and the joint above its hock is the knee
of the hind leg, which Animal Pose calls an elbow. LivestockKeypoints' "chest" lies on the ribs, its "tail" where that
begins."""

_LETTERS = {"l": "left", "r": "right", "f": "front", "b": "back", "lf": "left front", "rf": "right front"}
_LETTERS |= {"lb": "left back", "rb": "right back", "lh": "left hind", "rh": "right hind"}


def joint_words(name: str, *, animal: bool) -> str:
    """A joint's name in words, its side first.

    Example:
        >>> joint_words("L_F_Paw", animal=True), joint_words("root_of_tail", animal=True)
        ('left front paw', 'root of the tail')
        >>> joint_words("RightShoulder", animal=False), joint_words("wrist.l", animal=False)
        ('right shoulder', 'left wrist')
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", " ", name).lower().split()
    words = " ".join(_LETTERS.get(word, word) for word in spaced).split()
    side = next((word for word in words if word in ("left", "right")), "")
    rest = " ".join(word for word in words if word != side)
    rest = JOINT_WORDS.get(rest, rest)
    if animal:
        rest = ANIMAL_JOINT_WORDS.get(rest, rest)
    return f"{side} {rest}".strip()


def limb_between(first: str, second: str, *, animal: bool) -> Limb | None:
    """What lies between two joints, given by their words; None where that is no limb.

    A pair that no table knows is "stretch between the left knee and the left ankle".
    """
    sides, bases = zip(*(_sided(joint) for joint in (first, second)), strict=True)
    told = {side for side in sides if side}
    pair = frozenset(bases)
    table = ANIMAL_LIMBS if animal else PERSON_LIMBS
    if pair in table:
        limb = table[pair]
        if limb is None or len(told) > 1:
            return None
        return Limb(name=" ".join([*told, limb.name]), half_width=limb.half_width)
    return Limb(name=f"stretch between the {first} and the {second}", half_width=UNKNOWN_HALF_WIDTH)


def torso_corners(joints: Sequence[str]) -> tuple[str, ...] | None:
    """The joints around a person's torso, None where a skeleton lacks one of them."""
    corners = ("left shoulder", "right shoulder", "left hip", "right hip")
    return corners if set(corners) <= set(joints) else None


def _sided(joint: str) -> tuple[str, str]:
    first, _, rest = joint.partition(" ")
    return (first, rest) if first in ("left", "right") else ("", joint)
