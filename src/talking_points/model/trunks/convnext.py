"""ConvNeXt, the large model's trunk: CLIP's ConvNeXt, four stages at strides 4, 8, 16 and 32, without a final norm."""

# B photos, C channels, H W cells of the current stage

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-6


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, LayerNorm, two-layer MLP, layer scale. Source: timm ConvNeXtBlock (conv_mlp=False)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BHWC = self.conv_dw(x_BCHW).permute(0, 2, 3, 1)
        y_BHWC = self.fc2(F.gelu(self.fc1(self.norm(y_BHWC)))) * self.gamma
        return x_BCHW + y_BHWC.permute(0, 3, 1, 2)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtStage(nn.Module):
    """Optional 2x downsampling, then blocks."""

    def __init__(self, in_channels: int | None, channels: int, depth: int) -> None:
        super().__init__()
        # The first stage (in_channels None) keeps the stem's size and width, as in timm.
        self.downsample: nn.Module = nn.Identity()
        if in_channels is not None:
            self.downsample = nn.Sequential(
                LayerNorm2d(in_channels, eps=NORM_EPS),
                nn.Conv2d(in_channels, channels, kernel_size=2, stride=2),
            )
        self.blocks = nn.Sequential(*(ConvNeXtBlock(channels) for _ in range(depth)))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.blocks(self.downsample(x_BCHW))


class ConvNeXt(nn.Module):
    """ConvNeXt over normalised photos.

    Source: timm ConvNeXt as OMG-Seg's OpenCLIPBackbone uses it; parity: tests/omg_llava/test_parity.py.
    """

    def __init__(self, depths: tuple[int, ...], dims: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dims[0], kernel_size=4, stride=4), LayerNorm2d(dims[0], eps=NORM_EPS))
        in_channels = (None, *dims[:-1])
        self.stages = nn.ModuleList(
            ConvNeXtStage(i, c, depth) for i, c, depth in zip(in_channels, dims, depths, strict=True)
        )

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Four feature maps, strides 4, 8, 16, 32 of the input, in that order."""
        x_BCHW = self.stem(pixels_B3HW)
        features = []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            features.append(x_BCHW)
        return features
