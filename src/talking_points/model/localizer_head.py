"""From what the language model made of a text to a point of the square: the paper's regression, or a head of ours."""

# P texts, S tokens of a text, D language model width, F two query vectors joined

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from talking_points.model.config import VisionConfig
from talking_points.model.heads import HEADS_OF_KIND, HIDDEN, ReadTexts
from talking_points.model.mask_decoder import LEVEL_STRIDES, DecoderInputs
from talking_points.model.projector import Projector
from talking_points.model.segmenter import ImageFeatures


class TextToVision(nn.Sequential):
    """MLP from the language model's width to two query vectors. Source: OMG-LLaVA projector_text2vision."""

    def __init__(self, llm_width: int, query_channels: int) -> None:
        super().__init__(nn.Linear(llm_width, query_channels), nn.GELU(), nn.Linear(query_channels, query_channels))


def read_texts(text_to_vision: nn.Module, hidden_PSD: Tensor, seg_P: Tensor, photo_P: Tensor) -> ReadTexts:
    """What a head is given of P texts.

    Args:
        text_to_vision: a `TextToVision`.
        hidden_PSD: the language model's last hidden states, after its final norm.
        seg_P: place of each text's [SEG].
        photo_P: which photo each text is about, ascending.
    """
    states_PSD = hidden_PSD.float()
    rows = torch.arange(len(seg_P), device=seg_P.device)
    return ReadTexts(
        seg_PF=text_to_vision(states_PSD[rows, seg_P]),
        states_PSD=states_PSD,
        is_read_PS=torch.arange(states_PSD.shape[1], device=seg_P.device) <= seg_P[:, None],
        photo_P=photo_P,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedPoints:
    """Answers of the localizer's head."""

    points_P2: Tensor
    """x, y in [0, 1]^2 of the square: the head that the config names."""
    regressed_P2: Tensor
    """The paper's regression, whichever head answers."""
    heatmap_logits_Phw: Tensor | None = None
    """Over cells that tile the square; None for a regression, as are the next ones."""
    there_P: Tensor | None = None
    """Logit of whether what the text names is in the photo."""
    offsets_Phw2: Tensor | None = None
    """Of a pointer: where in each cell the point would be, x, y in [-0.5, 0.5] of a cell from its centre."""
    temperature: Tensor | None = None
    """What the logits are divided by before they say how sure the head is."""

    def only(self, texts_P: Tensor) -> LocatedPoints:
        """The answers to some of the texts. texts_P: bool."""
        named = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "temperature"}
        some: dict[str, Any] = {name: None if value is None else value[texts_P] for name, value in named.items()}
        return replace(self, **some)


class CoordinateHead(nn.Module):
    """The paper's MLP to (x, y), and beside it the head that the config names."""

    def __init__(self, channels: int, llm_width: int, *, kind: str) -> None:
        """channels: of a query vector."""
        super().__init__()
        # ReLU and a sigmoid at the end are ours; the paper names only the sizes.
        self.mlp = nn.Sequential(nn.Linear(2 * channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2), nn.Sigmoid())
        self.ours = None if kind == "regression" else HEADS_OF_KIND[kind](channels, llm_width)
        # Set by `training.calibration`, after the weights are trained; answers do not depend on it.
        self.temperature: Tensor | None
        self.register_buffer("temperature", None if kind == "regression" else torch.ones(()))

    def forward(self, texts: ReadTexts, inputs: DecoderInputs) -> LocatedPoints:
        """inputs: the photos' features."""
        regressed_P2 = self.mlp(texts.seg_PF)
        if self.ours is None:
            return LocatedPoints(points_P2=regressed_P2, regressed_P2=regressed_P2)
        answer = self.ours(texts, inputs)
        return LocatedPoints(
            points_P2=answer.points_P2,
            regressed_P2=regressed_P2,
            heatmap_logits_Phw=answer.logits_Phw,
            there_P=answer.there_P,
            offsets_Phw2=answer.offsets_Phw2,
            temperature=self.temperature,
        )


class LearnedPhoto(nn.Module):
    """What a blind localizer sees of any photo: one set of features, learned with it."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        sides = (config.image_size // stride for stride in LEVEL_STRIDES)
        self.image_tokens = nn.Parameter(torch.zeros(config.cells_per_side**2, config.token_channels))
        self.cells = nn.ParameterList(nn.Parameter(torch.zeros(side**2, config.width)) for side in sides)

    def in_place_of(self, features: ImageFeatures) -> ImageFeatures:
        """As many photos as there are; no query wins a cell."""
        B = len(features.wins_BQN)
        learned = {"image_tokens": self.image_tokens} | {f"cells_{k}": cells for k, cells in enumerate(self.cells)}
        told = features.tensors() | {name: one.expand(B, *one.shape) for name, one in learned.items()}
        return features.with_tensors(told | {"wins": torch.zeros_like(features.wins_BQN)})


class LocalizerParts(nn.Module):
    """What the localizer owns beside its LoRA adapter: projector copy, text-to-vision MLP, coordinate head."""

    def __init__(self, config: VisionConfig, llm_width: int, *, head: str, blind: bool = False) -> None:
        super().__init__()
        self.photo = LearnedPhoto(config) if blind else None
        self.projector = Projector(config, llm_width)
        self.text_to_vision = TextToVision(llm_width, 2 * config.width)
        self.head = CoordinateHead(config.width, llm_width, kind=head)

    def forward(self, hidden_PSD: Tensor, seg_P: Tensor, inputs: DecoderInputs, photo_P: Tensor) -> LocatedPoints:
        """
        Args:
            hidden_PSD: the language model's last hidden states, after its final norm.
            seg_P: place of each text's [SEG].
            inputs: the photos' features.
            photo_P: which photo each text is about, ascending.
        """
        located: LocatedPoints = self.head(read_texts(self.text_to_vision, hidden_PSD, seg_P, photo_P), inputs)
        return located
