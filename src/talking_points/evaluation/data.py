"""Samples from files: a built set (Parquet), points with or without texts (any form of `sample_files`), SPair-71k."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.selection import Selection, nothing_wanted
from talking_points.dataset.store import SPLITS, BuiltSplit
from talking_points.evaluation.samples import Sample
from talking_points.fields import Fields
from talking_points.photos import open_photo
from talking_points.points import check_point
from talking_points.progress import one_line
from talking_points.sample_files import SizeOf, read_points
from talking_points.samples import PhotoPoint

log = logging.getLogger(__name__)

SPAIR_SPLITS = {"train": "trn", "val": "val", "test": "test"}
OnProblem = Callable[[str], None]


def _read(path: Path, split: str, on_problem: OnProblem, fields: Fields | None = None) -> list[Sample]:
    """Samples of a file, or of a split of a folder, by what is in it."""
    if path.is_file():
        return _lines(path, on_problem, fields)
    if fields is not None and path.is_dir():
        raise ValueError(f"--fields is said of the records of a file, and {path} is a folder")
    if any((path / "data").glob("*.parquet")):
        return _built(path, split)
    if (path / "PairAnnotation").is_dir():
        return _spair_71k(path, split, on_problem)
    if path.is_dir():
        raise ValueError(
            f"{path} holds neither a built set nor SPair-71k; of AP-10K and other COCO keypoints give the .json"
        )
    raise FileNotFoundError(f"no such file or folder: {path}")


def read_samples(
    path: Path, split: str, on_problem: OnProblem, *, cross_photo: bool = False, fields: Fields | None = None
) -> list[Sample]:
    """Read what is to be scored.

    Args:
        path: folder of a built set or of SPair-71k, or a file of points (JSON lines, CSV, Parquet, COCO keypoints as
            AP-10K's), photos relative to it; a line may leave out the text.
        split: of a folder.
        on_problem: told of every line that is passed over, with its number and what is wrong.
        cross_photo: of a file, each point is described on another photo with the same part of such an object, and
            sought here.
        fields: of a file, what its records call photo, point and text; None: as ours do.

    Raises:
        FileNotFoundError, ValueError: there is nothing to score there; says why.
    """
    if cross_photo and (path / "data").is_dir():
        raise ValueError(f"--cross-photo is for files of points, SPair-71k and --source, and {path} is a built set")
    problems: list[str] = []
    samples = _read(path, split, problems.append, fields)
    for problem in problems:
        on_problem(problem)
    if not samples:
        where = f" in its {split} split" if path.is_dir() else ""
        first = f"; the first problem is {problems[0]}" if problems else ""
        raise ValueError(f"{path} holds no points{where}{first}")
    if cross_photo and path.is_file():
        samples = _in_pairs(samples)
        if not samples:
            raise ValueError(f"{path} shows no part_name of an object_name on two photos, as cross-photo pairs need")
    boxes = {(s.photo_id, s.object_name, s.object_box_xyxy) for s in samples if s.object_box_xyxy is not None}
    counts = Counter((photo, name) for photo, name, _ in boxes)
    return [replace(s, alike=counts[s.photo_id, s.object_name]) for s in samples]


def selected_samples(samples: list[Sample], selection: Selection, where: str) -> list[Sample]:
    """Those on the wanted objects and parts. A ValueError when there is none says what there is."""
    chosen = [sample for sample in samples if _is_selected(sample, selection)]
    if not chosen:
        names = [name for s in samples for name in (s.object_name, s.object_category) if name]
        parts = [s.part_name for s in samples if selection.parts and s.part_name]
        raise nothing_wanted(selection, where, names + parts)
    return chosen


def _is_selected(sample: Sample, selection: Selection) -> bool:
    is_object = selection.wants_object(sample.object_name or "", sample.object_category)
    return is_object and selection.wants_part(sample.part_name or "")


def mean_training_point(path: Path, selection: Selection) -> np.ndarray | None:
    """(2,) mean of the selected points of a folder's train split, in the photo's [0, 1]^2: what a constant may know.

    None where nothing is there to learn from: a file has no train split, and a folder need not have one.
    """
    if path.is_file():
        return None
    try:
        samples = _read(path, "train", lambda problem: None)
    except (ValueError, OSError):
        return None
    units = [sample.point_unit for sample in samples if _is_selected(sample, selection)]
    return np.mean(units, axis=0) if units else None


def _built(folder: Path, split: str) -> list[Sample]:
    if split not in SPLITS:
        raise ValueError(
            f"a built set has the splits {', '.join(SPLITS)}, not {split!r}; photos to choose by are its source's: "
            "--source NAME=DIR --split val"
        )
    opened = BuiltSplit(folder, split)
    return [
        Sample.of(
            record,
            sample_id=record.record_id,
            photo_id=f"{record.source}/{record.photo_id}",
            open_photo=partial(opened.photo, index),
            size_wh=record.size_wh,
            kind=record.point_kind,
        )
        for index, record in enumerate(opened)
    ]


def _lines(path: Path, on_problem: OnProblem, fields: Fields | None) -> list[Sample]:
    """Points of a file, see `sample_files`, without those that something hides; of a file that marks each so, all."""
    points = read_points(path, on_problem=on_problem, on_note=log.warning, size_of=size_of_opened, fields=fields)
    samples = [sample_of(point, path.parent) for point in points]
    # A hidden point's place was estimated: nobody could find it in the photo.
    seen = [sample for sample in samples if not sample.hidden] or samples
    if len(seen) < len(samples):
        log.info("%s: %d hidden points are left out", path, len(samples) - len(seen))
    return seen


def size_of_opened(photo: Path) -> tuple[int, int]:
    """Width and height of a photo once it is known to be whole: a broken one is told before a model is asked."""
    return open_photo(photo).size


def sample_of(point: PhotoPoint, folder: Path) -> Sample:
    """A point of a file in a folder, as `sample_files` reads it."""
    assert point.photo is not None
    opened = partial(open_photo, folder / point.photo)
    return Sample.of(point, sample_id=f"line {point.line}", photo_id=point.photo, open_photo=opened)


def _in_pairs(samples: list[Sample]) -> list[Sample]:
    """Each point with the one of the same part of such an object on the next photo that has it, which is described.

    Points that no other photo has are left out, as are those whose object or part has no name.
    """
    alike: dict[tuple[str, str], dict[str, list[Sample]]] = {}
    for sample in samples:
        if sample.object_name and sample.part_name:
            alike.setdefault((sample.object_name, sample.part_name), {}).setdefault(sample.photo_id, []).append(sample)
    described: dict[str, Sample] = {}
    for of_photo in alike.values():
        photos = list(of_photo.values())
        for here, other in zip(photos, [*photos[1:], photos[0]], strict=True):
            described |= {sample.sample_id: other[0] for sample in here if len(photos) > 1}
    pairs = [(s, described[s.sample_id]) for s in samples if s.sample_id in described]
    return [replace(s, described=other, text=other.text) for s, other in pairs]


def _spair_71k(folder: Path, split: str, on_problem: OnProblem) -> list[Sample]:
    """Points of pairs of photos, as SPair-71k is distributed.

        PairAnnotation/{trn,val,test}/*.json
        JPEGImages/<category>/<name>.jpg

    The point of the first photo is described, that of the second sought. Points are (x, y) of pixels.
    """
    if split not in SPAIR_SPLITS:
        raise ValueError(f"SPair-71k has the splits {', '.join(SPAIR_SPLITS)}, not {split!r}")
    # A photo is in many pairs.
    size_of = cache(size_of_opened)
    samples = []
    for path in sorted((folder / "PairAnnotation" / SPAIR_SPLITS[split]).glob("*.json")):
        try:
            pair = json.loads(path.read_text(encoding="utf-8"))
            described, sought = (_side_of_pair(folder, path.stem, pair, side, size_of) for side in ("src", "trg"))
            if len(described) != len(sought):
                raise ValueError(f"the photos have {len(described)} points and {len(sought)}; expected pairs")
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            on_problem(f"{path}: {one_line(error)}")
            continue
        for here, there in zip(described, sought, strict=True):
            samples.append(replace(there, described=replace(here, sample_id=f"{here.sample_id}/described")))
    return samples


def _side_of_pair(folder: Path, name: str, pair: Any, side: str, size_of: SizeOf) -> list[Sample]:
    """The points of one photo of a pair, "src" or "trg"."""
    category = str(pair["category"])
    photo = folder / "JPEGImages" / category / Path(str(pair[f"{side}_imname"])).name
    size_wh = size_of(photo)
    if list(pair[f"{side}_imsize"][:2]) != list(size_wh):
        raise ValueError(f"{photo} is {size_wh}, the pair says {pair[f'{side}_imsize'][:2]}")
    x0, y0, x1, y1 = (float(value) for value in pair[f"{side}_bndbox"])
    return [
        Sample(
            sample_id=f"{name}/{number}",
            photo_id=f"{category}/{photo.name}",
            open_photo=partial(open_photo, photo),
            size_wh=size_wh,
            # The file counts pixels; the point is the pixel's centre.
            point_px=check_point((float(x) + 0.5, float(y) + 0.5), size_wh),
            source="spair-71k",
            object_name=category,
            object_box_xyxy=(x0, y0, x1, y1),
            kind="named",
        )
        for number, (x, y) in enumerate(pair[f"{side}_kps"])
    ]
