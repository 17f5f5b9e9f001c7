"""A trunk with seeded random weights, whose outputs under the published code stand in efficientnet_lite.safetensors.

    python -m tests.model.efficientnet_lite FOLDER

makes that file anew. FOLDER holds the package `efficientnet_lite_pytorch` 0.1.0 as PyPI has it, unpacked.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from talking_points.model.trunks.efficientnet_lite import FEATURES, EfficientNetLite

FILE = Path(__file__).with_suffix(".safetensors")
VARIANTS = ("efficientnet-lite0", "efficientnet-lite2")
SIZES_HW = ((64, 48), (45, 37))
"""Of the images; the second does not divide by 32."""
NORM_EPS = 1e-3
"""Of the published batch norms."""


def image(size_hw: tuple[int, int]) -> Tensor:
    """(1, 3, H, W) whole numbers of 0 to 255."""
    return torch.randint(256, (1, 3, *size_hw), generator=torch.Generator().manual_seed(1)).float()


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    """In the order of the data."""
    return [one for one in module.modules() if isinstance(one, nn.Conv2d)]


def drawn(trunk: EfficientNetLite) -> list[tuple[Tensor, Tensor]]:
    """Each convolution's weight, and (4, C) weight, bias, mean and variance of the batch norm behind it.

    Values reach beyond ReLU6's 6.
    """
    generator = torch.Generator().manual_seed(0)
    result = []
    for conv in convolutions(trunk):
        weight = torch.randn(conv.weight.shape, generator=generator) / conv.weight[0].numel() ** 0.5
        spread_4C = torch.tensor([[1.0], [8.0], [0.4], [1.0]]) * torch.rand(4, len(weight), generator=generator)
        result.append((weight, spread_4C + torch.tensor([[0.5], [-1.0], [-0.2], [0.5]])))
    return result


@torch.no_grad()
def fill(trunk: EfficientNetLite) -> EfficientNetLite:
    """Give a trunk what is drawn for it, batch norms folded into the convolutions."""
    for conv, (weight, norm_4C) in zip(convolutions(trunk), drawn(trunk), strict=True):
        scale_C = norm_4C[0] / (norm_4C[3] + NORM_EPS).sqrt()
        assert conv.bias is not None
        conv.weight.copy_(weight * scale_C[:, None, None, None])
        conv.bias.copy_(norm_4C[1] - norm_4C[2] * scale_C)
    return trunk.eval()


@torch.no_grad()
def published_outputs(variant: str) -> dict[str, Tensor]:
    """The published code's outputs by variant, size and stage."""
    from efficientnet_lite_pytorch import EfficientNet

    # Without a size of its own it pads by the input's, as TensorFlow does.
    published = EfficientNet.from_name(variant, image_size=None).eval()
    trunk = EfficientNetLite(variant)
    # Three of a block's layers may be missing, none changes its place; the last convolution is the classifier's.
    convs = [published._conv_stem]
    norms = [published._bn0]
    for block in published._blocks:
        for conv, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
            if hasattr(block, conv):
                convs.append(getattr(block, conv))
                norms.append(getattr(block, norm))
    for conv, norm, (weight, norm_4C) in zip(convs, norms, drawn(trunk), strict=True):
        assert norm.eps == NORM_EPS
        conv.weight.copy_(weight)
        for own, values in zip((norm.weight, norm.bias, norm.running_mean, norm.running_var), norm_4C, strict=True):
            own.copy_(values)
    ends = [sum(len(stage) for stage in list(trunk.stages)[: index + 1]) for index in range(len(trunk.stages))]  # type: ignore[arg-type]
    assert ends[-1] == len(published._blocks)
    outputs = {}
    for size_hw in SIZES_HW:
        x = published._swish(published._bn0(published._conv_stem((image(size_hw) - 127) / 128)))
        for index, (first, last) in enumerate(pairwise([0, *ends])):
            for block in published._blocks[first:last]:
                x = block(x)
            if index in FEATURES:
                outputs[f"{variant} {size_hw[0]}x{size_hw[1]} {FEATURES.index(index)}"] = x
    return outputs


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    outputs = {name: tensor for variant in VARIANTS for name, tensor in published_outputs(variant).items()}
    last = {f"{variant} last": drawn(EfficientNetLite(variant))[-1][1] for variant in VARIANTS}
    save_file({name: tensor.contiguous() for name, tensor in (outputs | last).items()}, FILE)


if __name__ == "__main__":
    main()
