"""Reading and writing over frozen eyes, on few cores: `python -m recipes.mini.tune`. The same command goes on."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recipes.mini.check import check
from recipes.mini.examples import Example, Maker, read_lines
from recipes.mini.learn import WEIGHTS, collate, language_losses, load_parts, normalised, save
from recipes.mini.scenes import read
from recipes.mini.seed import read_names
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.model.segmenter import ImageFeatures

KINDS, SHARES = ("free", "whole"), (0.7, 0.3)
AVERAGE = 0.995
SAVE_EVERY_S = 240


class Eyes:
    """Features of photos, computed once and kept in fp16."""

    def __init__(self, network: PointNetwork) -> None:
        self.network = network
        self.kept: dict[bytes, dict[str, Tensor]] = {}

    @torch.no_grad()
    def __call__(self, examples: list[Example]) -> ImageFeatures:
        names = [hashlib.blake2b(one.square.tobytes(), digest_size=8).digest() for one in examples]
        for name, one in zip(names, examples, strict=True):
            if name not in self.kept:
                square, inside = torch.from_numpy(one.square[None]), torch.tensor([one.inside])
                features = self.network.segmenter(normalised(square, inside, jitter=False))
                self.like = features
                self.kept[name] = {
                    k: t[0].half() if t.is_floating_point() else t[0]
                    for k, t in features.tensors().items()
                    if k != "mask_feature"
                }
        stacked = {k: torch.stack([self.kept[name][k] for name in names]) for k in self.kept[names[0]]}
        stacked = {k: t.float() if t.is_floating_point() else t for k, t in stacked.items()}
        return self.like.with_tensors({**stacked, "mask_feature": torch.empty(len(names), 0, 0, 0)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed-folder", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="folder with base-*.safetensors to start from")
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--absent", type=Path, nargs="*", default=[])
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    names = read_names(given.seed_folder / "names.json")
    scenes = [scene for path in given.scenes for scene in read(path)]
    maker = Maker(scenes, read_lines(given.texts), read_lines(given.absent), names, wanted=10, cuts=False)
    network = load_checkpoint(given.seed_folder / "checkpoint", roles=())
    load_parts(network, given.base)
    trained = {
        name: p.requires_grad_(True)
        for part in ("language", "projector", "head")
        for name, p in getattr(network, part).named_parameters(prefix=part)
    }
    words = id(network.embedding.weight)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained.values() if id(p) != words], "most": given.rate},
            {"params": [network.embedding.weight], "most": 0.2 * given.rate},
        ],
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    averaged = [p.detach().clone() for p in trained.values()]
    given.out.mkdir(parents=True, exist_ok=True)
    state_path = given.out / "state.pt"
    step, before = 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        step, before, averaged = state["step"], state["seconds"], state["averaged"]
        optimizer.load_state_dict(state["optimizer"])
        for p, held in zip(trained.values(), state["weights"], strict=True):
            p.data.copy_(held)
    eyes = Eyes(network)
    started = saved = time.time()
    told: dict[str, float] = {}

    def keep() -> None:
        state = {
            "step": step,
            "seconds": elapsed,
            "averaged": averaged,
            "optimizer": optimizer.state_dict(),
            "weights": [p.detach() for p in trained.values()],
        }
        torch.save(state, state_path.with_suffix(".part"))
        state_path.with_suffix(".part").replace(state_path)
        now = [p.detach().clone() for p in trained.values()]
        with torch.no_grad():
            torch._foreach_copy_(list(trained.values()), averaged)
            save(network, given.out)
            torch._foreach_copy_(list(trained.values()), now)

    while (elapsed := before + time.time() - started) < 60 * given.minutes:
        done = elapsed / (60 * given.minutes)
        for group in optimizer.param_groups:
            group["lr"] = group["most"] * min(1.0, (step + 1) / 20, 0.5 * (1 + math.cos(math.pi * done)) + 0.02)
        kinds = np.random.default_rng([given.seed, step, 2]).choice(len(KINDS), size=given.photos, p=SHARES)
        examples = [maker.draw([given.seed, step, k], KINDS[kind]) for k, kind in enumerate(kinds)]
        examples = [one for one in examples if one.points]
        batch = collate(examples, network.prompts)
        features = eyes(examples)
        with torch.no_grad():
            numbers_NF = network.segmenter.encode_points(features, batch.points).flatten(0, 1)
        parts = language_losses(network, batch, features, numbers_NF)
        loss: Any = sum(weight * parts[name] for name, weight in WEIGHTS.items() if name in parts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, list(trained.values()), 1 - min(AVERAGE, (step + 1) / (step + 10)))
        told = {k: 0.95 * told.get(k, float(v)) + 0.05 * float(v) for k, v in parts.items()}
        step += 1
        if step % 10 == 0:
            said = " ".join(f"{name} {value:.3f}" for name, value in told.items())
            print(f"{elapsed:5.0f} s, {len(eyes.kept)} photos seen, step {step}: {said}", flush=True)
        if time.time() - saved > SAVE_EVERY_S:
            keep()
            saved = time.time()
    keep()
    load_parts(network, given.out)
    print(json.dumps(check(network.eval(), given.validation, given.texts, torch.device("cpu"))), flush=True)


if __name__ == "__main__":
    main()
