"""What the frozen vision encoder says of training photos, computed once and kept on disk for later epochs and runs."""

# B photos, P points a photo, C channels of a query

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.training.batches import PointBatch

log = logging.getLogger(__name__)

CACHE_GB = 100.0
"""Room for a feature cache. Ours; tokens of 17,000 photos of the 7B take 63 GB in bf16."""

Tensors = dict[str, Tensor]


class FeatureCache:
    """Tensors by key, a file each, memory-mapped. Runs may share the folder at the same time.

    Every file holds a checksum of its tensors, which is compared when a run first reads it; a broken file is named,
    removed and made anew. When `max_bytes` are full, nothing more is kept and nothing that is there is lost.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"the feature cache has room for {max_bytes} bytes; allowed: at least 1")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.max_bytes = folder, max_bytes
        self.bytes = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        """What was there at the start and what this run has added."""
        self._checked: set[str] = set()
        self._full = False

    def get(self, key: str) -> Tensors | None:
        """What was put under a key, on the CPU; None when it is not there, or broken."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                written = (file.metadata() or {}).get("checksum")
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            written, tensors = None, {}
        if key not in self._checked:
            if written is None or written != _checksum(tensors):
                log.warning("%s is broken: its bytes are not those that were written; making it anew", path)
                path.unlink(missing_ok=True)
                return None
            self._checked.add(key)
        return tensors

    def put(self, key: str, tensors: Tensors) -> None:
        """Keep tensors, if there is room; the file appears whole or not at all."""
        own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = save(own, metadata={"checksum": _checksum(own)})
        if self.bytes + len(data) > self.max_bytes:
            if not self._full:
                log.warning("%s is full (%.1f GB); further photos are encoded each time", self.folder, self.bytes / 1e9)
            self._full = True
            return
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(unfinished, path)
        self.bytes += len(data)

    def _path(self, key: str) -> Path:
        # A folder with a hundred thousand files is slow to list.
        return self.folder / key[:2] / f"{key}.safetensors"


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


class FrozenVision:
    """Vision features of training batches, from the encoder or from a cache of what it said before.

    Kept are the image tokens of a photo, in the projector's type; the maps that a heatmap reads, where there is one;
    the numbers of a photo's points. They are known by the encoder's weights and the photo's pixels.
    """

    def __init__(self, network: Base, cache: FeatureCache | None, *, maps: bool) -> None:
        """
        Args:
            network: its segmenter does not change any more.
            cache: None: everything is computed each time.
            maps: the decoder's inputs are wanted, too.
        """
        self.network, self.cache, self.maps = network, cache, maps
        self._role = "localizer" if maps else "descriptor"
        self.encoded = 0
        """Photos that went through the encoder."""
        if cache is not None:
            self._encoder = _encoder_key(network)

    @torch.no_grad()
    def photos(self, batch: PointBatch) -> PhotoFeatures:
        """Features of a batch's photos; without `maps`, what comes from a cache has none."""
        if self.cache is None:
            return self._encode(batch, range(len(batch.pixels_B3SS)))
        kind = "maps" if self.maps else "tokens"
        rows = self._kept(kind, batch.photo_keys, lambda missing: self._packed(self._encode(batch, missing)))
        return self.network.unpack_photos(rows, self._role)

    @torch.no_grad()
    def points(self, batch: PointBatch, features: PhotoFeatures) -> Tensor:
        """(B, P, 2C) numbers of a batch's points. features: from `photos`."""
        if self.cache is None:
            return self._encode_points(features, batch.points_BP2)

        P = batch.points_BP2.shape[1]

        def make(missing: Sequence[int]) -> list[Tensors]:
            photos = sorted({index // P for index in missing})
            numbers_BPF = self._encode_points(self._encode(batch, photos), batch.points_BP2[photos])
            return [{"points": numbers_BPF[photos.index(index // P), index % P]} for index in missing]

        # Each point by itself: another epoch shows a photo's points in another order and company.
        asked = [
            key + point_2.cpu().numpy().tobytes()
            for key, points_P2 in zip(batch.photo_keys, batch.points_BP2, strict=True)
            for point_2 in points_P2
        ]
        rows = self._kept("points", asked, make)
        return torch.stack([row["points"] for row in rows]).unflatten(0, (-1, P)).to(self.network.device)

    def _encode(self, batch: PointBatch, photos: Sequence[int]) -> PhotoFeatures:
        self.encoded += len(photos)
        return self.network.encode_photos(batch.pixels_B3SS[list(photos)].to(self.network.device))

    def _packed(self, features: PhotoFeatures) -> list[Tensors]:
        return self.network.pack_photos(features, self._role)

    def _encode_points(self, features: PhotoFeatures, points_BP2: Tensor) -> Tensor:
        return self.network.encode_points(features, points_BP2.to(self.network.device))

    def _kept(self, kind: str, keys: Sequence[bytes], make: Callable[[Sequence[int]], list[Tensors]]) -> list[Tensors]:
        """For each key what the cache holds, or what is made of it and kept."""
        assert self.cache is not None
        names = [hashlib.blake2b(self._encoder + kind.encode() + key, digest_size=16).hexdigest() for key in keys]
        rows = [self.cache.get(name) for name in names]
        missing = [index for index, row in enumerate(rows) if row is None]
        if missing:
            for index, made in zip(missing, make(missing), strict=True):
                rows[index] = made
                self.cache.put(names[index], made)
        return [row for row in rows if row is not None]


def _encoder_key(network: Base) -> bytes:
    """A hash of the encoder: its sizes, its weights, and the type that tokens are kept in."""
    settings = json.dumps([network.encoder_settings(), str(network.dtype)], sort_keys=True)
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.encoder.state_dict().items()}
    return hashlib.blake2b(f"{settings} {_checksum(weights)}".encode(), digest_size=16).digest()
