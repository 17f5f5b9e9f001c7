"""The trunk that `train base` starts with: it fits mini's sizes, and tells a photo from noise."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import torch

from talking_points import open_photo
from talking_points.images import letterbox
from talking_points.model.weights import load_weights, read_tensors
from talking_points.training.mini import new_trunk
from talking_points.training.stages import EMBEDDED_TRUNK, TRUNK_FILE

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@torch.no_grad()
def test_it_fits_and_works() -> None:
    assert (EMBEDDED_TRUNK / TRUNK_FILE).stat().st_size < 10e6
    trunk = new_trunk()
    untrained = trunk(torch.zeros(1, 3, 64, 64))
    weights = {name: tensor.float() for name, tensor in read_tensors(EMBEDDED_TRUNK / TRUNK_FILE).items()}
    load_weights(trunk, weights, source=TRUNK_FILE)
    assert not torch.equal(untrained[-1], trunk(torch.zeros(1, 3, 64, 64))[-1])
    stages = trunk(torch.from_numpy(letterbox(open_photo(HOPPER), 192))[None])
    assert [tuple(stage.shape[1:]) for stage in stages] == [(32, 48, 48), (64, 24, 24), (160, 12, 12), (320, 6, 6)]
    assert all(torch.isfinite(stage).all() and stage.std() > 0 for stage in stages)
