from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources.loading import MAX_SIDE, load_scenes, parse_sources


def test_pairs_become_folders(tmp_path):
    assert parse_sources([f"label-map={tmp_path}"]) == {"label-map": tmp_path}
    with pytest.raises(ValueError, match="expected NAME=DIR, NAME one of .*pascal-part-116"):
        parse_sources([f"pascal={tmp_path}"])
    with pytest.raises(ValueError, match="--source label-map=.* is given twice"):
        parse_sources([f"label-map={tmp_path}"] * 2)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        parse_sources(["label-map=/nowhere"])


def test_photos_with_parts_are_loaded_and_scaled_down(tmp_path, label_map_writer, pascal_writer):
    label_map_writer(tmp_path / "people", ["0001"], ["0005", "0006"])
    pascal_writer(tmp_path / "voc", [], ["2009_000001"])
    scenes = load_scenes({"label-map": tmp_path / "people", "pascal-part-116": tmp_path / "voc"}, "test")
    assert [scene.photo_id for scene in scenes] == ["0005", "0006", "2009_000001"]
    assert all(max(scene.size_wh) <= MAX_SIDE for scene in scenes)


def test_large_photos_and_photos_without_parts(tmp_path, coco_writer):
    coco_writer(tmp_path / "cars", ["a", "b"])
    where = tmp_path / "cars" / "test"
    Image.fromarray(np.zeros((600, 1000, 3), np.uint8)).save(where / "images" / "a.jpg")
    content = json.loads((where / "annotations.json").read_text())
    for annotation in content["annotations"]:
        if annotation["image_id"] == 2:
            annotation["segmentation"] = []
    (where / "annotations.json").write_text(json.dumps(content))
    (scene,) = load_scenes({"coco-parts": tmp_path / "cars"}, "test")
    assert (scene.photo_id, scene.size_wh) == ("a", (384, 230))


def test_photos_of_a_later_split_again_are_left_out(tmp_path, label_map_writer, caplog):
    label_map_writer(tmp_path / "people", ["0001", "0002"], ["0009"])
    rng = np.random.default_rng(0)
    for name in ("0001", "0002", "0009"):
        rough = Image.fromarray(rng.integers(0, 256, (12, 6, 3), np.uint8))
        rough.resize((60, 120), Image.Resampling.BICUBIC).save(tmp_path / f"people/photos/{name}.jpg")
    sources = {"label-map": tmp_path / "people"}
    assert [scene.photo_id for scene in load_scenes(sources, "train")] == ["0001", "0002"]
    Image.open(tmp_path / "people/photos/0009.jpg").save(tmp_path / "people/photos/0002.jpg", quality=50)
    with caplog.at_level("INFO"):
        assert [scene.photo_id for scene in load_scenes(sources, "train")] == ["0001"]
    assert "1 photo left out as look-alikes (0002 looks like test photo 0009 of label-map)" in caplog.text
    assert [scene.photo_id for scene in load_scenes(sources, "test")] == ["0009"]
