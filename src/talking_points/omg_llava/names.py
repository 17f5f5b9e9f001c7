"""How OMG-LLaVA's published weights are called, one table a part, read in both directions.

A row is (published name, our name). `{i}` and `{j}` stand for a number, `{i+1}` for the one after it, `{end}` for
"weight" or "bias", `{rest}` for anything. Every published name is in a table or on a drop list with its reason; any
other is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, partial

from torch import Tensor

Table = tuple[tuple[str, str], ...]

_DECODER = "panoptic_head.pixel_decoder"
_LAYER = "panoptic_head.transformer_decoder.layers.{i}"

SEGMENTER: Table = (
    # trunk (timm ConvNeXt; OMG-Seg calls the stages layer1..4)
    ("backbone.stem.{i}.{end}", "trunk.stem.{i}.{end}"),
    ("backbone.layer{i+1}.downsample.{j}.{end}", "trunk.stages.{i}.downsample.{j}.{end}"),
    ("backbone.layer{i+1}.blocks.{j}.conv_dw.{end}", "trunk.stages.{i}.blocks.{j}.conv_dw.{end}"),
    ("backbone.layer{i+1}.blocks.{j}.norm.{end}", "trunk.stages.{i}.blocks.{j}.norm.{end}"),
    ("backbone.layer{i+1}.blocks.{j}.mlp.fc1.{end}", "trunk.stages.{i}.blocks.{j}.fc1.{end}"),
    ("backbone.layer{i+1}.blocks.{j}.mlp.fc2.{end}", "trunk.stages.{i}.blocks.{j}.fc2.{end}"),
    ("backbone.layer{i+1}.blocks.{j}.gamma", "trunk.stages.{i}.blocks.{j}.gamma"),
    # pixel decoder (mmdet MSDeformAttnPixelDecoder)
    (f"{_DECODER}.input_convs.{{i}}.conv.{{end}}", "pixel_decoder.input_convs.{i}.conv.{end}"),
    (f"{_DECODER}.input_convs.{{i}}.gn.{{end}}", "pixel_decoder.input_convs.{i}.norm.{end}"),
    (f"{_DECODER}.level_encoding.weight", "pixel_decoder.level_embed.weight"),
    *(
        (
            f"{_DECODER}.encoder.layers.{{i}}.self_attn.{linear}.{{end}}",
            f"pixel_decoder.layers.{{i}}.attention.{linear}.{{end}}",
        )
        for linear in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
    ),
    (f"{_DECODER}.encoder.layers.{{i}}.ffn.layers.0.0.{{end}}", "pixel_decoder.layers.{i}.fc1.{end}"),
    (f"{_DECODER}.encoder.layers.{{i}}.ffn.layers.1.{{end}}", "pixel_decoder.layers.{i}.fc2.{end}"),
    (f"{_DECODER}.encoder.layers.{{i}}.norms.{{j}}.{{end}}", "pixel_decoder.layers.{i}.norm{j+1}.{end}"),
    (f"{_DECODER}.lateral_convs.0.conv.weight", "pixel_decoder.lateral_conv.conv.weight"),
    (f"{_DECODER}.lateral_convs.0.gn.{{end}}", "pixel_decoder.lateral_conv.norm.{end}"),
    (f"{_DECODER}.output_convs.0.conv.weight", "pixel_decoder.output_conv.conv.weight"),
    (f"{_DECODER}.output_convs.0.gn.{{end}}", "pixel_decoder.output_conv.norm.{end}"),
    (f"{_DECODER}.mask_feature.{{end}}", "pixel_decoder.mask_feature.{end}"),
    # mask decoder (OMG-Seg Mask2FormerVideoSemSamHead)
    ("panoptic_head.query_feat.weight", "mask_decoder.query_feat.weight"),
    ("panoptic_head.query_embed.weight", "mask_decoder.query_embed.weight"),
    ("panoptic_head.level_embed.weight", "mask_decoder.level_embed.weight"),
    (f"{_LAYER}.cross_attn.attn.in_proj_{{end}}", "mask_decoder.layers.{i}.cross_attn.in_proj_{end}"),
    (f"{_LAYER}.cross_attn.attn.out_proj.{{end}}", "mask_decoder.layers.{i}.cross_attn.out_proj.{end}"),
    (f"{_LAYER}.self_attn.attn.in_proj_{{end}}", "mask_decoder.layers.{i}.self_attn.in_proj_{end}"),
    (f"{_LAYER}.self_attn.attn.out_proj.{{end}}", "mask_decoder.layers.{i}.self_attn.out_proj.{end}"),
    (f"{_LAYER}.ffn.layers.0.0.{{end}}", "mask_decoder.layers.{i}.fc1.{end}"),
    (f"{_LAYER}.ffn.layers.1.{{end}}", "mask_decoder.layers.{i}.fc2.{end}"),
    (f"{_LAYER}.norms.{{j}}.{{end}}", "mask_decoder.layers.{i}.norm{j+1}.{end}"),
    ("panoptic_head.transformer_decoder.post_norm.{end}", "mask_decoder.post_norm.{end}"),
    ("panoptic_head.mask_embed.{i}.{end}", "mask_decoder.mask_embed.{i}.{end}"),
    ("panoptic_head.iou_embed.{i}.{end}", "mask_decoder.iou_embed.{i}.{end}"),
    ("panoptic_head.mask_pooling_proj.0.{end}", "mask_decoder.mask_pooling_norm.{end}"),
    ("panoptic_head.mask_pooling_proj.1.{end}", "mask_decoder.mask_pooling_proj.{end}"),
    ("panoptic_head.cls_proj.{i}.{end}", "mask_decoder.class_proj.{i}.{end}"),
    # keypoint prompt
    ("panoptic_head.mask_tokens.weight", "keypoint_prompt.mask_token.weight"),
    ("panoptic_head.pb_embedding.weight", "keypoint_prompt.prompt_type.weight"),
    ("panoptic_head.pos_linear.{end}", "keypoint_prompt.position.{end}"),
)
SEGMENTER_DROPPED = (
    "data_preprocessor.{rest}",  # normalisation constants, the same as ours
    "panoptic_head.cls_embed",  # class text embedding, comes from its own file
    "panoptic_head.logit_scale",  # constant, in the config
    "backbone.norm_pre.{rest}",  # CLIP's pooling head, after the last stage we read
    "backbone.head.{rest}",
    "backbone.avgpool.{rest}",
)

PROJECTOR: Table = (
    ("projector.model.model_feat.{i}.{end}", "image_mlp.{i}.{end}"),
    ("projector.model.query_proj.{end}", "query_proj.{end}"),
    ("projector.model.model.{i}.{end}", "query_mlp.{i}.{end}"),
    ("projector.model.seperate_embed.weight", "separator.weight"),
)

TEXT_TO_VISION: Table = (("projector_text2vision.model.{i}.{end}", "{i}.{end}"),)

OPEN_CLIP: Table = (
    ("visual.trunk.stem.{rest}", "backbone.stem.{rest}"),
    ("visual.trunk.stages.{i}.{rest}", "backbone.layer{i+1}.{rest}"),
)
"""open_clip's ConvNeXt -> OMG-Seg's own names, for an OMG-Seg file without a backbone."""
OPEN_CLIP_DROPPED = (
    "visual.trunk.norm_pre.{rest}",  # after the last stage we read
    "visual.trunk.head.{rest}",
    "visual.head.{rest}",
    "transformer.{rest}",  # the text tower and its parts
    "token_embedding.{rest}",
    "ln_final.{rest}",
    "positional_embedding",
    "text_projection",
    "logit_scale",
    "attn_mask",
)

INTERNLM2: Table = (
    ("model.tok_embeddings.weight", "model.embed_tokens.weight"),
    ("model.layers.{i}.attention.wo.weight", "model.layers.{i}.self_attn.o_proj.weight"),
    ("model.layers.{i}.feed_forward.w1.weight", "model.layers.{i}.mlp.gate_proj.weight"),
    ("model.layers.{i}.feed_forward.w3.weight", "model.layers.{i}.mlp.up_proj.weight"),
    ("model.layers.{i}.feed_forward.w2.weight", "model.layers.{i}.mlp.down_proj.weight"),
    ("model.layers.{i}.attention_norm.weight", "model.layers.{i}.input_layernorm.weight"),
    ("model.layers.{i}.ffn_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    ("model.norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
)
"""InternLM2 -> transformers' Llama; `attention.wqkv` is three tensors there, see `language_model.llama_state`."""


def rename(
    weights: Mapping[str, Tensor], names: Table, dropped: Iterable[str] = (), *, source: str
) -> dict[str, Tensor]:
    """Published weights under our names; those on the drop list are left out.

    Raises:
        ValueError: a name is in neither the table nor the drop list, or two names become one.
    """
    renamed: dict[str, Tensor] = {}
    unknown = []
    left_out = tuple((template, template) for template in dropped)
    for name, tensor in weights.items():
        if _translated(name, left_out):
            continue
        new = _translated(name, names)
        if new is None:
            unknown.append(name)
        elif new in renamed:
            raise ValueError(f"{source}: two tensors become {new!r}, the second is {name!r}")
        else:
            renamed[new] = tensor
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ValueError(f"{source}: unknown tensor {unknown[0]!r}{more}")
    return renamed


def published_name(ours: str, names: Table) -> str:
    """The published name of one of our tensors; `ours` where the table has no row for it.

    Example:
        >>> published_name("trunk.stages.0.blocks.2.gamma", SEGMENTER)
        'backbone.layer1.blocks.2.gamma'
    """
    return _translated(ours, tuple((new, old) for old, new in names)) or ours


def _translated(name: str, rows: Table) -> str | None:
    for old, new in rows:
        if match := _pattern(old).fullmatch(name):
            return _PLACE.sub(partial(_filled, match.groupdict()), new)
    return None


_PLACE = re.compile(r"\{(\w+)(\+1)?\}")
_ANY_OF = {"end": "weight|bias", "rest": ".*"}


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """A regular expression of the template; the group of `{i+1}` is called i1."""
    parts = re.split(r"(\{\w+(?:\+1)?\})", template)
    for n, part in enumerate(parts):
        place = _PLACE.fullmatch(part)
        if place is None:
            parts[n] = re.escape(part)
        else:
            parts[n] = f"(?P<{place[1]}{'1' if place[2] else ''}>{_ANY_OF.get(place[1], '[0-9]+')})"
    return re.compile("".join(parts))


def _filled(values: Mapping[str, str], place: re.Match[str]) -> str:
    letter = place[1]
    if place[2]:
        return values.get(f"{letter}1") or str(int(values[letter]) + 1)
    return values[letter] if letter in values else str(int(values[f"{letter}1"]) - 1)
