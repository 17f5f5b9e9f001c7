from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from talking_points.evaluation.pointing_metrics import points_on_mask
from talking_points.evaluation.pointing_sets.masks import checked_mask, deepest_point, nearest_pixel, read_mask


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=13)), st.floats(-5, 20), st.floats(-5, 20))
def test_any_mask_comes_back_whole_and_has_right_answers(pixels: np.ndarray, x: float, y: float) -> None:
    size_wh = pixels.shape[::-1]
    if not pixels.any():
        with pytest.raises(ValueError, match="the mask is empty"):
            checked_mask(pixels, size_wh)
        return
    assert np.array_equal(checked_mask(pixels, size_wh).pixels(), pixels)
    assert points_on_mask(deepest_point(pixels), pixels, rounded=False).all()
    assert points_on_mask(nearest_pixel(pixels, (x, y)), pixels, rounded=True).all()


def test_deepest_and_nearest_by_hand() -> None:
    pixels = np.zeros((9, 12), bool)
    pixels[2:7, 3:8] = True
    assert deepest_point(pixels) == (5.5, 4.5)
    assert nearest_pixel(pixels, (5.2, 4.9)) == (5, 5)
    assert nearest_pixel(pixels, (20, 0)) == (7, 2)
    # The photo's border is an edge.
    assert deepest_point(np.ones((3, 7), bool))[1] == 1.5


def test_what_is_wrong_names_the_file(tmp_path: Path) -> None:
    def is_set(picture: np.ndarray) -> np.ndarray:
        return picture[..., 0] > 0

    path = tmp_path / "m.png"
    with pytest.raises(FileNotFoundError, match=r"no such mask: .*m\.png"):
        read_mask(path, (4, 3), is_set)
    for content, message in (
        (np.ones((3, 5), np.uint8), "the mask is 5x3, the photo 4x3"),
        (np.zeros((3, 4), np.uint8), "the mask is empty"),
    ):
        Image.fromarray(content).save(path)
        with pytest.raises(ValueError, match=rf"m\.png: {message}"):
            read_mask(path, (4, 3), is_set)
    path.write_bytes(b"\x89PNG no more")
    with pytest.raises(ValueError, match=r"m\.png is not a photo"):
        read_mask(path, (4, 3), is_set)
