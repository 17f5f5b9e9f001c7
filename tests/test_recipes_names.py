from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from recipes.mini.names import PARTS, learn, objects_of, wider_of, with_names
from talking_points.dataset.scene import Scene
from talking_points.model.checkpoint import load_checkpoint, load_joined, save_checkpoint
from talking_points.model.hugging_face import attach_role, lora_config
from talking_points.model.point_names import PointNames
from tests.tiny import tiny_network, tiny_vision


def test_names_are_learned_of_numbers_as_they_are() -> None:
    """They are standardised while they are learned; what comes of it reads them unstandardised."""
    torch.manual_seed(0)
    parts = PointNames(tiny_vision(num_point_names=2)).parts
    names_N = torch.arange(2000) % 2
    read_NS = torch.randn(2000, parts[0].in_features)
    read_NS[:, :20] = 500 + 10 * names_N[:, None]
    learn(parts, read_NS, names_N, ["cars"] * 2000, **PARTS)
    with torch.no_grad():
        assert (parts(read_NS).argmax(-1) == names_N).float().mean() > 0.98


def test_a_name_is_of_what_it_is_a_part_of_in_the_scenes(person: Scene) -> None:
    """Where that has no name, or it is no part of anything, of itself."""
    cow = replace(person, objects=[replace(one, name="cow") for one in person.objects])
    part = next(part.name for part in person.parts if part.name != "person")
    names = [part, "person", "cow", "kite"]
    assert objects_of([person, cow], names) == (("cow", "person"), ("person",), ("cow",), ("kite",))
    assert objects_of([person, cow], [part, "cow"]) == (("cow",), ("cow",))
    assert objects_of([person], [part, "cow"]) == ((part,), ("cow",))


def test_a_name_is_of_wider_parts_that_are_names() -> None:
    names = ["tip of the left thumb", "hand", "right hand", "person", "corner of the mouth"]
    assert wider_of(names) == (("hand",), (), (), (), ())
    assert wider_of([*names, "left arm", "face"]) == (("hand", "arm"), ("arm",), ("arm",), (), ("face",), (), ())
    # People's elbows have sides, and those without are farm animals'.
    assert wider_of(["left elbow", "elbow", "right arm", "leg"]) == (("arm",), ("leg",), (), ())


def test_a_network_that_is_to_know_names_is_otherwise_as_it_was() -> None:
    network = tiny_network(roles=("localizer",))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with_names(network, ["left wrist", "right arm"], [("left wrist",), ("right arm",)], ["red"])
    after = network.state_dict()
    config = network.config
    assert (config.point_names, config.point_wider) == (("left wrist", "right arm"), (("arm",), ()))
    assert config.point_objects == (("left wrist",), ("right arm",))
    assert config.point_colours == ("red",)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {name.split(".")[1] for name in after.keys() - before.keys()} == {"point_names"}


def test_a_localizer_joins_whether_or_not_its_base_knew_names(tmp_path: Path) -> None:
    """What names are read of stays as it is, and no localizer reads names."""
    save_checkpoint(tiny_network(roles=("localizer",)), tmp_path / "localizer")
    network = load_checkpoint(tmp_path / "localizer", roles=())
    with_names(network, ["hood"], [("hood",)], ["red"])
    attach_role(network, "descriptor", lora_config("descriptor", rank=4, alpha=8, dropout=0.0), projector=True)
    save_checkpoint(network, tmp_path / "descriptor")
    joined = load_joined(tmp_path / "descriptor", tmp_path / "localizer")
    assert joined.roles == ("descriptor", "localizer") and joined.config.point_names == ("hood",)
