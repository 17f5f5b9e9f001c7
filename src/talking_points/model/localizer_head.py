"""From the language model's state at [SEG] to a point of the square."""

# B photos, P texts, D language model width, F two query vectors joined, N cells of the stride-4 mask feature

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.config import VisionConfig
from talking_points.model.mask_decoder import DecoderInputs, MaskDecoder
from talking_points.model.projector import Projector

RADII = (0.1, 0.2)
"""Of mPCK; here in the square's unit."""
GRID = 64
"""Cells a side on which the likeliest place is sought."""
HIDDEN = 128
"""Width of the coordinate MLP's hidden layer. Paper A.5: 512-128-2."""
MOST_LOG_SURENESS = 8.0
"""A standard deviation of 0.018: a cell is 0.021 wide in mini's square."""
COMPONENTS = 5
"""Of a mixture. Ours."""
LEAST_LOG_WIDTH = -4.2
"""Of a mixture's component: about a cell of the grid."""
NUM_PLACES = 4
"""Numbers that say where a cell is: x, y in its part's box and in its object's."""


class TextToVision(nn.Sequential):
    """MLP from the language model's width to two query vectors. Source: OMG-LLaVA projector_text2vision."""

    def __init__(self, llm_width: int, query_channels: int) -> None:
        super().__init__(nn.Linear(llm_width, query_channels), nn.GELU(), nn.Linear(query_channels, query_channels))


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedPoints:
    """Answers of the localizer's head."""

    points_P2: Tensor
    """x, y in [0, 1]^2 of the square: the head that the config names."""
    regressed_P2: Tensor
    """The paper's regression, whichever head answers."""
    heatmap_logits_Phw: Tensor | None
    """A heatmap's over the stride-4 cells, a mixture's over a grid; None for a regression."""
    temperature: Tensor | None
    """What the logits are divided by before they say how sure the head is; None for a regression."""


class CoordinateHead(nn.Module):
    """The paper's MLP to (x, y), and beside it a heatmap or a mixture (ours), if the config names one."""

    def __init__(self, query_channels: int, *, kind: str) -> None:
        super().__init__()
        # ReLU and a sigmoid at the end are ours; the paper names only the sizes.
        self.mlp = nn.Sequential(nn.Linear(query_channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2), nn.Sigmoid())
        self.heatmap = Heatmap(query_channels // 2) if kind == "heatmap" else None
        self.mixture = Mixture(query_channels) if kind == "mixture" else None
        # Set by `training.calibration`, after the weights are trained; answers do not depend on it.
        self.temperature: Tensor | None
        self.register_buffer("temperature", None if kind == "regression" else torch.ones(()))

    def forward(
        self, text_PF: Tensor, decoder: MaskDecoder, inputs: DecoderInputs, photo_of_text_P: Tensor
    ) -> LocatedPoints:
        """
        Args:
            text_PF: text-to-vision outputs at [SEG].
            decoder: the base's.
            inputs: the photos' features.
            photo_of_text_P: which photo each text is about, ascending.
        """
        regressed_P2 = self.mlp(text_PF)
        logits_Phw = None
        if self.heatmap is not None:
            logits_Phw = self.heatmap(text_PF, decoder, inputs, photo_of_text_P)
        if self.mixture is not None:
            logits_Phw = self.mixture(text_PF)
        return LocatedPoints(
            points_P2=regressed_P2 if logits_Phw is None else likeliest_points(logits_Phw),
            regressed_P2=regressed_P2,
            heatmap_logits_Phw=logits_Phw,
            temperature=self.temperature,
        )


class Mixture(nn.Module):
    """A mixture of Gaussians over the square, from [SEG] alone: the paper's regression, allowed to doubt (ours).

    Bishop, "Mixture density networks", 1994. It is read as logits over a grid, so that all that is asked of a heatmap
    (the answer, how sure it is, a second place) is asked of it in the same way.
    """

    def __init__(self, query_channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(query_channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, COMPONENTS * 5))
        # Components that start together stay together.
        nn.init.normal_(self.mlp[-1].get_parameter("bias"), std=1.0)

    def forward(self, text_PF: Tensor) -> Tensor:
        """(P, GRID, GRID) log-densities at the grid's cells, but for a constant."""
        out_PK5 = self.mlp(text_PF).unflatten(-1, (COMPONENTS, 5))
        share_PK = out_PK5[..., 0].log_softmax(-1)
        middle_PK2, log_width_PK2 = out_PK5[..., 1:3].sigmoid(), (out_PK5[..., 3:] - 2).clamp(min=LEAST_LOG_WIDTH)
        grid_G = (torch.arange(GRID, device=text_PF.device) + 0.5) / GRID
        apart_PK2G = (grid_G - middle_PK2[..., None]) / log_width_PK2[..., None].exp()
        log_x, log_y = (-0.5 * apart_PK2G**2 - log_width_PK2[..., None]).unbind(2)
        return (share_PK[..., None, None] + log_y[..., :, None] + log_x[..., None, :]).logsumexp(1)


class Heatmap(nn.Module):
    """The mask that the base points at from [SEG], narrowed to the place that the text asks for: logits over the cells.

    OMG-LLaVA's way from [SEG] to a mask (forward_llm_seg) says which region is meant. Where in it: every cell is read
    for its place in its part and in its object, the text for the place that it asks for, and cells are weighed by how
    near the two are. So "toward the top of the coat" needs no cell that it was learned on (ours).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.cell_places = nn.Conv2d(width, NUM_PLACES, kernel_size=1)
        """x, y in the box of the cell's part, then in that of its object, each in [0, 1]."""
        self.wanted = nn.Sequential(nn.Linear(2 * width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * (NUM_PLACES + 2)))
        """The same numbers of the point that the text means, and x, y in the square; then how surely, each."""

    def forward(self, text_PF: Tensor, decoder: MaskDecoder, inputs: DecoderInputs, photo_of_text_P: Tensor) -> Tensor:
        """(P, H, W) logits. Arguments as `CoordinateHead.forward`."""
        photos = inputs.mask_feature_BCHW.shape[0]
        counts_B = torch.bincount(photo_of_text_P, minlength=photos)
        is_text_BP = torch.arange(int(counts_B.max()), device=text_PF.device) < counts_B[:, None]
        text_BPF = text_PF.new_zeros(*is_text_BP.shape, text_PF.shape[-1])
        text_BPF[is_text_BP] = text_PF
        query_BPC, pos_BPC = text_BPF.chunk(2, dim=-1)
        _, mask_logits_BPHW = decoder.decode(query_BPC, pos_BPC, inputs, independent=True)
        assert mask_logits_BPHW is not None
        wanted_BP6, sureness_BP6 = self.wanted_places(text_BPF)
        nearness_BPHW = self.nearness(self.cell_places(inputs.mask_feature_BCHW), wanted_BP6, sureness_BP6)
        return (mask_logits_BPHW * self.scale + nearness_BPHW)[is_text_BP]

    def wanted_places(self, text_BPF: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, 6) places that texts ask for, and how surely: inverse variances."""
        out_BP12 = self.wanted(text_BPF)
        wanted, log_sureness = out_BP12.chunk(2, dim=-1)
        return wanted, log_sureness.clamp(max=MOST_LOG_SURENESS).exp()

    @staticmethod
    def nearness(places_B4HW: Tensor, wanted_BP6: Tensor, sureness_BP6: Tensor) -> Tensor:
        """(B, P, H, W) minus half the squared distances of cells' places from wanted ones, as sure as each is."""
        height, width = places_B4HW.shape[-2:]
        x, y = _centres(places_B4HW)
        square_2HW = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
        places_B6N = torch.cat([places_B4HW, square_2HW.expand(len(places_B4HW), -1, -1, -1)], dim=1).flatten(2)
        # (a - b)^2 multiplied out: no (B, P, 6, N) is made.
        apart_BPN = (
            sureness_BP6 @ places_B6N**2
            - 2 * (sureness_BP6 * wanted_BP6) @ places_B6N
            + (sureness_BP6 * wanted_BP6**2).sum(-1, keepdim=True)
        )
        return -0.5 * apart_BPN.unflatten(-1, (height, width))


def likeliest_points(logits_Phw: Tensor) -> Tensor:
    """(P, 2) points around which most of the probability lies, x, y in [0, 1]^2.

    The mean of a heatmap with two peaks lies between them, where nothing is. Here each place is scored by the
    probability within the radii of mPCK, 0.1 and 0.2, that is by the score that answering there would bring; the
    answer is the mean of what lies near the best one.
    """
    prob_Phw = logits_Phw.flatten(1).softmax(-1).unflatten(-1, logits_Phw.shape[-2:])
    # A coarse grid is enough to choose a place, and keeps the disks small.
    height, width = (min(GRID, size) for size in prob_Phw.shape[-2:])
    prob_P1hw = F.adaptive_avg_pool2d(prob_Phw[:, None], (height, width))
    prob_P1hw = prob_P1hw / prob_P1hw.sum((-2, -1), keepdim=True)
    y = (torch.arange(2 * height - 1, device=prob_Phw.device) - (height - 1)) / height
    x = (torch.arange(2 * width - 1, device=prob_Phw.device) - (width - 1)) / width
    distance_hw = (y[:, None] ** 2 + x**2).sqrt()
    score_11hw = sum((distance_hw < radius).to(prob_Phw.dtype) for radius in RADII)[None, None]
    reach = [max(1, int(max(RADII) * size)) for size in (height, width)]
    middle = (height - 1, width - 1)
    rows, columns = (slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
    kernel = score_11hw[..., rows, columns]
    best_P = F.conv2d(prob_P1hw, kernel, padding=(reach[0], reach[1])).flatten(1).argmax(-1)
    best_P2 = torch.stack([(best_P % width + 0.5) / width, (best_P // width + 0.5) / height], dim=-1)
    local_Phw = prob_P1hw[:, 0] * (_squared_distances(prob_P1hw, best_P2) < min(RADII) ** 2)
    local_Phw = local_Phw / local_Phw.sum((-2, -1), keepdim=True)
    x, y = _centres(local_Phw)
    return torch.stack([(local_Phw.sum(1) * x).sum(-1), (local_Phw.sum(2) * y).sum(-1)], dim=-1)


def chances(logits_Phw: Tensor, points_P2: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How sure a heatmap is of its answers, and what else it would have answered.

    Args:
        logits_Phw: over cells of the square.
        points_P2: the answers, in [0, 1]^2 of the square.
        temperature: calibrated one.

    Returns:
        (P,) probability within 0.1 of the answer; (P, 2) the likeliest point farther than 0.2 from it, and (P,) the
        probability within 0.1 of that.
    """
    prob_Phw = (logits_Phw / temperature).flatten(1).softmax(-1).unflatten(-1, logits_Phw.shape[-2:])
    here_Phw = _squared_distances(logits_Phw, points_P2).sqrt()
    sure_P = (prob_Phw * (here_Phw < min(RADII))).sum((-2, -1))
    elsewhere_P2 = likeliest_points(logits_Phw.masked_fill(here_Phw < max(RADII), -torch.inf))
    there_Phw = _squared_distances(logits_Phw, elsewhere_P2).sqrt()
    return sure_P, elsewhere_P2, (prob_Phw * (there_Phw < min(RADII))).sum((-2, -1))


def _centres(cells: Tensor) -> tuple[Tensor, Tensor]:
    """(w,) x and (h,) y of the centres of cells that tile the square. cells: (..., h, w) of anything."""
    height, width = cells.shape[-2:]
    x = (torch.arange(width, device=cells.device) + 0.5) / width
    y = (torch.arange(height, device=cells.device) + 0.5) / height
    return x, y


def _squared_distances(cells: Tensor, points_P2: Tensor) -> Tensor:
    """(P, h, w) from points to the centres of `_centres`."""
    x, y = _centres(cells)
    return (y[:, None] - points_P2[:, 1, None, None]) ** 2 + (x - points_P2[:, 0, None, None]) ** 2


class LocalizerParts(nn.Module):
    """What the localizer owns beside its LoRA adapter: projector copy, text-to-vision MLP, coordinate head."""

    def __init__(self, config: VisionConfig, llm_width: int, *, head: str) -> None:
        super().__init__()
        self.projector = Projector(config, llm_width)
        self.text_to_vision = TextToVision(llm_width, 2 * config.width)
        self.head = CoordinateHead(2 * config.width, kind=head)

    def forward(
        self, seg_PD: Tensor, decoder: MaskDecoder, inputs: DecoderInputs, photo_of_text_P: Tensor
    ) -> LocatedPoints:
        """seg_PD: the language model's last hidden state at [SEG], after its final norm."""
        return self.head(self.text_to_vision(seg_PD.float()), decoder, inputs, photo_of_text_P)
