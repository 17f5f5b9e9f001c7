import json
from pathlib import Path
from typing import Any

import pytest

from talking_points.dataset.sources.coco import find_split
from talking_points.labels.coco import id_of, read_coco
from talking_points.labels.problems import LabelError
from tests.conftest import rectangle


def write(path: Path, **changes: Any) -> Path:
    content = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 10, "height": 8},
            {"id": 2, "file_name": "b.jpg", "width": 10, "height": 8},
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "segmentation": [rectangle(1, 1, 5, 5)]}],
        "categories": [{"id": 3, "name": "wheel", "supercategory": "car"}],
    }
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_no_file_and_no_coco(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.json is missing"):
        read_coco(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "is a list"),
        ([{"image_id": 1, "category_id": 2, "bbox": []}], "is a list of annotations alone, as COCO's results are"),
        ([{"data": {"image": "a.jpg"}, "annotations": []}], "looks like Label Studio's own JSON"),
        ({"version": "5.0", "shapes": [], "imagePath": "a.jpg"}, "looks like LabelMe's JSON"),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "looks like VIA's JSON"),
        ({"names": ["null"]}, "looks like a labels.json of label maps"),
        ({"images": [], "categories": []}, "has images, categories"),
        ({}, "has nothing in it"),
        ("text", "is a str"),
    ],
)
def test_other_json_is_told(tmp_path, content, said):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(LabelError, match=f'a.json: {said}.*; expected an object with "images" and "annotations"'):
        read_coco(tmp_path / "a.json")


IMAGE = {"id": 1, "file_name": "a.jpg", "width": 10, "height": 8}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": [IMAGE, {**IMAGE, "file_name": "b.jpg"}]}, "images a.jpg and b.jpg: have one id, 1"),
        ({"images": [IMAGE, {**IMAGE, "id": "1", "file_name": "b.jpg"}]}, "images a.jpg and b.jpg: have one id, 1"),
        ({"images": [IMAGE, {**IMAGE, "id": 5}]}, "images 1 and 5: are both of a.jpg"),
        (
            {"images": [IMAGE, {**IMAGE, "id": 5, "file_name": "a.png"}]},
            "images a.jpg and a.png: have one name but for",
        ),
        ({"images": [{"id": 1, "width": 10, "height": 8}]}, 'image 1: needs a "file_name"'),
        ({"images": [{**IMAGE, "file_name": 5}]}, 'image 1: needs a "file_name"'),
        ({"images": [{"file_name": "a.jpg"}]}, "image 1 of the list: needs an id"),
        ({"images": [{**IMAGE, "id": True}]}, "image 1 of the list: needs an id"),
        ({"images": [None]}, "image 1 of the list: needs an id"),
        ({"images": [{**IMAGE, "width": -10}]}, "image 1 .a.jpg.: has width -10 and height 8"),
        ({"images": [{**IMAGE, "width": "wide"}]}, "image 1 .a.jpg.: has width 'wide'"),
        ({"images": [{**IMAGE, "width": 10.5}]}, "image 1 .a.jpg.: has width 10.5"),
        ({"images": {"1": IMAGE}}, '"images": expected a list, got dict'),
        ({"annotations": 5}, '"annotations": expected a list, got int'),
        ({"categories": [{"id": 3, "name": "a"}, {"id": "3", "name": "b"}]}, 'category 3: has two names, "a" and "b"'),
        ({"categories": [{"id": 3}]}, "category 1 of the list: expected a number as id and a name"),
        *(
            (
                {"categories": [{"id": 3, "name": name}]},
                "category 1 of the list: expected .* a name with a letter in it",
            )
            for name in ("", " ", "_", "7", 7, ["wheel"], None)
        ),
        ({"categories": ["wheel"]}, "category 1 of the list: expected a number as id and a name"),
    ],
)
def test_what_makes_a_file_unsure_refuses_it(tmp_path, changes, said):
    with pytest.raises(LabelError, match=f"a.json: {said}") as raised:
        read_coco(write(tmp_path / "a.json", **changes))
    assert "\n" not in str(raised.value)


def test_a_category_without_a_name_and_without_annotations_does_not_matter(tmp_path):
    wheel = {"id": 3, "name": "wheel", "supercategory": "car"}
    path = write(tmp_path / "a.json", categories=[{"id": 0, "name": "-"}, wheel, {"id": 4}])
    assert list(read_coco(path).categories) == [3]


def test_all_problems_are_told_at_once(tmp_path):
    images = [IMAGE, {**IMAGE, "file_name": "b.jpg"}, {**IMAGE, "id": 3}, {"id": 4}]
    with pytest.raises(LabelError, match="and 3 more: build-dataset --check lists all") as raised:
        read_coco(write(tmp_path / "a.json", images=images, categories=[5]))
    assert len(raised.value.problems) == 4


def test_the_same_record_twice_is_one(tmp_path):
    wheel = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [rectangle(1, 1, 5, 5)]}
    other = {**wheel, "segmentation": [rectangle(6, 1, 9, 5)]}
    category = {"id": 3, "name": "wheel", "supercategory": "car"}
    path = write(
        tmp_path / "a.json",
        images=[IMAGE, IMAGE],
        annotations=[wheel, dict(wheel), other],
        categories=[category, category],
    )
    coco = read_coco(path)
    assert list(coco.photos) == ["a"]
    # An id that two annotations share does not matter.
    assert coco.photos["a"].annotations == [wheel, other]


def test_annotations_of_unknown_photos(tmp_path):
    wheel = {"category_id": 3, "segmentation": [rectangle(1, 1, 5, 5)]}
    annotations = [{**wheel, "image_id": 7}, {**wheel, "image_id": 7}, wheel, 5, {**wheel, "image_id": 2}]
    coco = read_coco(write(tmp_path / "a.json", annotations=annotations))
    assert len(coco.photos["b"].annotations) == 1
    assert [f"{one.record}: {one.problem}" for one in coco.problems] == [
        "annotation 4 of the list: expected an object, got 5",
        "image_id 7: 2 annotations are of image_id 7, which the file lacks",
        "image_id None: an annotation is of image_id None, which the file lacks",
    ]


@pytest.mark.parametrize(
    ("value", "known"),
    [(12, 12), ("12", 12), (" 012 ", 12), (12.0, 12), ("a7", "a7"), ("-3", -3)]
    + [(value, None) for value in (None, True, 1.5, "", " ", [1], {})],
)
def test_ids(value, known):
    assert id_of(value) == known


def joined(tmp_path: Path, **other: Any) -> dict[str, list[Any]]:
    """Annotations by photo, of two files."""
    with_joints = {"id": 1, "image_id": 2, "category_id": 4, "keypoints": []}
    people = {"annotations": [with_joints], "categories": [{"id": 4, "name": "person"}], **other}
    both = read_coco(write(tmp_path / "one.json"), write(tmp_path / "other.json", **people))
    return {name: [one["category_id"] for one in photo.annotations] for name, photo in both.photos.items()}


def test_two_files_may_each_count_annotations_from_1(tmp_path):
    assert joined(tmp_path) == {"a": [3], "b": [4]}


def test_photos_of_two_files_are_the_same_by_their_names(tmp_path):
    exchanged = [{"id": 2, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    assert joined(tmp_path, images=exchanged) == {"a": [3, 4], "b": []}


def test_an_id_is_a_photo_s_of_its_own_file(tmp_path):
    others = [{"id": 1, "file_name": "c.jpg"}, {"id": 2, "file_name": "d.jpg"}]
    assert joined(tmp_path, images=others) == {"a": [3], "b": [], "c": [], "d": [4]}


def test_an_annotation_of_both_files_has_the_keys_of_both(tmp_path):
    known = {"id": 1, "image_id": 1, "category_id": 3}
    one = write(tmp_path / "one.json", annotations=[{**known, "bbox": [1, 1, 4, 4]}])
    other = write(tmp_path / "other.json", annotations=[{**known, "keypoints": [1, 1, 2]}])
    (annotation,) = read_coco(one, other).photos["a"].annotations
    assert annotation == {**known, "bbox": [1, 1, 4, 4], "keypoints": [1, 1, 2]}


# --- where the files of a split lie ---------------------------------------------------------------------------


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("{}")
    return folder


def found(folder: Path, split: str) -> tuple[list[str], str, bool]:
    annotations, photos, holds_out = find_split(folder, split)
    names = [path.relative_to(folder).as_posix() for path in annotations]
    return names, photos.relative_to(folder).as_posix(), holds_out


def test_peoples_own(tmp_path):
    lay(tmp_path, "train/annotations.json", "train/images/", "test/annotations.json", "test/images/")
    assert found(tmp_path, "train") == (["train/annotations.json"], "train/images", True)
    assert found(tmp_path, "val") == (["train/annotations.json"], "train/images", True)
    assert found(tmp_path, "test") == (["test/annotations.json"], "test/images", False)


def test_cocos_own_of_the_last_year(tmp_path):
    names = [
        f"annotations/{kind}_{split}2017.json"
        for kind in ("person_keypoints", "instances")
        for split in ("train", "val")
    ]
    lay(tmp_path, *names, "annotations/instances_val2014.json", "train2017/", "val2017/")
    both = ["annotations/instances_train2017.json", "annotations/person_keypoints_train2017.json"]
    assert found(tmp_path, "train") == (both, "train2017", True)
    assert found(tmp_path, "val") == (both, "train2017", True)
    assert found(tmp_path, "test") == ([name.replace("train", "val") for name in both], "val2017", False)


def test_cocos_own_with_one_file(tmp_path):
    lay(tmp_path, "annotations/person_keypoints_train2014.json", "images/train2014/")
    assert found(tmp_path, "train") == (["annotations/person_keypoints_train2014.json"], "images/train2014", True)
    with pytest.raises(FileNotFoundError, match="none to test on"):
        find_split(tmp_path, "test")


def test_roboflow_with_three_splits(tmp_path):
    lay(tmp_path, *[f"{split}/_annotations.coco.json" for split in ("train", "valid", "test")])
    assert found(tmp_path, "train") == (["train/_annotations.coco.json"], "train", False)
    assert found(tmp_path, "val") == (["valid/_annotations.coco.json"], "valid", False)
    assert found(tmp_path, "test") == (["test/_annotations.coco.json"], "test", False)


def test_of_two_splits_the_second_is_the_test(tmp_path):
    lay(tmp_path, *[f"{split}/_annotations.coco.json" for split in ("train", "valid")])
    assert found(tmp_path, "train") == (["train/_annotations.coco.json"], "train", True)
    assert found(tmp_path, "val") == (["train/_annotations.coco.json"], "train", True)
    assert found(tmp_path, "test") == (["valid/_annotations.coco.json"], "valid", False)


def test_one_file_has_nothing_to_test_on(tmp_path):
    lay(tmp_path, "annotations.json", "images/")
    assert found(tmp_path, "train") == (["annotations.json"], "images", True)
    with pytest.raises(FileNotFoundError, match="photos to train on and none to test on; put some in test/"):
        find_split(tmp_path, "test")


def test_car_parts_originals(tmp_path):
    lay(tmp_path, *[f"{split}/annotations.json" for split in ("trainingset", "testset")], "trainingset/JPEGImages/")
    assert found(tmp_path, "train") == (["trainingset/annotations.json"], "trainingset/JPEGImages", True)
    assert found(tmp_path, "test") == (["testset/annotations.json"], "testset", False)


def test_a_folder_of_another_layout(tmp_path):
    lay(tmp_path, "labels.json")
    with pytest.raises(FileNotFoundError, match="no annotation file of the train split; expected one of train/anno"):
        find_split(tmp_path, "train")
    held_out = "no annotation file of the val split; expected valid/annotations.json, .*one of the train split"
    with pytest.raises(FileNotFoundError, match=held_out):
        find_split(tmp_path, "val")
    with pytest.raises(FileNotFoundError, match="of the test split; expected one of test/.*instances_val2017") as error:
        find_split(tmp_path, "test")
    assert "train" not in str(error.value).replace(str(tmp_path), "")
