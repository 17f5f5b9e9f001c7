import numpy as np
import pytest

from talking_points.dataset.scene import make_scene
from tests.dataset.scenes import assert_consistent, scene_of_two_dogs


def test_make_scene_computes_boxes_and_areas(person):
    assert_consistent(person)
    assert [part.name for part in person.parts] == ["hair", "face", "shirt", "jeans", "shoe", "bag", "shoe"]
    assert person.objects[0].box_xyxy == (16, 6, 54, 112)


def test_make_scene_drops_what_is_tiny_or_gone():
    part_map = np.zeros((40, 40), dtype=np.int16)
    part_map[5:15, 5:15] = 1  # 100 px
    part_map[20:22, 20:22] = 2  # 4 px: no part
    part_map[30:34, 30:34] = 4  # 16 px: a part, but alone too little for an object
    scene = make_scene(
        np.zeros((40, 40, 3), np.uint8),
        part_map,
        ["door", "mirror", "hood", "hair"],
        [0, 0, 0, 1],
        ["car", "person"],
        source="test",
        photo_id="1",
    )
    assert [part.name for part in scene.parts] == ["door"]
    assert [thing.name for thing in scene.objects] == ["car"]
    assert scene.part_map.sum() == 100


@pytest.mark.parametrize(
    ("shape", "names", "message"),
    [((8, 9), ["door"], "part map is"), ((8, 8), [], "only 0 parts are named")],
)
def test_make_scene_refuses_what_does_not_fit(shape, names, message):
    with pytest.raises(ValueError, match=message):
        make_scene(
            np.zeros((8, 8, 3), np.uint8),
            np.ones(shape, np.int16),
            names,
            [0] * len(names),
            ["car"],
            source="test",
            photo_id="1",
        )


def test_part_index_at(person):
    assert person.parts[person.part_index_at((30.5, 15.5))].name == "face"
    assert person.part_index_at((0.0, 0.0)) is None
    assert person.part_index_at((60.0, 120.0)) is None  # the photo's far corner is still in the photo
    with pytest.raises(ValueError, match="outside the 60x120 photo"):
        person.part_index_at((61, 10))


def test_objects_have_masks_of_their_own():
    scene = scene_of_two_dogs()
    assert [thing.box_xyxy for thing in scene.objects] == [(10, 10, 40, 50), (60, 20, 90, 50)]
    assert [thing.category for thing in scene.objects] == ["quadruped", "quadruped"]
    assert [int((scene.object_map == k + 1).sum()) for k in (0, 1)] == [1200, 900]
    assert [part.object_index for part in scene.parts] == [0]


def test_a_part_s_pixels_are_its_object_s():
    object_map = np.full((20, 20), 2, dtype=np.int16)
    part_map = np.zeros((20, 20), dtype=np.int16)
    part_map[:10] = 1
    scene = make_scene(
        np.zeros((20, 20, 3), np.uint8),
        part_map,
        ["head"],
        [0],
        ["dog", "cat"],
        source="t",
        photo_id="1",
        object_map=object_map,
    )
    assert [thing.box_xyxy for thing in scene.objects] == [(0, 0, 20, 10), (0, 10, 20, 20)]


@pytest.mark.parametrize(
    ("object_map", "message"),
    [
        (np.zeros((8, 9), np.int16), r"object map is \(9, 8\), part map is \(8, 8\)"),
        (np.full((8, 8), 2, np.int16), "object map holds 2, only 1 objects are named"),
    ],
)
def test_object_maps_that_do_not_fit(object_map, message):
    with pytest.raises(ValueError, match=message):
        make_scene(
            np.zeros((8, 8, 3), np.uint8),
            np.zeros((8, 8), np.int16),
            [],
            [],
            ["car"],
            source="t",
            photo_id="1",
            object_map=object_map,
        )
