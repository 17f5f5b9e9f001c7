"""Samples from files: a built set (Parquet), triplets or points without texts (JSON lines), AP-10K, SPair-71k."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from talking_points import sample_files
from talking_points.dataset.selection import Selection, nothing_wanted
from talking_points.dataset.sources import open_source
from talking_points.dataset.store import SPLITS, BuiltSplit
from talking_points.evaluation.samples import Sample
from talking_points.photos import open_photo
from talking_points.points import check_points
from talking_points.records import triplet_of_sample
from talking_points.samples import point_of_record

log = logging.getLogger(__name__)

SPAIR_SPLITS = {"train": "trn", "val": "val", "test": "test"}
AP_10K_SPLITS = ("train", "val", "test")
TRAINING_PHOTOS = 500
"""Enough for a mean point to a hundredth of the photo."""
_T = TypeVar("_T")


def read_samples(
    path: Path, split: str, on_problem: Callable[[str], None], *, cross_photo: bool = False
) -> list[Sample]:
    """Read what is to be scored.

    Args:
        path: folder of a built set, of AP-10K or of SPair-71k, or a file of points (JSON lines, CSV, Parquet, COCO
            keypoints), photos relative to it; a line may leave out the text.
        split: of a folder; "all" is all three of AP-10K's.
        on_problem: told of every line that is passed over, with its number and what is wrong.
        cross_photo: of AP-10K, each keypoint is described on another photo of the species and sought here.

    Raises:
        FileNotFoundError, ValueError: there is nothing to score there; says why.
    """
    problems: list[str] = []

    def passed_over(problem: str) -> None:
        problems.append(problem)
        on_problem(problem)

    if path.is_file():
        samples = _lines(path, passed_over)
    elif (path / "data").is_dir() and any((path / "data").glob("*.parquet")):
        if split not in SPLITS:
            raise ValueError(f"a built set has the splits {', '.join(SPLITS)}, not {split!r}")
        samples = _built(path, split)
    elif (path / "PairAnnotation").is_dir():
        samples = _spair_71k(path, split, passed_over)
    elif path.is_dir():
        samples = _ap_10k(path, split, passed_over)
        samples = _in_pairs(samples) if cross_photo else samples
    else:
        raise FileNotFoundError(f"no such file or folder: {path}")
    if not samples:
        where = f" in its {split} split" if path.is_dir() else ""
        first = f"; the first problem is {problems[0]}" if problems else ""
        raise ValueError(f"{path} holds nothing to score{where}{first}")
    return _counted(samples)


def selected_samples(samples: list[Sample], selection: Selection, where: str) -> list[Sample]:
    """Those on the wanted objects and parts.

    Raises:
        ValueError: there is none; the message says what there is.
    """
    chosen = [
        s
        for s in samples
        if selection.wants_object(s.object_name or "", s.object_category) and selection.wants_part(s.part_name or "")
    ]
    if not chosen:
        names = [name for s in samples for name in (s.object_name, s.object_category) if name]
        raise nothing_wanted(
            selection, where, names + [s.part_name for s in samples if selection.parts and s.part_name]
        )
    return chosen


def mean_training_point(path: Path, selection: Selection) -> np.ndarray | None:
    """(2,) mean of the points of a folder's train split, in the photo's [0, 1]^2: what a constant may know.

    Of AP-10K and SPair-71k, whose photos have to be opened, at most `TRAINING_PHOTOS` photos or pairs are read.

    Args:
        path: as `read_samples` takes it.
        selection: of those on the wanted objects and parts.

    Returns:
        None where nothing is there to learn from: a file has no train split.
    """
    samples: list[Sample] = []
    if path.is_file():
        return None
    if any((path / "data").glob("*.parquet")):
        samples = _built(path, "train") if any((path / "data").glob("train-*.parquet")) else []
    elif (path / "PairAnnotation").is_dir():
        samples = _spair_71k(path, "train", lambda problem: None, most=TRAINING_PHOTOS)
    else:
        try:
            samples = _ap_10k(path, "train", lambda problem: None, most=TRAINING_PHOTOS)
        except (ValueError, OSError):
            # A copy without its train split can be scored, too.
            return None
    units = [
        s.point_unit
        for s in samples
        if selection.wants_object(s.object_name or "", s.object_category) and selection.wants_part(s.part_name or "")
    ]
    return np.mean(units, axis=0) if units else None


def _spread(names: Sequence[_T], most: int | None) -> Sequence[_T]:
    """At most so many of them, at equal steps."""
    return names if most is None else names[:: max(1, -(-len(names) // most))]


def _built(folder: Path, split: str) -> list[Sample]:
    opened = BuiltSplit(folder, split)
    return [
        Sample(
            sample_id=record.record_id,
            photo_id=f"{record.source}/{record.photo_id}",
            open_photo=partial(opened.photo, index),
            size_wh=record.size_wh,
            point_px=record.point_px,
            text=record.text,
            source=record.source,
            object_name=record.object_name,
            object_category=record.object_category,
            part_name=record.part_name,
            object_box_xyxy=record.object_box_xyxy,
            part_box_xyxy=record.part_box_xyxy,
            kind=record.point_kind,
        )
        for index, record in enumerate(opened)
    ]


def _lines(path: Path, on_problem: Callable[[str], None]) -> list[Sample]:
    """Points of a file, see `sample_files`, with what it knows of the object and the part, see `Triplet`."""
    samples = []
    sizes: dict[Path, tuple[int, int]] = {}
    for line in sample_files.read_samples(path, on_note=log.warning):
        try:
            if line.problem is not None:
                raise ValueError(line.problem)
            if line.photo_bytes is not None:
                raise ValueError("the photo lies in the row; give the folder of the built set")
            asked = point_of_record(line.record, wants_text=False)
            photo = path.parent / (asked.photo or "")
            if photo not in sizes:
                sizes[photo] = open_photo(photo).size
            # A point without a text can be described and found; only the true text is not there to compare with.
            has_text = line.record.get("text") is not None
            record = line.record if has_text else {**line.record, "text": "-"}
            triplet = triplet_of_sample(record, sizes[photo])
        except (ValueError, OSError) as error:
            on_problem(f"{path}, line {line.number}: {' '.join(str(error).split())}")
            continue
        samples.append(
            Sample(
                sample_id=f"line {line.number}",
                photo_id=triplet.photo_path,
                open_photo=partial(open_photo, photo),
                size_wh=triplet.size_wh,
                point_px=triplet.point_px,
                text=triplet.text if has_text else None,
                source=triplet.source,
                object_name=triplet.object_name,
                part_name=triplet.part_name,
                object_box_xyxy=triplet.object_box_xyxy,
                part_box_xyxy=triplet.part_box_xyxy,
            )
        )
    return samples


def _ap_10k(folder: Path, split: str, on_problem: Callable[[str], None], *, most: int | None = None) -> list[Sample]:
    """Named keypoints of animals, which have no texts; hidden ones are left out. `most`: photos to read."""
    if split == "all":
        return [sample for one in AP_10K_SPLITS for sample in _ap_10k(folder, one, on_problem)]
    source = open_source("ap-10k", folder, split)
    samples = []
    for photo_id in _spread(source.photo_ids, most):
        try:
            scene = source.read(photo_id)
        except (ValueError, OSError) as error:
            on_problem(" ".join(str(error).split()))
            continue
        for number, point in enumerate(scene.keypoints):
            if point.visible:
                thing = scene.objects[point.object_index]
                samples.append(
                    Sample(
                        sample_id=f"{photo_id}/{number}",
                        photo_id=photo_id,
                        open_photo=partial(open_photo, source.photo_path(photo_id)),
                        size_wh=scene.size_wh,
                        point_px=(point.x, point.y),
                        source="ap-10k",
                        object_name=thing.name,
                        object_category=thing.category,
                        part_name=point.name,
                        object_box_xyxy=thing.box_xyxy,
                        kind="named",
                    )
                )
    return samples


def _in_pairs(samples: list[Sample]) -> list[Sample]:
    """Each keypoint with the one of the same name and species on the next photo that has it, which is described.

    Keypoints that no other photo has are left out.
    """
    alike: dict[tuple[str | None, str | None], list[list[Sample]]] = {}
    for sample in samples:
        photos = alike.setdefault((sample.object_name, sample.part_name), [])
        if not photos or photos[-1][0].photo_id != sample.photo_id:
            photos.append([])
        photos[-1].append(sample)
    described = {
        sample.sample_id: photos[(place + 1) % len(photos)][0]
        for photos in alike.values()
        if len(photos) > 1
        for place, here in enumerate(photos)
        for sample in here
    }
    return [replace(s, described=described[s.sample_id]) for s in samples if s.sample_id in described]


def _spair_71k(folder: Path, split: str, on_problem: Callable[[str], None], *, most: int | None = None) -> list[Sample]:
    """Points of pairs of photos, as SPair-71k is distributed.

        PairAnnotation/{trn,val,test}/*.json
        JPEGImages/<category>/<name>.jpg

    The point of the first photo is described, that of the second sought. Points are (x, y) of pixels.
    `most`: pairs to read.
    """
    if split not in SPAIR_SPLITS:
        raise ValueError(f"SPair-71k has the splits {', '.join(SPAIR_SPLITS)}, not {split!r}")
    samples = []

    # A photo is in many pairs.
    @cache
    def size_of(photo: Path) -> tuple[int, int]:
        return open_photo(photo).size

    for path in _spread(sorted((folder / "PairAnnotation" / SPAIR_SPLITS[split]).glob("*.json")), most):
        try:
            samples += _pair(folder, path, size_of)
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            on_problem(f"{path}: {' '.join(str(error).split()) or type(error).__name__}")
    return samples


def _pair(folder: Path, path: Path, size_of: Callable[[Path], tuple[int, int]]) -> list[Sample]:
    pair = json.loads(path.read_text(encoding="utf-8"))
    category = str(pair["category"])
    sides = []
    for side in ("src", "trg"):
        photo = folder / "JPEGImages" / category / Path(str(pair[f"{side}_imname"])).name
        size_wh = size_of(photo)
        if list(pair[f"{side}_imsize"][:2]) != list(size_wh):
            raise ValueError(f"{photo} is {size_wh}, the pair says {pair[f'{side}_imsize'][:2]}")
        x0, y0, x1, y1 = (float(value) for value in pair[f"{side}_bndbox"])
        sides.append((photo, size_wh, (x0, y0, x1, y1), pair[f"{side}_kps"]))
    (one, one_wh, one_box, one_points), (other, other_wh, other_box, other_points) = sides
    if len(one_points) != len(other_points):
        raise ValueError(f"the photos have {len(one_points)} points and {len(other_points)}; expected pairs")
    samples = []
    for number, (from_px, to_px) in enumerate(zip(one_points, other_points, strict=True)):
        # The file counts pixels; the point is the pixel's centre.
        known = [(float(x) + 0.5, float(y) + 0.5) for x, y in (from_px, to_px)]
        check_points(known[:1], one_wh)
        check_points(known[1:], other_wh)
        described = Sample(
            sample_id=f"{path.stem}/{number}/described",
            photo_id=f"{category}/{one.name}",
            open_photo=partial(open_photo, one),
            size_wh=one_wh,
            point_px=known[0],
            object_box_xyxy=one_box,
        )
        samples.append(
            Sample(
                sample_id=f"{path.stem}/{number}",
                photo_id=f"{category}/{other.name}",
                open_photo=partial(open_photo, other),
                size_wh=other_wh,
                point_px=known[1],
                source="spair-71k",
                object_name=category,
                object_box_xyxy=other_box,
                kind="named",
                described=described,
            )
        )
    return samples


def _counted(samples: list[Sample]) -> list[Sample]:
    """With the number of objects of the same name that the samples of a photo show."""
    boxes = {(s.photo_id, s.object_name, s.object_box_xyxy) for s in samples if s.object_box_xyxy is not None}
    counts = Counter((photo, name) for photo, name, _ in boxes)
    return [replace(s, alike=counts[s.photo_id, s.object_name]) for s in samples]
