"""What a localizer's answer says of a pixel: by hand-made answers, and by the head's own heatmap."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talking_points import PointLocalizer, TalkingPoints
from talking_points.model.heatmaps import RADII
from talking_points.pointing.verify import NEAR, judge, verify
from talking_points.samples import FoundPoint
from tests.tiny import TEXTS, tiny_network

SIZE_WH = (200, 100)
FOUND = FoundPoint(point_px=(50.0, 50.0), confidence=0.6, runner_up_px=(150.0, 50.0), there=0.9)


@pytest.fixture
def photo() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 255, (40, 70, 3), dtype=np.uint8)
    return Image.fromarray(values)


def answer(sure: float | None, point_px: tuple[float, float] = (50.0, 50.0), **changes: object) -> str | None:
    return judge(point_px, SIZE_WH, replace(FOUND, **changes), sure).answer  # type: ignore[arg-type]


def test_the_same_place_is_what_confidence_speaks_of() -> None:
    assert min(RADII) == NEAR


@pytest.mark.parametrize(
    ("sure", "there", "said"),
    [
        (0.6, 0.9, "yes"),  # 0.54
        (0.6, 0.8, "maybe"),  # 0.48, and no place is likelier
        (0.31, 0.9, "maybe"),  # more than half of 0.6
        (0.29, 0.9, "no"),  # less than half of it
        (0.6, 0.49, "not in the photo"),
        (0.6, None, "yes"),  # a head that does not know whether it is there
    ],
)
def test_a_heatmap_is_judged_by_probability(sure: float, there: float | None, said: str) -> None:
    assert answer(sure, there=there) == said


def test_the_probability_is_of_the_thing_being_there_and_meant_here() -> None:
    assert judge((50, 50), SIZE_WH, FOUND, 0.4).probability == pytest.approx(0.36)


@pytest.mark.parametrize(
    ("point_px", "said"),
    [((69.0, 50.0), "yes"), ((70.0, 50.0), "no"), ((150.0, 60.0), "maybe"), ((100.0, 50.0), "no")],
)
def test_without_a_heatmap_by_distance(point_px: tuple[float, float], said: str) -> None:
    """20 px are a tenth of the longer side."""
    assert answer(None, point_px, confidence=None, there=None) == said
    assert judge(point_px, SIZE_WH, FOUND, None).probability is None


def test_no_answer_is_no_no() -> None:
    nowhere = FoundPoint(point_px=(math.nan, math.nan), confidence=None, runner_up_px=None)
    refused = judge((5, 5), SIZE_WH, replace(nowhere, problem="it was refused"), None)
    assert refused.answer is None and refused.in_words() == "no answer: it was refused"
    absent = judge((5, 5), SIZE_WH, replace(nowhere, there=0.0), None)
    assert absent.answer == absent.in_words() == "not in the photo"


def test_in_words() -> None:
    said = judge((50, 50), SIZE_WH, FOUND, 0.6).in_words()
    assert said == "yes, 54% likely to be what is meant; the words lead to (50.0, 50.0), or else to (150.0, 50.0)"
    for sure in (0.0, 1.46e-05):
        assert "no, less than 1% likely" in judge((5, 5), SIZE_WH, FOUND, sure).in_words()


@pytest.mark.parametrize("head", ["heatmap", "pointer", "mixture"])
def test_at_the_point_found_it_is_the_confidence(head: str, photo: Image.Image) -> None:
    localizer = PointLocalizer(tiny_network(head=head))
    found = localizer.locate(photo, TEXTS)
    # In the order asked, though a batch holds one only; on the padding the point found is moved, and asked elsewhere.
    localizer.memory_bytes = 1
    again = localizer.sure_at(photo, [(one.point_px, text) for one, text in zip(found, TEXTS, strict=True)])
    for one, (same, sure) in zip(found, again, strict=True):
        assert same.point_px == pytest.approx(one.point_px, abs=1e-3)
        if 0.5 < one.point_px[1] < 39.5:
            assert sure == pytest.approx(one.confidence, abs=1e-4)


def test_a_regression_knows_no_probability(photo: Image.Image) -> None:
    tp = TalkingPoints.over(tiny_network(head="regression"))
    [point_px] = tp.localize(photo, TEXTS[:1])
    assert tp.verify(photo, point_px, TEXTS[0]).answer == "yes"
    assert tp.verify(photo, point_px, TEXTS[0]).probability is None


def test_a_localizer_that_only_points() -> None:
    """As stock models and endpoints do: one answer a text, and no probabilities."""
    nowhere = FoundPoint(point_px=(math.nan, math.nan), confidence=None, runner_up_px=None, there=0.0)
    answers = {
        "shoe": FoundPoint(point_px=(50, 50), confidence=None, runner_up_px=(150, 50), there=1.0),
        "dog": nowhere,
    }
    localizer: Any = SimpleNamespace(
        check_text=lambda text: None, locate_many=lambda pairs: [answers[text] for _, text in pairs]
    )
    asked = [((45, 50), "shoe"), ((145, 50), "shoe"), ((100, 50), "shoe"), ((45, 50), "dog")]
    verdicts = verify(localizer, SimpleNamespace(size_wh=SIZE_WH), asked)
    assert [one.answer for one in verdicts] == ["yes", "maybe", "no", "not in the photo"]
    assert verdicts[0].in_words() == "yes; the words lead to (50.0, 50.0), or else to (150.0, 50.0)"
    assert all(one.probability is None for one in verdicts)


def test_what_is_asked_wrongly(photo: Image.Image) -> None:
    tp = TalkingPoints.over(tiny_network())
    with pytest.raises(ValueError, match=r"\[70.5, 3.0\] is outside the 70x40 photo"):
        tp.verify(photo, (70.5, 3), TEXTS[0])
    with pytest.raises(ValueError, match="empty"):
        tp.verify(photo, (7, 3), " ")
