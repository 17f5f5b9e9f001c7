"""The official metrics of pointing benchmarks: scores of one task each, in percent, by the points found for it.

Found points are (N, 2), x and y in pixels of the photo, none is no answer. Each benchmark has its own way from a
point to a pixel of a mask, and that is kept: Molmo's code rounds to the nearest whole number, that of PointArena and of
RefSpatial-Bench cuts the fraction off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from talking_points.evaluation.metrics import box_errors, pck
from talking_points.evaluation.pointing.tasks import Pixels, PointingTask

PCK_THRESHOLDS = (0.1, 0.05, 0.2)


def points_on_mask(found_px: ArrayLike, mask: Pixels, *, rounded: bool) -> NDArray[np.bool_]:
    """Which of (N, 2) points are on a mask; those outside it are not.

    Args:
        rounded: to the nearest whole number, halves to the even one, as Python does; else the fraction is cut off.

    Example:
        >>> mask = np.zeros((4, 4), bool); mask[1, 2] = True
        >>> points_on_mask([(2.4, 1.0), (2.6, 1.0)], mask, rounded=True)
        array([ True, False])
        >>> points_on_mask([(2.4, 1.0), (2.6, 1.0)], mask, rounded=False)
        array([ True,  True])
    """
    points = np.asarray(found_px, float).reshape(-1, 2)
    x, y = (np.rint(points) if rounded else np.trunc(points)).T
    inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    on = np.zeros(len(points), dtype=bool)
    on[inside] = mask[y[inside].astype(int), x[inside].astype(int)]
    return on


def pixmo_points_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """F1, precision and recall of points against the masks of all that a text names.

    Found and labelled points are matched one to one with the least sum of distances; a found point is right when it is
    on the mask of its labelled one. Where nothing is labelled, no answer scores 100 and any other 0.

    Source: Molmo, olmo/eval/evaluators.py, PointingEval (without the 1e-10 in its F1).
    """
    found, labelled = (np.asarray(points, float).reshape(-1, 2) for points in (found_px, task.labelled_px))
    if not len(labelled) or not len(found):
        return dict.fromkeys(("f1", "precision", "recall"), 0.0 if len(found) or len(labelled) else 100.0)
    distances = np.linalg.norm(found[:, None] - labelled[None], axis=-1)
    pairs = zip(*linear_sum_assignment(distances), strict=True)
    right = sum(bool(points_on_mask(found[i], task.masks[j].pixels(), rounded=True)[0]) for i, j in pairs)
    precision, recall = right / len(found), right / len(task.masks)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


def point_bench_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """Success, 100 or 0: every point is on the mask and, where points are counted, there are as many as asked for.

    Source: PointArena, model_evaluator.py, evaluate_model.
    """
    on = points_on_mask(found_px, task.masks[0].pixels(), rounded=False)
    return {"success": 100.0 if len(on) and on.all() and task.count in (None, len(on)) else 0.0}


def refspatial_bench_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """Accuracy: the share of the points that are on the mask; 0 without a point.

    Source: RoboRefer, Evaluation/summarize_acc.py, compute_accuracy.
    """
    on = points_on_mask(found_px, task.masks[0].pixels(), rounded=False)
    return {"accuracy": 100.0 * float(on.mean()) if len(on) else 0.0}


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
