from __future__ import annotations

import torch

from tests.tiny import tiny_network


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
