"""The trunk's own training, before the base: the part that each cell shows, and where on it the cell is.

The 7B's trunk comes from CLIP and has seen hundreds of millions of photos; mini's starts from nothing. By
itself it sees five times as many scenes a second as behind decoders and a language model, and every cell is a lesson.
"""

# B photos, C channels, K classes, H W cells at stride 4

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.localizer_head import NUM_PLACES
from talking_points.model.trunk import Trunk
from talking_points.training.base_batches import DenseTargets, TrunkBatch

BACKGROUND_WEIGHT = 0.3
"""Of the class loss. Most cells are background; unweighted, saying so everywhere is a good answer for a long time."""
PLACE_WEIGHT = 2.0
HEAD_WIDTH = 64


class TrunkHead(nn.Module):
    """Class and place of each cell from the trunk's four maps, each brought to stride 4 and summed; thrown away."""

    def __init__(self, trunk_dims: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, HEAD_WIDTH, kernel_size=1) for channels in trunk_dims)
        self.classes = nn.Conv2d(HEAD_WIDTH, num_classes + 1, kernel_size=1)
        self.places = nn.Conv2d(HEAD_WIDTH, NUM_PLACES, kernel_size=1)

    def forward(self, stages: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, K + 1, H, W) class logits, background first, and (B, 4, H, W) places."""
        maps = [conv(stage) for conv, stage in zip(self.lateral, stages, strict=True)]
        x_BCHW = maps[-1]
        for finer in reversed(maps[:-1]):
            x_BCHW = finer + F.interpolate(x_BCHW, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        x_BCHW = F.relu(x_BCHW)
        return self.classes(x_BCHW), self.places(x_BCHW)


def dense_losses(
    class_logits_BKHW: Tensor, places_B4HW: Tensor, targets: DenseTargets, class_weights_K: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the cells' classes, and mean absolute error of the places of those that show a part.

    class_weights_K: from `class_weights`.
    """
    class_weight = F.pad(class_weights_K, (1, 0), value=BACKGROUND_WEIGHT)
    classes = F.cross_entropy(class_logits_BKHW, targets.classes_BHW + 1, class_weight)
    is_part_BHW = targets.classes_BHW >= 0
    wrong_BHW = (places_B4HW - targets.places_B4HW).abs().mean(1)
    return classes, (wrong_BHW * is_part_BHW).sum() / is_part_BHW.sum().clamp(min=1)


@torch.no_grad()
def part_accuracy(class_logits_BKHW: Tensor, targets: DenseTargets) -> float:
    """Share of the cells that show a part whose class is right."""
    is_part_BHW = targets.classes_BHW >= 0
    right_BHW = (class_logits_BKHW.argmax(1) - 1 == targets.classes_BHW) & is_part_BHW
    return float(right_BHW.sum() / is_part_BHW.sum().clamp(min=1))


def trunk_objective(
    trunk: Trunk, head: TrunkHead, class_weights_K: Tensor, batch: TrunkBatch
) -> tuple[Tensor, dict[str, float]]:
    """Class and place of every cell from the trunk alone."""
    class_logits, places = head(trunk(batch.pixels_B3SS))
    class_loss, place_loss = dense_losses(class_logits, places, batch.dense, class_weights_K)
    loss = class_loss + PLACE_WEIGHT * place_loss
    return loss, {
        "loss": loss.item(),
        "class": class_loss.item(),
        "place": place_loss.item(),
        "part_accuracy": part_accuracy(class_logits, batch.dense),
    }
