import json
import math

import pytest
from PIL import Image

from talking_points.records import Keypoint, Triplet, read_triplets, triplet_to_dict, write_triplets
from tests.dataset.records import NAMED, a_record


def a_triplet(**changes):
    values = {
        "photo_path": "photos/0002.jpg",
        "point_px": (12.5, 80.5),
        "size_wh": (100, 200),
        "text": "the point is on the person",
        "object_name": "person",
        "part_name": "shoe",
        "object_box_xyxy": (0, 10, 90, 190),
        "part_box_xyxy": (5, 70, 30, 95),
        "source": "clothing_parts",
        "dialect": "paper",
    }
    return Triplet(**{**values, **changes})


def test_written_records_read_back_equal(tmp_path):
    bare = Triplet(photo_path="a.jpg", point_px=(0.0, 0.0), size_wh=(1, 1), text="caf\u00e9")
    triplets = [a_triplet(), bare]
    path = tmp_path / "train.jsonl"
    assert write_triplets(path, triplets) == 2
    assert read_triplets(path) == triplets
    assert path.read_text(encoding="utf-8").count("\n") == 2
    assert [file.name for file in tmp_path.iterdir()] == ["train.jsonl"]


def test_unknown_things_are_left_out():
    bare = Triplet(photo_path="a.jpg", point_px=(0.5, 0.5), size_wh=(1, 1), text="x")
    assert set(triplet_to_dict(bare)) == {"photo_path", "point_px", "size_wh", "text"}


def test_the_form_of_samples_is_read_too(tmp_path):
    Image.new("RGB", (100, 200)).save(tmp_path / "a.png")
    path = tmp_path / "train.jsonl"
    line = {"photo": "a.png", "x": 3, "y": 4.5, "text": "red", "part_name": "hood", "model": "mini", "there": None}
    path.write_text("\ufeff" + json.dumps(line), encoding="utf-8")
    assert read_triplets(path) == [
        Triplet(photo_path="a.png", point_px=(3.0, 4.5), size_wh=(100, 200), text="red", part_name="hood")
    ]
    path.write_text(json.dumps({**line, "size_wh": [200, 100]}))
    with pytest.raises(ValueError, match=r"train.jsonl:1: the photo is \(100, 200\), the line says \(200, 100\)"):
        read_triplets(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "train.jsonl"
    write_triplets(path, [a_triplet()])

    def broken():
        yield a_triplet()
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        write_triplets(path, broken())
    assert read_triplets(path) == [a_triplet()]


def test_keypoint_gives_x_and_y():
    keypoint = Keypoint(photo_path="a.jpg", point_px=(3.0, 4.0), size_wh=(10, 10))
    assert (keypoint.x, keypoint.y) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"point_px": (100.5, 3.0)}, r"point_px \[100.5, 3.0\] is outside the 100x200 photo"),
        ({"point_px": (math.nan, 3.0)}, "outside"),
        ({"size_wh": (0, 5)}, "at least 1x1"),
        ({"photo_path": ""}, "photo_path is empty"),
        ({"text": "  "}, "text is empty"),
        ({"part_box_xyxy": (5, 5, 5, 9)}, "part_box_xyxy .* is empty"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        a_triplet(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"point_px": [1, 2, 3]}, r"point_px has 3 numbers, expected 2 \(x, y\)"),
        ({"point_px": "1,2"}, 'point_px is "1,2", expected a list'),
        ({"point_px": [1, "2"]}, 'point_px holds "2", expected finite numbers'),
        ({"size_wh": [100.5, 200]}, "expected whole numbers"),
        ({"text": 5}, "text is 5, expected a text"),
        ({"txet": "x"}, "unknown field txet"),
        ({"point_px": [500, 3]}, "outside the 100x200 photo"),
    ],
)
def test_a_bad_line_is_named(tmp_path, changes, message):
    path = tmp_path / "train.jsonl"
    good = json.dumps(triplet_to_dict(a_triplet()))
    bad = json.dumps({**triplet_to_dict(a_triplet()), **changes})
    path.write_text(f"{good}\n\n{bad}\n")
    with pytest.raises(ValueError, match=rf"^train\.jsonl:3: .*{message}"):
        read_triplets(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "train.jsonl:1: "),
        ("[1]", "expected a JSON object, got list"),
        ('{"text": "x"}', "photo_path is missing"),
    ],
)
def test_lines_that_are_no_record(tmp_path, line, message):
    path = tmp_path / "train.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        read_triplets(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match="train.jsonl:1: "):
        read_triplets(path)


def test_a_built_record_becomes_a_triplet():
    record = a_record(0)
    triplet = record.to_triplet()
    assert (triplet.text, triplet.point_px, triplet.part_name) == (record.text, record.point_px, "shirt")
    assert (triplet.photo_path, triplet.dialect) == (record.photo_path, "paper")
    assert record.point_unit == (30.5 / 60, 40.5 / 120)
    with pytest.raises(ValueError, match="record people/00000/001 has no text"):
        a_record(1, **NAMED).to_triplet()
    with pytest.raises(ValueError, match="outside the 60x120 photo"):
        a_record(0, point_px=(61.0, 3.0))


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="nowhere.jsonl is missing"):
        read_triplets(tmp_path / "nowhere.jsonl")
