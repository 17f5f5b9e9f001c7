"""A base that was told of no point: what the paper's Tables 3 and 4 start from, at a small size.

    python -m recipes.tables.base --source label-map=people/ --source coco-parts=cars/ --eyes mini --words runs/seed \\
        --out runs/bases

Three stages, each from the one before; one that is finished is not done again.

- vision: trunk and pixel decoder are those of `--eyes`, frozen. The mask decoder starts from nothing and learns masks
  and classes of parts and objects. There are no points and no texts.
- language: word vectors are those of `--words`, frozen. Blocks, projector and text-to-vision MLP start from nothing and
  learn to caption photos (what is in them, never where) and to tell the mask of a named part from [SEG], OMG-LLaVA's
  way. There are still no points. This is the common base, `OUT/common`.
- prompt: for each `--region` the keypoint's own weights start from nothing and learn, looking through that region
  alone, the mask, name and colour of the part that a point is on. All else is the common base: `OUT/REGION`.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from recipes.mini.examples import Names
from recipes.mini.learn import Probes, rate_at, seeing
from recipes.tables.photos import Seen, caption, name_of_part, see
from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.loading import load_scenes, parse_sources
from talking_points.memory import keep_freed_memory
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.config import REGIONS
from talking_points.model.keypoint_prompt import KeypointPrompt
from talking_points.model.network import PointNetwork
from talking_points.model.segmenter import ImageFeatures
from talking_points.pointing.pretrained import find_checkpoint

NAMED = 5
"""Names of parts that are read of a photo in a step."""
SIGMA_SHARE = 0.026
"""Of the square's side: the Gaussian's standard deviation, as mini has it."""
TOLD_EVERY = 25
Losses = Callable[[Tensor, np.random.Generator], dict[str, Tensor]]
"""Indices of photos, and what else is drawn by, to what is minimised."""


def untrained(eyes: PointNetwork, words: PointNetwork, names: Names, side: int) -> PointNetwork:
    """The network before its first stage: two checkpoints' frozen parts, everything else from nothing."""
    language = LlamaForCausalLM(words.llama.config)
    with torch.no_grad():
        language.get_input_embeddings().weight.copy_(words.embedding.weight)  # type: ignore[arg-type]
    classes = len(names.classes)
    vision = replace(
        eyes.config.vision,
        image_size=side,
        num_queries=classes,
        num_classes=classes,
        gaussian_sigma_px=SIGMA_SHARE * side,
        region="gaussian",
        num_point_names=0,
        num_point_colours=0,
    )
    # The paper's network: a descriptor is told no names.
    config = replace(
        eyes.config,
        name="common",
        vision=vision,
        class_names=names.classes,
        point_names=(),
        point_wider=(),
        point_objects=(),
        point_colours=(),
        coordinate_head="regression",
        blind=False,
    )
    network = PointNetwork(config, language, words.prompts.tokenizer)
    for part in ("trunk", "pixel_decoder"):
        getattr(network.segmenter, part).load_state_dict(getattr(eyes.segmenter, part).state_dict())
    return network.requires_grad_(False).eval()


def vision_loss(network: PointNetwork, seen: Seen, photos: Tensor) -> dict[str, Tensor]:
    """Masks and classes of what is labelled: query k stands for class k."""
    _, masks, classes = network.segmenter.segment_seen(*seen.eyes(photos), image_hw=seen.image_hw)
    return seeing(masks, classes, seen.classes_NMM[photos].long(), seen.known_NK[photos])


def language_loss(network: PointNetwork, seen: Seen, photos: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """Captions, and the masks of named parts."""
    features = features_of(network, seen, photos)
    prompts, photo_of, wanted = [], [], []
    for b, n in enumerate(photos.tolist()):
        scene = seen.scenes[n]
        prompts.append(network.prompts.answer(caption(scene, rng)))
        shown = [k - 1 for k in seen.parts_NMM[n].unique().tolist() if k] or [0]
        for k in rng.choice(shown, NAMED).tolist():
            text, fits = name_of_part(scene, k, rng)
            prompts.append(network.prompts.localize(text))
            wanted.append(torch.isin(seen.parts_NMM[n], torch.tensor(fits) + 1).float())
        photo_of += [b] * (1 + NAMED)
    photo_P = torch.tensor(photo_of)
    _, prefix = network.read_prefix(*network.embed_prefix(features, "base"))
    hidden_PSD = network.read(prefix, photo_P, network.embed(prompts, role="base"))
    told = range(0, len(prompts), 1 + NAMED)
    pairs = [(p, s) for p in told for s in range(1, len(prompts[p]))]
    states = hidden_PSD[[p for p, _ in pairs], [s - 1 for _, s in pairs]]
    write = F.cross_entropy(network.logits(states), torch.tensor([prompts[p][s] for p, s in pairs]))
    named = [p for p in range(len(prompts)) if p % (1 + NAMED)]
    seg_P = network.seg_positions([prompts[p] for p in named])
    query_PC, _ = network.text_to_vision(hidden_PSD[named, seg_P]).chunk(2, dim=-1)
    inputs = features.decoder_inputs
    of_photo = replace(inputs, mask_feature_BCHW=inputs.mask_feature_BCHW[photo_P[named]])
    masks_PHW = network.segmenter.mask_decoder.mask_logits(query_PC[:, None], of_photo)[:, 0]
    return {"caption": write, **mask_loss(masks_PHW, torch.stack(wanted))}


def prompt_loss(network: PointNetwork, probes: Probes, seen: Seen, photos: Tensor) -> dict[str, Tensor]:
    """The part that a point is on: its mask, its name, its object's name; and the colour at the point."""
    with torch.no_grad():
        features = features_of(network, seen, photos)
    points_BP2 = seen.points_NP2[photos]
    numbers_BPF = network.segmenter.encode_points(features, points_BP2)
    query_BPC = numbers_BPF[..., : network.config.vision.width]
    masks_BPHW = network.segmenter.mask_decoder.mask_logits(query_BPC, features.decoder_inputs)
    wanted = seen.parts_NMM[photos][:, None] == (seen.part_NP[photos] + 1)[:, :, None, None]
    colours = seen.colour_N3HW[photos]
    colour_BP3 = F.grid_sample(colours, points_BP2[:, :, None] * 2 - 1, align_corners=False)[..., 0].transpose(1, 2)
    return {
        **mask_loss(masks_BPHW.flatten(0, 1), wanted.flatten(0, 1).float()),
        "part": _named(probes.part(numbers_BPF), seen.sided_NP[photos]),
        "object": 0.3 * _named(probes.object(numbers_BPF), seen.object_NP[photos]),
        "colour": F.smooth_l1_loss(probes.colour(numbers_BPF), colour_BP3, beta=0.2),
    }


def mask_loss(logits_PHW: Tensor, wanted_PHW: Tensor) -> dict[str, Tensor]:
    cross = F.binary_cross_entropy_with_logits(logits_PHW, wanted_PHW)
    prob, wanted = logits_PHW.sigmoid().flatten(1), wanted_PHW.flatten(1)
    dice = 1 - (2 * (prob * wanted).sum(-1) + 1) / (prob.sum(-1) + wanted.sum(-1) + 1)
    return {"mask": 3 * cross, "dice": dice.mean()}


def _named(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy over the points whose name is known; nothing where none is."""
    total = F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), ignore_index=-1, reduction="sum")
    return total / (wanted >= 0).sum().clamp(min=1)


@torch.no_grad()
def features_of(network: PointNetwork, seen: Seen, photos: Tensor) -> ImageFeatures:
    features: ImageFeatures = network.segmenter.segment_seen(*seen.eyes(photos), image_hw=seen.image_hw)[0]
    return features


def fit(
    stage: str,
    parameters: Sequence[nn.Parameter],
    losses: Callable[[Tensor], dict[str, Tensor]],
    *,
    count: int,
    steps: int,
    photos: int,
    rate: float,
    rng: np.random.Generator,
) -> None:
    """AdamW on the sum of the losses, each step on so many of `count` photos. What learns has gradients only here."""
    for one in parameters:
        one.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.03)
    told: dict[str, float] = {}
    started = time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(step / steps)
        parts = losses(torch.from_numpy(rng.choice(count, min(photos, count), replace=False)))
        optimizer.zero_grad(set_to_none=True)
        sum(parts.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        for name, value in parts.items():
            told[name] = 0.9 * told[name] + 0.1 * value.item() if name in told else value.item()
        if (step + 1) % TOLD_EVERY == 0 or step + 1 == steps:
            said = " ".join(f"{name} {value:.3f}" for name, value in told.items())
            print(f"{stage}: step {step + 1} of {steps}, {time.time() - started:.0f} s: {said}", flush=True)
    for one in parameters:
        one.requires_grad_(False)


def make(given: argparse.Namespace) -> None:
    scenes = some_scenes(load_scenes(parse_sources(given.source), "train"), given.photos, given.seed)
    names = Names.of(scenes)
    if not names.classes:
        raise ValueError(f"{len(scenes)} photos are too few: no part is named often enough; give more --photos")
    torch.manual_seed(given.seed)
    eyes, words = (load_checkpoint(find_checkpoint(one), roles=()) for one in (given.eyes, given.words))
    network = untrained(eyes, words, names, given.side)
    segmenter = network.segmenter
    print(f"{len(scenes)} photos, {len(names.classes)} classes", flush=True)
    seen = see(network, scenes, names, np.random.default_rng([given.seed, 0]))
    common: dict[str, Any] = {"count": len(seen), "photos": given.batch, "rate": given.rate}

    def stage(name: str, number: int, steps: int, learns: Iterable[nn.Parameter], losses: Losses) -> None:
        rng = np.random.default_rng([given.seed, number])
        fit(name, list(learns), lambda photos: losses(photos, rng), steps=steps, rng=rng, **common)
        save_checkpoint(network, given.out / name)

    def restored(name: str) -> bool:
        if not (given.out / name).is_dir():
            return False
        network.load_state_dict(load_checkpoint(given.out / name, roles=()).state_dict())
        print(f"{given.out / name} is there", flush=True)
        return True

    if not restored("common"):
        if not restored("vision"):
            learns = segmenter.mask_decoder.parameters()
            stage("vision", 1, given.vision_steps, learns, lambda photos, _: vision_loss(network, seen, photos))
        spoken = [network.language, network.projector, network.text_to_vision]
        frozen = {id(one) for one in network.embedding.parameters()}
        learns = (one for part in spoken for one in part.parameters() if id(one) not in frozen)
        stage("common", 2, given.language_steps, learns, lambda photos, rng: language_loss(network, seen, photos, rng))
    for region in given.region:
        if not (given.out / region).is_dir():
            teach_prompt(network, names, seen, region, steps=given.prompt_steps, seed=given.seed, **common)
            save_checkpoint(network, given.out / region)


def teach_prompt(
    network: PointNetwork, names: Names, seen: Seen, region: str, *, steps: int, seed: int, **common: Any
) -> Probes:
    """The prompt stage, in place: the keypoint's own weights anew, looking through `region`, and what probes learned.

    `common` is of `fit`. With one seed each region's starts from the same nothing and sees the same photos.
    """
    torch.manual_seed(seed)
    vision = network.config.vision
    network.segmenter.keypoint_prompt = KeypointPrompt(vision).requires_grad_(False)
    probes = Probes(2 * vision.width, len(names.sided), len(names.objects)).requires_grad_(False)
    network.change(region=region)
    learns = [*network.segmenter.keypoint_prompt.parameters(), *probes.parameters()]
    rng = np.random.default_rng([seed, 3])
    fit(region, learns, lambda photos: prompt_loss(network, probes, seen, photos), steps=steps, rng=rng, **common)
    return probes


def some_scenes(scenes: Sequence[Scene], count: int, seed: int) -> list[Scene]:
    """So many, in equal shares of the sources as far as they go."""
    of_source: dict[str, list[Scene]] = defaultdict(list)
    for k in np.random.default_rng([seed, 4]).permutation(len(scenes)).tolist():
        of_source[scenes[k].source].append(scenes[k])
    turns = [some[k] for k in range(len(scenes)) for some in of_source.values() if k < len(some)]
    return turns[:count]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", action="append", required=True, metavar="NAME=DIR", help="part-labelled photos")
    parser.add_argument("--eyes", required=True, metavar="M", help="checkpoint: its trunk and pixel decoder are kept")
    parser.add_argument(
        "--words", required=True, metavar="M", help="checkpoint: its tokenizer and word vectors are kept"
    )
    parser.add_argument("--region", action="append", choices=REGIONS, help="default: gaussian and predicted-mask")
    parser.add_argument("--photos", type=int, default=600, help="of the train split, in equal shares of the sources")
    parser.add_argument("--side", type=int, default=256, help="of the square, in pixels")
    parser.add_argument("--batch", type=int, default=8, help="photos a step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--vision-steps", type=int, default=400)
    parser.add_argument("--language-steps", type=int, default=300)
    parser.add_argument("--prompt-steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets a folder for each stage")
    given = parser.parse_args(words)
    given.region = given.region or ["gaussian", "predicted-mask"]
    keep_freed_memory()
    try:
        make(given)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"recipes.tables.base: {error}") from None


if __name__ == "__main__":
    main()
