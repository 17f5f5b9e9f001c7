"""PACO-LVIS (facebookresearch/paco): the parts of 75 kinds of things in COCO's photos, by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.sources.coco_masks import frame_of_photo
from talking_points.dataset.sources.reading import read_photo
from talking_points.evaluation.pointing.tasks import Entry, Pixels, PointingTask, task_of_pixels
from talking_points.labels.coco import CocoFile, is_crowd, read_coco


def entries(path: Path) -> Iterator[Entry]:
    """List the photos of an annotation file; the photos lie where its `file_name`s say, from a folder above on.

        annotations/paco_lvis_v1_test.json    of any split: COCO's form, a mask for each object and part
        train2017/*.jpg, val2017/*.jpg        COCO's photos

    A task is a kind of part in a photo, "the handle of the mug": the category "mug:handle". Where there are several
    such parts, each is right. A kind of which a photo's annotations are not exhaustive (`not_exhaustive_category_ids`,
    of the part or of its object) is no task there: a right point might be on a part that nobody marked. The category
    of a task is the object's.

    Source: facebookresearch/paco, docs/PACO_DATASET.md, paco/data/datasets/paco.py and paco_categories.py.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file of annotations, such as annotations/paco_lvis_v1_test.json")
    coco = read_coco(path)
    parts = {number: str(one["name"]) for number, one in coco.categories.items() if ":" in str(one["name"])}
    if not parts:
        raise ValueError(f'{path} has no category like "mug:handle"; is it a file of PACO-LVIS?')
    for problem in coco.problems:
        yield str(problem), partial(_refuse, "an annotation of no photo of the file")
    for photo_id in sorted(coco.photos):
        yield f"{path}, photo {coco.photos[photo_id].file_name}", partial(_read, coco, parts, photo_id)


def _refuse(reason: str) -> list[PointingTask]:
    raise ValueError(reason)


def _read(coco: CocoFile, parts: dict[int, str], photo_id: str) -> list[PointingTask]:
    stated = coco.photos[photo_id]
    if stated.problems:
        raise ValueError(str(stated.problems[0]))
    unsure = _not_exhaustive(coco, photo_id)
    of_kind: dict[int, list[dict[str, object]]] = defaultdict(list)
    for annotation in stated.annotations:
        number = int(annotation["category_id"])
        # Published files hold parts that were taken back: an empty segmentation. The official reader passes over them.
        if number in parts and not is_crowd(annotation) and annotation.get("segmentation"):
            of_kind[number].append(annotation)
    kinds = [one for one in sorted(of_kind) if not unsure & {parts[one], parts[one].partition(":")[0]}]
    if not kinds:
        return []
    photo = read_photo(_photo_path(coco.path, stated.file_name))
    frame = frame_of_photo(coco, photo_id, photo)
    tasks = []
    for number in kinds:
        meant: Pixels = np.any([frame.mask(one) for one in of_kind[number]], axis=0)
        owner, part = (_said(one) for one in parts[number].split(":", 1))
        names = {"sample_id": f"{photo_id}/{number}", "photo_id": stated.file_name, "source": "paco"}
        names |= {"text": f"the {part} of the {owner}", "category": owner}
        tasks.append(task_of_pixels(photo.path, meant, photo.size_wh, **names))
    return tasks


def _not_exhaustive(coco: CocoFile, photo_id: str) -> set[str]:
    """Names of the categories of which a photo's annotations may lack some."""
    numbers = coco.photos[photo_id].record.get("not_exhaustive_category_ids", [])
    if not isinstance(numbers, list):
        raise ValueError(f'"not_exhaustive_category_ids" must be a list, got {str(numbers):.60}')
    return {str(coco.categories[one]["name"]) for one in numbers if one in coco.categories}


def _photo_path(annotations: Path, name: str) -> Path:
    """A photo by its name in the file: below the file's folder or the one above it."""
    places = [folder / name for folder in (annotations.parent.parent, annotations.parent)]
    return next((path for path in places if path.is_file()), places[0])


def _said(name: str) -> str:
    """A category's name in words.

    Example:
        >>> _said("mouse_(computer_equipment)"), _said("table_top")
        ('mouse', 'table top')
    """
    return name.split("_(")[0].replace("_", " ").strip()
