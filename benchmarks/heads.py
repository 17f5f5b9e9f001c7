"""Coordinate heads, each beside a blind twin; and a descriptor after reinforcement, beside itself before.

    python benchmarks/heads.py train --data train/points.jsonl --validation val/points.jsonl --out runs/heads
    python benchmarks/heads.py table --runs runs/heads --texts DATA/texts/test.jsonl --data DATA --json heads.json
    python benchmarks/heads.py own --texts DATA/texts/test.jsonl --data DATA --descriptor mini \\
        --descriptor runs/rl/checkpoint --localizer mini --localizer runs/heads/pointer/checkpoint --json rl.json

`train` is `talking-points train localizer` but for two things: every head starts from nothing, where the command starts
a head of the base's own kind from the base's; and what is kept is the best of its looks at validation photos. A blind
twin has the same head and sees one learned set of features in place of any photo. With `--frozen` the head and what
turns [SEG] for it learn alone, over states that are kept (`heads_frozen`). `own` is the base's head from the
base's weights, as the command has it, and `own-blind` the twin of the model that `table` measures beside the runs. All
runs go on in turns, a round of steps each: whenever it ends, the same command with more `--steps` goes on.

Errors are distances in the photo's normalised coordinates, intervals 95% bootstraps over photos, gains paired by photo.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from heads_training import OWN, POINTS, RUNS, Errors, Photos, kept_vision, of_some_photos, train_heads
from mini_data import SETS, read_free_texts, some_photos
from mini_models import described
from mini_scores import located_figures, table

from talking_points.bases.loading import load_role
from talking_points.dataset.sources.loading import load_scenes, parse_sources
from talking_points.evaluation.metrics import mpck_difference
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import drawn_evenly
from talking_points.evaluation.sets import make_set
from talking_points.files import sha256_of
from talking_points.memory import keep_freed_memory
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.progress import one_line, unheard
from talking_points.training.roles import own_device

log = logging.getLogger("heads")
HARD = {"points": 2, "limit": 280}
"""The hard set of mini's model card."""


def measure_heads(given: argparse.Namespace) -> dict[str, Any]:
    """Each head, its blind twin and the gain, on free texts of test photos, long and short, and the hard set."""
    free = some_texts(given)
    sources = parse_sources([f"{kind.partition('.')[0]}={given.data / name}" for name, kind in SETS.items()])
    hard = make_set("hard", load_scenes(sources, "test"), points=HARD["points"], seed=0)
    hard = of_some_photos(drawn_evenly(hard, HARD["limit"], 0), given.photos)
    device = own_device(given.device)
    encoder = load_role(find_checkpoint(given.model), "localizer", device=device)
    vision = kept_vision(encoder, given.runs)
    photos = {"free": Photos([text.where for text in free], encoder, vision), "hard": Photos(hard, encoder, vision)}
    texts = {"long": [text.long for text in free], "short": [text.short for text in free]}
    texts["hard"] = [sample.text or "" for sample in hard]
    runs = {name: given.runs / name / "checkpoint" for head in RUNS for name in (head, f"{head}-blind")}
    readers = {name: folder for name, folder in runs.items() if folder.exists()} | {given.model: None}
    errors: dict[str, dict[str, Errors]] = {}
    for name, folder in readers.items():
        base = encoder if folder is None else load_role(folder, "localizer", device=device)
        log.info("%s reads", name)
        errors[name] = {
            kind: photos["hard" if kind == "hard" else "free"].errors(base, said) for kind, said in texts.items()
        }
    rows = []
    for kind, said in texts.items():
        ids = [sample.photo_id for sample in photos["hard" if kind == "hard" else "free"].samples]
        for name, twin in [(head, f"{head}-blind") for head in RUNS] + [(given.model, f"{OWN}-blind")]:
            if name in errors and twin in errors:
                pair = errors[name][kind], errors[twin][kind]
                seeing, blind = (located_figures(one, ids)["mpck"] for one in pair)
                row = {"head": name, "blind twin of": twin.removesuffix("-blind"), "texts": kind, "n": len(said)}
                rows.append(row | {"seeing": seeing, "blind": blind, "gain": gain(*pair, ids)})
    columns = {
        "head": "head",
        "texts": "texts",
        "n": "number",
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
    """Descriptors' own texts of the free texts' test points, each read by each localizer."""
    free = some_texts(given)
    ids = [text.where.photo_id for text in free]
    device = own_device(given.device)
    first = load_role(find_checkpoint(given.descriptor[0]), "descriptor", device=device)
    photos = Photos([text.where for text in free], first)
    said = {}
    for name in given.descriptor:
        describer = load_role(find_checkpoint(name), "descriptor", device=device)
        said[name] = described(PointDescriptor(describer, cache=photos.cache()), photos.samples, unheard, "")
    errors: dict[str, dict[str, Errors]] = {}
    rows = []
    for reader in given.localizer:
        base = load_role(find_checkpoint(reader), "localizer", device=device)
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
    """The free texts, of at most `--photos` photos."""
    texts = read_free_texts(given.texts, given.data)
    wanted = some_photos((text.where.photo_id for text in texts), given.photos)
    return [text for text in texts if text.where.photo_id in wanted]


def gain(one: Errors, other: Errors, photos: Sequence[str]) -> dict[str, Any]:
    value, low, high = mpck_difference(one, other, photos)
    return {"value": round(value, 2), "ci": [round(low, 2), round(high, 2)]}


def rounded(errors: Errors) -> list[float | None]:
    return [round(float(one), 3) if np.isfinite(one) else None for one in errors]


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train_parser = commands.add_parser("train", help=train_heads.__doc__)
    train_parser.add_argument("--base", default="mini", metavar="M")
    train_parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="points with texts")
    train_parser.add_argument("--validation", type=Path, required=True, metavar="FILE", help="the same, other photos")
    names = [name for head in RUNS for name in (head, f"{head}-blind")]
    train_parser.add_argument("--run", action="append", choices=names, help="these alone; without, all fresh heads")
    train_parser.add_argument(
        "--frozen", action="store_true", help="the head and what turns [SEG] for it learn alone: much faster"
    )
    train_parser.add_argument("--validation-photos", type=int, metavar="N", help="at most so many of these")
    train_parser.add_argument("--steps", type=int, default=480, help="in all")
    train_parser.add_argument(
        "--batch", type=int, default=2, metavar="N", help=f"photos a step, of {POINTS} texts each"
    )
    train_parser.add_argument("--accumulate", type=int, default=1, help="parts of a step")
    train_parser.add_argument("--workers", type=int, default=1, help="processes that read photos")
    train_parser.add_argument("--round", type=int, default=60, help="steps of each run in turn, and between looks")
    train_parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    table_parser = commands.add_parser("table", help=measure_heads.__doc__)
    table_parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="where `train` wrote")
    table_parser.add_argument("--model", default="mini", metavar="M", help="a localizer beside them")
    own_parser = commands.add_parser("own", help=measure_own.__doc__)
    own_parser.add_argument("--descriptor", action="append", required=True, metavar="M")
    own_parser.add_argument("--localizer", action="append", required=True, metavar="M")
    for one in (table_parser, own_parser):
        one.add_argument("--texts", type=Path, required=True, metavar="FILE", help="free texts, JSON lines")
        one.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the seven sets")
        one.add_argument("--json", type=Path, metavar="FILE", help="write figures and errors there")
    for one in (train_parser, table_parser, own_parser):
        one.add_argument("--photos", type=int, metavar="N", help="at most so many")
        one.add_argument("--device", help="default: a GPU if there is one, else the CPU")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    parser = command_line()
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    keep_freed_memory()
    if given.command == "train":
        train_heads(given)
        return
    try:
        result = measure_heads(given) if given.command == "table" else measure_own(given)
    except (ValueError, OSError) as error:
        parser.error(f"{given.command}: {one_line(error)}")
    command = " ".join(["heads.py", *(sys.argv[1:] if words is None else words)])
    result = {"command": command, "versions": versions(), **result}
    print(result.pop("table"))
    if given.json is not None:
        given.json.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
