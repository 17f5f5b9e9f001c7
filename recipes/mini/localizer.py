"""The localizer learned further over the frozen base: `python -m recipes.mini.localizer`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.mini.examples import LOCALIZER_DIALECTS, Example, Maker, read_lines
from recipes.mini.learn import MASK_WEIGHT, draw_examples, heat_losses, is_near, normalised, target_of
from recipes.mini.scenes import read
from recipes.mini.seed import read_names
from talking_points.files import sha256_of
from talking_points.memory import keep_freed_memory
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.model.weights import fingerprint
from talking_points.progress import one_line
from talking_points.training.batches import Batches
from talking_points.training.loop import Metrics, is_main_process, train
from talking_points.training.roles import attach, role_parameters, with_held_adapter
from talking_points.training.settings import LocalizerSettings

SHARES = {"free": 0.20, "phrases": 0.50, "whole": 0.08, "composed": 0.22}
"""Of photos with free texts, of those with phrases, of labelled ones as they are, of crops and mosaics."""
POINTS, WANTED, OTHERS = 8, 12, 8
"""Points drawn of a photo; texts kept of it, of one with phrases all; other photos' texts among the
candidates of one with free texts."""
ABSENCE_WEIGHT = 0.7
"""Of the cross-entropy of whether a text's thing is there."""
KEPT = 0.5
"""How much is kept of the way from the first weights to the learned ones: so less is forgotten of other texts.

Wortsman et al., "Robust fine-tuning of zero-shot models", 2022.
"""


@dataclass(kw_only=True)
class LocalizerBatch:
    """B photos of side S, and P texts about them."""

    pixels_B3SS: Tensor
    """Normalised, as `photos.letterbox` makes them."""
    texts: list[str]
    photo_P: Tensor
    """Which photo each text is about, ascending."""
    targets_PN: Tensor
    """Over the heatmap's cells, summing to 1; 0 of a text that does not fit."""
    there_P: Tensor
    """1 where a text fits its photo, else 0."""
    weight_P: Tensor
    """Of each text's heatmap."""
    record_ids: list[str]


class LocalizerBatches(Batches[LocalizerBatch]):
    """Examples drawn anew for each step."""

    def __init__(self, maker: Maker, settings: LocalizerSettings, *, told: str = "") -> None:
        """told: what else a resumed run must have the same."""
        self.maker, self.settings, self.told = maker, settings, told
        self.samples, self.most_parts = settings.photos * WANTED, settings.photos

    def __str__(self) -> str:
        maker = self.maker
        drawn = f"{len(maker.scenes)} scenes, {len(maker.free_keys)} of them with free texts"
        drawn += f", {len(maker.phrase_keys)} with phrases ({SHARES['phrases']:.0%} of what is drawn)"
        step = f"{self.settings.photos} x {WANTED} a step"
        return f"texts about {drawn}, {step}, seed {self.settings.seed}{self.told}"

    @property
    def fingerprint(self) -> str:
        maker = self.maker
        texts = (maker.free, maker.absent, maker.phrases)
        told = [sorted((key, lines) for key, lines in some.items() if lines) for some in texts]
        return sha256_of([*told, sorted(maker.of_photo)])

    def __len__(self) -> int:
        assert self.settings.steps is not None
        return self.settings.steps

    def part(self, step: int, index: int, of: int) -> LocalizerBatch:
        photos = range(index, self.settings.photos, of)
        return batch_of([self._photo(step, photo) for photo in photos], f"{step}/{index}")

    def _photo(self, step: int, photo: int) -> Example:
        """The first draw that has points: a photo need not have any."""
        draws = (draw_examples(self.maker, 1, (self.settings.seed, step, photo, k), shares=SHARES) for k in count())
        return next(examples[0] for examples in draws if examples)


def batch_of(examples: Sequence[Example], record_id: str) -> LocalizerBatch:
    """What is asked about examples, their own points to describe left out."""
    asked = [(b, wanted) for b, one in enumerate(examples) for wanted in one.wanted]
    targets = [target_of(wanted) for _, wanted in asked]
    return LocalizerBatch(
        pixels_B3SS=normalised(
            torch.from_numpy(np.stack([one.square for one in examples])),
            torch.tensor([one.inside for one in examples]),
            jitter=False,
        ),
        texts=[wanted.text for _, wanted in asked],
        photo_P=torch.tensor([b for b, _ in asked]),
        targets_PN=torch.from_numpy(np.stack(targets)).flatten(1),
        there_P=torch.tensor([wanted.there for _, wanted in asked]).float(),
        weight_P=torch.tensor(
            [wanted.there * (MASK_WEIGHT if wanted.cells is not None else 1.0) for _, wanted in asked]
        ),
        record_ids=[record_id],
    )


def objective(network: PointNetwork, batch: LocalizerBatch) -> tuple[Tensor, Metrics]:
    """Cross-entropy of the heatmap where a text fits, the mean of what this process has, and of whether it does."""
    with torch.no_grad():
        features = network.encode_photos(batch.pixels_B3SS)
    prompts = [network.prompts.localize(text) for text in batch.texts]
    _, prefix = network.read_prefix(*network.embed_prefix(features, "localizer"))
    located = network.locate(features, prefix, batch.photo_P, prompts)
    assert located.heatmap_logits_Phw is not None and located.there_P is not None
    heat_P = heat_losses(located.heatmap_logits_Phw, batch.targets_PN)
    heat = (heat_P * batch.weight_P).sum() / batch.weight_P.sum().clamp(min=1)
    absence = F.binary_cross_entropy_with_logits(located.there_P, batch.there_P)
    loss = heat + ABSENCE_WEIGHT * absence
    pointed_P, near_P = batch.weight_P == 1, is_near(located.points_P2, batch.targets_PN)
    there_right = ((located.there_P > 0) == batch.there_P.bool()).float().mean()
    return loss, {
        "loss": loss.item(),
        "heatmap": heat.item(),
        "absence": absence.item(),
        "within_0.1": float(near_P[pointed_P].float().mean()) if pointed_P.any() else 0.0,
        "there_right": float(there_right),
        "weight": len(batch.texts),
    }


@torch.no_grad()
def interpolate(parameters: Mapping[str, nn.Parameter], start: Mapping[str, Tensor], share: float) -> None:
    """Leave parameters at a share of the way from where they started.

    The last layers, which say whether a thing is there, stay at the start: learned, they call more true texts absent.
    `there` teaches them last.
    """
    for name, parameter in parameters.items():
        parameter.copy_(torch.lerp(start[name], parameter, 0.0 if ".there." in name else share))


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="checkpoint with a localizer, which goes on")
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--absent", type=Path, nargs="*", default=[])
    parser.add_argument("--phrases", type=Path, nargs="+", required=True, help="that fit a photo, and that do not")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--photos", type=int, default=4, help="of a step, of all processes together")
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="an earlier run there is gone on with")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.info("reading %s, and what is to be found in it", ", ".join(map(str, given.scenes)))
    try:
        settings = LocalizerSettings(
            base=str(given.base),
            out=given.out,
            further=True,
            steps=given.steps,
            photos=given.photos,
            learning_rate=given.rate,
            save_every=40,
            workers=0,
            seed=given.seed,
        )
        settings = with_held_adapter(settings, given.base)
        network = load_checkpoint(given.base, roles=("localizer",))
        scenes = [scene for path in given.scenes for scene in read(path)]
        free, absent, phrases = read_lines(given.texts), read_lines(given.absent), read_lines(given.phrases)
        drawn = {"phrases": phrases, "points": POINTS, "wanted": WANTED, "others": OTHERS}
        maker = Maker(scenes, free, absent, read_names(), **drawn, dialects=LOCALIZER_DIALECTS)
        if not (maker.free_keys and maker.phrase_keys):
            raise ValueError("--texts or --phrases are of no photo of --scenes; give those of the same photos")
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    attach(network, settings)
    told = f", further from {fingerprint(network.role_weights('localizer').values())}"
    parameters = role_parameters(network, "localizer")
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        finished = train(
            network.role_modules("localizer"),
            parameters,
            LocalizerBatches(maker, settings, told=told),
            lambda batch: objective(network, batch),
            settings,
            given.out / "training",
        )
    except ValueError as error:
        parser.error(one_line(error))
    if finished and is_main_process():
        interpolate(parameters, start, KEPT)
        save_checkpoint(network, given.out / "checkpoint", dtype=torch.float16)


if __name__ == "__main__":
    main()
