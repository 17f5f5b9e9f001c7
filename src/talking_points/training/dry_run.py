"""What a role's training will take, from sizes alone: no weights are read."""

from __future__ import annotations

import math
from typing import Any

import torch

from talking_points.bases.loading import load_outline
from talking_points.model.config import Sizes
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.training.batches import PointBatches
from talking_points.training.data import read_texts
from talking_points.training.roles import Settings, attach, role_parameters
from talking_points.training.settings import processes

LOOKED_AT = 8
"""Steps whose texts are counted."""
BYTES_OF_TRAINED = 16
"""fp32 weight, gradient and Adam's two moments."""
BYTES_QUANTIZED = {"nf4": 0.52, "int8": 1.0}
"""Of a weight in a block's linear layers; nf4 with its scales."""


def plan(settings: Settings) -> dict[str, Any]:
    """Sizes, steps, tokens and an estimate of memory. Of the base configs and tokenizer are read, no weights."""
    base = load_outline(find_checkpoint(settings.base))
    sizes, prompts = base.sizes, base.prompts
    batches = PointBatches(read_texts(settings), settings, side=base.side)
    with torch.device("meta"):
        attach(base, settings)
    language = not settings.frozen_language_model
    trained = sum(p.numel() for p in role_parameters(base, settings.section, language=language).values())
    is_descriptor = settings.section == "descriptor"
    texts = [text for step in range(min(LOOKED_AT, len(batches))) for row in batches[step].texts for text in row]
    length = sum(map(len, prompts.tokenizer(texts, add_special_tokens=False)["input_ids"])) / len(texts)
    text_tokens = length + (len(prompts.describe()) + 1 if is_descriptor else len(prompts.localize("x")) - 1)
    samples_a_step = settings.photos * settings.points
    share = processes() * settings.accumulate
    samples = math.ceil(samples_a_step / share)
    tokens = math.ceil(settings.photos / share) * sizes.photo_tokens + samples * text_tokens
    itemsize = 2 if settings.precision == "bf16" else 4
    memory = {
        "frozen_weights": (sizes.weights - sizes.vision - sizes.linear) * itemsize
        + sizes.vision * 4
        + sizes.linear * BYTES_QUANTIZED.get(settings.quantize or "", itemsize),
        "trained_weights_gradients_moments": trained * BYTES_OF_TRAINED,
        "activations": tokens * _kept_numbers(sizes, base.num_blocks, settings) * itemsize
        + is_descriptor * length * samples * sizes.vocabulary * 4 * 2,
    }
    return {
        "role": settings.section,
        "data": str(batches),
        "steps": len(batches),
        "samples_a_step": samples_a_step,
        "processes": processes(),
        "weights": sizes.weights,
        "trained_weights": trained,
        "tokens_a_photo": sizes.photo_tokens,
        "tokens_a_text": round(text_tokens, 1),
        "tokens_in_all": round(len(batches) * (settings.photos * sizes.photo_tokens + samples_a_step * text_tokens)),
        "memory_gb": {name: round(size / 1e9, 3) for name, size in {**memory, "all": sum(memory.values())}.items()},
    }


def _kept_numbers(sizes: Sizes, blocks: int, settings: Settings) -> float:
    """Numbers a token that all blocks keep for the gradients.

    Of a block: its input; queries, keys, values and what attention gives; the inputs of the adapters, their inner
    numbers and, with dropout, what it left; four of the MLP's inside. With `recompute` the first two, and the others of
    one block at a time.
    """
    kept = 4 * sizes.width + 2 * sizes.keys
    dropped = 2 * (6 * sizes.width + sizes.inside) if settings.lora_dropout else 0
    others = 6 * sizes.width + 4 * sizes.inside + 7 * settings.lora_rank + dropped
    return float(blocks * kept + (others if settings.recompute else blocks * others))
