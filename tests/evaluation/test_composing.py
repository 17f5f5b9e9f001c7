import numpy as np
import pytest

from talking_points.dataset.scene import MIN_POINT_AREA_PX, make_scene
from talking_points.evaluation.composing import compose
from tests.dataset.scenes import assert_consistent, same_scene


def test_compose_gives_varied_consistent_scenes(pool):
    rng = np.random.default_rng(0)
    scenes = [compose(pool, rng, 160) for _ in range(60)]
    for scene in scenes:
        assert_consistent(scene)
        assert max(scene.size_wh) == 160
        assert scene.parts
    counts = {len(scene.objects) for scene in scenes}
    assert {1, 2, 3} <= counts
    centres = np.array([(t.box_xyxy[0] + t.box_xyxy[2]) / 2 / s.size_wh[0] for s in scenes for t in s.objects])
    # Objects stand anywhere, not only in the middle as in the photos.
    assert (centres < 0.3).mean() > 0.1
    assert (centres > 0.7).mean() > 0.1


def test_compose_is_determined_by_the_generator(pool):
    a = [compose(pool, np.random.default_rng(seed), 96) for seed in range(8)]
    b = [compose(pool, np.random.default_rng(seed), 96) for seed in range(8)]
    assert all(same_scene(x, y) for x, y in zip(a, b, strict=True))
    assert not all(same_scene(a[0], other) for other in a[1:])


def test_compose_does_not_change_the_pool(pool):
    before = [scene.photo.copy() for scene in pool]
    for seed in range(10):
        compose(pool, np.random.default_rng(seed), 80)
    assert all(np.array_equal(scene.photo, photo) for scene, photo in zip(pool, before, strict=True))


def test_compose_refuses_an_empty_or_unlabelled_pool():
    with pytest.raises(ValueError, match="empty pool"):
        compose([], np.random.default_rng(0), 64)
    bare = make_scene(
        np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.int16), [], [], [], source="t", photo_id="1"
    )
    with pytest.raises(ValueError, match="no labelled part"):
        compose([bare], np.random.default_rng(0), 64)


def test_compose_always_shows_a_part_that_can_have_a_point():
    part_map = np.zeros((200, 200), np.int16)
    part_map[20:28, 20:28] = 1  # a crop shows some of it, none, or all
    everywhere = np.ones_like(part_map)
    photo = np.full((200, 200, 3), 90, np.uint8)
    scene = make_scene(photo, part_map, ["face"], [0], ["person"], source="t", photo_id="1", object_map=everywhere)
    for seed in range(60):
        composed = compose([scene], np.random.default_rng(seed), 128)
        assert max(part.area_px for part in composed.parts) >= MIN_POINT_AREA_PX
