"""Point-Bench, the benchmark of PointArena (PointArena/pointarena-data): a question, and a mask to point into."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talking_points.dataset.sources.reading import read_json
from talking_points.evaluation.pointing_metrics import point_bench_scores
from talking_points.evaluation.pointing_sets.masks import Pixels, deepest_point, read_mask
from talking_points.evaluation.pointing_sets.task import Entry, Layout, PointingTask, path_of, text_of
from talking_points.photos import open_photo


def entries(folder: Path) -> Iterator[Entry]:
    """List the set's entries.

        data.json                                       [{"image_filename", "mask_filename", "category",
                                                          "user_input", "count"}, ...]
        selected_images/<category>/<image_filename>     selected_images.zip, unpacked
        selected_masks/<category>/<mask_filename>       selected_masks.zip, unpacked; set above 127 in any channel

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no list.
    """
    path = folder / "data.json"
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of entries, got {type(content).__name__}")
    for number, record in enumerate(content):
        yield f"{path}, entry {number}", partial(_read, folder, str(number), record)


def _read(folder: Path, task_id: str, record: Any) -> list[PointingTask]:
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, got {type(record).__name__}")
    if "mask_filename" not in record:
        raise ValueError("there is no mask_filename; the official evaluation leaves such an entry out, too")
    text, category = text_of(record, "user_input"), text_of(record, "category")
    photo = _file(path_of(path_of(folder / "selected_images", record, "category"), record, "image_filename"))
    size_wh = open_photo(photo).size
    mask_path = _file(path_of(path_of(folder / "selected_masks", record, "category"), record, "mask_filename"))
    mask = read_mask(mask_path, size_wh, _is_set)
    count = None
    if category == "counting":
        count = record.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= mask.pixels().sum():
            raise ValueError(f'"count" must be a number of points that fit on the mask, got {count!r:.100}')
    point_px = deepest_point(mask.pixels())
    return [
        PointingTask(
            sample_id=task_id,
            photo_id=f"{category}/{photo.name}",
            open_photo=partial(open_photo, photo),
            size_wh=size_wh,
            point_px=point_px,
            text=text,
            source="point-bench",
            category=category,
            # The metric asks for points on one mask of all things, not for one on each.
            perfect_px=(point_px,) * (count or 1),
            masks=(mask,),
            count=count,
        )
    ]


def _is_set(picture_HW3: NDArray[np.uint8]) -> Pixels:
    return np.asarray((picture_HW3 > 127).any(axis=2))


def _file(path: Path) -> Path:
    """The file of this name, whichever way its accents are composed: they differ between data.json and the archives."""
    if path.is_file():
        return path
    others = path.parent.iterdir() if path.parent.is_dir() else []
    wanted = unicodedata.normalize("NFC", path.name)
    return next((other for other in others if unicodedata.normalize("NFC", other.name) == wanted), path)


def _scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    return point_bench_scores(found_px, task.masks[0].pixels(), task.count)


LAYOUT = Layout(entries=entries, scores=_scores)
