"""The whole network: one frozen base, a descriptor and a localizer over it."""

# B photos, P points or texts, T prefix tokens, D language model width

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from talking_points.model.config import ModelConfig
from talking_points.model.language import Adapters, LlamaLike
from talking_points.model.localizer_head import Heatmap, LocalizerParts, TextToVision
from talking_points.model.projector import Projector
from talking_points.model.prompts import Prompts
from talking_points.model.segmenter import ImageFeatures, Segmenter
from talking_points.model.tokenizer import Tokenizer

ROLES = ("descriptor", "localizer")


class PointNetwork(nn.Module):
    """Segmenter, projector and language model, with or without the two roles' adapters.

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
        self.config = config
        self.prompts = Prompts(tokenizer)
        width = config.vision.width
        self.segmenter = Segmenter(config.vision)
        self.language = language
        self.adapters = adapters
        self.language_files = language_files
        self.projector = self.new_projector()
        self.text_to_vision = TextToVision(self.llama.config.hidden_size, 2 * width)
        """The base's: [SEG] to a query of the mask decoder."""
        self.heatmap = Heatmap(width) if config.coordinate_head == "heatmap" else None
        """The base's: the localizer's starts as its copy."""
        self.localizer: LocalizerParts | None = None
        self._acting = threading.RLock()

    def new_projector(self) -> Projector:
        vision = self.config.vision
        return Projector(
            image_channels=vision.trunk_dims[-1] * vision.pixel_shuffle**2,
            query_channels=2 * vision.width,
            llm_width=self.llama.config.hidden_size,
        )

    def new_localizer_parts(self) -> LocalizerParts:
        """Parts of the right sizes, weights untrained."""
        return LocalizerParts(
            self.new_projector(),
            self.llama.config.hidden_size,
            self.config.vision.width,
            head=self.config.coordinate_head,
        )

    def place(self, device: torch.device | str, dtype: torch.dtype) -> PointNetwork:
        """Move to a device: language model and projectors in `dtype`, whatever computes coordinates in fp32.

        bf16 counts to 256: a pixel of a 1024 px square is below its resolution. OMG-LLaVA's encoder runs in fp32 too.
        """
        self.to(device=device)
        torch.nn.Module.to(self.language, dtype=dtype)  # transformers' own `to` is for devices only
        self.projector.to(dtype=dtype)
        if self.localizer is not None:
            self.localizer.projector.to(dtype=dtype)
        self.segmenter.float()
        self.text_to_vision.float()
        if self.heatmap is not None:
            self.heatmap.float()
        if self.localizer is not None:
            self.localizer.text_to_vision.float()
            self.localizer.head.float()
        return self

    @property
    def llama(self) -> LlamaLike:
        """The language model itself, as the acting role has it."""
        return cast(LlamaLike, self.language) if self.adapters is None else self.adapters.llama

    @property
    def roles(self) -> tuple[str, ...]:
        return () if self.adapters is None else self.adapters.roles

    @property
    def device(self) -> torch.device:
        return self.projector.separator.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.projector.separator.weight.dtype

    @contextmanager
    def acting_as(self, role: str) -> Iterator[None]:
        """Activate a role's adapter inside the block, and the one before again after it. "base": no adapter.

        One thread at a time: the active adapter is a state of the language model.
        """
        if role != "base" and role not in self.roles:
            raise ValueError(f"this checkpoint has no {role}; train one or load another")
        if self.adapters is None:
            yield
            return
        with self._acting, self.adapters.acting_as(role):
            yield

    def photo_prefixes(self, features: ImageFeatures, projector: Projector) -> list[Tensor]:
        """For each photo the (T, D) embeddings that every prompt about it starts with."""
        start_TD = self.embedding(torch.tensor(self.prompts.prefix(), device=self.device))
        photo_tokens = projector(features.image_tokens_BNC, features.query_feat_pos_BQF, features.wins_BQN)
        return [torch.cat([start_TD, tokens]) for tokens in photo_tokens]

    def mark_tokens(self, features: ImageFeatures, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        """(B, P, D) tokens of keypoints. points_BP2: [0, 1]^2 of the square."""
        return self.projector.project_queries(self.segmenter.encode_points(features, points_BP2, region=region))

    @property
    def embedding(self) -> nn.Module:
        return self.llama.get_input_embeddings()

    def seg_positions(self, suffixes: Sequence[Sequence[int]]) -> Tensor:
        """(P,) index of [SEG] in each localizer suffix."""
        return torch.tensor([list(s).index(self.prompts.seg_id) for s in suffixes], device=self.device)
