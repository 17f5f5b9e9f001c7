"""Does our network compute upstream's numbers? Reads a folder of weights, inputs and outputs, and compares."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from talking_points.files import read_json
from talking_points.model.config import VisionConfig
from talking_points.model.keypoint_prompt import gaussian_region
from talking_points.model.localizer_head import TextToVision
from talking_points.model.projector import Projector
from talking_points.model.segmenter import Segmenter
from talking_points.model.weights import check_names_and_shapes, load_weights, read_tensors, shapes_of
from talking_points.omg_llava.language_model import llama_state
from talking_points.omg_llava.vision import projector_states, segmenter_state, vision_config_of

QUERY_MASK = "encoder.query_absent_mask"
"""Compared exactly."""
TOLERANCE = 1e-4
"""Largest absolute error allowed of any output, fp32."""
TENSOR_FILES = ("omg_seg", "class_embed", "omg_llava", "inputs", "outputs")

Tensors = Mapping[str, Tensor]


def run_parity(folder: Path) -> dict[str, Any]:
    """Load upstream's weights, run their inputs, `compare` with their outputs.

    Args:
        folder: holds config.json and omg_seg, class_embed, omg_llava, inputs, outputs as .safetensors.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or its tensors do not fit the config.
    """
    config = read_json(folder / "config.json")
    files = {name: read_tensors(folder / f"{name}.safetensors") for name in TENSOR_FILES}
    expected = files.pop("outputs")
    files["inputs"] |= {name: expected.pop(name) for name in list(expected) if name.startswith("input_ids")}
    try:
        computed = compute_outputs(config, files, source=folder)
    except KeyError as error:
        raise ValueError(f"{folder}: {error.args[0]!r} is missing from config.json or from a tensor file") from None
    except (RuntimeError, IndexError, TypeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{folder}: the files do not fit each other: {first}") from None
    return compare(computed, expected, source=folder / "outputs.safetensors")


def compare(computed: Tensors, expected: Tensors, *, source: Path) -> dict[str, Any]:
    """How far our outputs are from upstream's.

    Returns:
        {"outputs": {name: largest absolute error, None when it is not finite},
        "query_mask_equal": bool, "tolerance": float, "passed": bool}.

    Raises:
        ValueError: the two do not hold the same names and shapes; the message names `source`.
    """
    check_names_and_shapes(
        shapes_of(computed), shapes_of(expected), model_name="what our network computes", source=str(source)
    )
    errors: dict[str, float | None] = {}
    for name, ours in computed.items():
        worst = (ours.double() - expected[name].double()).abs().amax().item() if ours.numel() else 0.0
        errors[name] = worst if math.isfinite(worst) else None
    equal = torch.equal(computed[QUERY_MASK], expected[QUERY_MASK].bool())
    passed = equal and all(error is not None and error <= TOLERANCE for error in errors.values())
    return {"outputs": errors, "query_mask_equal": equal, "tolerance": TOLERANCE, "passed": passed}


@torch.inference_mode()
def compute_outputs(config: Mapping[str, Any], files: Mapping[str, Tensors], *, source: Path) -> dict[str, Tensor]:
    """What our network computes, under the names of upstream's outputs.

    Args:
        config: sizes, as in a parity folder's config.json.
        files: "omg_seg", "class_embed" and "omg_llava", as published, and "inputs": image, points and their image,
            and input_ids of each image.
        source: folder named in errors.

    Raises:
        ValueError: a weight is missing, unknown or misshaped (named).
    """
    of_segmenter, of_llava = (str(source / f"{name}.safetensors") for name in ("omg_seg", "omg_llava"))
    state = segmenter_state(files["omg_seg"], files["class_embed"]["cls_embed"], source=of_segmenter)
    vision = _vision_config(config, state)
    segmenter = Segmenter(vision).eval()
    load_weights(segmenter, state, source=of_segmenter)

    trained = files["omg_llava"]
    of_llm = {name: tensor for name, tensor in trained.items() if name.startswith("llm.")}
    llm = _language_model(config["llm"], of_llm, of_llava)
    llm_width = llm.config.hidden_size
    projector, text_to_vision = Projector(vision, llm_width), TextToVision(llm_width, 2 * vision.width)
    rest = {name: tensor for name, tensor in trained.items() if name not in of_llm}
    states = projector_states(rest, source=of_llava)
    load_weights(projector, states["projector"], source=of_llava)
    load_weights(text_to_vision, states["text_to_vision"], source=of_llava)

    inputs = files["inputs"]
    out, photo_tokens = _photo_outputs(segmenter, projector, inputs["image"])
    out |= _point_outputs(segmenter, projector, inputs)
    for b, tokens in enumerate(photo_tokens):
        ids_T = inputs[f"input_ids{b}"]
        marks = out["prompt.llm_embedding"][inputs["point_image_index"] == b]
        is_photo, is_mark = ids_T == config["image_token_id"], ids_T == config["mark_token_id"]
        words = llm.get_input_embeddings()(ids_T.masked_fill(is_photo | is_mark, 0))
        words[is_mark] = marks
        at = int(is_photo.nonzero())
        embeds = torch.cat([words[:at], tokens, words[at + 1 :]])
        hidden = llm.model(inputs_embeds=embeds[None]).last_hidden_state
        out[f"llm.inputs_embeds{b}"] = embeds
        out[f"llm.last_hidden{b}"] = hidden[0]
        out[f"llm.logits{b}"] = llm.lm_head(hidden)[0]
        out[f"text2vision.last_token{b}"] = text_to_vision(hidden[0, -1])
    return out


def _photo_outputs(segmenter: Segmenter, projector: Projector, image: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Outputs of the photos, and the tokens of each."""
    stages = segmenter.trunk(image)
    mask_features, memories = segmenter.pixel_decoder(stages)
    features = segmenter(image)
    photo_tokens = projector(features.image_tokens_BNC, features.query_feat_pos_BQF, features.wins_BQN)
    out = {
        **{f"backbone.stage{i}": stage for i, stage in enumerate(stages, start=1)},
        "pixel_decoder.mask_features": mask_features,
        **{f"pixel_decoder.memory{i}": memory for i, memory in enumerate(memories)},
        "encoder.image_tokens": features.image_tokens_BNC,
        "encoder.query_feat_pos": features.query_feat_pos_BQF,
        QUERY_MASK: ~features.wins_BQN,
        **{f"projector.tokens{b}": tokens for b, tokens in enumerate(photo_tokens)},
    }
    return out, photo_tokens


def _point_outputs(segmenter: Segmenter, projector: Projector, inputs: Tensors) -> dict[str, Tensor]:
    features = segmenter(inputs["image"])
    vision, image_hw, points_px = segmenter.config, features.image_hw, inputs["points_xy"]
    out: dict[str, Tensor] = {}
    query_feat, query_embed = segmenter.keypoint_prompt(points_px[:, None], image_hw)
    out["prompt.query_feat"], out["prompt.query_embed"] = query_feat, query_embed
    out["prompt.gaussian_region"] = gaussian_region(
        points_px,
        image_hw,
        image_hw,
        sigma_px=vision.gaussian_sigma_px,
        threshold=vision.gaussian_threshold,
        cells=vision.region_cells,
    ).view(-1, *image_hw)
    points = (points_px / points_px.new_tensor([image_hw[1], image_hw[0]]))[:, None]
    of_points = features.select(inputs["point_image_index"])
    out["prompt.gaussian_mask"] = segmenter.encode_points(of_points, points, region="gaussian")[:, 0]
    out["prompt.predicted_mask"] = segmenter.encode_points(of_points, points, region="predicted-mask")[:, 0]
    # The embeddings that upstream puts at the marks are those of the Gaussian prompt.
    out["prompt.llm_embedding"] = projector.project_queries(out["prompt.gaussian_mask"])
    return out


def _vision_config(config: Mapping[str, Any], state: Tensors) -> VisionConfig:
    """Sizes from the weights, as the import reads them, and from config.json what weights do not tell."""
    return dataclasses.replace(
        vision_config_of(state, num_heads=config["num_heads"]),
        image_size=max(config["image_size"]),
        group_norm_groups=config["pixel_decoder_group_norm_groups"],
        pixel_shuffle=config["pixel_shuffle"] or 1,  # null: upstream folds nothing
        gaussian_sigma_px=config["gaussian"]["sigma_px"],
        gaussian_threshold=config["gaussian"]["threshold"],
        region_cells="nearest",  # upstream resizes the region's mask
    )


def _language_model(config: Mapping[str, Any], weights: Tensors, source: str) -> LlamaForCausalLM:
    sizes = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads"
    llm = LlamaForCausalLM(
        LlamaConfig(
            **{name: config[name] for name in (*sizes.split(), "rms_norm_eps", "max_position_embeddings")},
            rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
            tie_word_embeddings=False,
        )
    ).eval()
    state = llama_state(
        {name.removeprefix("llm."): tensor for name, tensor in weights.items()},
        num_heads=config["num_attention_heads"],
        num_kv_heads=config["num_key_value_heads"],
        source=source,
    )
    load_weights(llm, state, source=source)
    return llm
