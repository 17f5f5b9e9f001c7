"""Coordinate heads beside the paper's regression, all ours: a mixture, a heatmap and a pointer."""

# B photos, P texts, S tokens of a text, D language model width, F two query vectors joined, C channels, N h w cells,
# W width inside a head, K components of a mixture

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.heatmaps import GRID, likeliest_points
from talking_points.model.mask_decoder import Attention, DecoderInputs

HIDDEN = 128
"""Width of the coordinate MLP's hidden layer. Paper A.5: 512-128-2."""
COMPONENTS = 5
"""Of a mixture."""
LEAST_LOG_WIDTH = -4.2
"""Of a mixture's component: about a cell of the grid."""
WIDTH, HEADS, BLOCKS = 160, 8, 3
"""Of a heatmap."""
MIDDLE, FINE = 1, 2
"""Levels of `DecoderInputs` at strides 16 and 8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTexts:
    """What the language model made of P texts."""

    seg_PF: Tensor
    """Text-to-vision outputs at [SEG]."""
    states_PSD: Tensor
    """Its last hidden states, fp32."""
    is_read_PS: Tensor
    """bool: a token of the prompt, up to [SEG], and no padding."""
    photo_P: Tensor
    """Which photo each text is about, ascending."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadAnswer:
    """Of a head, for P texts."""

    points_P2: Tensor
    """x, y in [0, 1]^2 of the square."""
    logits_Phw: Tensor
    """Over cells that tile the square."""
    there_P: Tensor
    """Logit of whether what the text names is in the photo."""
    offsets_Phw2: Tensor | None = None
    """Of a pointer: where in each cell the point would be, x, y in [-0.5, 0.5] of a cell from its centre."""


class Mixture(nn.Module):
    """Gaussians over the square from [SEG] alone: the paper's regression, allowed to doubt.

    Bishop, "Mixture density networks", 1994. It is read as logits over a grid, so that all that is asked of a heatmap
    (the answer, how sure it is, a second place) is asked of it in the same way.
    """

    def __init__(self, channels: int, llm_width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, COMPONENTS * 5 + 1))
        # Components that start together stay together.
        nn.init.normal_(self.mlp[-1].get_parameter("bias"), std=1.0)

    def forward(self, texts: ReadTexts, inputs: DecoderInputs) -> HeadAnswer:
        """Log-densities at a grid's cells, but for a constant."""
        out = self.mlp(texts.seg_PF)
        out_PK5 = out[:, :-1].unflatten(-1, (COMPONENTS, 5))
        share_PK = out_PK5[..., 0].log_softmax(-1)
        middle_PK2, log_width_PK2 = out_PK5[..., 1:3].sigmoid(), (out_PK5[..., 3:] - 2).clamp(min=LEAST_LOG_WIDTH)
        grid_G = (torch.arange(GRID, device=out.device) + 0.5) / GRID
        apart_PK2G = (grid_G - middle_PK2[..., None]) / log_width_PK2[..., None].exp()
        log_x, log_y = (-0.5 * apart_PK2G**2 - log_width_PK2[..., None]).unbind(2)
        logits_Phw = (share_PK[..., None, None] + log_y[..., :, None] + log_x[..., None, :]).logsumexp(1)
        return HeadAnswer(points_P2=likeliest_points(logits_Phw), logits_Phw=logits_Phw, there_P=out[:, -1])


class ReadingBlock(nn.Module):
    """Cells look at the text's tokens, then at each other, then think: pre-norm, residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.read = Attention(WIDTH, HEADS)
        self.look = Attention(WIDTH, HEADS)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 3 * WIDTH), nn.GELU(), nn.Linear(3 * WIDTH, WIDTH))

    def forward(self, cells_PNW: Tensor, place_1NW: Tensor, words_PSW: Tensor, is_read_P11S: Tensor) -> Tensor:
        x = cells_PNW
        x = x + self.read(self.norm1(x) + place_1NW, words_PSW, words_PSW, is_read_P11S)
        y = self.norm2(x)
        x = x + self.look(y + place_1NW, y + place_1NW, y, None)
        out: Tensor = x + self.mlp(self.norm3(x))
        return out


class Heatmap(nn.Module):
    """Cells of the photo read the whole text and say how likely the point lies in them.

    One vector, [SEG], carries too little of a sentence that nobody wrote by rules; each cell attends to all tokens'
    states instead, as in Grounding DINO's decoder and SAM's. Cells of stride 16 read, those of stride 8 answer.
    """

    def __init__(self, channels: int, llm_width: int) -> None:
        super().__init__()
        self.cells = nn.Linear(channels, WIDTH)
        self.places = nn.Linear(channels, WIDTH)
        self.words = nn.Sequential(nn.Linear(llm_width, WIDTH), nn.LayerNorm(WIDTH))
        self.blocks = nn.ModuleList(ReadingBlock() for _ in range(BLOCKS))
        self.fine = nn.Conv2d(channels, WIDTH, 1)
        self.around = nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH)
        self.norm = nn.GroupNorm(1, WIDTH)
        self.answer = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), nn.GELU(), nn.Conv2d(WIDTH, 1, 1))
        self.there = nn.Sequential(nn.Linear(3 * WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))

    def forward(self, texts: ReadTexts, inputs: DecoderInputs) -> HeadAnswer:
        photo_P, (height, width) = texts.photo_P, inputs.sizes_hw[MIDDLE]
        words_PSW = self.words(texts.states_PSD)
        place_1NW = self.places(inputs.cell_positions[MIDDLE])[None]
        x_PNW = self.cells(inputs.cells[MIDDLE])[photo_P]
        for block in self.blocks:
            x_PNW = block(x_PNW, place_1NW, words_PSW, texts.is_read_PS[:, None, None])
        fine_hw = inputs.sizes_hw[FINE]
        coarse_PWhw = F.interpolate(
            x_PNW.transpose(1, 2).unflatten(-1, (height, width)), fine_hw, mode="bilinear", align_corners=False
        )
        y_PWhw = coarse_PWhw + self.fine(inputs.cells[FINE].transpose(1, 2).unflatten(-1, fine_hw))[photo_P]
        logits_Phw = self.answer(self.norm(y_PWhw + self.around(y_PWhw)))[:, 0]
        share_PN = F.adaptive_avg_pool2d(logits_Phw[:, None], (height, width)).flatten(1).softmax(-1)
        last_P = texts.is_read_PS.sum(-1) - 1
        seen_P3W = torch.cat(
            [
                (share_PN[:, None] @ x_PNW)[:, 0],
                x_PNW.amax(1),
                words_PSW[torch.arange(len(last_P), device=last_P.device), last_P],
            ],
            dim=-1,
        )
        there_P = self.there(seen_P3W)[:, 0]
        return HeadAnswer(points_P2=likeliest_points(logits_Phw), logits_Phw=logits_Phw, there_P=there_P)


class Pointer(nn.Module):
    """The cell whose features answer to [SEG] best, and an offset inside it.

    A dot product with what is seen needs no map from words to numbers (GUI-Actor, Wu et al. 2025; PaDT, Su et al. 2025;
    MolmoPoint, Ai2). A learned key stands for "nowhere".
    """

    def __init__(self, channels: int, llm_width: int) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(2 * channels, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.place = nn.Linear(channels, channels)
        self.key = nn.Sequential(nn.Linear(channels, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.nowhere = nn.Parameter(torch.zeros(WIDTH))
        self.offset_of_cell = nn.Linear(channels, HIDDEN)
        self.offset_of_text = nn.Linear(WIDTH, HIDDEN)
        self.offset = nn.Linear(HIDDEN, 2)

    def forward(self, texts: ReadTexts, inputs: DecoderInputs) -> HeadAnswer:
        photo_P, (height, width) = texts.photo_P, inputs.sizes_hw[FINE]
        cells_BNC = inputs.cells[FINE] + self.place(inputs.cell_positions[FINE])
        query_PW = self.query(texts.seg_PF)
        logits_PN = (self.key(cells_BNC)[photo_P] @ query_PW[..., None])[..., 0] * WIDTH**-0.5
        there_P = logits_PN.logsumexp(-1) - query_PW @ self.nowhere * WIDTH**-0.5
        inside_PNH = self.offset_of_cell(cells_BNC)[photo_P] + self.offset_of_text(query_PW)[:, None]
        offsets_PN2 = self.offset(F.relu(inside_PNH)).sigmoid() - 0.5
        best_P = logits_PN.argmax(-1)
        rows = torch.arange(len(best_P), device=best_P.device)
        cell_P2 = torch.stack([best_P % width, best_P // width], dim=-1)
        size_2 = offsets_PN2.new_tensor([width, height])
        return HeadAnswer(
            points_P2=(cell_P2 + 0.5 + offsets_PN2[rows, best_P]) / size_2,
            logits_Phw=logits_PN.unflatten(-1, (height, width)),
            there_P=there_P,
            offsets_Phw2=offsets_PN2.unflatten(1, (height, width)),
        )


HEADS_OF_KIND = {"mixture": Mixture, "heatmap": Heatmap, "pointer": Pointer}


def kept_numbers(kind: str, *, middle: int, fine: int) -> int:
    """That a head keeps of a text for its gradients: those of cells, which are nearly all.

    A cell that reads keeps 22 vectors a block: five of reading, nine of looking around, eight of its MLP and the norms
    before each. One that answers keeps five.

    Args:
        kind: "regression" or one of `HEADS_OF_KIND`.
        middle, fine: cells of the levels that read and that answer.
    """
    return {"heatmap": WIDTH * (22 * BLOCKS * middle + 5 * fine), "pointer": fine * (WIDTH + 4 * HIDDEN)}.get(kind, 0)
