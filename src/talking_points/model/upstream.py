"""Names of OMG-LLaVA's published weights, as one table each, and the renaming into ours.

Every published name is either renamed or on a drop list with its reason; any other is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from talking_points.model.config import VisionConfig

_ATTENTION = {
    r"attn\.in_proj_(weight|bias)": r"in_proj_\1",
    r"attn\.out_proj\.(weight|bias)": r"out_proj.\1",
}

SEGMENTER_NAMES: dict[str, str] = {
    # trunk (timm ConvNeXt; OMG-Seg calls the stages layer1..4)
    r"backbone\.stem\.(\d)\.(weight|bias)": r"trunk.stem.\1.\2",
    r"backbone\.layer(\d)\.downsample\.(\d)\.(weight|bias)": r"trunk.stages.{\1}.downsample.\2.\3",
    r"backbone\.layer(\d)\.blocks\.(\d+)\.(conv_dw|norm)\.(weight|bias)": r"trunk.stages.{\1}.blocks.\2.\3.\4",
    r"backbone\.layer(\d)\.blocks\.(\d+)\.mlp\.(fc1|fc2)\.(weight|bias)": r"trunk.stages.{\1}.blocks.\2.\3.\4",
    r"backbone\.layer(\d)\.blocks\.(\d+)\.gamma": r"trunk.stages.{\1}.blocks.\2.gamma",
    # pixel decoder (mmdet MSDeformAttnPixelDecoder)
    r"panoptic_head\.pixel_decoder\.input_convs\.(\d)\.conv\.(weight|bias)": r"pixel_decoder.input_convs.\1.conv.\2",
    r"panoptic_head\.pixel_decoder\.input_convs\.(\d)\.gn\.(weight|bias)": r"pixel_decoder.input_convs.\1.norm.\2",
    r"panoptic_head\.pixel_decoder\.level_encoding\.weight": r"pixel_decoder.level_embed.weight",
    r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.self_attn\.(\w+)\.(weight|bias)": (
        r"pixel_decoder.layers.\1.attention.\2.\3"
    ),
    r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.ffn\.layers\.0\.0\.(weight|bias)": (
        r"pixel_decoder.layers.\1.fc1.\2"
    ),
    r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.ffn\.layers\.1\.(weight|bias)": (
        r"pixel_decoder.layers.\1.fc2.\2"
    ),
    r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.norms\.(\d)\.(weight|bias)": (
        r"pixel_decoder.layers.\1.norm{+\2}.\3"
    ),
    r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.conv\.weight": r"pixel_decoder.lateral_conv.conv.weight",
    r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.gn\.(weight|bias)": r"pixel_decoder.lateral_conv.norm.\1",
    r"panoptic_head\.pixel_decoder\.output_convs\.0\.conv\.weight": r"pixel_decoder.output_conv.conv.weight",
    r"panoptic_head\.pixel_decoder\.output_convs\.0\.gn\.(weight|bias)": r"pixel_decoder.output_conv.norm.\1",
    r"panoptic_head\.pixel_decoder\.mask_feature\.(weight|bias)": r"pixel_decoder.mask_feature.\1",
    # mask decoder (OMG-Seg Mask2FormerVideoSemSamHead)
    r"panoptic_head\.(query_feat|query_embed|level_embed)\.weight": r"mask_decoder.\1.weight",
    **{
        rf"panoptic_head\.transformer_decoder\.layers\.(\d+)\.(cross_attn|self_attn)\.{old}": (
            rf"mask_decoder.layers.\1.\2.{new.replace(chr(92) + '1', chr(92) + '3')}"
        )
        for old, new in _ATTENTION.items()
    },
    r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.ffn\.layers\.0\.0\.(weight|bias)": (
        r"mask_decoder.layers.\1.fc1.\2"
    ),
    r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.ffn\.layers\.1\.(weight|bias)": (
        r"mask_decoder.layers.\1.fc2.\2"
    ),
    r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.norms\.(\d)\.(weight|bias)": (
        r"mask_decoder.layers.\1.norm{+\2}.\3"
    ),
    r"panoptic_head\.transformer_decoder\.post_norm\.(weight|bias)": r"mask_decoder.post_norm.\1",
    r"panoptic_head\.(mask_embed|iou_embed)\.(\d)\.(weight|bias)": r"mask_decoder.\1.\2.\3",
    r"panoptic_head\.mask_pooling_proj\.0\.(weight|bias)": r"mask_decoder.mask_pooling_norm.\1",
    r"panoptic_head\.mask_pooling_proj\.1\.(weight|bias)": r"mask_decoder.mask_pooling_proj.\1",
    r"panoptic_head\.cls_proj\.(\d)\.(weight|bias)": r"mask_decoder.class_proj.\1.\2",
    # keypoint prompt
    r"panoptic_head\.mask_tokens\.weight": r"keypoint_prompt.mask_token.weight",
    r"panoptic_head\.pb_embedding\.weight": r"keypoint_prompt.prompt_type.weight",
    r"panoptic_head\.pos_linear\.(weight|bias)": r"keypoint_prompt.position.\1",
}
"""Published name (regular expression) -> ours. {n} is n - 1, {+n} is n + 1."""

SEGMENTER_DROPPED: tuple[str, ...] = (
    r"data_preprocessor\..*",  # normalisation constants, the same as images.py's
    r"panoptic_head\.cls_embed",  # class text embedding, comes from its own file
    r"panoptic_head\.logit_scale",  # constant, in the config
    r"backbone\.(norm_pre|head|avgpool)\..*",  # CLIP's pooling head, after the last stage we read
)

PROJECTOR_NAMES: dict[str, str] = {
    r"projector\.model\.model_feat\.(\d)\.(weight|bias)": r"image_mlp.\1.\2",
    r"projector\.model\.query_proj\.(weight|bias)": r"query_proj.\1",
    r"projector\.model\.model\.(\d)\.(weight|bias)": r"query_mlp.\1.\2",
    r"projector\.model\.seperate_embed\.weight": r"separator.weight",
}

TEXT_TO_VISION_NAMES: dict[str, str] = {r"projector_text2vision\.model\.(\d)\.(weight|bias)": r"\1.\2"}

OPEN_CLIP_NAMES: dict[str, str] = {
    r"visual\.trunk\.stem\.(.*)": r"backbone.stem.\1",
    r"visual\.trunk\.stages\.(\d)\.(.*)": r"backbone.layer{+\1}.\2",
}
OPEN_CLIP_DROPPED: tuple[str, ...] = (
    r"visual\.trunk\.(norm_pre|head)\..*",  # after the last stage we read
    r"visual\.head\..*",
    r"transformer\..*",  # the text tower and its parts
    r"(token_embedding|ln_final)\..*",
    r"positional_embedding|text_projection|logit_scale|attn_mask",
)


def rename(
    weights: Mapping[str, Tensor], names: Mapping[str, str], dropped: tuple[str, ...] = (), *, source: str
) -> dict[str, Tensor]:
    """Rename published weights.

    Raises:
        ValueError: a name is in neither the table nor the drop list, or two names become one.
    """
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in weights.items():
        if any(re.fullmatch(pattern, name) for pattern in dropped):
            continue
        for pattern, template in names.items():
            match = re.fullmatch(pattern, name)
            if match:
                new = re.sub(r"\{(\+?)(\d+)\}", _shift, match.expand(template))
                if new in renamed:
                    raise ValueError(f"{source}: two tensors become {new!r}, the second is {name!r}")
                renamed[new] = tensor
                break
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(f"{source}: unknown tensor {unknown[0]!r}" + _and_more(len(unknown) - 1))
    return renamed


def _shift(match: re.Match[str]) -> str:
    return str(int(match[2]) + (1 if match[1] else -1))


def _and_more(count: int) -> str:
    return f" and {count} more" if count else ""


def segmenter_state(weights: Mapping[str, Tensor], class_embed: Tensor, *, source: str) -> dict[str, Tensor]:
    """OMG-Seg's `backbone.*` and `panoptic_head.*`, and the class embedding, under our Segmenter's names.

    Args:
        weights: published names.
        class_embed: (classes, prototypes, dim), without the background row, which is a constant zero here.
        source: file named in errors.
    """
    state = rename(weights, SEGMENTER_NAMES, SEGMENTER_DROPPED, source=source)
    state["mask_decoder.class_embed"] = class_embed
    return state


def projector_state(weights: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """`projector.*` under our Projector's names."""
    return rename(weights, PROJECTOR_NAMES, source=source)


def text_to_vision_state(weights: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """`projector_text2vision.*` under our TextToVision's names."""
    return rename(weights, TEXT_TO_VISION_NAMES, source=source)


def open_clip_trunk(weights: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """open_clip's ConvNeXt under OMG-Seg's `backbone.*` names, for an OMG-Seg file without a backbone."""
    return rename(weights, OPEN_CLIP_NAMES, OPEN_CLIP_DROPPED, source=source)


def vision_config_of(
    state: Mapping[str, Tensor], *, image_size: int = 1024, num_heads: int = 8, pixel_shuffle: int = 2
) -> VisionConfig:
    """Sizes of a segmenter, read off its weights' shapes (our names).

    Args:
        state: from `segmenter_state`.
        image_size, num_heads, pixel_shuffle: what shapes do not tell; OMG-LLaVA's values by default.

    Raises:
        ValueError: a weight that tells a size is missing.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise ValueError(f"missing tensor {name!r}, from which the sizes are read")
        return tuple(state[name].shape)

    def count(pattern: str) -> int:
        found = {int(m[1]) for name in state if (m := re.match(pattern, name))}
        return len(found)

    width = shape("mask_decoder.query_feat.weight")[1]
    dims = (
        shape("trunk.stem.0.weight")[0],
        *(shape(f"trunk.stages.{i}.downsample.1.weight")[0] for i in (1, 2, 3)),
    )
    classes, prototypes, embed_dim = shape("mask_decoder.class_embed")
    return VisionConfig(
        image_size=image_size,
        trunk_depths=tuple(count(rf"trunk\.stages\.{i}\.blocks\.(\d+)\.") for i in range(4)),
        trunk_dims=dims,
        width=width,
        num_heads=num_heads,
        pixel_decoder_layers=count(r"pixel_decoder\.layers\.(\d+)\."),
        pixel_decoder_points=shape("pixel_decoder.layers.0.attention.attention_weights.weight")[0] // (num_heads * 3),
        pixel_decoder_ffn=shape("pixel_decoder.layers.0.fc1.weight")[0],
        mask_decoder_layers=count(r"mask_decoder\.layers\.(\d+)\."),
        mask_decoder_ffn=shape("mask_decoder.layers.0.fc1.weight")[0],
        num_queries=shape("mask_decoder.query_feat.weight")[0],
        num_classes=classes,
        class_embed_dim=embed_dim,
        class_embed_prototypes=prototypes,
        pixel_shuffle=pixel_shuffle,
        gaussian_sigma_px=0.08 * image_size,
    )


def split_wqkv(wqkv: Tensor, *, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split InternLM2's fused projection into q, k, v rows.

    Rows are grouped by key-value head: its query heads, then its key, then its value. Works on the weight
    (rows, in) and, since it only picks rows, on a LoRA B matrix (rows, r).
    """
    per_group = num_heads // num_kv_heads
    head_dim, rest = divmod(wqkv.shape[0], num_heads + 2 * num_kv_heads)
    if rest or num_heads % num_kv_heads:
        raise ValueError(f"wqkv has {wqkv.shape[0]} rows, which {num_heads} heads over {num_kv_heads} cannot share")
    groups = wqkv.view(num_kv_heads, per_group + 2, head_dim, -1)
    return (
        groups[:, :per_group].reshape(num_heads * head_dim, -1),
        groups[:, per_group].reshape(num_kv_heads * head_dim, -1),
        groups[:, per_group + 1].reshape(num_kv_heads * head_dim, -1),
    )


INTERNLM2_NAMES: dict[str, str] = {
    r"model\.tok_embeddings\.weight": "model.embed_tokens.weight",
    r"model\.layers\.(\d+)\.attention\.wo\.weight": r"model.layers.\1.self_attn.o_proj.weight",
    r"model\.layers\.(\d+)\.feed_forward\.w1\.weight": r"model.layers.\1.mlp.gate_proj.weight",
    r"model\.layers\.(\d+)\.feed_forward\.w3\.weight": r"model.layers.\1.mlp.up_proj.weight",
    r"model\.layers\.(\d+)\.feed_forward\.w2\.weight": r"model.layers.\1.mlp.down_proj.weight",
    r"model\.layers\.(\d+)\.attention_norm\.weight": r"model.layers.\1.input_layernorm.weight",
    r"model\.layers\.(\d+)\.ffn_norm\.weight": r"model.layers.\1.post_attention_layernorm.weight",
    r"model\.norm\.weight": "model.norm.weight",
    r"output\.weight": "lm_head.weight",
}
"""InternLM2 -> transformers Llama; `attention.wqkv` is split by `split_wqkv`."""


def llama_state(weights: Mapping[str, Tensor], *, num_heads: int, num_kv_heads: int, source: str) -> dict[str, Tensor]:
    """InternLM2 weights under transformers' Llama names."""
    plain, state = {}, {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"model\.layers\.(\d+)\.attention\.wqkv\.weight", name)
        if not match:
            plain[name] = tensor
            continue
        parts = split_wqkv(tensor, num_heads=num_heads, num_kv_heads=num_kv_heads)
        for letter, part in zip("qkv", parts, strict=True):
            state[f"model.layers.{match[1]}.self_attn.{letter}_proj.weight"] = part
    return {**state, **rename(plain, INTERNLM2_NAMES, source=source)}


def has_unit_norm(class_embed: Tensor) -> bool:
    """Whether every prototype has length 1, as OMG-Seg requires."""
    norms = class_embed.float().norm(dim=-1)
    return bool(torch.allclose(norms, torch.ones_like(norms), atol=1e-3)) and math.isfinite(float(norms.sum()))
