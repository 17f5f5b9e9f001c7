"""What trainings learn from: points of a built set or of a file, those to learn on and those to watch by."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from talking_points.dataset.selection import Selection
from talking_points.evaluation.data import read_samples, selected_samples
from talking_points.evaluation.samples import Sample, by_photo, check_texts
from talking_points.fields import Fields
from talking_points.model.prompts import Prompts
from talking_points.pages import counted
from talking_points.training.settings import GRPOSettings, RoleSettings

log = logging.getLogger(__name__)


def read_texts(settings: RoleSettings) -> list[Sample]:
    """The training split of a built set, or a file, as far as it has texts and is of the selection.

    Raises:
        FileNotFoundError, ValueError: there is nothing to learn from, or a line of a file is wrong; says which.
    """
    path = settings.data
    if path is None:
        raise ValueError("--data is missing: a set that build-dataset wrote, or a file of points with texts")
    if not path.exists():
        raise FileNotFoundError(f"--data {path}: no such file or folder")
    if path.is_dir() and not any((path / "data").glob("train-*.parquet")):
        raise ValueError(f"{path} holds no built set with a train split; build one with talking-points build-dataset")
    samples = read_samples(path, "train", _refuse, fields=settings.named_fields)
    with_text = [sample for sample in samples if sample.text is not None]
    if 0 < len(with_text) < len(samples):
        log.info("%s: %s without a text left out", path, counted(len(samples) - len(with_text), "point"))
    samples = with_text
    if not samples:
        how = "build it from a source with parts" if path.is_dir() else "name it as text, or say so with --fields"
        raise ValueError(f"no point of {path} has a text; {how}")
    return selected_samples(samples, Selection(objects=settings.objects, parts=settings.parts), _where(path, "train"))


def check_learnt(samples: Sequence[Sample], prompts: Prompts, settings: RoleSettings) -> None:
    """A ValueError where a role's base cannot read a text, such as one that is too long; names the first sample."""
    read = prompts.localize if settings.section == "localizer" else prompts.answer
    check_texts(str(settings.data or "the data"), samples, [sample.text or "" for sample in samples], read)


def read_points(settings: GRPOSettings) -> tuple[list[Sample], list[Sample]]:
    """Points to learn on, and points of other photos to watch by; their texts, if any, are left out.

    Those to watch by are some `settings.held_out_points`, whole photos, the same ones for every seed. Where they are
    taken from what is learnt from, they are a fifth of it at most.

    Raises:
        FileNotFoundError, ValueError: there are no such points, or none is left to learn on.
    """
    if settings.held_out_split is not None and settings.keypoints.is_file():
        raise ValueError(
            f"held_out_split is {settings.held_out_split!r}, and a file has no splits: {settings.keypoints}"
        )
    selection = Selection(objects=settings.objects, parts=settings.parts)
    others = replace(selection, objects=settings.held_out_objects or settings.objects)
    learning = _read(settings.keypoints, settings.split, selection, settings.named_fields)
    watching = _read(settings.keypoints, settings.held_out_split or settings.split, others, settings.named_fields)
    most = settings.held_out_points
    if {sample.sample_id for sample in learning} & {sample.sample_id for sample in watching}:
        most = min(most, max(1, len(watching) // 5))
    held_out = _some_photos(watching, most)
    taken = {sample.photo_id for sample in held_out}
    left = [sample for sample in learning if sample.photo_id not in taken]
    if not left:
        count = len(learning)
        whose = "the photo of the one point is" if count == 1 else f"the photos of all {count} points are"
        raise ValueError(f"{whose} held out; hold out those of another split, or give points of more photos")
    return left, held_out


def _read(path: Path, split: str, selection: Selection, fields: Fields | None) -> list[Sample]:
    samples = read_samples(path, split, lambda problem: log.warning("passed over: %s", problem), fields=fields)
    # Of pairs of photos, each point is described on the photo that it is sought on.
    samples = [replace(sample, text=None, described=None) for sample in samples]
    return selected_samples(samples, selection, _where(path, split))


def _refuse(problem: str) -> None:
    raise ValueError(problem)


def _where(path: Path, split: str) -> str:
    return f"{path}, split {split}," if path.is_dir() else str(path)


def _some_photos(samples: Sequence[Sample], points: int) -> list[Sample]:
    photos = by_photo(samples)
    chosen: list[Sample] = []
    for k in np.random.default_rng(0).permutation(len(photos)):
        if len(chosen) >= points:
            break
        chosen += photos[int(k)]
    return chosen
