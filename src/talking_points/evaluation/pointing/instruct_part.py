"""InstructPart (zifuwan/InstructPart): the part of a thing that a task needs, told as a task and by its name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.evaluation.pointing.tasks import (
    Entry,
    PointingTask,
    listed_entries,
    masked_task,
    path_of,
    text_of,
)

ASKED = {"task": 0, "part": 4}
"""Category of a task, ours, and the place of its text in "instruction": the task as a person wrote it, and the part and
its object as a phrase."""


def entries(folder: Path) -> Iterator[Entry]:
    """List the parts of one split: the folder that holds its data_*.json, such as test/.

        data_test.json                     [{"image_path": "NAME.jpg", "part_list": [{"object", "part", "affordance",
                                             "action", "instruction": [6 texts]}, ...]}, ...]
        images/NAME-OBJECT-PART.jpg        with "_" for blanks in OBJECT and PART
        masks/NAME-OBJECT-PART.png         set above 0 in any channel

    Each part is asked for twice, see `ASKED`. The masks' names are not on the authors' page; other people's readers use
    these.

    Source: zifuwan/InstructPart, README.md (folders, annotations, names of photos).
    """
    files = sorted(folder.glob("data_*.json"))
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise FileNotFoundError(f"{folder} must hold one data_*.json, as InstructPart's test/ does; found: {found}")
    return listed_entries(files[0], partial(_read, folder))


def _read(folder: Path, number: int, record: dict[str, Any]) -> list[PointingTask]:
    name, parts = path_of(folder, record, "image_path"), record.get("part_list")
    if not isinstance(parts, list) or not parts or not all(isinstance(one, dict) for one in parts):
        raise ValueError(f'"part_list" must be a list of parts, got {str(parts):.100}')
    tasks = []
    for place, one in enumerate(parts):
        owner, part = text_of(one, "object"), text_of(one, "part")
        stem = {"name": f"{name.stem}-{owner.replace(' ', '_')}-{part.replace(' ', '_')}"}
        photo, mask = (
            path_of(folder / below, {"name": stem["name"] + ending}, "name")
            for below, ending in (("images", ".jpg"), ("masks", ".png"))
        )
        texts = one.get("instruction")
        if not isinstance(texts, list) or len(texts) <= max(ASKED.values()):
            raise ValueError(f'"instruction" must be a list of 6 texts, got {str(texts):.100}')
        for category, at in ASKED.items():
            text = text_of({"instruction": texts[at]}, "instruction")
            names = {"sample_id": f"{number}/{place}/{category}", "photo_id": photo.name, "source": "instruct-part"}
            names |= {"text": text, "category": category}
            tasks.append(masked_task(photo, mask, _is_set, None, **names))
    return tasks


def _is_set(rgb: np.ndarray) -> np.ndarray:
    return np.asarray((rgb > 0).any(axis=2))
