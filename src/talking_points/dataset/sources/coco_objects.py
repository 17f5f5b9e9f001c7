"""Objects in COCO's form: people and animals with joints, things with masks, cats with heads, houses with windows.

What a photo's labels become: a visible joint is a small disc, a limb between two of them a capsule, a mask without
parts the object itself. Larger objects first, smaller ones over them; what is in front keeps its pixels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.names import NAMES, called
from talking_points.dataset.problems import LabelError, Problem, refuse
from talking_points.dataset.scene import ObjectLabel, Scene, box_area, make_scene
from talking_points.dataset.sources.coco import CROWD_NOTE, CocoFile, id_of, is_crowd, read_coco
from talking_points.dataset.sources.coco_layouts import find_split
from talking_points.dataset.sources.coco_masks import ASPECT_TOLERANCE, CocoFrame, frame_of_photo, is_number
from talking_points.dataset.sources.landmarks import (
    FACE,
    NOTHING_FOUND,
    Body,
    PhotoLandmarks,
    is_of_hand,
    landmark_parts,
    read_landmarks,
)
from talking_points.dataset.sources.reading import find_photos, of_split, read_photo
from talking_points.dataset.sources.shapes import NamedMask, box_of_mask, disc, ellipse, rectangle
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
from talking_points.files import read_table
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
    labels = read_coco(*files.annotations, lenient=True)
    every = [annotation for photo in labels.photos.values() for annotation in photo.annotations]
    lists = (one.get("keypoints") for one in every)
    marks = {mark for numbers in lists if isinstance(numbers, list) for mark in numbers[2::3] if mark in (1, 2)}
    listed = [
        photo_id
        for photo_id, photo in labels.photos.items()
        if (photo.annotations or photo.problems) and (not files.holds_out or of_split(photo_id, split))
    ]
    reading = _Reading(
        labels=labels,
        paths=find_photos(files.photos, {photo_id: labels.photos[photo_id].file_name for photo_id in listed}),
        dataset=folder.name,
        skeletons={number: read_skeleton(labels.path, one) for number, one in labels.categories.items()},
        chosen=_chosen(labels, every),
        visible_from=LABELLED if marks == {LABELLED} else VISIBLE,
        landmarks=read_landmarks(files.folder / "landmarks.json"),
    )
    return Source(
        name="coco",
        split=split,
        paths=reading.paths,
        read=partial(_read_scene, reading),
        problems=labels.problems,
        refused=labels.refused,
    )


def _chosen(labels: CocoFile, annotations: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Names of the classes of which all annotations, and many, have joints."""
    count: Counter[int] = Counter()
    jointed: Counter[int] = Counter()
    for annotation in annotations:
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
    category: dict[str, Any]
    annotation: dict[str, Any]
    mask: np.ndarray | None
    own_box: Box | None
    """As labelled, or around its joints where it has no mask, either."""
    skeleton: Skeleton
    visible: Mapping[str, Point]
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

    @property
    def box(self) -> Box:
        """Its own box, or else that of its mask; empty without both."""
        if self.own_box is not None or self.mask is None:
            return self.own_box or (0, 0, 0, 0)
        return box_of_mask(self.mask)


def _read_scene(reading: _Reading, photo_id: str) -> Scene:
    labels, stated = reading.labels, reading.labels.photos[photo_id]
    photo = read_photo(reading.paths[photo_id])
    frame = frame_of_photo(labels, photo_id, photo, tolerance=ASPECT_TOLERANCE)
    things: list[_Thing] = []
    uncounted: set[str] = set()
    problems = list(stated.problems)
    notes = list(frame.notes)
    for annotation in stated.annotations:
        category = labels.category_of(annotation)
        if is_crowd(annotation):
            uncounted.add(called(str(category["name"])))
            notes.append(CROWD_NOTE)
            continue
        try:
            thing = _thing(reading, annotation, frame)
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
    # What nobody says covers what is behind it, so it is painted with the rest.
    objects.sort(key=lambda thing: -thing.size)
    said = [thing for thing in objects if thing.name not in buildings["nobody_says"]]
    painting = _Painting(photo.size_wh)
    extra = _landmarks_of(said, reading.landmarks.get(photo.path.name, NOTHING_FOUND), photo.size_wh)
    for thing in objects:
        if thing.name not in buildings["nobody_says"]:
            number = next(k for k, other in enumerate(said) if other is thing)
            _paint(painting, number, thing, extra.get(number, ()))
        elif thing.mask is not None:
            painting.clear(thing.mask)
    breed = _stated_breed(stated.record) if len(said) == 1 else ""
    return make_scene(
        photo.pixels,
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


def _stated_breed(record: Mapping[str, Any]) -> str:
    """ "breed" or "species" of a photo or an annotation, in words; "" where neither is a text."""
    value = next((record[key] for key in ("breed", "species") if isinstance(record.get(key), str)), "")
    return " ".join(value.replace("_", " ").lower().split())


def _label(thing: _Thing, breed_of_photo: str) -> ObjectLabel:
    name = called(thing.name)
    breed = _stated_breed(thing.annotation) or breed_of_photo
    return ObjectLabel(
        name=name,
        breed="" if breed == name.lower() else breed,
        box_xyxy=thing.own_box,
        outlined=thing.mask is not None,
    )


# --- from annotations to things -------------------------------------------------------------------------------


def _thing(reading: _Reading, annotation: dict[str, Any], frame: CocoFrame) -> _Thing:
    """An annotation in pixels of the photo; LabelError where nothing of it can be used."""
    category = reading.labels.category_of(annotation)
    record = f"annotation {annotation.get('id')} of {frame.photo_name}"
    box = read_box(record, annotation, frame)
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
    on_it = [joint for joint in seen if mask is None or _is_on(mask, joint.point)]
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
        own_box=box,
        skeleton=skeleton,
        visible={joint.name: joint.point for joint in on_it},
        labelled=[joint.point for joint in joints],
        problems=problems,
        notes=notes,
    )


def _is_on(mask: np.ndarray, point: Point) -> bool:
    return bool((disc((mask.shape[1], mask.shape[0]), point, JOINT_SLACK_PX) & mask).any())


def read_box(record: str, annotation: Mapping[str, Any], frame: CocoFrame) -> Box | None:
    """The box of an annotation in the photo, not cut; None where it has none or an empty one.

    Raises:
        LabelError: it is no box; the annotation is called `record`.
    """
    numbers = annotation.get("bbox")
    if not numbers:
        return None
    sound = isinstance(numbers, list) and len(numbers) == 4
    if not (sound and all(is_number(value) and math.isfinite(value) for value in numbers)):
        problem = f"its bbox is {str(numbers)[:60]}"
        raise refuse(frame.file, record, problem, "give x, y, width, height, or take it away")
    return frame.box(numbers) if numbers[2] > 0 and numbers[3] > 0 else None


# --- parts by category ----------------------------------------------------------------------------------------


def _with_parts(things: Sequence[_Thing], names: set[str], size_wh: tuple[int, int]) -> tuple[list[_Thing], int]:
    """The objects, with the things that are parts of them, larger first; and how many parts are in no object.

    `names`: of the categories. A window is part of a facade in files that have facades.
    """
    parts_of = read_table(NAMES)["buildings"]["parts_of"]
    objects: list[_Thing] = []
    parts: list[tuple[_Thing, str]] = []
    for thing in things:
        wanted = parts_of.get(thing.name)
        if thing.category.get("supercategory") == PART:
            parts.append((thing, ""))
        elif wanted in names:
            parts.append((thing, wanted))
        else:
            objects.append(thing)
    lonely = 0
    for thing, wanted in parts:
        owner = _owner(thing, objects, wanted)
        if owner is None:
            lonely += 1
            continue
        pixels = _part_pixels(thing, owner, size_wh)
        if pixels is not None:
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
    inner, outer = part.box, thing.box
    if not box_area(inner):
        return 0.0
    common = (max(inner[0], outer[0]), max(inner[1], outer[1]), min(inner[2], outer[2]), min(inner[3], outer[3]))
    return box_area(common) / box_area(inner)


def _part_pixels(part: _Thing, owner: _Thing, size_wh: tuple[int, int]) -> np.ndarray | None:
    """The part's mask; of a box what the owner's mask leaves of it, or the ellipse in it."""
    if part.mask is not None or part.own_box is None:
        return part.mask
    if owner.mask is None:
        return ellipse(size_wh, part.own_box)
    inside = rectangle(size_wh, part.own_box) & owner.mask
    return inside if inside.any() else None


# --- painting -------------------------------------------------------------------------------------------------


class _Painting:
    """The maps of a scene while objects are painted over each other."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
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


def _paint(painting: _Painting, number: int, thing: _Thing, found: Sequence[NamedMask]) -> None:
    """Paint an object: itself, its labelled parts, limbs, joints, and on top what landmarks show."""
    size_wh = painting.part_map.shape[1], painting.part_map.shape[0]
    if thing.mask is not None:
        painting.part(number, called(thing.name), thing.mask)
    for name, mask in thing.parts:
        painting.part(number, name, mask)
    faces = [layer for layer in found if not is_of_hand(layer[0])]
    joints = joint_parts(thing.visible, thing.labelled, thing.box, size_wh, without={name for name, _ in found})
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


def _landmarks_of(
    objects: Sequence[_Thing], found: PhotoLandmarks, size_wh: tuple[int, int]
) -> dict[int, list[NamedMask]]:
    """Parts of faces and hands, by the number of the person that they belong to."""
    people = [k for k, thing in enumerate(objects) if is_person(thing.name)]
    bodies = [
        Body(mask=one.mask, box_xyxy=one.box, joints=one.visible, has_joints=bool(one.labelled))
        for one in (objects[k] for k in people)
    ]
    return {people[k]: parts for k, parts in landmark_parts(found, bodies, size_wh).items()}
