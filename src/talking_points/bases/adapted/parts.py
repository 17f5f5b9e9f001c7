"""What the roles own beside their LoRA: the point's token, and the localizer's heads over the picture tokens."""

# B photos, P points or texts, L levels, N picture tokens, D width of the language model, C width of a cell

from __future__ import annotations

import torch
from torch import Tensor, nn

from talking_points.bases.adapted.features import SquareFeatures
from talking_points.model.heatmaps import squared_distances
from talking_points.model.localizer_head import CoordinateHead, LocatedPoints, TextToVision, read_texts
from talking_points.model.mask_decoder import LEVEL_STRIDES, DecoderInputs
from talking_points.model.positions import sine_boxes, sine_grid

SIGMA_CELLS = 1.0
"""Width of the Gaussian in which a point's token is pooled, in cells of the grid. Ours: the paper pools no grid."""
SINE = 64
"""Features of each of a point's coordinates."""
CELL_WIDTH = 256
"""Of a cell as the heads see it, and half of [SEG]'s vector. Paper A.5: 512-128-2."""


def pooled(features: SquareFeatures, points_BP2: Tensor) -> Tensor:
    """(B, P, D) fp32 means of the grid in the paper's Gaussian around points. points_BP2: [0, 1]^2 of the square."""
    grid_BDhw = features.grid_BDhw.float()
    away_BPhw = squared_distances(grid_BDhw, points_BP2.flatten(0, 1)).unflatten(0, points_BP2.shape[:2])
    sigma = SIGMA_CELLS / features.cells
    share_BPN = (-away_BPhw / (2 * sigma**2)).flatten(2).softmax(-1)
    return share_BPN @ grid_BDhw.flatten(2).transpose(1, 2)


class PointToken(nn.Module):
    """A point's numbers, what is pooled around it and where it lies, to its token. At first the token is the former."""

    def __init__(self, width: int) -> None:
        """width: of the language model."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width + 4 * SINE, width), nn.GELU(), nn.Linear(width, width))
        nn.init.zeros_(self.mlp[-1].get_parameter("weight"))
        nn.init.zeros_(self.mlp[-1].get_parameter("bias"))

    def forward(self, points_PF: Tensor) -> Tensor:
        """(P, D). points_PF: the pooled feature, x and y."""
        seen_PD, place_P2 = points_PF[:, :-2], points_PF[:, -2:]
        # A box without extent: of its four encodings two are of the place.
        boxes_P4 = torch.cat([place_P2, torch.zeros_like(place_P2)], dim=-1)
        out: Tensor = seen_PD + self.mlp(torch.cat([self.norm(seen_PD), sine_boxes(boxes_P4, SINE)], dim=-1))
        return out


class GridLocalizer(nn.Module):
    """What the localizer owns: text-to-vision MLP, coordinate head, and cells for a head that reads them."""

    def __init__(self, width: int, *, levels: int, cells: int, head: str, blind: bool = False) -> None:
        """
        Args:
            width: of the language model and the picture tokens.
            levels: of the vision tower, L.
            cells: along a side of the square.
            head: coordinate head, as `localizer_head.CoordinateHead` takes it.
            blind: it sees one learned set of picture tokens in place of any photo.
        """
        super().__init__()
        self.photo = nn.Parameter(torch.zeros(levels, cells**2, width)) if blind else None
        self.text_to_vision = TextToVision(width, 2 * CELL_WIDTH)
        self.head = CoordinateHead(CELL_WIDTH, width, kind=head)
        self.cells: nn.Sequential | None = None
        if head in ("heatmap", "pointer"):
            # Each level as it comes, in one width: the last says what is there, the first ones where exactly.
            self.cells = nn.Sequential(nn.LayerNorm(levels * width), nn.Linear(levels * width, CELL_WIDTH))

    def seen(self, features: SquareFeatures) -> SquareFeatures:
        """What it sees of photos: the photos, unless it is blind."""
        if self.photo is None:
            return features
        learned_BLND = self.photo.to(features.levels_BLND.dtype).expand(len(features.levels_BLND), -1, -1, -1)
        return SquareFeatures(levels_BLND=learned_BLND)

    def forward(self, hidden_PSD: Tensor, seg_P: Tensor, features: SquareFeatures, photo_P: Tensor) -> LocatedPoints:
        """
        Args:
            hidden_PSD: the language model's last hidden states, after its final norm.
            seg_P: place of each text's [SEG].
            features: of the photos, as `seen` gives them.
            photo_P: which photo each text is about, ascending.
        """
        texts = read_texts(self.text_to_vision, hidden_PSD, seg_P, photo_P)
        located: LocatedPoints = self.head(texts, self._inputs(features))
        return located

    def _inputs(self, features: SquareFeatures) -> DecoderInputs:
        """One grid in the place of the network's three levels: a stock tower has no other."""
        side, levels_BLND = features.cells, features.levels_BLND
        if self.cells is None:
            cells_BNC = levels_BLND.new_zeros(len(levels_BLND), side**2, 0)
        else:
            cells_BNC = self.cells(levels_BLND.float().transpose(1, 2).flatten(2))
        places_NC = sine_grid(side, side, CELL_WIDTH, levels_BLND.device)
        count = len(LEVEL_STRIDES)
        return DecoderInputs(
            mask_feature_BCHW=cells_BNC.transpose(1, 2).unflatten(-1, (side, side)),
            cells=[cells_BNC] * count,
            cell_positions=[places_NC] * count,
            sizes_hw=[(side, side)] * count,
        )
