"""PartImageNet: photos of ImageNet with one main object each, whose class is in the file's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.coco import CocoFile, is_crowd, read_coco, sound_annotations
from talking_points.dataset.sources.coco_masks import frame_of_photo
from talking_points.dataset.sources.reading import SourcePhoto, present_labels, read_labels, read_photo, stems
from talking_points.dataset.sources.semantic import PUBLISHED, Instance, part_classes, scene_of_instances
from talking_points.dataset.sources.source import Source

NAME = "part-imagenet"
SYNSETS = PUBLISHED[NAME]["synsets"]
"""Broader class to synset to name."""
PARTS = part_classes(PUBLISHED[NAME])
"""Broader class and part class of each label, 0 to 39."""

BACKGROUND = 40
IGNORED = 255
WHOLE_BACKGROUND = 158


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
    and bottles in the same order. Nothing tells instances apart: a photo shows one object, in one piece or more.

    Raises:
        FileNotFoundError: the folder has none of these layouts, or a part of one is missing.
        ValueError: a JSON file is not COCO's.
    """
    photos, maps = folder / "images" / split, folder / "annotations" / split
    for polygons, where in ((folder / f"{split}.json", folder / split), (maps / f"{split}.json", photos)):
        if polygons.is_file():
            coco = read_coco(polygons)
            return _source(split, where, coco.photos, partial(_read_polygons, coco))
    if not maps.is_dir():
        raise FileNotFoundError(
            f"{folder} is not PartImageNet: expected {split}.json, or annotations/{split} and images/{split}"
        )
    return _source(split, photos, stems(maps, ".png") | stems(photos, ".JPEG"), partial(_read_maps, maps))


def _source(split: str, photos: Path, photo_ids: Iterable[str], read: Callable[[SourcePhoto], Scene]) -> Source:
    paths = {}
    for photo_id in photo_ids:
        of_class = photos / photo_id.split("_")[0]
        paths[photo_id] = (of_class if of_class.is_dir() else photos) / f"{photo_id}.JPEG"
    return Source(name=NAME, split=split, paths=paths, read=partial(_read_scene, paths, read))


def _read_scene(paths: dict[str, Path], read: Callable[[SourcePhoto], Scene], photo_id: str) -> Scene:
    return read(read_photo(paths[photo_id]))


def _class_of(path: Path) -> tuple[str, str]:
    """Broader class and name of what a photo shows."""
    synset = path.name.split("_")[0]
    for category, names in SYNSETS.items():
        if synset in names:
            return category, names[synset]
    raise ValueError(f'{path}: "{synset}" is none of the 158 classes of PartImageNet')


def _read_polygons(coco: CocoFile, photo: SourcePhoto) -> Scene:
    photo_id = photo.path.stem
    frame = frame_of_photo(coco, photo_id, photo)
    masks = []
    for annotation in sound_annotations(coco, photo_id):
        if not is_crowd(annotation):
            label = int(annotation["category_id"])
            _check_label(label, photo.path, coco.path)
            masks.append((frame.pixels(annotation), label))
    labels = np.full(photo.pixels.shape[:2], BACKGROUND, dtype=np.uint8)
    # Larger first: an eye-high side mirror in front of the body stays visible.
    for mask, label in sorted(masks, key=lambda item: -int(item[0].sum())):
        labels[mask] = label
    return _scene(photo, labels, labels != BACKGROUND)


def _read_maps(maps: Path, photo: SourcePhoto) -> Scene:
    map_path = maps / f"{photo.path.stem}.png"
    labels, _ = read_labels(map_path, photo)
    for label in present_labels(labels):
        if label not in (BACKGROUND, IGNORED):
            _check_label(label, photo.path, map_path)
    whole = np.isin(labels, (BACKGROUND, IGNORED), invert=True)
    whole_path = maps.with_name(f"{maps.name}_whole") / map_path.name
    if whole_path.parent.is_dir():
        shown, _ = read_labels(whole_path, photo)
        whole |= (shown != WHOLE_BACKGROUND) & (shown != IGNORED)
    return _scene(photo, labels, whole)


def _check_label(label: int, photo_path: Path, path: Path) -> None:
    if not 0 <= label < len(PARTS):
        raise ValueError(f"{path}: label {label} of {photo_path.stem} is unknown, known are 0 to {len(PARTS) - 1}")
    category, _ = _class_of(photo_path)
    if PARTS[label][0] != category:
        part = " ".join(PARTS[label])
        raise ValueError(f"{path}: {photo_path.stem} shows a {category}, but label {label} is {part}")


def _scene(photo: SourcePhoto, labels: np.ndarray, whole: np.ndarray) -> Scene:
    category, name = _class_of(photo.path)
    instances = [Instance(class_name=category, name=name, category=category, mask=whole)] if whole.any() else []
    return scene_of_instances(photo, labels, PARTS, instances, source=NAME)
