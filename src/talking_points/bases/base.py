"""What describing, localizing, training and serving need of a base: a vision-language model that carries the roles.

`model.network.PointNetwork`, the paper's network, is one. Nothing outside `bases/` and `model/` asks which base it has.
Stock models that are asked in words, untrained, are `stock.StockBase`.

`adapted.network.QwenNetwork`, a stock vision-language model of transformers that carries trained roles, is the other.
"""

# B photos, P prompts or points, S suffix tokens, T prefix tokens, D width, F numbers of a point, V vocabulary

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from talking_points.model.config import Sizes
from talking_points.model.generation import GREEDY, GeneratedText, Sampling
from talking_points.model.localizer_head import LocatedPoints
from talking_points.model.prompts import Prompts
from talking_points.model.shared_prefix import SharedPrefix

F = TypeVar("F", bound="PhotoFeatures")


class PhotoFeatures(Protocol):
    """What a base's vision encoder computes of B photos, once. Points, texts and roles share it."""

    @property
    def bytes(self) -> int:
        """Memory that it takes."""

    def select(self: F, photos: Tensor) -> F:
        """Those of some photos. photos: indices, repeats allowed."""

    def photo(self: F, index: int) -> F:
        """One photo's, in memory of their own."""

    def join(self: F, others: Sequence[F]) -> F:
        """These, and others behind them."""


class Base(Protocol):
    """A frozen vision-language model with the roles that it has."""

    name: str
    """Shown to users."""
    prompts: Prompts

    @property
    def side(self) -> int:
        """Of the letterboxed square that it sees, in pixels."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the language model."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Of "descriptor" and "localizer", those that are trained."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Objects and parts that it was taught by name; none where it has no list of them."""

    @property
    def num_blocks(self) -> int:
        """Of the language model."""

    def acting_as(self, role: str) -> AbstractContextManager[None]:
        """Inside the block a role's adapter is active; "base": none. One thread at a time."""

    def prompt_bytes(self, tokens: int) -> int:
        """Memory, at most, of answering one prompt about one photo. tokens: of the prompt and its answer."""

    # --- Photos and points

    def encode_photos(self, pixels_B3SS: Tensor) -> PhotoFeatures:
        """Features of photos as `photos.letterbox` makes them."""

    def encode_points(self, features: Any, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        """(B, P, F) numbers of points.

        Args:
            features: of B photos, from `encode_photos`.
            points_BP2: x, y in [0, 1]^2 of the square; a photo with fewer points repeats one.
            region: where a point's query looks, where the base has a choice; None: as its config says.
        """

    # --- Language

    def embed_prefix(self, features: Any, role: str) -> tuple[Tensor, list[int]]:
        """(B, T, D) right-padded embeddings of what every prompt about the photos starts with, and their lengths."""

    def read_prefix(
        self, states_BTD: Tensor, lengths: Sequence[int], *, blocks: range | None = None
    ) -> tuple[Tensor, SharedPrefix]:
        """Walk prefixes through the language model: the states after it, and the keys and values of its blocks.

        Args:
            states_BTD: from `embed_prefix`; or the states before `blocks`.
            blocks: some, side by side; None: all.
        """

    def embed(
        self, prompts: Sequence[Sequence[int]], points_PF: Tensor | None = None, *, role: str = "descriptor"
    ) -> Tensor:
        """(P, S, D) right-padded embeddings of prompts; at a prompt's marker its point.

        Args:
            points_PF: None: no markers.
            role: that is asked, or "base"; only where there are markers it matters.
        """

    def read(
        self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, states_PSD: Tensor, *, blocks: range | None = None
    ) -> Tensor:
        """(P, S, D) last hidden states of prompts behind their photos' prefixes.

        Args:
            photo_of_prompt_P: ascending.
            states_PSD: from `embed`; with `blocks`, the states before these last ones.
        """

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V) of the next token, from last hidden states."""

    def generate(
        self,
        prefix: SharedPrefix,
        photo_of_prompt_P: Tensor,
        states_PSD: Tensor,
        *,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        generator: torch.Generator | None = None,
        keep_before: int | None = None,
        on_token: Callable[[int, list[int]], None] | None = None,
    ) -> list[list[GeneratedText]]:
        """Continuations of prompts of one length; arguments and result as `model.generation.generate`."""

    # --- The localizer

    def locate(
        self, features: Any, prefix: SharedPrefix, photo_of_prompt_P: Tensor, prompts: Sequence[Sequence[int]]
    ) -> LocatedPoints:
        """Where texts lead, on the square. Call it inside `acting_as("localizer")`.

        Args:
            features, prefix: of B photos.
            photo_of_prompt_P: ascending.
            prompts: from `prompts.localize`.
        """

    @property
    def is_blind(self) -> bool:
        """Whether its localizer sees one learned set of features in place of any photo."""

    @property
    def tells_absence(self) -> bool:
        """Whether its localizer says, beside a point, if what the text names is in the photo at all."""

    @property
    def temperature(self) -> Tensor | None:
        """Calibrates how sure the localizer is, and may be set in place; None: it does not say how sure it is."""

    # --- Training

    def role_weights(
        self, role: str, *, language: bool = True, blocks: range | None = None
    ) -> Mapping[str, nn.Parameter]:
        """A role's own weights by name: its adapter and its other parts ("localizer.NAME", "projector.NAME").

        Args:
            language: False: without the adapter.
            blocks: of the adapter only what is in these blocks, and no other parts.
        """

    def role_modules(self, role: str) -> dict[str, nn.Module]:
        """The modules that hold `role_weights`, which a training puts into training mode."""

    def recompute(self, on: bool) -> None:
        """Whether gradients come from activations that are computed again instead of kept."""

    @property
    def sizes(self) -> Sizes:
        """What is estimated before a training."""

    def features_key(self, role: str) -> str:
        """Equal where `pack_photos` of a role, and `encode_points`, give the same of the same photos."""

    def pack_photos(self, features: Any, role: str) -> list[dict[str, Tensor]]:
        """For each photo the tensors that training a role reads, to be kept on disk."""

    def unpack_photos(self, packed: Sequence[Mapping[str, Tensor]], role: str) -> PhotoFeatures:
        """`pack_photos` undone, on the base's device; what the role does not read is empty."""
