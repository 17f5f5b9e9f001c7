import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talking_points.dataset.grammar import write_relations
from talking_points.dataset.places import (
    AT_EDGE,
    DIALECTS,
    Place,
    clear_sides,
    degree,
    extent,
    mirror_words,
    object_order_of,
    order_of,
    place_of_box,
    place_of_point,
)
from talking_points.dataset.scene_edits import mosaic
from talking_points.dataset.wordings import PHRASES
from tests.dataset.scenes import point_facts

WIDTH = 200
boxes = st.tuples(st.integers(0, 180), st.integers(0, 180), st.integers(1, 20), st.integers(1, 20)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def flipped(box):
    return (WIDTH - box[2], box[1], WIDTH - box[0], box[3])


def test_place_of_box_by_hand():
    # Left half, full height.
    assert place_of_box((0, 0, 50, 100), (0, 0, 100, 100)) == Place(dx=-0.25, dy=0.0, span_x=0.5, span_y=1.0)
    # The frame need not begin at zero.
    assert place_of_box((60, 20, 70, 30), (50, 20, 70, 40)) == Place(dx=0.25, dy=-0.25, span_x=0.5, span_y=0.5)


def test_place_of_point_is_relative_to_the_part_not_the_photo():
    assert place_of_point((95.0, 90.0), (90, 80, 110, 100)) == Place(dx=-0.25, dy=0.0)


@pytest.mark.parametrize(
    ("offset", "bins", "expected"),
    [
        (0.0, 7, "center"),
        (-0.1, 7, "slight"),
        (0.25, 7, "plain"),
        (-0.4, 7, "edge"),
        (0.2, 5, "slight"),
        (0.31, 5, "edge"),
        (0.1, 3, "center"),
        (0.49, 3, "plain"),
    ],
)
def test_degree(offset, bins, expected):
    assert degree(offset, 0.0, bins) == expected


def test_a_box_that_reaches_the_border_is_at_the_edge():
    # Centre at 0.2 of the width, which is "plain" for a point; the box leaves 2% free at its side.
    assert degree(-0.28, 0.40, 7) == "edge"
    assert degree(-0.28, 0.10, 7) == "plain"


def test_extent():
    assert [extent(share) for share in (0.5, 0.8, 1.0)] == ["part", "most", "whole"]
    assert [extent(share) for share in (0.719, 0.72, 0.969, 0.97)] == ["part", "most", "most", "whole"]


@pytest.mark.parametrize(
    ("centres", "expected"),
    [
        ([(50, 50)], [None]),
        ([(50, 50), (150, 60)], ["left", "right"]),
        ([(150, 50), (50, 60)], ["right", "left"]),
        ([(20, 50), (100, 50), (180, 50)], ["leftmost", "middle", "rightmost"]),
        (
            [(20, 50), (70, 50), (120, 50), (170, 50)],
            ["leftmost", "second from the left", "second from the right", "rightmost"],
        ),
        ([(100, 20), (101, 150)], ["top", "bottom"]),
        (
            [(40, 40), (140, 40), (40, 150), (140, 150)],
            ["top left", "top right", "bottom left", "bottom right"],
        ),
        # Two above, one below: "the middle one" would be true of its column only.
        ([(40, 40), (140, 40), (90, 150)], ["top left", "top right", "bottom"]),
        ([(50, 50), (50, 50)], [None, None]),
        # Things of 30: 18 to the side is more than half of one, and comes before 27 down.
        ([(50, 50), (68, 77)], ["left", "right"]),
        # Here and there: neither in a row nor in a column, and no two rows.
        ([(50, 10), (50, 20), (150, 15)], [None, None, None]),
        # Two by two, half a thing apart: that is enough to be above the other.
        ([(50, 50), (150, 50), (50, 65), (150, 65)], ["top left", "top right", "bottom left", "bottom right"]),
        # And a tenth of three of it side by side.
        ([(50, 50), (59, 50), (50, 150), (120, 150)], ["top left", "top right", "bottom left", "bottom right"]),
        (
            [(40 * k, 50) for k in range(17)],
            [
                "leftmost",
                *(
                    f"{nth} from the left"
                    for nth in ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
                ),
                "middle",
                *(
                    f"{nth} from the right"
                    for nth in ("eighth", "seventh", "sixth", "fifth", "fourth", "third", "second")
                ),
                "rightmost",
            ],
        ),
    ],
)
def test_order_of_by_hand(centres, expected):
    things = [(x - 15, y - 15, x + 15, y + 15) for x, y in centres]
    assert [order_of(things, k) for k in range(len(things))] == expected


def test_rows_by_hand():
    below = [(20, 100, 30, 120), (60, 100, 70, 120), (100, 100, 110, 120)]
    # Two windows of other heights in one row: the middles of both are above the bottoms of both.
    things = [(20, 10, 28, 60), (32, 20, 40, 40), *below]
    assert order_of(things, 0) == "left in the top row"
    assert order_of(things, 1) == "right in the top row"
    assert order_of(things, 3) == "middle in the bottom row"
    # The middles of the first three are where the others begin: no two rows.
    above = [(0, 0, 20, 20), (40, 0, 60, 20), (80, 0, 100, 20)]
    assert order_of([*above, (0, 10, 20, 40), (40, 10, 60, 40)], 0) is None
    assert order_of([*above, (0, 11, 20, 41), (40, 11, 60, 41)], 0) == "leftmost in the top row"


@given(st.lists(boxes, min_size=1, max_size=6))
def test_orders_are_unique_and_mirror(things):
    words = [order_of(things, k) for k in range(len(things))]
    told = [word for word in words if word is not None]
    assert len(set(told)) == len(told)
    mirrored = [order_of([flipped(box) for box in things], k) for k in range(len(things))]
    assert [None if word is None else mirror_words(word) for word in words] == mirrored


@given(boxes, st.sampled_from([3, 5, 7]))
def test_places_mirror(box, bins):
    frame = (0, 0, WIDTH, WIDTH)
    place, other = place_of_box(box, frame), place_of_box(flipped(box), frame)
    assert other == replace(place, dx=-place.dx)
    assert degree(place.dx, place.span_x, bins) == degree(other.dx, other.span_x, bins)


@given(st.text(max_size=60))
def test_mirror_words_is_its_own_inverse(text):
    assert mirror_words(mirror_words(text)) == text


def test_mirror_words_leaves_other_words_alone():
    assert mirror_words("bright leftmost back left door, upright") == "bright rightmost back right door, upright"


def test_dialects():
    assert set(DIALECTS) == {"paper", "coarse", "place-free", "short", "clear"}
    assert all(dialect.name == name for name, dialect in DIALECTS.items())


@pytest.mark.parametrize(
    ("place", "clear"),
    [
        (Place(dx=-0.3, dy=0.3), Place(dx=-0.25, dy=0.25)),
        (Place(dx=0.45, dy=0.15), Place(dx=0.25, dy=0.0)),  # nobody would say whether it is low
        (Place(dx=0.27, dy=-0.29), Place(dx=0.0, dy=-0.25)),
        (Place(dx=0.0, dy=0.05), Place(dx=0.0, dy=0.0)),
        (Place(dx=0.0, dy=0.15), None),
        (Place(dx=0.15, dy=-0.25), None),
        (Place(dx=0.3, dy=0.3, span_x=0.9, span_y=0.2), Place(dx=0.0, dy=0.25)),
        (Place(dx=0.02, dy=0.03, span_x=0.9, span_y=0.2), None),
        (Place(dx=0.02, dy=0.03, span_x=0.9, span_y=0.9), None),
    ],
)
def test_only_the_sides_that_are_clear_of_a_place_are_left(place, clear):
    assert clear_sides(place) == clear


shifts = st.integers(-500, 500)
DEGREES = ["center", "slight", "plain", "edge"]


@given(boxes, boxes, shifts, shifts, st.sampled_from([0.5, 2, 8]))
def test_places_depend_on_the_frame_alone(box, frame, dx, dy, zoom):
    """Wherever both stand in the photo, and however large it is."""

    def moved(one):
        return tuple((value + offset) * zoom for value, offset in zip(one, (dx, dy, dx, dy), strict=True))

    assert place_of_box(moved(box), moved(frame)) == place_of_box(box, frame)
    x0, y0 = box[:2]
    assert place_of_point(moved(box)[:2], moved(frame)) == place_of_point((x0, y0), frame)


@given(st.floats(0, 1), st.floats(0, 1), boxes)
def test_a_point_of_a_part_is_within_half_of_it(across, down, part):
    x0, y0, x1, y1 = part
    place = place_of_point((x0 + across * (x1 - x0), y0 + down * (y1 - y0)), part)
    assert abs(place.dx) <= 0.5 + 1e-9
    assert abs(place.dy) <= 0.5 + 1e-9
    assert place.span_x == place.span_y == 0


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.sampled_from([3, 5, 7]))
def test_farther_from_the_middle_is_never_a_smaller_step(first, second, bins):
    near, far = sorted((first, second), key=abs)
    assert DEGREES.index(degree(near, 0.0, bins)) <= DEGREES.index(degree(far, 0.0, bins))
    assert degree(near, 0.0, bins) == degree(-near, 0.0, bins)


@pytest.mark.parametrize("bins", [3, 5, 7])
def test_a_dialect_has_as_many_steps_as_it_says(bins):
    degrees = [degree(offset, 0.0, bins) for offset in np.linspace(-0.5, 0.5, 1001)]
    assert sum(here != there for here, there in zip(degrees, degrees[1:], strict=False)) == bins - 1


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_wider_span_is_never_a_smaller_extent(first, second):
    words = ["part", "most", "whole"]
    assert words.index(extent(min(first, second))) <= words.index(extent(max(first, second)))


@given(st.lists(boxes, min_size=1, max_size=6), st.randoms(use_true_random=False), shifts, shifts)
def test_orders_do_not_depend_on_the_list_s_order_or_the_photo(things, random, dx, dy):
    words = [order_of(things, k) for k in range(len(things))]
    shuffled = list(range(len(things)))
    random.shuffle(shuffled)
    moved = [(things[k][0] + dx, things[k][1] + dy, things[k][2] + dx, things[k][3] + dy) for k in shuffled]
    assert [order_of(moved, k) for k in range(len(moved))] == [words[k] for k in shuffled]


@given(st.lists(boxes, min_size=2, max_size=6))
def test_who_is_said_to_be_leftmost_is(things):
    centres = [(box[0] + box[2]) / 2 for box in things]
    for k in range(len(things)):
        word = order_of(things, k)
        if word in ("left", "leftmost"):
            assert centres[k] == min(centres)
        if word in ("right", "rightmost"):
            assert centres[k] == max(centres)


def test_the_edge_that_an_object_is_closest_to():
    """The middle one of three is no candidate; a long one reaches beyond the rightmost centre."""
    in_a_row = [(0, 0, 10, 10), (20, 0, 30, 10), (50, 0, 60, 10)]
    orders = [object_order_of(in_a_row, k) for k in range(3)]
    assert orders == ["leftmost at the edge", "middle", "rightmost at the edge"]
    long_one = [(0, 0, 80, 10), (50, 0, 60, 10)]
    assert [object_order_of(long_one, k) for k in range(2)] == ["left at the edge", "right"]
    assert object_order_of(in_a_row[:1], 0) is None


@given(st.lists(boxes, min_size=2, max_size=6))
def test_who_is_said_to_be_closest_to_an_edge_is_and_it_mirrors(things):
    words = [object_order_of(things, k) for k in range(len(things))]
    for side, name in enumerate(("left", "top", "right", "bottom")):
        told = [k for k, word in enumerate(words) if word and word.endswith(AT_EDGE) and _edge_of(word) == name]
        assert len(told) <= 1
        for k in told:
            reach = [box[side] for box in things]
            assert reach[k] == (min(reach) if side < 2 else max(reach)) and reach.count(reach[k]) == 1
    mirrored = [object_order_of([flipped(box) for box in things], k) for k in range(len(things))]
    assert [None if word is None else mirror_words(word) for word in words] == mirrored


def _edge_of(order):
    ends = {"leftmost": "left", "rightmost": "right", "topmost": "top", "lowest": "bottom"}
    end = order.removesuffix(AT_EDGE)
    return ends.get(end, end)


def on_a_larger_photo(scene, left, top, right, bottom):
    """The same pixels with margins around them."""
    width, height = scene.size_wh
    cell = (left, top, left + width, top + height)
    return mosaic([scene], [cell], (left + width + right, top + height + bottom))


margins = st.integers(0, 150)


@given(margins, margins, margins, margins, st.integers(0, 6), st.integers(0, 10**6))
def test_without_the_object_s_place_the_photo_s_frame_is_never_said(person, left, top, right, bottom, part, seed):
    part_map = person.part_map == part + 1
    rows, columns = np.nonzero(part_map)
    x, y = columns[seed % len(columns)] + 0.5, rows[seed % len(rows)] + 0.5
    larger = on_a_larger_photo(person, left, top, right, bottom)
    texts = [
        write_relations(point_facts(scene, point), DIALECTS["place-free"], np.random.default_rng(seed))
        for scene, point in ((person, (x, y)), (larger, (x + left, y + top)))
    ]
    assert texts[0] == texts[1]
    # The photo is where one shoe is seen on the left of the other, and no frame to be left in.
    bare = re.sub(rf"(as seen|farther to the (left|right)) in the ({'|'.join(PHRASES['photo'])})", "", texts[0])
    assert not set(PHRASES["photo"]) & set(re.findall(r"\w+", bare)), texts[0]


def test_the_object_s_place_is_said_where_the_dialect_says_so(person):
    point = (30.5, 15.5)
    larger = on_a_larger_photo(person, 240, 0, 0, 0)
    for name, dialect in DIALECTS.items():
        texts = [
            [write_relations(point_facts(scene, at), dialect, np.random.default_rng(seed)) for seed in range(8)]
            for scene, at in ((person, point), (larger, (point[0] + 240, point[1])))
        ]
        assert (texts[0] != texts[1]) == dialect.object_place, name
