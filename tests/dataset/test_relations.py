import pytest
from hypothesis import given
from hypothesis import strategies as st

from talking_points.dataset.relations import (
    DIALECTS,
    Dialect,
    Place,
    degree,
    extent,
    mirror_words,
    order_of,
    place_of_box,
    place_of_point,
)

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
    with pytest.raises(ValueError, match="is empty"):
        place_of_box((0, 0, 1, 1), (5, 5, 5, 9))


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
    ],
)
def test_order_of_by_hand(centres, expected):
    things = [(x - 15, y - 15, x + 15, y + 15) for x, y in centres]
    assert [order_of(things, k) for k in range(len(things))] == expected


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
    assert other == place.mirrored()
    assert degree(place.dx, place.span_x, bins) == degree(other.dx, other.span_x, bins)


@given(st.text(max_size=60))
def test_mirror_words_is_its_own_inverse(text):
    assert mirror_words(mirror_words(text)) == text


def test_mirror_words_leaves_other_words_alone():
    assert mirror_words("bright leftmost back left door, upright") == "bright rightmost back right door, upright"


def test_dialects():
    assert set(DIALECTS) == {"paper", "coarse", "place-free", "short"}
    assert all(dialect.name == name for name, dialect in DIALECTS.items())
    with pytest.raises(ValueError, match="place_bins must be one of"):
        Dialect(name="x", object_place=True, place_bins=4, local=True, order="coarse-to-fine", length="full")
    with pytest.raises(ValueError, match="order must be"):
        Dialect(name="x", object_place=True, place_bins=3, local=True, order="random", length="full")
    with pytest.raises(ValueError, match="length must be"):
        Dialect(name="x", object_place=True, place_bins=3, local=True, order="coarse-to-fine", length="long")
