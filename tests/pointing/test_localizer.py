"""What is told of a head's answers: of one thing, of several that a text fits, and of none."""

from __future__ import annotations

import math

import pytest
import torch

from talking_points.model.heatmaps import likeliest_points
from talking_points.model.localizer_head import LocatedPoints
from talking_points.pointing.localizer import _answers, _on_photo
from talking_points.samples import FoundPoint, absence

SIDE = 64
SIZE_WH = (200, 200)
"""Of a square photo: its pixels are the square's [0, 1]^2 times 200."""
WHEELS = ((30.0, 60.0), (80.0, 60.0), (120.0, 150.0), (170.0, 150.0))


def found_at(shares: dict[tuple[float, float], float], *, there: float | None = 4.0) -> FoundPoint:
    """The answer to one text whose probability lies in so many cells of a 64 x 64 heatmap.

    Args:
        shares: of the probability, by the pixel of the photo that it lies at; 1 in sum.
        there: the head's logit; None: it has none.
    """
    logits_1hw = torch.full((1, SIDE, SIDE), -torch.inf)
    for (x, y), share in shares.items():
        logits_1hw[0, int(y / SIZE_WH[1] * SIDE), int(x / SIZE_WH[0] * SIDE)] = math.log(share)
    point_12 = likeliest_points(logits_1hw)
    located = LocatedPoints(
        points_P2=point_12,
        regressed_P2=point_12,
        heatmap_logits_Phw=logits_1hw,
        there_P=None if there is None else torch.tensor([there]),
        temperature=torch.ones(()),
    )
    [square] = _answers(located)
    return _on_photo(square, SIZE_WH)


CELL = SIZE_WH[0] / SIDE


def test_one_thing_has_all_the_confidence() -> None:
    found = found_at({WHEELS[0]: 1.0})
    assert found.point_px == pytest.approx(WHEELS[0], abs=CELL)
    assert found.confidence == pytest.approx(1.0) and found.runner_up_px is None


def test_of_four_wheels_the_likeliest_answers_and_the_next_is_named() -> None:
    found = found_at(dict(zip(WHEELS, (0.3, 0.15, 0.35, 0.2), strict=True)))
    assert found.point_px == pytest.approx(WHEELS[2], abs=CELL)
    assert found.runner_up_px == pytest.approx(WHEELS[0], abs=CELL)
    # Its own share alone: the others' are as likely what is meant.
    assert found.confidence == pytest.approx(0.35)


def test_four_wheels_alike_share_the_confidence() -> None:
    found = found_at(dict.fromkeys(WHEELS, 0.25))
    assert found.confidence == pytest.approx(0.25)
    places = [found.point_px, found.runner_up_px]
    assert places[0] != places[1]
    assert all(any(place == pytest.approx(wheel, abs=CELL) for wheel in WHEELS) for place in places)


@pytest.mark.parametrize(("second", "is_named"), [(0.32, False), (0.35, True)])
def test_a_second_place_is_named_from_half_as_likely_on(second: float, is_named: bool) -> None:
    found = found_at({WHEELS[0]: 1 - second, WHEELS[3]: second})
    assert found.confidence == pytest.approx(1 - second)
    assert (found.runner_up_px is not None) is is_named


def test_places_that_one_point_is_right_of_are_one() -> None:
    """Ten pixels of 200 are 0.05 of the square: one answer is right of both."""
    found = found_at({(100.0, 100.0): 0.5, (110.0, 100.0): 0.5})
    assert found.point_px == pytest.approx((105.0, 101.0), abs=CELL)
    assert found.confidence == pytest.approx(1.0) and found.runner_up_px is None


def test_a_thing_that_is_not_in_the_photo_has_its_likeliest_place_and_is_said_to_be_absent() -> None:
    found = found_at({WHEELS[0]: 0.7, WHEELS[1]: 0.3}, there=-2.0)
    assert found.there == pytest.approx(1 / (1 + math.exp(2))) and absence(found.there) == "not in the photo"
    assert found.point_px == pytest.approx(WHEELS[0], abs=CELL)
    # Given that it is there after all.
    assert found.confidence == pytest.approx(0.7)
    assert absence(found_at({WHEELS[0]: 1.0}).there) == ""
    assert found_at({WHEELS[0]: 1.0}, there=None).there is None


def test_a_head_without_a_heatmap_may_know_that_a_thing_is_absent() -> None:
    points_P2 = torch.tensor([[0.5, 0.5]])
    for there_P, expected in ((None, None), (torch.tensor([0.0]), 0.5)):
        [square] = _answers(LocatedPoints(points_P2=points_P2, regressed_P2=points_P2, there_P=there_P))
        found = _on_photo(square, SIZE_WH)
        assert found == FoundPoint(point_px=(100.0, 100.0), confidence=None, runner_up_px=None, there=expected)
