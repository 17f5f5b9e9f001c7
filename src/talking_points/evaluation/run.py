"""What `talking-points evaluate` runs: a model beside its references, on sets made from part-labelled photos."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import talking_points
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.loading import load_scenes
from talking_points.encoding import EncodedPhotos, PreparedPhoto
from talking_points.evaluation.protocol import (
    Row,
    box_centres,
    describe_samples,
    localize_texts,
    mean_training_point,
    named_shares,
    score,
    swapped,
)
from talking_points.evaluation.report import markdown_tables
from talking_points.evaluation.sets import Sample, check_set, make_set
from talking_points.localizer import PointLocalizer
from talking_points.talking_points import TalkingPoints

log = logging.getLogger(__name__)


def evaluate(
    sources: Mapping[str, Path],
    *,
    split: str,
    sets: Sequence[str],
    model: str,
    blind: Path | None,
    points: int,
    seed: int,
    device: str | None,
    out: Path,
) -> dict[str, Any]:
    """Score a model and its references.

    Args:
        sources: source name to folder.
        split: "val" or "test".
        sets: "plain", "hard".
        model: name or folder.
        blind: checkpoint of a localizer trained with `--blind`, for its row.
        points: of each photo.
        seed: of the sets.
        device: as `TalkingPoints.from_pretrained`.
        out: gets `report.json`, its tables as `report.md`, and `samples.jsonl` with every text, point and error.

    Returns:
        The report.
    """
    for name in sets:
        check_set(name)
    tp = TalkingPoints.from_pretrained(model, device=device)
    blind_localizer = None if blind is None else BlindLocalizer.from_pretrained(blind, device=device)
    scenes = load_scenes(sources, split)
    mean_unit = mean_training_point(load_scenes(sources, "train"), _drawn_points)
    report: dict[str, Any] = {
        "model": model,
        "split": split,
        "seed": seed,
        "photos": len(scenes),
        "versions": {
            "talking_points": talking_points.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "sets": {},
        "texts": {},
    }
    out.mkdir(parents=True, exist_ok=True)
    with (out / "samples.jsonl").open("w") as file:
        for name in sets:
            samples = make_set(name, scenes, points=points, seed=seed)
            if not samples:
                raise ValueError(f"the {split} split has no labelled part to draw a point in")
            log.info("%s: %d points", name, len(samples))
            rows = _rows(tp, blind_localizer, samples, mean_unit, seed)
            report["sets"][name] = [row.summary() for row in rows]
            texts = {row.describer: row.texts for row in rows if row.describer != "none"}
            report["texts"][name] = {describer: named_shares(samples, some) for describer, some in texts.items()}
            for record in _records(name, samples, rows):
                print(json.dumps(record), file=file)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.md").write_text(markdown_tables(report))
    return report


class BlindLocalizer(PointLocalizer):
    """A localizer whose photo is blanked, as it was in its training."""

    def _encode(self, photos: Sequence[PreparedPhoto]) -> EncodedPhotos:
        encoded = super()._encode(photos)
        # All blank photos are the same one.
        return EncodedPhotos(keys=[b"blank"] * len(photos), features=encoded.features.blank())


def _rows(
    tp: TalkingPoints,
    blind: PointLocalizer | None,
    samples: Sequence[Sample],
    mean_unit: np.ndarray,
    seed: int,
) -> list[Row]:
    truth = [s.text for s in samples]
    own = describe_samples(tp, samples)
    sizes = np.array([s.scene.size_wh for s in samples], float)
    rows = [
        score("ground-truth", "localizer", samples, truth, localize_texts(tp, samples, truth)),
        score("descriptor", "localizer", samples, own, localize_texts(tp, samples, own)),
    ]
    if blind is not None:
        rows += [
            score("ground-truth", "blind", samples, truth, localize_texts(blind, samples, truth)),
            score("descriptor", "blind", samples, own, localize_texts(blind, samples, own)),
        ]
    rows += [
        score("ground-truth", "swapped-photo", samples, truth, _swapped_answers(tp, samples, truth, seed)),
        score("ground-truth", "box-centre", samples, truth, box_centres(samples)),
        score("none", "mean-training-point", samples, [""] * len(samples), mean_unit * sizes),
    ]
    return rows


def _swapped_answers(tp: TalkingPoints, samples: Sequence[Sample], texts: Sequence[str], seed: int) -> np.ndarray:
    """Answers on other photos, carried over to the samples' own photos by normalised coordinates."""
    others = swapped(samples, seed=seed)
    found = localize_texts(tp, others, texts)
    theirs = np.array([s.scene.size_wh for s in others], float)
    ours = np.array([s.scene.size_wh for s in samples], float)
    return np.asarray(found / theirs * ours)


def _drawn_points(scene: Scene) -> list[tuple[float, float]]:
    rng = np.random.default_rng(0)
    return [(p.x, p.y) for p in sample_points(scene, 4, rng)] if scene.parts else []


def _records(name: str, samples: Sequence[Sample], rows: Sequence[Row]) -> list[dict[str, Any]]:
    records = []
    for index, sample in enumerate(samples):
        answers = [
            {
                "describer": row.describer,
                "localizer": row.localizer,
                "text": row.texts[index],
                "found_px": [None if np.isnan(v) else round(float(v), 2) for v in row.found_px[index]],
                "error": None if np.isinf(row.errors[index]) else round(float(row.errors[index]), 4),
            }
            for row in rows
        ]
        records.append(
            {
                "set": name,
                "photo": sample.scene.photo_id,
                "size_wh": list(sample.scene.size_wh),
                "point_px": list(sample.point_px),
                "part": sample.scene.parts[sample.part_index].name,
                "answers": answers,
            }
        )
    return records
