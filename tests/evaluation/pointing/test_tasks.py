from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from talking_points.evaluation.pointing.tasks import Mask, pixel_near, points_on_mask


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=13)), st.floats(-5, 20), st.floats(-5, 20))
def test_any_mask_comes_back_whole_and_has_right_answers(pixels: np.ndarray, x: float, y: float) -> None:
    size_wh = pixels.shape[::-1]
    if not pixels.any():
        with pytest.raises(ValueError, match="the mask is empty"):
            Mask.of(pixels, size_wh)
        return
    assert np.array_equal(Mask.of(pixels, size_wh).pixels(), pixels)
    assert points_on_mask(pixel_near(pixels), pixels, rounded=False).all()
    assert points_on_mask(pixel_near(pixels, (x, y)), pixels, rounded=True).all()


def test_the_nearest_pixel_by_hand() -> None:
    pixels = np.zeros((9, 12), bool)
    pixels[2:7, 3:8] = True
    assert pixel_near(pixels) == (5, 4)
    assert pixel_near(pixels, (5.2, 4.9)) == (5, 5)
    assert pixel_near(pixels, (20, 0)) == (7, 2)
