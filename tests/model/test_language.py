from __future__ import annotations

import torch

from talking_points.model.language import embed_suffixes, splice_tokens


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
    embeds = embed_suffixes([[1, 9, 2], [9]], embedding, 9, marks)
    assert embeds.shape == (2, 3, 4)
    assert torch.equal(embeds[0, 1], marks[0]) and torch.equal(embeds[1, 0], marks[1])
    assert torch.equal(embeds[0, 2], embedding.weight[2])
