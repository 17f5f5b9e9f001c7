"""Seeing, reading and writing together, from the seed to the base: `python -m recipes.mini.learn`."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.mini import feed
from recipes.mini.examples import HEAT, Example, Maker, Wanted
from recipes.mini.seed import read_names
from talking_points.memory import keep_freed_memory
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.localizer_head import read_texts
from talking_points.model.network import PointNetwork
from talking_points.model.prompts import Prompts
from talking_points.photos import CLIP_MEAN_RGB, CLIP_STD_RGB

SHARES = {"free": 0.36, "whole": 0.30, "composed": 0.34}
"""Of the kinds of examples."""
DESCRIBED, CAPTIONED = 3, 2
"""Of a photo's points, those whose long and whose short texts are learnt to be written."""
TARGET_SIGMA = 0.03
"""Of a point's heatmap, in the square's unit."""
MASK_WEIGHT = 0.5
"""Of the heatmap of a text that fits a mask, such as a name alone; of one about a point it is 1."""
AVERAGE = 0.998
"""Of the running mean of the weights, which is what is kept."""
TOLD_EVERY, SAVED_EVERY_S = 25, 300
LARGEST_FILE = 15_000_000
WEIGHTS = {
    "write": 1.0,
    "caption": 0.4,
    "heat": 1.0,
    "there": 0.5,
    "mask": 1.0,
    "class": 0.5,
    "part": 0.8,
    "object": 0.3,
    "colour": 1.0,
}


class Probes(nn.Module):
    """Of a keypoint's numbers: which part, which object, which colour. They teach, and are thrown away."""

    def __init__(self, width: int, parts: int, objects: int) -> None:
        super().__init__()
        self.part, self.object, self.colour = nn.Linear(width, parts), nn.Linear(width, objects), nn.Linear(width, 3)


@dataclass(kw_only=True)
class Batch:
    squares: Tensor
    inside: Tensor
    classes: Tensor
    known: Tensor
    points: Tensor
    sided: Tensor
    objects: Tensor
    prompts: list[list[int]]
    photo: Tensor
    """Of each prompt."""
    answer_starts: list[int]
    """Of each prompt, where its answer begins; -1 of a text to find."""
    captions: Tensor
    """bool: of each prompt, whether it is asked in brief."""
    marks: Tensor
    """Of each prompt, which of all points it is about; 0 of a text to find."""
    targets: Tensor
    """(W, HEAT, HEAT) of the texts to find, summing to 1, or to 0 where nothing is there."""
    there: Tensor
    is_mask: Tensor


def draw_examples(
    maker: Maker, photos: int, seed: Sequence[int], *, shares: Mapping[str, float] = SHARES
) -> list[Example]:
    """Photos of a batch: a function of the seed. shares: of the kinds of `Maker.draw`."""
    # Past the photos' own seeds: what is drawn of one does not hang on its kind.
    rng = np.random.default_rng([*seed, photos])
    kinds = rng.choice(list(shares), size=photos, p=list(shares.values()))
    examples = [maker.draw([*seed, k], str(kind)) for k, kind in enumerate(kinds)]
    return [one for one in examples if one.points]


def collate(examples: Sequence[Example], prompts: Prompts) -> Batch:
    describe, caption = prompts.describe(), prompts.caption()
    ids: list[list[int]] = []
    photo, starts, captions, marks, targets, there, is_mask = [], [], [], [], [], [], []
    points = len(examples[0].points)
    for b, one in enumerate(examples):
        for k in range(min(DESCRIBED, points)):
            ids.append(describe + prompts.answer(one.texts[k]))
            starts.append(len(describe))
            captions.append(False)
            marks.append(b * points + k)
        for k in range(points - min(CAPTIONED, points), points):
            ids.append(caption + prompts.answer(one.shorts[k]))
            starts.append(len(caption))
            captions.append(True)
            marks.append(b * points + k)
        for wanted in one.wanted:
            ids.append(prompts.localize(wanted.text))
            starts.append(-1)
            captions.append(False)
            marks.append(0)
            targets.append(target_of(wanted))
            there.append(wanted.there)
            is_mask.append(wanted.cells is not None)
        photo += [b] * (len(ids) - len(photo))
    return Batch(
        squares=torch.from_numpy(np.stack([one.square for one in examples])),
        inside=torch.tensor([one.inside for one in examples]),
        classes=torch.from_numpy(np.stack([one.classes for one in examples])),
        known=torch.from_numpy(np.stack([one.known for one in examples])),
        points=torch.tensor([one.points for one in examples], dtype=torch.float32),
        sided=torch.tensor([one.sided for one in examples]).flatten(),
        objects=torch.tensor([one.objects for one in examples]).flatten(),
        prompts=ids,
        photo=torch.tensor(photo),
        answer_starts=starts,
        captions=torch.tensor(captions),
        marks=torch.tensor(marks),
        targets=torch.from_numpy(np.stack(targets)),
        there=torch.tensor(there),
        is_mask=torch.tensor(is_mask),
    )


def target_of(wanted: Wanted) -> np.ndarray:
    """(HEAT, HEAT) float32 of where a text is to be found, summing to 1; 0 of one that does not fit."""
    if not wanted.there:
        return np.zeros((HEAT, HEAT), np.float32)
    point = wanted.point
    if wanted.cells is not None:
        spread = wanted.cells.astype(np.float32)
    else:
        assert point is not None
        at = (np.arange(HEAT) + 0.5) / HEAT
        spread = np.exp(-((at - point[1])[:, None] ** 2 + (at - point[0]) ** 2) / (2 * TARGET_SIGMA**2))
    return (spread / max(float(spread.sum()), 1e-6)).astype(np.float32)


def normalised(squares_BSS3: Tensor, inside_B4: Tensor, *, jitter: bool) -> Tensor:
    """Letterboxed photos as `photos.letterbox` makes them; with `jitter` in slightly other light."""
    pixels = squares_BSS3.permute(0, 3, 1, 2).float() / 255
    if jitter:
        B, device = len(pixels), pixels.device
        gain = 1 + 0.12 * (2 * torch.rand(B, 1, 1, 1, device=device) - 1)
        tint = 1 + 0.03 * (2 * torch.rand(B, 3, 1, 1, device=device) - 1)
        shift = 0.06 * (2 * torch.rand(B, 1, 1, 1, device=device) - 1)
        pixels = (pixels * gain * tint + shift).clamp(0, 1)
    mean, std = (pixels.new_tensor(one)[:, None, None] for one in (CLIP_MEAN_RGB, CLIP_STD_RGB))
    at = torch.arange(pixels.shape[-1], device=pixels.device)
    x0, y0, x1, y1 = inside_B4.to(pixels.device)[..., None].unbind(1)
    inside = ((at >= y0) & (at < y1))[:, None, :, None] & ((at >= x0) & (at < x1))[:, None, None]
    return (pixels - mean) / std * inside


def losses(network: PointNetwork, probes: Probes, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """Everything that the base learns, on one batch."""
    pixels = normalised(batch.squares.to(device, non_blocking=True), batch.inside, jitter=True)
    if device.type == "cuda":
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    features, mask_logits, class_logits = network.segmenter.segment(pixels)
    result = seeing(mask_logits, class_logits, batch.classes.to(device).long(), batch.known.to(device))
    points_BP2 = batch.points.to(device)
    numbers_NF = network.segmenter.encode_points(features, points_BP2).flatten(0, 1)
    keypoints_NF = numbers_NF[:, : 2 * network.config.vision.width]
    result |= _probed(probes, keypoints_NF, pixels, points_BP2, batch.sided.to(device), batch.objects.to(device))
    return result | language_losses(network, batch, features, numbers_NF)


def language_losses(network: PointNetwork, batch: Batch, features: Any, numbers_NF: Tensor) -> dict[str, Tensor]:
    """Writing and finding. numbers_NF: of the batch's points."""
    device = numbers_NF.device
    photo_P, marks_P = batch.photo.to(device), batch.marks.to(device)
    _, prefix = network.read_prefix(*network.embed_prefix(features, "descriptor"))
    hidden_PSD = network.read(prefix, photo_P, network.embed(batch.prompts, numbers_NF[marks_P]))
    return _written(network, batch, hidden_PSD) | _found(network, batch, hidden_PSD, features, photo_P)


def seeing(mask_logits: Tensor, class_logits: Tensor, classes_BHW: Tensor, known_BK: Tensor) -> dict[str, Tensor]:
    """Query k is to be the mask of class k: no matching is needed."""
    B, K = known_BK.shape
    seen_BK1 = torch.zeros(B, K + 1, dtype=torch.bool, device=classes_BHW.device)
    present_BK = seen_BK1.scatter_(1, classes_BHW.flatten(1), True)[:, 1:]
    pairs = present_BK.nonzero()
    pairs = pairs[torch.randperm(len(pairs), device=pairs.device)[:800]]
    logits = mask_logits[pairs[:, 0], pairs[:, 1]].float()
    wanted = (classes_BHW[pairs[:, 0]] == (pairs[:, 1] + 1)[:, None, None]).float()
    cross = F.binary_cross_entropy_with_logits(logits, wanted)
    prob = logits.sigmoid().flatten(1)
    dice = 1 - (2 * (prob * wanted.flatten(1)).sum(-1) + 1) / (prob.sum(-1) + wanted.flatten(1).sum(-1) + 1)
    empty = (known_BK & ~present_BK).nonzero()
    empty = empty[torch.randperm(len(empty), device=empty.device)[:300]]
    nothing = F.softplus(mask_logits[empty[:, 0], empty[:, 1]].float()).mean() if len(empty) else cross * 0
    target_BK = torch.where(present_BK, torch.arange(K, device=present_BK.device), K)
    asked = known_BK | present_BK
    of_class = F.cross_entropy(class_logits[asked].float(), target_BK[asked], reduction="none")
    weight = torch.where(present_BK[asked], 1.0, 0.15)
    return {
        "mask": 3 * cross + dice.mean() + 0.5 * nothing,
        "class": (of_class * weight).sum() / weight.sum(),
    }


def _probed(
    probes: Probes, numbers_NF: Tensor, pixels: Tensor, points_BP2: Tensor, sided_N: Tensor, objects_N: Tensor
) -> dict[str, Tensor]:
    smooth = F.avg_pool2d(pixels, 5, stride=1, padding=2)
    colour_N3 = F.grid_sample(smooth, points_BP2[:, :, None] * 2 - 1, align_corners=False)[..., 0].transpose(1, 2)
    return {
        "part": F.cross_entropy(probes.part(numbers_NF).float(), sided_N, ignore_index=-1),
        "object": F.cross_entropy(probes.object(numbers_NF).float(), objects_N, ignore_index=-1),
        "colour": F.smooth_l1_loss(probes.colour(numbers_NF).float(), colour_N3.flatten(0, 1), beta=0.2),
    }


def _written(network: PointNetwork, batch: Batch, hidden_PSD: Tensor) -> dict[str, Tensor]:
    rows, places, wanted, brief = [], [], [], []
    captions = batch.captions.tolist()
    for p, (start, ids) in enumerate(zip(batch.answer_starts, batch.prompts, strict=True)):
        if start >= 0:
            rows += [p] * (len(ids) - start)
            places += range(start - 1, len(ids) - 1)
            wanted += ids[start:]
            brief += [captions[p]] * (len(ids) - start)
    device = hidden_PSD.device
    flat = torch.tensor(rows, device=device) * hidden_PSD.shape[1] + torch.tensor(places, device=device)
    logits = network.logits(hidden_PSD.flatten(0, 1)[flat])
    cross = F.cross_entropy(logits.float(), torch.tensor(wanted, device=device), reduction="none", label_smoothing=0.03)
    is_brief = torch.tensor(brief, device=device)
    return {"write": cross[~is_brief].mean(), "caption": cross[is_brief].mean()}


def _found(
    network: PointNetwork, batch: Batch, hidden_PSD: Tensor, features: Any, photo_P: Tensor
) -> dict[str, Tensor]:
    device = hidden_PSD.device
    asked = torch.tensor([p for p, start in enumerate(batch.answer_starts) if start < 0], device=device)
    answer = answered(network, hidden_PSD[asked], [batch.prompts[p] for p in asked.tolist()], features, photo_P[asked])
    target_WN, there_W = batch.targets.to(device).flatten(1), batch.there.to(device)
    heat_W = heat_losses(answer.logits_Phw, target_WN)
    weight_W = there_W * torch.where(batch.is_mask.to(device), MASK_WEIGHT, 1.0)
    near = is_near(answer.points_P2, target_WN)
    pointed = there_W & ~batch.is_mask.to(device)
    return {
        "heat": (heat_W * weight_W).sum() / weight_W.sum(),
        "there": F.binary_cross_entropy_with_logits(answer.there_P.float(), there_W.float()),
        "near": near[pointed].float().mean(),
        "there_right": ((answer.there_P > 0) == there_W).float().mean(),
    }


def heat_losses(logits_Phw: Tensor, targets_PN: Tensor) -> Tensor:
    """(P,) cross-entropies of heatmaps against their targets."""
    return -(targets_PN * logits_Phw.float().flatten(1).log_softmax(-1)).sum(-1)


@torch.no_grad()
def is_near(points_P2: Tensor, targets_PN: Tensor) -> Tensor:
    """(P,) bool: within a tenth of the square of the target's brightest cell. points_P2: [0, 1]^2 of the square."""
    best_P = targets_PN.argmax(-1)
    true_P2 = torch.stack([(best_P % HEAT + 0.5) / HEAT, (best_P // HEAT + 0.5) / HEAT], dim=-1)
    return (points_P2 - true_P2).norm(dim=-1) < 0.1


def answered(
    network: PointNetwork, hidden_PSD: Tensor, prompts: Sequence[Sequence[int]], features: Any, photo_P: Tensor
) -> Any:
    """The base's head on texts to find."""
    assert network.head is not None
    seg_P = network.seg_positions(prompts)
    texts = read_texts(network.text_to_vision, hidden_PSD, seg_P, photo_P)
    return network.head(texts, features.decoder_inputs)


def groups_of(network: PointNetwork, probes: Probes, rate: float) -> list[dict[str, Any]]:
    """The pretrained parts go slower."""
    trunk = list(network.segmenter.trunk.parameters())
    words = list(network.embedding.parameters())
    slow = {id(p) for p in (*trunk, *words)}
    rest = [p for p in (*network.parameters(), *probes.parameters()) if id(p) not in slow]
    return [
        {"params": [p for p in rest if p.ndim > 1], "most": rate, "weight_decay": 0.03},
        {"params": [p for p in rest if p.ndim < 2], "most": rate, "weight_decay": 0.0},
        {"params": trunk, "most": 0.2 * rate, "weight_decay": 0.0},
        {"params": words, "most": 0.2 * rate, "weight_decay": 0.0},
    ]


def rate_at(done: float) -> float:
    """Of the highest rate, by the share of the time that is over: up, level, and down to nothing."""
    if done < 0.03:
        return max(done, 1e-4) / 0.03
    return 1.0 if done < 0.5 else 0.5 * (1 + math.cos(math.pi * (done - 0.5) / 0.5))


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="checkpoint: the seed, or a mini to go on from")
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--absent", type=Path, nargs="*", default=[])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--memory", type=Path, help="folder in memory, such as /dev/shm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--validation", type=Path, help="scenes of the val split")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.memory) as held:
        state = given.out / "state.pt"
        # Each process makes some of the batches only: those from here on nobody has seen.
        first = torch.load(state, map_location="cpu", weights_only=True)["step"] if state.exists() else 0
        passed = ["--start", str(given.start), "--photos", str(given.photos), "--seed", str(given.seed)]
        passed += ["--first", str(first)]
        for name in ("scenes", "texts", "absent"):
            passed += [f"--{name}", *map(str, getattr(given, name))]
        workers = feed.start(Path(held) / "batches", given.workers, passed)
        try:
            learn(given, feed.batches(Path(held) / "batches", workers))
        finally:
            for one in workers:
                one.kill()
                one.wait()


def learn(given: argparse.Namespace, batches: Iterator[Any]) -> None:
    """Train for so many minutes, of all runs together, and write the running mean of the weights."""
    device = torch.device(given.device)
    torch.manual_seed(given.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    names = read_names()
    network = load_checkpoint(given.start, roles=())
    network = network.requires_grad_(True).train().to(device)
    if device.type == "cuda":  # half the time of its depthwise convolutions
        network.segmenter.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    probes = Probes(2 * network.config.vision.width, len(names.sided), len(names.objects)).to(device)
    groups, fused = groups_of(network, probes, given.rate), device.type == "cuda"
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=fused)
    weights = list(network.parameters())
    averaged = [p.detach().clone() for p in weights]
    given.out.mkdir(parents=True, exist_ok=True)
    state, step, before = given.out / "state.pt", 0, 0.0
    if state.exists():
        held = torch.load(state, map_location=device, weights_only=True)
        step, before, averaged = held["step"], held["seconds"], held["averaged"]
        network.load_state_dict(held["network"])
        probes.load_state_dict(held["probes"])
        optimizer.load_state_dict(held["optimizer"])
        print(f"going on after {before:.0f} s and {step} steps", flush=True)
    first = step
    batch = next(batches)
    started = saved = time.time()
    seconds, waited = 60 * given.minutes, 0.0
    told: dict[str, Tensor] = {}

    def keep() -> None:
        unfinished = state.with_suffix(".part")
        torch.save(
            {
                "step": step,
                "seconds": elapsed,
                "averaged": averaged,
                "network": network.state_dict(),
                "probes": probes.state_dict(),
                "optimizer": optimizer.state_dict(),
            },
            unfinished,
        )
        unfinished.replace(state)

    while (elapsed := before + time.time() - started) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = group["most"] * rate_at(elapsed / seconds)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            parts = losses(network, probes, batch, device)
        loss = sum(weight * parts[name] for name, weight in WEIGHTS.items())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        with torch.no_grad():
            # Young means are of few steps.
            torch._foreach_lerp_(averaged, weights, 1 - min(AVERAGE, (step + 1) / (step + 10)))
            told = {k: 0.95 * told[k] + 0.05 * v.detach() if told else v.detach() for k, v in parts.items()}
        step += 1
        if step % TOLD_EVERY == 0 or step - first == 1:
            said = " ".join(f"{name} {value.item():.3f}" for name, value in told.items())
            print(f"{elapsed:5.0f} s, {waited:.0f} s without data, step {step}: {said}", flush=True)
        if time.time() - saved > SAVED_EVERY_S:
            keep()
            saved = time.time()
        asked_at = time.time()
        batch = next(batches)
        waited += time.time() - asked_at
    keep()
    with torch.no_grad():
        torch._foreach_copy_(weights, averaged)
    network.eval()
    save_parts(network, given.out)
    if given.validation is not None:
        from recipes.mini.check import check

        print(json.dumps(check(network, given.validation, given.texts, device)), flush=True)


def load_parts(network: PointNetwork, folder: Path) -> None:
    """Weights as `save_parts` wrote them.

    Raises:
        ValueError: they are of another network.
    """
    paths = sorted(folder.glob("base-*.safetensors"))
    weights = {name: tensor.float() for path in paths for name, tensor in load_file(path).items()}
    missing, unknown = network.load_state_dict(weights, strict=False)
    if unknown or [name for name in missing if not name.endswith("lm_head.weight")]:
        raise ValueError(f"{folder} is of another network: {[*missing, *unknown][:3]}")


def save_parts(network: PointNetwork, folder: Path) -> None:
    """Weights in fp16, in files of at most 15 MB: they travel between machines."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in network.state_dict().items():
        if name.endswith("lm_head.weight"):
            continue
        half = tensor.detach().half().cpu().contiguous()
        if size + half.nbytes > LARGEST_FILE:
            parts.append({})
            size = 0
        parts[-1][name] = half
        size += half.nbytes
    for k, part in enumerate(parts):
        save_file(part, folder / f"base-{k}.safetensors")


if __name__ == "__main__":
    main()
