"""What descriptor and localizer share: a base, what is kept of photos, and how many questions fit at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from talking_points.bases.base import Base
from talking_points.memory import room_for_batch
from talking_points.pointing.encoding import EncodedPhotos, PhotoCache, encode_photos
from talking_points.pointing.pairs import OPENED_BYTES, Asked, answer_pairs, opened
from talking_points.pointing.prepared import Photo, PreparedPhoto, prepare_photo

Q = TypeVar("Q")
A = TypeVar("A")
R = TypeVar("R")
SomeRole = TypeVar("SomeRole", bound="Role")

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
            memory_bytes: room for a batch; None: `memory.room_for_batch`.
        """
        self.network = network
        self.cache = PhotoCache() if cache is None else cache
        self.memory_bytes = memory_bytes

    @classmethod
    def from_pretrained(cls: type[SomeRole], name_or_folder: str | Path, *, device: str | None = None) -> SomeRole:
        """Load this role alone. Arguments as `TalkingPoints.from_pretrained`."""
        from talking_points.pointing.pretrained import load_network

        return cls(load_network(name_or_folder, device=device, roles=(cls.role,)))

    def prepare(self, photo: Photo) -> PreparedPhoto:
        """A photo as the base sees it. Runs in any thread; errors as `prepare_photo`."""
        return prepare_photo(photo, self.network.side)

    @property
    def photos_at_once(self) -> int:
        """Photos that may be open together."""
        return max(1, OPENED_BYTES // (self.network.side**2 * 3 * 4))

    def prompts_at_once(self, tokens: int) -> int:
        """How many prompts fit into memory together, at worst each with a photo of its own.

        tokens: of a question and its answer.
        """
        room = room_for_batch(self.network.device) if self.memory_bytes is None else self.memory_bytes
        return max(1, min(MOST_AT_ONCE, room // self.network.prompt_bytes(tokens)))

    def _encode(self, photos: Sequence[PreparedPhoto]) -> EncodedPhotos:
        return encode_photos(self.network, photos, self.cache)

    def _answer(
        self,
        pairs: Sequence[tuple[Photo, Q]],
        *,
        tokens: int,
        ready: Callable[[Q, tuple[int, int]], A],
        work: Callable[[Sequence[Asked[PreparedPhoto, A]]], list[R]],
    ) -> list[R]:
        """Answers to pairs. tokens: as `prompts_at_once`; the others as `opened` and `answer_pairs` take them."""
        with torch.inference_mode():
            windows = opened(pairs, self.prepare, self.photos_at_once, ready)
            return answer_pairs(windows, self.prompts_at_once(tokens), work)
