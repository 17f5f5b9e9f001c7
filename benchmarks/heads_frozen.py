"""Heads of `heads.py` over a base that learns nothing: what it makes of photos and texts is computed once."""

# B photos, P texts a photo, N texts, S tokens of a text, D language model width

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from talking_points.evaluation.metrics import normalised_errors
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.model.localizer_head import LocatedPoints
from talking_points.points import square_to_photo
from talking_points.training.batches import PointBatch
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.loop import Metrics
from talking_points.training.objectives import localizer_loss

LEARNING = ("text_to_vision.", "head.", "photo.cells.")
"""Of a localizer's parts: neither its projector nor, of a blind one, what stands for the photo's tokens."""
PHOTOS_OF_MEAN = 100
"""What a blind localizer's language model reads in place of a photo is the mean of the first so many."""


class FrozenStates:
    """The language model's last states of texts about photos, kept on disk in fp16.

    A blind localizer's do not depend on the photo: its language model reads the mean of photos, which does not learn.
    """

    def __init__(self, cache: FeatureCache, key: str) -> None:
        """key: of the base."""
        self.cache, self.key = cache, key

    def locate(self, base: Any, features: Any, keys: Sequence[bytes], texts: Sequence[Sequence[str]]) -> LocatedPoints:
        """A localizer's answers to texts about photos, with gradients of its head alone.

        Args:
            features: of B photos.
            keys: of the photos.
            texts: for each photo some, as many of each.
        """
        prompts = [[base.prompts.localize(text) for text in of_photo] for of_photo in texts]
        together = [prompt for some in prompts for prompt in some]
        photo_N = torch.arange(len(prompts)).repeat_interleave(torch.tensor([len(some) for some in prompts]))
        states_NSD = self._states(base, features, [keys[k] for k in photo_N.tolist()], together, photo_N)
        seen = base.localizer.photo.in_place_of(features) if base.is_blind else features
        located: LocatedPoints = base.localizer(states_NSD, base.seg_positions(together), seen.decoder_inputs, photo_N)
        return located

    @torch.no_grad()
    def _states(
        self, base: Any, features: Any, keys_N: Sequence[bytes], prompts_N: Sequence[Sequence[int]], photo_N: Tensor
    ) -> Tensor:
        """(N, S, D) up to each text's [SEG], zeros behind it."""
        names = [
            self._name(b"blind" if base.is_blind else key, one) for key, one in zip(keys_N, prompts_N, strict=True)
        ]
        rows = [self.cache.get(name) for name in names]
        if any(row is None for row in rows):
            _, prefix = base.read_prefix(*base.embed_prefix(features, "localizer"))
            hidden_NSD = base.read(prefix, photo_N, base.embed(prompts_N))
            seg_N = base.seg_positions(prompts_N).tolist()
            rows = [{"states": one[: seg + 1].half()} for one, seg in zip(hidden_NSD, seg_N, strict=True)]
            for name, row in zip(names, rows, strict=True):
                self.cache.put(name, row)
        return pad_sequence([row["states"].float() for row in rows if row is not None], batch_first=True)

    def _name(self, photo: bytes, prompt: Sequence[int]) -> str:
        said = f"{self.key} states {list(prompt)} ".encode() + photo
        return hashlib.blake2b(said, digest_size=16).hexdigest()


def frozen_parameters(base: Any, tokens_NC: Tensor) -> dict[str, nn.Parameter]:
    """What of a localizer learns. tokens_NC: what a blind one's language model reads of any photo."""
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    if base.is_blind:
        base.localizer.photo.image_tokens.data.copy_(tokens_NC)
    learning = {name: one for name, one in base.localizer.named_parameters() if name.startswith(LEARNING)}
    for one in learning.values():
        one.requires_grad_(True)
    return learning


def frozen_objective(
    base: Any, batch: PointBatch, vision: FrozenVision, states: FrozenStates
) -> tuple[Tensor, Metrics]:
    """The loss of a head, as `localizer_objective` has it without absent texts."""
    located = states.locate(base, vision.photos(batch), batch.photo_keys, batch.texts)
    loss, metrics = localizer_loss(located, batch.points_BP2.flatten(0, 1))
    return loss, {"loss": loss.item(), "weight": float(len(located.points_P2)), **metrics}


@torch.no_grad()
def frozen_errors(
    base: Any, samples: Sequence[Sample], features: Mapping[bytes, Any], states: FrozenStates
) -> NDArray[np.float64]:
    """(N,) normalised distances of what a base's localizer finds from samples' texts. features: by the photo's key."""
    found: dict[str, NDArray[np.float64]] = {}
    for group in by_photo(samples):
        photo: Any = group[0].open_photo()
        located = states.locate(base, features[photo.key], [photo.key], [[sample.text or "" for sample in group]])
        points = square_to_photo(located.points_P2.double().numpy(), photo.size_wh).clip((0, 0), photo.size_wh)
        found |= {sample.sample_id: point for sample, point in zip(group, points, strict=True)}
    points = [found[sample.sample_id] for sample in samples]
    return normalised_errors(points, [s.point_px for s in samples], [s.size_wh for s in samples])
