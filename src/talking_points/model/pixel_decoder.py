"""The pixel decoder: multi-scale deformable attention over strides 32, 16, 8, and a stride-4 mask feature."""

# B photos, N cells of all levels, C channels, M heads, L levels, K sampled points, H W cells of a level

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.config import VisionConfig
from talking_points.model.positions import sine_grid

NUM_LEVELS = 3


class DeformableAttention(nn.Module):
    """Each cell looks at a few learned offsets around itself on every level.

    Source: Deformable DETR; mmcv multi_scale_deformable_attn_pytorch.
    """

    def __init__(self, width: int, num_heads: int, num_points: int) -> None:
        super().__init__()
        self.num_heads, self.num_points = num_heads, num_points
        self.sampling_offsets = nn.Linear(width, num_heads * NUM_LEVELS * num_points * 2)
        self.attention_weights = nn.Linear(width, num_heads * NUM_LEVELS * num_points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._init_weights()

    def _init_weights(self) -> None:
        # Heads start by looking in different directions, points ever farther out.
        angles = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().max(-1, keepdim=True).values
        offsets = directions.view(-1, 1, 1, 2).repeat(1, NUM_LEVELS, self.num_points, 1)
        offsets = offsets * torch.arange(1, self.num_points + 1).view(1, 1, -1, 1)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.data = offsets.flatten()
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.xavier_uniform_(self.output_proj.weight)

    def forward(self, x_BNC: Tensor, pos_NC: Tensor, centres_N2: Tensor, sizes_hw: list[tuple[int, int]]) -> Tensor:
        query_BNC = x_BNC + pos_NC
        value_BNC = self.value_proj(x_BNC)
        weights = self.attention_weights(query_BNC).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        offsets = self.sampling_offsets(query_BNC).unflatten(-1, (-1, 2))
        # Gathering rows takes a CPU half the time of its grid_sample, which goes through each channel by itself.
        look = _gather if x_BNC.device.type == "cpu" else _sample
        return self.output_proj(look(value_BNC, offsets, weights.flatten(2), centres_N2, sizes_hw, self.num_heads))


def _sample(
    value_BNC: Tensor,
    offsets_BNJ2: Tensor,
    weights_BNJ: Tensor,
    centres_N2: Tensor,
    sizes_hw: list[tuple[int, int]],
    heads: int,
) -> Tensor:
    """(B, N, C) weighted sums of values, each taken bilinearly at a place, and 0 outside its level.

    Args:
        value_BNC: of each cell; head m has the m-th share of the channels.
        offsets_BNJ2: x, y from the cell's centre, in cells of the level. J is M heads, L levels, K points.
        weights_BNJ: of the places; the last K of M * L * K.
        centres_N2: of the cells, in [0, 1].
        sizes_hw: of the levels, in the order of the cells.
        heads: M.
    """
    B, N, C = value_BNC.shape
    M, c = heads, C // heads
    offsets = offsets_BNJ2.view(B, N, M, NUM_LEVELS, -1, 2)
    sizes_wh = offsets.new_tensor([(w, h) for h, w in sizes_hw])
    locations = centres_N2[None, :, None, None, None] + offsets / sizes_wh[:, None]
    grid = (2 * locations - 1).permute(0, 2, 1, 3, 4, 5).flatten(0, 1)  # [B*M, N, L, K, 2]
    levels = value_BNC.view(B, N, M, c).split([h * w for h, w in sizes_hw], dim=1)
    maps = [one.permute(0, 2, 3, 1).reshape(B * M, c, h, w) for (h, w), one in zip(sizes_hw, levels, strict=True)]
    sampled = [F.grid_sample(one, grid[:, :, level], align_corners=False) for level, one in enumerate(maps)]
    weights = weights_BNJ.view(B, N, M, -1).permute(0, 2, 1, 3).reshape(B * M, 1, N, -1)
    return (torch.cat(sampled, dim=-1) * weights).sum(-1).view(B, C, N).transpose(1, 2)


def _gather(
    value_BNC: Tensor,
    offsets_BNJ2: Tensor,
    weights_BNJ: Tensor,
    centres_N2: Tensor,
    sizes_hw: list[tuple[int, int]],
    heads: int,
) -> Tensor:
    """What `_sample` gives, to rounding. Each place's four cells are rows of a table with a row a cell and head."""
    B, N, C = value_BNC.shape
    M, J = heads, weights_BNJ.shape[-1]
    begins = [sum(h * w for h, w in sizes_hw[:level]) for level in range(NUM_LEVELS)]
    of_levels_3L = torch.tensor([*zip(*sizes_hw, strict=True), begins], dtype=torch.int32, device=value_BNC.device)
    # Of each of the J places: its level's height, width and first cell, and its head.
    high_J, wide_J, begin_J = of_levels_3L.repeat_interleave(J // (M * NUM_LEVELS), dim=1).repeat(1, M)
    head_J = torch.arange(M, dtype=torch.int32, device=value_BNC.device).repeat_interleave(J // M)
    photo_B11 = torch.arange(B, dtype=torch.int32, device=value_BNC.device)[:, None, None]
    first_BNJ = (photo_B11 * N + begin_J) * M + head_J
    sides = []
    for axis, size_J in enumerate((wide_J, high_J)):
        # In cells, from the middle of the level's first one.
        at_BNJ = offsets_BNJ2[..., axis] + (centres_N2[:, axis, None] * size_J - 0.5)
        low_BNJ = at_BNJ.floor()
        share_BNJ = at_BNJ - low_BNJ
        both = (low_BNJ, 1 - share_BNJ), (low_BNJ + 1, share_BNJ)
        inside = [(cell.clamp(torch.zeros_like(size_J), size_J - 1), cell, share) for cell, share in both]
        sides.append([(near.int(), share * (near == cell)) for near, cell, share in inside])
    table = value_BNC.reshape(B * N * M, C // M)
    total = torch.zeros_like(table)
    for row_BNJ, of_row in sides[1]:
        for column_BNJ, of_column in sides[0]:
            index = (row_BNJ * wide_J + column_BNJ) * M + first_BNJ
            weight = of_row * of_column * weights_BNJ
            total = total + F.embedding_bag(
                index.view(B * N * M, -1), table, per_sample_weights=weight.view(B * N * M, -1), mode="sum"
            )
    return total.view(B, N, C)


class PixelDecoderLayer(nn.Module):
    """Deformable attention and FFN, each with a residual and a norm after it."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(config.width, config.num_heads, config.pixel_decoder_points)
        self.norm1 = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.pixel_decoder_ffn)
        self.fc2 = nn.Linear(config.pixel_decoder_ffn, config.width)
        self.norm2 = nn.LayerNorm(config.width)

    def forward(self, x_BNC: Tensor, pos_NC: Tensor, centres_N2: Tensor, sizes_hw: list[tuple[int, int]]) -> Tensor:
        x_BNC = self.norm1(x_BNC + self.attention(x_BNC, pos_NC, centres_N2, sizes_hw))
        return self.norm2(x_BNC + self.fc2(F.relu(self.fc1(x_BNC))))


class ConvNorm(nn.Module):
    """Convolution and GroupNorm."""

    def __init__(self, in_channels: int, channels: int, kernel: int, groups: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=bias)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.norm(self.conv(x_BCHW))


class PixelDecoder(nn.Module):
    """Trunk features to three context levels and one mask feature.

    Source: mmdet MSDeformAttnPixelDecoder; parity: tests/omg_llava/test_parity.py.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, groups = config.width, config.group_norm_groups
        self.input_convs = nn.ModuleList(
            ConvNorm(channels, width, 1, groups, bias=True) for channels in reversed(config.trunk_dims[1:])
        )
        self.level_embed = nn.Embedding(NUM_LEVELS, width)
        self.layers = nn.ModuleList(PixelDecoderLayer(config) for _ in range(config.pixel_decoder_layers))
        self.lateral_conv = ConvNorm(config.trunk_dims[0], width, 1, groups, bias=False)
        self.output_conv = ConvNorm(width, width, 3, groups, bias=False)
        self.mask_feature = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mix the trunk's levels.

        Args:
            features: the trunk's four maps, strides 4 to 32.

        Returns:
            mask feature (B, C, H/4, W/4) and the memories (B, C, h, w) at strides 32, 16, 8.
        """
        device = features[0].device
        maps = [conv(x) for conv, x in zip(self.input_convs, reversed(features[1:]), strict=True)]
        sizes_hw = [(int(m.shape[-2]), int(m.shape[-1])) for m in maps]
        x_BNC = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        pos_NC = torch.cat(
            [
                sine_grid(h, w, x_BNC.shape[-1], device).to(x_BNC.dtype) + self.level_embed.weight[level]
                for level, (h, w) in enumerate(sizes_hw)
            ]
        )
        centres_N2 = torch.cat([_cell_centres(h, w, device) for h, w in sizes_hw]).to(x_BNC.dtype)
        for layer in self.layers:
            x_BNC = layer(x_BNC, pos_NC, centres_N2, sizes_hw)
        memories = [
            part.transpose(1, 2).unflatten(-1, size)
            for part, size in zip(x_BNC.split([h * w for h, w in sizes_hw], dim=1), sizes_hw, strict=True)
        ]
        lateral = self.lateral_conv(features[0])
        upsampled = F.interpolate(memories[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        mask_feature = self.mask_feature(F.relu(self.output_conv(lateral + upsampled)))
        return mask_feature, memories


def _cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """(H*W, 2) x, y of the cells' centres in [0, 1]."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)], dim=-1).flatten(0, 1)
