import json

import numpy as np
import pytest

from talking_points.dataset.facts import PointFacts
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.scene_edits import mosaic
from talking_points.evaluation.composing import compose
from tests.dataset.scenes import point_facts


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_part_of_the_facts_is_the_map_s(pool):
    generator = rng(2)
    for _ in range(20):
        scene = compose(pool, generator, 160)
        for point in sample_points(scene, 4, generator):
            facts = point_facts(scene, (point.x, point.y))
            label = int(scene.part_map[int(point.y), int(point.x)])
            assert facts.part_name == scene.parts[label - 1].name
            assert facts.object_name == scene.objects[scene.parts[label - 1].object_index].name


def test_a_point_on_the_background_is_an_error(person):
    with pytest.raises(ValueError, match="on the background"):
        point_facts(person, (1.5, 1.5))


def test_facts_of_a_hand_made_scene(person, car):
    # The left person of two, beside a car.
    cells = [(0, 0, 60, 120), (60, 0, 120, 120), (120, 60, 220, 120)]
    scene = mosaic([person, person, car], cells, (220, 120))
    shoe = point_facts(scene, (21.5, 106.5))
    assert (shoe.object_name, shoe.object_order) == ("person", "left at the edge")
    assert (shoe.part_name, shoe.part_order) == ("shoe", "left")
    assert shoe.object_detail == "in dark blue jeans"
    # The shoe is x 18-27, y 104-112.
    assert shoe.point_place.dx == pytest.approx((21.5 - 22.5) / 9)
    assert shoe.point_place.dy == pytest.approx((106.5 - 108) / 8)
    wheel = point_facts(scene, (196.5, 112.5))
    assert (wheel.object_order, wheel.part_order) == (None, "right")
    assert wheel.object_detail == "blue"


def test_facts_survive_json(person, car):
    for scene, point in ((person, (30.5, 40.5)), (car, (15.5, 50.5))):
        facts = point_facts(scene, point)
        assert PointFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
