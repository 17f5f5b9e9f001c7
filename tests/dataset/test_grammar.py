import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talking_points.dataset.grammar import (
    MAX_WORDS,
    write_local_text,
    write_object_text,
    write_point_text,
    write_relations,
)
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS, Dialect, Place, mirror_words
from talking_points.dataset.scene_edits import mirror, mosaic
from talking_points.dataset.wordings import PHRASES, ways_to_say
from talking_points.evaluation.composing import compose
from tests.dataset.scenes import point_facts

BACKWARD = Dialect(name="backward", object_place=True, place_bins=7, local=True, order="fine-to-coarse", length="full")
ALL_DIALECTS = [*DIALECTS.values(), BACKWARD]


def rng(seed=0):
    return np.random.default_rng(seed)


def split_words(text):
    """Words and punctuation marks of a text by rules; "car's" is "car" and "'s"."""
    return re.findall(r"[a-z]+(?:-[a-z]+)*|'s|[.,]", text)


def texts_about(scene, seed):
    """(facts, dialect, text) for points of a scene."""
    generator = rng(seed)
    told = []
    for point in sample_points(scene, 6, generator):
        facts = point_facts(scene, (point.x, point.y))
        told += [(facts, one, write_point_text(facts, one, generator)) for one in ALL_DIALECTS]
    return told


def names_said(name):
    """All the ways to say a name."""
    return ways_to_say(name)


def test_texts_are_of_plain_words_and_name_the_part(pool):
    generator = rng(1)
    lengths = []
    for seed in range(40):
        scene = compose(pool, generator, 200)
        for facts, dialect, text in texts_about(scene, seed):
            assert any(said in text for said in names_said(facts.part_name)), text
            assert any(said in text for said in names_said(facts.object_name)) or dialect.name == "short", text
            if dialect.name == "paper":
                lengths.append(len(text.split()))
            # Nothing but lower-case words and known marks.
            assert "".join(split_words(text)) == text.replace(" ", ""), text
            assert "  " not in text
            assert " ," not in text
            assert text == text.strip()
    assert min(lengths) >= 25
    assert np.quantile(lengths, 0.9) <= 1.2 * MAX_WORDS


def test_place_free_and_short_say_nothing_of_the_photo(person):
    facts = point_facts(person, (30.5, 40.5))
    for seed in range(60):
        for name in ("place-free", "short"):
            text = write_point_text(facts, DIALECTS[name], rng(seed))
            assert not {"photo", "image", "picture"} & set(split_words(text)), text


def clear_texts(facts):
    """Texts of many wordings in the dialect, and all their words."""
    texts = [write_point_text(facts, DIALECTS["clear"], rng(seed)) for seed in range(40)]
    return texts, {word for text in texts for word in split_words(text)}


def test_the_clear_dialect_says_one_color_or_none(person):
    facts = replace(point_facts(person, (30.5, 40.5)), object_detail=None)
    assert (facts.part_name, facts.look.colour) == ("shirt", "red")
    looks = {
        "sure": {"colour_share": 0.9},
        "mixed": {"colour_share": 0.4},
        "two colours": {"colour_share": 0.6, "second_colour": "blue"},
        "shaded": {"shade": "darker", "line": "vertical", "texture": "textured"},
        "beside": {"neighbour_direction": "below"},
    }
    said = {}
    for name, look in looks.items():
        look = replace(facts.look, **{"colour_share": 0.9, "second_colour": None, "neighbour_direction": None, **look})
        _, said[name] = clear_texts(replace(facts, neighbour="the jeans", look=look))
    assert [name for name, words in said.items() if "red" not in words] == ["mixed", "two colours"]
    unclear = {"darker", "line", "edge", "textured", "jeans", "blue"}
    assert all(unclear.isdisjoint(words) for words in said.values())


def test_the_clear_dialect_is_silent_between_two_words(person):
    """Of the object; of the photo it says where the point is in every case."""
    facts = replace(
        point_facts(person, (30.5, 40.5)),
        object_detail=None,
        object_place=Place(dx=0.0, dy=0.0, span_x=0.5, span_y=0.7),
        part_place=Place(dx=0.0, dy=-0.14, span_x=0.1, span_y=0.1),
        point_place=Place(dx=0.0, dy=0.0),
    )
    texts, _ = clear_texts(facts)
    in_person = re.compile(r"\w+ of the person")
    assert not any(in_person.search(text) for text in texts), texts
    assert all(re.search(r"(slightly|just) above the (center|middle) of the", text) for text in texts), texts
    at_the_top = replace(facts, part_place=Place(dx=0.15, dy=-0.4, span_x=0.1, span_y=0.1))
    texts, _ = clear_texts(at_the_top)
    assert all(in_person.findall(text) == ["top of the person"] for text in texts), texts
    small = replace(at_the_top, object_place=Place(dx=0.0, dy=0.0, span_x=0.5, span_y=0.55))
    assert not any(in_person.search(text) for text in clear_texts(small)[0])


def test_the_clear_dialect_says_where_in_an_object_without_parts(person):
    facts = replace(
        point_facts(person, (30.5, 40.5)),
        object_detail=None,
        part_name="person",
        object_place=Place(dx=0.0, dy=0.0, span_x=0.8, span_y=0.6),
        part_place=Place(dx=0.0, dy=0.0, span_x=1.0, span_y=1.0),
        point_place=Place(dx=-0.4, dy=0.15),
    )
    texts, _ = clear_texts(facts)
    assert all("toward the left of the person" in text for text in texts), texts
    small = replace(facts, object_place=Place(dx=0.0, dy=0.0, span_x=0.55, span_y=0.55))
    assert not any("of the person" in text for text in clear_texts(small)[0])


def test_the_clear_dialect_says_where_in_a_part_only_of_a_large_one(person):
    facts = replace(
        point_facts(person, (30.5, 40.5)),
        object_detail=None,
        object_place=Place(dx=0.0, dy=0.0, span_x=0.9, span_y=0.9),
        part_place=Place(dx=0.0, dy=0.0, span_x=0.8, span_y=0.8),
        point_place=Place(dx=-0.4, dy=0.15),
    )
    within = re.compile(r"toward the (left|lower left|bottom) of the (?!photo|image|picture)\w+")
    assert all((found := within.search(text)) and found[1] == "left" for text in clear_texts(facts)[0])
    between = replace(facts, point_place=Place(dx=-0.2, dy=0.15))
    assert not any(within.search(text) for text in clear_texts(between)[0])
    small = replace(facts, part_place=Place(dx=0.0, dy=0.0, span_x=0.5, span_y=0.5))
    assert not any(within.search(text) for text in clear_texts(small)[0])


def test_the_clear_dialect_tells_where_in_the_photo_the_point_is(person):
    facts = replace(
        point_facts(person, (30.5, 40.5)),
        object_detail=None,
        object_place=Place(dx=0.1, dy=0.0, span_x=0.8, span_y=0.8),
        part_place=Place(dx=0.2, dy=-0.15, span_x=0.1, span_y=0.1),
        point_place=Place(dx=0.3, dy=0.0),
    )
    # 0.1 + 0.8 * (0.2 + 0.1 * 0.3), and 0.8 * -0.15
    assert facts.place_in_photo == Place(dx=pytest.approx(0.284), dy=pytest.approx(-0.12))
    texts, _ = clear_texts(facts)
    center, image = "(center|middle)", "(photo|image|picture)"
    photo = re.compile(
        rf"to the right and slightly above the {center} of the {image},"
        rf"|toward the right of the {image} and slightly above the {center},"
    )
    assert all(photo.search(text) for text in texts), texts


def test_relations_in_the_clear_dialect_are_clear_as_well(person):
    facts = replace(
        point_facts(person, (30.5, 40.5)),
        object_place=Place(dx=0.0, dy=0.0, span_x=0.5, span_y=0.5),
        part_place=Place(dx=0.0, dy=-0.15, span_x=0.5, span_y=0.5),
        point_place=Place(dx=0.15, dy=0.15),
    )
    for seed in range(20):
        where = write_relations(facts, DIALECTS["clear"], rng(seed))
        assert {"right", "below", "slightly", "lower"}.isdisjoint(split_words(where)), where


def test_texts_of_one_level_say_that_level_alone(person):
    facts = point_facts(person, (30.5, 40.5))
    for seed in range(20):
        for dialect in DIALECTS.values():
            where = write_relations(facts, dialect, rng(seed))
            assert any(said in where for said in names_said("shirt")), where
            assert "red" not in split_words(where.split("shirt")[-1]), where
            about = write_object_text(facts, dialect, rng(seed))
            assert "person" in about
            assert bool({"photo", "image", "picture"} & set(split_words(about))) <= dialect.object_place
        look = write_local_text(facts, rng(seed))
        assert "red" in look and "person" not in look


def test_only_people_have_bare_skin(person):
    facts = point_facts(person, (30.5, 17.5))
    assert facts.part_name == "face"
    assert "skin" in write_local_text(facts, rng())
    assert "skin" not in write_local_text(replace(facts, object_name="dog"), rng())


def test_order_is_said_when_there_are_several(person):
    scene = mosaic([person, person], [(0, 0, 60, 120), (60, 0, 120, 120)], (120, 120))
    facts = point_facts(scene, (90.5, 40.5))
    assert facts.object_order == "right at the edge"
    for seed in range(60):
        for dialect in ALL_DIALECTS:
            text = write_point_text(facts, dialect, rng(seed))
            assert {"right", "rightmost"} & set(split_words(text)), text


def test_a_car_s_own_side_is_called_its_own(car):
    door = point_facts(car, (40.5, 30.5))
    assert door.part_name == "front left door"
    for seed in range(30):
        for name in ("paper", "coarse", "place-free"):
            text = write_point_text(door, DIALECTS[name], rng(seed))
            assert "own front left door" in text, text
    wheels = [point_facts(car, (x, 50.5)) for x in (15.5, 75.5)]
    assert [wheel.part_order for wheel in wheels] == ["left", "right"]


def test_the_same_generator_gives_the_same_text_and_others_differ(person):
    facts = point_facts(person, (30.5, 40.5))
    texts = [write_point_text(facts, DIALECTS["paper"], rng(seed)) for seed in range(50)]
    assert texts == [write_point_text(facts, DIALECTS["paper"], rng(seed)) for seed in range(50)]
    assert len(set(texts)) > 45


@settings(max_examples=40, deadline=None)
@given(
    which=st.sampled_from(["person", "car", "pair", "three"]),
    pixel=st.integers(0, 10**6),
    seed=st.integers(0, 1000),
    dialect=st.sampled_from(ALL_DIALECTS),
)
def test_mirroring_the_scene_mirrors_the_text_and_nothing_else(pool, which, pixel, seed, dialect):
    person, shifted, _, car = pool
    scene = {
        "person": person,
        "car": car,
        "pair": mosaic([person, car], [(0, 0, 60, 120), (60, 40, 160, 100)], (160, 120)),
        "three": mosaic(
            [person, shifted, person],
            [(0, 0, 60, 120), (60, 0, 120, 120), (120, 0, 180, 120)],
            (180, 120),
        ),
    }[which]
    rows, columns = np.nonzero(scene.part_map)
    row, column = rows[pixel % len(rows)], columns[pixel % len(rows)]
    here = point_facts(scene, (column + 0.5, row + 0.5))
    there = point_facts(mirror(scene), (scene.size_wh[0] - column - 0.5, row + 0.5))
    expected = mirror_words(write_point_text(here, dialect, rng(seed)))
    assert write_point_text(there, dialect, rng(seed)) == expected


def test_every_order_has_phrases_with_the_noun():
    for name, phrases in PHRASES.items():
        assert phrases
        if name.startswith(("order ", "part_order ")):
            assert all("{noun}" in phrase for phrase in phrases)
