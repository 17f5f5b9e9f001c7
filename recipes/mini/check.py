"""What the base finds on photos that it was not taught by: validation photos, free texts and the rules'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipes.mini.examples import Maker, Names, Wanted, read_lines, sentence_case
from recipes.mini.found import auroc
from recipes.mini.learn import answered, normalised
from recipes.mini.scenes import read
from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS
from talking_points.model.network import PointNetwork
from talking_points.points import square_padding

PHOTOS = 16


def check(network: PointNetwork, validation: Path, texts: Sequence[Path], device: torch.device) -> dict[str, Any]:
    """mPCK of free texts, long and short, of the rules', and how well absent things are told (AUROC)."""
    scenes = read(validation)
    names = Names.of(scenes)
    maker = Maker(scenes, [], [], names)
    lines = [line for line in read_lines(texts)]
    asked: list[tuple[str, Any, Wanted, str]] = []
    rng = np.random.default_rng(0)
    by_photo: dict[tuple[str, str], list[Any]] = {}
    for line in lines:
        by_photo.setdefault((line["set"], line["photo"].rsplit(".", 1)[0]), []).append(line)
    everything = [line for some in by_photo.values() for line in some]
    for scene in scenes:
        some = by_photo.get((scene.source, scene.photo_id.rsplit("/", 1)[-1].rsplit(".", 1)[0]), [])
        for line in some:
            at = (line["x"] * scene.size_wh[0] / line["width"], line["y"] * scene.size_wh[1] / line["height"])
            asked.append(("long", scene, Wanted(text=line["long"], point=at), scene.source))
            asked.append(("short", scene, Wanted(text=line["short"], point=at), scene.source))
            for length in ("long", "short"):  # of both: a length must not tell
                other = everything[int(rng.integers(len(everything)))]
                asked.append(("other", scene, Wanted(text=other[length], there=False), scene.source))
        if not some and rng.random() < 0.5:
            continue
        drawn = sample_points(scene, 2, rng, sift_share=0.5)
        for one, known in zip(drawn, facts_of_points(scene, [(d.x, d.y) for d in drawn]), strict=True):
            text = sentence_case(write_point_text(known, DIALECTS["paper"], rng))
            asked.append(("rules", scene, Wanted(text=text, point=(one.x, one.y)), scene.source))
    found = _answers(network, maker, [(scene, wanted) for _, scene, wanted, _ in asked], device)
    result: dict[str, Any] = {}
    for kind in ("long", "short", "rules"):
        for source in ("", *sorted({s for *_, s in asked})):
            errors = [
                _error(point, scene, wanted)
                for (k, scene, wanted, s), (point, _) in zip(asked, found, strict=True)
                if k == kind and source in ("", s)
            ]
            if errors:
                key = f"{kind} {source}".strip()
                result[key] = round(100 * float(np.mean([(e < 0.1) / 2 + (e < 0.2) / 2 for e in errors])), 1)
    yes = np.array([there for (k, *_), (_, there) in zip(asked, found, strict=True) if k in ("long", "short")])
    no = np.array([there for (k, *_), (_, there) in zip(asked, found, strict=True) if k == "other"])
    result["there_other"] = round(auroc(yes, no), 3)
    result["points"] = len(yes) // 2
    return result


@torch.no_grad()
def _answers(
    network: PointNetwork, maker: Maker, asked: Sequence[tuple[Any, Wanted]], device: torch.device
) -> list[tuple[tuple[float, float], float]]:
    """Points in pixels of the photo, and the logit of being there."""
    order = sorted(range(len(asked)), key=lambda k: id(asked[k][0]))
    found: dict[int, tuple[tuple[float, float], float]] = {}
    photos: list[list[int]] = []
    for k in order:
        if not photos or asked[photos[-1][-1]][0] is not asked[k][0]:
            photos.append([])
        photos[-1].append(k)
    for start in range(0, len(photos), PHOTOS):
        some = photos[start : start + PHOTOS]
        squares = [maker._square(asked[of[0]][0], np.random.default_rng(0))[0] for of in some]
        pixels = normalised(
            torch.from_numpy(np.stack([one.square for one in squares])).to(device),
            torch.tensor([one.inside for one in squares]),
            jitter=False,
        )
        features = network.segmenter(pixels)
        prompts = [network.prompts.localize(asked[k][1].text) for of in some for k in of]
        photo_P = torch.tensor([b for b, of in enumerate(some) for _ in of], device=device)
        _, prefix = network.read_prefix(*network.embed_prefix(features, "descriptor"))
        hidden: Tensor = network.read(prefix, photo_P, network.embed(prompts))
        answer = answered(network, hidden, prompts, features, photo_P)
        flat = [k for of in some for k in of]
        for k, point, there in zip(flat, answer.points_P2.tolist(), answer.there_P.tolist(), strict=True):
            pad_x, pad_y, long_side = square_padding(asked[k][0].size_wh)
            found[k] = ((point[0] * long_side - pad_x, point[1] * long_side - pad_y), there)
    return [found[k] for k in range(len(asked))]


def _error(point: tuple[float, float], scene: Any, wanted: Wanted) -> float:
    """Distance in the photo's normalised coordinates."""
    assert wanted.point is not None
    width, height = scene.size_wh
    return float(np.hypot((point[0] - wanted.point[0]) / width, (point[1] - wanted.point[1]) / height))
