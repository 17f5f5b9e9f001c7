from collections import Counter

import cv2
import numpy as np
import pytest

from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.scene import crop, make_scene, resize


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
    with pytest.raises(ValueError, match="must be in"):
        sample_points(person, 1, np.random.default_rng(0), balance=1.5)
