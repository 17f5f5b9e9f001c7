"""What the base's segmenter is trained on: each object and part claimed by one query, with its mask and word."""

# B photos, Q queries, G targets of one photo, K classes, H W cells at stride 4

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from talking_points.dataset.scene import Scene
from talking_points.model.mask_decoder import DecodedQueries, DecoderInputs, MaskDecoder

CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT = 1.0, 5.0, 5.0
"""Mask2Former's, but for the class (2.0 there), which matching makes noisy for a network that starts from scratch."""
BACKGROUND_WEIGHT = 0.1
"""Of the class loss of queries that claim nothing. Source: Mask2Former."""
MOST_CLASS_WEIGHT = 4.0
"""A class that a photo or two show is not learned from by its weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskTargets:
    """Objects and parts of one photo."""

    masks_GHW: Tensor
    """float 0 or 1, at stride 4 of the square."""
    classes_G: Tensor


def class_weights(scenes: Sequence[Scene], class_names: Sequence[str]) -> Tensor:
    """(K,) weights in class losses: the square root of how rare a class is, so that "hat" is not taken for "hair"
    because it is rarer. The mean over the scenes' objects and parts is 1 before the rarest are held back.
    """
    counts = Counter(part.name for scene in scenes for part in scene.parts)
    counts.update(one.name for scene in scenes for one in scene.objects)
    count_K = torch.tensor([float(max(1, counts[name])) for name in class_names])
    weight_K = count_K.rsqrt()
    return (weight_K * count_K.sum() / (count_K * weight_K).sum()).clamp(max=MOST_CLASS_WEIGHT)


def mask_losses(logits_NHW: Tensor, masks_NHW: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice of N masks, each (N,)."""
    logits, masks = logits_NHW.flatten(1), masks_NHW.flatten(1)
    bce = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(1)
    prob = logits.sigmoid()
    dice = 1 - (2 * (prob * masks).sum(1) + 1) / (prob.sum(1) + masks.sum(1) + 1)
    return bce, dice


@torch.no_grad()
def match(mask_logits_QHW: Tensor, class_logits_QK: Tensor, targets: MaskTargets) -> tuple[Tensor, Tensor]:
    """Pair queries with targets at least cost (Hungarian). Returns query and target indices."""
    logits, masks = mask_logits_QHW.flatten(1), targets.masks_GHW.flatten(1)
    cells = logits.shape[1]
    class_cost = -class_logits_QK.softmax(-1)[:, targets.classes_G]
    bce_cost = (F.softplus(-logits) @ masks.T + F.softplus(logits) @ (1 - masks).T) / cells
    prob = logits.sigmoid()
    dice_cost = 1 - (2 * prob @ masks.T + 1) / (prob.sum(1)[:, None] + masks.sum(1)[None] + 1)
    cost = CLASS_WEIGHT * class_cost + MASK_WEIGHT * bce_cost + DICE_WEIGHT * dice_cost
    queries, found = linear_sum_assignment(cost.cpu().numpy())
    device = mask_logits_QHW.device
    return torch.as_tensor(queries, device=device), torch.as_tensor(found, device=device)


def segmentation_loss(
    decoder: MaskDecoder,
    decoded: DecodedQueries,
    inputs: DecoderInputs,
    targets: Sequence[MaskTargets],
    class_weights_K: Tensor,
) -> dict[str, Tensor]:
    """Class, mask, dice and IoU losses of the queries, matched after every layer but the initial one.

    class_weights_K: from `class_weights`.

    Returns:
        Losses by name, unweighted means; `total` is their weighted sum.
    """
    class_losses, bces, dices, ious = [], [], [], []
    class_weight = F.pad(class_weights_K, (0, 1), value=BACKGROUND_WEIGHT)
    for queries_BQC, mask_logits_BQHW in zip(decoded.queries[1:], decoded.mask_logits[1:], strict=True):
        class_logits_BQK = decoder.class_logits(queries_BQC, mask_logits_BQHW, inputs)
        iou_logits_BQ = decoder.iou_logits(queries_BQC)
        wanted_BQ = torch.full(
            class_logits_BQK.shape[:2], class_logits_BQK.shape[-1] - 1, device=class_logits_BQK.device
        )
        predicted, true, iou_pred = [], [], []
        for b, target in enumerate(targets):
            rows, cols = match(mask_logits_BQHW[b], class_logits_BQK[b], target)
            wanted_BQ[b, rows] = target.classes_G[cols]
            predicted.append(mask_logits_BQHW[b, rows])
            true.append(target.masks_GHW[cols])
            iou_pred.append(iou_logits_BQ[b, rows])
        logits_NHW, masks_NHW = torch.cat(predicted), torch.cat(true)
        class_losses.append(F.cross_entropy(class_logits_BQK.flatten(0, 1), wanted_BQ.flatten(), class_weight))
        bce, dice = mask_losses(logits_NHW, masks_NHW)
        bces.append(bce.mean())
        dices.append(dice.mean())
        with torch.no_grad():
            inside = logits_NHW > 0
            both = (inside & (masks_NHW > 0)).flatten(1).sum(1)
            either = (inside | (masks_NHW > 0)).flatten(1).sum(1)
        ious.append(F.binary_cross_entropy_with_logits(torch.cat(iou_pred), both / either.clamp(min=1)))
    losses = {
        name: torch.stack(values).mean()
        for name, values in (("class", class_losses), ("mask", bces), ("dice", dices), ("iou", ious))
    }
    losses["total"] = (
        CLASS_WEIGHT * losses["class"] + MASK_WEIGHT * losses["mask"] + DICE_WEIGHT * losses["dice"] + losses["iou"]
    )
    return losses


def prompt_loss(
    decoder: MaskDecoder,
    queries_BPC: Tensor,
    inputs: DecoderInputs,
    masks_BPHW: Tensor,
    classes_BP: Tensor,
    class_weights_K: Tensor,
) -> dict[str, Tensor]:
    """Class, mask and dice losses of prompted points: each is to know the part that it is on.

    As OMG-Seg learns its interactive prompts; without it, a keypoint's feature would learn what it is about from a
    word or two of a caption alone. class_weights_K: from `class_weights`.

    Returns:
        Losses by name, unweighted means; `total` is their weighted sum. `right` is the share of right classes.
    """
    mask_logits_BPHW = decoder.mask_logits(queries_BPC, inputs)
    class_logits_BPK = decoder.class_logits(queries_BPC, mask_logits_BPHW, inputs)
    # No point is on the background, which needs no weight.
    class_weight = F.pad(class_weights_K, (0, 1))
    class_loss = F.cross_entropy(class_logits_BPK.flatten(0, 1), classes_BP.flatten(), class_weight)
    bce, dice = (one.mean() for one in mask_losses(mask_logits_BPHW.flatten(0, 1), masks_BPHW.flatten(0, 1)))
    return {
        "class": class_loss,
        "mask": bce,
        "dice": dice,
        "right": (class_logits_BPK.argmax(-1) == classes_BP).float().mean(),
        "total": CLASS_WEIGHT * class_loss + MASK_WEIGHT * bce + DICE_WEIGHT * dice,
    }
