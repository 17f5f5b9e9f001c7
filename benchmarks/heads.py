"""Coordinate heads, each beside a blind twin; and a descriptor after reinforcement, beside itself before.

    python benchmarks/heads.py train --data train/points.jsonl --validation val/points.jsonl --out runs/heads
    python benchmarks/heads.py table --runs runs/heads --texts DATA/texts/test.jsonl --data DATA --json heads.json
    python benchmarks/heads.py own --texts DATA/texts/test.jsonl --data DATA --descriptor mini \\
        --descriptor runs/rl/checkpoint --localizer mini --localizer runs/heads/pointer/checkpoint --json rl.json

`train` is `talking-points train localizer` but for two things: every head starts from nothing, where the command starts
a head of the base's own kind from the base's; and what is kept is the best of its looks at validation photos. A blind
twin has the same head and sees one learned set of features in place of any photo. All runs go on in turns, a round of
steps each: whenever it ends, the same command with more `--steps` goes on. Errors are distances in the photo's
normalised coordinates, intervals 95% bootstraps over photos, gains paired by photo. Section "Heads and their blind
twins" of docs/results.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_data import SETS, read_free_texts, some_photos
from mini_models import described, errors_of, located
from mini_scores import located_figures, table
from numpy.typing import NDArray

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.bases.loading import load_base, load_role, save_base
from talking_points.dataset.sources.loading import load_scenes, parse_sources
from talking_points.evaluation.data import read_samples
from talking_points.evaluation.metrics import mpck, mpck_difference
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample, drawn_evenly
from talking_points.evaluation.sets import make_set
from talking_points.files import sha256_of
from talking_points.memory import keep_freed_memory
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.encoding import PhotoCache, encode_photos, prepare_photo
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.progress import unheard
from talking_points.settings import make
from talking_points.training.batches import PointBatches
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.loop import train
from talking_points.training.objectives import localizer_objective
from talking_points.training.roles import attach, role_parameters
from talking_points.training.settings import LocalizerSettings

log = logging.getLogger("heads")
HEADS = ("regression", "mixture", "heatmap", "pointer")
HARD = {"points": 2, "limit": 280}
"""The hard set of mini's model card."""
LENGTH = {"photos": 4, "points": 8, "accumulate": 2, "learning_rate": 1e-3, "schedule": "constant", "warmup_steps": 20}
"""Of every run: 32 texts a step. At a constant rate a round more is the same training, longer."""
Errors = NDArray[np.float64]


class Photos:
    """Photos that went through the frozen encoder once, for all roles over its base."""

    def __init__(self, base: Base, samples: Sequence[Sample]) -> None:
        prepared = {
            s.photo_id: prepare_photo(s.open_photo(), base.side) for s in {s.photo_id: s for s in samples}.values()
        }
        self.samples = [replace(s, open_photo=lambda photo=prepared[s.photo_id]: photo) for s in samples]
        """As they came, their photos prepared."""
        self._features: dict[bytes, PhotoFeatures] = {}
        with torch.inference_mode():
            for photo in prepared.values():
                self._features[photo.key] = encode_photos(base, [photo], PhotoCache(0)).features

    def cache(self) -> PhotoCache:
        """A new one, as what else is kept of photos is each role's own and changes with its weights."""
        cache = PhotoCache(2**62)
        for key, features in self._features.items():
            cache.put("features", key, features)
        return cache

    def errors(self, base: Base, texts: Sequence[str]) -> Errors:
        """(N,) normalised distances of what a base's localizer finds from a text about each sample's photo."""
        found = located(PointLocalizer(base, cache=self.cache()), self.samples, texts, unheard, "")
        return errors_of(self.samples, found)


# Training


def train_heads(given: argparse.Namespace) -> None:
    """All heads, seeing and blind, on the same texts for the same steps."""
    folder = find_checkpoint(given.base)
    encoder = load_base(folder, roles=("localizer",))
    vision = FrozenVision(encoder, "localizer", FeatureCache(given.out / "features", 2**36))
    samples = of_some_photos(read_samples(given.data, "train", log.warning), given.photos)
    watched = of_some_photos(read_samples(given.validation, "val", log.warning), given.validation_photos)
    validation = Photos(encoder, watched)
    log.info("%d texts to learn from, %d of validation", len(samples), len(validation.samples))
    for steps in range(given.round, given.steps + 1, given.round):
        for head in given.head or HEADS:
            for blind in (False, True):
                told = {"base": given.base, "data": given.data, "head": head, "blind": blind, "steps": steps}
                told |= {"out": given.out / (f"{head}-blind" if blind else head), "save_every": steps}
                train_head(make(LocalizerSettings, told | LENGTH), samples, validation, vision)


def of_some_photos(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    """Samples of at most so many photos, drawn at random, the same ones each time."""
    photos = sorted({sample.photo_id for sample in samples})
    wanted = {photos[int(k)] for k in np.random.default_rng(0).permutation(len(photos))[:most]}
    return [sample for sample in samples if sample.photo_id in wanted]


def train_head(
    settings: LocalizerSettings, samples: Sequence[Sample], validation: Photos, vision: FrozenVision
) -> None:
    """Train one localizer from where its last round ended, look, and save it if it is the best so far."""
    seen_path = settings.out / "validation.json"
    scores: dict[str, float] = json.loads(seen_path.read_text()) if seen_path.exists() else {}
    if str(settings.steps) in scores:
        return
    base: Any = load_base(find_checkpoint(settings.base), roles=())
    # A head of another kind is drawn anew: without this the base's own kind would start from the base's weights.
    base.change(head="mixture" if settings.head == "regression" else "regression")
    attach(base, settings)
    train(
        base.role_modules("localizer"),
        role_parameters(base, "localizer"),
        PointBatches(samples, settings, side=base.side),
        # Without texts of absent things, of which a regression cannot learn.
        lambda batch: localizer_objective(base, replace(batch, absent_texts=[]), vision),
        settings,
        settings.out / "training",
    )
    texts = [sample.text or "" for sample in validation.samples]
    scores[str(settings.steps)] = score = round(mpck(validation.errors(base, texts)), 2)
    log.info("%s, %d steps: validation mPCK %.2f", settings.out, settings.steps, score)
    if score == max(scores.values()):
        save_base(base, settings.out / "checkpoint")
    seen_path.write_text(json.dumps(scores) + "\n")


# Measuring


def measure_heads(given: argparse.Namespace) -> dict[str, Any]:
    """Each head, its blind twin and the gain, on people's texts of test photos, long and short, and the hard set."""
    free = some_texts(given)
    sources = parse_sources([f"{kind.partition('.')[0]}={given.data / name}" for name, kind in SETS.items()])
    hard = make_set("hard", load_scenes(sources, "test"), points=HARD["points"], seed=0)
    hard = of_some_photos(drawn_evenly(hard, HARD["limit"], 0), given.photos)
    encoder = load_role(find_checkpoint(given.model), "localizer")
    photos = {"free": Photos(encoder, [text.where for text in free]), "hard": Photos(encoder, hard)}
    texts = {"long": [text.long for text in free], "short": [text.short for text in free]}
    texts["hard"] = [sample.text or "" for sample in hard]
    runs = {name: given.runs / name / "checkpoint" for head in HEADS for name in (head, f"{head}-blind")}
    readers = {name: folder for name, folder in runs.items() if folder.exists()} | {given.model: None}
    errors: dict[str, dict[str, Errors]] = {}
    for name, folder in readers.items():
        base = encoder if folder is None else load_role(folder, "localizer")
        log.info("%s reads", name)
        errors[name] = {
            kind: photos["hard" if kind == "hard" else "free"].errors(base, said) for kind, said in texts.items()
        }
    rows = []
    for kind, said in texts.items():
        ids = [sample.photo_id for sample in photos["hard" if kind == "hard" else "free"].samples]
        for name, twin in [(head, f"{head}-blind") for head in HEADS] + [(given.model, f"{given.head_of_model}-blind")]:
            if name in errors and twin in errors:
                pair = errors[name][kind], errors[twin][kind]
                seeing, blind = (located_figures(one, ids)["mpck"] for one in pair)
                row = {"head": name, "blind twin of": twin.removesuffix("-blind"), "texts": kind, "n": len(said)}
                rows.append(row | {"seeing": seeing, "blind": blind, "gain": gain(*pair, ids)})
    columns = {
        "head": "head",
        "texts": "texts",
        "n": "texts",
        "seeing": "mPCK",
        "blind": "its blind twin",
        "gain": "gain",
    }
    return {
        "photos": {name: len({s.photo_id for s in one.samples}) for name, one in photos.items()},
        "sha256": {kind: sha256_of(said) for kind, said in texts.items()},
        "validation": {
            name: json.loads((given.runs / name / "validation.json").read_text()) for name in errors if name in runs
        },
        "rows": rows,
        "errors": {name: {kind: rounded(one) for kind, one in some.items()} for name, some in errors.items()},
        "table": table(rows, columns),
    }


def measure_own(given: argparse.Namespace) -> dict[str, Any]:
    """Descriptors' own texts of people's test points, each read by each localizer."""
    free = some_texts(given)
    ids = [text.where.photo_id for text in free]
    photos = Photos(load_role(find_checkpoint(given.descriptor[0]), "descriptor"), [text.where for text in free])
    said = {}
    for name in given.descriptor:
        describer = PointDescriptor(load_role(find_checkpoint(name), "descriptor"), cache=photos.cache())
        said[name] = described(describer, photos.samples, unheard, "")
    errors: dict[str, dict[str, Errors]] = {}
    rows = []
    for reader in given.localizer:
        base = load_role(find_checkpoint(reader), "localizer")
        errors[reader] = {name: photos.errors(base, texts) for name, texts in said.items()}
        for name, one in errors[reader].items():
            row = {"descriptor": name, "reader": reader, "n": len(free), **located_figures(one, ids)}
            before = errors[reader][given.descriptor[0]]
            rows.append(row | ({} if one is before else {"gain": gain(one, before, ids)}))
    columns = {"descriptor": "descriptor", "reader": "read by", "n": "texts", "mpck": "mPCK", "pck@0.1": "PCK@0.1"}
    return {
        "photos": len(set(ids)),
        "words": {name: float(np.mean([len(text.split()) for text in texts])) for name, texts in said.items()},
        "rows": rows,
        "texts": said,
        "errors": {reader: {name: rounded(one) for name, one in some.items()} for reader, some in errors.items()},
        "table": table(rows, columns | {"gain": "against the first"}),
    }


def some_texts(given: argparse.Namespace) -> list[Any]:
    """People's texts, of at most `--photos` photos."""
    texts = read_free_texts(given.texts, given.data)
    wanted = some_photos((text.where.photo_id for text in texts), given.photos)
    return [text for text in texts if text.where.photo_id in wanted]


def gain(one: Errors, other: Errors, photos: Sequence[str]) -> dict[str, Any]:
    value, low, high = mpck_difference(one, other, photos)
    return {"value": round(value, 2), "ci": [round(low, 2), round(high, 2)]}


def rounded(errors: Errors) -> list[float | None]:
    return [round(float(one), 3) if np.isfinite(one) else None for one in errors]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train_parser = commands.add_parser("train", help=train_heads.__doc__)
    train_parser.add_argument("--base", default="mini", metavar="M")
    train_parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="points with texts")
    train_parser.add_argument("--validation", type=Path, required=True, metavar="FILE", help="the same, other photos")
    train_parser.add_argument("--head", action="append", choices=HEADS, help="these alone; all unless given")
    train_parser.add_argument("--validation-photos", type=int, metavar="N", help="at most so many of these")
    train_parser.add_argument("--steps", type=int, default=480, help="of 32 texts")
    train_parser.add_argument("--round", type=int, default=32, help="steps of each run in turn, and between looks")
    train_parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    table_parser = commands.add_parser("table", help=measure_heads.__doc__)
    table_parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="where `train` wrote")
    table_parser.add_argument("--model", default="mini", metavar="M", help="a localizer beside them")
    table_parser.add_argument("--head-of-model", default="heatmap", choices=HEADS)
    own_parser = commands.add_parser("own", help=measure_own.__doc__)
    own_parser.add_argument("--descriptor", action="append", required=True, metavar="M")
    own_parser.add_argument("--localizer", action="append", required=True, metavar="M")
    for one in (table_parser, own_parser):
        one.add_argument("--texts", type=Path, required=True, metavar="FILE", help="people's texts, JSON lines")
        one.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the seven sets")
        one.add_argument("--json", type=Path, metavar="FILE", help="write figures and errors there")
    for one in (train_parser, table_parser, own_parser):
        one.add_argument("--photos", type=int, metavar="N", help="at most so many")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    given = arguments(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    keep_freed_memory()
    if given.command == "train":
        train_heads(given)
        return
    result = measure_heads(given) if given.command == "table" else measure_own(given)
    command = " ".join(["heads.py", *(sys.argv[1:] if words is None else words)])
    result = {"command": command, "versions": versions(), **result}
    print(result.pop("table"))
    if given.json is not None:
        given.json.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
