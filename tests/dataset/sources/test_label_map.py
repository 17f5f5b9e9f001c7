import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources import open_source

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "clothing_parts"


def read_all(folder: Path, split: str) -> list[Scene]:
    source = open_source("label-map", folder, split)
    return [source.read(photo_id) for photo_id in source.photo_ids]


IDS = [f"{number:04d}" for number in range(30)]


@pytest.fixture
def folder(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", IDS[:5], IDS[5:7])
    return tmp_path / "people"


def test_labels_become_words(folder):
    scenes = read_all(folder, "test")
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
    assert Counter(part.name for part in read_all(folder, "test")[0].parts)["shoes"] == 1


def test_skin_of_a_person_without_shoes_is_just_skin(folder):
    path = folder / "labels" / "0005.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[labels == 5] = 0
    Image.fromarray(labels).save(path)
    names = [part.name for part in read_all(folder, "test")[0].parts]
    assert "skin" in names
    assert not {"face", "arm", "leg"} & set(names)


def test_names_are_texts(folder):
    (folder / "splits.json").write_text(json.dumps({"train": [], "test": [5]}))
    with pytest.raises(ValueError, match="people: labels.json and splits.json may name things by texts only"):
        open_source("label-map", folder, "test")


def test_train_and_val_share_no_photo(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", IDS, [])
    splits = {name: {s.photo_id for s in read_all(tmp_path / "people", name)} for name in ("train", "val")}
    assert splits["train"] | splits["val"] == set(IDS)
    assert not splits["train"] & splits["val"]
    assert splits["val"]


def test_a_photo_without_labels_has_no_parts(folder):
    Image.fromarray(np.zeros((120, 60), np.uint8)).save(folder / "labels" / "0005.png")
    assert [len(scene.parts) > 0 for scene in read_all(folder, "test")] == [False, True]


def test_sixteen_bit_labels_and_other_objects(folder):
    path = folder / "labels" / "0005.png"
    Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16)).save(path)
    (folder / "labels.json").write_text(
        json.dumps({"names": ["", "crown", "skin", "trunk", "root", "shoes", "big_branch"], "object": "tree"})
    )
    scene = read_all(folder, "test")[0]
    assert [thing.name for thing in scene.objects] == ["tree"]
    # Nothing that is true of clothes is taken to be true of trees.
    assert [part.name for part in scene.parts] == ["crown", "skin", "trunk", "root", "shoes", "big branch"]


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
        (colour_labels, "0005.png: expected one 8- or 16-bit label a pixel"),
        (names_gone, 'labels.json: expected an object with a list "names"'),
        (lambda folder: (folder / "labels" / "0005.png").unlink(), "0005.png is missing"),
        (lambda folder: (folder / "photos" / "0005.jpg").unlink(), "no such photo: .*0005.jpg"),
        (lambda folder: (folder / "splits.json").write_text("{}"), 'expected an object with a list "test"'),
        (lambda folder: (folder / "labels.json").unlink(), "labels.json is missing"),
    ],
)
def test_what_is_wrong_is_named(folder, break_it, message):
    break_it(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_all(folder, "test")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos are not beside this checkout")
def test_real_photos():
    scenes = read_all(SHARED, "test")
    assert len(scenes) == 100
    counts = Counter(part.name for scene in scenes for part in scene.parts)
    assert counts["hair"] > 80
    assert sum(counts[name] for name in ("left shoe", "right shoe", "shoe")) > 60
    assert abs(counts["left shoe"] - counts["right shoe"]) < 10 < counts["left shoe"]
    assert counts["face"] > 60
    assert "null" not in counts
    for scene in scenes:
        faces = [part for part in scene.parts if part.name == "face"]
        legs = [part for part in scene.parts if part.name in ("leg", "legs")]
        # A face is above every leg.
        assert all(face.box_xyxy[3] < leg.box_xyxy[3] for face in faces for leg in legs)
