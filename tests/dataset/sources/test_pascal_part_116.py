import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.published import PUBLISHED, instances_of_class, part_classes

NAME = "pascal-part-116"
OBJECTS, PARTS = PUBLISHED[NAME]["objects"], part_classes(NAME)


@pytest.fixture
def folder(tmp_path, pascal_writer):
    # "part" in a parent's name must not be taken for the maps' folder.
    root = tmp_path / "parts" / "Pascal-Part-116"
    pascal_writer(root, [f"2008_{number:06d}" for number in range(40)], ["2009_000001", "2009_000002"])
    return root


def test_classes():
    assert len(OBJECTS) == 20
    assert len(PARTS) == 116
    assert PARTS[0] == ("aeroplane", "body")
    assert PARTS[115] == ("tvmonitor", "screen")
    assert len({part for _, part in PARTS}) == 42
    assert {name for name in OBJECTS if name not in {owner for owner, _ in PARTS}} == {
        "boat",
        "chair",
        "diningtable",
        "sofa",
    }


def test_the_distributed_val_is_the_test_split(folder):
    listed = {split: set(open_source(NAME, folder, split).photo_ids) for split in ("train", "val", "test")}
    assert listed["test"] == {"2009_000001", "2009_000002"}
    assert len(listed["train"] | listed["val"]) == 40
    assert listed["val"]
    assert not listed["train"] & listed["val"]


def test_dogs_are_told_apart_and_a_post_does_not_cut_one_in_two(folder):
    source = open_source(NAME, folder, "test")
    scene = source.read("2009_000001")
    assert scene.source == NAME
    assert [thing.name for thing in scene.objects].count("dog") == 2
    assert {thing.name for thing in scene.objects} == {"dog", "chair"}  # a chair has no parts and is an object
    boxes = sorted(thing.box_xyxy for thing in scene.objects if thing.name == "dog")
    assert boxes == [(4, 10, 52, 56), (66, 10, 114, 56)]
    for k, thing in enumerate(scene.objects):
        parts = Counter(part.name for part in scene.parts if part.object_index == k)
        assert parts == ({"head": 1, "torso": 1, "leg": 2} if thing.name == "dog" else {})


def test_boxes_are_of_the_object_not_of_its_parts(folder):
    scene = open_source(NAME, folder, "test").read("2009_000001")
    dog = next(k for k, thing in enumerate(scene.objects) if thing.box_xyxy[0] == 4)
    assert min(part.box_xyxy[1] for part in scene.parts if part.object_index == dog) == 12
    assert scene.object_map[11, 10] == dog + 1
    assert scene.object_map[30, 33] != dog + 1  # the post


def test_the_part_map_wins_where_the_maps_disagree(folder):
    scene = open_source(NAME, folder, "test").read("2009_000001")
    assert "person" not in {thing.name for thing in scene.objects}
    assert scene.parts[scene.part_index_at((72.5, 16.5))].name == "head"


def test_unlabelled_pixels_are_no_part(folder):
    scene = open_source(NAME, folder, "test").read("2009_000001")
    assert scene.part_index_at((1.5, 1.5)) is None
    assert scene.part_index_at((10.5, 11.5)) is None  # dog, but no part


def test_a_source_can_be_pickled(folder):
    source = pickle.loads(pickle.dumps(open_source(NAME, folder, "test")))
    assert source.read("2009_000002").parts
    assert source.paths["2009_000002"].is_file()


def test_two_heads_close_together_are_two_things():
    parts = np.full((40, 60), 255, dtype=np.uint8)
    parts[10:20, 5:20] = parts[10:20, 22:37] = 61
    mask = parts != 255
    assert [one.sum() for one in instances_of_class(mask, parts)] == [150, 150]
    parts[10:20, 22:37] = 60  # a tail: the other piece of the same dog
    assert [one.sum() for one in instances_of_class(mask, parts)] == [300]


def test_far_pieces_are_two_things_and_crumbs_are_none():
    parts = np.full((40, 100), 255, dtype=np.uint8)
    parts[10:30, 5:25] = 63
    parts[10:30, 70:90] = 65
    parts[35:37, 95:97] = 65
    things = instances_of_class(parts != 255, parts)
    assert sorted(int(one.sum()) for one in things) == [400, 404]


def edited(folder, kind, value):
    path = folder / f"annotations_detectron2_{kind}" / "val" / "2009_000001.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[0, 0] = value
    Image.fromarray(labels).save(path)


def other_size(folder):
    path = folder / "annotations_detectron2_part" / "val" / "2009_000001.png"
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (lambda f: edited(f, "part", 116), ValueError, "part/val/2009_000001.png holds label 116, known are 0 to 115"),
        (lambda f: edited(f, "obj", 20), ValueError, "obj/val/2009_000001.png holds label 20, known are 0 to 19"),
        (other_size, ValueError, "2009_000001.png: is 12x10, its photo is 120x60"),
        (
            lambda f: (f / "annotations_detectron2_obj" / "val" / "2009_000001.png").unlink(),
            FileNotFoundError,
            "obj/val/2009_000001.png is missing",
        ),
        (
            lambda f: (f / "images" / "val" / "2009_000001.jpg").unlink(),
            FileNotFoundError,
            "no such photo: .*2009_000001.jpg",
        ),
        (
            lambda f: (f / "images" / "val" / "2009_000001.jpg").write_bytes(b"cut"),
            ValueError,
            "2009_000001.jpg is not a photo",
        ),
    ],
)
def test_a_bad_photo_is_listed_and_named_when_read(folder, break_it, error, message):
    break_it(folder)
    source = open_source(NAME, folder, "test")
    assert source.photo_ids == ("2009_000001", "2009_000002")
    with pytest.raises(error, match=message):
        source.read("2009_000001")
    assert source.read("2009_000002").parts


def test_a_wrong_folder_is_named(folder):
    with pytest.raises(FileNotFoundError, match="no such folder: .*nowhere"):
        open_source(NAME, folder / "nowhere", "test")
    with pytest.raises(FileNotFoundError, match="no such folder: .*images/images/val"):
        open_source(NAME, folder / "images", "test")
