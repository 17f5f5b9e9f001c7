"""OMG-LLaVA's segmenter, projector and text-to-vision MLP under our names, with sizes read off their shapes."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from talking_points.model.config import ModelConfig, VisionConfig
from talking_points.model.localizer_head import TextToVision
from talking_points.model.projector import Projector
from talking_points.model.segmenter import Segmenter
from talking_points.model.weights import check_names_and_shapes, shapes_of
from talking_points.omg_llava import names
from talking_points.omg_llava.weight_files import WeightFile, open_weights, read_one_tensor

# What sizes are read off: where others do not fit, one of these may be the wrong one.
_STEM = "trunk.stem.0.weight"
_DOWNSAMPLES = tuple(f"trunk.stages.{i}.downsample.1.weight" for i in (1, 2, 3))
_QUERIES = "mask_decoder.query_feat.weight"
_MASK_FFN = "mask_decoder.layers.0.fc1.weight"
_PIXEL_FFN = "pixel_decoder.layers.0.fc1.weight"
_PIXEL_WEIGHTS = "pixel_decoder.layers.0.attention.attention_weights.weight"


def convert_vision(
    trained: WeightFile, segmenter: WeightFile, class_embed: Path, clip: Path | None, llm_width: int
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The sizes, and the weights of `vision.safetensors`, checked against the modules that will hold them.

    Args:
        trained: OMG-LLaVA's file, of which the two projectors are read.
        segmenter, class_embed, clip: as `importing.import_omg_llava` takes them.
        llm_width: of the language model, into which the projector leads.

    Raises:
        ValueError: a tensor is missing, unknown or misshaped; the message has its published name.
    """
    published = _with_trunk(segmenter, clip)
    states = {
        "segmenter": segmenter_state(published, _read_class_embed(class_embed), source=segmenter.source),
        **projector_states(trained.read_all("projector"), source=trained.source),
    }
    config = _checked_config(states["segmenter"], segmenter.source)
    config = dataclasses.replace(config, pixel_shuffle=_pixel_shuffle(config, states["projector"]))
    with torch.device("meta"):
        projector, text_to_vision = Projector(config, llm_width), TextToVision(llm_width, 2 * config.width)
    _check(projector, states["projector"], names.PROJECTOR, trained.source)
    _check(text_to_vision, states["text_to_vision"], names.TEXT_TO_VISION, trained.source)
    weights = {f"{part}.{n}": tensor.float().contiguous() for part in states for n, tensor in states[part].items()}
    return ModelConfig(name="omg-llava", vision=config, recipe="7b"), weights


def projector_states(weights: Mapping[str, Tensor], *, source: str) -> dict[str, dict[str, Tensor]]:
    """Weights of "projector" and "text_to_vision", two parts of ours, under our names. weights: published names."""
    to_llm = {name: tensor for name, tensor in weights.items() if name.startswith("projector.")}
    to_vision = {name: tensor for name, tensor in weights.items() if name not in to_llm}
    return {
        "projector": names.rename(to_llm, names.PROJECTOR, source=source),
        "text_to_vision": names.rename(to_vision, names.TEXT_TO_VISION, source=source),
    }


def segmenter_state(weights: Mapping[str, Tensor], class_embed: Tensor, *, source: str) -> dict[str, Tensor]:
    """OMG-Seg's `backbone.*` and `panoptic_head.*`, and the class embedding, under our Segmenter's names.

    Args:
        weights: published names.
        class_embed: (classes, prototypes, dim), without the background row, which is a constant zero here.
    """
    state = names.rename(weights, names.SEGMENTER, names.DROPPED["segmenter"], source=source)
    return state | {"mask_decoder.class_embed": class_embed}


def vision_config_of(state: Mapping[str, Tensor], *, num_heads: int = 8) -> VisionConfig:
    """Sizes of a segmenter, read off its weights' shapes (our names); what shapes do not tell is OMG-LLaVA's.

    Raises:
        ValueError: a weight that tells a size is missing.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            told = names.published_name(name, names.SEGMENTER)
            raise ValueError(f"missing {told}, from which the sizes are read")
        return tuple(state[name].shape)

    def count(pattern: str) -> int:
        return len({int(m[1]) for name in state if (m := re.match(pattern, name))})

    num_queries, width = shape(_QUERIES)
    classes, prototypes, embed_dim = shape("mask_decoder.class_embed")
    return VisionConfig(
        trunk_depths=tuple(count(rf"trunk\.stages\.{i}\.blocks\.(\d+)\.") for i in range(4)),
        trunk_dims=tuple(shape(name)[0] for name in (_STEM, *_DOWNSAMPLES)),
        width=width,
        num_heads=num_heads,
        pixel_decoder_layers=count(r"pixel_decoder\.layers\.(\d+)\."),
        pixel_decoder_points=shape(_PIXEL_WEIGHTS)[0] // (num_heads * 3),
        pixel_decoder_ffn=shape(_PIXEL_FFN)[0],
        mask_decoder_layers=count(r"mask_decoder\.layers\.(\d+)\."),
        mask_decoder_ffn=shape(_MASK_FFN)[0],
        num_queries=num_queries,
        num_classes=classes,
        class_embed_dim=embed_dim,
        class_embed_prototypes=prototypes,
    )


def _with_trunk(segmenter: WeightFile, clip: Path | None) -> dict[str, Tensor]:
    published = segmenter.read_all()
    has_trunk = any(name.startswith("backbone.") for name in published)
    if has_trunk and clip is not None:
        raise ValueError(f"{segmenter.source} holds a trunk (backbone.*); leave out --clip")
    if has_trunk:
        return published
    if clip is None:
        raise ValueError(f"{segmenter.source} holds no trunk (backbone.*); give open_clip's file with --clip")
    trunk = open_weights(clip).read_all()
    return published | names.rename(trunk, names.OPEN_CLIP, names.DROPPED["open_clip"], source=str(clip))


def _read_class_embed(path: Path) -> Tensor:
    embedding = read_one_tensor(path)
    if embedding.dim() == 3:
        lengths = embedding.float().norm(dim=-1)
        if torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3):
            return embedding
    raise ValueError(
        f"{path} holds {tuple(embedding.shape)} numbers, expected (classes, prototypes, dim) "
        "with every prototype of length 1"
    )


def _pixel_shuffle(config: VisionConfig, projector: Mapping[str, Tensor]) -> int:
    """From the projector's input: the last stage's channels, folded, and two query vectors."""
    if "image_mlp.0.weight" not in projector:
        return config.pixel_shuffle  # reported as missing by the check that follows
    folded = projector["image_mlp.0.weight"].shape[-1] - 2 * config.width
    return max(1, math.isqrt(max(0, folded) // config.trunk_dims[-1]))


def _checked_config(state: Mapping[str, Tensor], source: str) -> VisionConfig:
    try:
        config = vision_config_of(state)
        with torch.device("meta"):
            segmenter = Segmenter(config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    try:
        _check(segmenter, state, names.SEGMENTER, source)
    except ValueError as error:
        if segmenter.state_dict().keys() != state.keys():
            raise
        tell_sizes = (_STEM, *_DOWNSAMPLES, _QUERIES, _MASK_FFN, _PIXEL_FFN, _PIXEL_WEIGHTS)
        listed = ", ".join(names.published_name(name, names.SEGMENTER) for name in tell_sizes)
        raise ValueError(f"{error}. Sizes are read off {listed}: one of these may be the wrong one") from None
    return config


def _check(module: nn.Module, state: Mapping[str, Tensor], table: names.Table, source: str) -> None:
    """The names and shapes must be the module's; errors call tensors as they are called in the file."""
    own, given = (
        {names.published_name(name, table): shape for name, shape in shapes_of(tensors).items()}
        for tensors in (module.state_dict(), state)
    )
    check_names_and_shapes(own, given, model_name=type(module).__name__, source=source)
