from __future__ import annotations

import torch

from talking_points.model.language import embed_suffixes


def test_embed_suffixes_puts_marks_in_place() -> None:
    embedding = torch.nn.Embedding(10, 4)
    marks = torch.randn(2, 4)
    embeds = embed_suffixes([[1, 9, 2], [9]], embedding, 9, marks)
    assert embeds.shape == (2, 3, 4)
    assert torch.equal(embeds[0, 1], marks[0]) and torch.equal(embeds[1, 0], marks[1])
    assert torch.equal(embeds[0, 2], embedding.weight[2])
