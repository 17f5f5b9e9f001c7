"""Samples a second of the roles' training on mini, and what each saving brings.

    python benchmarks/training.py --data SET > training.json

SET is what `build-dataset --points-per-photo 8` wrote. All ways of a role work on the same batches, in one process with
one thread, and take turns; a figure is the fastest of its turns. Seconds are the processor's, as other work on the
machine takes none of those. A sample is a point with its text. Measured are whole steps: vision, language model,
gradients, optimizer. Memory is that of what autograd keeps, counted by storages.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from talking_points.bases.base import Base
from talking_points.bases.loading import load_base
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample
from talking_points.memory import keep_freed_memory
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.settings import make
from talking_points.training.batches import SORTED_TOGETHER, PointBatch, PointBatches
from talking_points.training.data import read_texts
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.objectives import descriptor_objective, localizer_objective
from talking_points.training.roles import Settings, attach, role_parameters
from talking_points.training.settings import DescriptorSettings, LocalizerSettings

STEPS = 2
"""Batches that every way works through in a turn."""


def apart(batch: PointBatch) -> PointBatch:
    """The same points and texts, each with the photo to itself: a sequence for each text."""
    points = batch.points_BP2.shape[1]
    return dataclasses.replace(
        batch,
        pixels_B3SS=batch.pixels_B3SS.repeat_interleave(points, 0),
        photo_keys=[key for key in batch.photo_keys for _ in range(points)],
        sizes_wh=[size for size in batch.sizes_wh for _ in range(points)],
        points_px_BP2=batch.points_px_BP2.flatten(0, 1)[:, None],
        points_BP2=batch.points_BP2.flatten(0, 1)[:, None],
        texts=[[text] for row in batch.texts for text in row],
        absent_texts=[text for text in batch.absent_texts for _ in range(points)],
    )


def kept_bytes(network: nn.Module, run: Callable[[], Tensor]) -> int:
    """What autograd keeps of a forward pass, weights left out."""
    storages: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(storages.values())


def measure_role(settings: Settings, samples: list[Sample], folder: Path, turns: int) -> dict[str, Any]:
    role = settings.section
    network = load_base(find_checkpoint(settings.base), roles=())
    assert isinstance(network, nn.Module)
    attach(network, settings)
    parameters = role_parameters(network, role)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-5)
    drawn = PointBatches(samples, settings, side=network.side)
    batches = [drawn[step] for step in range(STEPS)]
    objective = descriptor_objective if role == "descriptor" else localizer_objective
    plain, cached = FrozenVision(network, role), FrozenVision(network, role, FeatureCache(folder / role, 10**10))
    for module in network.role_modules(role).values():
        module.train()

    def step(batch: PointBatch, vision: FrozenVision, recompute: bool = False) -> None:
        network.recompute(recompute)
        objective(network, batch, vision)[0].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    alone = [apart(batch) for batch in batches]
    ways: dict[str, Callable[[int], None]] = {
        "plain": lambda n: step(batches[n], plain),
        "cached": lambda n: step(batches[n], cached),
        "cached, a sequence for each text": lambda n: step(alone[n], cached),
        "cached, recomputed": lambda n: step(batches[n], cached, True),
    }
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(turns + 1):  # the first one fills the cache and pays for allocation
        for name, way in ways.items():
            for n in range(STEPS):
                begun = time.process_time()
                way(n)
                if turn:
                    best[name] = min(best[name], time.process_time() - begun)
    count = len({key for batch in batches for key in batch.photo_keys})
    rates = {name: round(drawn.samples / seconds, 2) for name, seconds in best.items()}
    memory = {}
    for name, recompute in (("kept", False), ("recomputed", True)):
        network.recompute(recompute)
        memory[name] = kept_bytes(network, lambda: objective(network, batches[0], cached)[0])
    network.recompute(False)
    begun = time.process_time()
    for n in range(STEPS):
        _ = drawn[n]
    return {
        "samples_a_processor_second": rates,
        "ratios": {
            "cached / plain": round(rates["cached"] / rates["plain"], 2),
            "one prefix / a sequence for each text": round(
                rates["cached"] / rates["cached, a sequence for each text"], 2
            ),
            "recomputed / kept": round(rates["cached, recomputed"] / rates["cached"], 2),
        },
        "kept_mb_for_gradients": {name: round(size / 1e6, 1) for name, size in memory.items()},
        "batch_processor_seconds": round((time.process_time() - begun) / STEPS, 3),
        "cache_mb_a_photo": round(cached.cache.bytes / count / 1e6, 2) if cached.cache is not None else None,
    }


def padding(samples: list[Sample], network: Base) -> dict[str, float]:
    """Share of text tokens that are padding in batches of 8 texts, as drawn and grouped by length."""
    texts = [samples[k].text or "" for k in np.random.default_rng(1).permutation(len(samples))[:1024].tolist()]
    texts = texts[: len(texts) // 8 * 8]
    lengths = np.array([len(network.prompts.localize(text)) for text in texts])
    words = np.array([len(text) for text in texts])
    order = np.random.default_rng(0).permutation(len(texts))
    run = 8 * SORTED_TOGETHER
    grouped = np.concatenate(
        [order[k : k + run][np.argsort(words[order[k : k + run]], kind="stable")] for k in range(0, len(order), run)]
    )

    def share(indices: np.ndarray) -> float:
        rows = lengths[indices].reshape(-1, 8)
        return round(float(1 - rows.sum() / (rows.max(1) * 8).sum()), 3)

    return {"as drawn": share(order), "grouped by length": share(grouped)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="SET")
    parser.add_argument("--base", default="mini")
    parser.add_argument("--turns", type=int, default=4)
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    told = {"base": given.base, "data": given.data, "out": Path("unused"), "recipe": "mini"}
    settings: list[Settings] = [make(DescriptorSettings, told), make(LocalizerSettings, told)]
    samples = read_texts(settings[0])
    with tempfile.TemporaryDirectory() as folder:
        roles = {one.section: measure_role(one, samples, Path(folder), given.turns) for one in settings}
    result = {
        "command": " ".join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "device": f"cpu, {torch.get_num_threads()} threads",
        "versions": versions(),
        "roles": roles,
        "padding_share": padding(samples, load_base(find_checkpoint(given.base), roles=())),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
