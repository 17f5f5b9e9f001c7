"""What is wrong in a text by labels: hand-written texts about a point whose facts are known."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from talking_points.dataset.facts import PointFacts
from talking_points.dataset.places import Place
from talking_points.dataset.scene import Scene
from tests.benchmark_modules import load_benchmark, needs_benchmarks
from tests.dataset.scenes import point_facts

pytestmark = needs_benchmarks


@pytest.fixture
def by_labels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "texts_by_labels")


@pytest.fixture
def facts(person: Scene) -> PointFacts:
    """A point at the left of a shirt that is at the top of a person."""
    known = point_facts(person, (30.5, 40.5))
    return replace(
        known,
        look=replace(known.look, colour="dark red", second_colour=None),
        part_place=Place(dx=0.0, dy=-0.3, span_x=0.5, span_y=0.2),
        point_place=Place(dx=-0.4, dy=0.0),
    )


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("The point is on the shirt, in a region showing red fabric.", False),
        ("The point is on the shirt, in a region showing dark blue fabric.", True),
        ("The point is on the shirt.", False),
        ("The point is on the blue person, in a region showing a red surface.", False),
    ],
)
def test_a_colour_is_wrong_where_no_shade_of_it_is_there(by_labels, facts, text, wrong):
    assert by_labels.wrong_colour(text, facts) == wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        # In the person the point is 0.2 to the left and 0.3 up; in the shirt 0.4 to the left.
        ("The point is on the person, on their shirt, toward the top of the person.", False),
        ("The point is on the person, on their shirt, found toward the upper left of the person.", False),
        ("The point is on the person, on their shirt, toward the bottom of the person.", True),
        ("The point is on the person, on their shirt, toward the upper right of the person.", True),
        ("The point is on the person, on their shirt, and the point is toward the left of the shirt.", False),
        ("The point is on the person, on their shirt, and it is toward the top of the shirt.", True),
        ("The point is on the person, on their shirt, where the point lies toward the lower left of the shirt.", True),
        ("The point is on the person, toward the right of the photo, on their shirt.", False),
    ],
)
def test_a_side_is_wrong_where_the_point_is_not_on_it(by_labels, facts, text, wrong):
    assert by_labels.wrong_side(text, facts, names_a_part=True) == wrong


def test_without_a_part_sides_are_the_objects(by_labels, facts):
    text = "The point is on the person, and it lies toward the top of the person."
    assert not by_labels.wrong_side(text, facts, names_a_part=False)
    assert by_labels.wrong_side(text.replace("top", "right"), facts, names_a_part=False)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "The point is on the person, on their shirt, toward the top of the person, in a region showing red fabric.",
            True,
        ),
        (
            "The point is on the person, on their hair, toward the top of the person, in a region showing red hair.",
            False,
        ),
        ("The point is on the person, on their shirt, toward the right of the person.", False),
        ("The point is on the person, on their shirt, in a region showing green fabric.", False),
        ("The point is on the car, on its hood.", False),
    ],
)
def test_a_text_is_clean_where_nothing_is_wrong(by_labels, facts, text, clean):
    vocabulary = by_labels.Vocabulary(*by_labels.read_labels())
    assert by_labels.judged(vocabulary, facts, "clothing_parts", text)["clean"] == clean


def test_a_likeliest_name_is_a_claim(by_labels):
    vocabulary = by_labels.Vocabulary(*by_labels.read_labels())
    objects = by_labels.read_labels()[0]["clothing_parts"]
    for name, verdict in (("left shoe", "right"), ("right shoe", "wrong"), ("person", "vaguer"), ("hair", "wrong")):
        text = by_labels.name_as_text(name, "person", objects)
        found = vocabulary.verdicts(vocabulary.claim(text), "clothing_parts", "person", "left shoe")
        assert found == (True, verdict), text
    everyday = by_labels.read_labels()[0]["coco_objects"]
    assert by_labels.name_as_text("bus", "kite", everyday) == "on the bus"
    assert by_labels.name_as_text("left thigh", "person", everyday) == "on the person, on the left thigh"
