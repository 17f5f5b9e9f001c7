"""Bodies with joints: what joints and limbs are called (`skeletons.toml`), and the pixels that are taken for them.

A visible joint is a small disc, a limb between two of them a capsule. Left and right are the body's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.scene import box_area
from talking_points.dataset.sources.coco_masks import CocoFrame
from talking_points.dataset.sources.painting import NamedMask, capsule, disc, hull
from talking_points.dataset.wordings import KINDS
from talking_points.files import read_table
from talking_points.labels.coco import keypoint_names
from talking_points.labels.problems import refuse
from talking_points.points import Box, Point, is_finite_number

TABLE = Path(__file__).with_name("skeletons.toml")

UNKNOWN_HALF_WIDTH = 0.1
"""Of a limb that the table does not know, as a share of its length."""
MASKED_LIMB = 1.5
"""Limbs are drawn this much wider where a mask cuts them."""
JOINT_SHARE = 0.03
"""Radius of a joint's disc, as a share of the square root of its object's box."""
JOINT_GAP_SHARE = 0.35
"""And at most this share of the distance to the nearest labelled joint."""

LABELLED, VISIBLE = 1, 2
"""COCO's marks of joints: hidden ones, and those that are seen. 0 is not labelled."""

TORSO = ("left shoulder", "right shoulder", "left hip", "right hip")


@dataclass(frozen=True, kw_only=True, slots=True)
class Skeleton:
    """Joints of a category and which of them are joined."""

    names: tuple[str, ...]
    """As in the file."""
    joints: tuple[str, ...]
    """In words."""
    edges: tuple[tuple[int, int], ...]
    """Pairs of indices into `joints`."""
    is_person: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """A labelled joint of one body."""

    name: str
    """In words."""
    point: Point
    """In the photo: the centre of the pixel that the file counts."""
    mark: int
    """`LABELLED` or `VISIBLE`."""


def is_person(name: str) -> bool:
    """Whether a category has a person's limbs, a face and hands."""
    return name.lower() in KINDS["people"]


def read_skeleton(path: Path, category: Mapping[str, Any]) -> Skeleton:
    """The skeleton of a COCO category, without joints where it has none; LabelError where it cannot be one."""
    names = keypoint_names(path, category)
    pairs = category.get("skeleton") or []
    record = f'category "{category.get("name")}"'
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(k, int) for k in pair) for pair in pairs
    ):
        raise refuse(path, record, "its skeleton is no list of pairs", "give a list as [[1, 2], ...], or take it away")
    # COCO counts joints from 1; some exporters count from 0, which shows where the first one is joined.
    first = 0 if any(0 in pair for pair in pairs) else 1
    for pair in pairs:
        if not all(0 <= k - first < len(names) for k in pair):
            raise refuse(path, record, f"its skeleton joins {pair}, it has {len(names)} joints", "mend the pair")
    person = is_person(str(category.get("name", "")))
    return Skeleton(
        names=tuple(names),
        joints=tuple(joint_words(name, animal=not person) for name in names),
        edges=tuple((a - first, b - first) for a, b in pairs),
        is_person=person,
    )


def read_joints(record: str, annotation: Mapping[str, Any], skeleton: Skeleton, frame: CocoFrame) -> list[Joint]:
    """The labelled joints of an annotation; LabelError, in which it is called `record`, where they cannot be read."""
    numbers = annotation.get("keypoints") or []
    if not numbers:
        return []
    if not skeleton.names:
        problem = "it has keypoints and its category has no names of them"
        raise refuse(frame.file, record, problem, 'give the category its "keypoints", or take these away')
    if not isinstance(numbers, list) or len(numbers) != 3 * len(skeleton.names):
        count = len(numbers) if isinstance(numbers, list) else 0
        problem = f"{count} numbers of keypoints, expected 3 for each of {len(skeleton.names)} names"
        raise refuse(frame.file, record, problem, "give x, y and visibility of each, zeros for those not labelled")
    width, height = frame.turn.size_wh
    joints = []
    for name, words, x, y, mark in zip(
        skeleton.names, skeleton.joints, numbers[::3], numbers[1::3], numbers[2::3], strict=True
    ):
        if mark not in (0, LABELLED, VISIBLE):
            raise refuse(frame.file, record, f"visibility of {name} is {str(mark)[:40]}", "give 0, 1 or 2")
        if not mark:
            continue
        if not (is_finite_number(x) and is_finite_number(y)):
            raise refuse(frame.file, record, f"{name} is at [{str(x)[:20]}, {str(y)[:20]}]", "give finite numbers")
        # The file counts pixels; the point is the pixel's centre, and on the border that of the last one.
        right, down = frame.points(np.array([[x + 0.5, y + 0.5]]))[0].tolist()
        if not (0 <= right <= width + 0.5 and 0 <= down <= height + 0.5):
            raise refuse(frame.file, record, f"{name} [{x}, {y}] is outside the photo", "mark it 0, or mend its place")
        joints.append(Joint(name=words, point=(min(right, width - 0.5), min(down, height - 0.5)), mark=int(mark)))
    return joints


def joint_words(name: str, *, animal: bool) -> str:
    """A joint's name in words, its side first.

    Example:
        >>> joint_words("L_F_Paw", animal=True), joint_words("root_of_tail", animal=True)
        ('left front paw', 'root of the tail')
        >>> joint_words("RightShoulder", animal=False), joint_words("wrist.l", animal=False)
        ('right shoulder', 'left wrist')
    """
    table = read_table(TABLE)
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", " ", name).lower().split()
    words = " ".join(table["letters"].get(word, word) for word in spaced).split()
    side = next((word for word in words if word in ("left", "right")), "")
    rest = " ".join(word for word in words if word != side)
    rest = table["words"].get(rest, rest)
    if animal:
        rest = table["animal"]["words"].get(rest, rest)
    return f"{side} {rest}".strip()


def limb_between(first: str, second: str, *, animal: bool) -> tuple[str, float] | None:
    """What lies between two joints, given by their words, and half its width as a share of its length.

    None where that is no limb. A pair that the table does not know is a "stretch between the handle and the tip".
    """
    table = read_table(TABLE)["animal" if animal else "person"]
    sides, bases = zip(*(_sided(joint) for joint in (first, second)), strict=True)
    told = {side for side in sides if side}
    pair = set(bases)
    if any(pair == set(joints.split(", ")) for joints in table["no_limbs"]):
        return None
    for joints, (name, half_width) in table["limbs"].items():
        if pair == set(joints.split(", ")):
            return None if len(told) > 1 else (" ".join([*told, name]), half_width)
    return f"stretch between the {first} and the {second}", UNKNOWN_HALF_WIDTH


def _sided(joint: str) -> tuple[str, str]:
    first, _, rest = joint.partition(" ")
    return (first, rest) if first in ("left", "right") else ("", joint)


def limb_parts(
    skeleton: Skeleton, visible: Mapping[str, Point], has_mask: bool, size_wh: tuple[int, int]
) -> list[NamedMask]:
    """The torso and the limbs whose joints are all visible, longer limbs first; wider where a mask will cut them."""
    parts: list[NamedMask] = []
    if skeleton.is_person and skeleton.edges and visible.keys() >= set(TORSO):
        parts.append(("torso", hull(size_wh, [visible[name] for name in TORSO])))
    limbs = []
    for first, second in ((skeleton.joints[a], skeleton.joints[b]) for a, b in skeleton.edges):
        limb = limb_between(first, second, animal=not skeleton.is_person)
        if limb is not None and first in visible and second in visible:
            length = math.dist(visible[first], visible[second])
            radius = limb[1] * length * (MASKED_LIMB if has_mask else 1)
            limbs.append((length, (limb[0], capsule(size_wh, visible[first], visible[second], radius))))
    limbs.sort(key=lambda limb: -limb[0])
    return parts + [limb for _, limb in limbs]


def joint_parts(
    visible: Mapping[str, Point],
    labelled: Sequence[Point],
    box: Box,
    size_wh: tuple[int, int],
    *,
    without: Collection[str] = (),
) -> list[NamedMask]:
    """A disc around each visible joint, but for those `without`; `labelled` are the places of hidden ones, too."""
    parts = []
    for name, point in visible.items():
        gaps = sorted(math.dist(point, other) for other in labelled)[1:2]
        radius = min([JOINT_SHARE * math.sqrt(box_area(box)), *(JOINT_GAP_SHARE * gap for gap in gaps)])
        if name not in without and radius > 0:
            parts.append((name, disc(size_wh, point, radius)))
    return parts
