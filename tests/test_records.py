import json
import math

import pytest
from PIL import Image

from talking_points.records import Triplet, read_triplets

LINE = {"photo": "a.png", "x": 3, "y": 4.5, "text": "red", "part_name": "hood", "model": "mini", "there": None}


@pytest.fixture
def read(tmp_path):
    Image.new("RGB", (100, 200)).save(tmp_path / "a.png")

    def read(*lines):
        path = tmp_path / "train.jsonl"
        path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
        return read_triplets(path)

    return read


def test_the_form_of_samples_and_the_old_one_are_read(read):
    old = {"photo_path": "b.png", "point_px": [1, 2], "size_wh": [10, 20], "text": "caf\u00e9", "dialect": "paper"}
    old |= {"object_box_xyxy": [0, 1, 9, 19]}
    assert read("\ufeff" + json.dumps(LINE), "", old) == [
        Triplet(photo_path="a.png", point_px=(3.0, 4.5), size_wh=(100, 200), text="red", part_name="hood"),
        Triplet(
            photo_path="b.png",
            point_px=(1.0, 2.0),
            size_wh=(10, 20),
            text="caf\u00e9",
            dialect="paper",
            object_box_xyxy=(0, 1, 9, 19),
        ),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": 100.5}, r"point_px \[100.5, 4.5\] is outside the 100x200 photo"),
        ({"x": "1"}, '"x" must be a number'),
        ({"size_wh": [100.5, 200]}, "in whole pixels"),
        ({"size_wh": [0, 5]}, "at least 1x1"),
        ({"photo": ""}, '"photo" must be a path'),
        ({"text": "  "}, "text is empty"),
        ({"text": 5}, "text is 5, expected a text"),
        ({"text": None}, "text is missing"),
        ({"part_box_xyxy": [5, 5, 5, 9]}, "part_box_xyxy .* is empty"),
        ({"part_box_xyxy": [5, 5, "6", 9]}, "expected four finite numbers"),
        ({"part_box_xyxy": "all"}, "expected four finite numbers"),
    ],
)
def test_a_bad_line_is_named(read, changes, message):
    with pytest.raises(ValueError, match=rf"^train\.jsonl:3: .*{message}"):
        read(LINE, "", {**LINE, **changes})


@pytest.mark.parametrize(
    "line", ["{", "{}", '{"text": "x"}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]
)
def test_lines_that_are_no_record(read, line):
    with pytest.raises(ValueError, match="^train.jsonl:1: "):
        read(line)


def test_a_point_is_in_its_photo():
    with pytest.raises(ValueError, match="outside"):
        Triplet(photo_path="a.jpg", point_px=(math.nan, 3.0), size_wh=(9, 9), text="a")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.jsonl"):
        read_triplets(tmp_path / "nowhere.jsonl")
