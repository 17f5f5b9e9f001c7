"""What each training minimises: functions of a network and a batch that return the loss and its parts."""

# B photos, P points or texts a photo, S suffix tokens, L packed tokens, D language model width, V vocabulary

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.language import embed_suffixes
from talking_points.model.localizer_head import mean_points
from talking_points.model.network import PointNetwork
from talking_points.model.projector import Projector
from talking_points.model.segmenter import ImageFeatures
from talking_points.model.sequence import pack
from talking_points.training.batches import BaseBatch, PointBatch
from talking_points.training.segmentation import mask_losses, segmentation_loss

Metrics = dict[str, float]

SEMANTIC_WEIGHT = 10.0
SEMANTIC_BACKGROUND_WEIGHT = 0.3
"""Of the dense class loss that helps the trunk from scratch. Ours."""
HEATMAP_SIGMA = 0.03
"""Width of the heatmap's target around the point, in the square's unit. Ours."""


def base_objective(network: PointNetwork, semantic_head: nn.Module, batch: BaseBatch) -> tuple[Tensor, Metrics]:
    """Masks and class words, captions of marked regions, phrases that point at regions: what OMG-LLaVA's base knows.

    Args:
        network: without adapters, everything trains.
        semantic_head: 1x1 convolution from the mask feature to classes; helps the trunk, is thrown away.
        batch: from `BaseBatches`.
    """
    features, decoded = network.segmenter.encode(batch.pixels_B3SS)
    inputs = features.decoder_inputs
    segmentation = segmentation_loss(network.segmenter.mask_decoder, decoded, inputs, batch.targets)
    semantic_logits_BKHW = semantic_head(inputs.mask_feature_BCHW)
    # Most cells are background; unweighted, saying so everywhere is a good answer for a long time.
    class_weight = torch.ones(semantic_logits_BKHW.shape[1], device=semantic_logits_BKHW.device)
    class_weight[0] = SEMANTIC_BACKGROUND_WEIGHT
    semantic = F.cross_entropy(semantic_logits_BKHW, batch.part_classes_BHW.long() + 1, class_weight)

    # Half of the points look through the paper's Gaussian, half through OMG-LLaVA's own predicted masks, so that
    # the frozen encoder serves both (ours: OMG-LLaVA trained only the latter).
    half = batch.points_BP2.shape[1] // 2
    marks_BPD = torch.cat(
        [
            network.mark_tokens(features, batch.points_BP2[:, :half], region="gaussian"),
            network.mark_tokens(features, batch.points_BP2[:, half:], region="predicted-mask"),
        ],
        dim=1,
    )
    prompts = network.prompts
    questions = [[prompts.caption() + prompts.answer(text) for text in row] for row in batch.captions]
    pointing = [[prompts.localize(text) for text in row] for row in batch.phrases]
    P = len(questions[0])
    hidden_BPSD = read_packed(
        network,
        features,
        network.projector,
        [q + p for q, p in zip(questions, pointing, strict=True)],
        torch.cat([marks_BPD, marks_BPD.new_zeros(marks_BPD.shape[0], len(pointing[0]), marks_BPD.shape[2])], dim=1),
    )
    caption = answer_loss(network, hidden_BPSD[:, :P], questions, [[len(prompts.caption())] * P] * len(questions))

    seg_BPD = hidden_at_seg(network, hidden_BPSD[:, P:], pointing)
    query_BPC, pos_BPC = network.text_to_vision(seg_BPD.float()).chunk(2, dim=-1)
    pointed = network.segmenter.mask_decoder.decode(query_BPC, pos_BPC, inputs, independent=True)
    bce, dice = mask_losses(
        torch.cat([m.flatten(0, 1) for m in pointed.mask_logits[1:]]),
        batch.phrase_masks_BPHW.flatten(0, 1).repeat(len(pointed.mask_logits) - 1, 1, 1),
    )
    with torch.no_grad():
        inside, true = pointed.mask_logits[-1] > 0, batch.phrase_masks_BPHW > 0
        overlap = (inside & true).flatten(2).sum(-1) / (inside | true).flatten(2).sum(-1).clamp(min=1)

    loss = segmentation["total"] + SEMANTIC_WEIGHT * semantic + caption + 6 * bce.mean() + 6 * dice.mean()
    return loss, {
        "loss": loss.item(),
        **{f"segment_{name}": value.item() for name, value in segmentation.items() if name != "total"},
        "semantic": semantic.item(),
        "caption": caption.item(),
        "pointing_mask": bce.mean().item(),
        "pointing_dice": dice.mean().item(),
        "pointing_iou": float(overlap.mean()),
    }


def descriptor_objective(network: PointNetwork, batch: PointBatch) -> tuple[Tensor, Metrics]:
    """Language modelling of the description's tokens (paper 3.2); the vision encoder is frozen."""
    with torch.no_grad():
        features = network.segmenter(batch.pixels_B3SS)
        marks_BPD = network.mark_tokens(features, batch.points_BP2)
    prompts = network.prompts
    question = prompts.describe()
    suffixes = [[question + prompts.answer(text) for text in row] for row in batch.texts]
    hidden_BPSD = read_packed(network, features, network.projector, suffixes, marks_BPD)
    loss = answer_loss(network, hidden_BPSD, suffixes, [[len(question)] * len(row) for row in suffixes])
    return loss, {"loss": loss.item()}


def localizer_objective(network: PointNetwork, batch: PointBatch, *, blind: bool = False) -> tuple[Tensor, Metrics]:
    """Mean squared error of the square's coordinates (paper eq. 1), beside a heatmap loss where there is a heatmap.

    Args:
        blind: blank the image tokens and the heatmap's cells: the text-only reference.
    """
    assert network.localizer is not None
    with torch.no_grad():
        if blind:
            # All blank photos are the same one.
            one = network.segmenter(batch.pixels_B3SS[:1]).blank()
            features = one.select(torch.zeros(len(batch.pixels_B3SS), dtype=torch.long, device=network.device))
        else:
            features = network.segmenter(batch.pixels_B3SS)
    suffixes = [[network.prompts.localize(text) for text in row] for row in batch.texts]
    hidden_BPSD = read_packed(network, features, network.localizer.projector, suffixes, None)
    seg_BPD = hidden_at_seg(network, hidden_BPSD, suffixes)
    B, P, _ = seg_BPD.shape
    photo_of_text = torch.arange(B, device=seg_BPD.device).repeat_interleave(P)
    decoder, inputs = network.segmenter.mask_decoder, features.decoder_inputs
    located = network.localizer(seg_BPD.flatten(0, 1), decoder, inputs, photo_of_text)
    true_P2 = batch.points_BP2.flatten(0, 1)
    mse = F.mse_loss(located.regressed_P2, true_P2)
    loss = mse
    metrics = {"mse": mse.item()}
    if located.heatmap_logits_Phw is not None:
        heat = heatmap_loss(located.heatmap_logits_Phw, true_P2)
        soft = F.mse_loss(mean_points(located.heatmap_logits_Phw), true_P2)
        # Ours: the cross-entropy is scaled to the size of the squared errors.
        loss = mse + soft + 0.02 * heat
        metrics |= {"heatmap": heat.item(), "heatmap_mse": soft.item()}
    with torch.no_grad():
        near = (located.points_P2 - true_P2).norm(dim=-1)
        near_regressed = (located.regressed_P2 - true_P2).norm(dim=-1)
    return loss, {
        "loss": loss.item(),
        **metrics,
        "within_0.1": float((near < 0.1).float().mean()),
        "regressed_within_0.1": float((near_regressed < 0.1).float().mean()),
    }


def read_packed(
    network: PointNetwork,
    features: ImageFeatures,
    projector: Projector,
    suffixes: Sequence[Sequence[Sequence[int]]],
    marks_BPD: Tensor | None,
) -> Tensor:
    """(B, P, S, D) last hidden states of P suffixes behind each photo's prefix, one sequence a photo.

    marks_BPD: tokens put at each suffix's <mark>; unused where a suffix holds none.
    """
    B, P = len(suffixes), len(suffixes[0])
    flat = [s for row in suffixes for s in row]
    marks_PD = None if marks_BPD is None else marks_BPD.flatten(0, 1)
    embeds_PSD, lengths_P = embed_suffixes(flat, network.embedding, network.prompts.mark_id, marks_PD)
    packed = pack(
        network.photo_prefixes(features, projector),
        embeds_PSD.unflatten(0, (B, P)),
        lengths_P.unflatten(0, (B, P)),
    )
    hidden = network.llama.model(
        inputs_embeds=packed.embeds_BLD,
        attention_mask=packed.mask_B1LL,
        position_ids=packed.positions_BL,
        use_cache=False,
    ).last_hidden_state
    return hidden[:, packed.prefix_length :].unflatten(1, (P, -1))


def answer_loss(
    network: PointNetwork,
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
    return F.cross_entropy(network.llama.lm_head(states_ND), torch.tensor(wanted, device=states_ND.device))


def hidden_at_seg(network: PointNetwork, hidden_BPSD: Tensor, suffixes: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """(B, P, D) states at each suffix's [SEG]."""
    index_BP = torch.stack([network.seg_positions(row) for row in suffixes])
    gather = index_BP[..., None, None].expand(-1, -1, 1, hidden_BPSD.shape[-1])
    return hidden_BPSD.gather(2, gather).squeeze(2)


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
