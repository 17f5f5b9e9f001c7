"""What descriptor and localizer share: a base, what is kept of photos, and how many questions fit at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from talking_points.bases.base import Base
from talking_points.pointing.encoding import EncodedPhotos, Photo, PhotoCache, PreparedPhoto, encode_photos
from talking_points.pointing.pairs import Asked, answer_pairs

Q = TypeVar("Q")
A = TypeVar("A")
R = TypeVar("R")
SomeRole = TypeVar("SomeRole", bound="Role")

MEMORY_BYTES = 2**30
"""Room for a batch on the CPU. On a GPU it is `GPU_SHARE` of what is free there. Ours."""
GPU_SHARE = 0.6
MOST_AT_ONCE = 128
"""Prompts of a batch: more bring nothing where memory is plenty. Ours."""


class Role:
    """A role of a base that answers questions about photos."""

    role: str

    def __init__(self, network: Base, *, cache: PhotoCache | None = None, memory_bytes: int | None = None) -> None:
        """
        Args:
            network: with the role's adapter.
            cache: where what is computed of photos is kept; None: one of its own.
            memory_bytes: room for a batch; None: `MEMORY_BYTES`, or `GPU_SHARE` of a GPU's free memory.
        """
        self.network = network
        self.cache = PhotoCache() if cache is None else cache
        self.memory_bytes = memory_bytes

    @classmethod
    def from_pretrained(cls: type[SomeRole], name_or_folder: str | Path, *, device: str | None = None) -> SomeRole:
        """Load this role alone. Arguments as `TalkingPoints.from_pretrained`."""
        from talking_points.pointing.pretrained import load_network

        return cls(load_network(name_or_folder, device=device, roles=(cls.role,)))

    def prompts_at_once(self, tokens: int) -> int:
        """How many prompts fit into memory together, at worst each with a photo of its own.

        tokens: of a question and its answer.
        """
        room = self.memory_bytes
        if room is None:
            device = self.network.device
            room = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else MEMORY_BYTES
        return max(1, min(MOST_AT_ONCE, room // self.network.prompt_bytes(tokens)))

    def _encode(self, photos: Sequence[PreparedPhoto]) -> EncodedPhotos:
        return encode_photos(self.network, photos, self.cache)

    def _answer(
        self,
        pairs: Sequence[tuple[Photo, Q]],
        *,
        tokens: int,
        ready: Callable[[Q, tuple[int, int]], A],
        work: Callable[[Sequence[Asked[A]]], list[R]],
    ) -> list[R]:
        """`answer_pairs` in batches that fit. tokens: as `prompts_at_once`."""
        at_once = self.prompts_at_once(tokens)
        with torch.inference_mode():
            return answer_pairs(pairs, side=self.network.side, at_once=at_once, ready=ready, work=work)
