import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources.coco_parts import load_coco_parts

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "car_parts"


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
    scenes = load_coco_parts(folder, "test")
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
    scene = load_coco_parts(folder, "test")[0]
    assert scene.parts[scene.part_index_at((29, 18))].name == "left mirror"
    assert scene.parts[scene.part_index_at((40, 30))].name == "front left door"


def test_a_photo_of_another_size_and_the_same_shape_is_scaled(folder):
    Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(folder / "test" / "images" / "car0.jpg")
    scene = load_coco_parts(folder, "test")[0]
    assert scene.size_wh == (200, 120)
    door = next(part for part in scene.parts if part.name == "front left door")
    assert door.box_xyxy == pytest.approx((40, 20, 120, 90), abs=2)


def test_train_val_and_test(tmp_path, coco_writer):
    coco_writer(tmp_path / "cars", [f"car{number}" for number in range(40)])
    train, val = ({s.photo_id for s in load_coco_parts(tmp_path / "cars", name)} for name in ("train", "val"))
    assert not train & val
    assert len(train | val) == 40
    assert val


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
        (run_lengths, "annotation 1 is a dict"),
        (odd_polygon, "polygon of 7 numbers"),
        (unknown_category, "annotation 1 has category 77"),
        (other_shape, "car0.jpg is 100x60, but annotations.json says 300x60"),
        (lambda content: content.pop("images"), 'expected an object with "images"'),
    ],
)
def test_what_is_wrong_is_named(folder, edit, message):
    change(folder, edit)
    with pytest.raises(ValueError, match=message):
        load_coco_parts(folder, "test")


def test_missing_files(folder, tmp_path):
    (folder / "test" / "images" / "car1.jpg").unlink()
    with pytest.raises(ValueError, match="car1.jpg is missing"):
        load_coco_parts(folder, "test")
    with pytest.raises(ValueError, match="annotations.json is missing"):
        load_coco_parts(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match="split must be one of"):
        load_coco_parts(folder, "training")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos are not beside this checkout")
def test_real_photos():
    scenes = load_coco_parts(SHARED, "test", max_side=192)
    assert len(scenes) == 100
    counts = Counter(part.name for scene in scenes for part in scene.parts)
    assert counts["wheel"] > 100
    assert {"windshield", "hood", "left headlight", "rear window", "tailgate"} <= counts.keys()
    assert not any("_" in name for name in counts)
