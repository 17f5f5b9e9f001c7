"""The frozen vision encoder: trunk, pixel decoder, mask decoder, image perception and keypoint prompt."""

# B photos, P points, Q queries, C channels of a query, N token cells, H W pixels or cells

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.model.adapted_regions import anisotropic_regions, content_regions
from talking_points.model.config import VisionConfig
from talking_points.model.image_perception import perceive_image
from talking_points.model.keypoint_prompt import KeypointPrompt, gaussian_region
from talking_points.model.mask_decoder import LEVEL_STRIDES, DecoderInputs, MaskDecoder
from talking_points.model.pixel_decoder import PixelDecoder
from talking_points.model.point_names import PIXEL_STRIDE, PointNames, looks_at_points, seen_at_points
from talking_points.model.trunks.convnext import ConvNeXt
from talking_points.model.trunks.efficientnet_lite import EfficientNetLite

TOKENS = ("image_tokens", "query_feat_pos", "wins")
"""Of `ImageFeatures.tensors`, what the projector reads."""
MAPS = tuple(f"cells_{level}" for level in range(len(LEVEL_STRIDES)))
"""What coordinate heads read."""


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
    pixels_B3HW: Tensor | None = None
    """The photo itself, small, for a network that names colours."""

    def tensors(self) -> dict[str, Tensor]:
        """What depends on the photos, by name; photos along the first dimension."""
        inputs = self.decoder_inputs
        return {
            "image_tokens": self.image_tokens_BNC,
            "query_feat_pos": self.query_feat_pos_BQF,
            "wins": self.wins_BQN,
            "mask_feature": inputs.mask_feature_BCHW,
            **{f"cells_{level}": cells for level, cells in enumerate(inputs.cells)},
            **({} if self.pixels_B3HW is None else {"pixels": self.pixels_B3HW}),
        }

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> ImageFeatures:
        """The same with other `tensors`."""
        cells = [tensor for name, tensor in tensors.items() if name.startswith("cells_")]
        return replace(
            self,
            decoder_inputs=replace(self.decoder_inputs, mask_feature_BCHW=tensors["mask_feature"], cells=cells),
            image_tokens_BNC=tensors["image_tokens"],
            query_feat_pos_BQF=tensors["query_feat_pos"],
            wins_BQN=tensors["wins"],
            pixels_B3HW=tensors.get("pixels"),
        )

    @property
    def bytes(self) -> int:
        """Memory that is these photos' own."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors().values())

    def select(self, photos: Tensor) -> ImageFeatures:
        """Features of some of the photos. photos: (P,) indices, repeats allowed."""
        return self.with_tensors({name: tensor[photos] for name, tensor in self.tensors().items()})

    def photo(self, index: int) -> ImageFeatures:
        """One photo's features, in memory of their own."""
        return self.select(torch.tensor([index], device=self.wins_BQN.device))

    def join(self, others: Sequence[ImageFeatures]) -> ImageFeatures:
        """These photos', and others' behind them."""
        if not others:
            return self
        some = [one.tensors() for one in (self, *others)]
        return self.with_tensors({name: torch.cat([one[name] for one in some]) for name in some[0]})

    def pack(self, dtype: torch.dtype, *, maps: bool) -> list[dict[str, Tensor]]:
        """Each photo's tensors by name: tokens in a type, and with `maps` what coordinate heads read."""
        names = TOKENS + (MAPS if maps else ())
        kept = {name: tensor for name, tensor in self.tensors().items() if name in names}
        kept |= {name: kept[name].to(dtype) for name in ("image_tokens", "query_feat_pos")}
        return [{name: tensor[b] for name, tensor in kept.items()} for b in range(len(self.wins_BQN))]


class Segmenter(nn.Module):
    """OMG-Seg's visual encoder as OMG-LLaVA uses it, with the paper's Gaussian keypoint prompt."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk: ConvNeXt | EfficientNetLite = (
            ConvNeXt(config.trunk_depths, config.trunk_dims)
            if config.trunk == "convnext"
            else EfficientNetLite(config.trunk)
        )
        self.pixel_decoder = PixelDecoder(config)
        self.mask_decoder = MaskDecoder(config)
        self.keypoint_prompt = KeypointPrompt(config)
        self.point_names = PointNames(config) if config.num_point_names else None

    def forward(self, pixels_B3HW: Tensor) -> ImageFeatures:
        """Encode letterboxed, normalised photos."""
        return self.segment(pixels_B3HW)[0]

    def segment(self, pixels_B3HW: Tensor) -> tuple[ImageFeatures, Tensor, Tensor]:
        """Encode photos; also what is seen in them: the queries' (B, Q, H, W) mask and (B, Q, K + 1) class logits."""
        stages = self.trunk(pixels_B3HW)
        image_hw = (int(pixels_B3HW.shape[-2]), int(pixels_B3HW.shape[-1]))
        features, masks, classes = self.segment_seen(stages[-1], *self.pixel_decoder(stages), image_hw=image_hw)
        if self.point_names is not None:
            features = replace(features, pixels_B3HW=F.avg_pool2d(pixels_B3HW, PIXEL_STRIDE))
        return features, masks, classes

    def segment_seen(
        self, last_BCHW: Tensor, mask_feature_BCHW: Tensor, memories: list[Tensor], *, image_hw: tuple[int, int]
    ) -> tuple[ImageFeatures, Tensor, Tensor]:
        """`segment`, from what trunk and pixel decoder say: the trunk's last stage, the decoder's outputs."""
        inputs = self.mask_decoder.prepare(mask_feature_BCHW, memories)
        query_BQC, pos_BQC = self.mask_decoder.learned_queries(len(last_BCHW))
        query_BQC, mask_logits = self.mask_decoder.decode(query_BQC, pos_BQC, inputs)
        assert mask_logits is not None
        class_logits = self.mask_decoder.class_logits(query_BQC, mask_logits, inputs)
        folded_BCHW = fold_pixels(last_BCHW, self.config.pixel_shuffle)
        query_feat_pos = torch.cat([query_BQC, pos_BQC], dim=-1)
        grid_hw = (int(folded_BCHW.shape[-2]), int(folded_BCHW.shape[-1]))
        mixture_BNF, wins_BQN = perceive_image(mask_logits, class_logits, query_feat_pos, image_hw, grid_hw)
        features = ImageFeatures(
            image_hw=image_hw,
            decoder_inputs=inputs,
            image_tokens_BNC=torch.cat([folded_BCHW.flatten(2).transpose(1, 2), mixture_BNF], dim=-1),
            query_feat_pos_BQF=query_feat_pos,
            wins_BQN=wins_BQN,
        )
        return features, mask_logits, class_logits

    def unpack(self, packed: Sequence[Mapping[str, Tensor]], *, maps: bool) -> ImageFeatures:
        """Photos' features out of what `ImageFeatures.pack` made of them, on the segmenter's device."""
        device, side = self.mask_decoder.class_embed.device, self.config.image_size
        sizes_hw = [(side // stride, side // stride) for stride in LEVEL_STRIDES]
        nothing = torch.empty(len(packed), 0, 0, 0, device=device)
        inputs = DecoderInputs(
            mask_feature_BCHW=nothing,
            cells=[],
            cell_positions=self.mask_decoder.cell_positions(sizes_hw, device),
            sizes_hw=sizes_hw,
        )
        empty = ImageFeatures(
            image_hw=(side, side),
            decoder_inputs=inputs,
            image_tokens_BNC=nothing,
            query_feat_pos_BQF=nothing,
            wins_BQN=nothing,
        )
        names = [name for name in packed[0] if maps or name in TOKENS]
        stacked = {name: torch.stack([one[name] for one in packed]).to(device, non_blocking=True) for name in names}
        return empty.with_tensors({"mask_feature": nothing, **stacked})

    def encode_points(self, features: ImageFeatures, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        """(B, P, 2C): each keypoint's feature and region feature joined, which the projector reads (paper 3.2).

        Where the network knows names (ours), behind them: how likely each name is, each colour, and no colour.

        Args:
            features: of B photos.
            points_BP2: x, y in [0, 1]^2 of the square, P of each photo; a photo with fewer repeats one.
            region: one of `config.REGIONS`; None: the config's.
        """
        numbers_BPF = self.encode_keypoints(features, points_BP2, region=region)
        if self.point_names is None:
            return numbers_BPF
        chances_BPK = self.point_names(*self.seen_at(features, numbers_BPF, points_BP2))
        return torch.cat([numbers_BPF, chances_BPK], dim=-1)

    def seen_at(self, features: ImageFeatures, numbers_BPF: Tensor, points_BP2: Tensor) -> tuple[Tensor, Tensor]:
        """What names and colours of points are read of, (B, P, S) and (B, P, LOOKS).

        numbers_BPF: `encode_keypoints` of the points.
        """
        assert features.pixels_B3HW is not None
        queries_BQC = self.mask_decoder.embed_masks(features.query_feat_pos_BQF[..., : self.config.width])
        seen_BPS = seen_at_points(numbers_BPF, queries_BQC, features.decoder_inputs, points_BP2)
        return seen_BPS, looks_at_points(features.pixels_B3HW, points_BP2)

    def encode_keypoints(self, features: ImageFeatures, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        """(B, P, 2C): `encode_points` without names."""
        (height, width), inputs = features.image_hw, features.decoder_inputs
        points_px = points_BP2 * points_BP2.new_tensor([width, height])
        query_BPC, pos_BPC = self.keypoint_prompt(points_px, features.image_hw)
        regions = self._regions(features, points_px, region or self.config.region)
        query_BPC, _ = self.mask_decoder.decode(query_BPC, pos_BPC, inputs, regions=regions, independent=True)
        return torch.cat([query_BPC, pos_BPC], dim=-1)

    def _regions(self, features: ImageFeatures, points_px_BP2: Tensor, region: str) -> list[Tensor] | None:
        """For each level where the points look, bool (B, P, N); None: where their own masks are."""
        if region == "predicted-mask":
            return None
        inputs, image_hw, config = features.decoder_inputs, features.image_hw, self.config
        size = {"sigma_px": config.gaussian_sigma_px, "threshold": config.gaussian_threshold}
        if region == "gaussian":
            return [
                gaussian_region(points_px_BP2, image_hw, size_hw, **size, cells=config.region_cells)
                for size_hw in inputs.sizes_hw
            ]
        adapted = {"anisotropic": anisotropic_regions, "content": content_regions}[region]
        return adapted(points_px_BP2, inputs.mask_feature_BCHW, image_hw, inputs.sizes_hw, **size)


def fold_pixels(x_BCHW: Tensor, factor: int) -> Tensor:
    """Fold blocks of factor x factor cells into channels, row and column offset before the channel.

    Source: OMG-LLaVA omg_seg_visual_encoder.py, pixel_shuffle_feat (another order than torch's pixel_unshuffle).
    """
    B, C, H, W = x_BCHW.shape
    blocks = x_BCHW.view(B, C, H // factor, factor, W // factor, factor)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(B, factor * factor * C, H // factor, W // factor)
