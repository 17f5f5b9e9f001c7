"""What `talking-points train grpo` runs: localization as the descriptor's reward (paper 3.4)."""

# B photos, P points a photo, G texts a point, N texts, T tokens

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.bases.loading import holds_base, load_joined, load_role, save_base
from talking_points.evaluation.samples import Sample
from talking_points.model.checkpoint import DifferentBases, read_trainings, write_trainings
from talking_points.model.generation import Sampling
from talking_points.model.roles import ROLES
from talking_points.model.weights import fingerprint
from talking_points.pages import counted
from talking_points.pointing.encoding import CACHE_BYTES, PhotoCache, encode_photos
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.prepared import PreparedPhoto
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.training.batches import PointBatch, PointBatches
from talking_points.training.data import read_points
from talking_points.training.grpo import (
    REWARDS,
    distances,
    distinct_share,
    group_advantages,
    kl_divergence,
    policy_loss,
    total_loss,
)
from talking_points.training.loop import Metrics, OnStep, go_on, is_main_process, train
from talking_points.training.policy import Policy
from talking_points.training.roles import own_device, own_dtype, settings_first
from talking_points.training.settings import GRPOSettings
from talking_points.training.watching import Watch

log = logging.getLogger(__name__)

GPU_CACHE_BYTES = 2**33
"""Room for what is kept of photos on a GPU: the 7B's features of one take some 100 MB. Ours."""
TOLD_OF_TRAINING = ("epochs", "photos", "points", "learning_rate", "group_size", "reward", "seed")
"""Of the settings, what a checkpoint tells of its descriptor's reinforcement."""
TOLD = ("group_size", "temperature", "blocks", "kl_weight", "reward", "evaluate_every")
"""Settings that a resumed training must have the same."""


@dataclass(frozen=True, slots=True)
class CachedBase:
    """A base and what it has computed of photos, each of which it encodes by itself.

    A batch's sums are rounded as its size says: only so are features the same whichever photos were encoded before, and
    a resumed training the same as an unbroken one.
    """

    base: Base
    cache: PhotoCache = field(default_factory=PhotoCache)

    @torch.no_grad()
    def features(self, photos: Sequence[PreparedPhoto]) -> list[PhotoFeatures]:
        """Of each photo."""
        return [encode_photos(self.base, [photo], self.cache).features for photo in photos]

    def find(self, photos: Sequence[PreparedPhoto], asked: Sequence[tuple[int, str]]) -> Tensor:
        """(N, 2) points found from texts, in their photos' [0, 1]^2; NaN for a text that cannot be read.

        asked: number of a photo, and a text about it; each once.
        """
        # Of this call alone: a prefix's keys and values, too, depend on which photos were read with it.
        cache = PhotoCache(2**62)
        for photo, features in zip(photos, self.features(photos), strict=True):
            cache.put("features", photo.key, features)
        readable = [n for n, (_, text) in enumerate(asked) if self.base.prompts.is_readable(text)]
        pairs = [(photos[asked[n][0]], asked[n][1]) for n in readable]
        answers = PointLocalizer(self.base, cache=cache).locate_many(pairs)
        found_N2 = torch.full((len(asked), 2), torch.nan)
        for n, (photo, _), answer in zip(readable, pairs, answers, strict=True):
            found_N2[n] = torch.tensor(answer.point_px) / torch.tensor(photo.size_wh)
        return found_N2


def grpo_objective(
    policy: Policy, batch: PointBatch, own: CachedBase, judge: CachedBase, settings: GRPOSettings
) -> tuple[Tensor, Metrics]:
    """The loss of a step, and what to log of it: texts are drawn as the batch's seed says, found, and rewarded.

    Args:
        policy: what learns.
        own: its base.
        judge: the frozen localizer's; the same where they share it.
    """
    base, G, photos = policy.base, settings.group_size, batch.photos
    first, *others = own.features(photos)
    sampling = Sampling(temperature=settings.temperature, samples=G)
    generator = torch.Generator(base.device).manual_seed(batch.seed)
    rollout = policy.sample(first.join(others), batch.points_BP2, sampling, generator)
    texts = [base.prompts.decode(one.ids) for one in rollout.texts]
    # Equal texts of a photo are found once, and so earn exactly the same.
    of_text = list(zip(rollout.photo_of_text_N.tolist(), texts, strict=True))
    asked = list(dict.fromkeys(of_text))
    place = {one: n for n, one in enumerate(asked)}
    found_N2 = judge.find(photos, asked)[[place[one] for one in of_text]]
    true_BP2 = batch.points_px_BP2 / torch.tensor(batch.sizes_wh, dtype=torch.float32)[:, None]
    distance_N = distances(found_N2, true_BP2.flatten(0, 1).repeat_interleave(G, 0))
    reward_PG = REWARDS[settings.reward](distance_N).unflatten(0, (-1, G))
    advantages_PG = group_advantages(reward_PG)

    is_token_NT = rollout.is_token_NT
    reference_NT = policy.reference_logprobs(rollout)
    logprobs_NT = policy.logprobs(rollout)
    pull = policy_loss(logprobs_NT, is_token_NT, advantages_PG.flatten().to(logprobs_NT))
    kl = kl_divergence(logprobs_NT, reference_NT, is_token_NT)
    loss = total_loss(pull, kl, settings.kl_weight)
    empty = [not text for text in texts]
    cut_off = [not one.ended for one in rollout.texts]
    return loss, {
        "loss": loss.item(),
        "weight": float(len(texts)),
        "policy": pull.item(),
        "kl": kl.item(),
        "reward": float(reward_PG.mean()),
        "reward_std": float(reward_PG.std(-1).mean()),
        "flat_groups": float((advantages_PG == 0).all(-1).float().mean()),
        "within_0.1": float((distance_N < 0.1).float().mean()),
        "within_0.2": float((distance_N < 0.2).float().mean()),
        "tokens": float(np.mean([len(one.ids) for one in rollout.texts])),
        "distinct_1": distinct_share(texts, 1),
        "distinct_2": distinct_share(texts, 2),
        "own_text": len(set(texts[::G])) / len(texts[::G]),
        "empty": float(np.mean(empty)),
        "cut_off": float(np.mean(cut_off)),
        "broken": float(np.mean(np.logical_or(empty, cut_off))),
    }


def train_grpo(
    settings: GRPOSettings,
    data: tuple[Sequence[Sample], Sequence[Sample]] | None = None,
    *,
    on_step: OnStep = go_on,
) -> bool:
    """Reinforce a descriptor.

    Args:
        settings: their `out` gets `training/`, `evaluations/` and, at the end, `checkpoint/`, with the localizer where
            it shares the base. The same call on the same folder resumes.
        data: points to learn on, and points to watch by; None: those of `settings.keypoints`.
        on_step: as `train` takes it.

    Returns:
        True when finished, or stopped by a rule of the settings (then `stopped.json` says so, and the checkpoint is of
        the last evaluation before); False when stopped otherwise.
    """
    out, device = settings.out, own_device(settings.device)
    folders = {
        name: find_checkpoint(name) for name in (settings.descriptor, settings.localizer, *settings.unseen_localizers)
    }
    if data is None:
        log.info("reading %s", settings.keypoints)
        data = read_points(settings)
    learning, held_out = data
    loaded: dict[str, Any] = {"device": device, "dtype": own_dtype(settings), "quantize": settings.quantize}
    asked = folders[settings.descriptor], folders[settings.localizer]
    log.info("reading the base with the descriptor in %s and the localizer in %s", *asked)
    network, judge = load_judged(*asked, **loaded)
    network.recompute(settings.recompute)
    policy = Policy(network, blocks=settings.blocks)
    check_sides(network, judge)
    unseen = [load_role(folders[name], "localizer", **loaded) for name in settings.unseen_localizers]
    told = {name: getattr(settings, name) for name in TOLD}
    told["descriptor"] = fingerprint(policy.reference.values())
    told["localizer"] = fingerprint(judge.role_weights("localizer").values())
    said = "".join(f", {name} {value}" for name, value in told.items())
    batches = PointBatches(learning, settings, side=network.side, told=said, watched=held_out)
    weights = sum(parameter.numel() for parameter in policy.parameters.values())
    epoch = counted(batches.epoch_steps, "step")
    log.info("%s; an epoch is %s; %d weights learn", batches.shown, epoch, weights)
    watched = {"localizer": judge} | {f"unseen{k or ''}": one for k, one in enumerate(unseen)}
    watch = Watch(policy, watched, held_out, settings, steps=len(batches))
    room = cache_bytes(str(device))
    own = CachedBase(network, PhotoCache(room))
    localizer = own if judge is network else CachedBase(judge, PhotoCache(room))

    def objective(batch: PointBatch) -> tuple[Tensor, Metrics]:
        loss, metrics = grpo_objective(policy, batch, own, localizer, settings)
        return loss, {**metrics, **watch.scores}

    # No module is put into training mode: with dropout, what is sampled would not be what is trained.
    # What is recomputed for the gradients must be the descriptor's, though the judge has acted since.
    with network.acting_as("descriptor"):
        finished = train(
            {},
            policy.parameters,
            batches,
            objective,
            settings,
            out / "training",
            on_step=settings_first(settings, lambda done, metrics: watch(done, metrics) or on_step(done, metrics)),
        )
    if is_main_process() and (finished or watch.stopped is not None):
        steps = _save(policy, watch, asked, settings)
        told = read_trainings(dict(zip(ROLES, asked, strict=True)))
        how = {name: getattr(settings, name) for name in TOLD_OF_TRAINING}
        whole = steps is None
        how |= {"steps": len(batches) if whole else steps, "learnt_on": len(learning)} | (
            {} if whole else {"epochs": None}
        )
        before = told.get("descriptor", {})
        told["descriptor"] = {**before, "reinforced": [*before.get("reinforced", []), how]}
        write_trainings(told, out / "checkpoint")
    return finished or watch.stopped is not None


def _save(policy: Policy, watch: Watch, asked: tuple[Path, Path], settings: GRPOSettings) -> int | None:
    """Write the checkpoint; of a training that a rule stopped, as it was at the last evaluation, and why.

    Returns:
        Steps that are in the checkpoint of a training that was stopped; else None.
    """
    out, network, steps = settings.out, policy.base, None
    # Of an earlier run that was stopped, and has been gone on with.
    (out / "stopped.json").unlink(missing_ok=True)
    if watch.stopped is not None:
        steps, kept = watch.newest_weights()
        policy.load(kept)
        log.warning("stopped at %s; the checkpoint is as after %s", watch.stopped, counted(steps, "step"))
        reason = {"reason": watch.stopped, "checkpoint_after_steps": steps}
        (out / "stopped.json").write_text(json.dumps(reason) + "\n")
    elif all(torch.equal(policy.parameters[name], was) for name, was in policy.reference.items()):
        log.warning("the descriptor is as it was: no step taught it anything (flat_groups in metrics.jsonl)")
    if holds_base(network) and settings.quantize is not None:
        # The checkpoint's base is the one on disk: a quantized one has lost something.
        network, _ = load_judged(*asked, dtype=network.dtype)
        Policy(network, blocks=settings.blocks).load(policy.parameters)
    save_base(network, out / "checkpoint")
    return steps


def cache_bytes(device: str) -> int:
    """Room for what is kept of photos on a device, by its name."""
    return GPU_CACHE_BYTES if device.partition(":")[0] == "cuda" else CACHE_BYTES


def check_sides(network: Base, judge: Base) -> None:
    """A ValueError where descriptor and judge see photos at different sizes."""
    if judge.side != network.side:
        raise ValueError(
            f"the localizer sees photos at {judge.side} px, the descriptor at {network.side}; give one of the same size"
        )


def load_judged(descriptor: Path, localizer: Path, **loaded: Any) -> tuple[Base, Base]:
    """A descriptor's base and its judge's: the same one, loaded once, where they stand on the same base.

    loaded: as `bases.loading.load_base` takes it.
    """
    try:
        network = load_joined(descriptor, localizer, **loaded)
        return network, network
    except DifferentBases as error:
        log.warning("%s; the localizer is loaded beside, whole", error)
        return load_role(descriptor, "descriptor", **loaded), load_role(localizer, "localizer", **loaded)
