"""One table, read in both directions."""

import pytest
import torch

from talking_points.omg_llava.names import DROPPED, OPEN_CLIP, SEGMENTER, published_name, rename
from tests.omg_llava.small_parity import draw_weights

PAIRS = (  # published, ours; worked by hand
    ("backbone.stem.1.bias", "trunk.stem.1.bias"),
    ("backbone.layer1.blocks.2.mlp.fc1.weight", "trunk.stages.0.blocks.2.fc1.weight"),
    ("backbone.layer4.downsample.0.bias", "trunk.stages.3.downsample.0.bias"),
    ("backbone.layer3.blocks.26.gamma", "trunk.stages.2.blocks.26.gamma"),
    (
        "panoptic_head.pixel_decoder.encoder.layers.5.self_attn.value_proj.bias",
        "pixel_decoder.layers.5.attention.value_proj.bias",
    ),
    ("panoptic_head.pixel_decoder.encoder.layers.0.norms.1.weight", "pixel_decoder.layers.0.norm2.weight"),
    (
        "panoptic_head.transformer_decoder.layers.8.cross_attn.attn.in_proj_bias",
        "mask_decoder.layers.8.cross_attn.in_proj_bias",
    ),
    ("panoptic_head.transformer_decoder.layers.8.norms.2.bias", "mask_decoder.layers.8.norm3.bias"),
)


@pytest.mark.parametrize(("published", "ours"), PAIRS)
def test_a_name_goes_and_comes_back(published: str, ours: str) -> None:
    assert list(rename({published: torch.zeros(1)}, SEGMENTER, source="file")) == [ours]
    assert published_name(ours, SEGMENTER) == published


def test_every_name_of_upstreams_set_comes_back() -> None:
    for name, tensor in draw_weights()["omg_seg"].items():
        [ours] = rename({name: tensor}, SEGMENTER, source="omg_seg")
        assert published_name(ours, SEGMENTER) == name


def test_a_name_of_no_row_is_an_error_unless_it_is_dropped() -> None:
    zero = torch.zeros(1)
    dropped = {"data_preprocessor.mean": zero, "panoptic_head.logit_scale": zero}
    assert rename(dropped, SEGMENTER, DROPPED["segmenter"], source="file") == {}
    with pytest.raises(ValueError, match=r"^file: unknown tensor 'backbone\.layer1\.other' and 1 more$"):
        rename({"backbone.layer1.other": zero, "neck": zero}, SEGMENTER, DROPPED["segmenter"], source="file")
    for near in ("backbone.layer1.blocks.0.gammas", "xbackbone.stem.0.weight", "backbone.stem.a.weight"):
        with pytest.raises(ValueError, match=f"unknown tensor '{near}'"):
            rename({near: zero}, SEGMENTER, DROPPED["segmenter"], source="file")
    assert published_name("no.such.name", SEGMENTER) == "no.such.name"


def test_two_names_that_become_one_are_an_error() -> None:
    table = {"a": "b", "c": "b"}
    with pytest.raises(ValueError, match="two tensors become 'b', the second is 'c'"):
        rename({"a": torch.zeros(1), "c": torch.zeros(1)}, table, source="file")


def test_open_clips_stages_are_omg_segs_layers() -> None:
    weights = {"visual.trunk.stages.0.blocks.1.mlp.fc1.bias": torch.zeros(1)}
    assert list(rename(weights, OPEN_CLIP, source="file")) == ["backbone.layer1.blocks.1.mlp.fc1.bias"]
