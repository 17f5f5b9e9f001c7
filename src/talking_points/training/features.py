"""What the frozen vision encoder says of training photos, computed once and kept on disk for later epochs and runs."""

# B photos, P points a photo, F numbers of a point

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.pages import counted
from talking_points.training.batches import PointBatch

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]
Encode = Callable[[Sequence[int]], PhotoFeatures]


class FeatureCache:
    """Tensors by key, a file each, memory-mapped. Runs may share the folder at the same time.

    When `max_bytes` are full, nothing more is kept and nothing that is there is lost.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.max_bytes = folder, max_bytes
        self.bytes = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        """What was there at the start and what this run has added."""
        self._full = False

    def get(self, key: str) -> Tensors | None:
        """What was put under a key, on the CPU; None when it is not there, or cut short, which is said."""
        try:
            return load_file(self._path(key))
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            log.warning("%s is broken: %s; making it anew", self._path(key), error)
            return None

    def put(self, key: str, tensors: Tensors) -> None:
        """Keep tensors, if there is room; the file appears whole or not at all."""
        data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
        if self.bytes + len(data) > self.max_bytes:
            if not self._full:
                log.warning("%s is full (%.1f GB); further photos are encoded each time", self.folder, self.bytes / 1e9)
            self._full = True
            return
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            unfinished.write_bytes(data)
        except OSError:
            # On a full disk it would take up what room there is.
            unfinished.unlink(missing_ok=True)
            raise
        unfinished.replace(path)
        self.bytes += len(data)

    def _path(self, key: str) -> Path:
        # A folder with a hundred thousand files is slow to list.
        return self.folder / key[:2] / f"{key}.safetensors"


class FrozenVision:
    """Vision features of training batches, from the encoder or from a cache of what it said before.

    Kept is what training the role reads of a photo, and the numbers of each point. They are known by the encoder's
    weights and the photo's pixels.
    """

    def __init__(self, base: Base, role: str, cache: FeatureCache | None = None) -> None:
        """
        Args:
            base: its encoder does not change any more.
            cache: None: everything is computed each time.
        """
        self.base, self.role, self.cache = base, role, cache
        self.encoded = 0
        """How often a photo went through the encoder; one that comes again, in another batch, counts again."""
        self._key = "" if cache is None else base.features_key(role)

    def work_said(self) -> str:
        """How much the encoder had to do, for people."""
        done = f"{counted(self.encoded, 'pass', 'passes')} of a photo through the vision encoder"
        if self.cache is None:
            return f"{done}, as a photo goes through anew with each batch (--feature-cache keeps what was computed)"
        return f"{done}; the rest came from {self.cache.folder}"

    @torch.no_grad()
    def photos(self, batch: PointBatch) -> PhotoFeatures:
        """Features of a batch's photos; what comes from a cache has only what the role reads."""
        return self._photos(batch, self._encoder(batch))

    @torch.no_grad()
    def photos_and_points(self, batch: PointBatch) -> tuple[PhotoFeatures, Tensor]:
        """What `photos` gives, and (B, P, F) numbers of the batch's points; a photo is encoded once for both."""
        encode = self._encoder(batch)
        features = self._photos(batch, encode)
        points_BP2 = batch.points_BP2.to(self.base.device)
        if self.cache is None:
            return features, self.base.encode_points(features, points_BP2)
        P = points_BP2.shape[1]

        def make(missing: Sequence[int]) -> list[Tensors]:
            photos = sorted({index // P for index in missing})
            numbers_BPF = self.base.encode_points(encode(photos), points_BP2[photos])
            return [{"points": numbers_BPF[photos.index(index // P), index % P]} for index in missing]

        # Each point by itself: another epoch shows a photo's points in another order and company.
        asked = [
            key + point_2.numpy().tobytes()
            for key, points_P2 in zip(batch.photo_keys, batch.points_BP2, strict=True)
            for point_2 in points_P2
        ]
        rows = self._kept(self.cache, f"{self._key} points", asked, make)
        return features, torch.stack([row["points"] for row in rows]).unflatten(0, (-1, P)).to(self.base.device)

    def _photos(self, batch: PointBatch, encode: Encode) -> PhotoFeatures:
        if self.cache is None:
            return encode(range(len(batch.pixels_B3SS)))

        def make(missing: Sequence[int]) -> list[Tensors]:
            return self.base.pack_photos(encode(missing), self.role)

        return self.base.unpack_photos(self._kept(self.cache, self._key, batch.photo_keys, make), self.role)

    def _encoder(self, batch: PointBatch) -> Encode:
        """Features of a batch's photos by their numbers. Each is encoded once, though a small set fills a step with
        repeats, and though its tokens and its points may both be asked for."""
        known: dict[bytes, tuple[PhotoFeatures, int]] = {}

        def encode(photos: Sequence[int]) -> PhotoFeatures:
            keys = [batch.photo_keys[k] for k in photos]
            new = {key: k for k, key in zip(photos, keys, strict=True) if key not in known}
            if new:
                if not self.encoded:
                    log.info("encoding the first photos")
                self.encoded += len(new)
                pixels_B3SS = batch.pixels_B3SS[list(new.values())].to(self.base.device)
                features = self.base.encode_photos(pixels_B3SS)
                known.update((key, (features, n)) for n, key in enumerate(new))
                if len(new) == len(photos):
                    return features
            first, *others = (known[key][0].photo(known[key][1]) for key in keys)
            return first.join(others)

        return encode

    @staticmethod
    def _kept(
        cache: FeatureCache, kind: str, keys: Sequence[bytes], make: Callable[[Sequence[int]], list[Tensors]]
    ) -> list[Tensors]:
        """For each key what the cache holds, or what is made of it, once for equal keys, and kept."""
        names = [hashlib.blake2b(f"{kind} ".encode() + key, digest_size=16).hexdigest() for key in keys]
        rows = {name: row for name in dict.fromkeys(names) if (row := cache.get(name)) is not None}
        missing = {name: index for index, name in enumerate(names) if name not in rows}
        for name, made in zip(missing, make(list(missing.values())) if missing else [], strict=True):
            # On the CPU, as what comes from disk: a batch may have both.
            rows[name] = {key: tensor.cpu() for key, tensor in made.items()}
            cache.put(name, made)
        return [rows[name] for name in names]
