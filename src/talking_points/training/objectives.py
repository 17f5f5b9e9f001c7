"""What the roles minimise: functions of a network and a batch that return the loss and its parts."""

# B photos, P points or texts a photo, S suffix tokens, L packed tokens, D language model width, V vocabulary

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from talking_points.bases.base import Base
from talking_points.model.localizer_head import LocatedPoints
from talking_points.model.prompts import Prompts
from talking_points.model.shared_prefix import SharedPrefix
from talking_points.training.batches import PointBatch
from talking_points.training.features import FrozenVision

Metrics = dict[str, float]

REGRESSION_WEIGHT = 5.0
"""Of the squared errors beside the heatmap's cross-entropy, which are a hundred times smaller. Ours."""
HEATMAP_SIGMA = 0.03
"""Width of the heatmap's target around the point, in the square's unit. Ours."""


def descriptor_objective(
    network: Base, batch: PointBatch, vision: FrozenVision | None = None
) -> tuple[Tensor, Metrics]:
    """Language modelling of the description's tokens (paper 3.2); the vision encoder is frozen.

    Args:
        vision: where features come from; None: computed here.
    """
    vision = vision or FrozenVision(network, None, maps=False)
    features = vision.photos(batch)
    _, prefix = network.read_prefix(*network.embed_prefix(features, "descriptor"))
    suffixes, question_lengths = _answers(network.prompts, network.prompts.describe(), batch.texts)
    hidden_BPSD = read_behind(network, prefix, suffixes, vision.points(batch, features))
    loss = answer_loss(network, hidden_BPSD, suffixes, question_lengths)
    question = len(network.prompts.describe())
    return loss, {"loss": loss.item(), "weight": float(sum(len(s) - question for row in suffixes for s in row))}


def localizer_objective(
    network: Base, batch: PointBatch, vision: FrozenVision | None = None, *, blind: bool = False
) -> tuple[Tensor, Metrics]:
    """The loss of the localizer's head: `localizer_loss`.

    Args:
        vision: as `descriptor_objective` takes it.
        blind: blank the image tokens and the heatmap's cells: the text-only reference.
    """
    if blind:
        with torch.no_grad():
            # All blank photos are the same one.
            one = network.encode_photos(batch.pixels_B3SS[:1].to(network.device)).blank()
            features = one.select(torch.zeros(len(batch.pixels_B3SS), dtype=torch.long, device=network.device))
    else:
        features = (vision or FrozenVision(network, None, maps=True)).photos(batch)
    suffixes = [[network.prompts.localize(text) for text in row] for row in batch.texts]
    _, prefix = network.read_prefix(*network.embed_prefix(features, "localizer"))
    B, P = len(suffixes), len(suffixes[0])
    photo_of_text = torch.arange(B, device=network.device).repeat_interleave(P)
    located = network.locate(features, prefix, photo_of_text, [prompt for row in suffixes for prompt in row])
    true_P2 = batch.points_BP2.flatten(0, 1).to(network.device)
    loss, metrics = localizer_loss(located, true_P2)
    with torch.no_grad():
        near = (located.points_P2 - true_P2).norm(dim=-1)
        near_regressed = (located.regressed_P2 - true_P2).norm(dim=-1)
    return loss, {
        "loss": loss.item(),
        "weight": float(B * P),
        **metrics,
        "within_0.1": float((near < 0.1).float().mean()),
        "regressed_within_0.1": float((near_regressed < 0.1).float().mean()),
    }


def localizer_loss(located: LocatedPoints, true_P2: Tensor) -> tuple[Tensor, Metrics]:
    """Of the paper's head the mean squared error of the coordinates alone (eq. 1): over points, and over x and y.

    Heads that give a heatmap (ours) learn by it, beside the coordinates, which are weighted up.

    Args:
        located: what the head answered.
        true_P2: x, y in [0, 1]^2 of the square.
    """
    mse = F.mse_loss(located.regressed_P2, true_P2)
    if located.heatmap_logits_Phw is None:
        return mse, {"mse": mse.item()}
    heat = heatmap_loss(located.heatmap_logits_Phw, true_P2)
    return REGRESSION_WEIGHT * mse + heat, {"mse": mse.item(), "heatmap": heat.item()}


def _answers(
    prompts: Prompts, question: list[int], texts: Sequence[Sequence[str]]
) -> tuple[list[list[list[int]]], list[list[int]]]:
    """A question with each text as its answer, and the lengths of the questions."""
    return (
        [[question + prompts.answer(text) for text in row] for row in texts],
        [[len(question)] * len(row) for row in texts],
    )


def read_behind(
    network: Base,
    prefix: SharedPrefix,
    suffixes: Sequence[Sequence[Sequence[int]]],
    points_BPF: Tensor | None,
) -> Tensor:
    """(B, P, S, D) last hidden states of P suffixes behind each photo's prefix, which is read once for all.

    points_BPF: numbers of the point at each suffix's marker.
    """
    B, P = len(suffixes), len(suffixes[0])
    flat = [s for row in suffixes for s in row]
    embeds_PSD = network.embed(flat, None if points_BPF is None else points_BPF.flatten(0, 1))
    photo_of_prompt_P = torch.arange(B, device=embeds_PSD.device).repeat_interleave(P)
    return network.read(prefix, photo_of_prompt_P, embeds_PSD).unflatten(0, (B, P))


def answer_loss(
    network: Base,
    hidden_BPSD: Tensor,
    suffixes: Sequence[Sequence[Sequence[int]]],
    question_lengths: Sequence[Sequence[int]],
) -> Tensor:
    """Mean cross-entropy of the answers' tokens, each predicted from the state before it."""
    rows: list[int] = []
    columns: list[int] = []
    wanted: list[int] = []
    flat = [s for row in suffixes for s in row]
    starts = [n for row in question_lengths for n in row]
    for row, (suffix, start) in enumerate(zip(flat, starts, strict=True)):
        rows += [row] * (len(suffix) - start)
        columns += range(start - 1, len(suffix) - 1)
        wanted += suffix[start:]
    states_ND = hidden_BPSD.flatten(0, 1)[rows, columns]
    return F.cross_entropy(network.logits(states_ND), torch.tensor(wanted, device=states_ND.device))


def heatmap_loss(logits_Phw: Tensor, points_P2: Tensor) -> Tensor:
    """Cross-entropy against a narrow Gaussian around the point. points_P2: [0, 1]^2 of the square."""
    height, width = logits_Phw.shape[-2:]
    device = logits_Phw.device
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    dx2 = (x - points_P2[:, :1]) ** 2
    dy2 = (y - points_P2[:, 1:]) ** 2
    target_PN = (-(dy2[:, :, None] + dx2[:, None]).flatten(1) / (2 * HEATMAP_SIGMA**2)).softmax(-1)
    return -(target_PN * logits_Phw.flatten(1).log_softmax(-1)).sum(-1).mean()
