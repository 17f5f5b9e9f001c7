from __future__ import annotations

import json
from pathlib import Path

import pytest

from talking_points.exports import triplets_to_coco, triplets_to_fiftyone, write_json
from talking_points.points import coco_to_photo
from talking_points.records import Triplet

TRIPLETS = [
    Triplet(photo_path="a.jpg", point_px=(20.5, 10.5), size_wh=(40, 20), text="a shoe", part_name="shoe"),
    Triplet(photo_path="b.jpg", point_px=(5, 5), size_wh=(10, 10), text="a hood", object_box_xyxy=(0, 1, 8, 9)),
    Triplet(photo_path="a.jpg", point_px=(0, 20), size_wh=(40, 20), text="a corner"),
]


def test_coco() -> None:
    content = triplets_to_coco(TRIPLETS)
    assert content["images"] == [
        {"id": 1, "file_name": "a.jpg", "width": 40, "height": 20},
        {"id": 2, "file_name": "b.jpg", "width": 10, "height": 10},
    ]
    first, second, third = content["annotations"]
    # COCO counts from the centre of the first pixel
    assert first["keypoints"] == [20.0, 10.0, 2] and first["bbox"] == [20.0, 10.0, 1.0, 1.0]
    assert second["bbox"] == [0, 1, 8, 8] and second["area"] == 64 and second["image_id"] == 2
    assert [one["caption"] for one in content["annotations"]] == ["a shoe", "a hood", "a corner"]
    for one, triplet in zip(content["annotations"], TRIPLETS, strict=True):
        assert coco_to_photo(one["keypoints"])[0].tolist() == [list(triplet.point_px)]
    assert third["image_id"] == 1 and content["categories"][0]["keypoints"] == ["point"]


def test_fiftyone() -> None:
    a, b = triplets_to_fiftyone(TRIPLETS)
    assert a["filepath"] == "a.jpg" and a["metadata"]["width"] == 40 and b["filepath"] == "b.jpg"
    first, third = a["points"]["keypoints"]
    assert first["points"] == [[0.5125, 0.525]] and first["label"] == "shoe" and first["description"] == "a shoe"
    assert third["points"] == [[0.0, 1.0]] and third["label"] == "point"


def test_a_photo_has_one_size() -> None:
    other = Triplet(photo_path="a.jpg", point_px=(1, 1), size_wh=(41, 20), text="a")
    for export in (triplets_to_coco, triplets_to_fiftyone):
        with pytest.raises(ValueError, match="a.jpg is 40x20 in one record and 41x20 in another"):
            export([*TRIPLETS, other])
        assert export([]) == ([] if export is triplets_to_fiftyone else export([]))


def test_files(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", triplets_to_coco(TRIPLETS))
    assert json.loads((tmp_path / "a.json").read_text()) == triplets_to_coco(TRIPLETS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
