import numpy as np
import pytest

from talking_points.dataset.scene import ObjectLabel, make_scene
from talking_points.dataset.scene_edits import crop, mirror, mosaic, resize
from tests.dataset.scenes import assert_consistent, same_scene, scene_of_two_dogs


def test_crop_moves_and_cuts(person):
    cut = crop(person, (10, 60, 60, 120))
    assert_consistent(cut)
    assert cut.size_wh == (50, 60)
    assert [part.name for part in cut.parts] == ["jeans", "shoe", "bag", "shoe"]
    assert cut.parts[0].box_xyxy == (11, 0, 29, 44)
    with pytest.raises(ValueError, match="outside the 60x120 photo"):
        crop(person, (0, 0, 61, 10))


def test_mirror_swaps_sides_and_names_and_is_its_own_inverse(car, person):
    flipped = mirror(car)
    assert_consistent(flipped)
    assert [part.name for part in flipped.parts] == [
        "front right door",
        "back right door",
        "wheel",
        "wheel",
        "right mirror",
    ]
    assert flipped.parts[0].box_xyxy == (40, 10, 80, 45)
    for scene in (car, person):
        assert same_scene(mirror(mirror(scene)), scene)


def test_resize_keeps_relative_boxes(person):
    double = resize(person, (120, 240))
    assert_consistent(double)
    assert double.parts[2].box_xyxy == (40, 44, 80, 120)
    assert [part.name for part in double.parts] == [part.name for part in person.parts]


def test_mosaic_concatenates_objects(person, car):
    scene = mosaic([person, car], [(0, 0, 60, 120), (60, 30, 160, 90)], (160, 120))
    assert_consistent(scene)
    assert [thing.name for thing in scene.objects] == ["person", "car"]
    assert scene.objects[0].box_xyxy == person.objects[0].box_xyxy
    assert scene.objects[1].box_xyxy == (70, 40, 150, 88)
    assert {part.object_index for part in scene.parts if "wheel" in part.name} == {1}
    assert scene.source == "cars+drawn"
    with pytest.raises(ValueError, match="outside the 160x120 canvas"):
        mosaic([person], [(0, 0, 200, 50)], (160, 120))
    with pytest.raises(ValueError, match="1 scenes and 0 cells"):
        mosaic([person], [], (160, 120))


def test_object_masks_follow_the_photo(car):
    scene = scene_of_two_dogs()
    right = crop(scene, (50, 0, 100, 60))
    assert [thing.box_xyxy for thing in right.objects] == [(10, 20, 40, 50)]
    assert right.objects[0].category == "quadruped"
    flipped = mirror(scene)
    assert flipped.objects[0].box_xyxy == (60, 10, 90, 50)
    assert flipped.object_map[30, 70] == 1
    assert same_scene(mirror(flipped), scene)
    double = resize(scene, (200, 120))
    assert double.objects[1].box_xyxy == (120, 40, 180, 100)
    both = mosaic([car, scene], [(0, 0, 100, 60), (100, 0, 200, 60)], (200, 60))
    assert [thing.name for thing in both.objects] == ["car", "dog", "dog"]
    assert [thing.category for thing in both.objects] == ["", "quadruped", "quadruped"]
    assert [thing.breed for thing in both.objects] == ["", "pug", ""]
    assert both.objects[0].box_xyxy == car.objects[0].box_xyxy
    assert both.objects[1].box_xyxy == (110, 10, 140, 50)
    assert [both.parts[k].object_index for k in range(6)] == [0] * 5 + [1]


def test_a_labelled_box_counts_an_object_that_has_no_pixels_and_moves_with_the_photo():
    scene = make_scene(
        np.zeros((60, 100, 3), np.uint8),
        np.zeros((60, 100), np.int16),
        [],
        [],
        [
            ObjectLabel(name="cup", box_xyxy=(10, 20, 30, 40)),
            ObjectLabel(name="cup", box_xyxy=(80, 20, 120, 40)),
            # Nothing of it is in the photo.
            ObjectLabel(name="cup", box_xyxy=(100, 20, 120, 40)),
        ],
        source="t",
        photo_id="1",
        uncounted=frozenset({"cup"}),
        notes=["a crowd region"],
    )
    assert [thing.box_xyxy for thing in scene.objects] == [(10, 20, 30, 40), (80, 20, 100, 40)]
    assert all(thing.has_own_box for thing in scene.objects)
    cut = crop(scene, (20, 10, 90, 60))
    assert [thing.box_xyxy for thing in cut.objects] == [(0, 10, 10, 30), (60, 10, 70, 30)]
    assert cut.uncounted == {"cup"}
    assert cut.notes == ("a crowd region",)
    assert [thing.box_xyxy for thing in resize(scene, (50, 120)).objects] == [(5, 40, 15, 80), (40, 40, 50, 80)]
    assert [thing.box_xyxy for thing in mirror(scene).objects] == [(70, 20, 90, 40), (0, 20, 20, 40)]
    both = mosaic([scene_of_two_dogs(), scene], [(0, 0, 100, 60), (100, 0, 200, 60)], (200, 60))
    assert [thing.box_xyxy for thing in both.objects[2:]] == [(110, 20, 130, 40), (180, 20, 200, 40)]
