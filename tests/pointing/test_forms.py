from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talking_points.pointing.forms import FORMS, check_form, form_of_model, prompt, says_absent, told_there

SHOWN = (400, 200)


@pytest.mark.parametrize(
    ("name", "answer", "units"),
    [
        # Each family's own way of writing (50%, 25%), from its documents or published answers.
        ("qwen", '```json\n[{"point_2d": [500, 250], "label": "sleeve"}]\n```', [(0.5, 0.25)]),
        ("qwen", '{"point_2d": [500, 250], "label": "sleeve"}', [(0.5, 0.25)]),
        ("qwen", '{"bbox_2d": [400, 200, 600, 300]}', [(0.5, 0.25)]),
        ("qwen", "The point is [500, 250].", [(0.5, 0.25)]),
        ("qwen", '[{"point_2d": [500, 250]}, {"point_2d": [0, 1000]}]', [(0.5, 0.25), (0.0, 1.0)]),
        ("qwen", "(500,250)", [(0.5, 0.25)]),
        ("qwen", "<|box_start|>(400,200),(600,300)<|box_end|>", [(0.5, 0.25)]),
        ("qwen", '[{"point_2d": "500,250"}]', [(0.5, 0.25)]),
        ("qwen-pixels", '[{"point_2d": [200, 50], "label": "sleeve"}]', [(0.5, 0.25)]),
        ("molmo", '<point x="50.0" y="25" alt="sleeve">sleeve</point>', [(0.5, 0.25)]),
        ("molmo", ' Here: <points x1="10" y1="10" x2="90" y2="90" alt="a">a</points>', [(0.1, 0.1), (0.9, 0.9)]),
        ("molmo", "<point alt='x' x='0' y='100'>", [(0.0, 1.0)]),
        ("molmo", '<point x="50" y="25" alt="sign x=3 y=4">', [(0.5, 0.25)]),
        ("molmo2", '<points coords="1 1 500 250 2 752 377">curb ramp</points>', [(0.5, 0.25), (0.752, 0.377)]),
        ("molmo2", '<points coords="1 1 005 250">a</points>', [(0.005, 0.25)]),
        ("gemini", '```json\n[{"point": [250, 500], "label": "small banana"}]\n```', [(0.5, 0.25)]),
        ("gemini", '[{"box_2d": [200, 400, 300, 600], "label": "banana"}]', [(0.5, 0.25)]),
        ("internvl", "<ref>sleeve</ref><box>[[400, 200, 600, 300]]</box>", [(0.5, 0.25)]),
        ("internvl", "<ref>the [old] sleeve</ref><box>[[400,200,600,300]]</box>", [(0.5, 0.25)]),
        ("moondream", '{"points": [{"x": 0.5, "y": 0.25}, {"x": 0.9, "y": 0.9}]}', [(0.5, 0.25), (0.9, 0.9)]),
        ("moondream", '{"x": 1, "y": 0}', [(1.0, 0.0)]),
        ("pixels", 'Sure {not json} {"x": 200, "y": "50"}', [(0.5, 0.25)]),
        ("pixels", "[200, 50.0]", [(0.5, 0.25)]),
        ("pixels", "The point is at x = 200, y = 50.0.", [(0.5, 0.25)]),
        ("moondream", "(0.5, 0.25)", [(0.5, 0.25)]),
        # Said twice is said once.
        ("pixels", '{"x": 200, "y": 50}\nSo the answer is {"x": 200, "y": 50}', [(0.5, 0.25)]),
    ],
)
def test_points_of_answers(name: str, answer: str, units: list[tuple[float, float]]) -> None:
    found = FORMS[name].points(answer, SHOWN)
    assert [one for point in found for one in point] == pytest.approx([one for point in units for one in point])


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize(
    "answer",
    [
        "This isn't in the image.",
        "There are none.",
        "none",
        '"not in the picture"',
        "It is not in the photo!",
    ],
)
def test_absent_is_an_answer_in_every_form(name: str, answer: str) -> None:
    assert FORMS[name].points(answer, SHOWN) == []


@pytest.mark.parametrize("answer", ["[]", "```json\n[]\n```", '{"points": []}'])
def test_an_empty_list_has_no_point(answer: str) -> None:
    assert FORMS["qwen"].points(answer, SHOWN) == FORMS["moondream"].points(answer, SHOWN) == []


def test_how_likely_a_thing_is_there() -> None:
    assert told_there('{"x": 3, "y": 4, "there": 0.25}') == 0.25 and told_there('[{"there": 1}]') is None
    for answer in ('{"x": 3, "y": 4}', '{"there": true}', '{"there": 1.5}', '{"there": "no"}', "there is none"):
        assert told_there(answer) is None
    assert FORMS["pixels"].numbers('{"x": null, "y": null, "there": 0.1}') == []
    with pytest.raises(ValueError, match="no number"):
        FORMS["pixels"].numbers('{"x": null, "y": 4}')
    with pytest.raises(ValueError, match="no number"):
        FORMS["pixels"].numbers(f'{{"x": {10**400}, "y": 4}}')


@pytest.mark.parametrize(
    ("name", "answer", "frame"),
    [
        ("pixels", '{"x": 0.41, "y": 0.35}', "pixels"),
        ("qwen-pixels", "(0.41, 0.35)", "pixels"),
        ("qwen", '{"point_2d": [0.41, 0.35]}', "0 to 1000"),
        ("gemini", '[{"point": [0.35, 0.41]}]', "0 to 1000"),
        ("molmo", '<point x="0.41" y="0.35">', "0 to 100"),
        ("pixels", "[1.0, 0.5]", "pixels"),
    ],
)
def test_shares_in_another_frame_are_told(name: str, answer: str, frame: str) -> None:
    with pytest.raises(ValueError, match=f"in shares of the photo and not in {frame}; where all are, --style moondr"):
        FORMS[name].points(answer, SHOWN)
    assert FORMS["moondream"].points('{"x": 0.41235, "y": 0.35}', SHOWN) == [(0.41235, 0.35)]


def test_the_corner_of_a_photo_is_no_share() -> None:
    assert FORMS["molmo"].points('<point x="0.4" y="0.5">', SHOWN) == [(0.004, 0.005)]
    assert FORMS["qwen"].points("[0, 1]", SHOWN) == [(0.0, 0.001)]


@pytest.mark.parametrize("more", ['"width": 20, "height": 20', '"x2": 220, "y2": 150', '"w": 2, "h": 2'])
def test_a_box_by_its_corner_or_centre_is_no_point(more: str) -> None:
    with pytest.raises(ValueError, match="the answer's JSON has .* beside x and y, and no point"):
        FORMS["pixels"].points(f'{{"x": 200, "y": 130, {more}}}', SHOWN)


def test_names_go_before_the_order_of_a_form() -> None:
    with pytest.raises(ValueError, match="the answer names x and y"):
        FORMS["gemini"].points('{"x": 500, "y": 250}', SHOWN)


def test_a_sentence_about_something_else_is_not_absence() -> None:
    assert not says_absent("The hat is not in the image of the mirror but on the shelf at [3, 4].")
    assert not says_absent("")


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot see it.",
        "{}",
        "[null, 3]",
        "[1, 2, 3]",
        '{"x": true, "y": 1, "point_2d": [true, 1]}',
        '{"x": NaN, "y": 1, "point_2d": [NaN, 1], "points": [{"x": NaN, "y": 1}]}',
        '{"x": -1, "y": 1, "point_2d": [-1, 1], "points": [{"x": -1, "y": 1}]} <point x="-1" y="1">',
        '{"x": 9999, "y": 1, "point_2d": [9999, 1]} <point x="101" y="1"> <points coords="1 1 9999 1">',
        '{"x": 0.1, "y": 0.1} or rather {"x": 0.2, "y": 0.1} <point x1="3">',
        "(0.1, 0.2) or (0.3, 0.4)",
        "x = 0.1",
        "x 1" + 20_000 * " ",
        "The point (0.1, 0.2) is not in the image.",
        "x: 0.1, y: 0.1, width: 0.2, height: 0.2",
        "(0.1, 0.2.3)",
        "[" * 5000,
        '{"points": ' * 3000,
        "[" * 900 + "1" + "]" * 900,
        "[[0.1, 0.1], [0.1, 0.1" + "9" * 30000,
        '<point x="1.2.3" y="1">',
        '<points coords="1 308 305">',
        '<points coords="1 1 308 305 2">',
        "<point " + 'x="1" ' * 500,
    ],
)
def test_no_point_is_told_not_guessed(name: str, answer: str) -> None:
    with pytest.raises(ValueError, match="answer") as told:
        FORMS[name].points(answer, SHOWN)
    assert "\n" not in str(told.value) and len(str(told.value)) < 200


@given(
    name=st.sampled_from(sorted(FORMS)),
    answer=st.one_of(
        st.text(max_size=80),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "y", "point"]), inner),
            max_leaves=8,
        ).map(json.dumps),
    ),
)
def test_whatever_is_answered_it_is_points_in_the_photo_or_one_line(name: str, answer: str) -> None:
    try:
        points = FORMS[name].points(answer, SHOWN)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)


@given(
    name=st.sampled_from(sorted(FORMS)),
    unit=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    shown_wh=st.tuples(st.integers(32, 4000), st.integers(32, 4000)),
)
def test_a_point_that_is_said_is_read_back(name: str, unit: tuple[float, float], shown_wh: tuple[int, int]) -> None:
    """For photos of every shape, to within the digits that the form has."""
    form = FORMS[name]
    numbers = [float(one) for one in re.findall(r"\d+(?:\.\d+)?", form.say(unit, shown_wh))[:2]]
    x, y = form.unit((numbers[0], numbers[1]), shown_wh)
    full_w, full_h = (form.full, form.full) if form.full else shown_wh
    step = {1: 0.0005, 100: 0.05}.get(form.full or 0, 0.5)
    assert abs(x - unit[0]) <= step / full_w + 1e-9 and abs(y - unit[1]) <= step / full_h + 1e-9


@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("allenai/Molmo-7B-D", "molmo"),
        ("allenai/Molmo2-8B", "molmo2"),
        ("Qwen/Qwen3-VL-8B-Instruct", "qwen"),
        ("qwen3.5-27b", "qwen"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen-pixels"),
        ("Qwen/Qwen2-VL-7B-Instruct", "qwen"),
        ("qwen/qwen-2.5-vl-7b-instruct", "qwen-pixels"),
        ("qwen2_5_vl", "qwen-pixels"),
        ("qwen-vl-max", "qwen-pixels"),
        ("gemini-3-pro", "gemini"),
        ("google/gemma-4-12b", "gemini"),
        ("google/gemma-3-27b-it", "pixels"),
        ("google/paligemma2-3b", "pixels"),
        ("OpenGVLab/InternVL3_5-8B", "internvl"),
        ("moondream2", "moondream"),
        ("gpt-5", "pixels"),
        ("claude-opus-4-7", "pixels"),
    ],
)
def test_forms_of_models(model: str, form: str) -> None:
    assert form_of_model(model) == form


def test_what_another_sentence_says_takes_no_point_away() -> None:
    answer = "The image has width: 640, height: 480. The point is (212, 140). The other hand is not visible."
    assert FORMS["pixels"].read(answer) == [(212.0, 140.0)]


def test_an_unknown_style_is_told() -> None:
    assert check_form("molmo") == "molmo"
    with pytest.raises(ValueError, match="style is 'yolo'; allowed: qwen, qwen-pixels, molmo"):
        check_form("yolo")


@pytest.mark.parametrize("name", sorted({form.asks for form in FORMS.values()}))
def test_prompts_hold_the_text(name: str) -> None:
    asked = prompt(name, width=640, height=480, text="the left shoe, $5")
    assert "the left shoe, $5" in asked and "$width" not in asked
