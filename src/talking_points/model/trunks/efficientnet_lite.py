"""EfficientNet-Lite, the small model's trunk: inverted bottlenecks, batch norms folded into the convolutions."""

# B photos, C channels, H W cells of the current stage

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.photos import CLIP_MEAN_RGB, CLIP_STD_RGB

STEM = 32
FEATURES = (1, 2, 4, 6)
"""Stages that are given out: the last ones at strides 4, 8, 16 and 32."""


class Stage(NamedTuple):
    """Of the variant 0; width and depth scale channels and blocks."""

    kernel: int
    stride: int
    expand: int
    channels: int
    blocks: int


# Source: EfficientNet-Lite's release (tensorflow/tpu, efficientnet/lite), which fixes the stem, and how deep the
# first and the last stage are.
STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
SCALES = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}
"""Width and depth of the variants."""


def channels_of(variant: str) -> tuple[int, ...]:
    """Channels of the four feature maps."""
    return tuple(_channels(STAGES[k].channels, SCALES[variant][0]) for k in FEATURES)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads "SAME": if the padding is odd, one cell more at right and bottom."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            padding = kernel // 2
            return F.conv2d(x_BCHW, self.weight, self.bias, padding=padding, groups=self.groups)
        sides = []
        for size in (x_BCHW.shape[-1], x_BCHW.shape[-2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x_BCHW, sides), self.weight, self.bias, stride, groups=self.groups)


class Bottleneck(nn.Module):
    """Expand, depthwise, project; a residual where nothing changes its size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inside = inputs * expand
        self.expand = None if expand == 1 else nn.Conv2d(inputs, inside, 1)
        self.depthwise = SameConv(inside, inside, kernel, stride, groups=inside)
        self.project = nn.Conv2d(inside, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = x_BCHW if self.expand is None else F.relu6(self.expand(x_BCHW), inplace=True)
        y_BCHW = self.project(F.relu6(self.depthwise(y_BCHW), inplace=True))
        return x_BCHW + y_BCHW if self.adds else y_BCHW


class EfficientNetLite(nn.Module):
    """Tan and Le, ICML 2019, in the form for devices without squeeze-and-excitation and with ReLU6."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        width, depth = SCALES[variant]
        # Squares are normalised as CLIP's; these weights were trained on (x - 127) / 128 of 0 to 255.
        mean, std = torch.tensor(CLIP_MEAN_RGB), torch.tensor(CLIP_STD_RGB)
        self.register_buffer("scale", (std * 255 / 128)[:, None, None], persistent=False)
        self.register_buffer("shift", ((mean * 255 - 127) / 128)[:, None, None], persistent=False)
        self.stem = SameConv(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM
        for index, stage in enumerate(STAGES):
            outputs = _channels(stage.channels, width)
            fixed = index in (0, len(STAGES) - 1)
            blocks = nn.Sequential()
            for number in range(stage.blocks if fixed else math.ceil(depth * stage.blocks)):
                stride = 1 if number else stage.stride
                blocks.append(Bottleneck(inputs, outputs, stage.kernel, stride, stage.expand))
                inputs = outputs
            self.stages.append(blocks)

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Four feature maps, strides 4, 8, 16, 32 of the input, in that order."""
        x_BCHW = F.relu6(self.stem(pixels_B3HW * self.get_buffer("scale") + self.get_buffer("shift")))
        features = []
        for index, stage in enumerate(self.stages):
            x_BCHW = stage(x_BCHW)
            if index in FEATURES:
                features.append(x_BCHW)
        return features


def _channels(channels: int, width: float) -> int:
    """Scaled and rounded to a multiple of 8, down by a tenth at most."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
