"""Localizers of `heads.py`: photos that all of them share, and their training."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from heads_frozen import (
    PHOTOS_OF_MEAN,
    FrozenStates,
    frozen_errors,
    frozen_objective,
    frozen_parameters,
)
from mini_models import errors_of, located
from numpy.typing import NDArray
from torch import Tensor

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.bases.loading import load_base, save_base
from talking_points.evaluation.data import read_samples
from talking_points.evaluation.metrics import mpck
from talking_points.evaluation.samples import Sample
from talking_points.pointing.encoding import PhotoCache, encode_photos
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.prepared import prepare_photo
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.progress import unheard
from talking_points.settings import make
from talking_points.training.batches import PointBatch, PointBatches
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.loop import Metrics, train
from talking_points.training.objectives import localizer_objective
from talking_points.training.roles import attach, own_device, role_parameters
from talking_points.training.settings import LocalizerSettings

log = logging.getLogger("heads")
HEADS = ("regression", "mixture", "heatmap", "pointer")
POINTS = 8
"""Texts of a photo in a step, at most."""
RATE = {"learning_rate": 1e-3, "schedule": "constant", "warmup_steps": 10}
"""Constant: a round more is the same training, longer."""
OWN = "own"
"""A run of the base's head, which starts from the base's weights."""
RUNS = (*HEADS, OWN)
Errors = NDArray[np.float64]


class Photos:
    """Photos that went through the frozen encoder once, for all roles over its base."""

    def __init__(self, samples: Sequence[Sample], base: Base, vision: FrozenVision | None = None) -> None:
        """vision: a localizer's, which keeps on disk what all localizers read; None: `base` encodes for any role."""
        prepared = {
            s.photo_id: prepare_photo(s.open_photo(), base.side) for s in {s.photo_id: s for s in samples}.values()
        }
        self.samples = [replace(s, open_photo=lambda photo=prepared[s.photo_id]: photo) for s in samples]
        """As they came, their photos prepared."""
        self.features: dict[bytes, PhotoFeatures] = {}
        with torch.inference_mode():
            for photo in prepared.values():
                shown = SimpleNamespace(pixels_B3SS=torch.from_numpy(photo.square_3SS)[None], photo_keys=[photo.key])
                self.features[photo.key] = (
                    encode_photos(base, [photo], PhotoCache(0)).features if vision is None else vision.photos(shown)
                )

    def cache(self) -> PhotoCache:
        """A new one, as what else is kept of photos is each role's own and changes with its weights."""
        cache = PhotoCache(2**62)
        for key, features in self.features.items():
            cache.put("features", key, features)
        return cache

    def errors(self, base: Base, texts: Sequence[str]) -> Errors:
        """(N,) normalised distances of what a base's localizer finds from a text about each sample's photo."""
        found = located(PointLocalizer(base, cache=self.cache()), self.samples, texts, unheard, "")
        return errors_of(self.samples, found)


def train_heads(given: argparse.Namespace) -> None:
    """All heads, seeing and blind, on the same texts for the same steps."""
    folder = find_checkpoint(given.base)
    encoder = load_base(folder, roles=("localizer",), device=own_device(given.device))
    vision = kept_vision(encoder, given.out)
    samples = of_some_photos(read_samples(given.data, "train", log.warning), given.photos)
    watched = of_some_photos(read_samples(given.validation, "val", log.warning), given.validation_photos)
    validation = Photos(watched, encoder, vision)
    log.info("%d texts to learn from, %d of validation", len(samples), len(validation.samples))
    length = {"photos": given.batch, "points": POINTS, "accumulate": given.accumulate, "device": given.device}
    length |= {"workers": given.workers}
    frozen = frozen_base(vision, samples, given.out) if given.frozen else None
    for steps in range(given.round, given.steps + 1, given.round):
        for name in given.run or (one for head in HEADS for one in (head, f"{head}-blind")):
            told = {"base": given.base, "data": given.data, "steps": steps, "out": given.out / name}
            told |= {"blind": name.endswith("-blind"), "save_every": steps}
            if not name.startswith(OWN):
                told["head"] = name.removesuffix("-blind")
            train_head(make(LocalizerSettings, told | length | RATE), samples, validation, vision, frozen)


def frozen_base(vision: FrozenVision, samples: Sequence[Sample], runs: Path) -> tuple[FrozenStates, Tensor]:
    """Where what the base's language model reads is kept, and what it reads in place of photos."""
    shown = {sample.photo_id: sample for sample in samples}
    tokens = []
    for sample in [*shown.values()][:PHOTOS_OF_MEAN]:
        photo = prepare_photo(sample.open_photo(), vision.base.side)
        batch = SimpleNamespace(pixels_B3SS=torch.from_numpy(photo.square_3SS)[None], photo_keys=[photo.key])
        tokens.append(vision.photos(batch).image_tokens_BNC[0])
    states = FrozenStates(FeatureCache(runs / "features", 2**36), vision.base.features_key("localizer"))
    return states, torch.stack(tokens).mean(0)


def kept_vision(encoder: Base, runs: Path) -> FrozenVision:
    """What a localizer reads of photos; the encoder's head reads maps, so that it holds for all heads."""
    return FrozenVision(encoder, "localizer", FeatureCache(runs / "features", 2**36))


def of_some_photos(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    """Samples of at most so many photos, drawn at random, the same ones each time."""
    photos = sorted({sample.photo_id for sample in samples})
    wanted = {photos[int(k)] for k in np.random.default_rng(0).permutation(len(photos))[:most]}
    return [sample for sample in samples if sample.photo_id in wanted]


def train_head(
    settings: LocalizerSettings,
    samples: Sequence[Sample],
    validation: Photos,
    vision: FrozenVision,
    frozen: tuple[FrozenStates, Tensor] | None,
) -> None:
    """Train one localizer from where its last round ended, look, and save it if it is the best so far.

    frozen: of `frozen_base`; None: the adapter and the projector learn, too.
    """
    seen_path = settings.out / "validation.json"
    scores: dict[str, float] = json.loads(seen_path.read_text()) if seen_path.exists() else {}
    if str(settings.steps) in scores:
        return
    base: Any = load_base(find_checkpoint(settings.base), roles=(), device=own_device(settings.device))
    if settings.head is not None:
        # A head of another kind is drawn anew: without this the base's own kind would start from the base's weights.
        base.change(head="mixture" if settings.head == "regression" else "regression")
    attach(base, settings)
    parameters = role_parameters(base, "localizer") if frozen is None else frozen_parameters(base, frozen[1])

    def objective(batch: PointBatch) -> tuple[Tensor, Metrics]:
        if frozen is not None:
            return frozen_objective(base, batch, vision, frozen[0])
        # Without texts of absent things, of which a regression cannot learn.
        return localizer_objective(base, replace(batch, absent_texts=[]), vision)

    batches = PointBatches(samples, settings, side=base.side)
    out = settings.out / "training"
    finished = train(base.role_modules("localizer"), parameters, batches, objective, settings, out)
    if not finished:
        # SIGTERM: its state is saved, and the same command goes on from there.
        raise SystemExit(143)
    if frozen is None:
        errors = validation.errors(base, [sample.text or "" for sample in validation.samples])
    else:
        errors = frozen_errors(base, validation.samples, validation.features, frozen[0])
    scores[str(settings.steps)] = score = round(mpck(errors), 2)
    log.info("%s, %d steps: validation mPCK %.2f", settings.out, settings.steps, score)
    if score == max(scores.values()):
        save_base(base, settings.out / "checkpoint", dtype=torch.float16)
    seen_path.write_text(json.dumps(scores) + "\n")
