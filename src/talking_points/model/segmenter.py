"""The frozen vision encoder: trunk, pixel decoder, mask decoder, image perception and keypoint prompt."""

# B photos, P points, Q queries, C channels of a query, N token cells, H W pixels or cells

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from talking_points.model.config import VisionConfig
from talking_points.model.image_perception import perceive_image
from talking_points.model.keypoint_prompt import KeypointPrompt, gaussian_region
from talking_points.model.mask_decoder import LEVEL_STRIDES, DecodedQueries, DecoderInputs, MaskDecoder
from talking_points.model.pixel_decoder import PixelDecoder
from talking_points.model.trunk import Trunk


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFeatures:
    """What the vision encoder computes of B photos, once; every point, text and role reads it."""

    image_hw: tuple[int, int]
    """Size of the network's input."""
    decoder_inputs: DecoderInputs
    image_tokens_BNC: Tensor
    """Folded last trunk stage joined with the query mixture."""
    query_feat_pos_BQF: Tensor
    wins_BQN: Tensor
    """bool: the query wins the cell."""

    def select(self, photos: Tensor) -> ImageFeatures:
        """Features of some of the photos. photos: (P,) indices, repeats allowed."""
        return self._each(lambda tensor: tensor[photos])

    @property
    def bytes(self) -> int:
        """Memory that is these photos' own."""
        inputs = self.decoder_inputs
        own = [inputs.mask_feature_BCHW, *inputs.cells, self.image_tokens_BNC, self.query_feat_pos_BQF, self.wins_BQN]
        return sum(tensor.numel() * tensor.element_size() for tensor in own)

    def photo(self, index: int) -> ImageFeatures:
        """One photo's features, in memory of their own."""
        return self.select(torch.tensor([index], device=self.wins_BQN.device))

    def join(self, others: Sequence[ImageFeatures]) -> ImageFeatures:
        """These photos', and others' behind them."""
        if not others:
            return self
        some = [self, *others]
        cells = zip(*(one.decoder_inputs.cells for one in some), strict=True)
        return self._with(
            mask_feature=torch.cat([one.decoder_inputs.mask_feature_BCHW for one in some]),
            cells=[torch.cat(level) for level in cells],
            image_tokens=torch.cat([one.image_tokens_BNC for one in some]),
            query_feat_pos=torch.cat([one.query_feat_pos_BQF for one in some]),
            wins=torch.cat([one.wins_BQN for one in some]),
        )

    def blank(self) -> ImageFeatures:
        """Features that say nothing of the photos: zeros everywhere a pixel could have reached."""
        return self._each(torch.zeros_like)

    def pack(self, dtype: torch.dtype, *, maps: bool) -> list[dict[str, Tensor]]:
        """Each photo's tensors by name: tokens in a type, and with `maps` the decoder's inputs."""
        inputs = self.decoder_inputs
        tensors = {
            "image_tokens": self.image_tokens_BNC.to(dtype),
            "query_feat_pos": self.query_feat_pos_BQF.to(dtype),
            "wins": self.wins_BQN,
        }
        if maps:
            tensors["mask_feature"] = inputs.mask_feature_BCHW
            tensors |= {f"cells_{level}": cells for level, cells in enumerate(inputs.cells)}
        return [{name: tensor[b] for name, tensor in tensors.items()} for b in range(len(self.wins_BQN))]

    def _each(self, change: Callable[[Tensor], Tensor]) -> ImageFeatures:
        """With every tensor that depends on the photos changed."""
        return self._with(
            mask_feature=change(self.decoder_inputs.mask_feature_BCHW),
            cells=[change(cells) for cells in self.decoder_inputs.cells],
            image_tokens=change(self.image_tokens_BNC),
            query_feat_pos=change(self.query_feat_pos_BQF),
            wins=change(self.wins_BQN),
        )

    def _with(
        self, *, mask_feature: Tensor, cells: list[Tensor], image_tokens: Tensor, query_feat_pos: Tensor, wins: Tensor
    ) -> ImageFeatures:
        inputs = replace(self.decoder_inputs, mask_feature_BCHW=mask_feature, cells=cells)
        return replace(
            self,
            decoder_inputs=inputs,
            image_tokens_BNC=image_tokens,
            query_feat_pos_BQF=query_feat_pos,
            wins_BQN=wins,
        )


class Segmenter(nn.Module):
    """OMG-Seg's visual encoder as OMG-LLaVA uses it, with the paper's Gaussian keypoint prompt."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk_depths, config.trunk_dims)
        self.pixel_decoder = PixelDecoder(config)
        self.mask_decoder = MaskDecoder(config)
        self.keypoint_prompt = KeypointPrompt(config)

    def forward(self, pixels_B3HW: Tensor) -> ImageFeatures:
        """Encode letterboxed, normalised photos."""
        return self.encode(pixels_B3HW)[0]

    def encode(self, pixels_B3HW: Tensor) -> tuple[ImageFeatures, DecodedQueries]:
        """`forward`, and the decoder's queries layer by layer, which the base's training supervises."""
        stages = self.trunk(pixels_B3HW)
        inputs = self.mask_decoder.prepare(*self.pixel_decoder(stages))
        queries, pos = self.mask_decoder.learned_queries(pixels_B3HW.shape[0])
        decoded = self.mask_decoder.decode(queries, pos, inputs)
        last_BQC, mask_logits = decoded.queries[-1], decoded.mask_logits[-1]
        class_logits = self.mask_decoder.class_logits(last_BQC, mask_logits, inputs)
        folded_BCHW = fold_pixels(stages[-1], self.config.pixel_shuffle)
        query_feat_pos = torch.cat([last_BQC, decoded.pos_BQC], dim=-1)
        image_hw = (int(pixels_B3HW.shape[-2]), int(pixels_B3HW.shape[-1]))
        grid_hw = (int(folded_BCHW.shape[-2]), int(folded_BCHW.shape[-1]))
        mixture_BNF, wins_BQN = perceive_image(mask_logits, class_logits, query_feat_pos, image_hw, grid_hw)
        features = ImageFeatures(
            image_hw=image_hw,
            decoder_inputs=inputs,
            image_tokens_BNC=torch.cat([folded_BCHW.flatten(2).transpose(1, 2), mixture_BNF], dim=-1),
            query_feat_pos_BQF=query_feat_pos,
            wins_BQN=wins_BQN,
        )
        return features, decoded

    def unpack(self, packed: Sequence[Mapping[str, Tensor]], *, maps: bool) -> ImageFeatures:
        """Photos' features out of what `ImageFeatures.pack` made of them, on the segmenter's device."""
        device, side = self.mask_decoder.class_embed.device, self.config.image_size

        def stacked(name: str) -> Tensor:
            return torch.stack([one[name] for one in packed]).to(device, non_blocking=True)

        sizes_hw = [(side // stride, side // stride) for stride in LEVEL_STRIDES]
        empty = torch.empty(len(packed), 0, 0, 0, device=device)
        return ImageFeatures(
            image_hw=(side, side),
            decoder_inputs=DecoderInputs(
                mask_feature_BCHW=stacked("mask_feature") if maps else empty,
                cells=[stacked(f"cells_{level}") for level in range(len(sizes_hw))] if maps else [],
                cell_positions=self.mask_decoder.cell_positions(sizes_hw, device),
                sizes_hw=sizes_hw,
            ),
            image_tokens_BNC=stacked("image_tokens"),
            query_feat_pos_BQF=stacked("query_feat_pos"),
            wins_BQN=stacked("wins"),
        )

    def decode_points(
        self, features: ImageFeatures, points_BP2: Tensor, *, region: str | None = None
    ) -> DecodedQueries:
        """The queries of points, layer by layer (paper 3.2).

        Args:
            features: of B photos.
            points_BP2: x, y in [0, 1]^2 of the square, P of each photo; a photo with fewer repeats one.
            region: "gaussian" or "predicted-mask"; None: the config's.
        """
        height, width = features.image_hw
        points_px = points_BP2 * points_BP2.new_tensor([width, height])
        feat, pos = self.keypoint_prompt(points_px, features.image_hw)
        regions = None
        if (region or self.config.region) == "gaussian":
            regions = [
                gaussian_region(
                    points_px,
                    features.image_hw,
                    size_hw,
                    sigma_px=self.config.gaussian_sigma_px,
                    threshold=self.config.gaussian_threshold,
                )
                for size_hw in features.decoder_inputs.sizes_hw
            ]
        return self.mask_decoder.decode(feat, pos, features.decoder_inputs, regions=regions, independent=True)

    def encode_points(self, features: ImageFeatures, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        """(B, P, 2C): each keypoint's feature and region feature joined. Arguments as `decode_points`."""
        return keypoint_numbers(self.decode_points(features, points_BP2, region=region))


def keypoint_numbers(decoded: DecodedQueries) -> Tensor:
    """(B, P, 2C): what the projector reads of decoded points, feature and region feature joined."""
    return torch.cat([decoded.queries[-1], decoded.pos_BQC], dim=-1)


def fold_pixels(x_BCHW: Tensor, factor: int) -> Tensor:
    """Fold blocks of factor x factor cells into channels, row and column offset before the channel.

    Source: OMG-LLaVA omg_seg_visual_encoder.py, pixel_shuffle_feat (another order than torch's pixel_unshuffle).
    """
    B, C, H, W = x_BCHW.shape
    blocks = x_BCHW.view(B, C, H // factor, factor, W // factor, factor)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(B, factor * factor * C, H // factor, W // factor)
