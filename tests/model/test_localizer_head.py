from __future__ import annotations

import pytest
import torch

from talking_points.model.localizer_head import CoordinateHead, LearnedPhoto, LocatedPoints
from tests.model.test_heads import CHANNELS, LLM_WIDTH, photos, texts
from tests.tiny import HEADS, tiny_network, tiny_vision


def test_only_some_texts_answers() -> None:
    points = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    located = LocatedPoints(
        points_P2=points,
        regressed_P2=1 - points,
        heatmap_logits_Phw=torch.arange(3.0)[:, None, None].expand(3, 2, 2),
        there_P=torch.tensor([7.0, 8.0, 9.0]),
        temperature=torch.tensor(2.0),
    )
    some = located.only(torch.tensor([True, False, True]))
    assert torch.equal(some.points_P2, points[[0, 2]]) and torch.equal(some.regressed_P2, 1 - points[[0, 2]])
    assert some.heatmap_logits_Phw is not None and some.heatmap_logits_Phw[:, 0, 0].tolist() == [0, 2]
    assert some.there_P is not None and some.there_P.tolist() == [7, 9]
    # A temperature is of the head, not of a text; a head without offsets still has none.
    assert some.temperature is located.temperature and some.offsets_Phw2 is None


@torch.no_grad()
@pytest.mark.parametrize("kind", HEADS)
def test_the_papers_regression_stands_beside_every_head(kind: str) -> None:
    head, asked = CoordinateHead(CHANNELS, LLM_WIDTH, kind=kind), texts()
    located = head(asked, photos())
    torch.testing.assert_close(located.regressed_P2, head.mlp(asked.seg_PF))
    known = (located.heatmap_logits_Phw, located.there_P, located.temperature)
    if kind == "regression":
        assert located.points_P2 is located.regressed_P2 and known == (None, None, None)
    else:
        assert not any(one is None for one in known)
        assert not torch.allclose(located.points_P2, located.regressed_P2)
    assert (located.offsets_Phw2 is not None) == (kind == "pointer")


def test_a_learned_photo_takes_the_place_of_each() -> None:
    network = tiny_network(roles=())
    learned = LearnedPhoto(tiny_vision())
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.normal_()
        features = network.encode_photos(torch.randn(3, 3, 64, 64))
    seen = learned.in_place_of(features)
    assert [cells.shape for cells in seen.decoder_inputs.cells] == [c.shape for c in features.decoder_inputs.cells]
    assert seen.image_tokens_BNC.shape == features.image_tokens_BNC.shape
    assert features.wins_BQN.any() and not seen.wins_BQN.any()
    for tensor, own in zip((seen.image_tokens_BNC, *seen.decoder_inputs.cells), learned.parameters(), strict=True):
        assert all(torch.equal(photo, own) for photo in tensor)
