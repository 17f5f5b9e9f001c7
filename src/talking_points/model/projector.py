"""The projector: what the vision encoder saw, as tokens of the language model."""

# B photos, N cells, Q queries, D language model width, F two query vectors joined

from __future__ import annotations

import torch
from torch import Tensor, nn

from talking_points.model.config import VisionConfig

FEATURES_LEFT_OUT = 0.8
"""Of the points in training whose names are told. On training photos features say as much as names, and would be all
that is heard; on others the names are right more often."""


def _mlp2(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, out), nn.GELU(), nn.Linear(out, out))


class Projector(nn.Module):
    """Image tokens, a separator, object tokens; and the keypoint's token through the object MLP.

    Source: OMG-LLaVA modeling_projector.py, Naive_Proj; parity: tests/omg_llava/test_parity.py.
    """

    def __init__(self, config: VisionConfig, llm_width: int, *, names: bool = False) -> None:
        """names: with vectors of the names and colours of points, where the config has names."""
        super().__init__()
        query_channels = 2 * config.width
        image_channels = config.token_channels - query_channels
        self.image_mlp = _mlp2(image_channels + query_channels, llm_width)
        self.query_proj = nn.Linear(query_channels, image_channels)
        self.query_mlp = _mlp2(image_channels, llm_width)
        self.separator = nn.Embedding(1, llm_width)
        told = config.num_point_names + config.num_point_colours + 1
        self.names = nn.Linear(told, llm_width, bias=False) if names and config.num_point_names else None

    def forward(self, image_tokens_BNC: Tensor, query_feat_pos_BQF: Tensor, wins_BQN: Tensor) -> list[Tensor]:
        """For each photo (N + 1 + winning queries, D): cells, separator, the queries that win a cell."""
        cells_BND = self.image_mlp(image_tokens_BNC.to(self.separator.weight.dtype))
        queries_BQD = self.project_queries(query_feat_pos_BQF)
        return [
            torch.cat([cells, self.separator.weight, queries[wins.any(-1)]])
            for cells, queries, wins in zip(cells_BND, queries_BQD, wins_BQN, strict=True)
        ]

    def project_queries(self, query_feat_pos: Tensor) -> Tensor:
        """(..., F) query or keypoint numbers to (..., D) tokens."""
        return self.query_mlp(self.query_proj(query_feat_pos.to(self.separator.weight.dtype)))

    def project_points(self, points_PF: Tensor) -> Tensor:
        """(P, D) keypoint's tokens. points_PF: of `PointNetwork.encode_points`; what it tells of names is added as the
        mean of the names' vectors, where the projector has them. While it learns some points' features are left out."""
        numbers, told = points_PF.tensor_split([self.query_proj.in_features], dim=1)
        if self.names is None:
            return self.project_queries(numbers)
        features, positions = numbers.chunk(2, dim=1)
        if self.training:
            features = features * (torch.rand(len(features), 1, device=features.device) >= FEATURES_LEFT_OUT)
        tokens_PD = self.project_queries(torch.cat([features, positions], dim=1))
        return tokens_PD + self.names(told.to(tokens_PD.dtype))
