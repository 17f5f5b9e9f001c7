"""The embedded checkpoint's sizes and tokenizer: the 7B's network, small enough to train on two CPU cores."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.relations import DIALECTS
from talking_points.dataset.scene import Scene, compose
from talking_points.dataset.synthesis import point_facts, region_caption, region_phrase, write_point_text
from talking_points.images import letterbox
from talking_points.model import prompts
from talking_points.model.config import ModelConfig, VisionConfig
from talking_points.model.network import PointNetwork
from talking_points.model.prompts import CHAT_TOKENS, SPECIAL_TOKENS
from talking_points.model.trunk import ConvNeXtBlock, Trunk

VOCABULARY = 1536
TRUNK_DEPTHS = (2, 2, 6, 2)
TRUNK_DIMS = (32, 64, 160, 320)
"""Wide where maps are small: half of the 7B's ratio would spend most of its time on stride 4."""


def mini_config(class_names: Sequence[str], *, coordinate_head: str) -> ModelConfig:
    """Sizes of `mini`."""
    return ModelConfig(
        name="mini",
        vision=VisionConfig(
            image_size=192,
            trunk_depths=TRUNK_DEPTHS,
            trunk_dims=TRUNK_DIMS,
            width=96,
            num_heads=8,
            pixel_decoder_layers=2,
            pixel_decoder_points=2,
            pixel_decoder_ffn=256,
            group_norm_groups=16,
            mask_decoder_layers=3,
            mask_decoder_ffn=256,
            num_queries=40,
            num_classes=len(class_names),
            class_embed_dim=64,
            class_embed_prototypes=1,
            class_logit_scale=2.7081,  # ln 15: learned prototypes of unknown length need no temperature of 100
            pixel_shuffle=1,  # 6x6 tokens; folding would leave 3x3
            gaussian_sigma_px=9.0,
        ),
        class_names=tuple(class_names),
        coordinate_head=coordinate_head,
    )


def mini_language_model(vocabulary: int, pad_id: int, bos_id: int, eos_id: int) -> LlamaForCausalLM:
    """A small Llama, untrained."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=1024,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            pad_token_id=pad_id,
            bos_token_id=bos_id,
            eos_token_id=eos_id,
        )
    )


def new_mini(scenes: Sequence[Scene], class_names: Sequence[str], *, seed: int) -> PointNetwork:
    """An untrained base of mini's size, with a tokenizer made from the rules' texts."""
    tokenizer = train_tokenizer(rule_texts(scenes, count=6000, seed=seed))
    torch.manual_seed(seed)
    language = mini_language_model(
        len(tokenizer), tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id
    )
    network = PointNetwork(mini_config(class_names, coordinate_head="heatmap"), language, tokenizer)
    return network


def new_trunk() -> Trunk:
    """An untrained trunk of mini's size, to be trained in minutes: layer scales of one (1e-6 wants long training).

    The stem's bias must not be zero: on padding, which is exactly zero, its LayerNorm would divide by nothing but
    eps, and gradients would explode.
    """
    trunk = Trunk(TRUNK_DEPTHS, TRUNK_DIMS)
    nn.init.normal_(trunk.stem.get_parameter("0.bias"), std=0.5)
    for module in trunk.modules():
        if isinstance(module, ConvNeXtBlock):
            nn.init.ones_(module.gamma)
    return trunk


@torch.no_grad()
def fit_projector(network: PointNetwork, scenes: Sequence[Scene]) -> None:
    """Scale an untrained projector so that a photo's and a keypoint's tokens are as long as words' embeddings.

    A trunk without a final norm gives tokens a hundred times as long. The language model's norms would bring them to
    size, but divide by as much what flows back, and the encoder would learn next to nothing from words.
    """
    side = network.config.vision.image_size
    rng = np.random.default_rng(0)
    shown = [scenes[int(k)] for k in rng.integers(len(scenes), size=min(16, len(scenes)))]
    pixels = torch.stack([torch.from_numpy(letterbox(Image.fromarray(scene.photo), side)) for scene in shown])
    features = network.segmenter(pixels.to(network.device))
    word = network.embedding.get_parameter("weight").norm(dim=-1).mean()
    projector = network.projector
    cells = projector.image_mlp(features.image_tokens_BNC)
    centre_BP2 = pixels.new_full((len(shown), 1, 2), 0.5).to(network.device)
    for mlp, tokens in ((projector.image_mlp, cells), (projector.query_mlp, network.mark_tokens(features, centre_BP2))):
        last = mlp[-1]
        scale = word / tokens.norm(dim=-1).mean()
        last.get_parameter("weight").mul_(scale)
        last.get_parameter("bias").mul_(scale)
    projector.separator.weight.mul_(word / projector.separator.weight.norm())


def rule_texts(scenes: Sequence[Scene], *, count: int, seed: int) -> Iterable[str]:
    """Texts of every dialect, captions and phrases, from composed scenes."""
    rng = np.random.default_rng([seed, 7])
    dialects = list(DIALECTS.values())
    for index in range(count // 6):
        scene = compose(scenes, rng, 192)
        samples = sample_points(scene, 4, rng)
        for offset, sample in enumerate(samples):
            facts = point_facts(scene, (sample.x, sample.y))
            yield write_point_text(facts, dialects[(index + offset) % len(dialects)], rng)
        yield region_caption(scene, part_index=samples[0].part_index, rng=rng)
        phrase = region_phrase(scene, part_index=samples[0].part_index, rng=rng)
        if phrase is not None:
            yield phrase


def prompt_texts() -> list[str]:
    """The prompts' own wording, often enough that its words become single tokens."""
    return [text for text in prompts.WORDING for _ in range(100)]


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: common words are one token, anything at all can be written."""
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>", *CHAT_TOKENS, *SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(itertools.chain(prompt_texts(), texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=[*CHAT_TOKENS, *SPECIAL_TOKENS],
        clean_up_tokenization_spaces=False,
    )
