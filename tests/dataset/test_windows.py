import numpy as np
from PIL import Image

from talking_points.dataset.windows import CUT_SIDE_PX, cut_out
from talking_points.pointing.pictures import ringed_photo


def test_the_ring_is_around_the_point_and_leaves_it_free():
    photo = Image.new("RGB", (400, 200), (0, 0, 255))
    shown = np.asarray(ringed_photo(photo, (300.0, 50.0), 200)).astype(int)
    assert shown.shape == (100, 200, 3)
    red = (shown[..., 0] > 200) & (shown[..., 1] < 60)
    rows, columns = np.nonzero(red)
    # The photo is shown at half its size.
    assert abs(columns.mean() + 0.5 - 150) < 1 and abs(rows.mean() + 0.5 - 25) < 1
    assert tuple(shown[25, 150]) == (0, 0, 255)
    # The photo itself is left as it was.
    assert photo.getpixel((300, 50)) == (0, 0, 255) and photo.getextrema()[0] == (0, 0)


def test_small_photos_are_not_enlarged():
    assert ringed_photo(Image.new("RGB", (1, 1)), (0.5, 0.5), 1024).size == (1, 1)


def test_the_point_is_in_the_middle_of_the_cut_out_and_the_rest_fades():
    photo = np.full((300, 400, 3), 255, dtype=np.uint8)
    photo[148:152, 98:102] = (255, 0, 0)
    cut = np.asarray(cut_out(Image.fromarray(photo), (100.0, 150.0))).astype(int)
    assert cut.shape == (CUT_SIDE_PX, CUT_SIDE_PX, 3)
    middle = CUT_SIDE_PX // 2
    red = cut[..., 0] - cut[..., 1] > 100
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() + 0.5 - middle) < 1 and abs(columns.mean() + 0.5 - middle) < 1
    assert abs(cut[0, 0] - 128).max() <= 2
    # Brighter towards the middle, all the way.
    row = cut[middle + 30, : middle - 30, 0]
    assert (np.diff(row) >= 0).all() and row[-1] > 220


def test_a_point_in_the_corner_has_a_cut_out():
    photo = Image.new("RGB", (100, 100), (255, 255, 255))
    cut = np.asarray(cut_out(photo, (0.0, 0.0))).astype(int)
    quarter = CUT_SIDE_PX // 2 + 20
    # Gray where there is no photo.
    assert abs(cut[CUT_SIDE_PX - quarter - 10, 10] - 128).max() <= 2
    assert cut[quarter, quarter, 0] > 200
