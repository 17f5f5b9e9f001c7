from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from talking_points.evaluation.pointing.tasks import Mask, deepest_point, nearest_pixel, points_on_mask


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=13)), st.floats(-5, 20), st.floats(-5, 20))
def test_any_mask_comes_back_whole_and_has_right_answers(pixels: np.ndarray, x: float, y: float) -> None:
    size_wh = pixels.shape[::-1]
    if not pixels.any():
        with pytest.raises(ValueError, match="the mask is empty"):
            Mask.of(pixels, size_wh)
        return
    assert np.array_equal(Mask.of(pixels, size_wh).pixels(), pixels)
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
