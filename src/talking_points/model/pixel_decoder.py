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
        B, N, C = x_BNC.shape
        M, K = self.num_heads, self.num_points
        value_BNMc = self.value_proj(x_BNC).view(B, N, M, C // M)
        query_BNC = x_BNC + pos_NC
        offsets = self.sampling_offsets(query_BNC).view(B, N, M, NUM_LEVELS, K, 2)
        weights = self.attention_weights(query_BNC).view(B, N, M, NUM_LEVELS * K).softmax(-1)
        sizes_wh = offsets.new_tensor([(w, h) for h, w in sizes_hw])
        locations = centres_N2[None, :, None, None, None] + offsets / sizes_wh[:, None]
        grid = (2 * locations - 1).permute(0, 2, 1, 3, 4, 5).flatten(0, 1)  # [B*M, N, L, K, 2]
        sampled = []
        for level, ((h, w), level_value) in enumerate(
            zip(sizes_hw, value_BNMc.split([h * w for h, w in sizes_hw], dim=1), strict=True)
        ):
            value_map = level_value.permute(0, 2, 3, 1).reshape(B * M, C // M, h, w)
            sampled.append(
                F.grid_sample(value_map, grid[:, :, level], mode="bilinear", padding_mode="zeros", align_corners=False)
            )
        values = torch.cat(sampled, dim=-1)  # [B*M, C/M, N, L*K]
        weights = weights.permute(0, 2, 1, 3).reshape(B * M, 1, N, NUM_LEVELS * K)
        out = (values * weights).sum(-1).view(B, C, N).transpose(1, 2)
        return self.output_proj(out)


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
