import pytest
import torch

from talking_points.model.pixel_decoder import NUM_LEVELS, _gather, _sample

SIZES_HW = [(3, 4), (6, 7), (11, 12)]
CELLS = sum(h * w for h, w in SIZES_HW)


@pytest.mark.parametrize(("photos", "heads", "points"), [(1, 1, 1), (2, 4, 3)])
def test_gathering_rows_is_sampling_and_so_are_its_gradients(photos, heads, points):
    torch.manual_seed(0)
    places = heads * NUM_LEVELS * points
    value = torch.randn(photos, CELLS, 2 * heads, requires_grad=True)
    # Many places lie on a border or outside.
    offsets = (4 * torch.randn(photos, CELLS, places, 2)).requires_grad_()
    weights = torch.rand(photos, CELLS, places, requires_grad=True)
    centres = torch.rand(CELLS, 2)
    given = value, offsets, weights, centres, SIZES_HW, heads
    toward = torch.randn(photos, CELLS, 2 * heads)
    expected, gathered = _sample(*given), _gather(*given)
    assert expected.abs().max() > 1
    torch.testing.assert_close(gathered, expected, atol=1e-4, rtol=1e-4)
    for one, other in zip(
        torch.autograd.grad((expected * toward).sum(), (value, offsets, weights)),
        torch.autograd.grad((gathered * toward).sum(), (value, offsets, weights)),
        strict=True,
    ):
        torch.testing.assert_close(other, one, atol=1e-3, rtol=1e-3)


def test_what_lies_outside_a_level_is_nothing_and_no_cell_of_the_next():
    value = torch.ones(1, CELLS, 1)
    offsets = torch.zeros(1, CELLS, NUM_LEVELS, 2)
    offsets[..., 1] = 100
    weights = torch.ones(1, CELLS, NUM_LEVELS)
    for look in (_sample, _gather):
        assert look(value, offsets, weights, torch.rand(CELLS, 2), SIZES_HW, 1).abs().max() == 0
