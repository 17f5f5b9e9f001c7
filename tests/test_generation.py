from __future__ import annotations

import torch

from talking_points.generation import SharedPrefix, read_suffixes
from tests.tiny import tiny_network


def test_suffixes_behind_a_shared_prefix_are_as_if_each_stood_alone() -> None:
    """Prefixes and suffixes of unequal length; states and the prefixes' gradients are those of separate sequences."""
    network = tiny_network()
    llama, width = network.llama, 32
    prefixes = [torch.randn(n, width, requires_grad=True) for n in (5, 9)]
    suffixes = torch.randn(6, 4, width)
    lengths = torch.tensor([4, 2, 3, 1, 4, 2])
    photo_of_prompt = torch.tensor([0, 0, 0, 1, 1, 1])
    directions = torch.randn(6, 4, width)
    with network.acting_as("descriptor"):
        together, _, _ = read_suffixes(llama, SharedPrefix(llama, prefixes), photo_of_prompt, suffixes, lengths)
        loss = torch.zeros(())
        for p, (photo, n) in enumerate(zip(photo_of_prompt.tolist(), lengths.tolist(), strict=True)):
            alone = llama.model(
                inputs_embeds=torch.cat([prefixes[photo], suffixes[p, :n]])[None], use_cache=False
            ).last_hidden_state[0, len(prefixes[photo]) :]
            torch.testing.assert_close(together[p, :n], alone, atol=1e-5, rtol=1e-4)
            loss = loss + (alone * directions[p, :n]).sum()
        counts = torch.arange(4) < lengths[:, None]
        wanted = torch.autograd.grad(loss, prefixes)
        got = torch.autograd.grad((together * directions * counts[..., None]).sum(), prefixes)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-3)
