"""What a model's frozen eyes tell of a point: how often a linear probe names the part that it is on.

    python benchmarks/probes.py --data DATA --model mini --json probes.json

Probes learn from points of train photos, and name the parts of points of the `val` split's. Each reads the keypoint's
numbers, and all but the first also what lies at the point elsewhere in the network. If no probe beats the first, more
is not to be had without other eyes. A last row needs no probe: the likeliest name of the heads of names.

DATA holds the sets of `mini_data.SETS`. Means are over sets, intervals 95% bootstraps over photos.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_data import SETS, labelled_sets
from mini_models import load_model
from mini_scores import share, table
from torch import Tensor, nn
from torch.nn import functional as F

from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.model.point_names import PIXEL_STRIDE
from talking_points.part_sides import without_side
from talking_points.photos import letterbox
from talking_points.points import photo_to_square
from talking_points.progress import Progress, one_line

SEEN = {
    "keypoint": ("keypoint",),
    "and all masks at the point": ("keypoint", "masks"),
    "and the pixel decoder there": ("keypoint", "pixel decoder"),
    "and the trunk there": ("keypoint", "trunk"),
}
"""Row to what its probe reads, of what `seen_at` gives."""
LIKELIEST = "nothing: the likeliest name of its heads"
BATCH, EPOCHS, RATE, DROPOUT = 256, 40, 1e-3, 0.3


@torch.inference_mode()
def seen_at(segmenter: Any, photo: Any, points_px: Sequence[tuple[float, float]]) -> dict[str, Tensor]:
    """What the encoder makes of P points of a photo: (P, C) each."""
    pixels_13SS = torch.from_numpy(letterbox(photo, segmenter.config.image_size))[None]
    points_1P2 = torch.from_numpy(photo_to_square(points_px, photo.size)).float()[None]
    stages = segmenter.trunk(pixels_13SS)
    image_hw = (pixels_13SS.shape[-2], pixels_13SS.shape[-1])
    features, masks, _ = segmenter.segment_seen(stages[-1], *segmenter.pixel_decoder(stages), image_hw=image_hw)
    inputs = features.decoder_inputs
    levels = [
        cells.transpose(1, 2).unflatten(2, size) for cells, size in zip(inputs.cells, inputs.sizes_hw, strict=True)
    ]

    def at_points(*maps_1CHW: Tensor) -> Tensor:
        grid_1P12 = 2 * points_1P2[:, :, None] - 1
        found = [F.grid_sample(m, grid_1P12, padding_mode="border", align_corners=False) for m in maps_1CHW]
        return torch.cat([one[0, :, :, 0].T for one in found], dim=1)

    seen = {
        "keypoint": segmenter.encode_keypoints(features, points_1P2)[0],
        "masks": at_points(masks),
        "pixel decoder": at_points(inputs.mask_feature_BCHW, *levels),
        "trunk": at_points(*stages),
    }
    if segmenter.point_names is not None:
        names = slice(2 * segmenter.config.width, 2 * segmenter.config.width + segmenter.config.num_point_names)
        features = replace(features, pixels_B3HW=F.avg_pool2d(pixels_13SS, PIXEL_STRIDE))
        seen["names"] = segmenter.encode_points(features, points_1P2)[0][:, names]
    return seen


def looked(segmenter: Any, data: Path, split: str, points: int, photos: int) -> tuple[dict[str, Tensor], list[Sample]]:
    """Of points drawn in labelled parts: what is seen at each, and the samples, in one order."""
    drawn = [one for _, some in labelled_sets(data, split, points=points, photos=photos) for one in some]
    seen: list[dict[str, Tensor]] = []
    samples: list[Sample] = []
    with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
        for some in by_photo(drawn):
            seen.append(seen_at(segmenter, some[0].open_photo(), [one.point_px for one in some]))
            samples += some
            progress.show(f"{split} points", len(samples), len(drawn))
    return {name: torch.cat([one[name] for one in seen]) for name in seen[0]}, samples


def probed(train_NC: Tensor, parts_N: Tensor, asked_MC: Tensor, classes: int, seed: int = 0) -> Tensor:
    """(M,) classes, by a linear probe of standardised features."""
    torch.manual_seed(seed)
    mean, spread = train_NC.mean(0), train_NC.std(0) + 1e-3
    train_NC, asked_MC = (train_NC - mean) / spread, ((asked_MC - mean) / spread).clamp(-5, 5)
    probe = nn.Linear(train_NC.shape[1], classes)
    steps = max(1, EPOCHS * len(train_NC) // BATCH)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        some = torch.randint(len(train_NC), (BATCH,))
        loss = F.cross_entropy(probe(F.dropout(train_NC[some], DROPOUT)), parts_N[some], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return probe(asked_MC).argmax(1)


def compared(given: argparse.Namespace) -> dict[str, Any]:
    network = load_model(given.model, localizer_only=True, device="cpu").network
    segmenter = network.segmenter
    learned, told = looked(segmenter, given.data, "train", given.points, given.photos)
    asked, samples = looked(segmenter, given.data, "val", given.points, given.val_photos)
    names = sorted({_part(sample) for sample in told})
    parts_N = torch.tensor([names.index(_part(sample)) for sample in told])
    photos, sets = [s.photo_id for s in samples], [s.source for s in samples]
    said_of: dict[str, list[str]] = {}
    for row, read in SEEN.items():
        train_NC, asked_MC = (torch.cat([seen[name] for name in read], dim=1) for seen in (learned, asked))
        said_of[row] = [names[k] for k in probed(train_NC, parts_N, asked_MC, len(names), given.seed).tolist()]
    if "names" in asked:
        said_of[LIKELIEST] = [network.config.point_names[k] for k in asked["names"].argmax(1).tolist()]
    rows: list[dict[str, Any]] = []
    for row, said in said_of.items():
        right = [name == _part(sample) for name, sample in zip(said, samples, strict=True)]
        sideless = [without_side(n) == without_side(_part(s)) for n, s in zip(said, samples, strict=True)]
        rows.append({"read": row, "right": share(right, photos, sets), "sideless": share(sideless, photos, sets)})
        rows[-1] |= {
            name: share(np.array(right)[some], np.array(photos)[some].tolist())
            for name in SETS
            if (some := np.flatnonzero(np.array(sets) == name)).size
        }
    titles = {"read": "the probe reads", "right": "part right, side counted", "sideless": "side not counted"}
    return {
        "points": {"train": len(told), "val": len(samples)},
        "photos": {"train": len({s.photo_id for s in told}), "val": len(set(photos))},
        "names": len(names),
        "seed": given.seed,
        "rows": rows,
        "table": table(rows, titles | {name: name for name in SETS}),
        "versions": versions(),
    }


def _part(sample: Sample) -> str:
    assert sample.facts is not None
    return sample.facts.part_name


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--photos", type=int, default=1400, help="of the train split")
    parser.add_argument("--val-photos", type=int, default=400)
    parser.add_argument("--points", type=int, default=6, help="a photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    given = parser.parse_args(words)
    try:
        result = compared(given)
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    print(result["table"])


if __name__ == "__main__":
    main()
