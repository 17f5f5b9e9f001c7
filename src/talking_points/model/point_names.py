"""What a keypoint is on, and its colour, out of lists of names. Ours: the descriptor is told of both."""

# B photos, P points, Q queries, C channels, S numbers read of a point, K names, N names without their sides, M colours

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.config import VisionConfig
from talking_points.model.mask_decoder import LEVEL_STRIDES, DecoderInputs
from talking_points.part_sides import without_side

HIDDEN, COLOUR_HIDDEN = 128, 64
PIXEL_STRIDE = 4
"""Pixels of the square a cell of the map that colours are read of."""
WINDOWS = (3, 5)
"""Cells a side of the windows around a point, beside its own cell."""
LOOKS = 3 * (2 + len(WINDOWS))
"""Numbers of a point's look."""
SURE_NAME, SURE_SIDE, SURE_WIDER, SURE_COLOUR = 0.4, 0.6, 0.6, 0.15
"""What is decided for the descriptor has more than these chances: of all names the likeliest, both its sides together;
of its side, among those of the name; of a wider part, its own name and those of all its parts together; of the colours
the likeliest, however likely none is."""
AS_LIKELY = 0.9
"""Of the likeliest object's chance: objects with more are told beside it."""


class PointNames(nn.Module):
    """How likely a point is on each of `num_point_names` parts and things, and is each of `num_point_colours`, or none.

    Parts are read of the keypoint's numbers, every query's mask logit at the point, and the pixel decoder's cells
    there. The keypoint itself looks no further than its region; the queries have seen the whole photo. Colours are read
    of the photo's own pixels.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        seen = (2 + len(LEVEL_STRIDES)) * config.width + config.num_queries
        self.parts = nn.Sequential(nn.Linear(seen, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, config.num_point_names))
        self.colours = nn.Sequential(
            nn.Linear(LOOKS, COLOUR_HIDDEN), nn.GELU(), nn.Linear(COLOUR_HIDDEN, config.num_point_colours + 1)
        )

    def forward(self, seen_BPS: Tensor, looks_BPL: Tensor) -> Tensor:
        """(B, P, K + M + 1) chances; of the colours the last is that of none. Of what `seen_at_points` and
        `looks_at_points` give."""
        return torch.cat([self.parts(seen_BPS).softmax(-1), self.colours(looks_BPL).softmax(-1)], dim=-1)


def seen_at_points(numbers_BPF: Tensor, queries_BQC: Tensor, inputs: DecoderInputs, points_BP2: Tensor) -> Tensor:
    """(B, P, S): the keypoints' numbers, the masks of queries there, the cells of all levels there.

    Args:
        numbers_BPF: of the keypoints.
        queries_BQC: mask embeddings of the photo's queries.
        inputs: of B photos.
        points_BP2: x, y in [0, 1]^2 of the square.
    """
    # A mask is linear in the mask feature: its logit at a point is that of the feature there.
    masks_BPQ = at_points(inputs.mask_feature_BCHW, points_BP2) @ queries_BQC.transpose(1, 2)
    cells_BPC = [
        at_points(cells.transpose(1, 2).unflatten(2, size_hw), points_BP2)
        for cells, size_hw in zip(inputs.cells, inputs.sizes_hw, strict=True)
    ]
    return torch.cat([numbers_BPF, masks_BPQ, *cells_BPC], dim=-1)


def looks_at_points(pixels_B3HW: Tensor, points_BP2: Tensor) -> Tensor:
    """(B, P, LOOKS): the colour of a point's cell, the means of the windows, the spread in the first of these.

    pixels_B3HW: the normalised photo at `PIXEL_STRIDE`.
    """

    def mean(map_B3HW: Tensor, window: int) -> Tensor:
        return F.avg_pool2d(map_B3HW, window, 1, window // 2, count_include_pad=False)

    means = [mean(pixels_B3HW, window) for window in WINDOWS]
    spread_B3HW = (mean(pixels_B3HW**2, WINDOWS[0]) - means[0] ** 2).clamp(min=0).sqrt()
    return at_points(torch.cat([pixels_B3HW, *means, spread_B3HW], dim=1), points_BP2)


def at_points(map_BCHW: Tensor, points_BP2: Tensor) -> Tensor:
    """(B, P, C) values of a map at points, between its cells' centres; beyond the outermost, theirs."""
    grid_BP12 = 2 * points_BP2[:, :, None] - 1
    found_BCP1 = F.grid_sample(map_BCHW, grid_BP12, padding_mode="border", align_corners=False)
    return found_BCP1[..., 0].transpose(1, 2)


def decided(
    chances_BPK: Tensor, names: Sequence[str], wider: Sequence[Sequence[str]], objects: Sequence[Sequence[str]]
) -> Tensor:
    """(B, P, K + M + 1): what the descriptor is told of chances.

    One name; or, where its side is not sure, all sides of it in equal shares. Where no name is sure, a wider part that
    is, with all its sides: of a wrist or a forearm, the arm; of several the one that holds the fewest names. Where none
    is, the object that has most of the chances, by its own name and by those of its parts; or several in equal shares,
    where that does not tell them apart: an ear may be a cow's or a sheep's. And one colour, or none. A writer that is
    told chances weighs them against what it sees itself, and on new photos what it sees is right less often.

    Args:
        chances_BPK: of `PointNames`, with the colours behind them.
        names: the K names, in their order; sides are the words "left" and "right" in them.
        wider: `ModelConfig.point_wider`.
        objects: `ModelConfig.point_objects`.
    """
    parts_BPK, colours_BPM = chances_BPK.split([len(names), chances_BPK.shape[-1] - len(names)], dim=-1)
    plain = [without_side(name) for name in names]
    index = {name: k for k, name in enumerate(dict.fromkeys(plain))}
    plain_K = torch.tensor([index[name] for name in plain], device=chances_BPK.device)
    chance_BPN = parts_BPK.new_zeros(*parts_BPK.shape[:-1], len(index)).index_add(-1, plain_K, parts_BPK)
    likeliest_BP1, which_BP1 = chance_BPN.max(-1, keepdim=True)
    is_named_BPK = plain_K == which_BP1
    sided_BPK = is_named_BPK & (parts_BPK > SURE_SIDE * likeliest_BP1)
    part_BPK = torch.where(sided_BPK.any(-1, keepdim=True), sided_BPK, is_named_BPK)
    at = {name: k for k, name in enumerate(names)}
    of_object_KK = parts_BPK.new_zeros(len(names), len(names))
    of_object_KK[[k for k, some in enumerate(objects) for _ in some], [at[one] for some in objects for one in some]] = 1
    object_BPK = parts_BPK @ of_object_KK
    told_BPK = object_BPK > AS_LIKELY * object_BPK.amax(-1, keepdim=True)
    held: dict[str, list[int]] = defaultdict(list)
    for k, (name, some) in enumerate(zip(plain, wider, strict=True)):
        for one in dict.fromkeys((name, *some)):
            held[one].append(k)
    # The one of the fewest names comes last, and stays where it is sure.
    wider_names = dict.fromkeys(one for some in wider for one in some)
    for one in sorted(wider_names, key=lambda one: len(held[one]), reverse=True):
        is_sure_BP1 = parts_BPK[..., held[one]].sum(-1, keepdim=True) > SURE_WIDER
        told_BPK = torch.where(is_sure_BP1, plain_K == index[one], told_BPK)
    told_BPK = torch.where(likeliest_BP1 > SURE_NAME, part_BPK, told_BPK).to(parts_BPK)
    none = colours_BPM.shape[-1] - 1
    colour_BP = F.pad(colours_BPM[..., :none], (0, 1), value=SURE_COLOUR).argmax(-1)
    told_BPK = told_BPK / told_BPK.sum(-1, keepdim=True)
    return torch.cat([told_BPK, F.one_hot(colour_BP, none + 1).to(told_BPK)], dim=-1)
