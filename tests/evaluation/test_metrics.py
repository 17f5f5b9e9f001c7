from __future__ import annotations

import numpy as np
import pytest

from talking_points.evaluation.metrics import mpck, mpck_interval, normalised_errors, pck


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
