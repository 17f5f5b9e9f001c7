from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from talking_points.training.loop import train
from tests.processes import launch
from tests.training.test_loop import Numbers, losses, told


class Adapted(nn.Module):
    """A frozen layer with a trained one beside it, as LoRA has them."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer = nn.Linear(3, 8).requires_grad_(False)
        self.beside = nn.Linear(3, 8)
        self.out = nn.Linear(8, 2).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.base_layer(x) + self.beside(x)))


def curve(folder: Path, *, shard: bool) -> dict[int, float]:
    torch.manual_seed(5)
    model = Adapted()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def objective(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        loss = (model(batch) - 1).square().mean()
        return loss, {"loss": loss.item(), "weight": float(len(batch))}

    settings = told(learning_rate=0.05, warmup_steps=2, save_every=4, log_every=1)
    assert train({"model": model}, trained, Numbers(10), objective, settings, folder, shard=shard)
    if shard:
        shards = {name: p for name, p in model.named_parameters() if isinstance(p, DTensor)}
        assert shards.keys() == model.state_dict().keys() - trained.keys()
        assert {name: tuple(p.to_local().shape) for name, p in shards.items()} == {
            "base_layer.weight": (4, 3),
            "base_layer.bias": (4,),
            "out.weight": (1, 8),
            "out.bias": (1,),
        }
    return losses(folder)


def test_over_shards_a_training_is_the_same(tmp_path: Path) -> None:
    one = curve(tmp_path / "one", shard=False)
    assert one[10] < 0.7 * one[1]
    launch(2, partial(curve, shard=True), tmp_path / "shards")
    assert losses(tmp_path / "shards") == pytest.approx(one, abs=1e-6)


def test_one_process_has_nothing_to_share(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this is the only one; launch more"):
        curve(tmp_path, shard=True)
