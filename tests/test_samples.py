from __future__ import annotations

from typing import Any

import pytest

from talking_points.samples import (
    ABSENT_BELOW,
    FoundPoint,
    PhotoPoint,
    absence,
    answer_as_json,
    point_of_record,
    points_as_json,
)

NOWHERE = {"found_x": None, "found_y": None, "there": None}


def test_found_and_there_are_always_told_and_what_else_is_known() -> None:
    assert answer_as_json(PhotoPoint(description="a hood")) == {"description": "a hood", **NOWHERE}
    found = FoundPoint(point_px=(120.0, 50.0), confidence=0.876543, runner_up_px=(0.0, 0.0), there=0.25)
    trip = PhotoPoint(point_px=(100.0, 50.0), description="").answered(found, (200, 100))
    assert answer_as_json(trip) == {
        "description": "",
        "found_x": 120.0,
        "found_y": 50.0,
        "confidence": 0.8765,
        "runner_up_x": 0.0,
        "runner_up_y": 0.0,
        "there": 0.25,
        "error": pytest.approx(0.1),
    }


def test_absence_in_words() -> None:
    assert [absence(there) for there in (None, 1.0, ABSENT_BELOW)] == ["", "", ""]
    assert absence(ABSENT_BELOW - 1e-6) == absence(0.0) == "not in the photo"


def test_answers_about_one_photo() -> None:
    points = [PhotoPoint(point_px=(0.0, 0.0), description="a"), PhotoPoint(text="b", found_px=(1.0, 2.0))]
    assert points_as_json(points, (30, 20), model="mini", path="a.jpg") == {
        "model": "mini",
        "photo": {"path": "a.jpg", "width": 30, "height": 20},
        "points": [
            {"x": 0.0, "y": 0.0, "description": "a", **NOWHERE},
            {"text": "b", "found_x": 1.0, "found_y": 2.0, "there": None},
        ],
    }
    assert points[0].words == "a" and points[1].words == "b" and PhotoPoint().words is None


def test_what_a_record_asks() -> None:
    record = {"photo": "a.jpg", "x": 1, "y": 2.5, "text": "b", "size_wh": [30, 20]}
    assert point_of_record(record, wants_text=False) == PhotoPoint(photo="a.jpg", size_wh=(30, 20), point_px=(1.0, 2.5))
    assert point_of_record(record, wants_text=True) == PhotoPoint(photo="a.jpg", size_wh=(30, 20), text="b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photo": None}, '"photo" must be a path, got None'),
        ({"photo": "a\0"}, '"photo" must be a path'),
        ({"x": "150"}, "\"x\" must be a number of pixels, got '150'"),
        ({"y": True}, '"y" must be a number of pixels, got True'),
        ({"y": float("nan")}, '"y" must be a number of pixels, got nan'),
        ({"x": 10**400}, '"x" must be a number of pixels, got 1000'),
        ({"size_wh": [30, 10**400]}, '"size_wh" must be'),
        ({"size_wh": [30]}, r'"size_wh" must be \[width, height\] in whole pixels, got \[30\]'),
    ],
)
def test_a_bad_record_names_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        point_of_record({"photo": "a.jpg", "x": 1, "y": 2, **change}, wants_text=False)
    if "x" not in change and "y" not in change:
        with pytest.raises(ValueError, match=message):
            point_of_record({"photo": "a.jpg", "text": "b", **change}, wants_text=True)


def test_a_record_of_other_names_says_which_it_has() -> None:
    with pytest.raises(
        ValueError, match=r'"photo" must be a path, got None; there are img, kp \(--fields names them\)$'
    ):
        point_of_record({"img": "a.jpg", "kp": [1, 2]}, wants_text=False)


def test_a_missing_text() -> None:
    with pytest.raises(ValueError, match='"text" must be a text, got None'):
        point_of_record({"photo": "a.jpg", "x": 1, "y": 2}, wants_text=True)
