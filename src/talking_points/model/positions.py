"""Sine encodings of grids and of boxes, shared by both decoders."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0


def _frequencies(num_feats: int, device: torch.device) -> Tensor:
    exponent = 2 * (torch.arange(num_feats, device=device, dtype=torch.float32) // 2) / num_feats
    return TEMPERATURE**exponent


def _interleave(angles: Tensor) -> Tensor:
    """sin of the even features, cos of the odd ones. angles: (..., F)."""
    return torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), dim=-1).flatten(-2)


def sine_grid(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """(height * width, channels) float32 of a grid's cells, y features before x features.

    Source: mmdet SinePositionalEncoding(normalize=True).
    """

    def along(length: int) -> Tensor:
        angles = torch.arange(1, length + 1, device=device, dtype=torch.float32) / (length + 1e-6) * 2 * math.pi
        return _interleave(angles[:, None] / _frequencies(channels // 2, device))

    y_HF, x_WF = along(height), along(width)
    grid = torch.cat([y_HF[:, None].expand(-1, width, -1), x_WF[None].expand(height, -1, -1)], dim=-1)
    return grid.flatten(0, 1)


def sine_grid_of_first_frame(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """`sine_grid` plus the constant encoding of a video's only frame.

    OMG-Seg reads photos as one-frame videos, and its trained weights expect the constant.
    Source: mmdet SinePositionalEncoding3D.
    """
    frame = torch.full((1, 1), 1 / (1 + 1e-6) * 2 * math.pi, device=device)
    return sine_grid(height, width, channels, device) + _interleave(frame / _frequencies(channels, device))


def sine_boxes(boxes_cxcywh: Tensor, num_feats: int) -> Tensor:
    """(..., 4 * num_feats) of boxes in [0, 1] of the square, as (cy, cx, w, h) features.

    Source: mmdet coordinate_to_encoding.
    """
    freq = _frequencies(num_feats, boxes_cxcywh.device)
    cx, cy, w, h = (_interleave(v[..., None] * 2 * math.pi / freq) for v in boxes_cxcywh.float().unbind(-1))
    return torch.cat([cy, cx, w, h], dim=-1)
