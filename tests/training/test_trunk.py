from __future__ import annotations

import math

import pytest
import torch

from talking_points.dataset.scene import Scene, class_names
from talking_points.model.trunk import Trunk
from talking_points.training.base_batches import DenseTargets, TrunkBatches, part_map_on_square, places_on_square
from talking_points.training.batches import BatchSizes
from talking_points.training.trunk import TrunkHead, dense_losses, part_accuracy, trunk_objective


def test_places_go_from_the_upper_left_to_the_lower_right_of_part_and_object(scenes: list[Scene]) -> None:
    scene = scenes[0]
    part_map = part_map_on_square(scene, 80)  # an 80x64 photo at its own size, 8 columns of padding on each side
    places = places_on_square(scene, part_map)
    x0, y0, x1, y1 = scene.parts[1].box_xyxy  # the jeans: 20 to 50 of the person's 58 rows
    assert places[:, y0, x0 + 8].tolist() == pytest.approx([0.5 / 26, 0.5 / 30, 0.5 / 26, 20.5 / 58])
    assert places[:, y1 - 1, x1 + 7].tolist() == pytest.approx([25.5 / 26, 29.5 / 30, 25.5 / 26, 49.5 / 58])
    assert not places[:, part_map == 0].any()


def test_dense_losses_by_hand() -> None:
    """Two cells, one background: uniform logits over three classes, a place that is wrong by 0.1 on average."""
    targets = DenseTargets(
        classes_BHW=torch.tensor([[[-1, 1]]]),
        places_B4HW=torch.tensor([0.5, 0.5, 0.2, 0.2]).view(1, 4, 1, 1).repeat(1, 1, 1, 2),
    )
    logits = torch.zeros(1, 3, 1, 2)
    places = torch.tensor([0.6, 0.4, 0.3, 0.1]).view(1, 4, 1, 1).repeat(1, 1, 1, 2)
    places[..., 0] = 7.0  # of the background nothing is asked
    classes, place = dense_losses(logits, places, targets, torch.ones(2))
    assert classes.item() == pytest.approx(torch.tensor(3.0).log().item())
    assert place.item() == pytest.approx(0.1)
    logits[0, 2, 0, 1] = 1.0  # what is part is told surer than background, and counts as its class does
    told, silent = math.log((2 + math.e) / math.e), math.log(3)
    for weight in (1.0, 3.0):
        classes, _ = dense_losses(logits, places, targets, torch.tensor([1.0, weight]))
        assert classes.item() == pytest.approx((0.3 * silent + weight * told) / (0.3 + weight))
    logits[0, 2, 0, 1] = 1.0
    assert part_accuracy(logits, targets) == 1.0
    logits[0, 0, 0, 1] = 2.0
    assert part_accuracy(logits, targets) == 0.0


def test_a_trunk_learns_what_cells_show(scenes: list[Scene]) -> None:
    torch.manual_seed(0)
    names = class_names(scenes)
    trunk, head = Trunk((1, 1, 1, 1), (8, 16, 16, 16)), TrunkHead((8, 16, 16, 16), len(names))
    torch.nn.init.normal_(trunk.stem.get_parameter("0.bias"), std=0.5)
    batches = TrunkBatches(scenes, names, side=64, sizes=BatchSizes(photos=4), seed=0, steps=3)
    assert torch.equal(batches[1].pixels_B3SS, batches[1].pixels_B3SS)
    optimizer = torch.optim.AdamW([*trunk.parameters(), *head.parameters()], lr=0.01)
    losses = []
    for _ in range(15):
        loss, metrics = trunk_objective(trunk, head, torch.ones(len(names)), batches[0])
        loss.backward()
        still = [n for n, p in [*trunk.named_parameters(), *head.named_parameters()] if p.grad is None]
        assert still == []
        optimizer.step()
        optimizer.zero_grad()
        losses.append(metrics["loss"])
    assert losses[-1] < 0.7 * losses[0]
