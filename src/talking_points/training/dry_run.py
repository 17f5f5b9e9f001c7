"""What a role's training will take, from sizes alone: no weights are read."""

# D width of the language model, I of its MLPs' inside, K of its keys, V vocabulary

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from talking_points.files import read_json
from talking_points.model.config import ModelConfig
from talking_points.model.network import PointNetwork
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.training.batches import PointBatches
from talking_points.training.data import read_texts
from talking_points.training.roles import Settings, attach, processes, role_parameters

LOOKED_AT = 8
"""Steps whose texts are counted."""
BYTES_OF_TRAINED = 16
"""fp32 weight, gradient and Adam's two moments."""
BYTES_QUANTIZED = {"nf4": 0.52, "int8": 1.0}
"""Of a weight in a block's linear layers; nf4 with its scales."""


def empty_network(base: Path) -> PointNetwork:
    """A base's network without weights, on the meta device: of the folder configs and tokenizer are read."""
    config = ModelConfig.from_dict(read_json(base / "config.json"), source=str(base / "config.json"))
    folder = base / "language_model"
    read_json(folder / "config.json")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        language = LlamaForCausalLM(LlamaConfig.from_pretrained(str(folder), local_files_only=True))
        return PointNetwork(config, language, tokenizer)


def plan(settings: Settings) -> dict[str, Any]:
    """Sizes, steps, tokens and an estimate of memory. Of the base configs and tokenizer are read, no weights."""
    network = empty_network(find_checkpoint(settings.base))
    batches = PointBatches(read_texts(settings), settings, side=network.side)
    weights = _count(network)
    blocks = sum(p.numel() for name, p in network.llama.model.layers.named_parameters() if "norm" not in name)
    vision_weights = _count(network.segmenter) + _count(network.text_to_vision)
    with torch.device("meta"):
        attach(network, settings)
    language = not settings.frozen_language_model
    trained = sum(p.numel() for p in role_parameters(network, settings.section, language=language).values())
    is_descriptor, vision, prompts = settings.section == "descriptor", network.config.vision, network.prompts
    texts = [text for step in range(min(LOOKED_AT, len(batches))) for row in batches[step].texts for text in row]
    length = sum(map(len, prompts.tokenizer(texts, add_special_tokens=False)["input_ids"])) / len(texts)
    text_tokens = length + (len(prompts.describe()) + 1 if is_descriptor else len(prompts.localize("x")) - 1)
    # Of the queries, those that win a cell; all at most.
    photo_tokens = len(prompts.prefix()) + vision.cells_per_side**2 + 1 + min(vision.num_queries, 50)
    samples_a_step = settings.photos * settings.points
    share = processes() * settings.accumulate
    samples = math.ceil(samples_a_step / share)
    tokens = math.ceil(settings.photos / share) * photo_tokens + samples * text_tokens
    itemsize = 2 if settings.precision == "bf16" else 4
    memory = {
        "frozen_weights": (weights - vision_weights - blocks) * itemsize
        + vision_weights * 4
        + blocks * BYTES_QUANTIZED.get(settings.quantize or "", itemsize),
        "trained_weights_gradients_moments": trained * BYTES_OF_TRAINED,
        "activations": tokens * _kept_numbers(network, settings) * itemsize
        + is_descriptor * length * samples * network.llama.config.vocab_size * 4 * 2,
    }
    return {
        "role": settings.section,
        "data": str(batches),
        "steps": len(batches),
        "samples_a_step": samples_a_step,
        "processes": processes(),
        "weights": weights,
        "trained_weights": trained,
        "tokens_a_photo": photo_tokens,
        "tokens_a_text": round(text_tokens, 1),
        "tokens_in_all": round(len(batches) * (settings.photos * photo_tokens + samples_a_step * text_tokens)),
        "memory_gb": {name: round(size / 1e9, 3) for name, size in {**memory, "all": sum(memory.values())}.items()},
    }


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _kept_numbers(network: PointNetwork, settings: Settings) -> float:
    """Numbers a token that all blocks keep for the gradients.

    Of a block: its input; queries, keys, values and what attention gives; the inputs of the adapters, their inner
    numbers and, with dropout, what it left; four of the MLP's inside. With `recompute` the first two, and the others of
    one block at a time.
    """
    llama = network.llama.config
    D, I, r = llama.hidden_size, llama.intermediate_size, settings.lora_rank  # noqa: E741
    K = D // llama.num_attention_heads * (llama.num_key_value_heads or llama.num_attention_heads)
    kept = 4 * D + 2 * K
    dropped = 2 * (6 * D + I) if settings.lora_dropout else 0
    others = 6 * D + 4 * I + 7 * r + dropped
    blocks = llama.num_hidden_layers
    return float(blocks * kept + (others if settings.recompute else blocks * others))
