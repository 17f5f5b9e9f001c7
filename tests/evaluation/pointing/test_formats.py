from __future__ import annotations

import pytest

from talking_points.evaluation.pointing.formats import FORMATS, format_of_model, point_of_answer, prompt

SHOWN = (400, 200)


@pytest.mark.parametrize(
    ("name", "answer", "point"),
    [
        ("molmo", '<point x="50.0" y="25" alt="sleeve">sleeve</point>', (200.0, 50.0)),
        ("molmo", ' Here: <points x1="10" y1="10" x2="90" y2="90" alt="a">a</points>', (40.0, 20.0)),
        ("molmo", "<point alt='x' x='0' y='100'>", (0.0, 200.0)),
        ("qwen", '```json\n[{"point_2d": [500, 250], "label": "sleeve"}]\n```', (200.0, 50.0)),
        ("qwen", "The point is [500, 250].", (200.0, 50.0)),
        ("qwen", '{"bbox_2d": [400, 200, 600, 300]}', (200.0, 50.0)),
        ("moondream", '{"points": [{"x": 0.5, "y": 0.25}, {"x": 0.9, "y": 0.9}]}', (200.0, 50.0)),
        ("moondream", '{"x": 1, "y": 0}', (400.0, 0.0)),
        ("pixels", 'Sure {not json} {"x": 200, "y": "50"}', (200.0, 50.0)),
        ("pixels", "[200, 50.0]", (200.0, 50.0)),
        ("pixels", "[[200, 50], [1, 1]]", (200.0, 50.0)),
    ],
)
def test_points_of_answers(name: str, answer: str, point: tuple[float, float]) -> None:
    assert point_of_answer(name, answer, SHOWN) == pytest.approx(point)


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot see it.",
        "[]",
        "{}",
        "[null, 3]",
        '{"x": true, "y": 1, "point_2d": [true, 1]}',
        '{"x": NaN, "y": 1, "point_2d": [NaN, 1], "points": [{"x": NaN, "y": 1}]}',
        '{"x": -1, "y": 1, "point_2d": [-1, 1], "points": [{"x": -1, "y": 1}]} <point x="-1" y="1">',
        '{"x": 9999, "y": 1, "point_2d": [9999, 1]} <point x="101" y="1">',
        "[" * 5000,
        '<point x="1.2.3" y="1">',
    ],
)
def test_no_point_is_told_not_guessed(name: str, answer: str) -> None:
    with pytest.raises(ValueError, match="answer"):
        point_of_answer(name, answer, SHOWN)


def test_formats_of_models() -> None:
    assert format_of_model("allenai/Molmo-7B-D") == "molmo"
    assert format_of_model("Qwen/Qwen3-VL-8B-Instruct") == "qwen"
    assert format_of_model("gpt-5") == "pixels"


@pytest.mark.parametrize("name", list(FORMATS))
def test_prompts_hold_the_text(name: str) -> None:
    asked = prompt(name, width=640, height=480, text="the left shoe, $5")
    assert "the left shoe, $5" in asked and "$width" not in asked
