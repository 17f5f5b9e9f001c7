"""What a stock model takes, from its config alone: no weights are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from talking_points.bases.qwen3_vl import MOST_TOKENS, key_bytes
from talking_points.files import read_json
from talking_points.model.hugging_face import BYTES_QUANTIZED, naming

CONFIGS = Path(__file__).with_name("configs")
"""Of the published sizes, so that nothing is downloaded to tell what they take."""
BYTES_OF_LINEAR = {"bf16": 2.0, "int8": BYTES_QUANTIZED["int8"], "nf4": BYTES_QUANTIZED["nf4"]}
"""Of a weight in a block's linear layers."""
QUESTION_TOKENS = 256 + 196 + 180 + 220
"""Of a point: the photo with a ring, its surroundings, the words, the longest answer."""
CARDS_GB = (8, 12, 16, 24, 80)


def known_config(name: str) -> Path | None:
    """The config of a published size by the model's name; None for others.

    Example:
        >>> known_config("Qwen/Qwen3-VL-4B-Instruct").name
        'qwen3-vl-4b.json'
    """
    found = re.search(r"qwen3-vl-(\d+b)(?![\w.])", name, re.IGNORECASE)
    path = CONFIGS / f"qwen3-vl-{found[1].lower()}.json" if found else None
    return path if path is not None and path.is_file() else None


def plan(config_file: Path) -> dict[str, Any]:
    """Weights and memory of a Qwen3-VL. All but the counts are estimates: nothing is loaded."""
    said = read_json(config_file)
    if (family := said.get("model_type")) != "qwen3_vl":
        raise ValueError(f"{config_file}: model_type is {family!r:.60}; what a model takes is known of qwen3_vl alone")
    with naming(config_file), torch.device("meta"):
        config = Qwen3VLConfig.from_dict(said)
        model = Qwen3VLForConditionalGeneration(config)
    model.tie_weights()
    counts = {name: p.numel() for name, p in model.named_parameters()}
    linear = sum(count for name, count in counts.items() if re.search(r"language_model\.layers\..*_proj\.", name))
    whole = sum(counts.values()) - linear
    of_token = key_bytes(config, torch.bfloat16)
    memory: dict[str, Any] = {}
    for how, size in BYTES_OF_LINEAR.items():
        weights = whole * 2 + linear * size
        # A batch's keys and values once in the cache and once on their way into it; the photo's are kept as well.
        of_question = 2 * (MOST_TOKENS + QUESTION_TOKENS) * of_token
        room = {
            f"{gb} GB": int((gb * 1e9 * 0.9 - weights - MOST_TOKENS * of_token) * 0.6 // of_question) for gb in CARDS_GB
        }
        memory[how] = {
            "weights_gb": round(weights / 1e9, 2),
            "points_at_once": {card: count for card, count in room.items() if count >= 1},
        }
    return {
        "weights": sum(counts.values()),
        "of_the_language_blocks": linear,
        "tokens_of_a_photo": MOST_TOKENS,
        "tokens_of_a_point_at_most": QUESTION_TOKENS,
        "keys_and_values_of_a_photo_gb": round(MOST_TOKENS * of_token / 1e9, 3),
        "estimated_memory": memory,
    }
