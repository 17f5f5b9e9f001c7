import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talking_points.points import (
    check_points,
    coco_to_photo,
    photo_to_coco,
    photo_to_scaled,
    photo_to_square,
    photo_to_supervision,
    photo_to_unit,
    scaled_to_photo,
    square_padding,
    square_to_photo,
    supervision_to_photo,
    unit_to_photo,
)

sides = st.integers(min_value=1, max_value=30_000)
fractions = st.floats(min_value=0, max_value=1)


@st.composite
def photos_with_points(draw):
    """A photo size and a few points inside that photo, its border included."""
    width, height = draw(sides), draw(sides)
    pairs = draw(st.lists(st.tuples(fractions, fractions), min_size=1, max_size=5))
    return (width, height), np.array([(u * width, v * height) for u, v in pairs])


class TestCheckPoints:
    def test_border_of_the_photo_is_inside(self):
        corners = [(0, 0), (200, 0), (0, 100), (200, 100)]
        assert check_points(corners, (200, 100)).tolist() == [[0, 0], [200, 0], [0, 100], [200, 100]]

    def test_no_points_are_fine(self):
        assert check_points([], (200, 100)).shape == (0, 2)
        assert check_points(np.empty((0, 2)), (200, 100)).shape == (0, 2)

    @pytest.mark.parametrize(
        ("given_points", "message"),
        [
            ([(300, 3)], r"point 1 \[300.0, 3.0\] is outside the 200x100 photo"),
            # counted from 1, and the first bad one is named
            ([(1, 1), (1, -0.5), (300, 3)], r"point 2 \[1.0, -0.5\] is outside the 200x100 photo"),
            ([(1, 1), (float("nan"), 3)], r"point 2 \[nan, 3.0\] is not finite"),
            ([(float("inf"), 3)], r"point 1 \[inf, 3.0\] is not finite"),
            # one pair that is not in a list
            ((3, 4), r"expected points of shape \(N, 2\), x then y, got \(2,\)"),
            ([(1, 2, 3)], r"expected points of shape \(N, 2\), x then y, got \(1, 3\)"),
            (np.empty((0, 3)), r"expected points of shape \(N, 2\), x then y, got \(0, 3\)"),
            ([[(1, 2)]], r"expected points of shape \(N, 2\), x then y, got \(1, 1, 2\)"),
            ([(1, 1), (3, 100.5)], r"point 2 \[3.0, 100.5\] is outside"),
            ([(-0.5, 1)], r"point 1 \[-0.5, 1.0\] is outside"),
            ([(1, 2), (3,)], "pairs of numbers"),
            ([("one", "two")], "pairs of numbers"),
        ],
    )
    def test_bad_points_are_named(self, given_points, message):
        with pytest.raises(ValueError, match=message):
            check_points(given_points, (200, 100))

    def test_a_photo_has_pixels(self):
        with pytest.raises(ValueError, match="at least 1x1 pixels, got 0x5"):
            check_points([], (0, 5))
        with pytest.raises(ValueError, match="at least 1x1 pixels, got 5x0"):
            check_points([], (5, 0))
        assert check_points([(1, 1)], (1, 1)).tolist() == [[1, 1]]


class TestSquare:
    @pytest.mark.parametrize(
        ("size_wh", "padding"),
        [
            ((200, 100), (0, 50, 200)),
            ((100, 200), (50, 0, 200)),
            # an odd remainder: the smaller half is on the left or on the top
            ((200, 101), (0, 49, 200)),
            ((1, 2), (0, 0, 2)),
            ((1, 1), (0, 0, 1)),
            ((20_000, 10), (0, 9995, 20_000)),
        ],
    )
    def test_padding(self, size_wh, padding):
        assert square_padding(size_wh) == padding

    def test_known_points(self):
        # a 4x2 photo in a 4x4 square: one row above, one below
        expected = [[0, 0.25], [1, 0.75], [0.5, 0.5]]
        assert photo_to_square([(0, 0), (4, 2), (2, 1)], (4, 2)).tolist() == expected

    def test_a_point_on_the_padding_comes_out_outside_the_photo(self):
        assert square_to_photo([(0.5, 0)], (200, 100)).tolist() == [[100, -50]]

    @pytest.mark.parametrize("function", [photo_to_square, photo_to_unit])
    def test_a_point_outside_is_refused(self, function):
        with pytest.raises(ValueError, match="outside the 200x100 photo"):
            function([(201, 3)], (200, 100))

    @pytest.mark.parametrize("function", [square_to_photo, unit_to_photo])
    def test_what_is_not_finite_is_refused(self, function):
        with pytest.raises(ValueError, match="not finite"):
            function([(0.5, float("nan"))], (200, 100))


class TestRoundTrips:
    @given(photos_with_points())
    def test_square(self, photo):
        size_wh, points_px = photo
        square = photo_to_square(points_px, size_wh)
        assert ((square >= 0) & (square <= 1)).all()
        back = square_to_photo(square, size_wh)
        np.testing.assert_allclose(back, points_px, rtol=0, atol=1e-9 * max(size_wh))

    @given(photos_with_points())
    def test_unit(self, photo):
        size_wh, points_px = photo
        unit = photo_to_unit(points_px, size_wh)
        assert ((unit >= 0) & (unit <= 1)).all()
        np.testing.assert_allclose(unit_to_photo(unit, size_wh), points_px, rtol=1e-12, atol=1e-12)

    @given(photos_with_points(), st.sampled_from([1, 100, 1000]))
    def test_scaled(self, photo, full_scale):
        size_wh, points_px = photo
        scaled = photo_to_scaled(points_px, size_wh, full_scale=full_scale)
        assert ((scaled >= 0) & (scaled <= full_scale)).all()
        back = scaled_to_photo(scaled, size_wh, full_scale=full_scale)
        np.testing.assert_allclose(back, points_px, rtol=1e-12, atol=1e-12)

    @given(photos_with_points())
    def test_distances_in_a_square_photo_are_those_of_the_unit_frame(self, photo):
        (width, _), points_px = photo
        points_px = np.minimum(points_px, width)
        size_wh = (width, width)
        np.testing.assert_allclose(photo_to_square(points_px, size_wh), photo_to_unit(points_px, size_wh))


class TestScaled:
    def test_known_points(self):
        assert photo_to_scaled([(100, 25)], (200, 100), full_scale=1).tolist() == [[0.5, 0.25]]
        assert photo_to_scaled([(100, 25)], (200, 100), full_scale=100).tolist() == [[50, 25]]
        assert scaled_to_photo([(500, 250)], (200, 100), full_scale=1000).tolist() == [[100, 25]]

    @pytest.mark.parametrize("full_scale", [0, -1, float("nan"), float("inf")])
    def test_scale_must_be_positive(self, full_scale):
        with pytest.raises(ValueError, match="full_scale must be a positive number"):
            photo_to_scaled([(1, 1)], (2, 2), full_scale=full_scale)


class TestCoco:
    def test_index_of_a_pixel_becomes_its_centre(self):
        points_px, visibility = coco_to_photo([0, 0, 1, 199, 99, 2])
        assert points_px.tolist() == [[0.5, 0.5], [199.5, 99.5]]
        assert visibility.tolist() == [1, 2]
        assert json.loads(json.dumps(photo_to_coco(points_px, visibility))) == [0, 0, 1, 199, 99, 2]

    def test_unlabelled_is_nan_and_not_the_corner(self):
        points_px, visibility = coco_to_photo([0, 0, 0])
        assert np.isnan(points_px).all()
        assert visibility.tolist() == [0]

    def test_round_trip(self):
        keypoints = [10, 20, 2, 0, 0, 0, 7.25, 3, 1]
        assert photo_to_coco(*coco_to_photo(keypoints)) == keypoints

    def test_what_is_there_is_visible_unless_said_otherwise(self):
        assert photo_to_coco([(10.5, 20.5), (np.nan, np.nan), (0.5, 0.5)]) == [10, 20, 2, 0, 0, 0, 0, 0, 2]

    def test_no_keypoints(self):
        points_px, visibility = coco_to_photo([])
        assert points_px.shape == (0, 2)
        assert visibility.shape == (0,)
        assert photo_to_coco([]) == []

    def test_bad_arrays(self):
        with pytest.raises(ValueError, match="one list"):
            coco_to_photo([1, 2, 2, 4])
        with pytest.raises(ValueError, match="one list"):
            coco_to_photo(np.zeros((3, 3)))
        with pytest.raises(ValueError, match=r"must be 0, 1 or 2, got \[7.0\]"):
            coco_to_photo([1, 2, 7])
        with pytest.raises(ValueError, match="expected 1 visibilities"):
            photo_to_coco([(1, 1)], [2, 2])
        with pytest.raises(ValueError, match="expected 1 visibilities of 0, 1 or 2, got \\[3\\]"):
            photo_to_coco([(1, 1)], [3])
        # half of it is there
        with pytest.raises(ValueError, match="point 1 .* not finite"):
            photo_to_coco([(np.nan, 1)])
        # called hidden, and not there
        with pytest.raises(ValueError, match="point 1 .* not finite"):
            photo_to_coco([(np.nan, np.nan)], [1])
        # called visible, and not there
        with pytest.raises(ValueError, match="point 2 .* not finite"):
            photo_to_coco([(1, 1), (np.nan, 1)], [2, 2])


class TestSupervision:
    def test_round_trip(self):
        sv = pytest.importorskip("supervision", reason="supervision is not installed")
        key_points = photo_to_supervision([[(10, 20), (30.5, 40)], [(np.nan, np.nan), (1, 2)]])
        assert isinstance(key_points, sv.KeyPoints)
        assert key_points.xy.tolist() == [[[10, 20], [30.5, 40]], [[0, 0], [1, 2]]]
        back = supervision_to_photo(key_points)
        np.testing.assert_array_equal(back, [[[10, 20], [30.5, 40]], [[np.nan, np.nan], [1, 2]]])

    def test_points_of_one_object(self):
        pytest.importorskip("supervision", reason="supervision is not installed")
        assert photo_to_supervision([(10, 20)]).xy.shape == (1, 1, 2)

    def test_reading_needs_only_the_array(self):
        # a point on the border has one 0
        found = supervision_to_photo(SimpleNamespace(xy=np.float32([[[0, 0], [4, 5], [0, 5]]])))
        np.testing.assert_array_equal(found, [[[np.nan, np.nan], [4, 5], [0, 5]]])

    @pytest.mark.parametrize("shape", [(2,), (4, 3), (1, 2, 3), (1, 1, 4, 2)])
    def test_wrong_shape(self, shape):
        with pytest.raises(ValueError, match="shape"):
            photo_to_supervision(np.zeros(shape))

    def test_missing_library_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "supervision", None)
        with pytest.raises(ImportError, match="pip install supervision"):
            photo_to_supervision([(1, 2)])
