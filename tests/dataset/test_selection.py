from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from talking_points.dataset.scene import Scene
from talking_points.dataset.scene_edits import mosaic
from talking_points.dataset.selection import EVERYTHING, Selection, select
from talking_points.dataset.sources.loading import load_scenes


@pytest.fixture
def street(person: Scene, car: Scene) -> Scene:
    return mosaic([person, car], [(0, 0, 60, 120), (60, 0, 160, 60)], (160, 120))


def test_one_object_only(street: Scene, car: Scene) -> None:
    cars = select(street, Selection(objects=("Car",)))
    assert [one.name for one in cars.objects] == ["car"] and len(cars.parts) == len(car.parts)
    assert (cars.part_map[:, :60] == 0).all() and cars.photo is street.photo
    assert cars.objects[0].box_xyxy == street.objects[1].box_xyxy


def test_some_parts_only_of_a_whole_object(street: Scene) -> None:
    some = select(street, Selection(objects=("car",), parts=("mirror", "wheel")))
    assert [one.name for one in some.parts] == ["wheel", "wheel", "left mirror"]
    assert some.objects[0].box_xyxy == street.objects[1].box_xyxy
    assert (some.object_map == 1).sum() == (street.part_map > 7).sum()


def test_everything_is_the_scene_itself(street: Scene) -> None:
    assert select(street, EVERYTHING) is street
    assert select(street, Selection(objects=("person", "car"))) is street


def test_a_category_is_a_name_too() -> None:
    family = Selection(objects=("Bovidae",))
    assert family.wants_object("cow", "Bovidae") and not family.wants_object("dog", "Canidae")
    assert Selection(parts=("left mirror",)).wants_part("left mirror")
    assert not Selection(parts=("left mirror",)).wants_part("right mirror")


def test_scenes_of_a_selection(tmp_path: Path, label_map_writer, coco_writer) -> None:  # type: ignore[no-untyped-def]
    label_map_writer(tmp_path / "people", ["0001", "0002"], ["0003"])
    coco_writer(tmp_path / "cars", ["a"])
    sources = {"label-map": tmp_path / "people", "coco-parts": tmp_path / "cars"}
    assert {scene.source for scene in load_scenes(sources, "test", Selection(objects=("car",)))} == {"cars"}
    shirts = load_scenes(sources, "test", Selection(parts=("shirt",)))
    assert [[part.name for part in scene.parts] for scene in shirts] == [["shirt"]]
    assert np.array_equal(np.unique(shirts[0].part_map), [0, 1])
    with pytest.raises(ValueError, match="the test split has nothing of object cat; it has car, person"):
        load_scenes(sources, "test", Selection(objects=("cat",)))
    with pytest.raises(ValueError, match="nothing of part tail; it has .*shirt"):
        load_scenes(sources, "test", Selection(parts=("tail",)))
