from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talking_points.dataset.keypoints import SPREAD_SHARE, balanced_order, sample_points, select_points
from talking_points.dataset.scene import Scene, make_scene
from talking_points.dataset.scene_edits import crop, mosaic, resize


def test_points_are_pixel_centres_inside_their_part(person):
    points = sample_points(person, 200, np.random.default_rng(0))
    assert len(points) == 200
    for point in points:
        assert point.x % 1 == 0.5
        assert point.y % 1 == 0.5
        assert person.part_index_at((point.x, point.y)) == point.part_index
        assert point.kind == "random"
        # Strictly inside: the neighbours belong to the part, too.
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            assert person.part_index_at((point.x + dx, point.y + dy)) == point.part_index


def test_balance_favours_small_parts(person):
    def share_of_jeans(balance):
        points = sample_points(person, 2000, np.random.default_rng(0), balance=balance)
        return Counter(person.parts[p.part_index].name for p in points)["jeans"] / 2000

    areas = [part.area_px for part in person.parts]
    assert share_of_jeans(0.0) == pytest.approx(areas[3] / sum(areas), abs=0.04)
    assert share_of_jeans(1.0) == pytest.approx(1 / 7, abs=0.03)


def test_sift_points_are_the_strongest_of_their_part(person):
    big = resize(person, (240, 480))
    photo = big.photo.copy()
    # Three discs on the shirt: what SIFT answers to.
    for x, y in ((100, 120), (120, 160), (140, 200)):
        cv2.circle(photo, (x, y), 6, (255, 255, 255), -1)
    names = [part.name for part in big.parts]
    scene = make_scene(photo, big.part_map, names, [0] * 7, ["person"], source="drawn", photo_id="1")
    points = sample_points(scene, 60, np.random.default_rng(0), balance=0.0, sift_share=1.0)
    found = [p for p in points if p.kind == "sift" and scene.parts[p.part_index].name == "shirt"]
    assert found
    assert all(scene.part_index_at((p.x, p.y)) == p.part_index for p in points)
    nearest = min(np.hypot(found[0].x - x, found[0].y - y) for x, y in ((100, 120), (120, 160), (140, 200)))
    assert nearest < 8
    assert len({(p.x, p.y) for p in points if p.kind == "sift"}) == sum(p.kind == "sift" for p in points)


def test_the_same_generator_gives_the_same_points(person):
    first, second = (sample_points(person, 20, np.random.default_rng(3), sift_share=0.5) for _ in range(2))
    assert first == second


def test_parts_too_small_and_empty_scenes(person):
    empty = crop(person, (0, 0, 10, 10))
    assert sample_points(empty, 5, np.random.default_rng(0)) == []
    assert sample_points(person, 0, np.random.default_rng(0)) == []


def spotted_scene() -> Scene:
    """320x240: two flat cards of two parts each on a busy background, with discs of falling contrast on them.

    On the first card discs of contrast 120 and 60 in part 0, 90 in part 1; on the second 40 in part 2, none in
    part 3. A button of 6x6 pixels lies in the strongest disc of all, which is larger.
    """
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
    part_map = np.zeros((240, 320), dtype=np.int16)
    for k, (x, y) in enumerate(((20, 20), (20, 120), (180, 20), (180, 120))):
        photo[y : y + 100, x : x + 120] = 100
        part_map[y : y + 100, x : x + 120] = k + 1
    for x, y, contrast in ((60, 60, 120), (110, 80, 60), (70, 170, 90), (230, 70, 40), (104, 34, 150)):
        photo[y - 30 : y + 30, x - 30 : x + 30] = np.where(
            np.hypot(*np.mgrid[-30:30, -30:30])[..., None] < 6, 100 + contrast, photo[y - 30 : y + 30, x - 30 : x + 30]
        )
    part_map[31:37, 101:107] = 5
    names = ["lid", "base", "lid", "base", "button"]
    return make_scene(photo, part_map, names, [0, 0, 1, 1, 0], ["box", "box"], source="drawn", photo_id="spots")


def centre_distance(point, x, y):
    return np.hypot(point.x - x - 0.5, point.y - y - 0.5)


def test_the_first_point_is_the_strongest_response_in_a_part():
    scene = spotted_scene()
    (point,) = select_points(scene, np.random.default_rng(0))
    assert centre_distance(point, 60, 60) < 3
    assert point.part_index == 0
    assert point.kind == "sift"
    assert point.response > 0
    # A disc of radius 6: SIFT's diameter is of its order.
    assert 5 < point.scale < 30


def test_objects_and_their_parts_take_turns():
    points = select_points(spotted_scene(), np.random.default_rng(0), points_per_photo=4)
    # The first card's lid, then the other card, then the first card's other part.
    assert [point.part_index for point in points] == [0, 2, 1, 3]
    more = select_points(spotted_scene(), np.random.default_rng(0), points_per_photo=5, per_part=2)
    assert more[:4] == points
    assert centre_distance(more[4], 110, 80) < 3


def test_a_part_too_small_for_the_blob_is_passed_over():
    scene = spotted_scene()
    assert scene.parts[4].area_px == 36
    points = select_points(scene, np.random.default_rng(0), points_per_photo=9, per_part=2)
    assert 4 not in {point.part_index for point in points}


def test_points_are_well_inside_their_part_and_apart(person, car):
    cars = mosaic([car, car], [(0, 0, 200, 120), (0, 120, 200, 240)], (200, 240))
    scenes = [spotted_scene(), resize(person, (240, 480)), cars]
    for scene in scenes:
        points = select_points(scene, np.random.default_rng(0), points_per_photo=12, per_part=3, smooth_share=0.5)
        assert len(points) > 3
        assert max(Counter(point.part_index for point in points).values()) <= 3
        for number, point in enumerate(points):
            assert (point.x % 1, point.y % 1) == (0.5, 0.5)
            for dx in (-1, 0, 1):
                for dy in (-1, 0, 1):
                    assert scene.part_index_at((point.x + dx, point.y + dy)) == point.part_index
            for other in points[:number]:
                if other.part_index == point.part_index:
                    distance = np.hypot(point.x - other.x, point.y - other.y)
                    assert distance >= SPREAD_SHARE * max(scene.size_wh)


def test_smooth_points_lie_on_surfaces_without_texture():
    scene = spotted_scene()
    points = select_points(scene, np.random.default_rng(0), points_per_photo=8, per_part=2, smooth_share=1.0)
    assert [point.kind for point in points] == ["smooth"] * 8
    # Each part has its turn: the blank one, too.
    assert Counter(point.part_index for point in points) == {0: 2, 1: 2, 2: 2, 3: 2}
    for point in points:
        x, y, half = int(point.x), int(point.y), int(point.scale) // 2
        window = scene.photo[y - half : y + half + 1, x - half : x + half + 1].astype(float)
        assert window.std(axis=(0, 1)).max() < 6
        assert point.response == 0


def test_smooth_share_is_kept_and_falls_back_on_sift():
    scene = spotted_scene()
    kinds = Counter(
        point.kind
        for seed in range(30)
        for point in select_points(scene, np.random.default_rng(seed), points_per_photo=2, per_part=2, smooth_share=0.3)
    )
    assert kinds["smooth"] / kinds.total() == pytest.approx(0.3, abs=0.12)
    noise = np.random.default_rng(1).integers(0, 255, scene.photo.shape, dtype=np.uint8)
    busy = make_scene(noise, scene.part_map, ["a"] * 5, [0] * 5, ["box"], source="drawn", photo_id="noise")
    points = select_points(busy, np.random.default_rng(0), points_per_photo=3, smooth_share=1.0)
    assert [point.kind for point in points] == ["sift"] * 3


def test_selected_points_are_determined_by_the_generator():
    scene = spotted_scene()

    def chosen(seed):
        return select_points(scene, np.random.default_rng(seed), points_per_photo=6, per_part=2, smooth_share=0.5)

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)


def test_nothing_to_select(person):
    assert select_points(crop(person, (0, 0, 10, 10)), np.random.default_rng(0)) == []
    flat = make_scene(
        np.full((60, 60, 3), 90, np.uint8), np.ones((60, 60), np.int16), ["lid"], [0], ["box"], source="t", photo_id="1"
    )
    assert select_points(flat, np.random.default_rng(0)) == []


def test_balanced_order_by_hand():
    keys = [("a", "cat", "ear")] * 50 + [("a", "dog", "ear")] * 3
    keys += [("b", "cup", "rim")] * 20 + [("c", "car", "door")] * 2
    order = balanced_order(keys, np.random.default_rng(0))
    chosen = order[:32]
    sources = Counter(keys[k][0] for k in chosen)
    # c has two, the others share what it lacks; in a, all three dogs come, and cats fill up.
    assert sources == {"a": 15, "b": 15, "c": 2}
    assert Counter(keys[k][1] for k in chosen if keys[k][0] == "a") == {"cat": 12, "dog": 3}
    assert balanced_order(keys, np.random.default_rng(0)) == order
    assert set(balanced_order(keys, np.random.default_rng(1))[:32]) != set(chosen)
    assert sorted(order) == list(range(len(keys)))
    assert balanced_order([], np.random.default_rng(0)) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=40), st.integers(0, 50))
def test_every_beginning_of_a_balanced_order_is_as_even_as_possible(keys, count):
    chosen = balanced_order(keys, np.random.default_rng(0))[:count]
    assert len(set(chosen)) == min(count, len(keys))
    for depth in (1, 2):
        available = Counter(key[:depth] for key in keys)
        taken = Counter(keys[k][:depth] for k in chosen)
        for one in available:
            for other in available:
                # Who was given less than a sibling, by more than the indivisible one, had no more to give.
                if one[:-1] == other[:-1] and taken[one] < taken[other] - 1:
                    assert taken[one] == available[one]
