"""A tiny random network of the real architecture, for tests that need every part and no skill."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from talking_points.model.config import ModelConfig, VisionConfig
from talking_points.model.hugging_face import attach_role, lora_config
from talking_points.model.localizer_head import LocalizerParts
from talking_points.model.network import PointNetwork
from talking_points.model.prompts import CHAT_TOKENS, SPECIAL_TOKENS, WORDING

TEXTS = (
    "The point is on the left shoe of the person, near the top edge of the shoe.",
    "The point is on the hood of the car, slightly below the center.",
)


def tiny_vision(**changes: object) -> VisionConfig:
    sizes: dict[str, object] = {
        "image_size": 64,
        "trunk_depths": (1, 1, 1, 1),
        "trunk_dims": (8, 8, 16, 16),
        "width": 32,
        "num_heads": 4,
        "pixel_decoder_layers": 1,
        "pixel_decoder_points": 2,
        "pixel_decoder_ffn": 32,
        "group_norm_groups": 4,
        "mask_decoder_layers": 3,
        "mask_decoder_ffn": 32,
        "num_queries": 6,
        "num_classes": 3,
        "class_embed_dim": 8,
        "class_embed_prototypes": 2,
        "pixel_shuffle": 1,
        "gaussian_sigma_px": 8.0,
    }
    return VisionConfig(**{**sizes, **changes})  # type: ignore[arg-type]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: the words of prompts and texts are one token, anything at all can be written."""
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    reserved = [*CHAT_TOKENS, *SPECIAL_TOKENS]
    trainer = trainers.BpeTrainer(
        vocab_size=1536,
        special_tokens=["<pad>", "<s>", "</s>", *reserved],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*(text for text in WORDING for _ in range(100)), *TEXTS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=reserved,
        clean_up_tokenization_spaces=False,
    )


NAMES, COLOURS = ("left shoe", "hood", "car"), ("red", "light blue")
WIDER = ((), ("car",), ())
OBJECTS = (("left shoe",), ("car",), ("car",))
HEADS = ("regression", "mixture", "heatmap", "pointer")


def tiny_network(
    *, roles: tuple[str, ...] = ("descriptor", "localizer"), head: str = "heatmap", blind: bool = False
) -> PointNetwork:
    """Random weights, adapters that do change the answers, texts that lead to points of their own."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    language = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=True,
        )
    )
    config = ModelConfig(name="tiny", vision=tiny_vision(), coordinate_head=head, blind=blind)
    network = PointNetwork(config, language, tokenizer)
    for role in roles:
        attach_role(network, role, lora_config(role, rank=4, alpha=8, dropout=0.0))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # ConvNeXt's layer scales and LoRA's B start near or at zero, which would hide mistakes.
            if name.endswith("gamma"):
                parameter.fill_(0.5)
            if "lora_B" in name:
                parameter.normal_(std=0.2)
            if "sampling_offsets.weight" in name or "attention_weights.weight" in name:
                parameter.normal_(std=0.1)
        # So that points have texts of their own.
        network.projector.query_mlp[-1].get_parameter("weight").mul_(5.0)
        if network.localizer is not None:
            _spread_answers(network.localizer, head)
    network.requires_grad_(False)
    return network.eval()


def tiny_naming_network() -> PointNetwork:
    """Knows names and colours; its descriptor has a projector of its own."""
    plain = tiny_network(roles=())
    vision = tiny_vision(num_point_names=3, num_point_colours=2)
    config = ModelConfig(
        name="tiny",
        vision=vision,
        point_names=NAMES,
        point_wider=WIDER,
        point_objects=OBJECTS,
        point_colours=COLOURS,
    )
    network = PointNetwork(config, plain.language, plain.prompts.tokenizer)
    attach_role(network, "descriptor", lora_config("descriptor", rank=4, alpha=8, dropout=0.0), projector=True)
    return network.eval()


def _spread_answers(localizer: LocalizerParts, head: str) -> None:
    """Untrained heads lead all texts to one place: last layers are weak, and a heatmap's cells hear words alike."""
    torch.manual_seed(41)
    if head == "heatmap":
        for name, parameter in localizer.named_parameters():
            if name.endswith(("ours.fine.weight", "ours.cells.weight")):
                parameter.mul_(0.1)
            if name.endswith("read.in_proj_weight"):
                parameter.normal_(std=0.5)
            if name.endswith("read.out_proj.weight"):
                parameter.normal_(std=0.1)
            if name.endswith("ours.places.weight"):
                parameter.normal_(std=3.0)
            if name.endswith("ours.answer.2.weight"):
                parameter.normal_(std=0.3)
    else:
        last = {"regression": "mlp.2", "mixture": "ours.mlp.2", "pointer": "ours.query.2"}[head]
        localizer.head.get_submodule(last).get_parameter("weight").normal_(std=1.0)
    if localizer.photo is not None:
        for parameter in localizer.photo.parameters():
            parameter.normal_()
