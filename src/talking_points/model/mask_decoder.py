"""The mask decoder: queries that look at the photo level by level, inside masks, and say mask and class."""

# B photos, Q queries, C channels, M heads, H W cells of the mask feature, N cells of one level, K classes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.config import VisionConfig
from talking_points.model.positions import sine_grid_of_first_frame

LEVEL_STRIDES = (32, 16, 8)
"""Pixels a cell of the levels that queries look at, in turn."""


class Attention(nn.Module):
    """Multi-head attention in nn.MultiheadAttention's weight layout, keys and values computed apart.

    Apart, because all keypoints of a photo share the photo's keys and values.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query_BQC: Tensor, key_BNC: Tensor, value_BNC: Tensor, mask: Tensor | None) -> Tensor:
        """mask: bool, broadcastable to (B, M, Q, N), True where the query may look; None: everywhere."""
        w_q, w_k, w_v = self.in_proj_weight.chunk(3)
        b_q, b_k, b_v = self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, w, b).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, w, b in ((query_BQC, w_q, b_q), (key_BNC, w_k, b_k), (value_BNC, w_v, b_v))
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


class MaskDecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, FFN; each with a residual and a norm after it.

    Source: mmdet Mask2FormerTransformerDecoderLayer.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.cross_attn = Attention(config.width, config.num_heads)
        self.norm1 = nn.LayerNorm(config.width)
        self.self_attn = Attention(config.width, config.num_heads)
        self.norm2 = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.mask_decoder_ffn)
        self.fc2 = nn.Linear(config.mask_decoder_ffn, config.width)
        self.norm3 = nn.LayerNorm(config.width)

    def forward(
        self,
        query_BQC: Tensor,
        pos_BQC: Tensor,
        cells_BNC: Tensor,
        cell_pos_NC: Tensor,
        look_B1QN: Tensor,
        see_each_other: Tensor | None,
    ) -> Tensor:
        x = query_BQC
        x = self.norm1(x + self.cross_attn(x + pos_BQC, cells_BNC + cell_pos_NC, cells_BNC, look_B1QN))
        x = self.norm2(x + self.self_attn(x + pos_BQC, x + pos_BQC, x, see_each_other))
        return self.norm3(x + self.fc2(F.relu(self.fc1(x))))


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderInputs:
    """What queries look at, for B photos. Computed once a photo."""

    mask_feature_BCHW: Tensor
    cells: list[Tensor]
    """(B, N, C) for each level, strides 32, 16, 8; level embedding added."""
    cell_positions: list[Tensor]
    """(N, C) for each level."""
    sizes_hw: list[tuple[int, int]]


def mlp3(width: int, out: int) -> nn.Sequential:
    """Three linear layers with ReLU between."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


class MaskDecoder(nn.Module):
    """Mask2Former's decoder with open-vocabulary classes. Of the IoU head only the weights are carried.

    Source: OMG-Seg Mask2FormerVideoSemSamHead; parity: tests/omg_llava/test_parity.py.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.width
        self.query_feat = nn.Embedding(config.num_queries, width)
        self.query_embed = nn.Embedding(config.num_queries, width)
        self.level_embed = nn.Embedding(len(LEVEL_STRIDES), width)
        self.layers = nn.ModuleList(MaskDecoderLayer(config) for _ in range(config.mask_decoder_layers))
        self.post_norm = nn.LayerNorm(width)
        self.mask_embed = mlp3(width, width)
        self.iou_embed = mlp3(width, 1)
        self.mask_pooling_norm = nn.LayerNorm(width)
        self.mask_pooling_proj = nn.Linear(width, width)
        self.class_proj = mlp3(width, config.class_embed_dim)
        # OMG-Seg's rows are CLIP text prototypes of unit norm; `mini` learns its own.
        self.class_embed = nn.Parameter(
            F.normalize(torch.randn(config.num_classes, config.class_embed_prototypes, config.class_embed_dim), dim=-1)
        )
        self.class_logit_scale = config.class_logit_scale

    def prepare(self, mask_feature_BCHW: Tensor, memories: list[Tensor]) -> DecoderInputs:
        """Lay out the pixel decoder's outputs for the queries to look at."""
        sizes_hw = [(int(m.shape[-2]), int(m.shape[-1])) for m in memories]
        return DecoderInputs(
            mask_feature_BCHW=mask_feature_BCHW,
            cells=[m.flatten(2).transpose(1, 2) + self.level_embed.weight[level] for level, m in enumerate(memories)],
            cell_positions=self.cell_positions(sizes_hw, mask_feature_BCHW.device),
            sizes_hw=sizes_hw,
        )

    def cell_positions(self, sizes_hw: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
        """(N, C) encodings of the cells' places, for each level."""
        width = self.query_feat.embedding_dim
        return [sine_grid_of_first_frame(h, w, width, device) for h, w in sizes_hw]

    def learned_queries(self, photos: int) -> tuple[Tensor, Tensor]:
        """The (B, Q, C) features and positions that segment the whole photo."""
        return (
            self.query_feat.weight.expand(photos, -1, -1),
            self.query_embed.weight.expand(photos, -1, -1),
        )

    def decode(
        self,
        query_BQC: Tensor,
        pos_BQC: Tensor,
        inputs: DecoderInputs,
        *,
        regions: list[Tensor] | None = None,
        independent: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the layers: the queries (B, Q, C) before the final norm, and their (B, Q, H, W) mask logits.

        Args:
            query_BQC, pos_BQC: initial features and positions.
            inputs: from `prepare`.
            regions: for each level a bool (B, Q, N), True inside: attention stays in these fixed regions (the
                paper's Gaussian), and there are no masks. None: it follows the masks that the queries predict.
            independent: queries do not see each other, as if each were decoded alone (prompts).
        """
        alone = torch.eye(query_BQC.shape[1], dtype=torch.bool, device=query_BQC.device) if independent else None
        # Masks are linear in the mask feature, so that resizing it once a level is resizing every layer's masks.
        small = [] if regions is not None else [_resized(inputs.mask_feature_BCHW, size) for size in inputs.sizes_hw]
        for i, layer in enumerate(self.layers):
            level = i % len(LEVEL_STRIDES)
            if regions is not None:
                look_BQN = regions[level]
            else:
                # At least one half is inside.
                look_BQN = torch.bmm(self.embed_masks(query_BQC).detach(), small[level]).sigmoid() >= 0.5
            # A query whose mask is empty on this level looks everywhere.
            look_BQN = look_BQN | ~look_BQN.any(-1, keepdim=True)
            cells_BNC, cell_pos_NC = inputs.cells[level], inputs.cell_positions[level]
            query_BQC = layer(query_BQC, pos_BQC, cells_BNC, cell_pos_NC, look_BQN[:, None], alone)
        return query_BQC, self.mask_logits(query_BQC, inputs) if regions is None else None

    def mask_logits(self, query_BQC: Tensor, inputs: DecoderInputs) -> Tensor:
        """(B, Q, H, W) mask logits at stride 4."""
        B, C, H, W = inputs.mask_feature_BCHW.shape
        return torch.bmm(self.embed_masks(query_BQC), inputs.mask_feature_BCHW.flatten(2)).view(B, -1, H, W)

    def embed_masks(self, query_BQC: Tensor) -> Tensor:
        """(B, Q, C): its products with the mask feature are the queries' masks."""
        return self.mask_embed(self.post_norm(query_BQC))

    def class_logits(self, query_BQC: Tensor, mask_logits_BQHW: Tensor, inputs: DecoderInputs) -> Tensor:
        """(B, Q, K + 1) scaled cosines with the class embedding; the last is background.

        Features are pooled inside the predicted masks, which take no gradient from here.
        """
        inside = (mask_logits_BQHW.detach() > 0).to(query_BQC.dtype).flatten(2)
        area = inside.sum(-1, keepdim=True) + 1e-8
        pooled_BQC = torch.bmm(inside / area, inputs.mask_feature_BCHW.flatten(2).transpose(1, 2))
        pooled_BQC = self.mask_pooling_proj(self.mask_pooling_norm(pooled_BQC))
        embed_BQE = F.normalize(self.class_proj(pooled_BQC + self.post_norm(query_BQC)), dim=-1)
        cosine_BQKR = torch.einsum("bqe,kre->bqkr", embed_BQE, self.class_embed)
        # Background's prototype is the zero vector, so its cosine is 0.
        best_BQK = F.pad(cosine_BQKR.amax(-1), (0, 1))
        return best_BQK * torch.tensor(self.class_logit_scale).exp()


def _resized(mask_feature_BCHW: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(B, C, h*w) mask feature on the cells of a level."""
    return F.interpolate(mask_feature_BCHW.detach(), size_hw, mode="bilinear", align_corners=False).flatten(2)
