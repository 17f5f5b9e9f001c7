import numpy as np
import pytest

from talking_points.dataset.describers.rules import (
    BACKGROUND,
    COLOURS,
    colour_name,
    dominant_colour,
    look_at,
)
from talking_points.dataset.relations import mirror_words
from talking_points.dataset.scene import make_scene, mirror


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"),
        ((128, 128, 128), "gray"),
        ((255, 255, 255), "white"),
        ((200, 25, 35), "red"),
        ((25, 35, 80), "dark blue"),
        ((40, 90, 180), "blue"),
        ((150, 190, 228), "light blue"),
        ((50, 130, 60), "green"),
        ((240, 212, 60), "yellow"),
        ((238, 130, 40), "orange"),
        ((225, 198, 165), "beige"),
        ((105, 66, 42), "brown"),
        ((240, 170, 185), "pink"),
        ((105, 50, 125), "purple"),
    ],
)
def test_colour_names(rgb, name):
    assert colour_name(rgb) == name


def test_every_colour_word_is_reachable():
    steps = range(0, 256, 15)
    assert {colour_name((r, g, b)) for r in steps for g in steps for b in steps} == set(COLOURS)


def test_dominant_colour(person):
    named = {part.name: dominant_colour(person, k) for k, part in enumerate(person.parts)}
    assert named["shirt"] == "red"
    assert named["jeans"] == "dark blue"
    assert named["shoe"] == "black"
    assert named["bag"] == "green"
    # The jeans are larger than the bag: together they are what the jeans are.
    assert dominant_colour(person, [3, 5]) == "dark blue"


def test_neighbours_and_their_directions(person):
    hem = look_at(person, (30.5, 59.5))
    assert hem.colour == "red"
    assert person.parts[hem.neighbour].name == "jeans"
    assert (hem.neighbour_direction, hem.touching) == ("below", True)
    assert not look_at(person, (30.5, 56.5)).touching
    side = look_at(person, (21.5, 80.5))
    assert (side.neighbour, side.neighbour_direction) == (BACKGROUND, "left")
    inner = look_at(person, (30.5, 40.5))
    assert (inner.neighbour, inner.neighbour_direction, inner.touching) == (None, None, False)


def textured(pattern):
    photo = np.repeat(pattern[..., None], 3, axis=2).astype(np.uint8)
    return make_scene(photo, np.ones(pattern.shape, np.int16), ["hood"], [0], ["car"], source="drawn", photo_id="1")


def test_texture_and_lines():
    flat = np.full((100, 100), 120)
    assert look_at(textured(flat), (50.5, 50.5)).texture == "smooth"
    step = flat.copy()
    step[:, 50:] = 200
    look = look_at(textured(step), (50.5, 50.5))
    assert look.texture == "textured"
    assert look.line == "vertical"
    assert look_at(textured(step.T.copy()), (50.5, 50.5)).line == "horizontal"
    spot = flat.copy()
    spot[40:60, 40:60] = 180
    assert look_at(textured(spot), (50.5, 50.5)).shade == "brighter"


def test_looking_at_the_background_is_an_error(person):
    with pytest.raises(ValueError, match="on the background"):
        look_at(person, (1.5, 1.5))


@pytest.mark.parametrize("name", ["person", "car"])
def test_a_mirrored_photo_has_the_mirrored_look(name, request):
    scene = request.getfixturevalue(name)
    flipped = mirror(scene)
    width = scene.size_wh[0]
    rows, columns = np.nonzero(scene.part_map)
    for row, column in list(zip(rows, columns, strict=True))[::23]:
        here = look_at(scene, (column + 0.5, row + 0.5))
        there = look_at(flipped, (width - column - 0.5, row + 0.5))
        assert here.colour == there.colour
        assert (here.texture, here.shade, here.line) == (there.texture, there.shade, there.line)
        assert (here.neighbour, here.touching) == (there.neighbour, there.touching)
        direction = here.neighbour_direction
        assert there.neighbour_direction == (None if direction is None else mirror_words(direction))
