import sys

import numpy as np
import pytest
from PIL import Image

from talking_points.evaluation.figures import _note, draw_points, mark_photo
from talking_points.samples import PhotoPoint

RED, GREEN, BLUE = (227, 18, 11), (18, 183, 106), (120, 160, 210)
TEXT = "A point on the white collar of the person in the middle, near its right end, costing $5 and $6."
PHOTO = Image.new("RGB", (400, 300), BLUE)


def pixels_of(figure: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) positions, x then y, of the figure's pixels of a colour."""
    near = np.abs(np.asarray(figure, dtype=int) - colour).max(axis=2) < 30
    return np.argwhere(near)[:, ::-1]


def photo_box(figure: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a photo that is filled with `colour`, in pixels of the figure."""
    positions = pixels_of(figure, colour)
    left, top = positions.min(axis=0)
    right, bottom = positions.max(axis=0) + 1
    return int(left), int(top), int(right), int(bottom)


def test_star_and_ring_are_where_the_points_are():
    figure = draw_points(PHOTO, [PhotoPoint(point_px=(100, 60), found_px=(300, 200), description=TEXT)])
    left, top, right, bottom = photo_box(figure, BLUE)
    scale = (right - left) / PHOTO.width
    assert scale == pytest.approx((bottom - top) / PHOTO.height, abs=0.02)
    for colour, point in [(RED, (100, 60)), (GREEN, (300, 200))]:
        marks = pixels_of(figure, colour)
        marks = marks[marks[:, 1] < bottom]  # without the legend
        middle = (marks.min(axis=0) + marks.max(axis=0)) / 2
        assert np.abs((middle - (left, top)) / scale - point).max() < 3


def test_a_description_has_a_star_and_no_ring():
    figure = draw_points(PHOTO, [PhotoPoint(point_px=(10, 10), description=TEXT)])
    assert len(pixels_of(figure, RED)) and not len(pixels_of(figure, GREEN))


def test_an_answer_has_a_ring_and_no_star():
    figure = draw_points(PHOTO, [PhotoPoint(found_px=(10, 10), description=TEXT)])
    assert len(pixels_of(figure, GREEN)) and not len(pixels_of(figure, RED))


def test_what_is_not_in_the_photo_has_no_ring_and_is_said():
    points = [PhotoPoint(point_px=(10, 10), found_px=(300, 200), description=TEXT, there=there) for there in (0.1, 0.9)]
    absent, there = (draw_points(PHOTO, [point]) for point in points)
    assert len(pixels_of(absent, RED)) and not len(pixels_of(absent, GREEN))
    assert len(pixels_of(there, GREEN))
    notes = [_note(point, PHOTO.size) for point in points]
    assert notes[0] == "asked (10.0, 10.0)  ·  not in the photo  ·  likeliest place (300.0, 200.0)"
    assert notes[1].startswith("asked (10.0, 10.0)  ·  found (300.0, 200.0)  ·  346.7 px apart")


def test_each_text_makes_the_figure_longer_by_its_lines():
    heights = [
        draw_points(PHOTO, [PhotoPoint(point_px=(10, 10), description=text)]).height
        for text in ("short", TEXT, TEXT * 3)
    ]
    assert heights[0] < heights[1] < heights[2]


@pytest.mark.parametrize("text", ["x" * 2000, TEXT * 12, "日本語 😀 $\\frac{1}{2}$ \x00 \t\n end", " ", ""])
def test_texts_stay_inside_the_figure(text):
    figure = draw_points(PHOTO, [PhotoPoint(point_px=(10, 10), description=text)])
    values = np.asarray(figure)
    border = 12  # half of the margin
    assert (values[:, :border] == 255).all() and (values[:, -border:] == 255).all()
    assert (values[-border:] == 255).all()


@pytest.mark.parametrize("size_wh", [(1, 1), (3, 2), (20_000, 10), (10, 20_000), (5_000, 4_000)])
def test_any_photo_gives_a_figure_of_a_page(size_wh):
    corners = [(0, 0), size_wh, (size_wh[0], 0), (0, size_wh[1])]
    points = [PhotoPoint(point_px=corner, found_px=corner, description=TEXT) for corner in corners]
    figure = draw_points(Image.new("RGB", size_wh, "navy"), points)
    assert figure.mode == "RGB"
    assert 800 <= figure.width <= 1400
    assert 400 <= figure.height <= 2400


def test_a_point_outside_is_drawn_at_the_border():
    inside = draw_points(PHOTO, [PhotoPoint(found_px=(400, 150))])
    outside = draw_points(PHOTO, [PhotoPoint(found_px=(900, 150))])
    left, top, _, bottom = photo_box(inside, BLUE)
    assert np.asarray(inside)[top:bottom].tobytes() == np.asarray(outside)[top:bottom].tobytes()


def test_without_points_it_is_the_photo():
    figure = draw_points(PHOTO, [])
    assert not len(pixels_of(figure, RED)) and not len(pixels_of(figure, GREEN))


def test_the_photo_alone_has_the_same_marks_and_no_margin():
    points = [PhotoPoint(point_px=(100, 60), found_px=(300, 200), description=TEXT)]
    figure, alone = draw_points(PHOTO, points), mark_photo(PHOTO, points)
    assert figure.crop(photo_box(figure, BLUE)).tobytes() == alone.tobytes()


def test_the_same_call_gives_the_same_figure_and_leaves_pyplot_alone():
    points = [PhotoPoint(point_px=(10, 10), description=TEXT)]
    assert draw_points(PHOTO, points).tobytes() == draw_points(PHOTO, points).tobytes()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
