from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from talking_points.evaluation.pointing.benchmarks import ap_10k_scores, point_bench_scores, refspatial_bench_scores
from talking_points.evaluation.pointing.pixmo_points import pixmo_points_scores
from talking_points.evaluation.pointing.tasks import Mask, PointingTask, points_on_mask
from tests.evaluation.pointing.layouts import LEFT, RIGHT, SIZE_WH, mask_of

# Masks of 60x40: columns 5 to 19 and rows 10 to 29; columns 40 to 54 and rows 5 to 14.
LEFT_MASK, RIGHT_MASK = mask_of(LEFT), mask_of(RIGHT)
NONE = np.zeros((0, 2))


def task(*masks: np.ndarray, **known: Any) -> PointingTask:
    return PointingTask(
        sample_id="0",
        photo_id="0",
        open_photo=lambda: Image.new("RGB", SIZE_WH),
        size_wh=SIZE_WH,
        category="",
        perfect_px=(),
        masks=tuple(Mask.of(mask, SIZE_WH) for mask in masks),
        **{"point_px": (0, 0), **known},
    )


TWO = task(LEFT_MASK, RIGHT_MASK, labelled_px=((12, 20), (47, 10)))


def of_pixmo(found: Any, asked: PointingTask = TWO) -> tuple[float, ...]:
    scores = pixmo_points_scores(asked, found)
    assert list(scores) == ["f1", "precision", "recall"]
    return tuple(scores.values())


def test_points_become_pixels_in_two_ways() -> None:
    # Molmo's code rounds, halves to the even number; the others cut off.
    points = [(19.4, 20), (19.5, 20), (4.5, 20), (4.6, 20), (4.9, 20)]
    assert points_on_mask(points, LEFT_MASK, rounded=True).tolist() == [True, False, False, True, True]
    assert points_on_mask(points, LEFT_MASK, rounded=False).tolist() == [True, True, False, False, False]
    # The far border belongs to no pixel, and neither does anything beyond it.
    full = np.ones((40, 60), bool)
    outside = [(60, 20), (20, 40), (-1, 5), (5, -1), (1e300, 5), (np.inf, 5)]
    assert (
        not points_on_mask(outside, full, rounded=True).any() and not points_on_mask(outside, full, rounded=False).any()
    )
    assert points_on_mask(NONE, full, rounded=True).shape == (0,)


def test_pixmo_points_by_hand() -> None:
    assert of_pixmo(TWO.labelled_px) == (100, 100, 100)
    # One of two things: everything said is right, half of it is missing.
    assert of_pixmo([(12, 20)]) == (pytest.approx(200 / 3), 100, 50)
    # Both and one more: two of three are right.
    assert of_pixmo([(12, 20), (47, 10), (30, 35)]) == (pytest.approx(80), pytest.approx(200 / 3), 100)
    # Two points on one thing: only one of them is matched with it.
    assert of_pixmo([(12, 20), (13, 20)]) == (50, 50, 50)
    assert of_pixmo([(30, 35)]) == (0, 0, 0)
    assert of_pixmo(NONE) == (0, 0, 0)


def test_pixmo_points_match_by_distance_alone_and_all_at_once() -> None:
    # On the right one's mask and yet nearer to the left one's point: matched with that, and wrong.
    assert of_pixmo([(12, 20)], task(RIGHT_MASK, LEFT_MASK, labelled_px=((12, 21), (47, 10)))) == (0, 0, 0)
    # Taken one by one, the first would go to the second thing (4 px) and leave the first one, 14 px away, to the other.
    row = task(mask_of((0, 0, 7, 5)), mask_of((8, 0, 15, 5)), labelled_px=((0, 2), (10, 2)))
    assert of_pixmo([(6, 2), (14, 2)], row) == (100, 100, 100)


def test_pixmo_points_of_nothing() -> None:
    assert of_pixmo(NONE, task()) == (100, 100, 100)
    assert of_pixmo([(1, 1)], task()) == (0, 0, 0)


def test_point_bench_by_hand() -> None:
    both = LEFT_MASK | RIGHT_MASK
    for found, count, success in (
        ([(12, 20)], None, 100),
        ([(12, 20), (47, 10)], None, 100),
        # Every point must be on the mask.
        ([(12, 20), (30, 35)], None, 0),
        ([(30, 35)], None, 0),
        (NONE, None, 0),
        # And counting asks for the right number.
        ([(12, 20), (47, 10)], 2, 100),
        ([(12, 20)], 2, 0),
        ([(12, 20), (47, 10)], 1, 0),
        (NONE, 2, 0),
    ):
        assert point_bench_scores(task(both, count=count), found) == {"success": success}


def test_refspatial_bench_by_hand() -> None:
    assert refspatial_bench_scores(task(LEFT_MASK), [(12, 20)]) == {"accuracy": 100}
    # The share of the points; those outside the photo are wrong.
    assert refspatial_bench_scores(task(LEFT_MASK), [(12, 20), (30, 20), (13, 20), (99, 20)]) == {"accuracy": 50}
    assert refspatial_bench_scores(task(LEFT_MASK), NONE) == {"accuracy": 0}


def test_ap_10k_by_hand() -> None:
    paw = task(point_px=(10, 10), object_box_xyxy=(0, 0, 100, 50))
    # PCK@0.1, 0.05 and 0.2. A box of 100x50: distances over 100. 3-4-5 triangles: 5, 10 and 15 px away, and strict.
    for found, scores in (
        ((10, 10), [100, 100, 100]),
        ((12.9, 13.9), [100, 100, 100]),
        ((13, 14), [100, 0, 100]),
        ((16, 18), [0, 0, 100]),
        ((19, 22), [0, 0, 100]),
        ((30, 10), [0, 0, 0]),
    ):
        assert list(ap_10k_scores(paw, [found]).values()) == scores
    assert ap_10k_scores(paw, NONE) == {"pck@0.05": 0, "pck@0.1": 0, "pck@0.2": 0}
