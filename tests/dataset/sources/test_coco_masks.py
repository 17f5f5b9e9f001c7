from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from talking_points.dataset.sources.coco_masks import CocoFrame, decode_counts
from talking_points.labels.frames import LabelFrame
from tests.conftest import compressed, rectangle, run_lengths


def frame(size_wh, stated_wh=None):
    """Of an upright photo."""
    return CocoFrame(
        turn=LabelFrame(orientation=1, size_wh=size_wh),
        stated_wh=stated_wh or size_wh,
        file=Path("annotations.json"),
        photo_name="a.jpg",
        notes=(),
    )


masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(masks)
def test_both_forms_of_run_lengths_give_the_mask(mask):
    size_wh = mask.shape[::-1]
    runs = run_lengths(mask)
    assert decode_counts(compressed(runs)) == runs
    for counts in (runs, compressed(runs)):
        segmentation = {"size": list(mask.shape), "counts": counts}
        assert np.array_equal(frame(size_wh).pixels({"id": 1, "segmentation": segmentation}), mask)


def test_a_published_example():
    # What pycocotools writes for the middle 2x2 pixels of 4x4.
    mask = frame((4, 4)).mask({"segmentation": {"size": [4, 4], "counts": "52203"}})
    assert [list(row) for row in np.argwhere(mask)] == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_polygons_scale_with_the_photo():
    annotation = {"id": 1, "segmentation": [rectangle(2, 4, 6, 8)]}
    assert frame((10, 10)).mask(annotation)[5, 4]
    double = frame((20, 20), stated_wh=(10, 10)).mask(annotation)
    rows, columns = np.nonzero(double)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx((4, 8, 11, 15), abs=1)
