"""Scenes compared, and held to their own maps."""

import numpy as np

from talking_points.dataset.facts import PointFacts, facts_of_points
from talking_points.dataset.scene import Scene, SceneObject, make_scene


def point_facts(scene: Scene, point_px: tuple[float, float]) -> PointFacts:
    return facts_of_points(scene, [point_px])[0]


def same_scene(a: Scene, b: Scene) -> bool:
    return (
        a.objects == b.objects
        and a.parts == b.parts
        and np.array_equal(a.photo, b.photo)
        and np.array_equal(a.part_map, b.part_map)
    )


def assert_consistent(scene: Scene) -> None:
    """Boxes and areas are those of the map; every object has a part."""
    assert scene.part_map.shape == scene.photo.shape[:2]
    assert scene.part_map.dtype == np.int16
    assert scene.part_map.max() <= len(scene.parts)
    for k, part in enumerate(scene.parts):
        rows, columns = np.nonzero(scene.part_map == k + 1)
        assert part.area_px == len(rows)
        assert part.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    for k, thing in enumerate(scene.objects):
        boxes = np.array([part.box_xyxy for part in scene.parts if part.object_index == k])
        assert thing.box_xyxy == (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))


def scene_of_two_dogs() -> Scene:
    """100x60: a dog whose head is labelled and one without labelled parts."""
    object_map = np.zeros((60, 100), dtype=np.int16)
    object_map[10:50, 10:40] = 1
    object_map[20:50, 60:90] = 2
    part_map = np.zeros((60, 100), dtype=np.int16)
    part_map[12:24, 12:24] = 1
    return make_scene(
        np.zeros((60, 100, 3), np.uint8),
        part_map,
        ["head"],
        [0],
        [SceneObject(name="dog", category="quadruped", breed=breed) for breed in ("pug", "")],
        source="dogs",
        photo_id="1",
        object_map=object_map,
    )
