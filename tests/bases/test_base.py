"""The interface of a base, and the paper's network as one."""

from __future__ import annotations

import pytest
import torch

from talking_points.bases.base import Base
from talking_points.bases.loading import attach_role, load_base, load_joined, load_outline, load_role, save_base
from talking_points.pointing.pretrained import find_checkpoint
from tests.tiny import HEADS, tiny_network

TEXTS = ("the left shoe", "the hood of the car")


def where(base: Base, pixels: torch.Tensor, *, packed: bool) -> torch.Tensor:
    """Where the localizer finds two texts about each of two photos."""
    features = base.encode_photos(pixels)
    if packed:
        features = base.unpack_photos(base.pack_photos(features, "localizer"), "localizer")
    with base.acting_as("localizer"):
        _, prefix = base.read_prefix(*base.embed_prefix(features, "localizer"))
        prompts = [base.prompts.localize(text) for text in TEXTS] * 2
        return base.locate(features, prefix, torch.tensor([0, 0, 1, 1]), prompts).points_P2


def test_the_papers_network_has_all_that_is_asked_of_a_base() -> None:
    network = tiny_network()
    asked = [name for name in (*vars(Base), *Base.__annotations__) if not name.startswith("_")]
    assert len(asked) > 25 and all(hasattr(network, name) for name in asked)
    assert (network.side, network.num_blocks, network.roles) == (64, 2, ("descriptor", "localizer"))
    assert network.prompt_bytes(300) > network.prompt_bytes(200)


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
def test_what_is_kept_of_photos_on_disk_leads_to_the_same_places(head: str) -> None:
    network, pixels = tiny_network(head=head), torch.randn(2, 3, 64, 64)
    kept, made = (where(network, pixels, packed=packed) for packed in (True, False))
    torch.testing.assert_close(kept, made, atol=1e-4, rtol=0)  # sums over other memory layouts round otherwise


@torch.no_grad()
def test_features_of_photos_are_taken_apart_and_joined() -> None:
    network = tiny_network()
    features = network.encode_photos(torch.randn(3, 3, 64, 64))
    again = features.photo(0).join([features.photo(1), features.photo(2)])
    joined, whole = again.decoder_inputs.mask_feature_BCHW, features.decoder_inputs.mask_feature_BCHW
    assert torch.equal(joined, whole) and again.bytes == features.bytes and whole.shape == (3, 32, 16, 16)


def test_weights_of_a_role_and_of_some_of_its_blocks() -> None:
    network = tiny_network()
    whole, last = network.role_weights("localizer"), network.role_weights("localizer", blocks=range(1, 2))
    assert len(last) == 14 and last.keys() < whole.keys()  # A and B of seven linear layers
    own = network.role_weights("localizer", language=False)
    assert own and all(name.startswith("localizer.") for name in own)
    assert not any("localizer." in name for name in network.role_weights("descriptor"))


def test_a_base_comes_back_from_its_folder(tmp_path) -> None:  # type: ignore[no-untyped-def]
    save_base(tiny_network(), tmp_path / "base")
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = [where(base, pixels, packed=False) for base in (tiny_network(), load_base(tmp_path / "base"))]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("blind", [False, True])
def test_roles_trained_apart_meet_over_their_base_whatever_the_head(tmp_path, blind: bool) -> None:  # type: ignore[no-untyped-def]
    save_base(tiny_network(roles=()), tmp_path / "base")
    for role, changes in (
        ("descriptor", {"region": "predicted-mask"}),
        ("localizer", {"head": "mixture", "blind": blind}),
    ):
        base = load_base(tmp_path / "base", roles=())
        attach_role(base, role, rank=4, alpha=8, dropout=0.0, **changes)
        with torch.no_grad():
            for parameter in base.role_weights(role).values():
                assert not parameter.requires_grad
                parameter.add_(0.05 * torch.randn_like(parameter))
        save_base(base, tmp_path / role)
    save_base(load_joined(tmp_path / "descriptor", tmp_path / "localizer"), tmp_path / "joined")
    joined, pixels = load_base(tmp_path / "joined"), torch.randn(2, 3, 64, 64)
    assert joined.roles == ("descriptor", "localizer") and joined.config.blind == blind
    for role in joined.roles:
        alone = load_role(tmp_path / role, role).role_weights(role)
        assert all(torch.equal(alone[name], weight) for name, weight in joined.role_weights(role).items())
    localizer, descriptor = load_role(tmp_path / "localizer", "localizer"), load_base(tmp_path / "descriptor")
    with torch.no_grad():
        torch.testing.assert_close(*(where(one, pixels, packed=False) for one in (joined, localizer)))
        points = torch.rand(2, 3, 2)
        seen = [one.encode_points(one.encode_photos(pixels), points) for one in (joined, descriptor)]
    torch.testing.assert_close(*seen)


def test_an_outline_has_the_sizes_and_no_weights() -> None:
    outline, mini = load_outline(find_checkpoint("mini")), load_base(find_checkpoint("mini"), roles=())
    assert outline.device.type == "meta" and outline.sizes == mini.sizes and outline.side == mini.side


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
def test_a_localizer_takes_a_head_that_its_base_has_not(head: str) -> None:
    base = tiny_network(roles=(), head="regression")
    attach_role(base, "localizer", rank=4, alpha=4, dropout=0.0, head=head)
    assert base.config.coordinate_head == head and base.tells_absence == (head != "regression")
    assert where(base, torch.randn(2, 3, 64, 64), packed=False).shape == (4, 2)


def test_an_unknown_head_is_one_line() -> None:
    with pytest.raises(ValueError, match="coordinate_head is 'votes'; allowed: 'regression' or 'mixture'"):
        attach_role(tiny_network(roles=()), "localizer", rank=4, alpha=4, dropout=0.0, head="votes")
