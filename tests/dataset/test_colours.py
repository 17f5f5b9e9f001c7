"""The words for colours: by hand, with L, a and b of the sRGB standard's formulas."""

import numpy as np
import pytest

from talking_points.dataset.colours import COLOURS, colour_indices, rgb_to_lab


def colour_name(rgb):
    return COLOURS[colour_indices(np.array([rgb], dtype=np.uint8))[0]]


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


def test_lab_of_known_colours():
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [119, 119, 119]], dtype=np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0]]
    np.testing.assert_allclose(rgb_to_lab(colours), expected, atol=0.2)


@pytest.mark.parametrize(
    ("level", "name"),
    [
        # The grays change at L 17, 36, 58 and 78.
        (38, "black"),  # L 15.2
        (42, "dark gray"),  # 17.1
        (82, "dark gray"),  # 34.9
        (86, "gray"),  # 36.6
        (138, "gray"),  # 57.5
        (142, "light gray"),  # 59.0
        (190, "light gray"),  # 77.0
        (194, "white"),  # 78.4
    ],
)
def test_grays_go_by_lightness(level, name):
    assert colour_name((level, level, level)) == name


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        # A chroma below 7 is a gray by its lightness, whatever example is nearest.
        ((146, 146, 134), "light gray"),  # 6.75
        ((210, 202, 218), "white"),  # toward blue three fifths count: of 8.98 it is 5.39; L 82.4
        ((38, 66, 74), "dark gray"),  # of 11.48 it is 6.89; L 26.2
        ((34, 66, 74), "teal"),  # of 12.53 it is 7.52
        ((166, 146, 150), "gray"),  # 8.16, b 0.6: not toward blue; L 62.4 would be light gray
        # Of the dark it takes more: below L 22, two fifths of what is missing.
        ((34, 10, 6), "black"),  # L 5.2, chroma 11.93; up to 13.74
        ((34, 38, 58), "black"),  # L 15.7, of 14.09 it is 8.46; up to 9.54
        ((34, 38, 62), "dark blue"),  # L 15.9, of 16.85 it is 10.11; up to 9.45
        # L 37.0, chroma 7.14: above 7, as L is above 22; by lightness it would be gray.
        ((78, 90, 82), "dark gray"),
    ],
)
def test_a_little_colour_is_gray(rgb, name):
    assert colour_name(rgb) == name


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        # Distances to the nearest example and to the nearest of another word; a and b count 1.25 times.
        ((170, 78, 58), "dark red"),  # 22.7; 24.1 to red
        ((198, 242, 246), "white"),  # 16.9; 17.4 to light blue
        ((158, 246, 142), "green"),  # 30.5; 31.5 to light green
        ((174, 242, 22), "yellow"),  # 52.7; 53.7 to green
        ((58, 186, 142), "green"),  # 29.9; 30.3 to light green
        ((138, 30, 74), "dark red"),  # 25.8; 26.1 to pink
    ],
)
def test_colours_between_two_words(rgb, name):
    assert colour_name(rgb) == name


def test_four_levels_are_one_colour():
    reds = np.array([[r, 30, 74] for r in range(136, 148)], dtype=np.uint8)
    names = [COLOURS[k] for k in colour_indices(reds)]
    assert names == [colour_name((middle, 30, 74)) for middle in (138, 142, 146) for _ in range(4)]
    assert len(set(names)) == 2
