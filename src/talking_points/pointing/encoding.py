"""What is computed of a photo once and shared by all its points and texts, and kept for the next call.

Vision features serve both roles. Keys and values of the photo's prefix are each role's own: the adapters, and the
localizer's projector, differ from the first block on.
"""

# B photos

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.model.shared_prefix import SharedPrefix
from talking_points.pointing.pairs import in_batches
from talking_points.pointing.prepared import PreparedPhoto

T = TypeVar("T")

CACHE_BYTES = 2**30
"""Room for what is kept of photos; some 500 photos of mini, two of the 7B. Ours."""
PHOTOS_AT_ONCE = 16
"""Photos that go through the vision encoder together."""


class _Sized(Protocol):
    @property
    def bytes(self) -> int: ...


R = TypeVar("R")
S = TypeVar("S", bound=_Sized)


class PhotoCache:
    """The last things computed of photos, as many as fit into `max_bytes`. One network's; threads may share it."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}; allowed: 0 (keep nothing) or more")
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[tuple[str, bytes], _Sized] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, kind: str, key: bytes) -> Any:
        """What was put, or None."""
        with self._lock:
            if (kind, key) not in self._kept:
                return None
            self._kept.move_to_end((kind, key))
            return self._kept[kind, key]

    def put(self, kind: str, key: bytes, value: _Sized) -> None:
        """Keep a value, and drop those unused for longest until all fit."""
        size = value.bytes
        with self._lock:
            if size > self.max_bytes or (kind, key) in self._kept:
                return
            self._kept[kind, key] = value
            self.bytes += size
            while self.bytes > self.max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.bytes -= dropped.bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPhotos:
    """Vision features of B photos."""

    keys: list[bytes]
    features: PhotoFeatures


def encode_photos(network: Base, photos: Sequence[PreparedPhoto], cache: PhotoCache) -> EncodedPhotos:
    """Vision features of photos; equal photos are encoded once."""

    def encode(missing: Sequence[PreparedPhoto]) -> list[PhotoFeatures]:
        pixels_B3SS = torch.from_numpy(np.stack([photo.square_3SS for photo in missing]))
        features = network.encode_photos(pixels_B3SS.to(network.device))
        return [features.photo(n) for n in range(len(missing))]

    keys = [photo.key for photo in photos]
    first, *others = _each_once("features", keys, photos, cache, encode)
    return EncodedPhotos(keys=keys, features=first.join(others))


def role_prefix(network: Base, role: str, photos: EncodedPhotos, cache: PhotoCache) -> SharedPrefix:
    """Keys and values of the photos' prefixes as one role reads them. Call it inside `network.acting_as(role)`."""

    def read(missing: Sequence[int]) -> list[SharedPrefix]:
        features = photos.features.select(torch.tensor(missing, device=network.device))
        _, prefix = network.read_prefix(*network.embed_prefix(features, role))
        return [prefix.photo(n) for n in range(len(missing))]

    return SharedPrefix.join(_each_once(role, photos.keys, range(len(photos.keys)), cache, read))


def _each_once(
    kind: str, keys: Sequence[bytes], items: Sequence[T], cache: PhotoCache, make: Callable[[Sequence[T]], list[S]]
) -> list[S]:
    """For each key what the cache holds, or what is made of its item, once for equal keys; `PHOTOS_AT_ONCE` a time."""
    known = {key: cache.get(kind, key) for key in keys}
    missing = {key: item for key, item in zip(keys, items, strict=True) if known[key] is None}
    for key, value in zip(missing, in_batches(list(missing.values()), PHOTOS_AT_ONCE, make), strict=True):
        known[key] = value
        cache.put(kind, key, value)
    return [known[key] for key in keys]
