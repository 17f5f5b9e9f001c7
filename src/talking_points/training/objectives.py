"""What the roles minimise: functions of a base and a batch that return the loss and its parts."""

# B photos, P points or texts a photo, N texts, S tokens of a prompt and its answer, D width

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from talking_points.bases.base import Base
from talking_points.model.localizer_head import LocatedPoints
from talking_points.training.batches import PointBatch
from talking_points.training.features import FrozenVision
from talking_points.training.loop import Metrics

REGRESSION_WEIGHT = 5.0
"""Of the squared errors beside the heatmap's cross-entropy, which are a hundred times smaller. Ours."""
ABSENCE_WEIGHT = 0.5
"""Of the cross-entropy of whether a text's thing is there. Ours."""
HEATMAP_SIGMA = 0.03
"""Width of the heatmap's target around the point, in the square's unit. Ours."""


def descriptor_objective(base: Base, batch: PointBatch, vision: FrozenVision) -> tuple[Tensor, Metrics]:
    """Language modelling of the description's tokens (paper 3.2); the vision encoder is frozen.

    vision: where features come from.
    """
    question = base.prompts.describe()
    prompts = [question + base.prompts.answer(text) for row in batch.texts for text in row]
    features, points_BPF = vision.photos_and_points(batch)
    _, prefix = base.read_prefix(*base.embed_prefix(features, "descriptor"))
    hidden_NSD = base.read(prefix, _photo_of_text(batch, base), base.embed(prompts, points_BPF.flatten(0, 1)))
    # Each of an answer's tokens is predicted from the state before it.
    places = [(n, place) for n, prompt in enumerate(prompts) for place in range(len(question), len(prompt))]
    states_MD = hidden_NSD[[n for n, _ in places], [place - 1 for _, place in places]]
    wanted_M = torch.tensor([prompts[n][place] for n, place in places], device=states_MD.device)
    # cross_entropy, not log_softmax()[ids]: same numbers without a second (tokens, vocabulary) tensor.
    loss = F.cross_entropy(base.logits(states_MD), wanted_M)
    return loss, {"loss": loss.item(), "weight": float(len(places))}


def localizer_objective(base: Base, batch: PointBatch, vision: FrozenVision) -> tuple[Tensor, Metrics]:
    """The loss of the localizer's head: `localizer_loss`. vision: as `descriptor_objective` takes it.

    A head that says whether a thing is there also reads, for each photo, its absent text.
    """
    features = vision.photos(batch)
    B, P = len(batch.texts), len(batch.texts[0])
    asked = batch.texts
    if base.tells_absence and batch.absent_texts:
        asked = [[*own, other] for own, other in zip(batch.texts, batch.absent_texts, strict=True)]
    prompts = [base.prompts.localize(text) for row in asked for text in row]
    photo_P = torch.arange(B, device=base.device).repeat_interleave(len(asked[0]))
    _, prefix = base.read_prefix(*base.embed_prefix(features, "localizer"))
    located = base.locate(features, prefix, photo_P, prompts)
    fits = torch.tensor([k < P for row in asked for k in range(len(row))], device=base.device)
    own = located.only(fits)
    true_N2 = batch.points_BP2.flatten(0, 1).to(base.device)
    loss, metrics = localizer_loss(own, true_N2)
    if located.there_P is not None and not fits.all():
        absence = F.binary_cross_entropy_with_logits(located.there_P, fits.float())
        loss, metrics = loss + ABSENCE_WEIGHT * absence, {**metrics, "absence": absence.item()}
    with torch.no_grad():
        near = (own.points_P2 - true_N2).norm(dim=-1)
        near_regressed = (own.regressed_P2 - true_N2).norm(dim=-1)
    return loss, {
        "loss": loss.item(),
        "weight": float(len(true_N2)),
        **metrics,
        "within_0.1": float((near < 0.1).float().mean()),
        "regressed_within_0.1": float((near_regressed < 0.1).float().mean()),
    }


def localizer_loss(located: LocatedPoints, true_N2: Tensor) -> tuple[Tensor, Metrics]:
    """Of the paper's head the mean squared error of the coordinates alone (eq. 1): over points, and over x and y.

    Heads that give a heatmap (ours) learn by it, beside the coordinates, which are weighted up; a pointer also by the
    offset in the true cell.

    Args:
        located: what the head answered.
        true_N2: x, y in [0, 1]^2 of the square.
    """
    mse = F.mse_loss(located.regressed_P2, true_N2)
    if located.heatmap_logits_Phw is None:
        return mse, {"mse": mse.item()}
    heat = heatmap_loss(located.heatmap_logits_Phw, true_N2)
    loss, metrics = REGRESSION_WEIGHT * mse + heat, {"mse": mse.item(), "heatmap": heat.item()}
    if located.offsets_Phw2 is not None:
        height, width = located.offsets_Phw2.shape[1:3]
        places_N2 = true_N2 * true_N2.new_tensor([width, height])
        cells_N2 = places_N2.long().clamp(min=0).minimum(true_N2.new_tensor([width - 1, height - 1]).long())
        offsets_N2 = located.offsets_Phw2[torch.arange(len(cells_N2)), cells_N2[:, 1], cells_N2[:, 0]]
        offset = F.smooth_l1_loss(offsets_N2, places_N2 - cells_N2 - 0.5)
        loss, metrics = loss + offset, {**metrics, "offset": offset.item()}
    return loss, metrics


def heatmap_loss(logits_Nhw: Tensor, points_N2: Tensor) -> Tensor:
    """Cross-entropy against a narrow Gaussian around the point. points_N2: [0, 1]^2 of the square."""
    height, width = logits_Nhw.shape[-2:]
    device = logits_Nhw.device
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    dx2 = (x - points_N2[:, :1]) ** 2
    dy2 = (y - points_N2[:, 1:]) ** 2
    target_NC = (-(dy2[:, :, None] + dx2[:, None]).flatten(1) / (2 * HEATMAP_SIGMA**2)).softmax(-1)
    return -(target_NC * logits_Nhw.flatten(1).log_softmax(-1)).sum(-1).mean()


def _photo_of_text(batch: PointBatch, base: Base) -> Tensor:
    """(N,) index of each text's photo."""
    return torch.arange(len(batch.texts), device=base.device).repeat_interleave(len(batch.texts[0]))
