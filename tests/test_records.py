import math

import pytest

from talking_points.records import Triplet, triplet_of_sample

LINE = {"photo": "a.png", "x": 3, "y": 4.5, "text": "red", "part_name": "hood", "model": "mini", "there": None}


def test_a_line_becomes_a_triplet():
    box = {"object_box_xyxy": [0, 1, 9, 19]}
    assert triplet_of_sample({**LINE, **box, "size_wh": [100, 200]}, (100, 200)) == Triplet(
        photo_path="a.png",
        point_px=(3.0, 4.5),
        size_wh=(100, 200),
        text="red",
        part_name="hood",
        object_box_xyxy=(0, 1, 9, 19),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": 100.5}, r"point_px \[100.5, 4.5\] is outside the 100x200 photo"),
        ({"x": "1"}, '"x" must be a number'),
        ({"size_wh": [100.5, 200]}, "in whole pixels"),
        ({"size_wh": [200, 100]}, r"the photo is \(100, 200\), the line says \(200, 100\)"),
        ({"photo": ""}, '"photo" must be a path'),
        ({"text": "  "}, "text is empty"),
        ({"text": 5}, "text is 5, expected a text"),
        ({"text": None}, "text is missing"),
        ({"part_box_xyxy": [5, 5, 5, 9]}, "part_box_xyxy .* is empty"),
        ({"part_box_xyxy": [5, 5, "6", 9]}, "expected four finite numbers"),
        ({"part_box_xyxy": "all"}, "expected four finite numbers"),
    ],
)
def test_a_bad_line_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        triplet_of_sample({**LINE, **changes}, (100, 200))


def test_a_point_is_in_its_photo():
    with pytest.raises(ValueError, match="outside"):
        Triplet(photo_path="a.jpg", point_px=(math.nan, 3.0), size_wh=(9, 9), text="a")
