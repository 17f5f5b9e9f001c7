"""Pointing benchmarks of others, in the layouts that their authors distribute, and their tasks read from a folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from talking_points.evaluation.data import sample_of, size_of_opened
from talking_points.evaluation.metrics import box_errors, pck
from talking_points.evaluation.pointing import crosspoint_bench, instruct_part, paco, pixmo_points
from talking_points.evaluation.pointing.tasks import (
    Entry,
    Layout,
    PointingTask,
    listed_entries,
    masked_task,
    on_mask_scores,
    path_of,
    points_on_mask,
    text_of,
)
from talking_points.progress import one_line
from talking_points.sample_files import Line, point_of_line, read_samples

REFSPATIAL_FOLDERS = ("Location", "Placement", "Unseen")
PCK_THRESHOLDS = (0.1, 0.05, 0.2)


def read_tasks(folder: Path, layout: str, on_problem: Callable[[str], None]) -> list[PointingTask]:
    """Read a benchmark's tasks. Nothing is fetched: photos given by URL are expected as files.

    Args:
        folder: laid out as the function says that lists the layout's entries; of AP-10K and PACO, a file.
        layout: a key of `LAYOUTS`.
        on_problem: told of every entry that is passed over, with its file, its place there (counted from 0) and
            what is wrong.

    Raises:
        FileNotFoundError, ValueError: no such folder or layout, or nothing to score in it; says why.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; allowed: {', '.join(LAYOUTS)}")
    if not folder.exists():
        raise FileNotFoundError(f"no such file or folder: {folder}")
    tasks: list[PointingTask] = []
    problems: list[str] = []
    for where, read in LAYOUTS[layout].entries(folder):
        try:
            found = read()
            for task in found:
                if next(iter(LAYOUTS[layout].scores(task, task.perfect_px).values())) < 100:
                    raise ValueError("no answer would be right: the labelled points do not match their masks")
        except (ValueError, OSError) as error:
            problems.append(f"{where}: {one_line(error)}")
            on_problem(problems[-1])
            continue
        tasks += found
    if not tasks:
        first = f"; the first problem is {problems[0]}" if problems else ""
        raise ValueError(f"{folder} holds nothing to score{first}")
    return tasks


def _point_bench(folder: Path) -> Iterator[Entry]:
    """Point-Bench, the benchmark of PointArena (PointArena/pointarena-data): a question, and a mask to point into.

    data.json                                       [{"image_filename", "mask_filename", "category",
                                                      "user_input", "count"}, ...]
    selected_images/<category>/<image_filename>     selected_images.zip, unpacked
    selected_masks/<category>/<mask_filename>       selected_masks.zip, unpacked; set above 127 in any channel
    """

    def read(number: int, record: dict[str, Any]) -> list[PointingTask]:
        if "mask_filename" not in record:
            raise ValueError("there is no mask_filename; the official evaluation leaves such an entry out, too")
        text, category = text_of(record, "user_input"), text_of(record, "category")
        photo, mask = (
            _either_way_composed(path_of(path_of(folder / below, record, "category"), record, name))
            for below, name in (("selected_images", "image_filename"), ("selected_masks", "mask_filename"))
        )
        names = {"sample_id": str(number), "photo_id": f"{category}/{photo.name}", "source": "point-bench"}
        count = record.get("count", 1) if category == "counting" else None
        if category == "counting" and count is None:
            raise ValueError('"count" must be a number of points that fit on the mask, got None')
        names |= {"text": text, "category": category}
        return [masked_task(photo, mask, lambda rgb: np.asarray((rgb > 127).any(axis=2)), count, **names)]

    return listed_entries(folder / "data.json", read)


def point_bench_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """Success, 100 or 0: every point is on the mask and, where points are counted, there are as many as asked for.

    Source: PointArena, model_evaluator.py, evaluate_model.
    """
    on = points_on_mask(found_px, task.masks[0].pixels(), rounded=False)
    return {"success": 100.0 if len(on) and on.all() and task.count in (None, len(on)) else 0.0}


def _refspatial_bench(folder: Path) -> Iterator[Entry]:
    """RefSpatial-Bench (BAAI/RefSpatial-Bench): things and free places in cluttered rooms, of the folders there are.

        Location/question.json    [{"id", "object", "prompt", "suffix", "rgb_path", "mask_path", "category",
                                    "step"}, ...], paths relative to Location/
        Location/image/*.png
        Location/mask/*.png       set above 0 in the first channel
        Placement/..., Unseen/... the same

    The text is `object`: what is to be pointed at, without the sentences that ask a model for coordinates.
    """

    def read(part: Path, number: int, record: dict[str, Any]) -> list[PointingTask]:
        text, photo = text_of(record, "object"), path_of(part, record, "rgb_path")
        names = {"sample_id": f"{part.name}/{number}", "photo_id": photo.relative_to(folder).as_posix()}
        names |= {"source": "refspatial-bench", "category": part.name, "text": text}
        mask = path_of(part, record, "mask_path")
        return [masked_task(photo, mask, lambda rgb: np.asarray(rgb[..., 0] > 0), None, **names)]

    found = [folder / name for name in REFSPATIAL_FOLDERS if (folder / name).is_dir()]
    if not found:
        raise FileNotFoundError(f"{folder} holds none of the folders {', '.join(REFSPATIAL_FOLDERS)}")
    for part in found:
        yield from listed_entries(part / "question.json", partial(read, part))


def refspatial_bench_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """Accuracy: the share of the points that are on the mask; 0 without a point.

    Source: RoboRefer, Evaluation/summarize_acc.py, compute_accuracy.
    """
    on = points_on_mask(found_px, task.masks[0].pixels(), rounded=False)
    return {"accuracy": 100.0 * float(on.mean()) if len(on) else 0.0}


def _either_way_composed(path: Path) -> Path:
    """The file of this name, whichever way its accents are composed: they differ between data.json and the archives."""
    if path.is_file():
        return path
    others = path.parent.iterdir() if path.parent.is_dir() else []
    wanted = unicodedata.normalize("NFC", path.name)
    return next((other for other in others if unicodedata.normalize("NFC", other.name) == wanted), path)


def _ap_10k(path: Path) -> Iterator[Entry]:
    """A file of AP-10K, annotations/ap10k-test-split1.json with the photos in data/: "the left front paw of the dog".

    A task is a labelled keypoint, hidden ones too, since people estimated their place; its category is the keypoint.
    Animals without a box, by which errors are measured, are none, as in AP-10K's own loader.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file of annotations, such as annotations/ap10k-test-split1.json")
    size_of = cache(size_of_opened)

    def read(line: Line) -> list[PointingTask]:
        point = point_of_line(line, path.parent, size_of)
        if point.object_box_xyxy is None:
            return []
        if point.object_name is None or point.part_name is None:
            raise ValueError("the animal or its keypoint has no name")
        text = f"the {point.part_name} of the {point.object_name}"
        known = {"text": text, "category": point.part_name, "perfect_px": (point.point_px,)}
        return [PointingTask.of(sample_of(point, path.parent), **known)]

    for line in read_samples(path):
        yield f"{path}, line {line.number}", partial(read, line)


def ap_10k_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """PCK at each of `PCK_THRESHOLDS`, 100 or 0: the distance to the labelled point over the longer side of the box.

    Of several points the first one counts. The mean over a keypoint's tasks is its PCK, and the mean over keypoints is
    what mmpose prints.

    Source: mmpose, PCKAccuracy with norm_item "bbox" (strictly below the threshold; hidden points count if labelled).
    """
    assert task.object_box_xyxy is not None
    found = np.asarray(found_px, float).reshape(-1, 2)[:1]
    errors = box_errors(found, [task.point_px], [task.object_box_xyxy]) if len(found) else np.array([np.inf])
    return {f"pck@{threshold:g}": pck(errors, threshold) for threshold in PCK_THRESHOLDS}


LAYOUTS = {
    "pixmo-points": Layout(
        entries=pixmo_points.entries, scores=pixmo_points.pixmo_points_scores, silence_may_be_right=True
    ),
    "point-bench": Layout(entries=_point_bench, scores=point_bench_scores),
    "refspatial-bench": Layout(entries=_refspatial_bench, scores=refspatial_bench_scores),
    "ap-10k": Layout(entries=_ap_10k, scores=ap_10k_scores, mean_of_categories=True),
    "paco": Layout(entries=paco.entries, scores=on_mask_scores),
    "instruct-part": Layout(entries=instruct_part.entries, scores=on_mask_scores),
    "crosspoint-bench": Layout(entries=crosspoint_bench.entries, scores=crosspoint_bench.crosspoint_bench_scores),
}
