"""Does a region that is not round help a descriptor on thin parts?

    talking-points train descriptor --data points.jsonl --base mini --region anisotropic --out runs/anisotropic
    python benchmarks/regions.py --data DATA --model mini --out runs/regions.json \\
        --descriptor gaussian=runs/gaussian/checkpoint --descriptor anisotropic=runs/anisotropic/checkpoint

Descriptors that were trained alike but for `--region` describe the same points of validation photos; the model's
localizer finds them again. Scores are of all points, and of those on thin and on compact parts; differences are to the
first descriptor, of the same points; intervals are 95% bootstraps over photos.

DATA holds the sets of `mini_data.SETS`. A part is what its label shows around the point, in one piece. Its compactness
is its area over the square of its longest diameter: 0.79 for a disc, 0.5 for a square, 0.24 for a strip four times as
long as wide. Below `THIN` it is thin.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mini_data import labelled_sets, source_of
from mini_models import described, errors_of, load_model, located
from mini_scores import located_figures, table
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from talking_points.dataset.scene import Scene
from talking_points.evaluation.metrics import mpck_difference
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample
from talking_points.progress import OnProgress, Progress, one_line

THIN = 0.25
"""Parts that are less compact than this are thin."""


def compactness_at(scene: Scene, point_px: tuple[float, float]) -> float:
    """Of the piece of a labelled part that holds a point: its area over its squared longest diameter.

    Raises:
        ValueError: the point is on no part.
    """
    part = scene.part_index_at(point_px)
    if part is None:
        raise ValueError(f"point {point_px} of {scene.photo_id} is on no part; draw points on parts")
    _, pieces = cv2.connectedComponents((scene.part_map == part + 1).astype(np.uint8))
    height, width = pieces.shape
    piece = pieces == pieces[min(int(point_px[1]), height - 1), min(int(point_px[0]), width - 1)]
    corners = cv2.convexHull(np.argwhere(piece).astype(np.int32)).reshape(-1, 2)
    # From pixel to pixel, and half of one at each end.
    diameter = 1 + (float(pdist(corners).max()) if len(corners) > 1 else 0.0)
    return float(piece.sum()) / diameter**2


def shapes_of(data: Path, split: str, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """(N,) compactness of the parts that samples of `labelled_sets` are on."""

    @lru_cache(maxsize=1)
    def scene_of(photo: str) -> Scene:
        name, _, photo_id = photo.partition("/")
        return source_of(data, name, split).read(photo_id)

    return np.array([compactness_at(scene_of(sample.photo_id), sample.point_px) for sample in samples])


def scored(
    name: str,
    errors: NDArray[np.float64],
    first: NDArray[np.float64] | None,
    compactness: NDArray[np.float64],
    photos: Sequence[str],
) -> list[dict[str, Any]]:
    """Figures of a descriptor's (N,) errors on all, thin and compact parts, and their differences to the first's."""
    rows = []
    for parts, inside in (("all", compactness >= 0), ("thin", compactness < THIN), ("compact", compactness >= THIN)):
        some = np.flatnonzero(inside)
        if not some.size:
            continue
        of = [photos[k] for k in some.tolist()]
        row = {
            "region": name,
            "parts": parts,
            "n": len(some),
            "photos": len(set(of)),
            **located_figures(errors[some], of),
        }
        if first is not None:
            value, low, high = mpck_difference(errors[some], first[some], of)
            row["difference"] = {"value": round(value, 2), "ci": [round(low, 2), round(high, 2)]}
        rows.append(row)
    return rows


def compared(given: argparse.Namespace, show: OnProgress) -> dict[str, Any]:
    """What each descriptor's texts lead to."""
    from talking_points.pointing.descriptor import PointDescriptor

    sets = labelled_sets(given.data, given.split, points=given.points, photos=given.photos, seed=given.seed)
    samples = [sample for _, some in sets for sample in some]
    photos = [sample.photo_id for sample in samples]
    compactness = shapes_of(given.data, given.split, samples)
    texts: dict[str, list[str]] = {}
    for name, folder in given.descriptor.items():
        descriptor = PointDescriptor.from_pretrained(folder, device=given.device)
        texts[name] = described(descriptor, samples, show, name)
    # All texts together: each photo is looked at once.
    everywhere, said = samples * len(texts), [text for some in texts.values() for text in some]
    localizer = load_model(given.model, localizer_only=True, device=given.device)
    errors_RN = errors_of(everywhere, located(localizer, everywhere, said, show, "points")).reshape(len(texts), -1)
    rows: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for k, (name, some) in enumerate(texts.items()):
        rows += scored(name, errors_RN[k], errors_RN[0] if k else None, compactness, photos)
        lines += [
            {"region": name, "photo": s.photo_id, "point_px": s.point_px, "part": s.part_name}
            | {"compactness": round(float(shape), 4), "text": text, "error": round(float(error), 5)}
            for s, shape, text, error in zip(samples, compactness, some, errors_RN[k], strict=True)
        ]
    titles = {"region": "region", "parts": "parts", "n": "points", "photos": "photos", "mpck": "mPCK"}
    titles |= {"pck@0.1": "PCK@0.1", "pck@0.2": "PCK@0.2", "difference": "mPCK minus the first's"}
    return {"rows": rows, "table": table(rows, titles), "answers": lines}


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the sets")
    parser.add_argument("--split", choices=("train", "val", "test"), default="val")
    parser.add_argument("--points", type=int, default=2, help="of a photo")
    parser.add_argument("--photos", type=int, help="at most, evenly of all sets")
    parser.add_argument("--seed", type=int, default=0, help="of the points")
    parser.add_argument("--model", default="mini", metavar="M", help="whose localizer reads the texts")
    parser.add_argument("--descriptor", action="append", required=True, metavar="NAME=DIR", help="repeatable")
    parser.add_argument("--device", help="default: a GPU if there is one, else the CPU")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="figures and every answer, JSON")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    parser = command_line()
    given = parser.parse_args(words)
    given.descriptor = dict(one.partition("=")[::2] for one in given.descriptor)
    if wrong := [name for name, folder in given.descriptor.items() if not folder]:
        parser.error(f"--descriptor is {wrong[0]!r}; give NAME=DIR")
    try:
        with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
            result = compared(given, progress.show)
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    shown = result.pop("table")
    header = {
        "command": " ".join(["regions.py", *(sys.argv[1:] if words is None else words)]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    given.out.write_text(json.dumps({**header, **result}, indent=1) + "\n", encoding="utf-8")
    print(shown)


if __name__ == "__main__":
    main()
