import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources import open_source

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "car_parts"


def read_all(folder: Path, split: str) -> list[Scene]:
    source = open_source("coco-parts", folder, split)
    return [source.read(photo_id) for photo_id in source.photo_ids]


@pytest.fixture
def folder(tmp_path, coco_writer):
    coco_writer(tmp_path / "cars", [f"car{number}" for number in range(3)])
    return tmp_path / "cars"


def change(folder, edit):
    path = folder / "test" / "annotations.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_categories_become_words_and_wheels_are_told_apart(folder):
    scenes = read_all(folder, "test")
    # "empty" has no annotations and is passed over.
    assert [scene.photo_id for scene in scenes] == ["car0", "car1", "car2"]
    scene = scenes[0]
    assert scene.source == "cars"
    assert Counter(part.name for part in scene.parts) == Counter(
        {"front left door": 1, "left mirror": 1, "rear window": 1, "wheel": 2}
    )
    assert [thing.name for thing in scene.objects] == ["car"]
    left, right = [part for part in scene.parts if part.name == "wheel"]
    assert left.box_xyxy[0] == pytest.approx(10, abs=1)
    assert right.box_xyxy[2] == pytest.approx(82, abs=1)


def test_the_smaller_polygon_is_on_top(folder):
    scene = read_all(folder, "test")[0]
    assert scene.parts[scene.part_index_at((29, 18))].name == "left mirror"
    assert scene.parts[scene.part_index_at((40, 30))].name == "front left door"


def test_a_photo_of_another_size_and_the_same_shape_is_scaled(folder):
    Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(folder / "test" / "images" / "car0.jpg")
    scene = read_all(folder, "test")[0]
    assert scene.size_wh == (200, 120)
    door = next(part for part in scene.parts if part.name == "front left door")
    assert door.box_xyxy == pytest.approx((40, 20, 120, 90), abs=2)


def test_train_val_and_test(tmp_path, coco_writer):
    coco_writer(tmp_path / "cars", [f"car{number}" for number in range(40)])
    train, val = ({s.photo_id for s in read_all(tmp_path / "cars", name)} for name in ("train", "val"))
    assert not train & val
    assert len(train | val) == 40
    assert val


def test_run_lengths_are_read_as_polygons_are(folder):
    expected = read_all(folder, "test")[0]
    # The mirror: 9 columns from 25 on, rows 15 to 21. Polygons are drawn with their border.
    runs = [25 * 60 + 15, *[7, 53] * 8, 7, 6000 - (25 * 60 + 15) - 8 * 60 - 7]
    change(folder, lambda content: content["annotations"][0].update(segmentation={"size": [60, 100], "counts": runs}))
    assert read_all(folder, "test")[0].parts == expected.parts


def test_objects_with_ids_are_told_apart(folder):
    def two_cars(content):
        for annotation in content["annotations"][:4]:
            annotation["object_id"] = 1 if annotation["category_id"] == 5 else 2
        for category in content["categories"]:
            category["supercategory"] = "car"

    change(folder, two_cars)
    scene = read_all(folder, "test")[0]
    assert [thing.name for thing in scene.objects] == ["car", "car"]
    owners = {part.name: part.object_index for part in scene.parts}
    assert owners["rear window"] == 0
    assert owners["wheel"] == owners["left mirror"] == 1


def test_the_object_s_class_must_be_said(folder):
    change(folder, lambda content: content["categories"][1].pop("supercategory"))
    with pytest.raises(ValueError, match='annotations.json: category "wheel" needs a "supercategory"'):
        read_all(folder, "test")


def run_lengths(content):
    content["annotations"][0]["segmentation"] = {"counts": [1, 2], "size": [60, 100]}


def odd_polygon(content):
    content["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]


def unknown_category(content):
    content["annotations"][0]["category_id"] = 77


def other_shape(content):
    content["images"][0]["width"] = 300


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (run_lengths, "annotation 1: run lengths sum to 3, expected 100x60 pixels"),
        (odd_polygon, "annotation 1: a polygon has 7 numbers"),
        (unknown_category, "annotation 1 has category 77"),
        (other_shape, "car0.jpg is 100x60, but annotations.json says 300x60"),
        (lambda content: content.pop("images"), 'expected an object with "images"'),
    ],
)
def test_what_is_wrong_is_named(folder, edit, message):
    change(folder, edit)
    with pytest.raises(ValueError, match=message):
        read_all(folder, "test")


def test_missing_files(folder):
    (folder / "test" / "images" / "car1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="no such photo: .*car1.jpg"):
        read_all(folder, "test")
    with pytest.raises(FileNotFoundError, match="train/annotations.json is missing"):
        open_source("coco-parts", folder / "test", "train")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos are not beside this checkout")
def test_real_photos():
    scenes = read_all(SHARED, "test")
    assert len(scenes) == 100
    counts = Counter(part.name for scene in scenes for part in scene.parts)
    assert counts["wheel"] > 100
    assert {"windshield", "hood", "left headlight", "rear window", "tailgate"} <= counts.keys()
    assert not any("_" in name for name in counts)
