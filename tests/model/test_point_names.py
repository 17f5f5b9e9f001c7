from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from talking_points.model import network as network_module
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.config import ModelConfig
from talking_points.model.network import NAME_SCALE
from talking_points.model.point_names import (
    SURE_COLOUR,
    SURE_NAME,
    SURE_SIDE,
    SURE_WIDER,
    at_points,
    decided,
    looks_at_points,
)
from tests.tiny import COLOURS, NAMES, OBJECTS, WIDER, tiny_naming_network, tiny_network, tiny_vision


def test_a_map_at_points_by_hand() -> None:
    values = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.5, 0.25], [0.25, 0.75], [0.0, 0.0]]])
    assert at_points(values, points)[0, :, 0].tolist() == [1.0, 3.0, 2.0, 5.0, 1.0]


@torch.no_grad()
def test_what_names_are_read_of() -> None:
    """The keypoint's numbers, the queries' masks there, and the levels' cells there, in this order."""
    segmenter = tiny_naming_network().segmenter
    features, masks, _ = segmenter.segment(torch.randn(2, 3, 64, 64))
    points = torch.tensor([[[0.2, 0.6], [0.9, 0.1]], [[0.5, 0.5], [0.3, 0.8]]])
    numbers = segmenter.encode_keypoints(features, points)
    seen, _ = segmenter.seen_at(features, numbers, points)
    assert seen.shape == (2, 2, 2 * 32 + 6 + 3 * 32)
    torch.testing.assert_close(seen[..., :64], numbers)
    torch.testing.assert_close(seen[..., 64:70], at_points(masks, points), atol=1e-4, rtol=1e-4)
    # The point is the centre of a cell at stride 32, in the lower left of two by two.
    corner = torch.tensor([[[0.25, 0.75]], [[0.25, 0.75]]])
    there, _ = segmenter.seen_at(features, segmenter.encode_keypoints(features, corner), corner)
    torch.testing.assert_close(there[:, 0, 70:102], features.decoder_inputs.cells[0][:, 2])


def test_a_look_by_hand() -> None:
    """A cell, the mean of nine and of 25 around it, and the spread of the nine. Beyond the edge is nothing."""
    pixels = torch.zeros(1, 3, 5, 5)
    pixels[0, 0, 2, 2], pixels[0, 1] = 9.0, torch.arange(5.0)
    middle, corner = looks_at_points(pixels, torch.tensor([[[0.5, 0.5], [0.1, 0.1]]]))[0]
    spread = (81 / 9 - 1) ** 0.5
    expected = [9.0, 2.0, 0.0, 1.0, 2.0, 0.0, 9 / 25, 2.0, 0.0, spread, (2 / 3) ** 0.5, 0.0]
    torch.testing.assert_close(middle, torch.tensor(expected))
    torch.testing.assert_close(corner, torch.tensor([0.0, 0, 0, 0, 0.5, 0, 1, 1, 0, 0, 0.5, 0]))


@torch.no_grad()
def test_chances_of_parts_and_of_colours_follow_the_keypoints_numbers() -> None:
    segmenter = tiny_naming_network().segmenter
    pixels, points = torch.randn(1, 3, 64, 64), torch.rand(1, 4, 2)
    features = segmenter(pixels)
    told, numbers = segmenter.encode_points(features, points), segmenter.encode_keypoints(features, points)
    assert told.shape == (1, 4, 64 + 3 + 2 + 1)
    torch.testing.assert_close(told[..., :64], numbers)
    torch.testing.assert_close(told[..., 64:67].sum(-1), torch.ones(1, 4))
    torch.testing.assert_close(told[..., 67:].sum(-1), torch.ones(1, 4))
    seen, looks = segmenter.seen_at(features, numbers, points)
    torch.testing.assert_close(looks, looks_at_points(F.avg_pool2d(pixels, 4), points))
    assert segmenter.point_names is not None
    torch.testing.assert_close(told[..., 64:67], segmenter.point_names.parts(seen).softmax(-1))
    torch.testing.assert_close(told[..., 67:], segmenter.point_names.colours(looks).softmax(-1))


SHOES = ("left shoe", "hood", "right shoe", "shoe", "right hood of a car")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        # The likeliest by itself is the hood, but a shoe of either side is likelier; which side is not sure.
        ([0.25, 0.4, 0.2, 0.15, 0.0], [1 / 3, 0, 1 / 3, 1 / 3, 0]),
        ([0.5, 0.3, 0.1, 0.1, 0.0], [1, 0, 0, 0, 0]),
        ([0.1, 0.3, 0.1, 0.5, 0.0], [0, 0, 0, 1, 0]),
        ([0.2, 0.6, 0.1, 0.1, 0.0], [0, 1, 0, 0, 0]),
        # It has a side, and no other is known.
        ([0.1, 0.1, 0.1, 0.1, 0.6], [0, 0, 0, 0, 1]),
    ],
)
def test_one_name_is_told_or_all_its_sides(parts: list[float], told: list[float]) -> None:
    found = decided(torch.tensor([[[*parts, 0.0, 1.0]]]), SHOES, [()] * 5, [[name] for name in SHOES])
    torch.testing.assert_close(found[0, 0], torch.tensor([*told, 0.0, 1.0]))


ANIMALS = {
    "ear": ("cow", "sheep"),
    "left hoof": ("cow", "sheep"),
    "nose": ("person",),
    "cow": ("cow",),
    "kite": ("kite",),
    "person": ("person",),
    "sheep": ("sheep",),
}


@pytest.mark.parametrize(
    ("chances", "told"),
    [
        # A nose is likeliest, but not sure, and a person is less likely than a cow.
        ({"nose": SURE_NAME - 0.01, "cow": 0.35, "ear": 0.15, "kite": 0.11}, {"cow": 1.0}),
        ({"nose": 0.25, "person": 0.25, "cow": 0.3, "kite": 0.2}, {"person": 1.0}),
        # Parts do not tell which animal, and what the animals have of their own is about the same.
        ({"ear": 0.35, "left hoof": 0.3, "cow": 0.05, "kite": 0.3}, {"cow": 0.5, "sheep": 0.5}),
        ({"ear": 0.3, "left hoof": 0.2, "cow": 0.2, "kite": 0.3}, {"cow": 1.0}),
        ({"kite": 0.3, "cow": 0.26, "sheep": 0.26, "person": 0.18}, {"kite": 1.0}),
        ({"nose": SURE_NAME + 0.01, "ear": 0.3, "left hoof": 0.29}, {"nose": 1.0}),
    ],
)
def test_where_no_name_is_sure_the_object_is_told(chances: dict[str, float], told: dict[str, float]) -> None:
    assert sum(chances.values()) == pytest.approx(1)
    given = torch.tensor([[[*(chances.get(name, 0.0) for name in ANIMALS), 1.0]]])
    found = decided(given, list(ANIMALS), [()] * len(ANIMALS), list(ANIMALS.values()))
    torch.testing.assert_close(found[0, 0], torch.tensor([*(told.get(name, 0.0) for name in ANIMALS), 1.0]))


LIMBS = {
    "left arm": (),
    "right thumb": ("hand", "arm", "hand"),
    "elbow": ("arm",),
    "person": (),
    "right arm": (),
    "right hand": ("arm",),
    "left hand": ("arm",),
    "nose": ("face",),
    "face": ("face",),
}


@pytest.mark.parametrize(
    ("chances", "told"),
    [
        ({"elbow": 0.3, "right hand": SURE_WIDER - 0.29, "person": 0.99 - SURE_WIDER}, {"left arm", "right arm"}),
        ({"elbow": 0.3, "right hand": SURE_WIDER - 0.31, "person": 1.01 - SURE_WIDER}, {"person"}),
        # The arm's own chance counts, and of two that are sure the one of fewer names is told, with both sides.
        ({"left arm": 0.3, "elbow": 0.35, "person": 0.35}, {"left arm", "right arm"}),
        ({"right thumb": 0.35, "left hand": 0.3, "elbow": 0.35}, {"left hand", "right hand"}),
        ({"right thumb": 0.3, "left hand": 0.25, "elbow": 0.35, "person": 0.1}, {"left arm", "right arm"}),
        ({"nose": 0.31, "face": 0.31, "person": 0.38}, {"face"}),
        # A name counts once, however often it is listed.
        ({"face": 0.35, "right thumb": 0.35, "person": 0.3}, {"person"}),
        # A name is sure by itself.
        ({"right thumb": SURE_NAME + 0.01, "left hand": 0.3, "person": 0.29}, {"right thumb"}),
    ],
)
def test_where_no_name_is_sure_a_wider_part_that_is_sure_is_told(chances: dict[str, float], told: set[str]) -> None:
    assert sum(chances.values()) == pytest.approx(1)
    given = torch.tensor([[[*(chances.get(name, 0.0) for name in LIMBS), 1.0]]])
    found = decided(given, list(LIMBS), list(LIMBS.values()), [["person"]] * len(LIMBS))
    expected = [1 / len(told) if name in told else 0.0 for name in LIMBS]
    torch.testing.assert_close(found[0, 0], torch.tensor([*expected, 1.0]))


TWO_SHOES = (("left shoe", "right shoe"), ((), ()), (("left shoe",), ("right shoe",)))


def test_a_side_is_told_from_its_chance_on() -> None:
    for chance, told in ((SURE_SIDE + 0.01, [1.0, 0.0]), (SURE_SIDE - 0.01, [0.5, 0.5])):
        found = decided(torch.tensor([[[chance, 1 - chance, 1.0]]]), *TWO_SHOES)
        assert found[0, 0].tolist() == [*told, 1.0]


@pytest.mark.parametrize(
    ("colours", "told"),
    [
        # None is likeliest, and a colour is told all the same.
        ([SURE_COLOUR + 0.01, 0.1, 0.89 - SURE_COLOUR], [1, 0, 0]),
        ([0.1, SURE_COLOUR + 0.01, 0.89 - SURE_COLOUR], [0, 1, 0]),
        ([SURE_COLOUR - 0.01, 0.1, 0.91 - SURE_COLOUR], [0, 0, 1]),
        ([1.0], [1]),
    ],
)
def test_one_colour_is_told_or_none(colours: list[float], told: list[float]) -> None:
    found = decided(torch.tensor([[[1.0, *colours]]]), ["hood"], [()], [["hood"]])
    assert found[0, 0].tolist() == [1.0, *told]


@torch.no_grad()
def test_the_descriptor_is_told_what_is_decided() -> None:
    """Each photo's and point's own; a network without names adds nothing."""
    network = tiny_naming_network()
    features, points = network.encode_photos(torch.randn(2, 3, 64, 64)), torch.rand(2, 3, 2)
    numbers = network.segmenter.encode_points(features, points)
    told = network.encode_points(features, points)
    torch.testing.assert_close(told[..., :64], numbers[..., :64])
    torch.testing.assert_close(told[..., 64:], decided(numbers[..., 64:], NAMES, WIDER, OBJECTS))
    assert ((told[..., 67:] == 0) | (told[..., 67:] == 1)).all() and (told[..., 67:].sum(-1) == 1).all()
    plain = tiny_network()
    features = plain.encode_photos(torch.randn(2, 3, 64, 64))
    assert torch.equal(plain.encode_points(features, points), plain.segmenter.encode_points(features, points))


@pytest.mark.parametrize("threshold", ["SURE_NAME", "SURE_SIDE", "SURE_WIDER", "SURE_COLOUR", "AS_LIKELY"])
def test_features_that_were_kept_are_not_those_of_other_decisions(
    threshold: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of points hold what was decided: by other names or thresholds they are other numbers."""
    network, plain = tiny_naming_network(), tiny_network(roles=("descriptor",))
    before = network.features_key("descriptor"), plain.features_key("descriptor")
    monkeypatch.setattr(network_module, threshold, 0.95)
    assert network.features_key("descriptor") != before[0] and plain.features_key("descriptor") == before[1]
    monkeypatch.undo()
    assert network.features_key("descriptor") == before[0]
    for other in (
        {"point_names": NAMES[::-1]},
        {"point_wider": (("hood",),) * 3},
        {"point_objects": (("car",),) * 3},
    ):
        network.config = replace(tiny_naming_network().config, **other)
        assert network.features_key("descriptor") != before[0]


@torch.no_grad()
def test_photos_that_are_chosen_and_joined_keep_their_pixels() -> None:
    segmenter = tiny_naming_network().segmenter
    features, points = segmenter(torch.randn(3, 3, 64, 64)), torch.rand(3, 2, 2)
    together = segmenter.encode_points(features, points)
    again = features.photo(1).join([features.select(torch.tensor([2, 0]))])
    torch.testing.assert_close(segmenter.encode_points(again, points[[1, 2, 0]]), together[[1, 2, 0]])


@torch.no_grad()
def test_a_name_is_told_as_the_mean_of_its_words() -> None:
    """Before anything is learned; of several likely names the mean of their vectors, by how likely each is."""
    network = tiny_naming_network()
    own = network.projector_of("descriptor")
    assert own is not network.projector and network.projector.names is None
    words = [
        NAME_SCALE * network.embedding(torch.tensor(network.prompts.word_ids(name))).mean(0) for name in NAMES + COLOURS
    ]
    numbers = torch.randn(2, 64)
    chances = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [0.5, 0.0, 0.5, 0.0, 1.0, 0.0]])
    told = own.project_points(torch.cat([numbers, chances], dim=1)) - own.project_queries(numbers)
    expected = torch.stack([words[1], (words[0] + words[2]) / 2 + words[4]])
    torch.testing.assert_close(told, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_while_it_learns_some_features_are_left_out_and_positions_and_names_are_not() -> None:
    torch.manual_seed(0)
    own = tiny_naming_network().new_descriptor_projector().eval()
    points = torch.cat([torch.randn(64, 64), torch.rand(64, 6)], dim=1)
    without = torch.cat([torch.zeros(64, 32), points[:, 32:]], dim=1)
    whole, left_out = own.project_points(points), own.project_points(without)
    learning = own.train().project_points(points)
    is_whole, is_left_out = (torch.isclose(learning, one, atol=1e-6).all(1) for one in (whole, left_out))
    assert (is_whole ^ is_left_out).all() and is_whole.any() and is_left_out.any()


@torch.no_grad()
def test_another_name_gives_another_text() -> None:
    network = tiny_naming_network()
    own = network.projector_of("descriptor")
    assert own.names is not None
    features = network.encode_photos(torch.randn(1, 3, 64, 64))
    numbers = network.segmenter.encode_keypoints(features, torch.tensor([[[0.4, 0.4]]]))[0]
    with network.acting_as("descriptor"):
        _, prefix = network.read_prefix(*network.embed_prefix(features, "descriptor"))
        said = []
        for chances in torch.eye(6)[:3]:
            marks = torch.cat([numbers, chances[None]], dim=1)
            prompt = network.embed([network.prompts.describe()], marks)
            said.append(network.logits(network.read(prefix, torch.zeros(1, dtype=torch.long), prompt))[0, -1])
    assert not torch.allclose(said[0], said[1]) and not torch.allclose(said[1], said[2])


@torch.no_grad()
@pytest.mark.parametrize("answers_only", [False, True])
def test_a_checkpoint_keeps_names(tmp_path: Path, answers_only: bool) -> None:
    network = tiny_naming_network()
    own = network.projector_of("descriptor")
    assert own.names is not None
    own.names.weight.normal_()
    save_checkpoint(network, tmp_path / "saved")
    read = load_checkpoint(tmp_path / "saved", roles=("descriptor",), answers_only=answers_only)
    config = read.config
    assert (config.point_names, config.point_wider) == (NAMES, WIDER)
    assert (config.point_objects, config.point_colours) == (OBJECTS, COLOURS)
    pixels, points = torch.randn(1, 3, 64, 64), torch.tensor([[[0.4, 0.4]]])
    marks = []
    for one in (network, read):
        numbers = one.encode_points(one.encode_photos(pixels), points)[0]
        marks.append(one.projector_of("descriptor").project_points(numbers))
    torch.testing.assert_close(*marks)


def test_names_are_as_many_as_the_sizes_say() -> None:
    with pytest.raises(ValueError, match=r"point_names is '1 names'; allowed: num_point_names \(2\)"):
        ModelConfig(vision=tiny_vision(num_point_names=2), point_names=("hood",))
    with pytest.raises(ValueError, match=r"point_colours is '0 names'; allowed: num_point_colours \(1\)"):
        ModelConfig(vision=tiny_vision(num_point_colours=1))
    with pytest.raises(ValueError, match=r"num_point_names is -1; allowed: a whole number of 0 to"):
        tiny_vision(num_point_names=-1)


@pytest.mark.parametrize(
    ("wider", "said"),
    [
        ((), "a list of names for each of point_names"),
        (((), "hood"), "some of point_names, without left and right"),
        (((), ("left hood",)), "some of point_names, without left and right"),
        (((), ("boat",)), "some of point_names, without left and right"),
    ],
)
def test_wider_parts_are_names_without_their_sides(wider: Any, said: str) -> None:
    given = {"vision": tiny_vision(num_point_names=2), "point_names": ("left hood", "car")}
    objects = (("car",), ("car",))
    with pytest.raises(ValueError, match=f"point_wider is .*; allowed: {said}"):
        ModelConfig(**given, point_wider=wider, point_objects=objects)
    assert ModelConfig(**given, point_wider=((), ("hood",)), point_objects=objects).point_wider == ((), ("hood",))


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ((), "a list of names for each of point_names"),
        (5, "a list of names for each of point_names"),
        ((("car",), ()), "one or more of point_names"),
        ((("car",), "car"), "one or more of point_names"),
        ((("car",), ("boat",)), "one or more of point_names"),
        ((("car",), (["car"],)), "one or more of point_names"),
    ],
)
def test_each_name_has_objects_among_the_names(objects: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"point_objects is .*; allowed: {said}"):
        ModelConfig(
            vision=tiny_vision(num_point_names=2),
            point_names=("hood", "car"),
            point_wider=((), ()),
            point_objects=objects,
        )
