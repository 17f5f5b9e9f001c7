from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from talking_points.dataset.scene import Scene
from talking_points.evaluation.sets import make_set
from talking_points.pointing.localizer import PointLocalizer
from talking_points.training.calibration import calibrate, calibration_error
from tests.tiny import tiny_network


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.15, 0.15])
    right = np.array([True, True, True, False, False, False])
    # A gap of 0.2 for four of them, of 0.15 for two.
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.2 + 2 * 0.15) / 6, abs=1e-6)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0


def test_answers_stay_and_the_temperature_is_kept(scenes: list[Scene]) -> None:
    network = tiny_network()
    localizer = PointLocalizer(network)
    samples = make_set("plain", scenes, points=2, seed=0)
    photo, texts = samples[0].open_photo(), [samples[0].text or "", "the left shoe"]
    before = localizer.localize(photo, texts)
    found = calibrate(localizer, samples)
    assert network.localizer is not None and network.localizer.head.temperature is not None
    assert float(network.localizer.head.temperature) == pytest.approx(found.temperature, abs=1e-4)
    assert found.points == len(samples) and localizer.localize(photo, texts) == before
    # An untrained localizer is hardly ever right, and says so.
    sure = [one.confidence or 0.0 for one in localizer.locate(photo, texts)]
    assert all(0 <= one <= 1 for one in sure)


def test_a_text_that_cannot_be_read_is_named(scenes: list[Scene]) -> None:
    samples = make_set("plain", scenes, points=1, seed=0)
    samples[1] = replace(samples[1], text="left " * 600)
    with pytest.raises(ValueError, match=f"the data, {samples[1].sample_id}: the text has .* tokens, .*; shorten it$"):
        calibrate(PointLocalizer(tiny_network()), samples)


def test_a_regression_does_not_know(scenes: list[Scene]) -> None:
    localizer = PointLocalizer(tiny_network(head="regression"))
    with pytest.raises(ValueError, match="a regression does not say how sure it is"):
        calibrate(localizer, make_set("plain", scenes, points=1, seed=0))
    [found] = localizer.locate(torch.zeros(20, 20, 3, dtype=torch.uint8).numpy(), ["the shoe"])
    assert found.confidence is found.runner_up_px is found.there is None


def test_texts_of_one_photo_are_too_few_and_it_is_said_what_to_do(scenes: list[Scene]) -> None:
    samples = make_set("plain", scenes, points=1, seed=0)[:1]
    with pytest.raises(ValueError, match="of 1 photo; allowed: of 2 photos and more; give another split, or a set or"):
        calibrate(PointLocalizer(tiny_network()), samples)
