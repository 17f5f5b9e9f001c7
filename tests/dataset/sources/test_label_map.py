import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources.label_map import load_label_map

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "clothing_parts"
IDS = [f"{number:04d}" for number in range(30)]


@pytest.fixture
def folder(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", IDS[:5], IDS[5:7])
    return tmp_path / "people"


def test_labels_become_words(folder):
    scenes = load_label_map(folder, "test")
    assert [scene.photo_id for scene in scenes] == IDS[5:7]
    scene = scenes[0]
    assert scene.source == "people"
    assert [thing.name for thing in scene.objects] == ["person"]
    assert Counter(part.name for part in scene.parts) == Counter(
        {"hair": 1, "face": 1, "shirt": 1, "arm": 2, "jeans": 1, "shoe": 2, "bag": 1}
    )
    left, right = [part for part in scene.parts if part.name == "shoe"]
    assert left.box_xyxy == (18, 104, 27, 112)
    assert right.box_xyxy == (33, 104, 42, 112)


def test_shoes_that_touch_stay_plural(folder):
    path = folder / "labels" / "0005.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[108:112, 27:33] = 5
    Image.fromarray(labels).save(path)
    assert Counter(part.name for part in load_label_map(folder, "test")[0].parts)["shoes"] == 1


def test_skin_of_a_person_without_shoes_is_just_skin(folder):
    path = folder / "labels" / "0005.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[labels == 5] = 0
    Image.fromarray(labels).save(path)
    names = [part.name for part in load_label_map(folder, "test")[0].parts]
    assert "skin" in names
    assert not {"face", "arm", "leg"} & set(names)


def test_max_side_scales_both(folder):
    scene = load_label_map(folder, "test", max_side=60)[0]
    assert scene.size_wh == (30, 60)
    assert scene.part_map.shape == (60, 30)


def test_train_and_val_share_no_photo(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", IDS, [])
    splits = {name: {s.photo_id for s in load_label_map(tmp_path / "people", name)} for name in ("train", "val")}
    assert splits["train"] | splits["val"] == set(IDS)
    assert not splits["train"] & splits["val"]
    assert splits["val"]


def test_a_photo_without_labels_is_passed_over(folder):
    Image.fromarray(np.zeros((120, 60), np.uint8)).save(folder / "labels" / "0005.png")
    assert [scene.photo_id for scene in load_label_map(folder, "test")] == ["0006"]


def broken_label(folder):
    labels = np.zeros((120, 60), np.uint8)
    labels[50, 50] = 99
    Image.fromarray(labels).save(folder / "labels" / "0005.png")


def other_size(folder):
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(folder / "labels" / "0005.png")


def colour_labels(folder):
    Image.fromarray(np.zeros((120, 60, 3), np.uint8)).save(folder / "labels" / "0005.png")


def names_gone(folder):
    (folder / "labels.json").write_text(json.dumps({"names": "none"}))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (broken_label, "0005.png holds label 99, labels.json names 0 to 6"),
        (other_size, "0005.png is 60x50, its photo is 60x120"),
        (colour_labels, "0005.png: expected one 8-bit label a pixel"),
        (names_gone, 'labels.json: expected an object with a list "names"'),
        (lambda folder: (folder / "labels" / "0005.png").unlink(), "0005.png is missing"),
        (lambda folder: (folder / "photos" / "0005.jpg").unlink(), "0005.jpg is missing"),
        (lambda folder: (folder / "splits.json").write_text("{}"), 'expected an object with a list "test"'),
        (lambda folder: (folder / "labels.json").unlink(), "labels.json is missing"),
    ],
)
def test_what_is_wrong_is_named(folder, break_it, message):
    break_it(folder)
    with pytest.raises(ValueError, match=message):
        load_label_map(folder, "test")


def test_wrong_folder_and_split(tmp_path):
    with pytest.raises(ValueError, match="labels.json is missing"):
        load_label_map(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match="split must be one of"):
        load_label_map(tmp_path, "trian")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos are not beside this checkout")
def test_real_photos():
    scenes = load_label_map(SHARED, "test", max_side=192)
    assert len(scenes) == 100
    counts = Counter(part.name for scene in scenes for part in scene.parts)
    assert counts["hair"] > 80
    assert counts["shoe"] > 60
    assert counts["face"] > 60
    assert "null" not in counts
    for scene in scenes:
        faces = [part for part in scene.parts if part.name == "face"]
        legs = [part for part in scene.parts if part.name in ("leg", "legs")]
        # A face is above every leg.
        assert all(face.box_xyxy[3] < leg.box_xyxy[3] for face in faces for leg in legs)
