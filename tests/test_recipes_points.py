from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recipes.mini import points
from recipes.mini.names import encode
from recipes.mini.points import Told, as_told, told_at
from recipes.mini.scenes import write
from talking_points.dataset.facts import PointFacts, facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.places import Place, mirror_words
from talking_points.dataset.scene import Scene
from talking_points.model import point_names
from talking_points.model.checkpoint import save_checkpoint
from talking_points.model.config import ModelConfig
from talking_points.model.network import PointNetwork
from tests.dataset.scenes import point_facts
from tests.tiny import tiny_naming_network, tiny_network, tiny_vision


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


def told(*names: str, holds: Sequence[str] = (), colour: str | None = "red") -> Told:
    return Told(names=frozenset(names), holds=frozenset(holds), colour=colour)


def told_arm(*holds: str, colour: str | None = "red") -> Told:
    return told("left arm", "right arm", holds=holds, colour=colour)


def said_of(facts: PointFacts, known: Told) -> PointFacts:
    said = as_told(facts, known)
    assert said is not None
    return said


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (told("left shoe"), "left shoe"),
        # The side is not told.
        (told("left shoe", "right shoe"), "shoe"),
        (told("shoe", "left shoe", "right shoe"), "shoe"),
        (told("shoe"), "shoe"),
        # The object alone, or several that it may be.
        (told("person"), "person"),
        (told("dog", "person"), "person"),
        # Wrong, but sure: such a point teaches not to listen.
        (told("right shoe"), None),
        (told("sock"), None),
        (told("left sock", "right sock"), None),
        (told("dog"), None),
    ],
)
def test_a_text_says_the_part_and_the_side_that_are_told(facts, known, said):
    found = as_told(facts, known)
    assert (None if found is None else found.part_name) == said


@pytest.mark.parametrize("known", [told("left shoe"), told("right shoe")])
def test_a_point_whose_label_lacks_the_side_that_is_told_is_left_out(facts, known):
    assert as_told(replace(facts, part_name="shoe"), known) is None
    assert said_of(replace(facts, part_name="shoe"), told("left shoe", "right shoe")).part_name == "shoe"


@pytest.mark.parametrize(
    ("part", "without"),
    [("front left door", "front door"), ("tip of the right middle finger", "tip of the middle finger")],
)
def test_a_side_is_left_out_wherever_it_stands_in_a_name(facts, part, without):
    ordered = replace(facts, part_name=part, part_order="left")
    said = said_of(ordered, told(part, mirror_words(part)))
    assert (said.part_name, said.part_order) == (without, None)


def test_an_order_stays_where_the_side_is_told(facts):
    ordered = replace(facts, part_order="left")
    assert said_of(ordered, told("left shoe")).part_order == "left"


def test_what_is_said_of_the_object_alone_is_where_it_was(facts):
    """0.4 to the left in the shoe is 0.2 in the person, whose middle is another 0.2 away."""
    whole = said_of(facts, told("person"))
    assert whole.is_whole and whole.point_place == Place(dx=-0.4, dy=pytest.approx(0.45))
    assert whole.place_in_photo == facts.place_in_photo
    assert said_of(whole, told("person")) == whole == said_of(whole, told("dog", "person"))


@pytest.mark.parametrize(
    ("part", "known", "said"),
    [
        ("left elbow", told_arm("left elbow", "right elbow"), "arm"),
        ("tip of the right thumb", told("hand", holds=["tip of the right thumb"]), "hand"),
        ("left elbow", told_arm("right elbow"), None),
        # An arm of a side is a name, and this is no such point.
        ("left elbow", told("left arm"), None),
        ("left arm", told_arm("left elbow"), "arm"),
        ("person", told_arm("left elbow"), None),
    ],
)
def test_a_wider_part_is_said_of_what_it_holds(facts, part, known, said):
    found = as_told(replace(facts, part_name=part, part_order="left"), known)
    assert (None if found is None else found.part_name) == said


def test_a_wider_part_is_said_where_the_point_is(facts):
    """0.4 to the left in the shoe is 0.2 in the person; where in the leg that is, is not known."""
    said = said_of(facts, told("left leg", "right leg", holds=["left shoe"]))
    assert said.part_name == "leg" and said.part_order is None and not said.is_whole
    assert said.place_in_photo == facts.place_in_photo and said.place_in_object == facts.place_in_object
    texts = [write_point_text(said, points.WRITTEN, np.random.default_rng(seed)) for seed in range(20)]
    assert not any("of the leg" in text for text in texts) and any("of the person" in text for text in texts)


@pytest.mark.parametrize(
    ("thing", "part", "seen", "colour", "is_said"),
    [
        ("person", "left elbow", ("brown", None), "brown", False),
        ("person", "left elbow", ("blue", None), "blue", True),
        # The colour that is told counts, and the label's where none is.
        ("person", "left elbow", ("blue", "brown"), "brown", False),
        ("person", "left elbow", ("brown", "blue"), "blue", True),
        ("person", "left elbow", ("brown", None), None, False),
        ("person", "left hand", ("brown", None), "brown", True),
        ("person", "thumb", ("brown", None), "brown", True),
        ("person", "eye", ("brown", None), "brown", False),
        ("person", "eye", ("brown", None), None, False),
        ("person", "eye", ("blue", None), "blue", True),
        ("person", "nose", ("brown", None), None, True),
        ("cow", "left elbow", ("brown", None), "brown", True),
    ],
)
def test_of_what_may_be_covered_or_is_no_skin_nothing_bare_is_said(facts, thing, part, seen, colour, is_said):
    look = replace(facts.look, colour=seen[0], second_colour=seen[1])
    facts = replace(facts, object_name=thing, part_name=part, look=look)
    name = {"thumb": "hand", "eye": "face", "nose": "face"}.get(part, "left arm")
    known = told(name, *(["right arm"] if name == "left arm" else []), holds=[part], colour=colour)
    assert (as_told(facts, known) is not None) == is_said


@pytest.mark.parametrize(
    ("colour", "second", "told_of", "said"),
    [
        ("red", None, "red", "red"),
        # A shade of it, and the other of two.
        ("red", None, "dark red", "dark red"),
        ("dark red", "blue", "light blue", "light blue"),
        ("red", None, "blue", None),
        ("dark red", None, "dark blue", None),
    ],
)
def test_a_text_says_the_colour_that_is_told_where_it_is_seen(facts, colour, second, told_of, said):
    facts = replace(facts, look=replace(facts.look, colour=colour, second_colour=second, colour_share=0.4))
    found = as_told(facts, told("left shoe", colour=told_of))
    if said is None:
        assert found is None
    else:
        assert found == replace(facts, look=replace(facts.look, colour=said, second_colour=None, colour_share=1.0))


def test_no_colour_is_said_where_none_is_told(facts):
    said = said_of(facts, told("left shoe", colour=None))
    assert said == replace(facts, look=replace(facts.look, colour_share=0.0))


@pytest.mark.parametrize(
    ("part", "known", "share"),
    [("nose", "dog", 0.0), ("leg", "dog", 1.0), ("nose", "face", 0.0), ("chin", "face", 1.0), ("nose", "nose", 1.0)],
)
def test_the_colour_of_a_nose_is_not_said_of_the_fur(facts, part, known, share):
    holds = ("nose", "chin") if known == "face" else ()
    said = said_of(replace(facts, object_name="dog", part_name=part), told(known, holds=holds))
    assert said.part_name == known and said.look.colour_share == share


@torch.no_grad()
def test_what_is_told_is_what_the_descriptor_is_told_in_the_points_order(person):
    """Heads are set by hand: at first they say the same everywhere, then the hood at the second point."""
    network = tiny_naming_network()
    heads = network.segmenter.point_names
    assert heads is not None
    for parameter in heads.parameters():
        parameter.zero_()
    points_px = [(30.5, 40.5), (20.5, 20.5)]
    # A third each, and hood and car are a car's.
    a_car = told("car", holds=["hood"], colour="red")
    assert told_at(network, person, points_px) == [a_car] * 2
    heads.parts[2].bias[2] = heads.colours[2].bias[2] = 5.0
    assert told_at(network, person, points_px) == [replace(a_car, colour=None)] * 2
    first, second = network.segmenter.encode_keypoints(*encode(network.segmenter, person, points_px))[0]
    towards = second - first
    heads.parts[0].weight[0, : len(towards)] = 40 * towards / towards.square().sum()
    heads.parts[0].bias[0] = -heads.parts[0].weight[0, : len(towards)] @ (first + second) / 2
    heads.parts[2].weight[1, 0] = 1.0
    mixed = [replace(a_car, colour=None), told("hood", colour=None)]
    assert told_at(network, person, points_px) == mixed
    assert told_at(network, person, points_px[::-1]) == mixed[::-1]


@torch.no_grad()
@pytest.mark.parametrize(
    ("likely", "names", "holds"),
    [
        # An arm of either side, as no name is sure; then a sure one, of one side.
        ({"left elbow": 0.38, "left arm": 0.34, "nose": 0.28}, {"left arm", "right arm"}, {"left elbow"}),
        ({"left arm": 0.99}, {"left arm"}, set()),
        ({"left elbow": 0.99}, {"left elbow"}, set()),
        ({"face": 0.99}, {"face"}, {"nose"}),
        ({"cow": 0.35, "sheep": 0.35, "face": 0.3}, {"cow", "sheep"}, set()),
    ],
)
def test_what_is_told_with_all_its_sides_holds_its_parts(person, likely, names, holds):
    wider = {"left arm": (), "right arm": (), "left elbow": ("arm",), "face": (), "nose": ("face",)}
    wider |= {"cow": (), "sheep": (), "hoof": ("cow",)}
    plain = tiny_network(roles=())
    vision = tiny_vision(num_point_names=len(wider), num_point_colours=1)
    config = ModelConfig(
        vision=vision,
        point_names=tuple(wider),
        point_wider=tuple(wider.values()),
        point_objects=tuple((name,) for name in wider),
        point_colours=("red",),
    )
    network = PointNetwork(config, plain.language, plain.prompts.tokenizer).eval()
    heads = network.segmenter.point_names
    assert heads is not None
    for parameter in heads.parameters():
        parameter.zero_()
    heads.parts[2].bias[:] = torch.tensor([likely.get(name, 1e-4) for name in wider]).log()
    [found] = told_at(network, person, [(30.5, 40.5)])
    assert (found.names, found.holds) == (names, holds)


def test_hues_are_turned_and_lightness_and_labels_stay(person):
    turned = points.turn_hues(person, np.random.default_rng(0))
    before, after = (np.asarray(Image.fromarray(one.photo).convert("HSV")).astype(int) for one in (person, turned))
    vivid = (before[..., 1] > 100) & (before[..., 2] > 100)
    assert vivid.any()
    # One angle for all, of 256 steps a circle.
    angles = (after - before)[vivid][:, 0] % 256
    assert np.ptp(angles) <= 3 and angles.min() >= 19 and angles.max() <= 237
    assert np.abs(after - before)[..., 2].max() <= 1
    assert turned.parts == person.parts and turned.objects == person.objects


@pytest.mark.parametrize(("named", "turned"), [("person", False), ("car", True)])
def test_hues_are_turned_where_nobody_is_seen_and_a_base_is_given(person, tmp_path, monkeypatch, named, turned):
    things = [replace(one, name=named) for one in person.objects]
    write([replace(person, objects=things, source="coco_people")], tmp_path / "some.scenes")
    save_checkpoint(tiny_naming_network(), tmp_path / "base")
    monkeypatch.setattr(points, "TURNS", {"coco_people": 1})
    monkeypatch.setattr(points, "HUES_TURNED", 1.0)
    seen = []
    monkeypatch.setattr(points, "turn_hues", lambda scene, rng: seen.append(scene) or scene)
    given = ("--scenes", tmp_path / "some.scenes", "--count", 2)
    run(monkeypatch, *given, "--out", tmp_path / "without")
    assert not seen
    run(monkeypatch, *given, "--base", tmp_path / "base", "--out", tmp_path / "out")
    assert len(seen) == (2 if turned else 0)


def claimed(names: set[str], lines: list[str]) -> set[str]:
    """The names that texts put a point on, as in "on the person's jeans", but not in "the person in jeans"."""
    return {name for name in names for line in lines if re.search(rf"\b(?:the|their|own|person's) {name}\b", line)}


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["points", *map(str, words)])
    points.main()


def test_points_are_written_with_a_base_that_knows_names(person, tmp_path, monkeypatch):
    write([replace(person, source="coco_people")], tmp_path / "some.scenes")
    network = tiny_naming_network()
    assert network.segmenter.point_names is not None
    for parameter in network.segmenter.point_names.parameters():
        parameter.data.zero_()
    # A third each, so that a person is told.
    network.config = replace(
        network.config,
        point_names=("left shoe", "person", "car"),
        point_wider=((), (), ()),
        point_objects=(("person",), ("person",), ("car",)),
    )
    save_checkpoint(network, tmp_path / "base")
    monkeypatch.setattr(points, "TURNS", {"coco_people": 1})
    monkeypatch.setattr(points, "COMPOSED", 0.0)
    monkeypatch.setattr(point_names, "SURE_COLOUR", 1.0)
    given = ("--scenes", tmp_path / "some.scenes", "--base", tmp_path / "base", "--out", tmp_path / "out")
    run(monkeypatch, *given, "--count", 2)
    lines = (tmp_path / "out" / "points.jsonl").read_text().splitlines()
    assert lines and all('"photo": "0000' in line and "person" in line for line in lines)
    # Neither a part nor a colour is told.
    assert not claimed({part.name for part in person.parts} - {"person"}, lines)
    assert not any(word in line for line in lines for word in ("surface", "fabric"))


def test_points_that_are_told_less_than_their_label_says_come_first(person, tmp_path, monkeypatch):
    write([replace(person, source="coco_people")], tmp_path / "some.scenes")
    monkeypatch.setattr(points, "TURNS", {"coco_people": 1})
    monkeypatch.setattr(points, "COMPOSED", 0.0)
    last = max(part.name for part in person.parts if part.name != "person")

    def told_of(network, scene, some):
        # What is a person alone is left out.
        instead = {last: "person", "person": "dog"}
        labels = [one.part_name for one in facts_of_points(scene, some)]
        return [told(instead.get(name, name), colour=None) for name in labels]

    monkeypatch.setattr(points, "told_at", told_of)
    save_checkpoint(tiny_naming_network(), tmp_path / "base")
    given = ("--scenes", tmp_path / "some.scenes", "--base", tmp_path / "base", "--out", tmp_path / "out")
    run(monkeypatch, *given, "--count", 1)
    lines = [json.loads(line) for line in (tmp_path / "out" / "points.jsonl").read_text().splitlines()]
    facts = facts_of_points(person, [(line["x"], line["y"]) for line in lines])
    is_whole = [one.part_name == last for one in facts]
    assert is_whole == sorted(is_whole, reverse=True) and set(is_whole) == {False, True}


def test_points_whose_labels_say_another_part_than_is_told_are_not_written(person, tmp_path, monkeypatch):
    write([replace(person, source="coco_people")], tmp_path / "some.scenes")
    monkeypatch.setattr(points, "TURNS", {"coco_people": 1})
    monkeypatch.setattr(points, "COMPOSED", 0.0)
    parts = {part.name for part in person.parts}
    said = max(parts, key=len)
    monkeypatch.setattr(points, "told_at", lambda network, scene, some: [told(said, colour=None)] * len(some))
    save_checkpoint(tiny_naming_network(), tmp_path / "base")
    given = ("--scenes", tmp_path / "some.scenes", "--base", tmp_path / "base", "--out", tmp_path / "out")
    run(monkeypatch, *given, "--count", 4)
    lines = (tmp_path / "out" / "points.jsonl").read_text().splitlines()
    assert claimed(parts, lines) == {said}


@pytest.mark.parametrize("wrong", ["no base", "no names", "texts", "there already", "no cars"])
def test_points_refuse_what_is_wrong_in_one_line(person, tmp_path: Path, monkeypatch, capsys, wrong):
    write([person], tmp_path / "some.scenes")
    words = ["--scenes", tmp_path / "some.scenes", "--out", tmp_path / "out"]
    if wrong == "no names":
        save_checkpoint(tiny_network(roles=("localizer",)), tmp_path / "base")
    if wrong == "there already":
        (tmp_path / "out").mkdir()
    elif wrong != "no cars":
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
        "no cars": "--scenes have no photo of car_parts, clothing_parts, coco_objects",
    }
    assert "error: " in last and said[wrong] in last
