"""What a role's training will take, from sizes alone: no weights are read."""

# D width of the language model, I of its MLPs' inside, K of its keys, V vocabulary

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from talking_points.model.config import ModelConfig
from talking_points.model.hugging_face import attach_role
from talking_points.model.network import PointNetwork
from talking_points.model.weights import read_json
from talking_points.training.batches import PointBatches
from talking_points.training.recipes import RoleRecipe
from talking_points.training.roles import role_lora, role_parameters

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


def plan(
    role: str,
    recipe: RoleRecipe,
    base: Path,
    batches: PointBatches,
    *,
    processes: int = 1,
    frozen_language: bool = False,
) -> dict[str, Any]:
    """Sizes, steps, tokens and an estimate of memory.

    Args:
        batches: of the training, as long as it will be.
        processes: that share each step.
        frozen_language: as `role_parameters` takes it.
    """
    network = empty_network(base)
    weights = _count(network)
    blocks = sum(p.numel() for name, p in network.llama.model.layers.named_parameters() if "norm" not in name)
    vision_weights = _count(network.segmenter) + _count(network.text_to_vision)
    with torch.device("meta"):
        attach_role(network, role, role_lora(role, recipe))
    trained = sum(p.numel() for p in role_parameters(network, role, frozen_language=frozen_language).values())
    texts = [text for step in range(min(LOOKED_AT, len(batches))) for row in batches[step].texts for text in row]
    lengths = [len(ids) for ids in network.prompts.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    prompts = network.prompts
    question = len(prompts.describe()) + 1 if role == "descriptor" else len(prompts.localize("x")) - 1
    text_tokens = question + sum(lengths) / len(lengths)
    vision = network.config.vision
    # Of the queries, those that win a cell; all at most.
    photo_tokens = len(prompts.prefix()) + vision.cells_per_side**2 + 1 + min(vision.num_queries, 50)
    share = processes * recipe.accumulate
    photos, samples = math.ceil(recipe.photos / share), math.ceil(batches.samples / share)
    tokens = photos * photo_tokens + samples * text_tokens
    itemsize = 2 if recipe.precision == "bf16" else 4
    frozen = (weights - vision_weights - blocks) * itemsize + vision_weights * 4
    frozen += blocks * BYTES_QUANTIZED.get(recipe.quantize or "", itemsize)
    answers = sum(lengths) / len(lengths) * samples if role == "descriptor" else 0
    activations = tokens * _kept_numbers(network, recipe) * itemsize + answers * network.llama.config.vocab_size * 4 * 2
    return {
        "role": role,
        "data": str(batches),
        "steps": len(batches),
        "samples_a_step": batches.samples,
        "processes": processes,
        "weights": weights,
        "trained_weights": trained,
        "tokens_a_photo": photo_tokens,
        "tokens_a_text": round(text_tokens, 1),
        "tokens_in_all": round(len(batches) * (recipe.photos * photo_tokens + batches.samples * text_tokens)),
        "memory_gb": {
            "frozen_weights": round(frozen / 1e9, 3),
            "trained_weights_gradients_moments": round(trained * BYTES_OF_TRAINED / 1e9, 3),
            "activations": round(activations / 1e9, 3),
            "all": round((frozen + trained * BYTES_OF_TRAINED + activations) / 1e9, 3),
        },
    }


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _kept_numbers(network: PointNetwork, recipe: RoleRecipe) -> float:
    """Numbers a token that all blocks keep for the gradients.

    Of a block: its input; queries, keys, values and what attention gives; the inputs of the adapters, their inner
    numbers and, with dropout, what it left; four of the MLP's inside. With `recompute` the first two, and the others of
    one block at a time.
    """
    llama = network.llama.config
    D, I, r = llama.hidden_size, llama.intermediate_size, recipe.lora_rank  # noqa: E741
    K = D // llama.num_attention_heads * (llama.num_key_value_heads or llama.num_attention_heads)
    kept = 4 * D + 2 * K
    dropped = 2 * (6 * D + I) if recipe.lora_dropout else 0
    others = 6 * D + 4 * I + 7 * r + dropped
    blocks = llama.num_hidden_layers
    return float(blocks * kept + (others if recipe.recompute else blocks * others))
