from pathlib import Path

import pytest

from talking_points.dataset.sources.coco import find_split


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
