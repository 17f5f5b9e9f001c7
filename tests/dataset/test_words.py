"""From a mask to the exact phrase, by hand: each row was written by looking at the numbers, not at the output.

`(a|b)` stands for both words. A row fails when left and right, above and below, first and last are exchanged anywhere
between the mask and the sentence.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from talking_points.dataset.facts import OUTLINE
from talking_points.dataset.grammar import (
    Words,
    named_part,
    object_noun,
    object_place_words,
    part_noun,
    part_place_words,
    place_words,
    write_local_text,
    write_point_text,
    write_relations,
)
from talking_points.dataset.looks import LocalLook
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scene import Scene, SceneObject, make_scene
from tests.dataset.choices import Tape, all_ways
from tests.dataset.scenes import point_facts

SIZE = 200
Part = tuple[str, tuple[int, int, int, int]]
Thing = tuple[str, tuple[int, int, int, int], list[Part]]


def drawn(*things: Thing, **more: object) -> Scene:
    """A scene of 200x200 with rectangles: what does not belong to a part is the object itself."""
    part_map = np.zeros((SIZE, SIZE), dtype=np.int16)
    object_map = np.zeros((SIZE, SIZE), dtype=np.int16)
    names: list[str] = []
    owners: list[int] = []
    for number, (name, box, parts) in enumerate(things):
        for part_name, (x0, y0, x1, y1) in [(name, box), *parts]:
            names.append(part_name)
            owners.append(number)
            part_map[y0:y1, x0:x1] = len(names)
        object_map[box[1] : box[3], box[0] : box[2]] = number + 1
    photo = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
    labels = [
        SceneObject(name=name, box_xyxy=box or (0, 0, 0, 0), has_own_box=box is not None) for name, box, _ in things
    ]
    return make_scene(
        photo, part_map, names, owners, labels, source="drawn", photo_id="1", object_map=object_map, **more
    )


def expanded(pattern: str) -> set[str]:
    """All texts of a pattern with (a|b) in it."""
    pieces = re.split(r"\(([^)]*)\)", pattern)
    options = [piece.split("|") if k % 2 else [piece] for k, piece in enumerate(pieces)]
    return {"".join(chosen) for chosen in product(*options)}


def union(*patterns: str) -> set[str]:
    return set().union(*(expanded(pattern) for pattern in patterns))


# --- a point in its part: x, y in a frame of 100 x 100 whose corner is at (50, 40) ---------------------------------

IN_A_PART = [
    # The centre, and the eight directions a little away from it.
    (50, 50, "at the (center|middle) of the door", "in the (center|middle) of the door"),
    (37, 50, "slightly to the left of the (center|middle) of the door", "just left of the (center|middle) of the door"),
    (63, 50, "slightly to the right of the (center|middle) of the door", "just right of the (center|middle) of the door"),
    (50, 37, "slightly above the (center|middle) of the door", "just above the (center|middle) of the door"),
    (50, 63, "slightly below the (center|middle) of the door", "just below the (center|middle) of the door"),
    (37, 37, "slightly above and to the left of the (center|middle) of the door"),
    (63, 37, "slightly above and to the right of the (center|middle) of the door"),
    (37, 63, "slightly below and to the left of the (center|middle) of the door"),
    (63, 63, "slightly below and to the right of the (center|middle) of the door"),
    # Well away from it.
    (24, 50, "to the left of the (center|middle) of the door", "toward the left side of the door"),
    (76, 50, "to the right of the (center|middle) of the door", "toward the right side of the door"),
    (50, 24, "above the (center|middle) of the door", "toward the top of the door"),
    (50, 76, "below the (center|middle) of the door", "toward the bottom of the door"),
    (24, 24, "above and to the left of the (center|middle) of the door", "toward the upper left of the door"),
    (76, 24, "above and to the right of the (center|middle) of the door", "toward the upper right of the door"),
    (24, 76, "below and to the left of the (center|middle) of the door", "toward the lower left of the door"),
    (76, 76, "below and to the right of the (center|middle) of the door", "toward the lower right of the door"),
    # A little along one axis, well along the other.
    (
        37, 24,
        "above and slightly to the left of the (center|middle) of the door",
        "toward the top of the door and slightly to the left",
    ),
    (
        63, 76,
        "below and slightly to the right of the (center|middle) of the door",
        "toward the bottom of the door and slightly to the right",
    ),
    (
        24, 37,
        "to the left and slightly above the (center|middle) of the door",
        "toward the left of the door and slightly above the (center|middle)",
    ),
    (
        76, 63,
        "to the right and slightly below the (center|middle) of the door",
        "toward the right of the door and slightly below the (center|middle)",
    ),
    # Edges.
    (3, 50, "(near|close to) the left edge of the door", "(near|close to) the (center|middle) of the left edge of the door"),
    (97, 50, "(near|close to) the right edge of the door", "(near|close to) the (center|middle) of the right edge of the door"),
    (50, 3, "(near|close to) the top edge of the door", "(near|close to) the (center|middle) of the top edge of the door"),
    (50, 97, "(near|close to) the bottom edge of the door", "(near|close to) the (center|middle) of the bottom edge of the door"),
    (37, 3, "(near|close to) the top edge of the door, slightly to the left"),
    (63, 97, "(near|close to) the bottom edge of the door, slightly to the right"),
    (24, 3, "(near|close to) the top edge of the door, toward the left"),
    (76, 97, "(near|close to) the bottom edge of the door, toward the right"),
    (3, 37, "(near|close to) the left edge of the door, slightly above the (center|middle)"),
    (97, 63, "(near|close to) the right edge of the door, slightly below the (center|middle)"),
    (3, 24, "(near|close to) the left edge of the door, toward the top"),
    (97, 76, "(near|close to) the right edge of the door, toward the bottom"),
    # Corners.
    (3, 3, "(near|close to) the top left corner of the door", "(near|close to) the top and left edges of the door"),
    (97, 3, "(near|close to) the top right corner of the door", "(near|close to) the top and right edges of the door"),
    (3, 97, "(near|close to) the bottom left corner of the door", "(near|close to) the bottom and left edges of the door"),
    (97, 97, "(near|close to) the bottom right corner of the door", "(near|close to) the bottom and right edges of the door"),
]  # fmt: skip


@pytest.mark.parametrize("row", IN_A_PART, ids=lambda row: f"{row[0]},{row[1]}")
def test_a_point_in_its_part(row):
    x, y, *patterns = row
    scene = drawn(("car", (10, 20, 190, 180), [("door", (50, 40, 150, 140))]))
    place = point_facts(scene, (50 + x + 0.5, 40 + y + 0.5)).point_place
    assert all_ways(lambda rng: place_words(Words(rng), place, 7, "door")) == union(*patterns)


@pytest.mark.parametrize(
    ("x", "y", "zone"),
    [
        (50, 50, "the (center|middle)"),
        (24, 50, "the left (part|side)"),
        (76, 50, "the right (part|side)"),
        (50, 24, "the upper (part|center|middle)"),
        (50, 76, "the lower (part|center|middle)"),
        (24, 24, "the upper left part"),
        (76, 24, "the upper right part"),
        (24, 76, "the lower left part"),
        (76, 76, "the lower right part"),
        (50, 3, "the top( edge|)"),
        (50, 97, "the bottom( edge|)"),
        (24, 3, "the left part of the top edge"),
        (76, 97, "the right part of the bottom edge"),
        (3, 50, "the (|center of the |middle of the )left edge"),
        (97, 50, "the (|center of the |middle of the )right edge"),
        (3, 24, "the upper part of the left edge"),
        (97, 76, "the lower part of the right edge"),
        (3, 3, "the top left corner"),
        (97, 97, "the bottom right corner"),
        (97, 3, "the top right corner"),
        (3, 97, "the bottom left corner"),
    ],
)
def test_a_short_text_says_the_zone(x, y, zone):
    scene = drawn(("building", (10, 20, 190, 180), [("window", (50, 40, 150, 140))]))
    facts = point_facts(scene, (50 + x + 0.5, 40 + y + 0.5))
    said = all_ways(lambda rng: write_point_text(facts, DIALECTS["short"], rng))
    zones = {
        re.match(r"(?:the (?:point|keypoint|spot) at |on )?(.*?) of the (?:window|building's)", text)[1]
        for text in said
    }
    assert zones == expanded(zone)


# --- an object in the photo ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "pattern"),
    [
        # Places: the box's centre, in the photo of 200 x 200.
        ((80, 80, 120, 120), "at the (center|middle) of the (photo|image|picture)"),
        ((14, 80, 54, 120), "to the left of the (center|middle) of the (photo|image|picture)"),
        ((146, 80, 186, 120), "to the right of the (center|middle) of the (photo|image|picture)"),
        ((80, 14, 120, 54), "above the (center|middle) of the (photo|image|picture)"),
        ((80, 146, 120, 186), "below the (center|middle) of the (photo|image|picture)"),
        ((0, 0, 40, 40), "(near|close to) the top left corner of the (photo|image|picture)"),
        ((160, 0, 200, 40), "(near|close to) the top right corner of the (photo|image|picture)"),
        ((0, 160, 40, 200), "(near|close to) the bottom left corner of the (photo|image|picture)"),
        ((160, 160, 200, 200), "(near|close to) the bottom right corner of the (photo|image|picture)"),
        # A wide one that reaches the border stands at that edge, though its centre does not.
        ((0, 80, 80, 120), "(near|close to) the left edge of the (photo|image|picture)"),
        ((120, 80, 200, 120), "(near|close to) the right edge of the (photo|image|picture)"),
    ],
)
def test_an_object_in_the_photo(box, pattern):
    facts = point_facts(drawn(("dog", box, [])), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    said = all_ways(lambda rng: place_words(Words(rng), facts.object_place, 7, Words(rng).photo))
    assert expanded(pattern) <= said
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above", "top": "bottom", "bottom": "top"}
    wrong = {opposite[word] for word in re.findall(r"\w+", pattern) if word in opposite}
    assert not [text for text in said if wrong & set(re.findall(r"\w+", text))]


@pytest.mark.parametrize(
    ("box", "size"),
    [
        # Heights of 20, 50, 75, 100, 130 of 200; then what covers most or all of an axis.
        ((50, 90, 80, 110), "is small"),
        # The limits, 0.14, 0.29, 0.41 and 0.58 of 200: 28, 58, 82 and 116; and one pixel each way more than that.
        ((50, 86, 80, 114), "is small"),
        ((50, 85, 80, 115), "takes up about a quarter of the photo's height"),
        ((50, 71, 110, 129), "takes up about a quarter of the photo's height"),
        ((50, 70, 110, 130), "takes up about a third of the photo's height"),
        ((50, 59, 110, 141), "takes up about a third of the photo's height"),
        ((50, 58, 110, 142), "takes up about half of the photo's height"),
        ((50, 42, 110, 158), "takes up about half of the photo's height"),
        ((50, 41, 110, 159), "takes up about two thirds of the photo's height"),
        ((50, 75, 110, 125), "takes up about a quarter of the photo's height"),
        ((50, 62, 110, 137), "takes up about a third of the photo's height"),
        ((50, 50, 110, 150), "takes up about half of the photo's height"),
        ((50, 35, 110, 165), "takes up about two thirds of the photo's height"),
        ((50, 20, 110, 180), "(spans most of the height of the photo|takes up most of the photo's height)"),
        ((50, 0, 110, 200), "(spans the whole height of the photo|reaches from the top to the bottom of the photo)"),
        ((20, 50, 180, 110), "(spans most of the width of the photo|takes up most of the photo's width)"),
        ((0, 50, 200, 110), "(spans the whole width of the photo|reaches across the whole width of the photo)"),
        ((0, 0, 200, 200), "(fills the whole photo|spans the whole width and height of the photo)"),
        ((20, 0, 180, 200), "spans the whole height and most of the width of the photo"),
        ((0, 20, 200, 180), "spans the whole width and most of the height of the photo"),
    ],
)
def test_the_size_of_an_object(box, size):
    facts = point_facts(drawn(("boat", box, [])), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    said = all_ways(lambda rng: object_place_words(Words(rng), facts, 7))
    verbs = r"((?:is small|takes|spans|fills|reaches)[^,]*?)(?:,| and is \w+ |$)"
    sizes = {match[1] for text in said if "photo" in text and (match := re.search(verbs, text))}
    assert expanded(size) <= sizes
    heights = {text for text in sizes if "about" in text or "small" in text}
    assert heights <= expanded(size)


def test_a_long_low_object_is_not_small():
    facts = point_facts(drawn(("boat", (30, 90, 130, 110), [])), (80.5, 100.5))
    assert not [text for text in all_ways(lambda rng: object_place_words(Words(rng), facts, 7)) if "small" in text]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20, 20, 60, 60), ", (near|close to) the top left corner of the dog,"),
        ((140, 140, 180, 180), ", (near|close to) the bottom right corner of the dog,"),
        ((20, 80, 60, 120), ", (near|close to) the left edge of the dog,"),
        ((140, 80, 180, 120), ", (near|close to) the right edge of the dog,"),
        ((80, 20, 120, 60), ", (near|close to) the top edge of the dog,"),
        ((80, 140, 120, 180), ", (near|close to) the bottom edge of the dog,"),
        ((20, 20, 180, 60), ", (spanning the whole width of the dog|reaching across the whole width of the dog) and situated (near|close to) the top edge of the dog,"),
    ],
)  # fmt: skip
def test_a_part_in_its_object(box, expected):
    scene = drawn(("dog", (20, 20, 180, 180), [("head", box)]))
    facts = point_facts(scene, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    assert expanded(expected) <= all_ways(lambda rng: part_place_words(Words(rng), facts, 7))


# --- which of several ----------------------------------------------------------------------------------------------


def row_of(count: int, name: str, top: int = 80) -> list[Thing]:
    """`count` things of 16 x 30 side by side, the last at the right."""
    step = SIZE // count
    return [(name, (k * step + 4, top, k * step + 20, top + 30), []) for k in range(count)]


def ways_of_object(scene: Scene, index: int) -> set[str]:
    box = scene.objects[index].box_xyxy
    facts = point_facts(scene, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    assert facts.object_index == index
    return all_ways(lambda rng: object_noun(Words(rng), facts.object_name, facts.object_order, None))


@pytest.mark.parametrize(
    ("count", "index", "patterns"),
    [
        (1, 0, ["dog"]),
        (2, 0, ["dog (on|to) the left", "leftmost dog", "dog closest to the left edge"]),
        (2, 1, ["dog (on|to) the right", "rightmost dog", "dog closest to the right edge"]),
        (3, 0, ["leftmost dog", "first dog from the left", "dog farthest to the left", "dog closest to the left edge"]),
        (3, 1, ["middle dog", "dog in the middle"]),
        (3, 2, ["rightmost dog", "first dog from the right", "dog farthest to the right", "dog closest to the right edge"]),
        (4, 1, ["second dog from the left", "dog that is second from the left"]),
        (4, 2, ["second dog from the right", "dog that is second from the right"]),
        (6, 2, ["third dog from the left", "dog that is third from the left"]),
        (6, 3, ["third dog from the right", "dog that is third from the right"]),
        (7, 3, ["middle dog", "dog in the middle"]),
        (8, 3, ["fourth dog from the left", "dog that is fourth from the left"]),
        (8, 4, ["fourth dog from the right", "dog that is fourth from the right"]),
    ],
)  # fmt: skip
def test_which_of_several_objects_side_by_side(count, index, patterns):
    assert ways_of_object(drawn(*row_of(count, "dog")), index) == union(*patterns)


@pytest.mark.parametrize(
    ("count", "index", "patterns"),
    [
        (2, 0, ["upper chair", "chair at the top", "chair closest to the top edge"]),
        (2, 1, ["lower chair", "chair at the bottom", "chair closest to the bottom edge"]),
        (3, 0, ["chair at the top", "first chair from the top", "chair closest to the top", "chair closest to the top edge"]),
        (3, 1, ["middle chair", "chair in the middle"]),
        (3, 2, ["chair at the bottom", "first chair from the bottom", "chair closest to the bottom", "chair closest to the bottom edge"]),
        (4, 1, ["second chair from the top", "chair that is second from the top"]),
        (4, 2, ["second chair from the bottom", "chair that is second from the bottom"]),
    ],
)  # fmt: skip
def test_which_of_several_objects_one_above_the_other(count, index, patterns):
    step = SIZE // count
    things: list[Thing] = [("chair", (90, k * step + 4, 120, k * step + 24), []) for k in range(count)]
    assert ways_of_object(drawn(*things), index) == union(*patterns)


@pytest.mark.parametrize(
    ("index", "patterns"),
    [
        (0, ["upper left (cup|mug)", "(cup|mug) at the top left"]),
        (1, ["upper right (cup|mug)", "(cup|mug) at the top right"]),
        (2, ["lower left (cup|mug)", "(cup|mug) at the bottom left"]),
        (3, ["lower right (cup|mug)", "(cup|mug) at the bottom right"]),
    ],
)
def test_which_of_four_in_a_square(index, patterns):
    corners = [(30, 30), (130, 30), (30, 130), (130, 130)]
    things: list[Thing] = [("cup", (x, y, x + 30, y + 30), []) for x, y in corners]
    assert ways_of_object(drawn(*things), index) == union(*patterns)


def windows(rows: list[int]) -> Scene:
    """A building with so many windows in each row, the top one first; a window is 16 x 20."""
    parts: list[Part] = []
    for down, count in enumerate(rows):
        y = 14 + down * (180 // len(rows))
        parts += [("window", (20 + k * 30, y, 36 + k * 30, y + 20)) for k in range(count)]
    return drawn(("building", (10, 10, 190, 190), parts))


@pytest.mark.parametrize(
    ("rows", "row", "column", "patterns"),
    [
        ([3, 3, 3], 0, 0, ["leftmost window in the top row", "first window from the left in the top row", "window farthest to the left in the top row"]),
        ([3, 3, 3], 0, 2, ["rightmost window in the top row", "first window from the right in the top row", "window farthest to the right in the top row"]),
        ([5, 5], 0, 2, ["middle window in the top row", "window in the middle in the top row"]),
        ([5, 5], 0, 1, ["second window from the left in the top row", "window that is second from the left in the top row"]),
        ([6, 6], 0, 2, ["third window from the left in the top row", "window that is third from the left in the top row"]),
        ([6, 6], 1, 3, ["third window from the right in the bottom row", "window that is third from the right in the bottom row"]),
        ([4, 4, 4], 1, 1, ["second window from the left in the middle row", "window that is second from the left in the middle row"]),
        ([4, 4, 4, 4], 1, 3, ["rightmost window in the second row from the top", "first window from the right in the second row from the top", "window farthest to the right in the second row from the top"]),
        ([4, 4, 4, 4], 2, 0, ["leftmost window in the second row from the bottom", "first window from the left in the second row from the bottom", "window farthest to the left in the second row from the bottom"]),
        ([4, 2], 1, 0, ["leftmost window in the bottom row"]),
        ([4, 2], 1, 1, ["rightmost window in the bottom row"]),
        ([4, 1], 1, 0, ["window in the bottom row"]),
        ([4, 4, 1, 4], 2, 0, ["window in the second row from the bottom"]),
    ],
)  # fmt: skip
def test_which_window_of_a_building(rows, row, column, patterns):
    scene = windows(rows)
    y = 14 + row * (180 // len(rows))
    facts = point_facts(scene, (28 + column * 30, y + 10))
    assert all_ways(lambda rng: part_noun(Words(rng), "window", facts.part_order)) == union(*patterns)


# --- own side, and the picture's ------------------------------------------------------------------------------------


def seen(owner: str, noun: str, side: str) -> list[str]:
    """What is said of the left or right one of two, in the picture."""
    return [
        f"{owner} {side}most {noun}",
        f"{owner} {noun} on the {side} as seen in the (photo|image|picture)",
        f"{owner} {noun} farther to the {side} in the (photo|image|picture)",
    ]


@pytest.mark.parametrize(
    ("name", "parts", "index", "patterns"),
    [
        # A person who faces us: the own left is on the picture's right, and only the own side is said.
        ("person", [("left knee", (120, 100, 140, 120)), ("right knee", (60, 100, 80, 120))], 0, ["(their|the person's) (own |)left knee"]),
        ("person", [("left knee", (120, 100, 140, 120)), ("right knee", (60, 100, 80, 120))], 1, ["(their|the person's) (own |)right knee"]),
        # Nobody knows whose side: the picture's is said, and that it is the picture's.
        ("person", [("shoe", (120, 160, 140, 170)), ("shoe", (60, 160, 80, 170))], 0, seen("(their|the person's|the)", "shoe", "right")),
        ("person", [("shoe", (120, 160, 140, 170)), ("shoe", (60, 160, 80, 170))], 1, seen("(their|the person's|the)", "shoe", "left")),
        ("dog", [("left ear", (60, 20, 80, 40)), ("right ear", (120, 20, 140, 40))], 0, ["(its|the dog's) (own |)left ear"]),
        ("dog", [("front leg", (60, 120, 80, 160)), ("front leg", (120, 120, 140, 160))], 1, seen("(its|the dog's|the)", "front leg", "right")),
        # Of a car it is always stressed: we look at it from outside.
        ("car", [("left headlight", (120, 100, 150, 120))], 0, ["(its|the car's) own left (headlight|front light|headlamp)"]),
        ("car", [("wheel", (40, 150, 70, 180)), ("wheel", (130, 150, 160, 180))], 0, seen("(its|the car's|the)", "wheel", "left")),
        ("chair", [("arm", (40, 80, 60, 120)), ("arm", (130, 80, 150, 120))], 1, seen("(its|the chair's|the)", "arm", "right")),
    ],
)  # fmt: skip
def test_own_side_and_the_picture_s_side(name, parts, index, patterns):
    scene = drawn((name, (20, 10, 180, 190), parts))
    x0, y0, x1, y1 = parts[index][1]
    facts = point_facts(scene, ((x0 + x1) / 2, (y0 + y1) / 2))
    assert all_ways(lambda rng: named_part(Words(rng), facts)[0]) == union(*patterns)


def test_before_of_no_photo_is_named():
    """Not "the wheel farther to the left in the photo of the car"."""
    car = ("car", (20, 10, 180, 100), [("wheel", (40, 60, 70, 90)), ("wheel", (130, 60, 160, 90))])
    facts = point_facts(drawn(car, ("car", (20, 110, 180, 200), [])), (55.5, 75.5))
    said = all_ways(lambda rng: write_point_text(facts, DIALECTS["short"], rng))
    assert not [text for text in said if re.search(r"(photo|image|picture) of", text)]
    assert "the center of the leftmost wheel of the upper car" in said


# --- what is beside the point --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "direction"),
    [
        (100, 72, "(just above|directly above it)"),
        (100, 127, "(just below|directly below it)"),
        (72, 100, "(just to the left|on its left)"),
        (127, 100, "(just to the right|on its right)"),
        (72, 72, "just to the upper left"),
        (127, 72, "just to the upper right"),
        (72, 127, "just to the lower left"),
        (127, 127, "just to the lower right"),
    ],
)
def test_the_direction_of_what_is_beside_the_point(x, y, direction):
    """A chair is a square from 70 to 130; all around it is a bed."""
    scene = drawn(("bed", (40, 40, 160, 160), []), ("chair", (70, 70, 130, 130), []))
    facts = point_facts(scene, (x + 0.5, y + 0.5))
    said = all_ways(lambda rng: write_local_text(facts, rng))
    surface = "(a smooth gray surface|a gray, smooth surface)"
    looks, sides = expanded(surface), expanded(direction)
    touching, close = ("at the edge with", "touching"), ("with", "close to")
    ways = [
        {f"{look}, {link} the bed {side}." for look in looks for side in sides for link in links}
        for links in (touching, close)
    ]
    assert said in ways


@pytest.mark.parametrize(
    ("things", "point", "neighbour"),
    [
        # Beside the object is what nobody labelled.
        ([("dog", (60, 60, 140, 140), [])], (138, 100), OUTLINE),
        # What a part lies on is not beside it.
        ([("person", (20, 20, 180, 180), [("face", (50, 50, 150, 150)), ("nose", (90, 90, 110, 110))])], (108, 100), None),
        # The rest of the own object is no neighbour of its part.
        ([("dog", (20, 20, 180, 180), [("head", (60, 60, 100, 100))])], (98, 80), None),
        # The other of two, another of three.
        ([("person", (20, 20, 180, 180), [("shoe", (60, 60, 100, 100)), ("shoe", (100, 60, 140, 100))])], (98, 80), "the other shoe"),
        ([("building", (20, 20, 180, 180), [("window", (60, 60, 100, 100)), ("window", (100, 60, 140, 100)), ("window", (60, 130, 90, 150))])], (98, 80), "another window"),
        ([("building", (20, 20, 180, 180), [("balcony", (60, 60, 100, 100)), ("window", (100, 60, 140, 100)), ("window", (60, 130, 90, 150))])], (98, 80), "a window"),
        # Another object, and another object's part.
        ([("dog", (20, 20, 100, 180), []), ("dog", (100, 20, 180, 180), [])], (98, 80), "the other dog"),
        ([("dog", (20, 20, 100, 180), []), ("chair", (100, 20, 180, 180), [])], (98, 80), "the chair"),
        ([("person", (20, 20, 100, 180), []), ("person", (100, 20, 150, 180), [("left arm", (100, 60, 120, 120))]), ("person", (160, 20, 180, 180), [])], (98, 80), "another person's left arm"),
        ([("dog", (20, 20, 100, 180), []), ("apple", (100, 20, 140, 180), []), ("apple", (160, 20, 180, 180), [])], (98, 80), "an apple"),
    ],
)  # fmt: skip
def test_what_is_beside_the_point_is_called_what_it_is(things, point, neighbour):
    assert point_facts(drawn(*things), (point[0] + 0.5, point[1] + 0.5)).neighbour == neighbour


def test_beside_a_part_of_an_object_without_outline_nothing_is_known():
    part_map = np.zeros((SIZE, SIZE), dtype=np.int16)
    part_map[60:100, 60:100], part_map[60:100, 100:140] = 1, 2
    photo = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
    for outlined, beside in ((True, OUTLINE), (False, None)):
        car = SceneObject(name="car", outlined=outlined)
        scene = make_scene(photo, part_map, ["hood", "trunk"], [0, 0], [car], source="drawn", photo_id="1")
        assert point_facts(scene, (62.5, 80.5)).neighbour == beside
        assert point_facts(scene, (98.5, 80.5)).neighbour == "the trunk"


# --- what is seen ---------------------------------------------------------------------------------------------------


def local_look(**more: object) -> LocalLook:
    values = {
        "colour": "blue", "second_colour": None, "texture": "smooth", "shade": None, "line": None,
        "neighbour": None, "neighbour_direction": None, "touching": False,
    }  # fmt: skip
    return LocalLook(**(values | more))


def painted(draw: object) -> Scene:
    """A car's hood over the whole photo, gray, with what `draw` paints on it."""
    photo = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
    draw(photo)
    return make_scene(photo, np.ones((SIZE, SIZE), np.int16), ["hood"], [0], ["car"], source="drawn", photo_id="1")


def test_lines_and_shades_are_what_they_are_called():
    def across(photo):
        photo[100:] = 200

    def down(photo):
        photo[:, 100:] = 200

    def bright(photo):
        photo[80:120, 80:120] = 160

    def dark(photo):
        photo[80:120, 80:120] = 80

    for draw, said in (
        (across, ["with a horizontal line", "with a horizontal edge running through it"]),
        (down, ["with a vertical line", "with a vertical edge running through it"]),
        (bright, ["brighter than most of the hood", "lighter than most of the hood"]),
        (dark, ["darker than most of the hood"]),
    ):
        texts = all_ways(lambda rng, draw=draw: write_local_text(point_facts(painted(draw), (100.5, 100.5)), rng))
        for phrase in said:
            assert any(phrase in text for text in texts), (phrase, texts)
        opposite = {"horizontal": "vertical", "vertical": "horizontal", "brighter": "darker", "darker": "brighter"}
        assert not any(
            opposite[phrase.split()[2 if "with" in phrase else 0]] in text for phrase in said[:1] for text in texts
        )


def test_a_colour_is_measured_inside_the_mask_only():
    """Hair that was outlined two pixels too far takes nothing of the green wall."""
    photo = np.full((SIZE, SIZE, 3), (92, 120, 60), dtype=np.uint8)
    photo[60:140, 60:140] = (90, 60, 40)
    part_map = np.zeros((SIZE, SIZE), dtype=np.int16)
    part_map[59:141, 59:141] = 1
    scene = make_scene(photo, part_map, ["hair"], [0], ["person"], source="drawn", photo_id="1")
    look = point_facts(scene, (61.5, 61.5)).look
    assert (look.colour, look.second_colour, look.texture) == ("brown", None, "smooth")


@pytest.mark.parametrize(
    ("name", "part", "text"),
    [
        ("person", "face", "(bare skin|smooth skin)"),
        ("person", "left hand", "(bare skin|smooth skin)"),
        # Bare or covered: brown may be the skin's, blue cannot be.
        ("person", "left knee", "a smooth surface"),
        ("person", "hat", "(a smooth brown surface|a brown, smooth surface)"),
        ("dog", "left knee", "(smooth brown fur|brown, smooth fur)"),
        ("dog", "nose", "(a smooth brown surface|a brown, smooth surface)"),
        ("cow", "left knee", "(a smooth brown surface|a brown, smooth surface)"),
        ("person", "jeans", "(smooth brown fabric|brown, smooth fabric)"),
        ("car", "windshield", "(smooth brown glass|brown, smooth glass)"),
    ],
)
def test_what_a_surface_is_called(name, part, text):
    scene = drawn((name, (10, 10, 190, 190), [(part, (50, 50, 150, 150))]))
    facts = replace(point_facts(scene, (100.5, 100.5)), look=local_look(colour="brown"))
    assert all_ways(lambda rng: write_local_text(facts, rng)) == {f"{way}." for way in expanded(text)}
    # Blue is nobody's skin.
    blue = replace(facts, look=local_look(colour="blue"))
    assert all("blue" in way for way in all_ways(lambda rng: write_local_text(blue, rng)))


# --- whole sentences --------------------------------------------------------------------------------------------------


def two_dogs_and_a_person() -> Scene:
    return drawn(
        ("person", (120, 20, 180, 180), [("left knee", (150, 120, 170, 140)), ("hat", (135, 20, 165, 40))]),
        ("dog", (10, 120, 60, 180), []),
        ("dog", (70, 130, 110, 180), [("nose", (72, 140, 82, 150))]),
    )


def a_house() -> Scene:
    return windows([3, 3])


def a_street() -> Scene:
    return drawn(
        ("car", (10, 120, 120, 180), [("wheel", (20, 155, 45, 180)), ("wheel", (85, 155, 110, 180)), ("left headlight", (11, 135, 25, 145))]),
        ("bus", (130, 60, 195, 180), []),
    )  # fmt: skip


# The first of all wordings, and no extras: what is true of these points, as a person wrote it down.
TRUE_SENTENCES = [
    (two_dogs_and_a_person, (160, 130), "the point is on the person, who spans most of the height of the photo and is situated to the right of the center of the photo, specifically on their left knee, situated below and to the right of the center of the person, and within the left knee, the point is at the center."),
    (two_dogs_and_a_person, (150, 22), "the point is on the person, who spans most of the height of the photo and is situated to the right of the center of the photo, specifically on their hat, situated near the top edge of the person, and within the hat, the point is near the top edge."),
    (two_dogs_and_a_person, (20, 170), "the point is on the dog on the left, which is situated near the left edge of the photo, toward the bottom, and on the dog, the point is below and to the left of the center."),
    (two_dogs_and_a_person, (80, 142), "the point is on the dog on the right, which is situated below the center of the photo, specifically on its nose, situated near the left edge of the dog, toward the top, and within the nose, the point is above and to the right of the center."),
    (a_house, (58, 24), "the point is on the building, which fills most of the photo, specifically on its middle window in the top row, situated near the top edge of the building, toward the left, and within the window, the point is at the center."),
    (a_house, (90, 110), "the point is on the building, which fills most of the photo, specifically on its rightmost window in the bottom row, situated slightly below the center of the building, and within the window, the point is above and slightly to the right of the center."),
    (a_street, (25, 175), "the point is on the car, which is situated below and to the left of the center of the photo, specifically on its leftmost wheel, situated near the bottom edge of the car, toward the left, and within the wheel, the point is below and to the left of the center."),
    (a_street, (15, 140), "the point is on the car, which is situated below and to the left of the center of the photo, specifically on its own left headlight, situated near the left edge of the car, toward the top, and within the left headlight, the point is to the left of the center."),
    (a_street, (190, 70), "the point is on the bus, which is situated near the right edge of the photo, slightly below the center, and on the bus, the point is near the top right corner."),
]  # fmt: skip


class FirstWordings(Tape):
    """Always the first wording, and nothing that is left to chance."""

    def __init__(self) -> None:
        super().__init__([])

    def random(self) -> float:
        return 0.999999


@pytest.mark.parametrize(("scene", "point", "sentence"), TRUE_SENTENCES)
def test_true_sentences_about_drawn_scenes(scene, point, sentence):
    facts = point_facts(scene(), (point[0] + 0.5, point[1] + 0.5))
    paper = DIALECTS["paper"]
    assert write_relations(facts, paper, FirstWordings()) == sentence


def test_objects_of_which_more_are_there_than_labelled_are_not_counted():
    scene = drawn(*row_of(4, "person"), uncounted=frozenset({"person"}))
    for index in range(4):
        assert ways_of_object(scene, index) == {"person"}
    facts = point_facts(scene, (12.5, 95.5))
    assert not facts.object_alone


def test_a_breed_is_said_and_does_not_mislead_the_count():
    things = row_of(3, "dog")
    part_map = np.zeros((SIZE, SIZE), dtype=np.int16)
    for number, (_, (x0, y0, x1, y1), _) in enumerate(things):
        part_map[y0:y1, x0:x1] = number + 1
    labels = [
        SceneObject(name="dog", breed="pug" if k == 0 else "", box_xyxy=things[k][1], has_own_box=True)
        for k in range(3)
    ]
    photo = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
    scene = make_scene(photo, part_map, ["dog"] * 3, [0, 1, 2], labels, source="drawn", photo_id="1")
    facts = point_facts(scene, (12.5, 95.5))
    said = all_ways(lambda rng: object_noun(Words(rng), "dog", facts.object_order, None, facts.object_breed))
    assert {"leftmost pug", "leftmost pug dog", "leftmost dog", "pug closest to the left edge"} <= said
    # Of the pugs, it may be the only one.
    assert not [text for text in said if "first pug" in text]
