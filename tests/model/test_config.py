from __future__ import annotations

from typing import Any

import pytest

from talking_points.model.config import FORMAT_VERSION, ModelConfig, VisionConfig
from tests.tiny import tiny_vision


def test_round_trip() -> None:
    config = ModelConfig(
        name="x", vision=tiny_vision(), class_names=("a", "b", "c"), coordinate_head="pointer", blind=True
    )
    assert ModelConfig.from_dict(config.to_dict(), source="config.json") == config


def test_defaults_are_the_7bs() -> None:
    config = VisionConfig()
    assert config.cells_per_side**2 == 256
    assert config.token_channels == 4 * 1536 + 512
    assert (config.trunk, config.region_cells) == ("convnext", "centre")
    assert (ModelConfig().coordinate_head, ModelConfig().blind) == ("regression", False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blind": 1}, "blind is 1; allowed: true or false"),
        (
            {"coordinate_head": "votes"},
            "coordinate_head is 'votes'; allowed: 'regression' or 'mixture' or 'heatmap' or",
        ),
    ],
)
def test_a_bad_value_of_the_whole_network(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(vision=tiny_vision(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 65}, r"image_size is 65; allowed: a multiple of 32"),
        ({"num_queries": 0}, r"num_queries is 0; allowed: a whole number of 1 to"),
        ({"num_queries": True}, r"num_queries is True; allowed: a whole number"),
        ({"width": 30}, r"width is 30; allowed: a multiple"),
        ({"group_norm_groups": 5}, r"group_norm_groups is 5; allowed: a divisor of width \(32\)"),
        ({"trunk_dims": (8, 8)}, r"trunk_dims is \(8, 8\); allowed: four whole numbers"),
        ({"gaussian_threshold": 1.0}, r"gaussian_threshold is 1.0; allowed: a number between 0 and 1"),
        ({"gaussian_sigma_px": float("nan")}, r"gaussian_sigma_px is nan; allowed: a finite number"),
        ({"gaussian_sigma_px": -1}, r"gaussian_sigma_px is -1; allowed: a positive number"),
        ({"gaussian_sigma_px": "big"}, r"gaussian_sigma_px is 'big'; allowed: a finite number"),
        ({"trunk_depths": 3}, r"trunk_depths is 3; allowed: four whole numbers"),
        ({"trunk_depths": (True, 1, 1, 1)}, r"trunk_depths is \(True, 1, 1, 1\); allowed: four whole numbers"),
        ({"width": 2**40}, r"width is 1099511627776; allowed: a whole number of 1 to 131072"),
        (
            {"region": "circle"},
            r"region is 'circle'; allowed: 'gaussian' or 'anisotropic' or 'content' or 'predicted-mask'",
        ),
        ({"region_cells": "all"}, r"region_cells is 'all'; allowed: 'centre' or 'nearest'"),
        ({"trunk": "resnet"}, r"trunk is 'resnet'; allowed: 'convnext' or 'efficientnet-lite0' or"),
        ({"trunk": "efficientnet-lite0"}, r"trunk_dims is \(8, 8, 16, 16\); allowed: \(24, 40, 112, 320\), which effi"),
    ],
)
def test_a_bad_value_names_field_value_and_what_is_allowed(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_vision(**changes)


def test_class_names_must_fit() -> None:
    with pytest.raises(ValueError, match=r"class_names is '2 names'; allowed: none or num_classes \(3\)"):
        ModelConfig(vision=tiny_vision(), class_names=("a", "b"))


def test_unknown_key_lists_the_known_ones() -> None:
    data = ModelConfig(vision=tiny_vision()).to_dict()
    data["vision"]["depht"] = 3
    with pytest.raises(ValueError, match=r"config\.json: unknown key 'depht'; known: .*trunk_depths"):
        ModelConfig.from_dict(data, source="config.json")


def test_the_format_before_this_one_is_refused_in_one_sentence() -> None:
    data = ModelConfig(vision=tiny_vision()).to_dict() | {"format_version": 1}
    with pytest.raises(ValueError) as caught:
        ModelConfig.from_dict(data, source="config.json")
    assert str(caught.value) == (
        "config.json: checkpoint format 1, this version reads 2; "
        "use the talking-points that wrote it, or train or import it anew"
    )


def test_another_version_is_refused() -> None:
    data = ModelConfig(vision=tiny_vision()).to_dict() | {"format_version": FORMAT_VERSION + 1}
    with pytest.raises(ValueError, match=rf"checkpoint format {FORMAT_VERSION + 1}, this version reads"):
        ModelConfig.from_dict(data, source="config.json")
