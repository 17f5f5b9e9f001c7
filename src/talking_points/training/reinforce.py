"""What `talking-points train grpo` runs: localization as the descriptor's reward (paper 3.4), watched as it learns."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.evaluation.metrics import mpck, normalised_errors, pck
from talking_points.evaluation.protocol import describe_samples, localize_texts
from talking_points.evaluation.samples import Sample
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.generation import Sampling
from talking_points.model.network import PointNetwork
from talking_points.model.weights import read_tensors
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.encoding import CACHE_BYTES, PhotoCache, PreparedPhoto, encode_photos
from talking_points.pointing.localizer import PointLocalizer
from talking_points.points import photo_to_square
from talking_points.training.batches import BatchSizes
from talking_points.training.grpo import (
    GRPOConfig,
    distinct_share,
    group_advantages,
    kl_divergence,
    policy_loss,
    sequence_means,
    stop_reason,
    total_loss,
)
from talking_points.training.keypoint_sets import KeypointBatch, KeypointBatches
from talking_points.training.loop import LoopConfig, train
from talking_points.training.objectives import Metrics
from talking_points.training.policy import Policy, Rollout
from talking_points.training.rewards import REWARDS, distances, fluency_penalty, length_penalty, panel
from talking_points.training.roles import DifferentBases, load_joined

log = logging.getLogger(__name__)

SHOWN = 20
"""Texts in the table of an evaluation."""
GPU_CACHE_BYTES = 2**33
"""Room for what is kept of photos on a GPU: the 7B's features of one take some 100 MB. Ours."""
WEIGHTS_FILE = "evaluated.safetensors"
STOPPED_FILE = "stopped.json"


class Stopped(Exception):
    """A stop rule ended the training; the message says which."""


class Watch:
    """Greedy texts of held-out points, every so many steps: PCK through each localizer, and a table to read.

    `NNNNNN.json` and `NNNNNN.md` in its folder are of the weights after that many steps. The folder is all it
    remembers, so that a resumed training logs what an unbroken one does.
    """

    def __init__(
        self,
        policy: Policy,
        localizers: Mapping[str, PointLocalizer],
        samples: Sequence[Sample],
        folder: Path,
        *,
        every: int,
    ) -> None:
        if every < 1:
            raise ValueError(f"evaluate_every is {every}; allowed: at least 1")
        self.policy, self.localizers, self.samples = policy, localizers, samples
        self.folder, self.every = folder, every

    def after(self, steps: int) -> Metrics:
        """Evaluate when it is time to; returns the newest evaluation's scores."""
        newest = steps - steps % self.every
        if steps == newest:
            self.evaluate(steps)
        found = json.loads(self._path(newest, "json").read_text())
        return {f"held_out_{name}": scores["mpck"] for name, scores in found["localizers"].items()}

    def evaluate(self, steps: int) -> dict[str, Any]:
        """Describe and find again; the weights are kept beside, for a training that a rule stops later."""
        # A cache of its own: photos are encoded in the same company each time, and so to the last bit the same.
        network, cache = self.policy.network, PhotoCache()
        texts = describe_samples(PointDescriptor(network, cache=cache), self.samples)
        true_px, sizes = [s.point_px for s in self.samples], [s.size_wh for s in self.samples]
        errors: dict[str, NDArray[np.float64]] = {}
        for name, localizer in self.localizers.items():
            theirs = localizer.network
            judge = PointLocalizer(theirs, cache=cache if theirs is network else None)
            readable = [text if theirs.prompts.is_readable(text) else "" for text in texts]
            errors[name] = normalised_errors(localize_texts(judge, self.samples, readable), true_px, sizes)
        found: dict[str, Any] = {
            "steps": steps,
            "points": len(texts),
            "words": float(np.mean([len(text.split()) for text in texts])),
            "distinct_1": distinct_share(texts, 1),
            "distinct_2": distinct_share(texts, 2),
            "own_text": len(set(texts)) / len(texts),
            "localizers": {
                name: {"mpck": mpck(e), "pck@0.1": pck(e, 0.1), "pck@0.2": pck(e, 0.2)} for name, e in errors.items()
            },
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path(steps, "md").write_text(_table(found, self.samples, texts, errors))
        self._path(steps, "json").write_text(json.dumps(found, indent=2) + "\n")
        self._keep_weights(steps)
        scores = ", ".join(f"{name} {scores['mpck']:.1f}" for name, scores in found["localizers"].items())
        log.info("after %d steps, held-out mPCK: %s; texts in %s", steps, scores, self._path(steps, "md"))
        return found

    def newest_weights(self) -> tuple[int, dict[str, Tensor]]:
        """Those of the last evaluation, and after how many steps they are."""
        path = self.folder / WEIGHTS_FILE
        weights = read_tensors(path)
        with safe_open(path, framework="pt") as file:
            return int(file.metadata()["steps"]), weights

    def _keep_weights(self, steps: int) -> None:
        new = self.folder / f"{WEIGHTS_FILE}.new"
        weights = {name: parameter.detach().cpu().contiguous() for name, parameter in self.policy.parameters.items()}
        save_file(weights, new, metadata={"steps": str(steps)})
        new.replace(self.folder / WEIGHTS_FILE)

    def _path(self, steps: int, ending: str) -> Path:
        return self.folder / f"{steps:06d}.{ending}"


class Reinforcement:
    """One step's objective: sample, reward, and the loss of the samples."""

    def __init__(
        self,
        policy: Policy,
        judges: Mapping[str, PointLocalizer],
        cache: PhotoCache,
        config: GRPOConfig,
        watch: Watch | None = None,
    ) -> None:
        """
        Args:
            policy: what learns.
            judges: the localizers that reward, frozen.
            cache: of what is computed of photos.
            watch: told after each step, before the next.
        """
        self.policy, self.judges, self.cache, self.config, self.watch = policy, judges, cache, config, watch

    def __call__(self, batch: KeypointBatch) -> tuple[Tensor, Metrics]:
        """The loss of a step and what to log of it.

        Raises:
            Stopped: a stop rule of the config applies.
        """
        watched = self.watch.after(batch.step) if self.watch else {}
        config, policy = self.config, self.policy
        rollout = self.sample(batch)
        texts = [policy.network.prompts.decode(one.ids) for one in rollout.texts]
        is_token_NT = rollout.is_token_NT
        reference_NT = policy.reference_logprobs(rollout)
        found_JN2, true_N2 = self.find(batch, texts)
        judged_JN = torch.stack([REWARDS[config.reward](found_N2, true_N2) for found_N2 in found_JN2])
        reward_N = panel(judged_JN, config.panel) + config.guard_weight * self._penalty(
            rollout, sequence_means(reference_NT, is_token_NT)
        )
        reward_PG = reward_N.unflatten(0, (-1, config.group_size))
        advantages_N = group_advantages(reward_PG, divide_by_std=config.divide_by_std).flatten()
        logprobs_NT = policy.logprobs(rollout)
        pull = policy_loss(logprobs_NT, is_token_NT, advantages_N.to(logprobs_NT))
        kl = kl_divergence(logprobs_NT, reference_NT, is_token_NT)
        loss = total_loss(pull, kl, config.kl_weight)

        distance_JN = torch.stack([distances(found_N2, true_N2) for found_N2 in found_JN2])
        empty = [not text for text in texts]
        cut_off = [not one.ended for one in rollout.texts]
        one_each = texts[:: config.group_size]
        own_text = len(set(one_each)) / len(one_each)
        broken = float(np.mean(np.logical_or(empty, cut_off)))
        reason = stop_reason(config, kl=kl.item(), broken=broken, distinct=own_text)
        if reason:
            raise Stopped(f"step {batch.step}: {reason}")
        return loss, {
            "loss": loss.item(),
            "policy": pull.item(),
            "kl": kl.item(),
            "reward": float(reward_N.mean()),
            "reward_std": float(reward_PG.std(-1).mean()),
            "flat_groups": float((advantages_N.unflatten(0, (-1, config.group_size)) == 0).all(-1).float().mean()),
            "within_0.1": float((distance_JN < 0.1).float().mean()),
            "within_0.2": float((distance_JN < 0.2).float().mean()),
            "tokens": float(np.mean([len(one.ids) for one in rollout.texts])),
            "distinct_1": distinct_share(texts, 1),
            "distinct_2": distinct_share(texts, 2),
            "own_text": own_text,
            "empty": float(np.mean(empty)),
            "cut_off": float(np.mean(cut_off)),
            **watched,
        }

    def sample(self, batch: KeypointBatch) -> Rollout:
        """Texts of the batch's points, drawn as the batch's seed says."""
        network, config = self.policy.network, self.config
        return self.policy.sample(
            encoded_alone(network, batch.photos, self.cache),
            [
                torch.tensor(photo_to_square(points, photo.size_wh), dtype=torch.float32)
                for photo, points in zip(batch.photos, batch.points_px, strict=True)
            ],
            Sampling(temperature=config.temperature, top_p=config.top_p, samples=config.group_size),
            torch.Generator(network.device).manual_seed(batch.seed),
        )

    def find(self, batch: KeypointBatch, texts: Sequence[str]) -> tuple[list[Tensor], Tensor]:
        """Where each judge finds the texts, (N, 2) each, and where their points are, (N, 2), in the photos' [0, 1]^2.

        Equal texts of a photo are found once, and so earn exactly the same.
        """
        sizes = [p.size_wh for p, points in zip(batch.photos, batch.points_px, strict=True) for _ in points]
        G = self.config.group_size
        size_N2 = torch.tensor(sizes, dtype=torch.float32).repeat_interleave(G, 0)
        true = [point for points in batch.points_px for point in points]
        true_N2 = torch.tensor(true, dtype=torch.float32).repeat_interleave(G, 0) / size_N2
        photo_of_text = [k for k, points in enumerate(batch.points_px) for _ in range(G * len(points))]
        found_JN2 = []
        for judge in self.judges.values():
            encoded_alone(judge.network, batch.photos, judge.cache)
            judge.cache.forget("localizer")
            keys = dict.fromkeys(zip(photo_of_text, texts, strict=True))
            asked = [(photo, text) for photo, text in keys if judge.network.prompts.is_readable(text)]
            answers = judge.locate_many([(batch.photos[photo], text) for photo, text in asked])
            place = {key: found.point_px for key, found in zip(asked, answers, strict=True)}
            nowhere = (float("nan"), float("nan"))
            found = [place.get(key, nowhere) for key in zip(photo_of_text, texts, strict=True)]
            found_JN2.append(torch.tensor(found, dtype=torch.float32) / size_N2)
        return found_JN2, true_N2

    def _penalty(self, rollout: Rollout, reference_mean_N: Tensor) -> Tensor:
        if self.config.guard == "length":
            return length_penalty([len(one.ids) for one in rollout.texts])
        if self.config.guard == "fluency":
            return fluency_penalty(reference_mean_N.float().cpu())
        return torch.zeros(len(rollout.texts))


@torch.no_grad()
def encoded_alone(network: Base, photos: Sequence[PreparedPhoto], cache: PhotoCache) -> PhotoFeatures:
    """Features of photos, each encoded by itself.

    A batch's sums are rounded as its size says: only so is what is kept of a photo the same whichever others were
    encoded before, and a resumed training the same as an unbroken one.
    """
    first, *others = [encode_photos(network, [photo], cache).features for photo in photos]
    return first.join(others)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watching:
    """How a training is watched."""

    samples: Sequence[Sample]
    """Held-out points."""
    every: int
    """Steps."""
    unseen: Sequence[Path] = ()
    """Checkpoints of localizers that score the held-out points and never reward."""


def train_grpo(
    samples: Sequence[Sample],
    descriptor: Path,
    localizers: Sequence[Path],
    out: Path,
    loop: LoopConfig,
    sizes: BatchSizes,
    config: GRPOConfig,
    watching: Watching,
    *,
    device: torch.device,
) -> bool:
    """Reinforce a descriptor.

    Args:
        samples: points to learn on; texts, if any, are not looked at.
        descriptor: checkpoint folder to start from, which is the reference too.
        localizers: checkpoint folders of the judges. The first, when it stands on the descriptor's base, shares it;
            any other is loaded whole.
        out: gets `training/`, `evaluations/` and, at the end, `checkpoint/`, with the first localizer where it shares
            the base. The same call on the same folder resumes.

    Returns:
        True when finished, or stopped by a rule of the config (then `stopped.json` says so, and the checkpoint is of
        the last evaluation before); False when SIGTERM stopped it.
    """
    network, judges = load_judged(descriptor, localizers, device=device)
    cache_bytes = GPU_CACHE_BYTES if device.type == "cuda" else CACHE_BYTES
    cache = PhotoCache(cache_bytes)
    policy = Policy(network, blocks=config.blocks)
    for name, judge in judges.items():
        side, theirs = network.side, judge.network.side
        if side != theirs:
            raise ValueError(
                f"{name} sees photos at {theirs} px and the descriptor at {side}; give one of the same size"
            )
        judge.cache = cache if judge.network is network else PhotoCache(cache_bytes)
    unseen = {
        f"unseen{number}": PointLocalizer(_localizer_alone(folder, device))
        for number, folder in zip(_numbers(watching.unseen), watching.unseen, strict=True)
    }
    batches = KeypointBatches(
        samples,
        side=network.side,
        sizes=sizes,
        seed=loop.seed,
        steps=loop.steps,
        settings=f"descriptor {_fingerprint(policy.reference.values())}, "
        f"localizers {' '.join(_fingerprint(_heads(judge)) for judge in judges.values())}, "
        f"{config}, evaluated every {watching.every} steps",
    )
    log.info(
        "%s; an epoch is %.0f steps; %d weights learn",
        batches,
        batches.groups_an_epoch / sizes.photos,
        sum(parameter.numel() for parameter in policy.parameters.values()),
    )
    watch = Watch(policy, {**judges, **unseen}, watching.samples, out / "evaluations", every=watching.every)
    objective = Reinforcement(policy, judges, cache, config, watch)
    # No module is put into training mode: with dropout, what is sampled would not be what is trained.
    try:
        finished = train({}, policy.parameters, batches, objective, loop, out / "training")
    except Stopped as stopped:
        steps, weights = watch.newest_weights()
        policy.load(weights)
        log.warning("stopped at %s; the checkpoint is as after %d steps", stopped, steps)
        (out / STOPPED_FILE).write_text(json.dumps({"reason": str(stopped), "checkpoint_after_steps": steps}) + "\n")
        finished = True
    else:
        if finished:
            watch.evaluate(loop.steps)
    if finished:
        save_checkpoint(network, out / "checkpoint")
    return finished


def load_judged(
    descriptor: Path, localizers: Sequence[Path], *, device: torch.device
) -> tuple[PointNetwork, dict[str, PointLocalizer]]:
    """A descriptor's network and its judges by name; the first is over the same base where it can be."""
    if not localizers:
        raise ValueError("there is no localizer to reward the texts; give at least one")
    judges: dict[str, PointLocalizer] = {}
    try:
        network = load_joined(descriptor, localizers[0], device=device)
        judges["localizer"] = PointLocalizer(network)
    except DifferentBases as error:
        log.warning("%s; the localizer is loaded beside, whole", error)
        network = load_checkpoint(descriptor, device=device, roles=("descriptor",))
    for number, folder in zip(_numbers(localizers), localizers, strict=True):
        name = f"localizer{number}"
        if name not in judges:
            judges[name] = PointLocalizer(_localizer_alone(folder, device))
    return network, judges


def _fingerprint(weights: Iterable[Tensor]) -> str:
    """Tells trainings apart that start from, or are judged by, different checkpoints."""
    digest = hashlib.blake2b(digest_size=4)
    for tensor in weights:
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _heads(judge: PointLocalizer) -> Iterable[Tensor]:
    return judge.network.role_modules("localizer")["localizer"].state_dict().values()


def _numbers(folders: Sequence[Path]) -> list[str]:
    """What tells several of a kind apart; the first has no number."""
    return ["" if k == 0 else str(k + 1) for k in range(len(folders))]


def _localizer_alone(folder: Path, device: torch.device) -> PointNetwork:
    network = load_checkpoint(folder, device=device, roles=("localizer",))
    if network.localizer is None:
        raise ValueError(f"{folder} has no localizer; give a checkpoint folder in which one was trained")
    return network


def _table(found: Mapping[str, Any], samples: Sequence[Sample], texts: Sequence[str], errors: Mapping[str, Any]) -> str:
    """An evaluation as Markdown, to be read by people: scores, then texts with how far from their points they lead."""
    lines = [f"# After {found['steps']} steps", "", f"{found['points']} held-out points.", ""]
    lines += ["| localizer | PCK@0.1 | PCK@0.2 | mPCK |", "|---|---|---|---|"]
    for name, scores in found["localizers"].items():
        lines.append(f"| {name} | {scores['pck@0.1']:.1f} | {scores['pck@0.2']:.1f} | {scores['mpck']:.1f} |")
    lines += [
        "",
        f"{found['words']:.1f} words a text, distinct-1 {found['distinct_1']:.3f}, distinct-2 "
        f"{found['distinct_2']:.3f}, {found['own_text']:.0%} of the texts differ.",
        "",
        "| photo | point | on | " + " | ".join(f"error, {name}" for name in errors) + " | text |",
        "|---|---|---|" + "---|" * len(errors) + "---|",
    ]
    # Of all photos, not of the first ones.
    for k in np.linspace(0, len(samples) - 1, min(SHOWN, len(samples))).astype(int):
        sample = samples[k]
        on = " ".join(filter(None, (sample.object_name, sample.part_name)))
        cells = [sample.photo_id, "{:.0f}, {:.0f}".format(*sample.point_px), on]
        cells += [f"{e[k]:.3f}" for e in errors.values()] + [texts[k]]
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
