import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.published import PUBLISHED, part_classes

NAME = "part-imagenet"
SYNSETS, PARTS = PUBLISHED[NAME]["synsets"], part_classes(NAME)
PHOTO = "n02823428_0012"
IDS = {"train": [PHOTO, "n04591713_0003"], "val": ["n03983396_0001"], "test": ["n04557648_0009"]}


@pytest.fixture
def ood(tmp_path, part_imagenet_ood_writer):
    part_imagenet_ood_writer(tmp_path / "ood", IDS)
    return tmp_path / "ood"


@pytest.fixture
def seg(tmp_path, part_imagenet_seg_writer):
    part_imagenet_seg_writer(tmp_path / "seg", IDS)
    return tmp_path / "seg"


def test_classes():
    assert len(PARTS) == 40
    assert PARTS[25] == ("car", "tire")
    assert PARTS[26] == ("car", "side mirror")
    assert sum(len(names) for names in SYNSETS.values()) == 158
    assert {category for category, _ in PARTS} == set(SYNSETS)
    assert len(SYNSETS["quadruped"]) == 46
    assert len(SYNSETS["car"]) == 19


@pytest.mark.parametrize("release", ["ood", "seg"])
def test_all_three_splits_are_the_distributed_ones(release, request):
    folder = request.getfixturevalue(release)
    for split, names in IDS.items():
        source = open_source(NAME, folder, split)
        assert source.photo_ids == tuple(sorted(names))
        assert all(source.paths[name].is_file() for name in names)


@pytest.mark.parametrize("release", ["ood", "seg"])
def test_the_class_comes_from_the_file_s_name(release, request):
    scene = open_source(NAME, request.getfixturevalue(release), "train").read(PHOTO)
    assert [(thing.name, thing.category) for thing in scene.objects] == [("beer bottle", "bottle")]
    assert Counter(part.name for part in scene.parts) == {"mouth": 1, "body": 1}
    mouth = next(part for part in scene.parts if part.name == "mouth")
    assert mouth.box_xyxy == pytest.approx((15, 4, 25, 20), abs=1)


def test_pieces_of_a_part_are_one_part(ood):
    scene = open_source(NAME, ood, "train").read(PHOTO)
    body = next(part for part in scene.parts if part.name == "body")
    assert body.box_xyxy == pytest.approx((8, 20, 32, 76), abs=1)
    assert scene.part_index_at((20.5, 45.5)) is None  # the occluder


def test_the_whole_s_map_gives_the_object_s_box_and_the_rim_is_ignored(seg):
    scene = open_source(NAME, seg, "train").read(PHOTO)
    assert scene.objects[0].box_xyxy == (8, 4, 32, 80)
    assert scene.part_index_at((0.5, 10.5)) is None
    shutil.rmtree(seg / "annotations" / "train_whole")
    assert open_source(NAME, seg, "train").read(PHOTO).objects[0].box_xyxy == (8, 4, 32, 76)


def test_polygons_are_preferred_to_maps(seg, ood):
    # Their ids are certain: a map with mouth and body exchanged is not looked at.
    content = (ood / "train.json").read_text()
    (seg / "annotations" / "train" / "train.json").write_text(content)
    path = seg / "annotations" / "train" / f"{PHOTO}.png"
    labels = np.asarray(Image.open(path))
    Image.fromarray(np.where(labels == 38, 39, np.where(labels == 39, 38, labels)).astype(np.uint8)).save(path)
    scene = open_source(NAME, seg, "train").read(PHOTO)
    assert scene.parts[scene.part_index_at((20.5, 10.5))].name == "mouth"


def test_an_unknown_class(ood, seg):
    shutil.copytree(seg, seg.parent / "other")
    for kind, ending in (("images", "JPEG"), ("annotations", "png")):
        path = seg / kind / "test" / f"{IDS['test'][0]}.{ending}"
        path.rename(path.with_name(f"n99999999_1.{ending}"))
    with pytest.raises(ValueError, match='n99999999_1.JPEG: "n99999999" is none of the 158 classes'):
        open_source(NAME, seg, "test").read("n99999999_1")


@pytest.mark.parametrize(
    ("category", "message"),
    [
        (40, "annotation 1 of n02823428_0012.JPEG: has category 40, which the file lacks"),
        (0, "n02823428_0012 shows a bottle, but .* quadruped head"),
    ],
)
def test_labels_that_cannot_be(ood, category, message):
    content = json.loads((ood / "train.json").read_text())
    content["annotations"][0]["category_id"] = category
    content["categories"].append({"id": 0, "name": "Quadruped Head", "supercategory": "Quadruped"})
    (ood / "train.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"train.json: {message}"):
        open_source(NAME, ood, "train").read(PHOTO)


def test_bad_maps_and_missing_files(seg):
    source = open_source(NAME, seg, "train")
    path = seg / "annotations" / "train" / f"{PHOTO}.png"
    Image.fromarray(np.full((80, 40), 41, np.uint8)).save(path)
    with pytest.raises(ValueError, match=f"{PHOTO}.png: label 41 .* is unknown"):
        source.read(PHOTO)
    Image.fromarray(np.full((8, 4), 40, np.uint8)).save(path)
    with pytest.raises(ValueError, match=f"{PHOTO}.png: is 4x8, its photo is 40x80"):
        source.read(PHOTO)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{PHOTO}.png is missing"):
        source.read(PHOTO)
    source.paths[PHOTO].unlink()
    with pytest.raises(FileNotFoundError, match="no such photo"):
        source.read(PHOTO)


def test_a_wrong_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not PartImageNet: expected val.json, or annotations/val"):
        open_source(NAME, tmp_path, "val")
