"""RefSpatial-Bench (BAAI/RefSpatial-Bench): things and free places in cluttered rooms, named by what is around them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talking_points.dataset.sources.reading import read_json
from talking_points.evaluation.pointing_metrics import refspatial_bench_scores
from talking_points.evaluation.pointing_sets.masks import Pixels, deepest_point, read_mask
from talking_points.evaluation.pointing_sets.task import Entry, Layout, PointingTask, path_of, text_of
from talking_points.photos import open_photo

TASKS = ("Location", "Placement", "Unseen")


def entries(folder: Path) -> Iterator[Entry]:
    """List the entries of the raw files; of `TASKS`, those whose folders are there.

        Location/question.json    [{"id", "object", "prompt", "suffix", "rgb_path", "mask_path", "category",
                                    "step"}, ...], paths relative to Location/
        Location/image/*.png
        Location/mask/*.png       set above 0 in the first channel

    The text is `object`: what is to be pointed at, without the sentences that ask a model for coordinates.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no list.
    """
    found = [name for name in TASKS if (folder / name).is_dir()]
    if not found:
        raise FileNotFoundError(f"{folder} holds none of the folders {', '.join(TASKS)}")
    for name in found:
        path = folder / name / "question.json"
        content = read_json(path)
        if not isinstance(content, list):
            raise ValueError(f"{path}: expected a list of entries, got {type(content).__name__}")
        for number, record in enumerate(content):
            yield f"{path}, entry {number}", partial(_read, folder / name, f"{name}/{number}", record)


def _read(folder: Path, task_id: str, record: Any) -> list[PointingTask]:
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, got {type(record).__name__}")
    text = text_of(record, "object")
    photo = path_of(folder, record, "rgb_path")
    size_wh = open_photo(photo).size
    mask = read_mask(path_of(folder, record, "mask_path"), size_wh, _is_set)
    point_px = deepest_point(mask.pixels())
    return [
        PointingTask(
            sample_id=task_id,
            photo_id=photo.relative_to(folder.parent).as_posix(),
            open_photo=partial(open_photo, photo),
            size_wh=size_wh,
            point_px=point_px,
            text=text,
            source="refspatial-bench",
            category=folder.name,
            perfect_px=(point_px,),
            masks=(mask,),
        )
    ]


def _is_set(picture_HW3: NDArray[np.uint8]) -> Pixels:
    return np.asarray(picture_HW3[..., 0] > 0)


def _scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    return refspatial_bench_scores(found_px, task.masks[0].pixels())


LAYOUT = Layout(entries=entries, scores=_scores)
