import numpy as np
import pytest

from talking_points.dataset.sources.painting import capsule, disc, ellipse, hull, rectangle


def test_a_disc_holds_the_pixels_whose_centres_are_near():
    mask = disc((9, 7), (4.5, 3.5), 2)
    assert mask.shape == (7, 9)
    assert mask.sum() == 13
    assert mask[3, 2:7].all() and not mask[3, 1] and mask[1, 4] and not mask[1, 3]
    # Cut by the border, and empty outside of it.
    assert disc((9, 7), (0.5, 0.5), 2).sum() == 6
    assert not disc((9, 7), (-20, 3), 2).any()


def test_a_capsule_holds_the_line_and_both_ends():
    mask = capsule((20, 9), (4.5, 4.5), (14.5, 4.5), 1.2)
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (3, 15, 3, 5)
    assert mask[3:6, 4:15].all() and mask.sum() == 35
    slanted = capsule((20, 20), (2.5, 2.5), (12.5, 12.5), 1.0)
    assert slanted[7, 7] and not slanted[7, 10]
    assert (slanted == slanted.T).all()


def test_a_hull_is_the_smallest_convex_shape_whatever_the_order_of_its_points():
    square = [(2, 2), (10, 2), (10, 6), (2, 6)]
    wanted = np.zeros((8, 12), dtype=bool)
    wanted[2:6, 2:10] = True
    for points in (square, square[::-1], [square[0], square[2], square[1], square[3], (5, 4)]):
        assert (hull((12, 8), points) == wanted).all()
    assert not hull((12, 8), [(1, 1), (5, 5), (9, 9)]).any()
    assert not hull((12, 8), [(20, 20), (30, 20), (30, 30)]).any()


def test_an_ellipse_touches_its_box():
    mask = ellipse((20, 20), (4, 6, 14, 12))
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (4, 14, 6, 12)
    assert mask.sum() == pytest.approx(np.pi * 5 * 3, abs=4)
    assert not mask[6, 4]


def test_a_rectangle_holds_the_pixels_whose_centres_are_in_it():
    mask = rectangle((10, 10), (1.6, 2.0, 4.4, 5.5))
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (2, 3, 2, 4)
