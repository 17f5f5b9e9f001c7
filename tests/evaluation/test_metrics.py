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
    told_interval,
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


def test_a_single_photo_has_no_interval() -> None:
    """Every draw is that photo, which would make anything look certain."""
    errors, photos = [0.05, 0.15, 0.3], ["a"] * 3
    assert np.isnan(mpck_interval(errors, photos)).all()
    difference, *interval = mpck_difference(errors, [0.3] * 3, photos)
    assert difference == pytest.approx(50.0) and np.isnan(interval).all()
    assert told_interval(*interval) is None
    assert told_interval(*mpck_interval(errors, ["a", "a", "b"])) == [0.0, 75.0]


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


def test_ties_are_misses_in_intervals_too() -> None:
    # 0.1 is a miss at 0.1 and found at 0.2: 50. 0.2 is a miss at both.
    photos = ["a", "b"]
    assert mpck_interval([0.1, 0.1], photos) == (50.0, 50.0)
    assert mpck_interval([0.2, 0.2], photos) == (0.0, 0.0)
    assert mpck_difference([0.1, 0.1], [0.2, 0.2], photos) == (50.0, 50.0, 50.0)
    assert mpck([0.1, 0.1]) == 50.0


def test_the_longer_side_of_a_box_counts_wherever_it_stands() -> None:
    # 5 px off, in boxes of 30x10, 10x30 and 20x20.
    boxes = [(10, 20, 40, 30), (20, 10, 30, 40), (5, 5, 25, 25)]
    assert box_errors([(3, 4)] * 3, [(0, 0)] * 3, boxes).tolist() == pytest.approx([5 / 30, 5 / 30, 5 / 20])


def test_an_interval_is_from_the_2_5th_to_the_97_5th_percentile() -> None:
    # 22 photos, 11 of which score 100: a draw's number of hits is binomial (22, 1/2). At most 6 come with probability
    # 0.0262 and at most 5 with 0.0085, so the 2.5th percentile is 6 of 22, the 97.5th 16 of 22.
    photos = [f"{n}" for n in range(22)]
    assert mean_interval([100.0, 0.0] * 11, photos, draws=40_000) == pytest.approx((600 / 22, 1600 / 22))


def test_an_interval_weighs_photos_by_their_points() -> None:
    # Photo a has three points of 100, b one of 0. Draws aa, ab or ba, bb: 100, 75, 0.
    assert mean_interval([100.0, 100.0, 100.0, 0.0], ["a", "a", "a", "b"]) == (0.0, 100.0)
    # Half of the draws are ab, so the middle of many draws is 75.
    lows = {mean_interval([100.0, 100.0, 100.0, 0.0], ["a", "a", "a", "b"], draws=1, seed=seed) for seed in range(20)}
    assert lows == {(0.0, 0.0), (75.0, 75.0), (100.0, 100.0)}


def test_intervals_are_those_of_2000_draws_and_seed_0() -> None:
    # Photos of 1, 3, 5, ... points, so that no two draws have the same mean.
    errors, photos = np.random.default_rng(3).uniform(0, 0.4, 64), [f"{math.isqrt(n)}" for n in range(64)]
    same = {"seed": 0, "draws": 2000}
    scores = np.mean([errors < 0.1, errors < 0.2], axis=0) * 100
    assert mean_interval(scores, photos) == mean_interval(scores, photos, **same)
    assert mean_interval(scores, photos) != mean_interval(scores, photos, seed=1)
    assert mpck_interval(errors, photos) == mean_interval(scores, photos, **same)
    apart = scores - scores[::-1]
    assert mpck_difference(errors, errors[::-1], photos) == (apart.mean(), *mean_interval(apart, photos, **same))


def test_a_share_that_is_reached_exactly_is_enough() -> None:
    # Of four errors a half are at or below the second; of five, more than two are needed.
    assert error_quantiles([4.0, 2.0, 1.0, 3.0], [0.0, 0.5, 1.0]) == {0.0: 1.0, 0.5: 2.0, 1.0: 4.0}
    assert error_quantiles([5.0, 4.0, 3.0, 2.0, 1.0], [0.5]) == {0.5: 3.0}


def test_area_by_hand() -> None:
    # Up to 0.4: errors of 0, 0.1, 0.3 and 0.5 are below 1, 3/4, 1/4 and none of the thresholds.
    assert pck_area([0.0, 0.1, 0.3, 0.5], 0.4) == pytest.approx(50.0)
    assert pck_area([0.1]) == pytest.approx(50.0)
