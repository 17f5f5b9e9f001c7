"""A random Qwen3-VL of a few thousand weights, of transformers' own classes, in a folder as its authors publish it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
POINTING = ("<|box_start|>", "<|box_end|>", "<|quad_start|>")
"""Of Qwen2-VL's, which Qwen3-VL has and does not use."""


def tiny_tokenizer(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Bytes, the special tokens, and words of one token each, which make prompts short."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*SPECIAL, "<|video_pad|>", *POINTING])
    tokenizer.add_tokens(list(words))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


def tiny_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    """Qwen3-VL's, but for the sizes: 3 blocks of language, 3 of vision, 2 of which go into the language's."""
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")}
    return Qwen3VLConfig(
        text_config={
            **{"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3},
            **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 8192},
            "rope_parameters": {
                **{"rope_type": "default", "rope_theta": 5_000_000.0},
                **{"mrope_section": [4, 2, 2], "mrope_interleaved": True},
            },
        },
        vision_config={
            **{"depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32},
            **{"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=True,
    )


def write_tiny(folder: Path, *, seed: int = 0, words: Sequence[str] = ()) -> Path:
    """Write a folder as published: config, weights, tokenizer, preprocessor. words: as `tiny_tokenizer` takes them."""
    tokenizer = tiny_tokenizer(words)
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(tiny_config(tokenizer))
    with torch.no_grad():
        # Far from the start of a training, so that answers depend on what is seen.
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed_tokens" not in name:
                parameter.mul_(6)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        **{"size": {"longest_edge": 16777216, "shortest_edge": 65536}, "patch_size": 16, "temporal_patch_size": 2},
        **{"merge_size": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        "image_processor_type": "Qwen2VLImageProcessorFast",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
