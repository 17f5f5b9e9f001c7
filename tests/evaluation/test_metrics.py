from __future__ import annotations

import math

import numpy as np
import pytest

from talking_points.evaluation.metrics import (
    box_errors,
    error_quantiles,
    grouped_mean,
    mean_interval,
    mpck,
    mpck_difference,
    mpck_interval,
    normalised_errors,
    pck,
    pck_area,
    pixel_errors,
)


def test_errors_by_hand() -> None:
    # a 200x100 photo: 20 px to the right is 0.1, 10 px down is 0.1
    errors = normalised_errors([(120, 50), (100, 60), (130, 90)], [(100, 50)] * 3, [(200, 100)] * 3)
    assert errors == pytest.approx([0.1, 0.1, np.hypot(0.15, 0.4)])


def test_no_answer_is_infinitely_far() -> None:
    assert normalised_errors([(np.nan, np.nan)], [(1, 1)], [(10, 10)])[0] == np.inf


def test_a_tie_at_the_threshold_is_a_miss() -> None:
    assert pck([0.1], 0.1) == 0.0
    assert pck([np.nextafter(0.1, 0)], 0.1) == 100.0


def test_mpck_of_three_points() -> None:
    # 0.05 is within both, 0.15 within the second, 0.3 within none: PCK 33.3 and 66.7
    assert mpck([0.05, 0.15, 0.3]) == pytest.approx(50.0)


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no errors to score"):
        pck([], 0.1)


def test_interval_counts_photos_not_points() -> None:
    """A hundred copies of each photo's point add nothing to what is known."""
    errors = np.array([0.05, 0.3] * 10)
    photos = [str(i) for i in range(20)]
    low, high = mpck_interval(errors, photos)
    assert low < mpck(errors) < high
    many = mpck_interval(np.repeat(errors, 100), list(np.repeat(photos, 100)))
    assert many == pytest.approx((low, high), abs=1.0)
    assert mpck_interval([0.01] * 5, list("abcde")) == (100.0, 100.0)


def test_errors_in_pixels_and_by_the_box() -> None:
    found, true = [(3, 4), (math.nan, 1), (10, 10)], [(0, 0), (1, 1), (10, 10)]
    assert pixel_errors(found, true).tolist() == [5.0, math.inf, 0.0]
    assert box_errors(found, true, [(0, 0, 10, 50), (0, 0, 4, 4), (0, 0, 1, 1)]).tolist() == [0.1, math.inf, 0.0]


def test_quantiles_are_errors_that_occurred() -> None:
    assert error_quantiles([0.4, 0.1, 0.3, 0.2]) == {0.25: 0.1, 0.5: 0.2, 0.75: 0.3, 0.9: 0.4}
    assert error_quantiles([0.1, math.inf]) == {0.25: 0.1, 0.5: 0.1, 0.75: math.inf, 0.9: math.inf}


def test_area_is_the_mean_of_the_curve() -> None:
    errors = np.random.default_rng(0).uniform(0, 0.4, 500)
    curve = [pck(errors, threshold) for threshold in np.linspace(0, 0.2, 2001)[1:]]
    assert pck_area(errors, 0.2) == pytest.approx(np.mean(curve), abs=0.1)
    assert pck_area([0.0, math.inf]) == 50.0
    with pytest.raises(ValueError, match="no errors"):
        pck_area([])


def test_paired_difference() -> None:
    photos = [f"{n // 4}" for n in range(400)]
    one = np.random.default_rng(1).uniform(0, 0.4, 400)
    assert mpck_difference(one, one, photos) == (0.0, 0.0, 0.0)
    worse = one + 0.05
    difference, low, high = mpck_difference(one, worse, photos)
    assert difference == pytest.approx(mpck(one) - mpck(worse))
    assert 0 < low < difference < high
    # Paired: far narrower than the rows' own intervals.
    own_low, own_high = mpck_interval(one, photos)
    assert high - low < 0.75 * (own_high - own_low)
    with pytest.raises(ValueError, match="same samples"):
        mpck_difference(one, one[:-1], photos)


def test_groups_count_the_same_and_one_group_is_none() -> None:
    # Eyes: two of three right; paws: none of one.
    scores, names = [100.0, 100.0, 0.0, 0.0], ["eye", "eye", "eye", "paw"]
    assert grouped_mean(scores) == 50.0
    assert grouped_mean(scores, names) == pytest.approx((200 / 3 + 0) / 2)
    photos = ["a", "b", "a", "b"]
    assert mean_interval(scores, photos, ["one"] * 4) == mean_interval(scores, photos)
    # Two photos, each drawn 0, 1 or 2 times: aa is eyes 50 alone; ab as above; bb is eyes 100 and paws 0.
    assert mean_interval(scores, photos, names) == (pytest.approx(100 / 3), 50.0)
    assert mean_interval([100.0] * 4, photos, names) == (100.0, 100.0)
