import pytest

from talking_points.dataset.sources import SOURCES, open_source
from talking_points.labels.problems import LabelError


def test_names():
    published = {"ade20k-part-234", "part-imagenet", "pascal-part-116"}
    assert SOURCES.keys() == published | {"coco", "coco-parts", "label-map"}


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(ValueError, match='unknown source "pascal"; known are ade20k-part-234, coco'):
        open_source("pascal", tmp_path, "test")
    for name in SOURCES:
        with pytest.raises(ValueError, match='split must be one of train, val, test, got "dev"'):
            open_source(name, tmp_path, "dev")
        with pytest.raises(FileNotFoundError, match=f"{name}: no such folder"):
            open_source(name, tmp_path / "nowhere", "test")
        with pytest.raises((FileNotFoundError, LabelError), match=str(tmp_path)):
            open_source(name, tmp_path, "test")


def test_photo_ids_are_sorted_whatever_the_order_of_the_files(tmp_path, coco_writer, label_map_writer):
    coco_writer(tmp_path / "cars", ["b", "c", "a"])
    label_map_writer(tmp_path / "people", ["0001"], ["9", "10", "8"])
    assert open_source("coco-parts", tmp_path / "cars", "test").photo_ids == ("a", "b", "c")
    assert open_source("label-map", tmp_path / "people", "test").photo_ids == ("10", "8", "9")
