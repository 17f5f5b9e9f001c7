"""Samples from files: a set of the builder (Parquet), triplets (JSON lines), AP-10K."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from talking_points.dataset.parquet import SPLITS, BuiltSplit
from talking_points.dataset.sources import open_source
from talking_points.evaluation.samples import Sample
from talking_points.images import open_photo
from talking_points.records import triplet_from_dict


def read_samples(path: Path, split: str, on_problem: Callable[[str], None]) -> list[Sample]:
    """Read what is to be scored.

    Args:
        path: folder of a built set or of AP-10K, or a JSON-lines file of triplets, photos relative to it.
        split: of a folder.
        on_problem: told of every line that is passed over, with its number and what is wrong.

    Raises:
        FileNotFoundError, ValueError: there is nothing to score there; says why.
    """
    if path.is_file():
        samples = _triplets(path, on_problem)
    elif (path / "data").is_dir() and any((path / "data").glob("*.parquet")):
        if split not in SPLITS:
            raise ValueError(f"a built set has the splits {', '.join(SPLITS)}, not {split!r}")
        samples = _built(path, split)
    elif path.is_dir():
        samples = _ap_10k(path, split, on_problem)
    else:
        raise FileNotFoundError(f"no such file or folder: {path}")
    if not samples:
        raise ValueError(f"{path} holds nothing to score" + (f" in its {split} split" if path.is_dir() else ""))
    return _counted(samples)


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
            part_name=record.part_name,
            object_box_xyxy=record.object_box_xyxy,
            part_box_xyxy=record.part_box_xyxy,
            kind=record.point_kind,
        )
        for index, record in enumerate(opened)
    ]


def _triplets(path: Path, on_problem: Callable[[str], None]) -> list[Sample]:
    samples = []
    sizes: dict[Path, tuple[int, int]] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                triplet = triplet_from_dict(json.loads(line))
                photo = path.parent / triplet.photo_path
                if photo not in sizes:
                    sizes[photo] = open_photo(photo).size
                if sizes[photo] != triplet.size_wh:
                    raise ValueError(f"the photo is {sizes[photo]}, the line says {triplet.size_wh}")
            except (ValueError, OSError, RecursionError) as error:
                on_problem(f"{path}, line {number}: {' '.join(str(error).split())}")
                continue
            samples.append(
                Sample(
                    sample_id=f"line {number}",
                    photo_id=triplet.photo_path,
                    open_photo=partial(open_photo, photo),
                    size_wh=triplet.size_wh,
                    point_px=triplet.point_px,
                    text=triplet.text,
                    source=triplet.source,
                    object_name=triplet.object_name,
                    part_name=triplet.part_name,
                    object_box_xyxy=triplet.object_box_xyxy,
                    part_box_xyxy=triplet.part_box_xyxy,
                )
            )
    return samples


def _ap_10k(folder: Path, split: str, on_problem: Callable[[str], None]) -> list[Sample]:
    """Named keypoints of animals, which have no texts; hidden ones are left out."""
    source = open_source("ap-10k", folder, split)
    samples = []
    for photo_id in source.photo_ids:
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
                        part_name=point.name,
                        object_box_xyxy=thing.box_xyxy,
                        kind="named",
                    )
                )
    return samples


def _counted(samples: list[Sample]) -> list[Sample]:
    """With the number of objects of the same name that the samples of a photo show."""
    boxes = {(s.photo_id, s.object_name, s.object_box_xyxy) for s in samples if s.object_box_xyxy is not None}
    counts = Counter((photo, name) for photo, name, _ in boxes)
    return [replace(s, alike=counts[s.photo_id, s.object_name]) for s in samples]
