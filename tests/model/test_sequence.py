from __future__ import annotations

import torch

from talking_points.model.language import embed_suffixes, splice_tokens
from talking_points.model.sequence import pack
from tests.tiny import tiny_network


@torch.no_grad()
def test_packed_suffixes_read_as_if_each_stood_alone() -> None:
    """Prefixes of unequal length, suffixes of unequal length, one missing."""
    network = tiny_network()
    llama, width = network.llama, 32
    prefixes = [torch.randn(5, width), torch.randn(9, width)]
    suffixes = torch.randn(2, 3, 4, width)
    lengths = torch.tensor([[4, 2, 3], [1, 4, 0]])
    packed = pack(prefixes, suffixes, lengths)
    with network.acting_as("descriptor"):
        together = llama.model(
            inputs_embeds=packed.embeds_BLD,
            attention_mask=packed.mask_B1LL,
            position_ids=packed.positions_BL,
            use_cache=False,
        ).last_hidden_state
        for b in range(2):
            for p in range(3):
                n = int(lengths[b, p])
                alone = llama.model(
                    inputs_embeds=torch.cat([prefixes[b], suffixes[b, p, :n]])[None], use_cache=False
                ).last_hidden_state[0]
                start = packed.prefix_length + p * 4
                torch.testing.assert_close(
                    together[b, start : start + n], alone[len(prefixes[b]) :], atol=1e-5, rtol=1e-4
                )
    assert torch.isfinite(together).all()


def test_splice_tokens_counts_placeholders() -> None:
    embedding = torch.nn.Embedding(10, 4)
    ids = torch.tensor([1, -200, 3, 99])
    out = splice_tokens(ids, embedding, {-200: [torch.ones(3, 4)], 99: [torch.zeros(1, 4)]})
    assert out.shape == (6, 4)
    assert torch.equal(out[1:4], torch.ones(3, 4)) and torch.equal(out[0], embedding.weight[1])
    try:
        splice_tokens(ids, embedding, {-200: []})
    except ValueError as error:
        assert str(error) == "token -200 stands 1 times, 0 embeddings were given"
    else:
        raise AssertionError("no error")


def test_embed_suffixes_puts_marks_in_place() -> None:
    embedding = torch.nn.Embedding(10, 4)
    marks = torch.randn(2, 4)
    embeds, lengths = embed_suffixes([[1, 9, 2], [9]], embedding, 9, marks)
    assert lengths.tolist() == [3, 1]
    assert torch.equal(embeds[0, 1], marks[0]) and torch.equal(embeds[1, 0], marks[1])
    assert torch.equal(embeds[0, 2], embedding.weight[2])
