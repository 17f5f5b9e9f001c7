import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talking_points.dataset.scan import scan_photo, scan_photos, seed_of
from talking_points.dataset.settings import BuildSettings
from talking_points.dataset.sources import open_source

SETTINGS = BuildSettings(sources=("label-map=people",), out=Path("set"), points_per_photo=3)


@pytest.fixture(scope="module")
def people(tmp_path_factory, label_map_writer):
    folder = tmp_path_factory.mktemp("people") / "people"
    label_map_writer(folder, [], ["a", "b", "c"])
    (folder / "photos/b.jpg").write_bytes(b"no photo")
    return open_source("label-map", folder, "test")


def test_a_photo_gives_points_and_what_is_to_be_said_of_them(people):
    scan = scan_photo(people, "a", SETTINGS)
    assert scan.bad is None and len(scan.points) == len(scan.facts) > 0
    assert scan.thumb.shape == (32, 32)
    scene = people.read("a")
    for number, (point, facts) in enumerate(zip(scan.points, scan.facts, strict=True)):
        assert point.record_id == f"label-map/a/{number:03d}" and point.size_wh == (60, 120)
        assert facts.point_px == point.point_px and point.text is None
        part = scene.parts[scene.part_index_at(point.point_px)]
        assert (part.name, part.box_xyxy) == (point.part_name, point.part_box_xyxy)
        assert facts.part_name == part.name and point.object_name == point.object_category == "person"


def test_a_bad_photo_is_told_with_its_path(people):
    scan = scan_photo(people, "b", SETTINGS)
    assert scan.bad is not None and "b.jpg" in scan.bad and "\n" not in scan.bad


def by_photo(scans):
    return {scan.photo_id: (scan.points, scan.facts, scan.bad) for scan in scans}


def test_processes_give_what_one_gives(people):
    photos = [("label-map", photo_id) for photo_id in people.photo_ids]
    alone = by_photo(scan_photos({"label-map": people}, photos, SETTINGS))
    together = by_photo(scan_photos({"label-map": people}, photos, replace(SETTINGS, workers=2)))
    assert alone == together and alone.keys() == {"a", "b", "c"}


def test_ray_gives_what_one_gives(people, monkeypatch):
    pytest.importorskip("ray.data", reason="needs Ray (pip install 'talking-points[scale]')")
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Ray's workers are processes of their own; they must find what this one found.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    photos = [("label-map", photo_id) for photo_id in people.photo_ids]
    alone = by_photo(scan_photos({"label-map": people}, photos, SETTINGS))
    try:
        together = by_photo(scan_photos({"label-map": people}, photos, replace(SETTINGS, workers=2, engine="ray")))
    finally:
        ray.shutdown()
    assert alone == together


def test_without_ray_it_says_what_to_install(people, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'talking-points\[scale\]'"):
        list(scan_photos({"label-map": people}, [("label-map", "a")], replace(SETTINGS, engine="ray")))


def test_seeds_are_fixed_and_apart():
    # For all time: a set must come out the same on another machine and with another version.
    assert seed_of("label-map/a/000", 0) == 13950714901766476
    seeds = {seed_of(f"s/{k}", seed) for k in range(100) for seed in (0, 1)}
    assert len(seeds) == 200
    np.random.default_rng(max(seeds))
