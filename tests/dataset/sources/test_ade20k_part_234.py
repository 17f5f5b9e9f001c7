import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.published import PUBLISHED, part_classes

NAME = "ade20k-part-234"
OBJECTS, PARTS = PUBLISHED[NAME]["objects"], part_classes(NAME)
PHOTO = "ADE_val_00000001"


@pytest.fixture
def folder(tmp_path, ade_writer):
    root = tmp_path / "images" / "ADE20KPart234"
    ade_writer(root, [f"ADE_train_{number:08d}" for number in range(30)], [PHOTO, "ADE_frame_00000007"])
    return root


def change(folder, edit):
    path = folder / "ade20k_instance_val.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_classes():
    assert len(OBJECTS) == 44
    assert len(PARTS) == 234
    assert {name for name, _ in PARTS} == set(OBJECTS)
    # Objects and parts are in different orders.
    assert OBJECTS[21] == "lamp"
    assert [name for name, _ in PARTS[30:39]] == ["lamp"] * 9
    assert PARTS[55] == ("chest of drawers", "drawer")


def test_the_distributed_validation_is_the_test_split(folder):
    listed = {split: set(open_source(NAME, folder, split).photo_ids) for split in ("train", "val", "test")}
    assert listed["test"] == {PHOTO, "ADE_frame_00000007"}
    assert len(listed["train"] | listed["val"]) == 30
    assert listed["val"]
    assert not listed["train"] & listed["val"]


def test_every_instance_owns_its_parts_in_each_form_of_mask(folder):
    scene = open_source(NAME, folder, "test").read(PHOTO)
    chairs = sorted(thing.box_xyxy for thing in scene.objects if thing.name == "chair")
    # A polygon, run lengths, compressed run lengths. The last has no labelled part and counts as a chair.
    assert chairs[0] == pytest.approx((4, 20, 34, 50), abs=1)
    assert chairs[1:] == [(44, 20, 74, 50), (84, 20, 114, 50)]
    for k, thing in enumerate(scene.objects):
        parts = Counter(part.name for part in scene.parts if part.object_index == k)
        if thing.name == "chair":
            assert parts == ({} if thing.box_xyxy[0] == 84 else {"seat": 1, "leg": 2})
        else:
            assert thing.name == "lamp"
            assert parts == {"shade": 1}


def test_parts_that_no_object_covers_and_crowds_are_left_out(folder):
    scene = open_source(NAME, folder, "test").read(PHOTO)
    assert scene.part_index_at((5.5, 5.5)) is None
    assert len(scene.objects) == 4


def test_eight_bit_maps_are_read(folder):
    path = folder / "annotations_detectron2_part" / "validation" / f"{PHOTO}.png"
    before = open_source(NAME, folder, "test").read(PHOTO)
    Image.fromarray(np.asarray(Image.open(path)).astype(np.uint8)).save(path)
    after = open_source(NAME, folder, "test").read(PHOTO)
    assert np.array_equal(before.part_map, after.part_map)


def test_a_part_belongs_to_its_class_though_another_object_covers_it(folder):
    # A lamp in front of the first chair's seat: the seat stays the chair's.
    change(
        folder,
        lambda content: content["annotations"].append(
            {"id": 99, "image_id": 1, "category_id": 21, "segmentation": [[10, 22, 16, 22, 16, 32, 10, 32]]}
        ),
    )
    scene = open_source(NAME, folder, "test").read(PHOTO)
    seat = scene.parts[scene.part_index_at((12.5, 27.5))]
    assert seat.name == "seat"
    assert scene.objects[seat.object_index].name == "chair"


def labelled(value):
    def edit(folder):
        path = folder / "annotations_detectron2_part" / "validation" / f"{PHOTO}.png"
        labels = np.asarray(Image.open(path)).copy()
        labels[0, 0] = value
        Image.fromarray(labels).save(path)

    return edit


def changed(edit):
    return lambda folder: change(folder, edit)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (labelled(234), f"{PHOTO}.png holds label 234, known are 0 to 233 and 65535"),
        (labelled(255), f"{PHOTO}.png holds label 255"),
        (changed(lambda c: c["images"].pop(0)), f"{PHOTO}.jpg has no record in .*ade20k_instance_val.json"),
        (changed(lambda c: c["images"][0].update(width=60, height=120)), f"{PHOTO}.jpg: is 120x60, but .* says 60x120"),
        (changed(lambda c: c["annotations"][0].update(category_id=44)), "annotation 1 of .* category 44, known are 0"),
        (
            changed(lambda c: c["annotations"][1]["segmentation"].update(counts=[5, 6])),
            "annotation 2 of .*: run lengths sum to 11",
        ),
        (
            changed(lambda c: c["annotations"][1]["segmentation"].update(size=[6, 5])),
            "annotation 2 of .*: run lengths are of 5x6 pixels",
        ),
        (changed(lambda c: c["annotations"][0].update(segmentation=None)), "annotation 1 of .*: has no segmentation"),
        (changed(lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]])), "a polygon has 3 numbers"),
    ],
)
def test_a_bad_photo_is_named_when_read(folder, break_it, message):
    break_it(folder)
    source = open_source(NAME, folder, "test")
    assert PHOTO in source.photo_ids
    with pytest.raises(ValueError, match=message):
        source.read(PHOTO)
    assert source.read("ADE_frame_00000007").parts


def test_missing_files(folder):
    (folder / "images" / "validation" / f"{PHOTO}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=f"no such photo: .*{PHOTO}.jpg"):
        open_source(NAME, folder, "test").read(PHOTO)
    (folder / "ade20k_instance_val.json").unlink()
    with pytest.raises(FileNotFoundError, match="ade20k_instance_val.json is missing"):
        open_source(NAME, folder, "test")
    (folder / "ade20k_instance_train.json").write_text('{"images": [{"id": 1}], "annotations": []}')
    with pytest.raises(ValueError, match="ade20k_instance_train.json: image 1: needs a .file_name."):
        open_source(NAME, folder, "train")
