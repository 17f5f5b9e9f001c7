"""The whole network: the paper's base, a descriptor and a localizer over it; what `bases.base` asks of a base."""

# B photos, P points or prompts, S suffix tokens, T prefix tokens, C width of a query, D width of the language model

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from talking_points.model.config import ModelConfig, Sizes
from talking_points.model.generation import GeneratedText, generate
from talking_points.model.heads import HEADS_OF_KIND, kept_numbers
from talking_points.model.language import Adapters, LlamaLike, adapter_weights, embed_suffixes
from talking_points.model.localizer_head import LocalizerParts, LocatedPoints, TextToVision
from talking_points.model.point_names import AS_LIKELY, SURE_COLOUR, SURE_NAME, SURE_SIDE, SURE_WIDER, decided
from talking_points.model.projector import Projector
from talking_points.model.prompts import Prompts
from talking_points.model.roles import ROLES, role_missing
from talking_points.model.segmenter import MAPS, TOKENS, ImageFeatures, Segmenter
from talking_points.model.shared_prefix import SharedPrefix, read_prefix, read_suffixes
from talking_points.model.tokenizer import Tokenizer
from talking_points.model.weights import fingerprint


def base_name(name: str) -> str:
    """The base's name of one of its weights, whatever adapters wrap its layer; empty for an adapter's own weight.

    Example:
        >>> base_name("lm_head.base_layer.weight"), base_name("lm_head.lora_A.descriptor.weight")
        ('lm_head.weight', '')
    """
    if ".lora_" in name or ".modules_to_save." in name:
        return ""
    return name.replace(".base_layer.", ".").replace(".original_module.", ".")


NAME_SCALE = 25.0
"""`mini`'s tokens of keypoints have some fifty times the norm of its words: beside them a word is hardly heard."""


class PointNetwork(nn.Module):
    """Segmenter, projector and language model, with or without the two roles' adapters; a `bases.base.Base`.

    `language` holds the weights. It is a Llama alone while the base is trained. With roles, `adapters` says which
    Llama acts: transformers' under PEFT's adapters in training and for large models, plain ones with merged weights
    where a small model only answers.
    """

    def __init__(
        self,
        config: ModelConfig,
        language: nn.Module,
        tokenizer: Tokenizer,
        *,
        adapters: Adapters | None = None,
        language_files: Mapping[str, bytes] | None = None,
    ) -> None:
        """
        Args:
            language: a `LlamaLike`; with `adapters` whatever these stand on.
            adapters: None: there are no roles yet.
            language_files: of a network that only answers: what its language side was read from, and is saved from.
        """
        super().__init__()
        self.config, self.name = config, config.name
        self.prompts = Prompts(tokenizer)
        width = config.vision.width
        self.segmenter = Segmenter(config.vision)
        self.language = language
        self.adapters = adapters
        self.language_files = language_files
        self.projector = Projector(config.vision, self.llama.config.hidden_size)
        self.text_to_vision = TextToVision(self.llama.config.hidden_size, 2 * width)
        """The base's: [SEG] to a query of the mask decoder."""
        self.head = self._new_head()
        """The base's, of the kind that the config names; None for a regression. The localizer's starts as its copy."""
        self.localizer: LocalizerParts | None = None
        self.descriptor_projector: Projector | None = None
        """Of a descriptor that was trained with a projector of its own; None: it reads the base's."""
        self._acting = threading.RLock()

    def _new_head(self) -> nn.Module | None:
        kind = self.config.coordinate_head
        if kind == "regression":
            return None
        return HEADS_OF_KIND[kind](self.config.vision.width, self.llama.config.hidden_size)

    def new_localizer_parts(self) -> LocalizerParts:
        """Parts of the right sizes, weights untrained."""
        config = self.config
        width = self.llama.config.hidden_size
        return LocalizerParts(config.vision, width, head=config.coordinate_head, blind=config.blind)

    def new_descriptor_projector(self) -> Projector:
        """Untrained: the base's, and for each name and colour the mean of its words, `NAME_SCALE` times as long."""
        own = Projector(self.config.vision, self.llama.config.hidden_size, names=True)
        weights = self.projector.state_dict()
        if own.names is not None:
            # That of no colour, the last, stays zero.
            vectors_DK = torch.zeros_like(own.names.weight)
            with torch.no_grad():
                for k, name in enumerate(self.config.point_names + self.config.point_colours):
                    ids = torch.tensor(self.prompts.word_ids(name), device=next(self.embedding.parameters()).device)
                    vectors_DK[:, k] = NAME_SCALE * self.embedding(ids).mean(0)
            weights["names.weight"] = vectors_DK
        own.load_state_dict(weights)
        return own

    def base_weights(self) -> dict[str, Tensor]:
        """Weights that both roles share, under one name whether or not an adapter wraps their layer."""
        mine = {base_name(name): tensor for name, tensor in self.state_dict().items()}
        return {n: t for n, t in mine.items() if n and not n.startswith(("localizer.", "descriptor_projector."))}

    def change(self, *, head: str | None = None, region: str | None = None, blind: bool | None = None) -> None:
        """Take another coordinate head for a localizer to come, or another region around keypoints; None: as it is.

        blind: whether the localizer will see no photo.
        """
        vision = replace(self.config.vision, region=region or self.config.vision.region)
        before = self.config.coordinate_head
        blind = self.config.blind if blind is None else blind
        self.config = replace(self.config, coordinate_head=head or before, vision=vision, blind=blind)
        if self.config.coordinate_head != before:
            self.head = self._new_head()
        self.segmenter.config = vision

    def place(self, device: torch.device | str, dtype: torch.dtype) -> PointNetwork:
        """Move to a device: language model and projectors in `dtype`, whatever computes coordinates in fp32.

        bf16 counts to 256: a pixel of a 1024 px square is below its resolution. OMG-LLaVA's encoder runs in fp32 too.
        """
        self.to(device=device)
        for parameter in self.language.parameters():  # not rotary frequencies, which transformers keeps in fp32, too
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
        for part in (self.segmenter, self.text_to_vision, self.head, self.localizer):
            if part is not None:
                part.float()
        for role in ("base", *ROLES):
            if role != "localizer" or self.localizer is not None:
                self.projector_of(role).to(dtype=dtype)
        return self

    @property
    def llama(self) -> LlamaLike:
        """The language model itself, as the acting role has it."""
        return cast(LlamaLike, self.language) if self.adapters is None else self.adapters.llama

    # --- What it is

    @property
    def roles(self) -> tuple[str, ...]:
        return () if self.adapters is None else self.adapters.roles

    @property
    def device(self) -> torch.device:
        return self.projector.separator.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.projector.separator.weight.dtype

    @property
    def side(self) -> int:
        return self.config.vision.image_size

    @property
    def num_blocks(self) -> int:
        return len(self.llama.model.layers)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.config.class_names

    @property
    def sizes(self) -> Sizes:
        vision, llama = self.config.vision, self.llama.config
        layers = self.llama.model.layers.named_parameters()
        return Sizes(
            weights=sum(p.numel() for p in self.parameters()),
            vision=sum(p.numel() for part in (self.segmenter, self.text_to_vision) for p in part.parameters()),
            linear=sum(p.numel() for name, p in layers if "norm" not in name),
            width=llama.hidden_size,
            inside=llama.intermediate_size,
            keys=self._keys,
            vocabulary=llama.vocab_size,
            # Of the queries, those that win a cell; all at most.
            photo_tokens=len(self.prompts.prefix()) + vision.cells_per_side**2 + 1 + min(vision.num_queries, 50),
            head=kept_numbers(self.config.coordinate_head, middle=(self.side // 16) ** 2, fine=(self.side // 8) ** 2),
            photo_bytes=vision.photo_bytes,
        )

    @property
    def _keys(self) -> int:
        """Width of a token's keys in a block."""
        llama = self.llama.config
        return (llama.num_key_value_heads or llama.num_attention_heads) * llama.hidden_size // llama.num_attention_heads

    def prompt_bytes(self, tokens: int) -> int:
        """Keys and values of the prefix and the tokens, and the photo's maps."""
        vision = self.config.vision
        token = 2 * self.num_blocks * self._keys * self.dtype.itemsize
        # A token a cell of the last stage folded, one a query at most. Strides 8 to 32 add a third to the mask feature.
        prefix = vision.cells_per_side**2 + vision.num_queries
        return token * (prefix + tokens) + (vision.image_size // 4) ** 2 * vision.width * 4 * 4 // 3

    @contextmanager
    def acting_as(self, role: str) -> Iterator[None]:
        """Activate a role's adapter inside the block, and the one before again after it. "base": no adapter.

        One thread at a time: the active adapter is a state of the language model.
        """
        if role != "base" and role not in self.roles:
            raise ValueError(role_missing("this checkpoint", role))
        if self.adapters is None:
            yield
            return
        with self._acting, self.adapters.acting_as(role):
            yield

    # --- Photos and points

    def encode_photos(self, pixels_B3SS: Tensor) -> ImageFeatures:
        # Coordinates are computed in fp32, whatever the language model's type.
        with torch.autocast(self.device.type, enabled=False):
            # A CPU's caches hold what one photo needs: together, each would take half as long again.
            parts = pixels_B3SS.split(1 if self.device.type == "cpu" else len(pixels_B3SS))
            first, *others = (self.segmenter(part_B3SS) for part_B3SS in parts)
            return first.join(others)

    def encode_points(self, features: ImageFeatures, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        """(B, P, F): `Segmenter.encode_points`, the names and colours `decided`. points_BP2: [0, 1]^2 of the square."""
        config = self.config
        with torch.autocast(self.device.type, enabled=False):
            numbers_BPF = self.segmenter.encode_points(features, points_BP2, region=region)
            if not config.point_names:
                return numbers_BPF
            features_BPF, chances_BPK = numbers_BPF.tensor_split([2 * config.vision.width], dim=-1)
            told_BPK = decided(chances_BPK, config.point_names, config.point_wider, config.point_objects)
            return torch.cat([features_BPF, told_BPK], dim=-1)

    # --- Language

    @property
    def embedding(self) -> nn.Module:
        return self.llama.get_input_embeddings()

    def projector_of(self, role: str) -> Projector:
        """The localizer has its own, a descriptor may have one."""
        if role == "localizer":
            assert self.localizer is not None
            return self.localizer.projector
        own = self.descriptor_projector if role == "descriptor" else None
        return self.projector if own is None else own

    def photo_prefixes(self, features: ImageFeatures, role: str) -> list[Tensor]:
        """For each photo the (T, D) embeddings that every prompt about it starts with."""
        features = self._seen(features, role)
        start_TD = self.embedding(torch.tensor(self.prompts.prefix(), device=self.device))
        photo_tokens = self.projector_of(role)(
            features.image_tokens_BNC, features.query_feat_pos_BQF, features.wins_BQN
        )
        return [torch.cat([start_TD, tokens]) for tokens in photo_tokens]

    def embed_prefix(self, features: ImageFeatures, role: str) -> tuple[Tensor, list[int]]:
        prefixes = self.photo_prefixes(features, role)
        return pad_sequence(prefixes, batch_first=True), [len(one) for one in prefixes]

    def read_prefix(
        self, states_BTD: Tensor, lengths: Sequence[int], *, blocks: range | None = None
    ) -> tuple[Tensor, SharedPrefix]:
        return read_prefix(self.llama, states_BTD, lengths, blocks=blocks)

    def embed(
        self, prompts: Sequence[Sequence[int]], points_PF: Tensor | None = None, *, role: str = "descriptor"
    ) -> Tensor:
        marks_PD = None if points_PF is None else self.projector_of(role).project_points(points_PF)
        return embed_suffixes(prompts, self.embedding, self.prompts.mark_id, marks_PD)

    def read(
        self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, states_PSD: Tensor, *, blocks: range | None = None
    ) -> Tensor:
        return read_suffixes(self.llama, prefix, photo_of_prompt_P, states_PSD, blocks=blocks)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.llama.lm_head(hidden)

    def generate(
        self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, states_PSD: Tensor, **settings: Any
    ) -> list[list[GeneratedText]]:
        """settings: as `generation.generate` takes them, but for the end token."""
        return generate(self.llama, prefix, photo_of_prompt_P, states_PSD, end_id=self.prompts.end_id, **settings)

    # --- The localizer

    def locate(
        self,
        features: ImageFeatures,
        prefix: SharedPrefix,
        photo_of_prompt_P: Tensor,
        prompts: Sequence[Sequence[int]],
    ) -> LocatedPoints:
        """From the states up to each prompt's [SEG]."""
        assert self.localizer is not None
        hidden_PSD = self.read(prefix, photo_of_prompt_P, self.embed(prompts))
        inputs = self._seen(features, "localizer").decoder_inputs
        # Coordinates are computed in fp32, whatever the language model's type.
        with torch.autocast(self.device.type, enabled=False):
            return self.localizer(hidden_PSD, self.seg_positions(prompts), inputs, photo_of_prompt_P)

    def _seen(self, features: ImageFeatures, role: str) -> ImageFeatures:
        """What a role sees of photos: the photos, but for a localizer that is blind."""
        if role != "localizer" or self.localizer is None or self.localizer.photo is None:
            return features
        return self.localizer.photo.in_place_of(features)

    def seg_positions(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """(P,) where each localizer's prompt has its [SEG]."""
        return torch.tensor([list(prompt).index(self.prompts.seg_id) for prompt in prompts], device=self.device)

    @property
    def is_blind(self) -> bool:
        return self.config.blind

    @property
    def tells_absence(self) -> bool:
        return self.localizer is not None and self.localizer.head.ours is not None

    @property
    def temperature(self) -> Tensor | None:
        return None if self.localizer is None else self.localizer.head.temperature

    # --- Training

    def role_weights(self, role: str, *, language: bool = True, blocks: range | None = None) -> dict[str, nn.Parameter]:
        weights = adapter_weights(self.language, role, blocks) if language else {}
        if role == "localizer" and blocks is None:
            assert self.localizer is not None
            weights |= {f"localizer.{n}": p for n, p in self.localizer.named_parameters()}
        if role == "descriptor" and blocks is None and self.descriptor_projector is not None:
            weights |= {f"projector.{n}": p for n, p in self.descriptor_projector.named_parameters()}
        return weights

    def role_modules(self, role: str) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"language": self.language}
        if role == "localizer":
            assert self.localizer is not None
            modules["localizer"] = self.localizer
        if role == "descriptor" and self.descriptor_projector is not None:
            modules["projector"] = self.descriptor_projector
        return modules

    def recompute(self, on: bool) -> None:
        self.llama.model.gradient_checkpointing = on

    def features_key(self, role: str) -> str:
        read = " ".join(sorted(MAPS + TOKENS if self._reads_maps(role) else TOKENS))
        key = f"{fingerprint(self.segmenter.state_dict().values())} {self.config.vision} {self.dtype} {read}"
        if not self.config.point_names:
            return key
        names = f"{self.config.point_names} {self.config.point_wider} {self.config.point_objects}"
        return f"{key} {names} {SURE_NAME} {SURE_SIDE} {SURE_WIDER} {SURE_COLOUR} {AS_LIKELY}"

    def pack_photos(self, features: ImageFeatures, role: str) -> list[dict[str, Tensor]]:
        """Tokens in the projector's type, which casts them so in any case; maps only for a head that reads them."""
        return features.pack(self.dtype, maps=self._reads_maps(role))

    def unpack_photos(self, packed: Sequence[Mapping[str, Tensor]], role: str) -> ImageFeatures:
        return self.segmenter.unpack(packed, maps=self._reads_maps(role))

    def _reads_maps(self, role: str) -> bool:
        return role == "localizer" and self.config.coordinate_head in ("heatmap", "pointer")
