"""From a map of part classes and the masks of the objects to a scene: which pixel is which object's part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from talking_points.dataset.scene import ObjectLabel, Scene, make_scene
from talking_points.dataset.sources.reading import SourcePhoto, split_blobs
from talking_points.files import read_table

PUBLISHED = read_table(Path(__file__).with_name("published.toml"))
"""Classes of the published sets, by source."""
SEVERAL = frozenset(PUBLISHED["several"])
"""Parts of which an object has several: blobs that do not touch are different ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One object and its pixels."""

    class_name: str
    """The class whose parts it has, as in the source's list."""
    name: str
    """What people call it."""
    category: str = ""
    """See `SceneObject.category`."""
    mask: np.ndarray
    """(H, W) bool."""


def part_classes(classes: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Object and part class of each label of the part map, from a source's table."""
    return tuple((name, part) for name, parts in classes["parts"].items() for part in parts)


def scene_of_instances(
    photo: SourcePhoto,
    labels: np.ndarray,
    classes: Sequence[tuple[str, str]],
    instances: Sequence[Instance],
    *,
    source: str,
) -> Scene:
    """Give every labelled pixel to an instance of its object's class; where none covers it, it is background.

    Args:
        photo: whose file is called by the photo's id.
        labels: (H, W) integers, an index into `classes`; everything beyond is unlabelled.
        classes: object and part class of each label.
        instances: in any order; where two overlap, the smaller is in front.
        source: name of the dataset.
    """
    instances = sorted(instances, key=lambda one: -int(one.mask.sum()))
    object_map = np.zeros(labels.shape, dtype=np.int16)
    of_class: dict[str, np.ndarray] = {}
    for number, instance in enumerate(instances, start=1):
        object_map[instance.mask] = number
        # A chair behind a table keeps the parts that the label map shows of it: so a map for every class.
        of_class.setdefault(instance.class_name, np.zeros(labels.shape, dtype=np.int16))[instance.mask] = number

    part_map = np.zeros(labels.shape, dtype=np.int16)
    part_names: list[str] = []
    part_objects: list[int] = []
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    for label in (int(number) for number in np.flatnonzero(counts[: len(classes)])):
        name, part = classes[label]
        if name not in of_class:
            continue
        own = labels == label
        x, y, width, height = cv2.boundingRect(own.view(np.uint8))
        window = slice(y, y + height), slice(x, x + width)
        owner = np.where(own[window], of_class[name][window], 0)
        for k in (int(number) for number in np.flatnonzero(np.bincount(owner.ravel())[1:])):
            mask = owner == k + 1
            for blob in split_blobs(mask) if part in SEVERAL else [mask]:
                part_names.append(part)
                part_objects.append(k)
                part_map[window][blob] = len(part_names)
    return make_scene(
        photo.pixels,
        part_map,
        part_names,
        part_objects,
        [ObjectLabel(name=one.name, category=one.category) for one in instances],
        source=source,
        photo_id=photo.path.stem,
        object_map=object_map,
    )
