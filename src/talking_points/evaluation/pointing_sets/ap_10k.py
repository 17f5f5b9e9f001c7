"""AP-10K's keypoints as a pointing benchmark: "the left front paw of the dog"."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from numpy.typing import ArrayLike

from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.source import Source
from talking_points.evaluation.pointing_metrics import ap_10k_scores
from talking_points.evaluation.pointing_sets.task import Entry, Layout, PointingTask
from talking_points.photos import open_photo


def entries(folder: Path) -> Iterator[Entry]:
    """List the photos of the test split; the layout is that of `dataset.sources.ap_10k`.

    A task is a labelled keypoint, hidden ones too, since people estimated their place; its text is made of the names
    of keypoint and species, its category is the keypoint.

    Raises:
        FileNotFoundError, ValueError: the annotations are missing, or not COCO's.
    """
    source = open_source("ap-10k", folder, "test")
    for photo_id in source.photo_ids:
        yield f"photo {photo_id}", partial(_read, source, photo_id)


def _read(source: Source, photo_id: str) -> list[PointingTask]:
    scene = source.read(photo_id)
    return [
        PointingTask(
            sample_id=f"{photo_id}/{number}",
            photo_id=photo_id,
            open_photo=partial(open_photo, source.photo_path(photo_id)),
            size_wh=scene.size_wh,
            point_px=(point.x, point.y),
            text=f"the {point.name} of the {scene.objects[point.object_index].name}",
            source="ap-10k",
            object_name=scene.objects[point.object_index].name,
            part_name=point.name,
            object_box_xyxy=scene.objects[point.object_index].box_xyxy,
            kind="named",
            category=point.name,
            perfect_px=((point.x, point.y),),
        )
        for number, point in enumerate(scene.keypoints)
    ]


def _scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    assert task.object_box_xyxy is not None
    scores = ap_10k_scores(found_px, task.point_px, task.object_box_xyxy)
    return {"pck@0.1": scores.pop("pck@0.1"), **scores}


LAYOUT = Layout(entries=entries, scores=_scores, mean_of_categories=True)
