"""Objects in COCO's form: people and animals with joints, things with masks, cats with heads, houses with windows.

What a photo's labels become: a visible joint is a small disc, a limb between two of them a capsule, a mask without
parts the object itself. Larger objects first, smaller ones over them; what is in front keeps its pixels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.names import called
from talking_points.dataset.places import Box
from talking_points.dataset.problems import LabelError, Problem, refuse
from talking_points.dataset.scene import ObjectLabel, Scene, make_scene
from talking_points.dataset.sources.coco import (
    CROWD_NOTE,
    CocoFile,
    CocoFrame,
    CocoPhoto,
    category_name,
    frame_of_photo,
    id_of,
    is_crowd,
    read_coco,
)
from talking_points.dataset.sources.coco_layouts import find_split
from talking_points.dataset.sources.landmarks import (
    FACE,
    NOTHING_FOUND,
    Body,
    PhotoLandmarks,
    face_parts,
    hand_parts,
    hand_side,
    is_of_hand,
    owner_of_face,
    owner_of_hand,
    read_landmarks,
)
from talking_points.dataset.sources.reading import find_photos, of_split, read_turned_photo
from talking_points.dataset.sources.shapes import Point, capsule, disc, ellipse, hull, rectangle
from talking_points.dataset.sources.skeletons import PEOPLE, joint_words, limb_between, torso_corners
from talking_points.dataset.sources.source import Source

PART = "part"
"""The supercategory of what is part of another object, as the "head" of a cat."""

PARTS_OF = {"window": "facade", "balcony fence": "facade", "balcony": "facade", "shop": "facade", "door": "facade"}
"""Categories that are parts of another one, in files which have that other one."""

NOBODY_SAYS = frozenset({"traffic infrastructure", "non building infrastructure", "sky", "roof"})
"""Categories whose pixels are nobody's: no person says so of a thing, and what stands behind them is not seen there."""

ENDLESS = frozenset({"vegetation", "fence", "street"})
"""Categories whose outlines are no things that anybody would count."""

JOINT_SHARE = 0.03
"""Radius of a joint's disc, as a share of the square root of its object's box."""
JOINT_GAP_SHARE = 0.35
"""And at most this share of the distance to the nearest labelled joint."""
JOINT_SLACK_PX = 2.0
"""A joint this far outside its object's mask is still on it: masks are drawn with few corners."""
MASKED_LIMB = 1.5
"""Limbs are drawn this much wider where a mask cuts them."""
MOST = 0.5
"""A part is in the object that holds more than this share of it."""
ASPECT_TOLERANCE = 0.02
"""A photo of another size than the JSON says is read when the aspect ratios agree within this share."""

LABELLED, VISIBLE = 1, 2

FEW = 50
"""So many annotations of a class, all of them with joints, are no chance: those without were taken out of the file."""
CHOSEN_NOTE = "no order told of a class of which the file has only those with joints"
LABELLED_NOTE = "joints marked 1 (labelled) taken for visible, as no joint in the file is marked 2"
OUTSIDE_NOTE = "a joint outside its object's mask"
LONELY_NOTE = "a part that is in no object"


def open_coco(folder: Path, split: str) -> Source:
    """Objects with masks, joints, boxes or parts, in any of these layouts:

        {train,test}/annotations.json, {train,test}/images/NAME.jpg                     people's own
        annotations/{instances,person_keypoints}_{train,val}2017.json, {train,val}2017/  COCO's, of any year; one file
                                                                                        of the two is enough
        {train,valid,test}/_annotations.coco.json, photos beside it                     Roboflow's
        annotations.json, images/NAME.jpg                                               no test split
        {trainingset,testset}/annotations.json, {trainingset,testset}/JPEGImages/       Car-Parts' originals

    "test" is COCO's val, and the second one of two splits. "val" is Roboflow's valid where there is a test, else it is
    held out of "train".

    Joints: those marked 2 are visible and are parts; those marked 1 are hidden and are not, nor are limbs that end in
    one. In a file that marks none with 2, 1 is visible. A category whose supercategory is "part" is part of the object
    with the same "object_id" or, without this key, of the smallest object that holds most of it. A "breed" or
    "species" of an annotation, or of a photo of one object, is told. `landmarks.json` beside the annotations gives
    people a face and hands, see `landmarks`. An object with a box alone is counted and has no part. Crowd regions are
    no objects. Photos without annotations are not listed.

    Raises:
        LabelError, ValueError: an annotation file is not COCO's, or there is nothing to test on.
        FileNotFoundError: there is no annotation file where one could lie.
    """
    files = find_split(folder, split)
    labels = _joined([read_coco(path, lenient=True) for path in files.annotations])
    skeletons = {number: _skeleton(labels.path, category) for number, category in labels.categories.items()}
    marks = _marks(labels)
    listed = [
        photo_id
        for photo_id, photo in labels.photos.items()
        if (photo.annotations or photo.problems) and (not files.holds_out or of_split(photo_id, split))
    ]
    reading = _Reading(
        labels=labels,
        paths=find_photos(files.photos, {photo_id: labels.photos[photo_id].file_name for photo_id in listed}),
        dataset=folder.name,
        skeletons=skeletons,
        chosen=_chosen(labels),
        visible_from=LABELLED if LABELLED in marks and VISIBLE not in marks else VISIBLE,
        landmarks=read_landmarks(files.folder / "landmarks.json"),
    )
    return Source(
        name="coco",
        folder=folder,
        split=split,
        photo_ids=tuple(sorted(listed)),
        read=partial(_read_scene, reading),
        photo_path=reading.paths.__getitem__,
        problems=labels.problems,
        refused=labels.refused,
    )


def _marks(labels: CocoFile) -> set[int]:
    """Which marks of labelled joints a file has, of 1 and 2."""
    lists = (one.get("keypoints") for photo in labels.photos.values() for one in photo.annotations)
    return {mark for numbers in lists if isinstance(numbers, list) for mark in numbers[2::3] if mark in (1, 2)}


def _chosen(labels: CocoFile) -> frozenset[str]:
    """Names of the classes of which all annotations, and many, have joints."""
    count: Counter[int] = Counter()
    jointed: Counter[int] = Counter()
    for photo in labels.photos.values():
        for annotation in photo.annotations:
            numbers = annotation.get("keypoints")
            number = int(annotation["category_id"])
            count[number] += 1
            jointed[number] += isinstance(numbers, list) and any(numbers[2::3]) and not is_crowd(annotation)
    return frozenset(
        str(labels.categories[number]["name"])
        for number, of_class in count.items()
        if number in labels.categories and of_class >= FEW and jointed[number] == of_class
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Skeleton:
    """Joints of a category and which of them are joined."""

    joints: tuple[str, ...]
    """In words."""
    edges: tuple[tuple[int, int], ...]
    """Pairs of indices into `joints`."""
    is_person: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """All that photos are read with."""

    labels: CocoFile
    paths: Mapping[str, Path]
    """Of the photos, by id."""
    dataset: str
    skeletons: Mapping[int, Skeleton]
    chosen: frozenset[str]
    """Classes of which the file has only those with joints: there may be more of them in a photo."""
    visible_from: int
    landmarks: Mapping[str, PhotoLandmarks]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Thing:
    """An annotation on its way to an object or a part, in pixels of the photo."""

    name: str
    """As the file calls its category."""
    annotation: dict[str, Any]
    mask: np.ndarray | None
    box_xyxy: Box | None
    skeleton: Skeleton | None = None
    visible: Mapping[str, Point] = field(default_factory=dict)
    labelled: tuple[Point, ...] = ()
    """Visible joints and hidden ones."""
    parts: tuple[tuple[str, np.ndarray], ...] = ()
    """Parts by category, larger first."""

    @property
    def size(self) -> float:
        """By which things lie over each other: pixels of the mask, or what a body fills of its box."""
        if self.mask is not None:
            return float(self.mask.sum())
        return 0.5 * _area(self.box_xyxy) if self.box_xyxy else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _joined(files: Sequence[CocoFile]) -> CocoFile:
    """The files as one: annotations and categories of the same id have the keys of both."""
    first, *others = files
    for other in others:
        photos = dict(first.photos)
        for name, photo in other.photos.items():
            known = photos.get(name)
            by_id = {one.get("id", f"unnamed {k}"): one for k, one in enumerate(known.annotations if known else ())}
            for number, one in enumerate(photo.annotations, start=len(by_id)):
                key = one.get("id", f"unnamed {number}")
                by_id[key] = by_id.get(key, {}) | one
            photos[name] = CocoPhoto(
                file_name=photo.file_name,
                size_wh=photo.size_wh,
                annotations=tuple(by_id.values()),
                problems=(*(known.problems if known else ()), *photo.problems),
                record=photo.record | (known.record if known else {}),
            )
        categories = {
            number: first.categories.get(number, {}) | other.categories.get(number, {})
            for number in first.categories.keys() | other.categories.keys()
        }
        first = CocoFile(
            path=first.path,
            categories=categories,
            photos=photos,
            problems=(*first.problems, *other.problems),
            refused=(*first.refused, *other.refused),
            labels_frame=first.labels_frame or other.labels_frame,
        )
    return first


def _skeleton(path: Path, category: Mapping[str, Any]) -> Skeleton:
    names = category.get("keypoints") or []
    pairs = category.get("skeleton") or []
    record = f'category "{category.get("name")}"'
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refuse(path, record, "its keypoints are no list of names", 'give a list as ["left eye", ...]')
    if not all(isinstance(pair, list) and len(pair) == 2 and all(isinstance(k, int) for k in pair) for pair in pairs):
        raise refuse(path, record, "its skeleton is no list of pairs", "give a list as [[1, 2], ...], or take it away")
    # COCO counts joints from 1; some exporters count from 0, which shows where the first one is joined.
    first = 0 if any(0 in pair for pair in pairs) else 1
    edges = [(a - first, b - first) for a, b in pairs]
    for edge in edges:
        if not all(0 <= k < len(names) for k in edge):
            pair = [k + first for k in edge]
            raise refuse(path, record, f"its skeleton joins {pair}, it has {len(names)} joints", "mend the pair")
    is_person = str(category.get("name", "")).lower() in PEOPLE
    joints = tuple(joint_words(name, animal=not is_person) for name in names)
    return Skeleton(joints=joints, edges=tuple(edges), is_person=is_person)


def _read_scene(reading: _Reading, photo_id: str) -> Scene:
    path = reading.paths[photo_id]
    photo, orientation = read_turned_photo(path)
    size_wh = (photo.shape[1], photo.shape[0])
    stated = reading.labels.photos[photo_id]
    frame = frame_of_photo(reading.labels, photo_id, path, photo, orientation, tolerance=ASPECT_TOLERANCE)
    things: list[_Thing] = []
    uncounted: set[str] = set()
    problems: list[Problem] = list(stated.problems)
    notes: list[str] = list(frame.notes)
    for annotation in stated.annotations:
        name = category_name(reading.labels, annotation)
        if is_crowd(annotation):
            uncounted.add(called(name))
            notes.append(CROWD_NOTE)
            continue
        try:
            things.append(_thing(reading, annotation, frame, size_wh, problems, notes))
        except LabelError as error:
            problems += error.problems
    uncounted |= {called(thing.name) for thing in things if thing.name in ENDLESS}
    for name in {thing.name for thing in things} & reading.chosen:
        uncounted.add(called(name))
        notes.append(CHOSEN_NOTE)
    names = {str(category.get("name")) for category in reading.labels.categories.values()}
    objects, lonely = _with_parts(reading.labels, things, names, size_wh)
    notes += [LONELY_NOTE] * lonely
    # What nobody says covers what is behind it, so it is painted with the rest.
    objects.sort(key=lambda thing: -thing.size)
    said = [thing for thing in objects if thing.name not in NOBODY_SAYS]
    painting = _Painting(size_wh)
    found = reading.landmarks.get(path.name, NOTHING_FOUND)
    extra = _landmark_parts(found, said, size_wh)
    for thing in objects:
        if thing.name in NOBODY_SAYS:
            if thing.mask is not None:
                painting.clear(thing.mask)
        else:
            number = next(k for k, other in enumerate(said) if other is thing)
            _paint(painting, number, thing, extra.get(number, ()), size_wh)
    breed = stated_breed(stated.record) if len(said) == 1 else ""
    return make_scene(
        photo,
        painting.part_map,
        painting.names,
        painting.owners,
        [_label(thing, breed) for thing in said],
        source=reading.dataset,
        photo_id=photo_id,
        object_map=painting.object_map,
        uncounted=frozenset(uncounted),
        problems=problems,
        notes=notes,
    )


def stated_breed(record: Mapping[str, Any]) -> str:
    """ "breed" or "species" of a photo or an annotation, in words; "" where neither is a text."""
    value = next((record[key] for key in ("breed", "species") if isinstance(record.get(key), str)), "")
    return " ".join(value.replace("_", " ").lower().split())


def _label(thing: _Thing, breed_of_photo: str) -> ObjectLabel:
    name = called(thing.name)
    breed = stated_breed(thing.annotation) or breed_of_photo
    return ObjectLabel(
        name=name,
        breed="" if breed == name.lower() else breed,
        box_xyxy=thing.box_xyxy,
        outlined=thing.mask is not None,
    )


# --- from annotations to things -------------------------------------------------------------------------------


def _thing(
    reading: _Reading,
    annotation: dict[str, Any],
    frame: CocoFrame,
    size_wh: tuple[int, int],
    problems: list[Problem],
    notes: list[str],
) -> _Thing:
    """An annotation in pixels of the photo. `problems` and `notes` get what there is to say of it.

    Raises:
        LabelError: nothing of it can be used.
    """
    labels = reading.labels
    record = f"annotation {annotation.get('id')} of {frame.photo_name}"
    box = _box(record, annotation, frame)
    mask = None
    # Exporters write [[]] for what has a box alone.
    if _has_outline(annotation.get("segmentation")):
        try:
            mask = frame.mask(annotation)
        except LabelError as error:
            # With a box it is still one to be counted, and may have joints.
            if box is None:
                raise
            problems += error.problems
    skeleton = reading.skeletons[int(annotation["category_id"])]
    visible: dict[str, Point] = {}
    labelled: list[Point] = []
    for name, point, mark in _joints(record, annotation, skeleton, frame, size_wh):
        labelled.append(point)
        if mark < reading.visible_from:
            continue
        if reading.visible_from == LABELLED and LABELLED_NOTE not in notes:
            notes.append(LABELLED_NOTE)
        if mask is not None and not (disc(size_wh, point, JOINT_SLACK_PX) & mask).any():
            notes.append(OUTSIDE_NOTE)
            continue
        visible[name] = point
    if box is None and mask is None and visible:
        x, y = np.asarray(labelled).T
        box = (float(x.min()), float(y.min()), float(x.max()) + 1, float(y.max()) + 1)
    return _Thing(
        name=category_name(labels, annotation).replace("_", " "),
        annotation=annotation,
        mask=mask,
        box_xyxy=box,
        skeleton=skeleton,
        visible=visible,
        labelled=tuple(labelled),
    )


def _has_outline(segmentation: Any) -> bool:
    return any(segmentation) if isinstance(segmentation, list) else bool(segmentation)


def _box(record: str, annotation: Mapping[str, Any], frame: CocoFrame) -> Box | None:
    numbers = annotation.get("bbox")
    if not numbers:
        return None
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(_is_number(value) for value in numbers):
        problem = f"its bbox is {str(numbers)[:60]}"
        raise refuse(frame.file, record, problem, "give x, y, width, height, or take it away")
    return frame.box(numbers) if numbers[2] > 0 and numbers[3] > 0 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _joints(
    record: str, annotation: Mapping[str, Any], skeleton: Skeleton, frame: CocoFrame, size_wh: tuple[int, int]
) -> list[tuple[str, Point, int]]:
    """Labelled joints: words, place in the photo, mark."""
    numbers = annotation.get("keypoints") or []
    if not numbers:
        return []
    if not skeleton.joints:
        problem = "it has keypoints and its category has no names of them"
        raise refuse(frame.file, record, problem, 'give the category its "keypoints", or take these away')
    if not isinstance(numbers, list) or len(numbers) != 3 * len(skeleton.joints):
        count = len(numbers) if isinstance(numbers, list) else 0
        problem = f"{count} numbers of keypoints, expected 3 for each of {len(skeleton.joints)} names"
        raise refuse(frame.file, record, problem, "give x, y and visibility of each, zeros for those not labelled")
    width, height = size_wh
    joints = []
    for name, x, y, mark in zip(skeleton.joints, numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        if mark not in (0, LABELLED, VISIBLE):
            raise refuse(frame.file, record, f"visibility of {name} is {str(mark)[:40]}", "give 0, 1 or 2")
        if not mark:
            continue
        if not _is_number(x) or not _is_number(y):
            raise refuse(frame.file, record, f"{name} is at [{str(x)[:20]}, {str(y)[:20]}]", "give finite numbers")
        # The file counts pixels; the point is the pixel's centre, and on the border that of the last one.
        right, down = frame.points(np.array([[x + 0.5, y + 0.5]]))[0].tolist()
        if not (0 <= right <= width + 0.5 and 0 <= down <= height + 0.5):
            raise refuse(frame.file, record, f"{name} [{x}, {y}] is outside the photo", "mark it 0, or mend its place")
        joints.append((name, (min(right, width - 0.5), min(down, height - 0.5)), int(mark)))
    return joints


# --- parts by category ----------------------------------------------------------------------------------------


def _with_parts(
    labels: CocoFile, things: Sequence[_Thing], names: set[str], size_wh: tuple[int, int]
) -> tuple[list[_Thing], int]:
    """Objects with the things that are parts of them; and how many parts are in no object."""

    def owner_class(thing: _Thing) -> str | None:
        """The class of what a thing is part of, "" for any, None for an object."""
        category = labels.categories[int(thing.annotation["category_id"])]
        if category.get("supercategory") == PART:
            return ""
        wanted = PARTS_OF.get(thing.name)
        return wanted if wanted in names else None

    objects = [thing for thing in things if owner_class(thing) is None]
    parts: dict[int, list[tuple[str, np.ndarray]]] = {}
    lonely = 0
    for thing in things:
        wanted = owner_class(thing)
        if wanted is None:
            continue
        k = _owner(thing, objects, wanted)
        if k is None:
            lonely += 1
            continue
        pixels = _part_pixels(thing, objects[k], size_wh)
        if pixels is not None:
            parts.setdefault(k, []).append((called(thing.name), pixels))
    with_parts = []
    for k, thing in enumerate(objects):
        own = sorted(parts.get(k, []), key=lambda part: -int(part[1].sum()))
        with_parts.append(replace(thing, parts=tuple(own)))
    return with_parts, lonely


def _owner(part: _Thing, objects: Sequence[_Thing], wanted: str) -> int | None:
    number = id_of(part.annotation.get("object_id"))
    if number is not None:
        return next((k for k, thing in enumerate(objects) if id_of(thing.annotation.get("object_id")) == number), None)
    holders = [
        (thing.size, k)
        for k, thing in enumerate(objects)
        if (not wanted or thing.name == wanted) and _share_inside(part, thing) > MOST
    ]
    return min(holders)[1] if holders else None


def _share_inside(part: _Thing, thing: _Thing) -> float:
    """How much of a part is inside an object: of pixels where both have them, of boxes otherwise."""
    if part.mask is not None and thing.mask is not None:
        return float((part.mask & thing.mask).sum() / part.mask.sum())
    inner, outer = (one.box_xyxy or _box_of(one.mask) for one in (part, thing))
    if inner is None or outer is None or not _area(inner):
        return 0.0
    common = (max(inner[0], outer[0]), max(inner[1], outer[1]), min(inner[2], outer[2]), min(inner[3], outer[3]))
    return _area(common) / _area(inner)


def _box_of(mask: np.ndarray | None) -> Box | None:
    if mask is None:
        return None
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _part_pixels(part: _Thing, owner: _Thing, size_wh: tuple[int, int]) -> np.ndarray | None:
    """The part's mask; of a box what the owner's mask leaves of it, or the ellipse in it."""
    if part.mask is not None:
        return part.mask
    if part.box_xyxy is None:
        return None
    if owner.mask is None:
        return ellipse(size_wh, part.box_xyxy)
    inside = rectangle(size_wh, part.box_xyxy) & owner.mask
    return inside if inside.any() else None


# --- painting -------------------------------------------------------------------------------------------------


class _Painting:
    """The maps of a scene while objects are painted over each other."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        self.size_wh = size_wh
        self.part_map = np.zeros(size_wh[::-1], dtype=np.int16)
        self.object_map = np.zeros(size_wh[::-1], dtype=np.int16)
        self.names: list[str] = []
        self.owners: list[int] = []

    def clear(self, mask: np.ndarray) -> None:
        """Make pixels nobody's."""
        self.part_map[mask] = 0
        self.object_map[mask] = 0

    def part(self, owner: int, name: str, mask: np.ndarray, *, joins: bool = False) -> None:
        """Paint a part over all else; with `joins`, pixels of equal names of an object are one part."""
        known = [k for k, one in enumerate(self.names) if joins and one == name and self.owners[k] == owner]
        if not known:
            self.names.append(name)
            self.owners.append(owner)
            known = [len(self.names) - 1]
        self.part_map[mask] = known[0] + 1
        self.object_map[mask] = owner + 1


def _paint(
    painting: _Painting,
    number: int,
    thing: _Thing,
    found: Sequence[tuple[str, np.ndarray]],
    size_wh: tuple[int, int],
) -> None:
    """Paint an object: itself, its labelled parts, limbs, joints, and on top what landmarks show."""
    if thing.mask is not None:
        painting.part(number, called(thing.name), thing.mask)
    for name, mask in thing.parts:
        painting.part(number, name, mask)
    faces = [layer for layer in found if not is_of_hand(layer[0])]
    joints = joint_parts(thing, size_wh, without={name for name, _ in found})
    layers = [
        *limb_parts(thing.skeleton, thing.visible, thing.mask is not None, size_wh),
        *[layer for layer in faces if layer[0] == FACE],
        *[layer for layer in joints if not layer[0].endswith("wrist")],
        *[layer for layer in faces if layer[0] != FACE],
        # A hand is in front of the face that it holds, whatever joints are said to be visible behind it.
        *[layer for layer in found if is_of_hand(layer[0])],
        *[layer for layer in joints if layer[0].endswith("wrist")],
    ]
    for name, mask in layers:
        painting.part(number, name, mask if thing.mask is None else mask & thing.mask, joins=True)


def limb_parts(
    skeleton: Skeleton | None, visible: Mapping[str, Point], has_mask: bool, size_wh: tuple[int, int]
) -> list[tuple[str, np.ndarray]]:
    """The torso and the limbs whose joints are all visible, longer limbs first.

    Args:
        skeleton: of the object's category.
        visible: place of each visible joint, in pixels of the photo.
        has_mask: a mask will cut them, so they may be drawn wider.
        size_wh: of the photo.
    """
    if skeleton is None:
        return []
    parts: list[tuple[str, np.ndarray]] = []
    corners = torso_corners(tuple(visible)) if skeleton.is_person and skeleton.edges else None
    if corners is not None:
        parts.append(("torso", hull(size_wh, [visible[name] for name in corners])))
    limbs = []
    for a, b in skeleton.edges:
        first, second = skeleton.joints[a], skeleton.joints[b]
        if first in visible and second in visible:
            limb = limb_between(first, second, animal=not skeleton.is_person)
            if limb is not None:
                length = math.dist(visible[first], visible[second])
                radius = limb.half_width * length * (MASKED_LIMB if has_mask else 1)
                limbs.append((length, limb.name, capsule(size_wh, visible[first], visible[second], radius)))
    limbs.sort(key=lambda limb: -limb[0])
    return parts + [(name, mask) for _, name, mask in limbs]


def joint_parts(
    thing: _Thing, size_wh: tuple[int, int], without: AbstractSet[str] = frozenset()
) -> list[tuple[str, np.ndarray]]:
    """A disc around each visible joint, but for those named in `without`, which are told better."""
    box = thing.box_xyxy or _box_of(thing.mask)
    if box is None:
        return []
    parts = []
    for name, point in thing.visible.items():
        gaps = sorted(math.dist(point, other) for other in thing.labelled)[1:2]
        radius = min([JOINT_SHARE * math.sqrt(_area(box)), *(JOINT_GAP_SHARE * gap for gap in gaps)])
        if name not in without and radius > 0:
            parts.append((name, disc(size_wh, point, radius)))
    return parts


def _landmark_parts(
    found: PhotoLandmarks, objects: Sequence[_Thing], size_wh: tuple[int, int]
) -> dict[int, list[tuple[str, np.ndarray]]]:
    """Parts of faces and hands, by the number of the person that they belong to."""
    people = [k for k, thing in enumerate(objects) if thing.name.lower() in PEOPLE]
    bodies = [
        Body(
            mask=objects[k].mask,
            box_xyxy=objects[k].box_xyxy or _box_of(objects[k].mask) or (0, 0, 0, 0),
            joints=objects[k].visible,
            has_joints=bool(objects[k].labelled),
        )
        for k in people
    ]
    parts: dict[int, list[tuple[str, np.ndarray]]] = {}
    with_face: set[int] = set()
    for face in found.faces:
        owner = owner_of_face(face, bodies, size_wh)
        if owner is not None and owner not in with_face:
            with_face.add(owner)
            parts.setdefault(people[owner], []).extend(face_parts(face, size_wh, bodies[owner]))
    for hand in found.hands:
        owner = owner_of_hand(hand, bodies)
        if owner is not None:
            joints = bodies[owner].joints
            wrists = {side: joints[f"{side} wrist"] for side in ("left", "right") if f"{side} wrist" in joints}
            parts.setdefault(people[owner], []).extend(hand_parts(hand, hand_side(hand, wrists), size_wh))
    return parts
