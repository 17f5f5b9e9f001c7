"""Objects in COCO's form: people and animals with joints, things with masks, cats with heads, houses with windows.

A mask without parts is the object itself. Larger objects are painted first, smaller ones over them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.scene import Scene, SceneObject, box_area
from talking_points.dataset.sources.coco import open_split
from talking_points.dataset.sources.coco_masks import ASPECT_TOLERANCE, CocoFrame, frame_of_photo
from talking_points.dataset.sources.coco_parts import whole_objects
from talking_points.dataset.sources.landmarks import (
    FACE,
    NOTHING_FOUND,
    Body,
    PhotoLandmarks,
    is_of_hand,
    landmark_parts,
    read_landmarks,
)
from talking_points.dataset.sources.painting import NamedMask, Painting, box_of_mask, ellipse, is_near, rectangle
from talking_points.dataset.sources.reading import read_photo
from talking_points.dataset.sources.skeletons import (
    LABELLED,
    VISIBLE,
    Skeleton,
    is_person,
    joint_parts,
    limb_parts,
    read_joints,
    read_skeleton,
)
from talking_points.dataset.sources.source import Source
from talking_points.dataset.wordings import NAMES, called
from talking_points.files import read_table
from talking_points.labels.coco import CROWD_NOTE, CocoFile, bbox_of, id_of, is_crowd, record_of
from talking_points.labels.problems import LabelError, Problem
from talking_points.points import Box, Point

PART = "part"
"""The supercategory of what is part of another object, as the "head" of a cat."""

JOINT_SLACK_PX = 2.0
"""A joint this far outside its object's mask is still on it: masks are drawn with few corners."""
MOST = 0.5
"""A part is in the object that holds more than this share of it."""

FEW = 50
"""So many annotations of a class, all of them with joints, are no chance: those without were taken out of the file."""
CHOSEN_NOTE = "no order told of a class of which the file has only those with joints"
LABELLED_NOTE = "joints marked 1 (labelled) taken for visible, as no joint in the file is marked 2"
OUTSIDE_NOTE = "a joint outside its object's mask"
LONELY_NOTE = "a part that is in no object"
PARTS_NOTE = (
    'a file whose categories look like parts, as each has an object for its "supercategory": they are read as whole '
    "objects; to read parts give --source coco-parts=DIR"
)


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
    labels, paths = open_split(folder, split)
    marks: dict[int, list[list[Any]]] = defaultdict(list)
    for annotation in (one for photo in labels.photos.values() for one in photo.annotations):
        numbers = annotation.get("keypoints")
        of_joints = numbers[2::3] if isinstance(numbers, list) else []
        marks[annotation["category_id"]].append([] if is_crowd(annotation) else of_joints)
    all_marks = {mark for some in marks.values() for one in some for mark in one if mark in (LABELLED, VISIBLE)}
    reading = _Reading(
        labels=labels,
        paths=paths,
        dataset=folder.name or folder.resolve().name,
        skeletons={number: read_skeleton(labels.path, one) for number, one in labels.categories.items()},
        chosen=frozenset(
            str(one["name"])
            for number, one in labels.categories.items()
            if len(marks[number]) >= FEW and all(any(of_joints) for of_joints in marks[number])
        ),
        visible_from=LABELLED if all_marks == {LABELLED} else VISIBLE,
        landmarks=read_landmarks(labels.path.parent / "landmarks.json"),
    )
    return Source(
        paths=paths,
        read=partial(_read_scene, reading),
        problems=labels.problems,
        refused=labels.refused,
        notes=() if whole_objects(labels) or not paths else (PARTS_NOTE,),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """All that photos are read with."""

    labels: CocoFile
    paths: Mapping[str, Path]
    dataset: str
    skeletons: Mapping[int, Skeleton]
    chosen: frozenset[str]
    """Classes of which the file has only those with joints: there may be more of them in a photo."""
    visible_from: int
    landmarks: Mapping[str, PhotoLandmarks]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Thing(Body):
    """An annotation on its way to an object or a part, in pixels of the photo; its box is empty where it has none."""

    name: str
    """As the file calls its category."""
    category: dict[str, Any]
    annotation: dict[str, Any]
    own_box: Box | None
    """As labelled, or around its joints where it has no mask, either."""
    skeleton: Skeleton
    labelled: Sequence[Point]
    """Visible joints and hidden ones."""
    problems: Sequence[Problem]
    notes: Sequence[str]
    """What was left out of it, and why."""
    parts: list[NamedMask] = field(default_factory=list)
    """Parts by category, got from `_with_parts`."""

    @property
    def size(self) -> float:
        """By which things lie over each other: pixels of the mask, or what a body fills of its box."""
        if self.mask is not None:
            return float(self.mask.sum())
        return 0.5 * box_area(self.own_box) if self.own_box else 0.0


def _read_scene(reading: _Reading, photo_id: str) -> Scene:
    labels = reading.labels
    stated, photo = labels.photos[photo_id], read_photo(reading.paths[photo_id])
    frame = frame_of_photo(labels, photo_id, photo, tolerance=ASPECT_TOLERANCE)
    things: list[_Thing] = []
    uncounted: set[str] = set()
    problems, notes = list(stated.problems), list(frame.notes)
    for annotation in stated.annotations:
        category = labels.category_of(annotation)
        if is_crowd(annotation):
            uncounted.add(called(str(category["name"])))
            notes.append(CROWD_NOTE)
            continue
        try:
            thing = _thing(reading, annotation, category, frame)
        except LabelError as error:
            problems += error.problems
            continue
        things.append(thing)
        problems += thing.problems
        notes += [note for note in thing.notes if note != LABELLED_NOTE or note not in notes]
    buildings = read_table(NAMES)["buildings"]
    uncounted |= {called(thing.name) for thing in things if thing.name in buildings["endless"]}
    for name in {thing.name for thing in things} & reading.chosen:
        uncounted.add(called(name))
        notes.append(CHOSEN_NOTE)
    names = {str(category.get("name")) for category in labels.categories.values()}
    objects, lonely = _with_parts(things, names, photo.size_wh)
    notes += [LONELY_NOTE] * lonely
    objects.sort(key=lambda thing: -thing.size)
    said = [thing for thing in objects if thing.name not in buildings["nobody_says"]]
    painting = Painting(photo.size_wh, with_objects=True)
    people = [thing for thing in said if is_person(thing.name)]
    found = reading.landmarks.get(photo.path.name, NOTHING_FOUND)
    extra = {people[k]: parts for k, parts in landmark_parts(found, people, photo.size_wh).items()}
    for thing in objects:
        if thing in said:
            _paint(painting, said.index(thing), thing, extra.get(thing, ()), photo.size_wh)
        elif thing.mask is not None:
            # What nobody says covers what is behind it.
            painting.clear(thing.mask)
    breed = _stated_breed(stated.record) if len(said) == 1 else ""
    return painting.scene(
        photo.pixels,
        [_label(thing, breed) for thing in said],
        source=reading.dataset,
        photo_id=photo_id,
        uncounted=frozenset(uncounted),
        problems=problems,
        notes=notes,
    )


def _stated_breed(record: Mapping[str, Any]) -> str:
    """ "breed" or "species" of a photo or an annotation, in words; "" where neither is a text."""
    value = next((record[key] for key in ("breed", "species") if isinstance(record.get(key), str)), "")
    return " ".join(value.replace("_", " ").lower().split())


def _label(thing: _Thing, breed_of_photo: str) -> SceneObject:
    name = called(thing.name)
    breed = _stated_breed(thing.annotation) or breed_of_photo
    return SceneObject(
        name=name,
        breed="" if breed == name.lower() else breed,
        box_xyxy=thing.box_xyxy,
        has_own_box=thing.own_box is not None,
        outlined=thing.mask is not None,
    )


# --- from annotations to things -------------------------------------------------------------------------------


def _thing(reading: _Reading, annotation: dict[str, Any], category: dict[str, Any], frame: CocoFrame) -> _Thing:
    """An annotation in pixels of the photo; LabelError where nothing of it can be used."""
    record = record_of(annotation, frame.photo_name)
    bbox = bbox_of(frame.file, record, annotation)
    box = None if bbox is None else frame.box(bbox)
    mask = None
    problems: Sequence[Problem] = ()
    outline = annotation.get("segmentation")
    # Exporters write [[]] for what has a box alone.
    if any(outline) if isinstance(outline, list) else outline:
        try:
            mask = frame.mask(annotation)
        except LabelError as error:
            # With a box it is still one to be counted, and may have joints.
            if box is None:
                raise
            problems = error.problems
    skeleton = reading.skeletons[int(annotation["category_id"])]
    joints = read_joints(record, annotation, skeleton, frame)
    seen = [joint for joint in joints if joint.mark >= reading.visible_from]
    on_it = [joint for joint in seen if mask is None or is_near(mask, joint.point, JOINT_SLACK_PX)]
    notes = [LABELLED_NOTE] if seen and reading.visible_from == LABELLED else []
    notes += [OUTSIDE_NOTE] * (len(seen) - len(on_it))
    if box is None and mask is None and on_it:
        x, y = np.asarray([joint.point for joint in joints]).T
        box = (float(x.min()), float(y.min()), float(x.max()) + 1, float(y.max()) + 1)
    return _Thing(
        name=str(category["name"]).replace("_", " "),
        category=category,
        annotation=annotation,
        mask=mask,
        box_xyxy=box or ((0, 0, 0, 0) if mask is None else box_of_mask(mask)),
        own_box=box,
        skeleton=skeleton,
        joints={joint.name: joint.point for joint in on_it},
        has_joints=bool(joints),
        labelled=[joint.point for joint in joints],
        problems=problems,
        notes=notes,
    )


# --- parts by category ----------------------------------------------------------------------------------------


def _with_parts(things: Sequence[_Thing], names: set[str], size_wh: tuple[int, int]) -> tuple[list[_Thing], int]:
    """The objects, with the things that are parts of them, larger first; and how many parts are in no object.

    `names`: of the categories. A window is part of a facade in files that have facades.
    """
    parts_of = read_table(NAMES)["buildings"]["parts_of"]
    wanted = {thing: parts_of[thing.name] for thing in things if parts_of.get(thing.name) in names}
    wanted |= {thing: "" for thing in things if thing.category.get("supercategory") == PART}
    objects = [thing for thing in things if thing not in wanted]
    lonely = 0
    for thing in (one for one in things if one in wanted):
        owner = _owner(thing, objects, wanted[thing])
        if owner is None:
            lonely += 1
        elif (pixels := _part_pixels(thing, owner, size_wh)) is not None:
            owner.parts.append((called(thing.name), pixels))
    for thing in objects:
        thing.parts.sort(key=lambda part: -int(part[1].sum()))
    return objects, lonely


def _owner(part: _Thing, objects: Sequence[_Thing], wanted: str) -> _Thing | None:
    """The object with the part's number or, without one, the smallest of the class `wanted` that holds most of it."""
    number = id_of(part.annotation.get("object_id"))
    if number is not None:
        return next((thing for thing in objects if id_of(thing.annotation.get("object_id")) == number), None)
    holders = [one for one in objects if (not wanted or one.name == wanted) and _share_inside(part, one) > MOST]
    return min(holders, key=lambda thing: thing.size, default=None)


def _share_inside(part: _Thing, thing: _Thing) -> float:
    """How much of a part is inside an object: of pixels where both have them, of boxes otherwise."""
    if part.mask is not None and thing.mask is not None:
        return float((part.mask & thing.mask).sum() / part.mask.sum())
    (ax, ay, bx, by), (cx, cy, dx, dy) = part.box_xyxy, thing.box_xyxy
    common = (max(ax, cx), max(ay, cy), min(bx, dx), min(by, dy))
    return box_area(common) / box_area(part.box_xyxy) if box_area(part.box_xyxy) else 0.0


def _part_pixels(part: _Thing, owner: _Thing, size_wh: tuple[int, int]) -> np.ndarray | None:
    """The part's mask; of a box what the owner's mask leaves of it, or the ellipse in it."""
    if part.mask is not None or part.own_box is None:
        return part.mask
    if owner.mask is None:
        return ellipse(size_wh, part.own_box)
    inside = rectangle(size_wh, part.own_box) & owner.mask
    return inside if inside.any() else None


# --- painting -------------------------------------------------------------------------------------------------


def _paint(
    painting: Painting, number: int, thing: _Thing, found: Sequence[NamedMask], size_wh: tuple[int, int]
) -> None:
    """Paint an object: itself, its labelled parts, limbs, joints, and on top what landmarks show."""
    if thing.mask is not None:
        painting.part(number, called(thing.name), thing.mask)
    for name, mask in thing.parts:
        painting.part(number, name, mask)
    joints = joint_parts(thing.joints, thing.labelled, thing.box_xyxy, size_wh, without={name for name, _ in found})
    # A hand is in front of the face that it holds, whatever joints are said to be visible behind it.
    layers = [(0 if name == FACE else 3 if is_of_hand(name) else 2, (name, mask)) for name, mask in found]
    layers += [(4 if name.endswith("wrist") else 1, (name, mask)) for name, mask in joints]
    layers.sort(key=lambda layer: layer[0])
    limbs = limb_parts(thing.skeleton, thing.joints, thing.mask is not None, size_wh)
    for name, mask in [*limbs, *(layer for _, layer in layers)]:
        painting.part(number, name, mask if thing.mask is None else mask & thing.mask, joins=True)
