import json
import os
import sys

import numpy as np
import pytest

from talking_points.dataset.facts import PointFacts
from talking_points.dataset.look_alikes import text_to_thumb
from talking_points.dataset.scan import ScanSettings, scan_photo, scan_photos, seed_of
from talking_points.dataset.sources import open_source

SETTINGS = ScanSettings(points_per_photo=3, per_part=1, smooth_share=0.0, seed=0)


@pytest.fixture(scope="module")
def people(tmp_path_factory, label_map_writer):
    folder = tmp_path_factory.mktemp("people") / "people"
    label_map_writer(folder, [], ["a", "b", "c"])
    (folder / "photos/b.jpg").write_bytes(b"no photo")
    return open_source("label-map", folder, "test")


def test_a_photo_gives_points_and_what_is_to_be_said_of_them(people):
    scan = scan_photo(people, "a", SETTINGS)
    assert scan.bad is None and len(scan.content["points"]) == len(scan.facts) > 0
    assert tuple(scan.content["size_wh"]) == (60, 120) and text_to_thumb(scan.content["thumb"]).shape == (32, 32)
    scene = people.read("a")
    for point, values in zip(scan.content["points"], scan.facts, strict=True):
        facts = PointFacts.from_dict(values)
        assert facts.point_px == (point["x"], point["y"])
        part = scene.parts[scene.part_index_at(facts.point_px)]
        assert (part.name, tuple(point["part_box"])) == (point["part_name"], part.box_xyxy)
        assert facts.part_name == part.name and point["object_name"] == point["object_category"] == "person"


def test_a_bad_photo_is_told_with_its_path(people):
    scan = scan_photo(people, "b", SETTINGS)
    assert scan.bad is not None and "b.jpg" in scan.bad and "\n" not in scan.bad


def by_photo(scans):
    """What the ledger would keep: JSON knows no tuples."""
    return {scan.photo_id: json.dumps([scan.content, scan.facts, scan.bad]) for scan in scans}


def test_processes_give_what_one_gives(people):
    photos = [("label-map", photo_id) for photo_id in people.photo_ids]
    alone = by_photo(scan_photos({"label-map": people}, photos, SETTINGS, workers=1, engine="local"))
    together = by_photo(scan_photos({"label-map": people}, photos, SETTINGS, workers=2, engine="local"))
    assert alone == together and alone.keys() == {"a", "b", "c"}


def test_ray_gives_what_one_gives(people, monkeypatch):
    pytest.importorskip("ray.data", reason="needs Ray (pip install 'talking-points[scale]')")
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Ray's workers are processes of their own; they must find what this one found.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    photos = [("label-map", photo_id) for photo_id in people.photo_ids]
    alone = by_photo(scan_photos({"label-map": people}, photos, SETTINGS, workers=1, engine="local"))
    try:
        together = by_photo(scan_photos({"label-map": people}, photos, SETTINGS, workers=2, engine="ray"))
    finally:
        ray.shutdown()
    assert alone == together


def test_without_ray_it_says_what_to_install(people, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'talking-points\[scale\]'"):
        list(scan_photos({"label-map": people}, [("label-map", "a")], SETTINGS, workers=1, engine="ray"))


def test_seeds_are_fixed_and_apart():
    # For all time: a set must come out the same on another machine and with another version.
    assert seed_of("label-map/a/000", 0) == 13950714901766476
    seeds = {seed_of(f"s/{k}", seed) for k in range(100) for seed in (0, 1)}
    assert len(seeds) == 200
    np.random.default_rng(max(seeds))
