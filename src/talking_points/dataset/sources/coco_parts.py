"""Objects with parts in COCO polygons: a folder for each split with `annotations.json` and `images/`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.scene import Scene, SceneObject
from talking_points.dataset.sources.coco import open_split
from talking_points.dataset.sources.coco_masks import ASPECT_TOLERANCE, frame_of_photo
from talking_points.dataset.sources.painting import Painting
from talking_points.dataset.sources.reading import means_nothing, read_photo, split_blobs
from talking_points.dataset.sources.source import Source
from talking_points.dataset.wordings import NAMES, called
from talking_points.files import read_table
from talking_points.labels.coco import CROWD_NOTE, CocoFile, id_of, is_crowd
from talking_points.labels.problems import LabelError, Problem, problem_of
from talking_points.labels.reading import is_name
from talking_points.pages import counted


def open_coco_parts(folder: Path, split: str) -> Source:
    """Objects whose parts are COCO polygons or run lengths, in any layout that `coco_objects.open_coco` shows.

    A part's class is its category's name, the object's class is the category's "supercategory". Parts of one
    object share the annotations' "object_id", a key of ours; without it, a photo shows one object of a class.
    Overlapping parts: the smaller is on top. Photos without annotations are not listed. Left and right in the
    names are the object's own. A photo of another size than the JSON says is read when its shape is the same.
    Crowd regions are no parts; an annotation that cannot be read is among its scene's problems. Errors are those of
    `open_coco`; a file of whole objects is a LabelError, too.
    """
    coco, paths = open_split(folder, split, means_nothing=means_nothing)
    return Source(
        paths=paths,
        read=partial(_read_scene, coco, paths, folder.name or folder.resolve().name),
        problems=coco.problems,
        refused=(*coco.refused, *whole_objects(coco)),
    )


def whole_objects(coco: CocoFile) -> list[Problem]:
    """Why the categories that the annotations have are whole objects, as in most COCO files, and no parts.

    Each cause once, of the first category that has it; how many others have it is told.
    """
    remedy = (
        'to read whole objects give --source coco=DIR; for parts, "supercategory" names the object that a part is of, '
        'as "car" of a "wheel"'
    )
    annotations = [one for photo in coco.photos.values() for one in photo.annotations]
    used = {int(one["category_id"]) for one in annotations}
    file_has: list[str] = []
    if used and not coco.categories:
        file_has.append('has no list "categories"')
    if has_keypoints := any(one.get("keypoints") for one in annotations):
        file_has.append("has keypoints: it labels whole objects and no parts")
    of_cause: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for number in sorted(used & coco.categories.keys()):
        category = coco.categories[number]
        name, owner = str(category["name"]), category.get("supercategory")
        if means_nothing(name):
            continue
        if category.get("keypoints"):
            if not has_keypoints:
                of_cause["keypoints"].append((name, "has keypoints: it is a whole object and no part"))
        elif not isinstance(owner, str) or not is_name(owner):
            of_cause["lacking"].append((name, 'needs a "supercategory", the class of its object'))
        elif _plain(owner) == _plain(name):
            of_cause["own"].append((name, "is its own supercategory: it is a whole object and no part"))
        elif _plain(owner) in read_table(NAMES)["labels"]["groups"]:
            said = f'has the supercategory "{owner}", which is no object: it is a whole object and no part'
            of_cause["group"].append((name, said))
    found = [("", said) for said in file_has]
    for (name, said), *others in of_cause.values():
        more = f" (and {counted(len(others), 'other')} like it)" if others else ""
        found.append((f'category "{name}"{more}', said))
    return [problem_of(coco.path, where, said, remedy) for where, said in found]


def _plain(name: str) -> str:
    return name.strip().casefold().replace("_", " ")


def _read_scene(coco: CocoFile, paths: Mapping[str, Path], dataset: str, photo_id: str) -> Scene:
    photo = read_photo(paths[photo_id])
    frame = frame_of_photo(coco, photo_id, photo, tolerance=ASPECT_TOLERANCE)
    problems, notes = list(coco.photos[photo_id].problems), list(frame.notes)
    uncounted: set[str] = set()
    masks: list[tuple[tuple[str, str, str], np.ndarray]] = []
    for annotation in coco.photos[photo_id].annotations:
        category = coco.category_of(annotation)
        name, owner = str(category["name"]), str(category.get("supercategory")).strip()
        if means_nothing(name):
            continue
        if is_crowd(annotation):
            notes.append(CROWD_NOTE)
            uncounted.add(owner)
            continue
        # As a text of equal length, which sorts as the number does.
        object_id = id_of(annotation.get("object_id", 0))
        key = (owner, f"{object_id:020d}" if isinstance(object_id, int) else str(object_id), name)
        try:
            masks.append((key, frame.mask(annotation)))
        except LabelError as error:
            problems += error.problems
    # Larger first: a mirror in front of a door stays visible.
    masks.sort(key=lambda item: -int(item[1].sum()))
    keys = sorted({key for key, _ in masks})
    layers = np.zeros(photo.pixels.shape[:2], dtype=np.int16)
    for key, mask in masks:
        layers[mask] = keys.index(key) + 1
    owners = sorted({key[:2] for key in keys})
    several = read_table(NAMES)["labels"]["several"]
    painting = Painting(photo.size_wh)
    for number, (owner, object_id, name) in enumerate(keys, start=1):
        mask, word = layers == number, called(name)
        for blob in split_blobs(mask) if word in several else [mask]:
            painting.part(owners.index((owner, object_id)), word, blob)
    return painting.scene(
        photo.pixels,
        # A car's roof and fenders have no label.
        [SceneObject(name=called(owner), outlined=False) for owner, _ in owners],
        source=dataset,
        photo_id=photo_id,
        uncounted=frozenset(map(called, uncounted)),
        problems=problems,
        notes=notes,
    )
