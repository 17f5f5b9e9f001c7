"""What is a point, what is none, and what looks like one: the last is refused, never taken for words."""

from __future__ import annotations

import json
import time

import pytest

from talking_points.serving.asked_points import asked_point
from tests.shared import SHARED

WIDTH, HEIGHT = 512, 400
TEXTS = SHARED / "data" / "texts"


@pytest.mark.parametrize(
    "words",
    [
        # Shares and pixels in words.
        "at 62 percent from the left and 41 percent from the top",
        "at 62% from the left, 41% from the top",
        "half way down at 50% from the left",
        "62.1% from the left edge of the photo",
        "62% across, 41% down",
        "at 41% horizontally and 35% vertically",
        "30% of the width and 40% of the height",
        "left 41%, top 35%",
        "12%/41%",
        "212 px from the left and 140 px from the top",
        "212 from the left and 140 from the top",
        "212 pixels across and 140 down",
        "212 px, 140 px",
        "x=212px, y=140px",
        # Named otherwise.
        "x is 212 and y is 140",
        "x-coordinate 212, y-coordinate 140",
        "y = 140, x = 212",
        "**x:** 210, **y:** 140",
        "column 212, row 140",
        "left: 212, top: 140",
        "coordinates 212 and 140",
        "the position 212 / 140",
        # Joined otherwise.
        "212x140",
        "What is at 212/140?",
        "pixel 212:140",
        "212|140",
        "[212 140]",
        "{212, 140}",
        "<212, 140>",
        "(212., 140.)",
        "(1e2, 140)",
        "(.41, .35)",
        # Boxes, keys and tokens of models.
        "x1=10, y1=20, x2=30, y2=40",
        "xmin=10 ymin=20 xmax=30 ymax=40",
        '{"left": 212, "top": 140}',
        '{"col": 212, "row": 140}',
        '{"cx": 212, "cy": 140}',
        '{"point": {"x": 212, "y": 140}}',
        '[{"x": 212, "y": 140}, {"left": 1}]',
        "{'x': 212, 'y': 140}",
        "<object><patch_index_0044><patch_index_0863></object>",
        "<loc_123><loc_456>",
        "<loc0123><loc0456> eye",
        "<click>212, 140</click>",
        "<point>[410, 350]</point>",
        "<points coords='410,350'>",
        # Pixels, were it not for what is beside them.
        '{"x": 10, "y": 20, "width": 30, "height": 40}',
        '{"x": 10, "y": 20, "x2": 30, "y2": 40}',
        '{"x": 41, "y": 35, "unit": "percent"}',
        '{"x": 21.2, "y": 14.0, "scale": 100}',
        '{"point_2d": [212, 140], "unit": "px"}',
        "<|point_start|>(410,350)<|point_end|>",
        "click(start_box='(410,350)')",
        "[" * 900 + '{"x": 1}' + "]" * 900,
    ],
)
def test_what_looks_like_a_point_is_no_text(words: str) -> None:
    with pytest.raises(ValueError, match="looks like a point and is not understood; write a point as {") as told:
        asked_point(words)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "words",
    [
        "(41, 35) in percent",
        "(410, 350) in thousandths",
        "normalised coordinates (410, 350) out of 1000",
        "x = 410, y = 350, 0-1000",
        "[y, x] = [140, 212]",
        "(y, x) = (140, 212)",
        "(212, 140), from the bottom left",
    ],
)
def test_words_that_say_another_frame_are_heard(words: str) -> None:
    with pytest.raises(ValueError, match="says that the point is not in pixels, x first; write it as {"):
        asked_point(words)


@pytest.mark.parametrize(
    "words", ['{"x": 0.41, "y": 0.35}', "(0.41, 0.35)", "[0, 0.5]", '{"point_2d": [0.41, 0.35]}', "x = 1.0, y = 0.5"]
)
def test_normalised_points_are_refused_and_the_top_left_pixel_is_not(words: str) -> None:
    asked = asked_point(words)
    assert asked is not None
    with pytest.raises(ValueError, match=r"looks normalised; expected pixels of the 512x400 photo \(its top left one"):
        asked.pixels((WIDTH, HEIGHT))
    assert asked.form == "qwen" or asked.pixels((1, 1)) == asked.numbers
    for within in ("[0, 0]", "x = 0, y = 0.0", "x = 0.4, y = 0.3 in pixels", "(0.4, 0.3) pixels from the top left"):
        pixel = asked_point(within)
        assert pixel is not None and max(pixel.pixels((WIDTH, HEIGHT))) < 1


@pytest.mark.parametrize(
    "written", ['{"point_2d": [212, 140]}', '<point x="62.1" y="41">', '<points coords="1 1 621 410">']
)
def test_a_form_that_counts_in_parts_is_not_said_to_be_in_pixels(written: str) -> None:
    assert asked_point(written) is not None
    with pytest.raises(ValueError, match="the words say 'in pixels'"):
        asked_point(f"What is at {written}, in pixels?")


@pytest.mark.parametrize(
    "words",
    [
        "\uff08212\uff0c140\uff09",
        "(\uff12\uff11\uff12, \uff11\uff14\uff10)",
        "click(212, 140)",
        "The photo is 512x400. What is at x: 212, y: 140?",
        "What is at (212, 140) in this 512x400 image?",
        '{"x": 212, "y": 140, "label": "eye", "confidence": 0.4}',
        "[[212, 140]]",
    ],
)
def test_pixels_stay_pixels(words: str) -> None:
    asked = asked_point(words)
    assert asked is not None and asked.pixels((WIDTH, HEIGHT)) == (212, 140)


@pytest.mark.parametrize(
    "words",
    [
        "the 2x4 plank on the left",
        "the number 12 on the shirt",
        "half way up the tower",
        "the clock that shows 10:45",
        "the man with 50/50 on his cap",
        "the 3rd of 4 windows from the left",
        "the cat at 3 o'clock, 2 of 5",
        "20% from the top of the mast",
        "about 30 percent down the trunk, on the bark",
        "row 3, column 2 of the keypad",
        "the window in column 4, row 2",
        "the tile 3 across and 2 down",
        "the house 2 from the left and 3 from the bottom",
        "the 205/55 R16 tyre",
        "the small (4x4) sticker",
        "a score of 3:2 (10:45 on the clock)",
        "the plate B-MW 1234",
        "the middle of the 1920x1080 monitor",
        "the left shoe in this 512x341 photo",
        "the letter x on the box, 3 cm from the left edge",
        "the X is 3 cm wide on the crate",
        "the sign that says 50% off",
        "the man who is 6 ft 2 in tall",
        "jersey 23, 2nd row",
        "the top 3 buttons and bottom 2 hooks",
        "the gap between 20 and 30 on the ruler",
        "gate 12-14",
        "the coordinates written on the map",
        "the box = the brown one",
        'the 5 in "5 pm"',
        "floor 3: 2 balconies",
        "the year 1990. On the right leg of the 4.",
        "[sic] the pixel art figure, at <its> point {left}",
        "1/2 of the pizza",
        "the digit 7 of 07:45",
    ],
)
def test_words_with_numbers_stay_words(words: str) -> None:
    assert asked_point(words) is None


@pytest.mark.skipif(not TEXTS.is_dir(), reason="needs ../shared/data/texts (written by a model)")
def test_texts_that_were_written_of_photos_stay_words() -> None:
    for path in TEXTS.glob("*.jsonl"):
        for one in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            assert asked_point(one["long"]) is None and asked_point(one["short"]) is None


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1 ",
        "1.",
        "x",
        "x ",
        "(",
        "1%",
        "1% from the left ",
        "left 1 ",
        "'a",
        "<a",
        "<",
        "photo of ",
        "a_box",
        "[[1,",
    ]
    + ["100 x ", "what is at ", "_", "-", "1e1", " ", "1 of the way "],
)
def test_no_words_take_long(piece: str) -> None:
    begun = time.process_time()
    try:
        asked_point((piece * 8000)[:7999])
    except ValueError as error:
        assert "\n" not in str(error)
    assert time.process_time() - begun < 2
