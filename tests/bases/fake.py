"""The least that a base can be: a Llama that reads a photo as four tokens, and points as their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from talking_points.model.config import Sizes
from talking_points.model.generation import GeneratedText, generate
from talking_points.model.language import embed_suffixes
from talking_points.model.localizer_head import LocatedPoints
from talking_points.model.prompts import Prompts
from talking_points.model.shared_prefix import SharedPrefix, read_prefix, read_suffixes
from tests.tiny import tiny_tokenizer

WIDTH = 16


@dataclass(frozen=True)
class Colours:
    """Mean colours of the four quarters."""

    means_B43: Tensor

    @property
    def bytes(self) -> int:
        return self.means_B43.nbytes

    def select(self, photos: Tensor) -> Colours:
        return Colours(self.means_B43[photos])

    def photo(self, index: int) -> Colours:
        return Colours(self.means_B43[index : index + 1].clone())

    def join(self, others: Sequence[Colours]) -> Colours:
        return Colours(torch.cat([self.means_B43, *(one.means_B43 for one in others)]))


class FakeBase(nn.Module):
    name = "fake"
    side = 32
    num_blocks = 2
    class_names: tuple[str, ...] = ()
    roles = ("descriptor", "localizer")
    device, dtype = torch.device("cpu"), torch.float32
    temperature = None
    tells_absence = False
    is_blind = False
    sizes = Sizes(
        weights=1,
        vision=0,
        linear=0,
        width=WIDTH,
        inside=WIDTH,
        keys=WIDTH,
        vocabulary=9,
        photo_tokens=4,
        head=0,
        photo_bytes=48,
    )

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.prompts = Prompts(tiny_tokenizer())
        sizes = {"vocab_size": len(self.prompts.tokenizer.get_vocab()), "hidden_size": WIDTH, "num_hidden_layers": 2}
        self.llama = LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=WIDTH, num_attention_heads=2))
        self.colour, self.point, self.head = nn.Linear(3, WIDTH), nn.Linear(2, WIDTH), nn.Linear(WIDTH, 2)

    @contextmanager
    def acting_as(self, role: str) -> Iterator[None]:
        yield

    def prompt_bytes(self, tokens: int) -> int:
        return tokens * 2**10

    def encode_photos(self, pixels_B3SS: Tensor) -> Colours:
        return Colours(F.adaptive_avg_pool2d(pixels_B3SS, 2).flatten(2).transpose(1, 2))

    def encode_points(self, features: Colours, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        return points_BP2

    def embed_prefix(self, features: Colours, role: str) -> tuple[Tensor, list[int]]:
        return self.colour(features.means_B43), [4] * len(features.means_B43)

    def read_prefix(
        self, states_BTD: Tensor, lengths: Sequence[int], *, blocks: range | None = None
    ) -> tuple[Tensor, SharedPrefix]:
        return read_prefix(self.llama, states_BTD, lengths, blocks=blocks)

    def embed(
        self, prompts: Sequence[Sequence[int]], points_PF: Tensor | None = None, *, role: str = "descriptor"
    ) -> Tensor:
        marks_PD = None if points_PF is None else self.point(points_PF)
        return embed_suffixes(prompts, self.llama.get_input_embeddings(), self.prompts.mark_id, marks_PD)

    def read(
        self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, states_PSD: Tensor, *, blocks: range | None = None
    ) -> Tensor:
        return read_suffixes(self.llama, prefix, photo_of_prompt_P, states_PSD, blocks=blocks)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.llama.lm_head(hidden)

    def generate(
        self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, states_PSD: Tensor, **settings: Any
    ) -> list[list[GeneratedText]]:
        return generate(self.llama, prefix, photo_of_prompt_P, states_PSD, end_id=self.prompts.end_id, **settings)

    def locate(
        self, features: Colours, prefix: SharedPrefix, photo_of_prompt_P: Tensor, prompts: Sequence[Sequence[int]]
    ) -> LocatedPoints:
        ends_P = torch.tensor([len(prompt) - 1 for prompt in prompts])
        hidden_PSD = self.read(prefix, photo_of_prompt_P, self.embed(prompts))
        points_P2 = self.head(hidden_PSD[torch.arange(len(prompts)), ends_P]).sigmoid()
        return LocatedPoints(points_P2=points_P2, regressed_P2=points_P2)

    def role_weights(self, role: str, *, language: bool = True, blocks: range | None = None) -> dict[str, nn.Parameter]:
        named = dict(self.named_parameters())
        return named if blocks is None else {n: p for n, p in named.items() if _block_of(n) in blocks}

    def role_modules(self, role: str) -> dict[str, nn.Module]:
        return {"all": self}

    def recompute(self, on: bool) -> None: ...

    def features_key(self, role: str) -> str:
        return "colours"

    def pack_photos(self, features: Colours, role: str) -> list[dict[str, Tensor]]:
        return [{"means": means_43} for means_43 in features.means_B43]

    def unpack_photos(self, packed: Sequence[Mapping[str, Tensor]], role: str) -> Colours:
        return Colours(torch.stack([one["means"] for one in packed]))


def _block_of(name: str) -> int:
    found = re.search(r"\.layers\.(\d+)\.", name)
    return int(found[1]) if found else -1
