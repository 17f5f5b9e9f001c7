from __future__ import annotations

import pytest
import torch

from talking_points.model.localizer_head import LocatedPoints
from talking_points.model.network import PointNetwork
from talking_points.model.segmenter import ImageFeatures
from tests.tiny import HEADS, tiny_network


@torch.no_grad()
def test_the_base_speaks_without_adapters_and_nothing_is_left_changed() -> None:
    network, bare = tiny_network(), tiny_network(roles=())
    embeds = torch.randn(1, 5, 32)
    network.language.set_adapter("descriptor")  # type: ignore[operator]
    for name, parameter in network.language.named_parameters():
        parameter.requires_grad_(".descriptor." in name)
    trains = [parameter.requires_grad for parameter in network.language.parameters()]

    def states(of):  # type: ignore[no-untyped-def]
        return of.llama.model(inputs_embeds=embeds, use_cache=False).last_hidden_state

    adapted = states(network)
    with network.acting_as("base"):
        plain = states(network)
        assert [parameter.requires_grad for parameter in network.language.parameters()] == trains
    with bare.acting_as("base"):
        torch.testing.assert_close(plain, states(bare))
    assert not torch.allclose(plain, adapted)
    torch.testing.assert_close(states(network), adapted)
    assert [parameter.requires_grad for parameter in network.language.parameters()] == trains


def found(network: PointNetwork, features: ImageFeatures) -> LocatedPoints:
    """Where two texts lead on one photo."""
    with network.acting_as("localizer"):
        _, prefix = network.read_prefix(*network.embed_prefix(features, "localizer"))
        prompts = [network.prompts.localize(text) for text in ("the left shoe", "the hood of the car")]
        return network.locate(features, prefix, torch.tensor([0, 0]), prompts)


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
def test_a_blind_localizer_answers_alike_whatever_the_photo(head: str) -> None:
    network, seeing = tiny_network(head=head, blind=True), tiny_network(head=head)
    one, other = (network.encode_photos(pixels) for pixels in torch.randn(2, 1, 3, 64, 64))
    assert not torch.allclose(one.image_tokens_BNC, other.image_tokens_BNC)
    # Neither by tokens of the photo, nor by cells that its head reads.
    assert torch.equal(*(network.photo_prefixes(features, "localizer")[0] for features in (one, other)))
    on_one, on_other = found(network, one), found(network, other)
    assert torch.equal(on_one.points_P2, on_other.points_P2)
    assert torch.equal(on_one.regressed_P2, on_other.regressed_P2)
    if on_one.heatmap_logits_Phw is not None:
        assert on_other.heatmap_logits_Phw is not None and on_one.there_P is not None and on_other.there_P is not None
        assert torch.equal(on_one.heatmap_logits_Phw, on_other.heatmap_logits_Phw)
        assert torch.equal(on_one.there_P, on_other.there_P)
    # Its texts do change what it answers, and one that sees is changed by the photo.
    assert not torch.allclose(*on_one.points_P2)
    assert not torch.equal(found(seeing, one).regressed_P2, found(seeing, other).regressed_P2)


@torch.no_grad()
def test_only_the_localizer_is_blind() -> None:
    network = tiny_network(blind=True)
    one, other = (network.encode_photos(pixels) for pixels in torch.randn(2, 1, 3, 64, 64))
    prefixes = [network.photo_prefixes(features, "descriptor")[0] for features in (one, other)]
    assert prefixes[0].shape != prefixes[1].shape or not torch.allclose(*prefixes)


@torch.no_grad()
def test_what_a_blind_localizer_learned_is_what_it_reads() -> None:
    network = tiny_network(blind=True)
    features = network.encode_photos(torch.randn(1, 3, 64, 64))
    assert network.localizer is not None and network.localizer.photo is not None
    learned = {name for name in network.role_weights("localizer") if name.startswith("localizer.photo.")}
    assert len(learned) == 1 + 3  # tokens, and the cells of three levels
    before = found(network, features)
    network.localizer.photo.image_tokens.normal_()
    assert not torch.allclose(found(network, features).regressed_P2, before.regressed_P2)


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
def test_texts_lead_to_points_of_their_own(head: str) -> None:
    network = tiny_network(head=head)
    located = found(network, network.encode_photos(torch.randn(1, 3, 64, 64)))
    assert (located.points_P2[0] - located.points_P2[1]).norm() > 1e-3
    assert network.tells_absence == (head != "regression") == (located.there_P is not None)
