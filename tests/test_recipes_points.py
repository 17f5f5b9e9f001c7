from __future__ import annotations

from dataclasses import replace

import pytest

from recipes.mini.points import Known, known_at, only_sure
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.places import Place
from talking_points.dataset.scene import Scene
from tests.dataset.scenes import point_facts
from tests.tiny import tiny_naming_network


@pytest.fixture
def facts(person: Scene) -> PointFacts:
    """A point on a left shoe, at the lower left of a person."""
    known = point_facts(person, (30.5, 40.5))
    return replace(
        known,
        part_name="left shoe",
        part_place=Place(dx=-0.2, dy=0.4, span_x=0.5, span_y=0.2),
        point_place=Place(dx=-0.4, dy=0.25),
        look=replace(known.look, colour="red", second_colour=None, colour_share=0.9),
    )


def sure(**chances: float) -> Known:
    return Known(names={name.replace("_", " "): chance for name, chance in chances.items()}, colour=0.9)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (sure(left_shoe=0.8, right_shoe=0.1), "left shoe"),
        (sure(left_shoe=0.5, right_shoe=0.4), "shoe"),
        # Wrong, but sure: the label is learned.
        (sure(left_shoe=0.1, right_shoe=0.8), "left shoe"),
        (sure(sock=0.8), "left shoe"),
        (sure(left_shoe=0.2, right_shoe=0.1, sock=0.2), "person"),
    ],
)
def test_a_part_or_its_side_that_the_base_is_not_sure_of_is_left_out(facts, known, said):
    assert only_sure(facts, known).part_name == said


def test_what_is_said_of_the_object_alone_is_where_it_was(facts):
    """0.4 to the left in the shoe is 0.2 in the person, whose middle is another 0.2 away."""
    whole = only_sure(facts, sure(sock=0.1))
    assert whole.is_whole and whole.point_place == Place(dx=-0.4, dy=pytest.approx(0.45))
    assert whole.place_in_photo == facts.place_in_photo


def test_a_colour_that_the_base_is_not_sure_of_is_left_out(facts):
    known = sure(left_shoe=0.9)
    assert only_sure(facts, known) == facts
    assert only_sure(facts, replace(known, colour=0.39)) == replace(facts, look=replace(facts.look, colour_share=0.0))


def test_what_a_base_knows_has_its_names(person):
    network = tiny_naming_network()
    [first, _] = known_at(network, person, [(30.5, 40.5), (20.5, 20.5)])
    assert tuple(first.names) == network.config.point_names
    assert sum(first.names.values()) == pytest.approx(1.0, abs=1e-4) and 1 / 3 < first.colour < 1
