"""PartImageNet: photos of ImageNet with one main object each, whose class is in the file's name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.coco import (
    CocoFile,
    annotation_mask,
    checked_size,
    is_crowd,
    read_coco,
    sound_annotations,
)
from talking_points.dataset.sources.part_imagenet_classes import SYNSETS
from talking_points.dataset.sources.reading import present_labels, read_labels, read_sure_photo, stems
from talking_points.dataset.sources.semantic import Instance, class_list, scene_of_instances
from talking_points.dataset.sources.source import Source

PARTS = class_list(
    {
        "quadruped": "head, body, foot, tail",
        "biped": "head, body, hand, foot, tail",
        "fish": "head, body, fin, tail",
        "bird": "head, body, wing, foot, tail",
        "snake": "head, body",
        "reptile": "head, body, foot, tail",
        "car": "body, tire, side mirror",
        "bicycle": "body, head, seat, tire",
        "boat": "body, sail",
        "aeroplane": "head, body, engine, wing, tail",
        "bottle": "mouth, body",
    }
)
"""Broader class and part class of each label, 0 to 39. The files say "Tier" for a tire."""

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
    photos = folder / "images" / split
    for polygons, where in ((folder / f"{split}.json", folder / split), (_seg_json(folder, split), photos)):
        if polygons.is_file():
            coco = read_coco(polygons)
            names = {photo_id: Path(photo.file_name).name for photo_id, photo in coco.photos.items()}
            return Source(
                name="part-imagenet",
                folder=folder,
                split=split,
                photo_ids=tuple(sorted(names)),
                read=partial(_read_polygons, where, coco),
                photo_path=partial(_photo_path, where),
            )
    maps = folder / "annotations" / split
    if not maps.is_dir():
        raise FileNotFoundError(
            f"{folder} is not PartImageNet: expected {split}.json, or annotations/{split} and images/{split}"
        )
    return Source(
        name="part-imagenet",
        folder=folder,
        split=split,
        photo_ids=tuple(sorted(stems(maps, ".png") | stems(photos, ".JPEG"))),
        read=partial(_read_maps, photos, maps),
        photo_path=partial(_photo_path, photos),
    )


def _seg_json(folder: Path, split: str) -> Path:
    return folder / "annotations" / split / f"{split}.json"


def _photo_path(folder: Path, photo_id: str) -> Path:
    in_class_folder = folder / photo_id.split("_")[0] / f"{photo_id}.JPEG"
    return in_class_folder if in_class_folder.parent.is_dir() else folder / f"{photo_id}.JPEG"


def _class_of(path: Path) -> tuple[str, str]:
    """Broader class and name of what a photo shows."""
    synset = path.name.split("_")[0]
    for category, names in SYNSETS.items():
        if synset in names:
            return category, names[synset]
    raise ValueError(f'{path}: "{synset}" is none of the 158 classes of PartImageNet')


def _read_polygons(where: Path, coco: CocoFile, photo_id: str) -> Scene:
    path = _photo_path(where, photo_id)
    photo = read_sure_photo(path)
    size_wh = checked_size(coco, photo_id, path, photo)
    masks = []
    for annotation in sound_annotations(coco, photo_id):
        if is_crowd(annotation):
            continue
        label = int(annotation["category_id"])
        _check_label(label, path, coco.path)
        masks.append((annotation_mask(annotation, size_wh, size_wh, coco.path), label))
    labels = np.full(photo.shape[:2], BACKGROUND, dtype=np.uint8)
    # Larger first: an eye-high side mirror in front of the body stays visible.
    for mask, label in sorted(masks, key=lambda item: -int(item[0].sum())):
        labels[mask] = label
    return _scene(path, photo, labels, labels != BACKGROUND)


def _read_maps(photos: Path, maps: Path, photo_id: str) -> Scene:
    path = _photo_path(photos, photo_id)
    photo = read_sure_photo(path)
    map_path = maps / f"{photo_id}.png"
    labels = read_labels(map_path, photo)
    for label in present_labels(labels):
        if label not in (BACKGROUND, IGNORED):
            _check_label(label, path, map_path)
    whole = np.isin(labels, (BACKGROUND, IGNORED), invert=True)
    whole_path = maps.with_name(f"{maps.name}_whole") / map_path.name
    if whole_path.parent.is_dir():
        shown = read_labels(whole_path, photo)
        whole |= (shown != WHOLE_BACKGROUND) & (shown != IGNORED)
    return _scene(path, photo, labels, whole)


def _check_label(label: int, photo_path: Path, path: Path) -> None:
    if not 0 <= label < len(PARTS):
        raise ValueError(f"{path}: label {label} of {photo_path.stem} is unknown, known are 0 to {len(PARTS) - 1}")
    category, _ = _class_of(photo_path)
    if PARTS[label][0] != category:
        part = " ".join(PARTS[label])
        raise ValueError(f"{path}: {photo_path.stem} shows a {category}, but label {label} is {part}")


def _scene(path: Path, photo: np.ndarray, labels: np.ndarray, whole: np.ndarray) -> Scene:
    category, name = _class_of(path)
    return scene_of_instances(
        photo,
        labels,
        PARTS,
        [Instance(class_name=category, name=name, category=category, mask=whole)] if whole.any() else [],
        source="part-imagenet",
        photo_id=path.stem,
    )
