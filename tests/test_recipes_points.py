from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.mini import points
from recipes.mini.points import SURE_COLOUR, Known, known_at, only_sure
from recipes.mini.scenes import write
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.places import Place
from talking_points.dataset.scene import Scene
from talking_points.model.checkpoint import save_checkpoint
from tests.dataset.scenes import point_facts
from tests.tiny import tiny_naming_network, tiny_network


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
        # A shoe of either side.
        (sure(left_shoe=0.2, right_shoe=0.2, sock=0.2), "shoe"),
        (sure(left_shoe=0.2, right_shoe=0.05, sock=0.2), "person"),
        # Sure of a shoe, not of its side; and a shoe is no name that it knows.
        (sure(shoe=0.7, left_shoe=0.2), "shoe"),
        (sure(sock=0.8), "shoe"),
    ],
)
def test_a_part_or_its_side_that_the_base_is_not_sure_of_is_left_out(facts, known, said):
    assert only_sure(facts, known).part_name == said


@pytest.mark.parametrize(
    ("part", "without"),
    [("front left door", "front door"), ("tip of the right middle finger", "tip of the middle finger")],
)
def test_a_side_is_left_out_wherever_it_stands_in_a_name(facts, part, without):
    ordered = replace(facts, part_name=part, part_order="left")
    said = only_sure(ordered, sure(sock=0.9))
    assert (said.part_name, said.part_order) == (without, None)


def test_what_is_said_of_the_object_alone_is_where_it_was(facts):
    """0.4 to the left in the shoe is 0.2 in the person, whose middle is another 0.2 away."""
    whole = only_sure(facts, sure(sock=0.1))
    assert whole.is_whole and whole.point_place == Place(dx=-0.4, dy=pytest.approx(0.45))
    assert whole.place_in_photo == facts.place_in_photo
    assert only_sure(whole, sure(sock=0.1)) == whole


def test_a_colour_that_the_base_is_not_sure_of_is_left_out(facts):
    known = sure(left_shoe=0.9)
    assert only_sure(facts, known) == facts
    assert only_sure(facts, replace(known, colour=SURE_COLOUR)) == facts
    without = replace(facts, look=replace(facts.look, colour_share=0.0))
    assert only_sure(facts, replace(known, colour=SURE_COLOUR - 0.01)) == without


@pytest.mark.parametrize(("part", "share"), [("nose", 0.0), ("leg", 0.9)])
def test_the_colour_of_a_nose_is_not_said_of_the_fur(facts, part, share):
    said = only_sure(replace(facts, object_name="dog", part_name=part), sure(sock=0.1))
    assert said.part_name == "dog" and said.look.colour_share == share


def test_what_a_base_knows_has_its_names_in_the_points_order(person):
    network = tiny_naming_network()
    first, second = known_at(network, person, [(30.5, 40.5), (20.5, 20.5)])
    assert tuple(first.names) == network.config.point_names
    assert sum(first.names.values()) == pytest.approx(1.0, abs=1e-4) and 1 / 3 < first.colour < 1
    again_second, again_first = known_at(network, person, [(20.5, 20.5), (30.5, 40.5)])
    assert again_first.names == pytest.approx(first.names, abs=1e-5) != pytest.approx(second.names, abs=1e-5)
    assert again_second.names == pytest.approx(second.names, abs=1e-5)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["points", *map(str, words)])
    points.main()


def test_points_are_written_with_a_base_that_knows_names(person, tmp_path, monkeypatch):
    write([replace(person, source="coco_people")], tmp_path / "some.scenes")
    save_checkpoint(tiny_naming_network(), tmp_path / "base")
    monkeypatch.setattr(points, "TURNS", {"coco_people": 1})
    monkeypatch.setattr(points, "COMPOSED", 0.0)
    given = ("--scenes", tmp_path / "some.scenes", "--base", tmp_path / "base", "--out", tmp_path / "out")
    run(monkeypatch, *given, "--count", 2)
    lines = (tmp_path / "out" / "points.jsonl").read_text().splitlines()
    assert lines and all('"photo": "0000' in line and "person" in line for line in lines)


@pytest.mark.parametrize("wrong", ["no base", "no names", "texts", "there already"])
def test_points_refuse_what_is_wrong_in_one_line(person, tmp_path: Path, monkeypatch, capsys, wrong):
    write([person], tmp_path / "some.scenes")
    words = ["--scenes", tmp_path / "some.scenes", "--out", tmp_path / "out"]
    if wrong == "no names":
        save_checkpoint(tiny_network(roles=("localizer",)), tmp_path / "base")
    if wrong == "there already":
        (tmp_path / "out").mkdir()
    else:
        words += ["--base", tmp_path / "base"]
    if wrong == "texts":
        words += ["--texts", tmp_path / "texts.jsonl"]
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *words)
    assert ended.value.code == 2
    *_, last = capsys.readouterr().err.strip().splitlines()
    said = {
        "no base": "no such",
        "no names": "knows no names",
        "texts": "give one of them",
        "there already": "choose another --out",
    }
    assert "error: " in last and said[wrong] in last
