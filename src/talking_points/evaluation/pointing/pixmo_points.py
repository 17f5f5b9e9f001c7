"""PixMo-Points' evaluation set (allenai/pixmo-points-eval): web photos, a few words, a mask for all that they name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from talking_points.evaluation.pointing.tasks import (
    Entry,
    Mask,
    PointingTask,
    nearest_pixel,
    points_on_mask,
    text_of,
)
from talking_points.files import sha256_of
from talking_points.photos import open_photo
from talking_points.points import Point, scaled_to_photo

COLUMNS = ("image_url", "image_sha256", "label", "points", "masks")
ROWS_AT_ONCE = 8
"""Rows whose masks are unpacked together."""
CATEGORIES = ("nothing there", "one thing", "several things")
"""Ours: by how many things there are to point at."""


def entries(folder: Path) -> Iterator[Entry]:
    """List the rows of the set, whose photos are there by URL only and lie beside it as local files.

        data/test-*.parquet         as distributed
        images/<image_sha256>.jpg   what `image_url` gave, named by its bytes' SHA-256; any ending, or none

    `points` are in percent of the photo, `masks` of its size, one a point.
    """
    files = sorted((folder / "data").glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"{folder / 'data'} holds no Parquet file")
    if not (folder / "images").is_dir():
        raise FileNotFoundError(f"no such folder: {folder / 'images'}; the photos' files belong there, see the docs")
    photos = {path.stem: path for path in sorted((folder / "images").iterdir())}
    for file in files:
        with _opened(file) as opened:
            number = 0
            for batch in opened.iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
                rows = batch.select(list(COLUMNS[:-1])).to_pylist()
                for row, masks in zip(rows, batch.column("masks"), strict=True):
                    yield f"{file}, row {number}", partial(_read, photos, f"{file.stem}/{number}", row, masks)
                    number += 1


def pixmo_points_scores(task: PointingTask, found_px: ArrayLike) -> dict[str, float]:
    """F1, precision and recall of points against the masks of all that a text names.

    Found and labelled points are matched one to one with the least sum of distances; a found point is right when it is
    on the mask of its labelled one. Where nothing is labelled, no answer scores 100 and any other 0.

    Source: Molmo, olmo/eval/evaluators.py, PointingEval (without the 1e-10 in its F1).
    """
    found, labelled = (np.asarray(points, float).reshape(-1, 2) for points in (found_px, task.labelled_px))
    if not len(labelled) or not len(found):
        return dict.fromkeys(("f1", "precision", "recall"), 0.0 if len(found) or len(labelled) else 100.0)
    distances = np.linalg.norm(found[:, None] - labelled[None], axis=-1)
    pairs = zip(*linear_sum_assignment(distances), strict=True)
    right = sum(bool(points_on_mask(found[i], task.masks[j].pixels(), rounded=True)[0]) for i, j in pairs)
    precision, recall = right / len(found), right / len(task.masks)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


def _opened(file: Path) -> pq.ParquetFile:
    try:
        opened = pq.ParquetFile(file)
    except ValueError as error:
        raise ValueError(f"{file} is no Parquet file: {error}") from None
    missing = [name for name in COLUMNS if name not in opened.schema_arrow.names]
    if missing:
        raise ValueError(f"{file} has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    kind = opened.schema_arrow.field("masks").type
    if str(kind).count("list<") != 3 or "bool" not in str(kind):
        raise ValueError(f"{file}: masks are {kind}; expected lists of lists of lists of bool")
    return opened


def _read(photos: dict[str, Path], task_id: str, row: dict[str, Any], masks: pa.ListScalar) -> list[PointingTask]:
    text, sha256 = text_of(row, "label"), row["image_sha256"]
    if not isinstance(sha256, str) or sha256 not in photos:
        raise FileNotFoundError(f"images/ has no file {sha256} (from {row['image_url']!r:.200})")
    path = photos[sha256]
    if sha256_of(path.read_bytes()) != sha256:
        raise ValueError(f"{path} is another file than was labelled: its SHA-256 is not its name")
    size_wh = open_photo(path).size
    labelled_px = _labelled(row["points"], size_wh)
    # A set of nothing has one empty mask or none.
    kept = _masks(masks, size_wh) if labelled_px else ()
    if len(kept) != len(labelled_px):
        raise ValueError(f"{len(labelled_px)} points and {len(kept)} masks; expected one mask a point")
    perfect_px = tuple(_on_mask(mask, point) for mask, point in zip(kept, labelled_px, strict=True))
    return [
        PointingTask(
            sample_id=task_id,
            photo_id=sha256,
            open_photo=partial(open_photo, path),
            size_wh=size_wh,
            point_px=perfect_px[0] if perfect_px else (math.nan, math.nan),
            text=text,
            source="pixmo-points",
            category=CATEGORIES[min(len(kept), 2)],
            perfect_px=perfect_px,
            masks=kept,
            labelled_px=labelled_px,
        )
    ]


def _labelled(points: Any, size_wh: tuple[int, int]) -> tuple[Point, ...]:
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise ValueError(f"expected a list of points, got {str(points):.100}")
    pairs = [(point.get("x"), point.get("y")) for point in points]
    if not all(isinstance(value, int | float) and 0 <= value <= 100 for pair in pairs for value in pair):
        raise ValueError(f"points must have x and y from 0 to 100, got {str(points):.100}")
    return tuple((float(x), float(y)) for x, y in scaled_to_photo(pairs, size_wh, full_scale=100)) if pairs else ()


def _masks(masks: pa.ListScalar, size_wh: tuple[int, int]) -> tuple[Mask, ...]:
    if not masks.is_valid:
        raise ValueError("there are no masks")
    kept = []
    for number, mask in enumerate(masks):
        rows = mask.values
        if rows is None or rows.null_count or len(set(rows.value_lengths().to_pylist())) != 1:
            raise ValueError(f"mask {number}: expected rows of one length")
        bits = rows.flatten()
        if bits.null_count:
            raise ValueError(f"mask {number}: a pixel is null")
        pixels = np.asarray(bits.to_numpy(zero_copy_only=False), bool).reshape(len(rows), -1)
        try:
            kept.append(Mask.of(pixels, size_wh))
        except ValueError as error:
            raise ValueError(f"mask {number}: {error}") from None
    return tuple(kept)


def _on_mask(mask: Mask, point_px: Point) -> Point:
    """The labelled point, or where that lies beside its mask, the nearest one that is on it."""
    pixels = mask.pixels()
    # Whole numbers: the metric rounds, and they are what rounding leaves alone.
    return point_px if points_on_mask(point_px, pixels, rounded=True)[0] else nearest_pixel(pixels, point_px)
