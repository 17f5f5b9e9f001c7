"""The trunk computes what the published package's code computes; see efficientnet_lite.py."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from talking_points.model.segmenter import Segmenter
from talking_points.model.trunks.efficientnet_lite import EfficientNetLite, SameConv, channels_of
from talking_points.photos import CLIP_MEAN_RGB, CLIP_STD_RGB
from tests.model.efficientnet_lite import FILE, SIZES_HW, VARIANTS, drawn, fill, image
from tests.tiny import tiny_vision


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_features_are_the_published_ones(variant: str) -> None:
    stored, trunk = load_file(FILE), EfficientNetLite(variant)
    message = "this torch draws other numbers from a seed than those of efficientnet_lite.safetensors; make it anew"
    torch.testing.assert_close(drawn(trunk)[-1][1], stored[f"{variant} last"], msg=message)
    fill(trunk)
    mean, std = (torch.tensor(one)[:, None, None] for one in (CLIP_MEAN_RGB, CLIP_STD_RGB))
    for size_hw in SIZES_HW:
        features = trunk((image(size_hw) / 255 - mean) / std)
        for number, feature in enumerate(features):
            theirs = stored[f"{variant} {size_hw[0]}x{size_hw[1]} {number}"]
            torch.testing.assert_close(feature, theirs, rtol=0, atol=1e-4)


def test_channels_and_sizes_are_those_of_the_variant() -> None:
    assert channels_of("efficientnet-lite0") == channels_of("efficientnet-lite1") == (24, 40, 112, 320)
    assert channels_of("efficientnet-lite2") == (24, 48, 120, 352)
    trunk = EfficientNetLite("efficientnet-lite1")
    # Blocks of variant 0 times 1.1, rounded up, but for the first and the last stage.
    assert [len(stage) for stage in trunk.stages] == [1, 3, 3, 4, 4, 5, 1]  # type: ignore[arg-type]
    with torch.no_grad():
        shapes = [tuple(feature.shape[1:]) for feature in trunk(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


def row(kernel: int, stride: int, *cells: int) -> list[float]:
    """Sums that a convolution of ones makes of one row."""
    conv = SameConv(1, 1, kernel, stride)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.get_parameter("bias").zero_()
        return conv(torch.tensor(cells).float()[None, None, None])[0, 0, 0].tolist()  # type: ignore[no-any-return]


def test_same_padding_by_hand() -> None:
    # Of four cells a stride of 2 makes two, which read five: the one cell of padding is behind the last.
    assert row(3, 2, 1, 2, 3, 4) == [1 + 2 + 3, 3 + 4]
    # Of five it makes three, which read seven: one cell on each side.
    assert row(3, 2, 1, 2, 3, 4, 5) == [1 + 2, 2 + 3 + 4, 4 + 5]
    # A kernel of 5 reads seven of four: one cell before, two behind.
    assert row(5, 2, 1, 2, 3, 4) == [1 + 2 + 3 + 4, 2 + 3 + 4]
    assert row(3, 1, 1, 2, 3, 4) == [1 + 2, 1 + 2 + 3, 2 + 3 + 4, 3 + 4]


def test_same_padding_is_of_each_side_alone() -> None:
    conv = SameConv(1, 1, 3, 2)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.get_parameter("bias").zero_()
        sums = conv(torch.ones(1, 1, 4, 5))[0, 0].tolist()
    # Down 3 and 2 cells are read, across 2, 3 and 2.
    assert sums == [[6, 9, 6], [4, 6, 4]]


@torch.no_grad()
def test_a_segmenter_stands_on_it() -> None:
    trunk = "efficientnet-lite0"
    segmenter = Segmenter(tiny_vision(trunk=trunk, trunk_dims=channels_of(trunk))).eval()
    features = segmenter(torch.randn(2, 3, 64, 64))
    assert features.image_tokens_BNC.shape == (2, 4, segmenter.config.token_channels)
    assert not torch.allclose(features.image_tokens_BNC[0], features.image_tokens_BNC[1])
