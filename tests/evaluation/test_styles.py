from __future__ import annotations

import pytest

from talking_points.evaluation.protocol import Row, style_panel, true_points
from talking_points.evaluation.sets import make_set
from talking_points.evaluation.styles import REWORDINGS, REWRITINGS, styled_texts
from tests.evaluation.test_protocol import SCENES


def test_facts_are_written_anew_only_where_the_texts_say_them() -> None:
    samples = make_set("plain", SCENES, points=2, seed=0)
    texts = [sample.text or "" for sample in samples]
    said = styled_texts(samples, texts, written=True, seed=3)
    assert set(said) == {*REWORDINGS, *REWRITINGS}
    assert all(len(some) == len(samples) for some in said.values())
    assert said == styled_texts(samples, texts, written=True, seed=3)
    assert set(styled_texts(samples, texts, written=False, seed=3)) == set(REWORDINGS)
    for short, text in zip(said["short"], texts, strict=True):
        assert len(short.split()) < len(text.split())


@pytest.mark.parametrize("style", REWORDINGS)
@pytest.mark.parametrize("text", ["", " ", "point", "The point is.", "a, , b. . c", "Ω, which 說. \n x"])
def test_any_text_can_be_reworded_and_none_is_lost(style: str, text: str) -> None:
    styled = REWORDINGS[style](text)
    assert bool(styled.strip()) == bool(text.strip())


def test_a_style_keeps_left_and_right_and_numbers_of_words() -> None:
    text = "The point is on the second car from the left, slightly to the right of the center of its own left door."
    for name, reword in REWORDINGS.items():
        words = reword(text).lower().replace(",", "").rstrip(".").split()
        assert words.count("left") == 2 and words.count("right") == 1 and "second" in words, name


def test_panel_by_hand() -> None:
    samples = make_set("plain", SCENES[:1], points=2, seed=0)
    true = true_points(samples)

    def row(judge: str, style: str, found: int) -> Row:
        points = true.copy()
        points[found:] = (1e6, 1e6)
        return Row(
            set_name="s",
            describer="d",
            localizer=judge,
            samples=samples,
            texts=["x"] * 2,
            found_px=points,
            true_px=true,
            style=style,
        )

    rows = [row("a", "", 2), row("a", "short", 1), row("b", "", 1), row("b", "short", 1)]
    panel = style_panel(rows)
    assert panel["matrix"] == {"d": {"as written": {"a": 100.0, "b": 50.0}, "short": {"a": 50.0, "b": 50.0}}}
    assert panel["describers"] == {"d": 75.0} and panel["spread"] == {"a": {"d": 50.0}, "b": {"d": 0.0}}
