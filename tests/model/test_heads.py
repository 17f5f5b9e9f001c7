from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from talking_points.model.heads import FINE, HEADS_OF_KIND, WIDTH, Heatmap, Mixture, Pointer, ReadTexts
from talking_points.model.heatmaps import GRID, chances, likeliest_points
from talking_points.model.mask_decoder import DecoderInputs

CHANNELS, LLM_WIDTH = 8, 12
SIZES_HW = [(1, 2), (2, 3), (4, 6)]
"""Of the levels; a square's are square, but then rows could pass for columns."""
CELLS = {"mixture": (GRID, GRID), "heatmap": SIZES_HW[FINE], "pointer": SIZES_HW[FINE]}
KINDS = tuple(CELLS)
PHOTO = (0, 0, 1, 1)
LENGTHS = (5, 3, 6, 2)
"""Tokens of the texts."""


def new_head(kind: str) -> nn.Module:
    torch.manual_seed(0)
    head = HEADS_OF_KIND[kind](CHANNELS, LLM_WIDTH)
    if isinstance(head, Pointer):
        nn.init.normal_(head.nowhere)
    return head


def photos() -> DecoderInputs:
    """Two."""
    torch.manual_seed(1)
    return DecoderInputs(
        mask_feature_BCHW=torch.zeros(0),
        cells=[torch.randn(2, height * width, CHANNELS) for height, width in SIZES_HW],
        cell_positions=[torch.randn(height * width, CHANNELS) for height, width in SIZES_HW],
        sizes_hw=SIZES_HW,
    )


def texts() -> ReadTexts:
    torch.manual_seed(2)
    return ReadTexts(
        seg_PF=torch.randn(len(PHOTO), 2 * CHANNELS),
        states_PSD=torch.randn(len(PHOTO), max(LENGTHS), LLM_WIDTH),
        is_read_PS=torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None],
        photo_P=torch.tensor(PHOTO),
    )


def text(k: int) -> ReadTexts:
    """One of them, without padding."""
    whole = texts()
    return ReadTexts(
        seg_PF=whole.seg_PF[[k]],
        states_PSD=whole.states_PSD[[k], : LENGTHS[k]],
        is_read_PS=whole.is_read_PS[[k], : LENGTHS[k]],
        photo_P=whole.photo_P[[k]],
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_that_points_stay_in_the_square(kind: str) -> None:
    head = new_head(kind)
    for size in (1.0, 100.0):
        for parameter in head.parameters():
            parameter.mul_(size)
        answer = head(texts(), photos())
        assert answer.points_P2.shape == (4, 2) and answer.there_P.shape == (4,)
        assert answer.points_P2.isfinite().all() and ((answer.points_P2 >= 0) & (answer.points_P2 <= 1)).all()
        assert answer.logits_Phw.shape == (4, *CELLS[kind])
        if kind == "pointer":
            assert answer.offsets_Phw2.shape == (4, *CELLS[kind], 2) and answer.offsets_Phw2.abs().max() <= 0.5
        else:
            assert answer.offsets_Phw2 is None


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_many_texts_are_the_texts_one_by_one(kind: str) -> None:
    head = new_head(kind)
    together = head(texts(), photos())
    for k in range(len(PHOTO)):
        alone = head(text(k), photos())
        torch.testing.assert_close(alone.logits_Phw[0], together.logits_Phw[k], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.there_P[0], together.there_P[k], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.points_P2[0], together.points_P2[k], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_head_learns_and_what_it_reads(kind: str) -> None:
    head, asked, seen = new_head(kind), texts(), photos()
    read = (asked.seg_PF, asked.states_PSD, *seen.cells)
    for tensor in read:
        tensor.requires_grad_()
    answer = head(asked, seen)
    loss = F.cross_entropy(answer.logits_Phw.flatten(1), torch.tensor([1, 5, 9, 23])) + F.softplus(answer.there_P).sum()
    if answer.offsets_Phw2 is not None:
        loss = loss + answer.offsets_Phw2.square().sum()
    loss.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # A bias that all cells share changes no softmax.
        assert parameter.grad.any() or parameter.ndim == 1, name
    reached = [tensor.grad is not None and bool(tensor.grad.any()) for tensor in read]
    # [SEG], the texts' states, and the cells at strides 32, 16 and 8.
    assert (
        reached
        == {
            "mixture": [True, False, False, False, False],
            "heatmap": [False, True, False, True, True],
            "pointer": [True, False, False, False, True],
        }[kind]
    )
    if kind == "heatmap":
        assert asked.states_PSD.grad is not None
        assert not asked.states_PSD.grad[~asked.is_read_PS].any()
        assert asked.states_PSD.grad[asked.is_read_PS].any(-1).all()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["heatmap", "pointer"])
def test_a_text_reads_its_own_photo(kind: str) -> None:
    head, seen = new_head(kind), photos()
    before = head(texts(), seen)
    for cells in seen.cells:
        cells[1] += 1.0
    after = head(texts(), seen)
    changed = (before.logits_Phw != after.logits_Phw).flatten(1).any(-1)
    assert changed.tolist() == [False, False, True, True]


@torch.no_grad()
def test_a_mixture_is_its_components() -> None:
    """Two components set by hand: the heavier one answers, the other is the second place."""
    mixture = Mixture(CHANNELS, LLM_WIDTH)
    last = mixture.mlp[-1]
    weight, bias = last.get_parameter("weight"), last.get_parameter("bias")
    weight.zero_()
    places = ((0.25, 0.5), (0.75, 0.5))
    for k in range(len(bias) // 5):
        x, y = places[min(k, 1)]
        share = (2.0, 1.0)[k] if k < 2 else -50.0
        bias[5 * k : 5 * k + 5] = torch.tensor([share, _logit(x), _logit(y), -1.0, -1.0])
    bias[-1] = 0.7
    answer = mixture(texts(), photos())
    density = answer.logits_Phw.flatten(1).softmax(-1)
    left = density.unflatten(-1, (GRID, GRID))[:, :, : GRID // 2].sum((1, 2))
    assert left.tolist() == pytest.approx([math.e / (math.e + 1)] * 4, abs=1e-3)
    torch.testing.assert_close(answer.points_P2, torch.tensor([[0.25, 0.5]] * 4), atol=0.01, rtol=0)
    _, second, _ = chances(answer.logits_Phw, answer.points_P2, torch.ones(()))
    torch.testing.assert_close(second, torch.tensor([[0.75, 0.5]] * 4), atol=0.01, rtol=0)
    assert answer.there_P.tolist() == pytest.approx([0.7] * 4)


@torch.no_grad()
def test_a_mixtures_heat_at_a_cell_by_hand() -> None:
    """One component at (0.25, 0.5), exp(-3) wide across and exp(-2) down: its log-density but for a constant."""
    mixture = Mixture(CHANNELS, LLM_WIDTH)
    weight, bias = (mixture.mlp[-1].get_parameter(name) for name in ("weight", "bias"))
    weight.zero_()
    bias.zero_()
    bias[0::5] = -50.0
    bias[:5] = torch.tensor([50.0, _logit(0.25), 0.0, -1.0, 0.0])
    logits = mixture(texts(), photos()).logits_Phw
    x, y = 20.5 / GRID, 40.5 / GRID
    by_hand = -0.5 * ((x - 0.25) / math.exp(-3)) ** 2 - 0.5 * ((y - 0.5) / math.exp(-2)) ** 2 + 3 + 2
    assert logits[3, 40, 20].item() == pytest.approx(by_hand, abs=1e-4)


@torch.no_grad()
def test_a_heatmap_answers_where_its_heat_is() -> None:
    answer = new_head("heatmap")(texts(), photos())
    torch.testing.assert_close(answer.points_P2, likeliest_points(answer.logits_Phw))


@torch.no_grad()
def test_a_heatmap_reads_every_word_and_no_padding() -> None:
    head, seen, asked = new_head("heatmap"), photos(), texts()
    assert isinstance(head, Heatmap)
    before = head(asked, seen)
    asked.states_PSD[~asked.is_read_PS] = 7.0
    torch.testing.assert_close(head(asked, seen).logits_Phw, before.logits_Phw)
    asked.states_PSD[0, 0] = 7.0  # the first of five
    after = head(asked, seen)
    assert not torch.allclose(after.logits_Phw[0], before.logits_Phw[0])
    torch.testing.assert_close(after.logits_Phw[1:], before.logits_Phw[1:])


@torch.no_grad()
def test_a_pointers_heat_at_a_cell_by_hand() -> None:
    """How well the cell in row 2, column 4 of the second photo answers to the third text; and whether any does."""
    head, asked, seen = new_head("pointer"), texts(), photos()
    assert isinstance(head, Pointer)
    answer, cell = head(asked, seen), 2 * 6 + 4
    key = head.key(seen.cells[FINE][1, cell] + head.place(seen.cell_positions[FINE][cell]))
    query = head.query(asked.seg_PF[2])
    assert answer.logits_Phw[2, 2, 4].item() == pytest.approx(float(key @ query) / math.sqrt(WIDTH), abs=1e-5)
    nowhere = float(head.nowhere @ query) / math.sqrt(WIDTH)
    anywhere = answer.logits_Phw[2].exp().sum().log()
    assert answer.there_P[2].item() == pytest.approx(float(anywhere) - nowhere, abs=1e-5)


@torch.no_grad()
def test_a_pointers_offset_by_hand() -> None:
    """A quarter of a cell to the right of the best cell's centre and an eighth above it."""
    head = new_head("pointer")
    assert isinstance(head, Pointer)
    head.offset.weight.zero_()
    head.offset.bias.copy_(torch.tensor([_logit(0.75), _logit(0.375)]))
    answer = head(texts(), photos())
    for logits_hw, point in zip(answer.logits_Phw, answer.points_P2.tolist(), strict=True):
        row, column = divmod(int(logits_hw.argmax()), 6)
        assert point == pytest.approx([(column + 0.75) / 6, (row + 0.375) / 4], abs=1e-6)
    torch.testing.assert_close(answer.offsets_Phw2, torch.tensor([0.25, -0.125]).expand(4, 4, 6, 2))


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
