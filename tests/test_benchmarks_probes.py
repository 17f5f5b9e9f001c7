"""Probes of a frozen encoder: what lies at a point, and that a probe learns what can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from talking_points.model.segmenter import Segmenter
from talking_points.photos import letterbox
from tests.benchmark_modules import load_benchmark, needs_benchmarks
from tests.tiny import tiny_naming_network, tiny_network

pytestmark = needs_benchmarks


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "probes")


def test_what_is_read_lies_at_the_point(probes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = tiny_network(roles=()).eval().segmenter
    side = segmenter.config.image_size
    columns = torch.arange(side, dtype=torch.float32).expand(1, 1, side, side)
    monkeypatch.setattr(segmenter.pixel_decoder, "forward", forward_of(segmenter))
    trunk = segmenter.trunk.forward

    def with_columns(pixels: torch.Tensor) -> list[torch.Tensor]:
        return [columns, *trunk(pixels)[1:]]

    monkeypatch.setattr(segmenter.trunk, "forward", with_columns)
    photo = Image.fromarray(np.zeros((side // 2, side, 3), np.uint8))
    seen = probes.seen_at(segmenter, photo, [(0.5, 3.5), (7.5, 3.5)])
    assert seen["trunk"][:, 0].tolist() == pytest.approx([0, 7], abs=1e-4)
    assert {len(one) for one in seen.values()} == {2}
    assert seen["keypoint"].shape[1] == 2 * segmenter.config.width
    assert seen["masks"].shape[1] == segmenter.config.num_queries


def test_the_chances_of_names_are_the_networks_own(probes: ModuleType) -> None:
    network = tiny_naming_network()
    side = network.side
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8))
    told = probes.seen_at(network.segmenter, photo, [(20.5, 30.5)])["names"]
    features = network.encode_photos(torch.from_numpy(letterbox(photo, side))[None])
    numbers = network.segmenter.encode_points(features, torch.tensor([[[20.5 / side, 30.5 / side]]]))
    torch.testing.assert_close(told, numbers[0, :, 64 : 64 + len(network.config.point_names)])


def forward_of(segmenter: Segmenter) -> Callable[[Any], tuple[torch.Tensor, list[torch.Tensor]]]:
    """The pixel decoder on the trunk's own stages, whatever stands in for the first."""
    given, own = segmenter.pixel_decoder.forward, segmenter.trunk.forward
    pixels = torch.zeros(1, 3, segmenter.config.image_size, segmenter.config.image_size)
    return lambda _stages: given(own(pixels))


def test_a_probe_names_what_can_be_told_apart(probes: ModuleType) -> None:
    random = torch.Generator().manual_seed(0)
    classes = torch.arange(6000) % 3
    features = torch.randn(6000, 8, generator=random)
    features[torch.arange(6000), classes] += 4
    said = probes.probed(features[:4500], classes[:4500], features[4500:], 3)
    assert (said == classes[4500:]).float().mean() > 0.9
    blind = probes.probed(torch.zeros(4500, 8), classes[:4500], torch.zeros(150, 8), 3)
    assert len(blind.unique()) == 1
