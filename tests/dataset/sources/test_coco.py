from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from talking_points.dataset.sources.coco import annotation_mask, decode_counts, read_coco
from tests.conftest import compressed, rectangle, run_lengths

FILE = Path("annotations.json")
masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(masks)
def test_both_forms_of_run_lengths_give_the_mask(mask):
    size_wh = mask.shape[::-1]
    runs = run_lengths(mask)
    assert decode_counts(compressed(runs)) == runs
    for counts in (runs, compressed(runs)):
        annotation = {"id": 1, "segmentation": {"size": list(mask.shape), "counts": counts}}
        assert np.array_equal(annotation_mask(annotation, size_wh, size_wh, FILE), mask)


def test_a_published_example():
    # What pycocotools writes for the middle 2x2 pixels of 4x4.
    mask = annotation_mask({"segmentation": {"size": [4, 4], "counts": "52203"}}, (4, 4), (4, 4), FILE)
    assert [list(row) for row in np.argwhere(mask)] == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_polygons_scale_with_the_photo():
    annotation = {"id": 1, "segmentation": [rectangle(2, 4, 6, 8)]}
    assert annotation_mask(annotation, (10, 10), (10, 10), FILE)[5, 4]
    double = annotation_mask(annotation, (10, 10), (20, 20), FILE)
    rows, columns = np.nonzero(double)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx((4, 8, 11, 15), abs=1)


def test_no_file_and_no_coco(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.json is missing"):
        read_coco(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match='a.json: expected an object with "images"'):
        read_coco(tmp_path / "a.json")
