"""The whole network: one frozen base, a descriptor and a localizer over it."""

# B photos, P points or texts, T prefix tokens, D language model width

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from talking_points.model.config import ModelConfig
from talking_points.model.localizer_head import Heatmap, LocalizerParts, TextToVision
from talking_points.model.projector import Projector
from talking_points.model.prompts import Prompts
from talking_points.model.segmenter import ImageFeatures, Segmenter

ROLES = ("descriptor", "localizer")


class PointNetwork(nn.Module):
    """Segmenter, projector and language model, with or without the two roles' adapters.

    `language` is a plain Llama while the base is trained, and a PeftModel over it once adapters are attached.
    """

    def __init__(
        self, config: ModelConfig, language: LlamaForCausalLM | PeftModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        super().__init__()
        self.config = config
        self.prompts = Prompts(tokenizer)
        width = config.vision.width
        self.segmenter = Segmenter(config.vision)
        self.language = language
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
        torch.nn.Module.to(self.language, dtype=dtype)  # transformers' own `to` is typed for devices only
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
    def llama(self) -> LlamaForCausalLM:
        """The language model itself; the active adapter's LoRA layers, if any, are inside it."""
        return self.language.get_base_model() if isinstance(self.language, PeftModel) else self.language

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
        language = self.language
        if not isinstance(language, PeftModel):
            if role != "base":
                raise ValueError(f"this checkpoint has no {role}; train one or load another")
            yield
            return
        if role != "base" and role not in language.peft_config:
            raise ValueError(f"this checkpoint has no {role}; train one or load another")
        with self._acting:
            before = language.active_adapter
            if before == role:
                yield
                return
            # PEFT also switches gradients on and off; a reward computed in between must not stop a training.
            trains = {p: p.requires_grad for p in language.parameters()}

            def restore() -> None:
                for parameter, requires_grad in trains.items():
                    parameter.requires_grad_(requires_grad)

            try:
                if role == "base":
                    with language.disable_adapter():
                        restore()
                        yield
                else:
                    language.set_adapter(role)
                    restore()
                    yield
            finally:
                language.set_adapter(before)
                restore()

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
