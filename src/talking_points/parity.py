"""Does our network compute upstream's numbers? Reads a folder of weights, inputs and outputs, and compares."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from talking_points.model.config import VisionConfig
from talking_points.model.keypoint_prompt import gaussian_region
from talking_points.model.language import splice_tokens
from talking_points.model.localizer_head import TextToVision
from talking_points.model.projector import Projector
from talking_points.model.segmenter import Segmenter
from talking_points.model.upstream import llama_state, projector_state, segmenter_state, text_to_vision_state
from talking_points.model.weights import load_weights, read_json, read_tensors

QUERY_MASK = "encoder.query_absent_mask"
"""Compared exactly."""
TOLERANCE = 1e-4
"""Largest absolute error allowed of any output, fp32."""
FILES = ("config.json", "omg_seg", "class_embed", "omg_llava", "inputs", "outputs")


@torch.inference_mode()
def run_parity(folder: Path) -> dict[str, Any]:
    """Load upstream's weights, run their inputs, compare with their outputs.

    Args:
        folder: holds config.json and omg_seg, class_embed, omg_llava, inputs, outputs as .safetensors.

    Returns:
        {"outputs": {name: largest absolute error, None when it is not finite},
        "query_mask_equal": bool, "tolerance": float, "passed": bool}.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or its tensors do not fit the config.
    """
    files = _read(folder)
    config = read_json(folder / "config.json")
    expected = files["outputs"]
    try:
        computed = _compute(config, files, folder)
    except KeyError as error:
        raise ValueError(f"{folder}: {error.args[0]!r} is missing from config.json or from a tensor file") from None
    except (RuntimeError, IndexError, TypeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{folder}: the files do not fit each other: {first}") from None
    unknown = sorted(n for n in expected.keys() - computed.keys() if not n.startswith("input_ids"))
    if unknown:
        raise ValueError(f"{folder / 'outputs.safetensors'}: unknown output {unknown[0]!r}")
    missing = sorted(computed.keys() - expected.keys())
    if missing:
        raise ValueError(f"{folder / 'outputs.safetensors'}: output {missing[0]!r} is missing")
    errors: dict[str, float | None] = {}
    equal = False
    for name, ours in computed.items():
        theirs = expected[name]
        if tuple(ours.shape) != tuple(theirs.shape):
            raise ValueError(f"{name} has shape {tuple(ours.shape)}, the file's has {tuple(theirs.shape)}")
        if name == QUERY_MASK:
            equal = bool(torch.equal(ours, theirs.bool()))
        difference = (ours.double() - theirs.double()).abs()
        worst = float(difference.max()) if difference.numel() else 0.0
        errors[name] = worst if math.isfinite(worst) else None
    passed = equal and all(error is not None and error <= TOLERANCE for error in errors.values())
    return {"outputs": errors, "query_mask_equal": equal, "tolerance": TOLERANCE, "passed": passed}


def _read(folder: Path) -> dict[str, dict[str, Tensor]]:
    files = {}
    for name in FILES:
        path = folder / (name if name.endswith(".json") else f"{name}.safetensors")
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}; a parity folder holds {', '.join(FILES)}")
        if path.suffix == ".safetensors":
            files[name] = read_tensors(path)
    return files


def _compute(config: dict[str, Any], files: dict[str, dict[str, Tensor]], folder: Path) -> dict[str, Tensor]:
    vision = _vision_config(config)
    segmenter = Segmenter(vision).eval()
    class_embed = files["class_embed"]["cls_embed"]
    source = str(folder / "omg_seg.safetensors")
    load_weights(segmenter, segmenter_state(files["omg_seg"], class_embed, source=source), source=source)

    source = str(folder / "omg_llava.safetensors")
    parts = _split_by_prefix(files["omg_llava"], ("llm.", "projector.", "projector_text2vision."), source)
    llm = _language_model(config["llm"], parts["llm."], source)
    query_channels = 2 * vision.width
    projector = Projector(
        image_channels=vision.trunk_dims[-1] * vision.pixel_shuffle**2,
        query_channels=query_channels,
        llm_width=llm.config.hidden_size,
    ).eval()
    load_weights(projector, projector_state(parts["projector."], source=source), source=source)
    text_to_vision = TextToVision(llm.config.hidden_size, query_channels).eval()
    load_weights(text_to_vision, text_to_vision_state(parts["projector_text2vision."], source=source), source=source)

    image, points_px = files["inputs"]["image"], files["inputs"]["points_xy"]
    photo_of_point = files["inputs"]["point_image_index"]
    out: dict[str, Tensor] = {}
    stages = segmenter.trunk(image)
    out.update({f"backbone.stage{i}": stage for i, stage in enumerate(stages, start=1)})
    mask_features, memories = segmenter.pixel_decoder(stages)
    out["pixel_decoder.mask_features"] = mask_features
    out.update({f"pixel_decoder.memory{i}": memory for i, memory in enumerate(memories)})
    features = segmenter(image)
    out["encoder.image_tokens"] = features.image_tokens_BNC
    out["encoder.query_feat_pos"] = features.query_feat_pos_BQF
    out["encoder.query_absent_mask"] = ~features.wins_BQN
    photo_tokens = projector(features.image_tokens_BNC, features.query_feat_pos_BQF, features.wins_BQN)
    out.update({f"projector.tokens{b}": tokens for b, tokens in enumerate(photo_tokens)})

    image_hw = features.image_hw
    query_feat, query_embed = segmenter.keypoint_prompt(points_px[:, None], image_hw)
    out["prompt.query_feat"], out["prompt.query_embed"] = query_feat, query_embed
    out["prompt.gaussian_region"] = gaussian_region(
        points_px, image_hw, image_hw, sigma_px=vision.gaussian_sigma_px, threshold=vision.gaussian_threshold
    ).view(-1, *image_hw)
    points = (points_px / points_px.new_tensor([image_hw[1], image_hw[0]]))[:, None]
    of_points = features.select(photo_of_point)
    out["prompt.gaussian_mask"] = segmenter.encode_points(of_points, points, region="gaussian")[:, 0]
    out["prompt.predicted_mask"] = segmenter.encode_points(of_points, points, region="predicted-mask")[:, 0]
    # The embeddings that upstream puts at the marks are those of the Gaussian prompt.
    out["prompt.llm_embedding"] = projector.project_queries(out["prompt.gaussian_mask"])

    for b in range(image.shape[0]):
        embeds = splice_tokens(
            files["outputs"][f"input_ids{b}"],
            llm.get_input_embeddings(),
            {
                config["image_token_id"]: [photo_tokens[b]],
                config["mark_token_id"]: list(out["prompt.llm_embedding"][photo_of_point == b][:, None]),
            },
        )
        result = llm.model(inputs_embeds=embeds[None])
        out[f"llm.inputs_embeds{b}"] = embeds
        out[f"llm.last_hidden{b}"] = result.last_hidden_state[0]
        out[f"llm.logits{b}"] = llm.lm_head(result.last_hidden_state)[0]
        out[f"text2vision.last_token{b}"] = text_to_vision(result.last_hidden_state[0, -1])
    return out


def _vision_config(config: dict[str, Any]) -> VisionConfig:
    return VisionConfig(
        image_size=max(config["image_size"]),
        trunk_depths=tuple(config["backbone"]["depths"]),
        trunk_dims=tuple(config["backbone"]["dims"]),
        width=config["feat_channels"],
        num_heads=config["num_heads"],
        pixel_decoder_layers=config["pixel_decoder_layers"],
        pixel_decoder_points=config["pixel_decoder_points"],
        pixel_decoder_ffn=config["pixel_decoder_ffn"],
        group_norm_groups=config["pixel_decoder_group_norm_groups"],
        mask_decoder_layers=config["mask_decoder_layers"],
        mask_decoder_ffn=config["mask_decoder_ffn"],
        num_queries=config["num_queries"],
        num_classes=config["num_things"] + config["num_stuff"],
        class_embed_dim=config["class_embed_dim"],
        class_embed_prototypes=config["class_embed_prototypes"],
        pixel_shuffle=config["pixel_shuffle"] or 1,  # null: upstream folds nothing
        gaussian_sigma_px=config["gaussian"]["sigma_px"],
        gaussian_threshold=config["gaussian"]["threshold"],
    )


def _language_model(config: dict[str, Any], weights: dict[str, Tensor], source: str) -> LlamaForCausalLM:
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=config["num_attention_heads"],
            num_key_value_heads=config["num_key_value_heads"],
            rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
            rms_norm_eps=config["rms_norm_eps"],
            max_position_embeddings=config["max_position_embeddings"],
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


def _split_by_prefix(
    weights: dict[str, Tensor], prefixes: tuple[str, ...], source: str
) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in prefixes}
    for name, tensor in weights.items():
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        if prefix is None:
            raise ValueError(f"{source}: unknown tensor {name!r}")
        parts[prefix][name] = tensor
    return parts
