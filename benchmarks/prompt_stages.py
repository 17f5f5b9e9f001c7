"""What a keypoint tells through each region, its prompt learned through that region.

    PYTHONPATH=. python benchmarks/prompt_stages.py --base runs/bases/common --source label-map=people/ \\
        --source coco-parts=cars/ --json prompt_stages.json

For each region the keypoint's own weights start from the same nothing over a base of `recipes.tables.base` that was
told of no point, and learn on the same photos in the same order. On photos of the `val` split the same points are then
asked for their part: its name, by a linear probe that learned along, and its mask. Scores are of all points, and of
those on thin and on compact parts (as `regions.py` tells them apart); differences are to the first region, of the same
points; intervals are 95% bootstraps over photos.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_scores import share, table
from numpy.typing import NDArray
from regions import THIN, compactness_at

from recipes.mini.examples import Names
from recipes.mini.learn import Probes
from recipes.tables.base import features_of, some_scenes, teach_prompt
from recipes.tables.photos import Seen, see
from talking_points.dataset.sources.loading import load_scenes, parse_sources
from talking_points.evaluation.metrics import mean_interval
from talking_points.evaluation.run import versions
from talking_points.memory import keep_freed_memory
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.config import REGIONS
from talking_points.model.network import PointNetwork
from talking_points.points import square_to_photo
from talking_points.progress import one_line


@torch.no_grad()
def told(network: PointNetwork, probes: Probes, seen: Seen) -> dict[str, NDArray[np.float64]]:
    """For each point of each photo, (N * P,): whether its part is named right (NaN: no probe has the name), and the IoU
    of its mask, over the cells of the mask feature."""
    named, overlaps = [], []
    for n in range(len(seen)):
        photos = torch.tensor([n])
        features = features_of(network, seen, photos)
        numbers_BPF = network.segmenter.encode_points(features, seen.points_NP2[photos])
        query_BPC = numbers_BPF[..., : network.config.vision.width]
        masks_PHW = network.segmenter.mask_decoder.mask_logits(query_BPC, features.decoder_inputs)[0] > 0
        wanted_PHW = seen.parts_NMM[n][None] == (seen.part_NP[n] + 1)[:, None, None]
        both, either = (masks_PHW & wanted_PHW).sum((1, 2)), (masks_PHW | wanted_PHW).sum((1, 2))
        right = (probes.part(numbers_BPF)[0].argmax(-1) == seen.sided_NP[n]).double()
        named.append(torch.where(seen.sided_NP[n] >= 0, right, torch.nan))
        overlaps.append(both / either.clamp(min=1))
    return {"named": torch.cat(named).numpy(), "iou": torch.cat(overlaps).double().numpy()}


def compactness_of(seen: Seen) -> NDArray[np.float64]:
    """(N * P,) of the parts under the points; see `regions.compactness_at`."""
    return np.array(
        [
            compactness_at(scene, tuple(point_px))
            for scene, points_P2 in zip(seen.scenes, seen.points_NP2.numpy(), strict=True)
            for point_px in square_to_photo(points_P2, scene.size_wh).tolist()
        ]
    )


def scored(
    region: str,
    of: dict[str, NDArray[np.float64]],
    first: dict[str, NDArray[np.float64]] | None,
    compactness: NDArray[np.float64],
    photos: Sequence[str],
) -> list[dict[str, Any]]:
    """A region's row on all, thin and compact parts; `first` is what the differences are to."""
    rows = []
    for parts, inside in (("all", compactness >= 0), ("thin", compactness < THIN), ("compact", compactness >= THIN)):
        row: dict[str, Any] = {"region": region, "parts": parts}
        for name, scores in of.items():
            some = np.flatnonzero(inside & ~np.isnan(scores))
            if not some.size:
                continue
            shown = [photos[k] for k in some.tolist()]
            row |= {f"{name} n": len(some), name: share(scores[some], shown)}
            if first is not None:
                gains = 100 * (scores[some] - first[name][some])
                low, high = mean_interval(gains, shown)
                row[f"{name} minus"] = {"value": round(float(gains.mean()), 2), "ci": [round(low, 2), round(high, 2)]}
        rows.append(row)
    return rows


def compared(given: argparse.Namespace) -> dict[str, Any]:
    sources = parse_sources(given.source)
    scenes = some_scenes(load_scenes(sources, "train"), given.photos, given.seed)
    names = Names.of(scenes)
    network = load_checkpoint(given.base, roles=())
    if names.classes != network.config.class_names:
        raise ValueError(f"{given.base} learned other parts than these photos show; give its --source and --photos")
    network.requires_grad_(False).eval()
    seen = see(network, scenes, names, np.random.default_rng([given.seed, 0]))
    held = some_scenes(load_scenes(sources, "val"), given.val_photos, given.seed)
    asked = see(network, held, names, np.random.default_rng([given.seed, 1]))
    photos = [scene.photo_id for scene in asked.scenes for _ in range(asked.points_NP2.shape[1])]
    compactness = compactness_of(asked)
    rows: list[dict[str, Any]] = []
    first = None
    for region in given.region:
        learning = {"steps": given.steps, "count": len(seen), "photos": given.batch, "rate": given.rate}
        probes = teach_prompt(network, names, seen, region, seed=given.seed, **learning)
        of = told(network, probes, asked)
        rows += scored(region, of, first, compactness, photos)
        first = first or of
    titles = {"region": "region", "parts": "parts", "named n": "points", "named": "part named right, %"}
    titles |= {"named minus": "minus the first's", "iou n": "points", "iou": "IoU, %", "iou minus": "minus the first's"}
    return {
        "photos": {"train": len(seen), "val": len(asked)},
        "steps": given.steps,
        "batch": given.batch,
        "seed": given.seed,
        "rows": rows,
        "table": table(rows, titles),
        "versions": versions(),
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="`common` of recipes.tables.base")
    parser.add_argument("--source", action="append", required=True, metavar="NAME=DIR", help="as the base had them")
    parser.add_argument("--photos", type=int, default=600, help="of the train split, as the base had them")
    parser.add_argument("--val-photos", type=int, default=200, help="to ask, in equal shares of the sources")
    parser.add_argument("--region", action="append", choices=REGIONS, help="repeatable; default: all")
    parser.add_argument("--batch", type=int, default=8, help="photos a step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0, help="as the base had it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    given = parser.parse_args(words)
    given.region = given.region or list(REGIONS)
    keep_freed_memory()
    try:
        result = compared(given)
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    print(result["table"])


if __name__ == "__main__":
    main()
