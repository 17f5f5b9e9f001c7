"""Prompts a second of a GRPO step: ours beside straightforward ones that share nothing.

    python benchmarks/grpo.py > grpo.json

trains steps of `mini`'s descriptor on the same points in one process:

- "ours": as `talking-points train grpo` does it, with nothing kept from the step before.
- "plain": three full passes (sampling by transformers' `generate`, policy, and reference, which is a second model) and
  the judge's, each of a whole batch, and each row with its own photo through the vision encoder.
- "plain, photos once": the same, but a step's photos are encoded once and their features shared by all of it.

Rewards, loss and trained weights are the same. Other work on the machine makes seconds long, so ratios are of the
process's own CPU time.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crops import photos_of, points_of
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.model.segmenter import ImageFeatures
from talking_points.pointing import descriptor
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.points import photo_to_square, square_to_photo
from talking_points.training.batches import PointBatch, PointBatches
from talking_points.training.grpo import (
    distances,
    group_advantages,
    kl_divergence,
    negative_mse,
    policy_loss,
    total_loss,
)
from talking_points.training.policy import Policy
from talking_points.training.reinforce import CachedBase, grpo_objective
from talking_points.training.settings import GRPOSettings

REPEATS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """A step's texts, one a row: its photo and where its point is."""

    photo_of_row: list[int]
    points_square_N2: Tensor
    true_N2: Tensor
    """In the photos' [0, 1]^2."""


class Plain:
    """A step written straight from the paper's formulas, batched, with nothing shared but, on request, features."""

    def __init__(
        self, network: PointNetwork, reference: PointNetwork, config: GRPOSettings, *, photos_once: bool
    ) -> None:
        self.network, self.reference, self.config, self.photos_once = network, reference, config, photos_once
        self._known: ImageFeatures | None = None
        self.policy = Policy(network, blocks=config.blocks)  # for what learns; none of its methods is used

    def features(self, network: PointNetwork, batch: PointBatch, rows: Rows) -> ImageFeatures:
        """Of every row's photo."""
        photo_of_row = torch.tensor(rows.photo_of_row)
        if self.photos_once:
            if self._known is None:
                squares = torch.stack([torch.from_numpy(photo.square_3SS) for photo in batch.photos])
                self._known = network.segmenter(squares)
            return self._known.select(photo_of_row)
        squares = torch.stack([torch.from_numpy(batch.photos[k].square_3SS) for k in rows.photo_of_row])
        # A batch of all rows' photos needs gigabytes even for mini.
        parts = [network.segmenter(some) for some in squares.split(16)]
        return parts[0].join(parts[1:])

    def prompts(self, network: PointNetwork, batch: PointBatch, rows: Rows) -> tuple[Tensor, Tensor]:
        """(N, T, D) embeddings of photo and question, padded on the left, and what is no padding."""
        features = self.features(network, batch, rows)
        points_NF = network.encode_points(features, rows.points_square_N2[:, None])[:, 0]
        suffix_NSD = network.embed([network.prompts.describe()] * len(points_NF), points_NF)
        prefixes = network.photo_prefixes(features, "descriptor")
        whole = [torch.cat(pair) for pair in zip(prefixes, suffix_NSD, strict=True)]
        longest = max(map(len, whole))
        embeds = torch.stack([F.pad(one, (0, 0, longest - len(one), 0)) for one in whole])
        lengths = torch.tensor([len(one) for one in whole])
        return embeds, (torch.arange(longest) >= longest - lengths[:, None]).long()

    def logprobs(self, network: PointNetwork, batch: PointBatch, rows: Rows, said: Sequence[Sequence[int]]) -> Tensor:
        """(N, T) by a full pass over photo, question and text."""
        with torch.no_grad():
            embeds, mask = self.prompts(network, batch, rows)
            ids = pad_sequence([torch.tensor(one) for one in said], batch_first=True)
            texts = network.embedding(ids)
        with network.acting_as("descriptor"):
            is_text = torch.arange(ids.shape[1]) < torch.tensor([len(one) for one in said])[:, None]
            mask = torch.cat([mask, is_text.long()], dim=1)
            out = network.llama(
                inputs_embeds=torch.cat([embeds, texts], dim=1),
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                use_cache=False,
            )
            logits = out.logits[:, embeds.shape[1] - 1 : -1]
            return logits.log_softmax(-1).gather(-1, ids[..., None]).squeeze(-1)

    def __call__(self, batch: PointBatch) -> tuple[Tensor, dict[str, float]]:
        config, network = self.config, self.network
        self._known = None
        torch.manual_seed(batch.seed % 2**31)
        rows = rows_of(batch, config.group_size)
        end = network.prompts.end_id
        with torch.no_grad(), network.acting_as("descriptor"):
            embeds, mask = self.prompts(network, batch, rows)
            sampled = network.llama.generate(
                inputs_embeds=embeds,
                attention_mask=mask,
                do_sample=True,
                top_k=0,
                temperature=config.temperature,
                max_new_tokens=descriptor.MAX_NEW_TOKENS,
                eos_token_id=end,
                pad_token_id=end,
            ).tolist()
        said = [one[: one.index(end) + 1] if end in one else one for one in sampled]
        texts = [network.prompts.decode(one) for one in said]
        with torch.no_grad():
            found_N2 = self.find(batch, rows, texts)
            reference_NT = self.logprobs(self.reference, batch, rows, said)
        rewards = negative_mse(distances(found_N2, rows.true_N2)).unflatten(0, (-1, config.group_size))
        logprobs_NT = self.logprobs(network, batch, rows, said)
        is_token = torch.arange(logprobs_NT.shape[1]) < torch.tensor([len(one) for one in said])[:, None]
        pull = policy_loss(logprobs_NT, is_token, group_advantages(rewards).flatten())
        loss = total_loss(pull, kl_divergence(logprobs_NT, reference_NT, is_token), config.kl_weight)
        return loss, {"tokens": statistics.mean(map(len, said)), "reward": float(rewards.mean())}

    def find(self, batch: PointBatch, rows: Rows, texts: Sequence[str]) -> Tensor:
        """(N, 2) points found, in the photos' [0, 1]^2; a text that cannot be read is found at the corner."""
        network, parts = self.network, self.network.localizer
        assert parts is not None
        features = self.features(network, batch, rows)
        with network.acting_as("localizer"):
            suffixes = [network.prompts.localize(text or "the point") for text in texts]
            suffix_NSD = network.embed(suffixes)
            prefixes = network.photo_prefixes(features, "localizer")
            whole = [torch.cat(pair) for pair in zip(prefixes, suffix_NSD, strict=True)]
            hidden = network.llama.model(
                inputs_embeds=pad_sequence(whole, batch_first=True), use_cache=False
            ).last_hidden_state
            # The head reads the prompts' states alone, not those of the photos.
            own = [row[len(p) : len(w)] for row, p, w in zip(hidden, prefixes, whole, strict=True)]
            photo_N = torch.arange(len(texts))
            seg_N = network.seg_positions(suffixes)
            located = parts(pad_sequence(own, batch_first=True), seg_N, features.decoder_inputs, photo_N)
        sizes = [batch.photos[k].size_wh for k in rows.photo_of_row]
        # On the padding, the photo's nearest point is the answer.
        places = [
            square_to_photo(p[None].double().numpy(), size)[0].clip((0, 0), size)
            for p, size in zip(located.points_P2, sizes, strict=True)
        ]
        return torch.tensor(np.stack(places), dtype=torch.float32) / torch.tensor(sizes)


def rows_of(batch: PointBatch, group_size: int) -> Rows:
    """The texts' photos and points, a point's `group_size` texts side by side."""
    each = [
        (k, point)
        for k, points in enumerate(batch.points_px_BP2.tolist())
        for point in points
        for _ in range(group_size)
    ]
    sizes = [batch.photos[k].size_wh for k, _ in each]
    squares = np.stack([photo_to_square([point], size)[0] for (_, point), size in zip(each, sizes, strict=True)])
    return Rows(
        photo_of_row=[k for k, _ in each],
        points_square_N2=torch.tensor(squares, dtype=torch.float32),
        true_N2=torch.tensor([point for _, point in each]) / torch.tensor(sizes),
    )


def ours(network: PointNetwork, config: GRPOSettings) -> Callable[[PointBatch], tuple[Tensor, dict[str, float]]]:
    """The trainer's own step, its cache emptied before each."""
    policy = Policy(network, blocks=config.blocks)

    def step(batch: PointBatch) -> tuple[Tensor, dict[str, float]]:
        base = CachedBase(network)
        return grpo_objective(policy, batch, base, base, config)

    return step


def measure(
    step: Callable[[PointBatch], tuple[Tensor, dict[str, float]]], batches: Sequence[PointBatch]
) -> dict[str, float]:
    """Medians over steps; the first one, which also pays for allocation, is left out."""
    rows = []
    for batch in batches:
        wall, cpu = time.perf_counter(), time.process_time()
        loss, metrics = step(batch)
        loss.backward()
        prompts = batch.points_BP2[..., 0].numel()
        rows.append((prompts / (time.perf_counter() - wall), prompts / (time.process_time() - cpu), metrics["tokens"]))
    wall, cpu, tokens = (statistics.median(column) for column in zip(*rows[1:], strict=True))
    return {
        "prompts_a_second": round(wall, 3),
        "prompts_a_cpu_second": round(cpu, 3),
        "tokens_a_text": round(tokens, 1),
    }


def settings(**changes: int) -> GRPOSettings:
    """Of a training, of which single steps are taken here."""
    models = {"keypoints": Path("unused"), "descriptor": "mini", "localizer": "mini", "out": Path("unused")}
    return GRPOSettings(**{**models, "steps": 1, **changes})  # type: ignore[arg-type]


def batches_of(network: PointNetwork, *, photos: int, points: int, steps: int) -> list[PointBatch]:
    """Steps of the same points, in an order of each step's own."""
    samples = [
        Sample(
            sample_id=f"{k}/{j}",
            photo_id=str(k),
            open_photo=partial(lambda one: one, photo),
            size_wh=photo.size,
            point_px=point,
        )
        for k, photo in enumerate(photos_of(photos))
        for j, point in enumerate(points_of(points))
    ]
    made = PointBatches(samples, settings(photos=photos, points=points, steps=steps), side=network.side)
    return [made[step] for step in range(len(made))]


def compare(*, photos: int, points: int, group_size: int, repeats: int) -> dict[str, Any]:
    config = settings(group_size=group_size)
    network, reference = (load_checkpoint(find_checkpoint("mini")) for _ in range(2))
    batches = batches_of(network, photos=photos, points=points, steps=repeats + 1)
    ways = {
        "ours": ours(network, config),
        "plain": Plain(network, reference, config, photos_once=False),
        "plain, photos once": Plain(network, reference, config, photos_once=True),
    }
    rows = {name: measure(way, batches) for name, way in ways.items()}
    rate = {name: row["prompts_a_cpu_second"] for name, row in rows.items()}
    return {
        "what": f"{photos} photos x {points} points a step, {group_size} texts a point, median of {repeats} steps",
        "rows": rows,
        "ratios": {f"ours / {name}": round(rate["ours"] / rate[name], 1) for name in rate if name != "ours"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    result = compare(photos=given.photos, points=given.points, group_size=given.group_size, repeats=given.repeats)
    header = {
        "command": " ".join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "device": f"cpu, {torch.get_num_threads()} threads",
        "versions": versions(),
    }
    print(json.dumps({**header, **result}, indent=2))


if __name__ == "__main__":
    main()
