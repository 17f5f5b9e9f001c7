"""What each training minimises: functions of a network and a batch that return the loss and its parts."""

# B photos, P points or texts a photo, S suffix tokens, L packed tokens, D language model width, V vocabulary

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.generation import SharedPrefix, read_prefixes, read_suffixes
from talking_points.model.language import embed_suffixes
from talking_points.model.localizer_head import NUM_PLACES, LocatedPoints, likeliest_points
from talking_points.model.network import PointNetwork
from talking_points.model.prompts import Prompts
from talking_points.model.segmenter import ImageFeatures, keypoint_numbers
from talking_points.training.base_batches import BaseBatch, LanguageBatch, PointFactNumbers, VisionBatch
from talking_points.training.batches import PointBatch
from talking_points.training.features import FrozenVision
from talking_points.training.segmentation import mask_losses, prompt_loss, segmentation_loss
from talking_points.training.trunk import PLACE_WEIGHT, dense_losses, part_accuracy

Metrics = dict[str, float]

DENSE_WEIGHT = 3.0
"""Of class and place of every cell, read from the mask feature. Ours."""
POINTING_WEIGHT = 5.0
"""Of the masks that phrases point at. Source: Mask2Former's mask and dice weights."""
REGRESSION_WEIGHT = 5.0
"""Of the squared errors beside the heatmap's cross-entropy, which are a hundred times smaller. Ours."""
READ_PLACE_WEIGHT = 4.0
"""Of the places that keypoints' queries hold: what a descriptor writes."""
TEXT_PLACE_WEIGHT = 1.0
"""Of the places that texts ask for: what a localizer reads."""
MASKED_SHARE = 0.25
"""Of the points, those that look through predicted masks."""
NUM_FACT_PLACES = NUM_PLACES + 2
"""x, y in the part, in the object, and in the square."""
HEATMAP_SIGMA = 0.03
"""Width of the heatmap's target around the point, in the square's unit. Ours."""


class Probes(nn.Module):
    """Linear readings of the base's features that its training asks for. The vision stage hands them on to the base's;
    no checkpoint has them."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.cell_classes = nn.Conv2d(width, num_classes + 1, kernel_size=1)
        """Class of each cell's part from the mask feature, background first."""
        self.point_places = nn.Linear(2 * width, NUM_PLACES)
        """Place of a keypoint in its part and object from its query."""


class FactTokens(nn.Module):
    """Tokens that stand for keypoints' in texts without photos: what masks know of a point, as one embedding.

    The language model learns to put them in words where that is cheap; the base then learns to make its keypoints'
    tokens like them (ours).
    """

    def __init__(self, num_classes: int, llm_width: int) -> None:
        super().__init__()
        self.part = nn.Embedding(num_classes, llm_width)
        self.object = nn.Embedding(num_classes, llm_width)
        self.places = nn.Sequential(nn.Linear(NUM_FACT_PLACES, llm_width), nn.GELU(), nn.Linear(llm_width, llm_width))

    def forward(self, facts: PointFactNumbers) -> Tensor:
        """(P, D) tokens."""
        classes_PD = self.part(facts.part_classes_P) + self.object(facts.object_classes_P)
        return classes_PD + self.places(facts.places_P6 - 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a vision loss looked at, for what is asked of it further on."""

    features: ImageFeatures
    places_B4HW: Tensor
    """Of the cells."""
    numbers_BPF: Tensor
    """The points' queries."""


def vision_losses(
    network: PointNetwork, probes: Probes, class_weights_K: Tensor, batch: VisionBatch
) -> tuple[Tensor, Metrics, Seen]:
    """Masks with class words, class and place of every cell, and points that know their part and their place in it.

    class_weights_K: from `training.segmentation.class_weights`.
    """
    features, decoded = network.segmenter.encode(batch.pixels_B3SS)
    inputs = features.decoder_inputs
    segmentation = segmentation_loss(network.segmenter.mask_decoder, decoded, inputs, batch.targets, class_weights_K)
    assert network.heatmap is not None
    class_logits = probes.cell_classes(inputs.mask_feature_BCHW)
    places_B4HW = network.heatmap.cell_places(inputs.mask_feature_BCHW)
    dense_class, dense_place = dense_losses(class_logits, places_B4HW, batch.dense, class_weights_K)
    # Some points look through OMG-LLaVA's own predicted masks, all others through the paper's Gaussian: the encoder,
    # frozen after the base, serves both (ours: OMG-LLaVA trained only the former).
    through_masks = int(MASKED_SHARE * batch.points_BP2.shape[1])
    prompted = [
        network.segmenter.decode_points(features, points_BP2, region=region)
        for points_BP2, region in (
            (batch.points_BP2[:, :through_masks], "predicted-mask"),
            (batch.points_BP2[:, through_masks:], "gaussian"),
        )
        if points_BP2.shape[1]
    ]
    numbers_BPF = torch.cat([keypoint_numbers(one) for one in prompted], dim=1)
    point_place = (probes.point_places(numbers_BPF) - batch.point_places_BP4).abs().mean()
    prompt = prompt_loss(
        network.segmenter.mask_decoder,
        torch.cat([one.queries[-1] for one in prompted], dim=1),
        inputs,
        batch.point_masks_BPHW,
        batch.point_classes_BP,
        class_weights_K,
    )
    dense = dense_class + PLACE_WEIGHT * dense_place
    loss = segmentation["total"] + prompt["total"] + DENSE_WEIGHT * dense + READ_PLACE_WEIGHT * point_place
    metrics = {
        **{f"segment_{name}": value.item() for name, value in segmentation.items() if name != "total"},
        **{f"prompt_{name}": value.item() for name, value in prompt.items() if name != "total"},
        "dense_place": dense_place.item(),
        "part_accuracy": part_accuracy(class_logits, batch.dense),
        "point_place": point_place.item(),
    }
    return loss, metrics, Seen(features=features, places_B4HW=places_B4HW, numbers_BPF=numbers_BPF)


def vision_objective(
    network: PointNetwork, probes: Probes, class_weights_K: Tensor, batch: VisionBatch
) -> tuple[Tensor, Metrics]:
    """`vision_losses` alone: by itself the encoder sees several times as many scenes a second."""
    loss, metrics, _ = vision_losses(network, probes, class_weights_K, batch)
    return loss, {"loss": loss.item(), **metrics}


def base_objective(
    network: PointNetwork,
    probes: Probes,
    tokens: FactTokens,
    place_reader: nn.Linear,
    class_weights_K: Tensor,
    batch: BaseBatch,
) -> tuple[Tensor, Metrics]:
    """What OMG-LLaVA's base knows: masks and class words, captions of marked regions, phrases that point at regions.
    And, since mini's base has no other place to learn language, texts about points, written and found (ours).

    Args:
        network: without adapters, everything trains.
        probes: as the vision stage left them.
        tokens: what the language model learned to put in words, frozen.
        place_reader: from a token to the places of `PointFactNumbers`. It reads both kinds of tokens, so that those of
            keypoints hold places where the language model looks for them: classes make up nearly all of a token's
            variance, and likeness alone would leave places out.
        class_weights_K: from `training.segmentation.class_weights`.
        batch: from `BaseBatches`.
    """
    seeing, seen_metrics, seen = vision_losses(network, probes, class_weights_K, batch.vision)
    assert network.heatmap is not None
    features, inputs = seen.features, seen.features.decoder_inputs
    B, P, T = len(batch.read), len(batch.captions[0]), len(batch.read[0])
    marks_BPD = network.projector.project_queries(seen.numbers_BPF)
    regions_BPD, points_BPD = marks_BPD[:, :P], marks_BPD[:, P:]
    prompts = network.prompts
    prefix = read_prefixes(network.llama, network.photo_prefixes(features, network.projector))
    captions, about_captions = _answers(prompts, prompts.caption(), batch.captions)
    texts, about_texts = _answers(prompts, prompts.describe(), batch.written)
    phrases = [[prompts.localize(text) for text in row] for row in batch.phrases]
    places_asked = [[prompts.localize(text) for text in row] for row in batch.read]
    # Each kind by itself, so that little is padding.
    caption = answer_loss(network, read_behind(network, prefix, captions, regions_BPD), captions, about_captions)
    text = answer_loss(network, read_behind(network, prefix, texts, points_BPD), texts, about_texts)
    seg_BPD = torch.cat(
        [
            hidden_at_seg(network, read_behind(network, prefix, phrases, None), phrases),
            hidden_at_seg(network, read_behind(network, prefix, places_asked, None), places_asked),
        ],
        dim=1,
    )
    text_BPF = network.text_to_vision(seg_BPD.float())
    wanted_BP6, sureness_BP6 = network.heatmap.wanted_places(text_BPF[:, P:])
    true_BP6 = batch.point_facts.places_P6.unflatten(0, (B, T))
    text_place = place_loss(wanted_BP6, sureness_BP6, true_BP6)
    nearness_BPHW = network.heatmap.nearness(seen.places_B4HW, wanted_BP6, sureness_BP6)
    query_BPC, pos_BPC = text_BPF.chunk(2, dim=-1)
    pointed = network.segmenter.mask_decoder.decode(query_BPC, pos_BPC, inputs, independent=True)
    layers = pointed.mask_logits[1:]
    bce, dice = mask_losses(
        torch.cat([m[:, :P].flatten(0, 1) for m in layers]),
        batch.phrase_masks_BPHW.flatten(0, 1).repeat(len(layers), 1, 1),
    )
    true_P2 = true_BP6[..., NUM_PLACES:].flatten(0, 1)
    heats = [(m[:, P:] * network.heatmap.scale + nearness_BPHW).flatten(0, 1) for m in layers]
    heat = torch.stack([heatmap_loss(one, true_P2) for one in heats]).mean()
    with torch.no_grad():
        inside, true = layers[-1][:, :P] > 0, batch.phrase_masks_BPHW > 0
        overlap = (inside & true).flatten(2).sum(-1) / (inside | true).flatten(2).sum(-1).clamp(min=1)
        near = (likeliest_points(heats[-1]) - true_P2).norm(dim=-1) < 0.1

    pointing = POINTING_WEIGHT * (bce.mean() + dice.mean())
    with torch.no_grad():
        known_BTD = tokens(batch.point_facts).unflatten(0, (B, T))
    token = F.mse_loss(points_BPD, known_BTD) / known_BTD.flatten(0, 1).var(0).mean()
    token_place = (place_reader(points_BPD) - true_BP6).abs().mean()
    known_place = (place_reader(known_BTD) - true_BP6).abs().mean()
    loss = seeing + caption + text + pointing + heat + TEXT_PLACE_WEIGHT * text_place
    loss = loss + token + READ_PLACE_WEIGHT * (token_place + known_place)
    return loss, {
        "loss": loss.item(),
        **seen_metrics,
        "caption": caption.item(),
        "text": text.item(),
        "pointing_mask": bce.mean().item(),
        "pointing_dice": dice.mean().item(),
        "pointing_iou": float(overlap.mean()),
        "heatmap": heat.item(),
        "text_place": (wanted_BP6 - true_BP6).abs().mean().item(),
        "within_0.1": float(near.float().mean()),
        "token": token.item(),
        "token_place": token_place.item(),
    }


def place_loss(wanted_BP6: Tensor, sureness_BP6: Tensor, true_BP6: Tensor) -> Tensor:
    """Mean negative log-likelihood of places under the Gaussians that `Heatmap.nearness` weighs cells by."""
    return 0.5 * (sureness_BP6 * (wanted_BP6 - true_BP6) ** 2 - sureness_BP6.log()).mean()


def language_objective(network: PointNetwork, tokens: FactTokens, batch: LanguageBatch) -> tuple[Tensor, Metrics]:
    """Where texts say that a point is, read without a photo; and texts, written from what masks know of a point.

    Behind photos the base sees too few texts to learn either; by themselves they are cheap.
    """
    assert network.heatmap is not None
    prompts = network.prompts
    prefix = read_prefixes(network.llama, [network.embedding(torch.tensor(prompts.prefix(), device=network.device))])
    asked = [[prompts.localize(text) for text in batch.read]]
    seg_BPD = hidden_at_seg(network, read_behind(network, prefix, asked, None), asked)
    wanted_BP6, sureness_BP6 = network.heatmap.wanted_places(network.text_to_vision(seg_BPD.float()))
    true_BP6 = batch.facts.places_P6[None]
    place = place_loss(wanted_BP6, sureness_BP6, true_BP6)
    texts, about_texts = _answers(prompts, prompts.describe(), [batch.written])
    marks_BPD = tokens(batch.facts)[None, batch.written_about]
    text = answer_loss(network, read_behind(network, prefix, texts, marks_BPD), texts, about_texts)
    loss = text + TEXT_PLACE_WEIGHT * place
    wrong_6 = (wanted_BP6 - true_BP6).abs().mean((0, 1)).detach()
    return loss, {
        "loss": loss.item(),
        "text": text.item(),
        "place": place.item(),
        "in_part": wrong_6[:2].mean().item(),
        "in_object": wrong_6[2:4].mean().item(),
        "in_square": wrong_6[4:].mean().item(),
    }


def descriptor_objective(
    network: PointNetwork, batch: PointBatch, vision: FrozenVision | None = None
) -> tuple[Tensor, Metrics]:
    """Language modelling of the description's tokens (paper 3.2); the vision encoder is frozen.

    Args:
        vision: where features come from; None: computed here.
    """
    vision = vision or FrozenVision(network, None, maps=False)
    features = vision.photos(batch)
    with torch.no_grad():
        marks_BPD = network.projector.project_queries(vision.points(batch, features))
    prefix = read_prefixes(network.llama, network.photo_prefixes(features, network.projector))
    suffixes, question_lengths = _answers(network.prompts, network.prompts.describe(), batch.texts)
    hidden_BPSD = read_behind(network, prefix, suffixes, marks_BPD)
    loss = answer_loss(network, hidden_BPSD, suffixes, question_lengths)
    question = len(network.prompts.describe())
    return loss, {"loss": loss.item(), "weight": float(sum(len(s) - question for row in suffixes for s in row))}


def localizer_objective(
    network: PointNetwork, batch: PointBatch, vision: FrozenVision | None = None, *, blind: bool = False
) -> tuple[Tensor, Metrics]:
    """The loss of the localizer's head: `localizer_loss`.

    Args:
        vision: as `descriptor_objective` takes it.
        blind: blank the image tokens and the heatmap's cells: the text-only reference.
    """
    assert network.localizer is not None
    if blind:
        with torch.no_grad():
            # All blank photos are the same one.
            one = network.segmenter(batch.pixels_B3SS[:1].to(network.device)).blank()
            features = one.select(torch.zeros(len(batch.pixels_B3SS), dtype=torch.long, device=network.device))
    else:
        features = (vision or FrozenVision(network, None, maps=True)).photos(batch)
    suffixes = [[network.prompts.localize(text) for text in row] for row in batch.texts]
    prefix = read_prefixes(network.llama, network.photo_prefixes(features, network.localizer.projector))
    hidden_BPSD = read_behind(network, prefix, suffixes, None)
    seg_BPD = hidden_at_seg(network, hidden_BPSD, suffixes)
    B, P, _ = seg_BPD.shape
    photo_of_text = torch.arange(B, device=seg_BPD.device).repeat_interleave(P)
    decoder, inputs = network.segmenter.mask_decoder, features.decoder_inputs
    # Coordinates are computed in fp32, whatever the language model's type.
    with torch.autocast(network.device.type, enabled=False):
        located = network.localizer(seg_BPD.flatten(0, 1), decoder, inputs, photo_of_text)
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


def _joined(one: list[list[list[int]]], other: list[list[list[int]]]) -> list[list[list[int]]]:
    """The suffixes of both, photo by photo."""
    return [a + b for a, b in zip(one, other, strict=True)]


def read_behind(
    network: PointNetwork,
    prefix: SharedPrefix,
    suffixes: Sequence[Sequence[Sequence[int]]],
    marks_BPD: Tensor | None,
) -> Tensor:
    """(B, P, S, D) last hidden states of P suffixes behind each photo's prefix, which is read once for all.

    marks_BPD: tokens put at each suffix's <mark>; unused where a suffix holds none.
    """
    B, P = len(suffixes), len(suffixes[0])
    flat = [s for row in suffixes for s in row]
    marks_PD = None if marks_BPD is None else marks_BPD.flatten(0, 1)
    embeds_PSD = embed_suffixes(flat, network.embedding, network.prompts.mark_id, marks_PD)
    photo_of_prompt_P = torch.arange(B, device=embeds_PSD.device).repeat_interleave(P)
    return read_suffixes(network.llama, prefix, photo_of_prompt_P, embeds_PSD).unflatten(0, (B, P))


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
