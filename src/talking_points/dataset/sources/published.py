"""The published sets PascalPart116, ADE20KPart234 and PartImageNet: which pixel is which part of which object.

Their classes are in `published.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from talking_points.dataset.scene import MIN_PART_AREA_PX, Scene, SceneObject
from talking_points.dataset.sources.coco_masks import frame_of_photo
from talking_points.dataset.sources.painting import Painting
from talking_points.dataset.sources.reading import (
    MIN_BLOB_SHARE,
    SourcePhoto,
    check_labels,
    of_split,
    present_labels,
    read_labels,
    read_photo,
    split_blobs,
    stems,
)
from talking_points.dataset.sources.source import Source
from talking_points.dataset.wordings import called
from talking_points.files import read_table
from talking_points.labels.coco import CocoFile, is_crowd, read_coco, record_of
from talking_points.labels.problems import LabelError, Problem, refuse
from talking_points.points import Box

PUBLISHED = read_table(Path(__file__).with_name("published.toml"))
"""Classes of the published sets, by source."""
SEVERAL = frozenset(PUBLISHED["several"])
"""Parts of which an object has several: blobs that do not touch are different ones."""

PASCAL, ADE, PART_IMAGENET = "pascal-part-116", "ade20k-part-234", "part-imagenet"
ONCE = frozenset(PUBLISHED[PASCAL]["once"])
"""Parts of which a thing has one."""
NEAR_SHARE = 0.15
"""Pieces of one thing are no farther apart than this share of the larger piece's longer side."""

UNLABELLED, UNLABELLED_16_BITS = 255, 65535
PART_IMAGENET_BACKGROUND, PART_IMAGENET_WHOLE_BACKGROUND = 40, 158


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One object and its pixels."""

    class_name: str
    """The class whose parts it has, as in the source's list."""
    thing: SceneObject
    mask: np.ndarray
    """(H, W) bool."""


Look = Callable[[SourcePhoto], tuple[np.ndarray, list[Instance]]]
"""Gives the part labels of a photo, (H, W) integers, and its objects."""


@cache
def part_classes(name: str) -> tuple[tuple[str, str], ...]:
    """Object and part class of each label of a source's part map, from 0 on; beyond them a pixel is unlabelled."""
    return tuple((owner, part) for owner, parts in PUBLISHED[name]["parts"].items() for part in parts)


def _photos(folder: Path, maps: Sequence[Path], split: str, listed: Collection[str] = ()) -> dict[str, Path]:
    """The photos of a split, by id, of which there is a photo, a map or a record."""
    found = stems(folder, ".jpg").union(listed, *(stems(one, ".png") for one in maps))
    return {photo_id: folder / f"{photo_id}.jpg" for photo_id in found if of_split(photo_id, split)}


def _read_scene(name: str, paths: dict[str, Path], look: Look, photo_id: str) -> Scene:
    """Give every labelled pixel to an object of its class; where none covers it, it is background."""
    photo, classes = read_photo(paths[photo_id]), part_classes(name)
    labels, instances = look(photo)
    painting = Painting(photo.size_wh, with_objects=True)
    # Where two overlap, the smaller is in front.
    instances.sort(key=lambda one: -int(one.mask.sum()))
    of_class: dict[str, np.ndarray] = {}
    for number, instance in enumerate(instances):
        painting.object(number, instance.mask)
        # A chair behind a table keeps the parts that the label map shows of it: so a map for every class.
        of_class.setdefault(instance.class_name, np.zeros(labels.shape, dtype=np.int16))[instance.mask] = number + 1
    for label in (one for one in present_labels(labels) if one < len(classes) and classes[one][0] in of_class):
        owner, part = classes[label]
        numbers = np.where(labels == label, of_class[owner], 0)
        for number in (one for one in present_labels(numbers) if one):
            mask = numbers == number
            for blob in split_blobs(mask) if part in SEVERAL else [mask]:
                painting.part(number - 1, part, blob)
    return painting.scene(photo.pixels, [one.thing for one in instances], source=name, photo_id=photo_id)


def _instance(class_name: str, mask: np.ndarray) -> Instance:
    return Instance(class_name=class_name, thing=SceneObject(name=called(class_name)), mask=mask)


def _masks(coco: CocoFile, photo: SourcePhoto, count: int) -> list[tuple[int, np.ndarray]]:
    """Label, 0 to `count` - 1, and pixels of each annotation of a photo, in which none may be left out."""
    stated = coco.photos[photo.path.stem]
    if stated.problems:
        raise LabelError(stated.problems)
    frame = frame_of_photo(coco, photo.path.stem, photo)
    masks = []
    for annotation in stated.annotations:
        label = annotation["category_id"]
        if not 0 <= label < count:
            found = f"has category {label}, known are 0 to {count - 1}"
            raise refuse(coco.path, record_of(annotation, stated.file_name), found, "give the file as published")
        # A crowd's mask is of several things.
        if not is_crowd(annotation):
            masks.append((label, frame.pixels(annotation)))
    return masks


# --- PascalPart116 --------------------------------------------------------------------------------------------


def open_pascal_part_116(folder: Path, split: str) -> Source:
    """PascalPart116 (OV-PARTS) as its authors distribute it; the folder's own name does not matter.

        images/{train,val}/NAME.jpg
        annotations_detectron2_obj/{train,val}/NAME.png     8 bits: 0 to 19, 255 elsewhere
        annotations_detectron2_part/{train,val}/NAME.png    8 bits: 0 to 115, 255 elsewhere

    The distributed "val" is "test" here, and "val" is held out of the distributed "train". Both maps are semantic: two
    dogs share one region of "dog". `instances_of_class` tells them apart as far as pixels allow.
    """
    own = "val" if split == "test" else "train"
    objects, parts = (folder / f"annotations_detectron2_{kind}" / own for kind in ("obj", "part"))
    paths = _photos(folder / "images" / own, (objects, parts), split)
    look = partial(_look_at_pascal, objects, parts)
    return Source(paths=paths, read=partial(_read_scene, PASCAL, paths, look))


def _look_at_pascal(object_maps: Path, part_maps: Path, photo: SourcePhoto) -> tuple[np.ndarray, list[Instance]]:
    classes = PUBLISHED[PASCAL]["objects"]
    maps = []
    for folder, count in ((object_maps, len(classes)), (part_maps, len(part_classes(PASCAL)))):
        path = folder / f"{photo.path.stem}.png"
        maps.append(read_labels(path, photo)[0])
        check_labels(maps[-1], path, count, UNLABELLED)
    objects, parts = (labels.astype(np.uint8) for labels in maps)
    # Where the two disagree, the part says more.
    object_of_part = np.full(256, UNLABELLED, dtype=np.uint8)
    object_of_part[: len(part_classes(PASCAL))] = [classes.index(owner) for owner, _ in part_classes(PASCAL)]
    objects = np.where(parts == UNLABELLED, objects, object_of_part[parts])
    return parts, [
        _instance(classes[label], mask)
        for label in present_labels(objects)
        if label != UNLABELLED
        for mask in instances_of_class(objects == label, parts)
    ]


@dataclass(kw_only=True, slots=True)
class _Pieces:
    """Blobs taken for one thing so far, the box of the largest, and the labels of `ONCE` parts seen in them."""

    blobs: list[int]
    once: set[int]
    box: Box


def _gap_share(one: Box, other: Box) -> float:
    """Distance of two boxes in units of the longer side of the first; 0 when they overlap."""
    gap_x, gap_y = max(other[0] - one[2], one[0] - other[2], 0), max(other[1] - one[3], one[1] - other[3], 0)
    return float(np.hypot(gap_x, gap_y)) / max(one[2] - one[0], one[3] - one[1])


def instances_of_class(mask: np.ndarray, parts: np.ndarray) -> list[np.ndarray]:
    """Tell the things of one class apart: blobs that do not touch, unless they are pieces of one thing.

    A lamp post in front of a dog cuts it in two. So a blob belongs to a larger one nearby when it shows no part
    that the other already has and a thing has once; two heads are two dogs. Things that touch stay one.

    `mask` has all pixels of the class, `parts` the part labels of PascalPart116; the union of the masks is `mask`.
    """
    count, blobs, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 2:
        return [mask]
    things: list[_Pieces] = []
    areas = stats[:, cv2.CC_STAT_AREA]
    for blob in sorted(range(1, count), key=lambda number: -int(areas[number])):
        x, y, width, height = (int(value) for value in stats[blob, :4])
        box = (x, y, x + width, y + height)
        window = slice(y, y + height), slice(x, x + width)
        seen = np.bincount(parts[window][blobs[window] == blob], minlength=UNLABELLED + 1)
        once = {k for k, (_, part) in enumerate(part_classes(PASCAL)) if part in ONCE and seen[k] >= MIN_PART_AREA_PX}
        fitting = [thing for thing in things if not thing.once & once]
        nearest = min(fitting, key=lambda thing: _gap_share(thing.box, box), default=None)
        crumb = not once and areas[blob] < MIN_BLOB_SHARE * areas[1:].max()
        if nearest is not None and (crumb or _gap_share(nearest.box, box) <= NEAR_SHARE):
            nearest.blobs.append(blob)
            nearest.once |= once
        else:
            things.append(_Pieces(blobs=[blob], once=once, box=box))
    return [np.isin(blobs, thing.blobs) for thing in things]


# --- ADE20KPart234 --------------------------------------------------------------------------------------------


def open_ade20k_part_234(folder: Path, split: str) -> Source:
    """ADE20KPart234 (OV-PARTS) as its authors distribute it; the folder's own name does not matter.

        images/{training,validation}/NAME.jpg
        annotations_detectron2_part/{training,validation}/NAME.png    16 bits: 0 to 233, 65535 elsewhere
        ade20k_instance_{train,val}.json                              objects: polygons or run lengths

    The distributed "validation" is "test" here, and "val" is held out of the distributed "training".
    """
    own, short = ("validation", "val") if split == "test" else ("training", "train")
    coco = read_coco(folder / f"ade20k_instance_{short}.json")
    maps = folder / "annotations_detectron2_part" / own
    paths = _photos(folder / "images" / own, (maps,), split, coco.photos)
    look = partial(_look_at_ade, coco, maps)
    return Source(paths=paths, read=partial(_read_scene, ADE, paths, look), problems=coco.problems)


def _look_at_ade(coco: CocoFile, maps: Path, photo: SourcePhoto) -> tuple[np.ndarray, list[Instance]]:
    photo_id, classes = photo.path.stem, PUBLISHED[ADE]["objects"]
    path = maps / f"{photo_id}.png"
    labels, _ = read_labels(path, photo, said=coco.labels_frame, where=coco.path)
    # Some tools write such maps with 8 bits, and 65535 becomes 255.
    check_labels(labels, path, len(part_classes(ADE)), 255 if labels.dtype == np.uint8 else UNLABELLED_16_BITS)
    if photo_id not in coco.photos:
        raise ValueError(f"{photo.path} has no record in {coco.path}")
    return labels, [_instance(classes[k], mask) for k, mask in _masks(coco, photo, len(classes)) if mask.any()]


# --- PartImageNet ---------------------------------------------------------------------------------------------


def open_part_imagenet(folder: Path, split: str) -> Source:
    """PartImageNet in either of its releases; both have all three splits.

    PartImageNet_OOD, and where its authors give polygons also PartImageNet_Seg:

        {train,val,test}.json                     COCO polygons of the parts, category ids 0 to 39
        {train,val,test}/SYNSET/SYNSET_N.JPEG

        annotations/{train,val,test}/{train,val,test}.json
        images/{train,val,test}/SYNSET_N.JPEG

    PartImageNet_Seg without polygons:

        images/{train,val,test}/SYNSET_N.JPEG
        annotations/{train,val,test}/SYNSET_N.png          8 bits: 0 to 39, background 40, ignored 255
        annotations/{train,val,test}_whole/SYNSET_N.png    the object, background 158; may be missing

    Polygons are preferred because it is not published whether the maps number the parts of aeroplanes, bicycles
    and bottles in the same order. A photo shows one object, in one piece or more; its class is in the file's name.
    """
    photos, maps = folder / "images" / split, folder / "annotations" / split
    polygons = [(folder / f"{split}.json", folder / split), (maps / f"{split}.json", photos)]
    file, where = next(((file, where) for file, where in polygons if file.is_file()), (None, photos))
    look: Look
    listed: Collection[str]
    problems: tuple[Problem, ...] = ()
    if file is not None:
        coco = read_coco(file)
        listed, look, problems = coco.photos, partial(_look_at_polygons, coco), coco.problems
    elif maps.is_dir():
        listed, look = stems(maps, ".png") | stems(photos, ".JPEG"), partial(_look_at_maps, maps)
    else:
        wanted = f"expected {split}.json, or annotations/{split} and images/{split}"
        raise FileNotFoundError(f"{folder} is not PartImageNet: {wanted}")
    folders = {photo_id: where / photo_id.split("_")[0] for photo_id in listed}
    paths = {photo_id: (own if own.is_dir() else where) / f"{photo_id}.JPEG" for photo_id, own in folders.items()}
    return Source(paths=paths, read=partial(_read_scene, PART_IMAGENET, paths, look), problems=problems)


def _class_of(path: Path) -> tuple[str, str]:
    """Broader class and name of what a photo shows."""
    synset = path.name.split("_")[0]
    for category, names in PUBLISHED[PART_IMAGENET]["synsets"].items():
        if synset in names:
            return category, names[synset]
    raise ValueError(f'{path}: "{synset}" is none of the 158 classes of PartImageNet')


def _look_at_polygons(coco: CocoFile, photo: SourcePhoto) -> tuple[np.ndarray, list[Instance]]:
    masks = _masks(coco, photo, len(part_classes(PART_IMAGENET)))
    labels = np.full(photo.pixels.shape[:2], PART_IMAGENET_BACKGROUND, dtype=np.uint8)
    # Larger first: an eye-high side mirror in front of the body stays visible.
    for label, mask in sorted(masks, key=lambda item: -int(item[1].sum())):
        _check_label(label, photo.path, coco.path)
        labels[mask] = label
    return labels, _one_object(photo, labels != PART_IMAGENET_BACKGROUND)


def _look_at_maps(maps: Path, photo: SourcePhoto) -> tuple[np.ndarray, list[Instance]]:
    path = maps / f"{photo.path.stem}.png"
    labels, _ = read_labels(path, photo)
    nothing = (PART_IMAGENET_BACKGROUND, UNLABELLED)
    for label in present_labels(labels):
        if label not in nothing:
            _check_label(label, photo.path, path)
    whole = np.isin(labels, nothing, invert=True)
    whole_path = maps.with_name(f"{maps.name}_whole") / path.name
    if whole_path.parent.is_dir():
        shown, _ = read_labels(whole_path, photo)
        whole |= (shown != PART_IMAGENET_WHOLE_BACKGROUND) & (shown != UNLABELLED)
    return labels, _one_object(photo, whole)


def _check_label(label: int, photo_path: Path, path: Path) -> None:
    classes = part_classes(PART_IMAGENET)
    if not 0 <= label < len(classes):
        raise ValueError(f"{path}: label {label} of {photo_path.stem} is unknown, known are 0 to {len(classes) - 1}")
    category, _ = _class_of(photo_path)
    if classes[label][0] != category:
        raise ValueError(
            f"{path}: {photo_path.stem} shows a {category}, but label {label} is {' '.join(classes[label])}"
        )


def _one_object(photo: SourcePhoto, mask: np.ndarray) -> list[Instance]:
    category, name = _class_of(photo.path)
    thing = SceneObject(name=name, category=category)
    return [Instance(class_name=category, thing=thing, mask=mask)] if mask.any() else []
