r"""What somebody who looks finds of the rules' true texts, that is how much these tell, beside what a model finds.

    python benchmarks/true_texts.py --data DATA --set hard --split test --photos 140 --out runs/hard
    python benchmarks/true_texts.py --data DATA --set hard --split test --photos 140 --out runs/hard \
        --read answers.jsonl

The first writes sheets for a reader, the second scores the answers and asks the model of the same points: one of each
photo; with `--split test` those of the model card's `evaluate` (2 points a photo, 280 of a set, seed 0). A true text of
the "hard" set says which part of which thing it means, mostly without a place in the photo; it may fit several.
Intervals are 95% bootstraps over photos.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mini_data import SETS
from mini_models import errors_of, load_model, located
from mini_scores import located_figures, table
from mini_sheets import read_answers, write_sheets

from talking_points.evaluation.metrics import mpck_difference, normalised_errors
from talking_points.evaluation.run import sets_of_sources
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.evaluation.settings import EvaluationSettings
from talking_points.progress import OnProgress, Progress, one_line

POINTS, LIMIT, SEED = 2, 280, 0
"""Of the model card's command."""


def drawn(data: Path, name: str, split: str, photos: int, show: OnProgress) -> list[Sample]:
    """One sample of each of at most so many photos of a set."""
    sources = tuple(f"{kind.partition('.')[0]}={data / folder}" for folder, kind in SETS.items())
    settings = EvaluationSettings(
        source=sources, sets=(name,), split=split, points=POINTS, limit=LIMIT, seed=SEED, out=Path()
    )
    [made] = sets_of_sources(settings, show)
    groups = by_photo(made.samples)
    some = np.random.default_rng(SEED).permutation(len(groups))[:photos]
    return [groups[k][0] for k in sorted(some.tolist())]


def read_found(out: Path, answers: Path) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The key of sheets, and where a reader found the texts, as `read_answers` has them; ValueError if nowhere."""
    key, found, _, _ = read_answers(out, answers)
    if np.isnan(found).all():
        raise ValueError(f"{answers} says nowhere where a text leads; give the answers of who read `find`")
    return key, found


def compared(
    given: argparse.Namespace,
    key: list[dict[str, Any]],
    found: np.ndarray,
    samples: list[Sample],
    show: OnProgress,
) -> dict[str, Any]:
    """A reader's answers, as `read_found` has them, and a model's to the same texts."""
    points, sizes = [s.point_px for s in samples], [s.size_wh for s in samples]
    texts = [s.text or "" for s in samples]
    if [(line["text"], *line["point_px"]) for line in key] != [(t, *p) for t, p in zip(texts, points, strict=True)]:
        raise ValueError(f"the sheets in {given.out} are of other points; give --set, --split and --photos as for them")
    model = load_model(given.model, localizer_only=True, device=given.device)
    errors = {
        "a reader who looks": normalised_errors(found / 100 * np.array(sizes, float), points, sizes),
        str(given.model): errors_of(samples, located(model, samples, texts, show, "texts")),
    }
    photos = [sample.photo_id for sample in samples]
    rows = [{"read by": who, "n": len(samples), **located_figures(some, photos)} for who, some in errors.items()]
    reader, ours = errors.values()
    value, low, high = mpck_difference(ours, reader, photos)
    lines = [
        {"photo": sample.photo_id, "point_px": sample.point_px, "text": text, "answer": finite(answer)}
        | {"error": finite(one), "model_error": finite(other)}
        for sample, text, answer, one, other in zip(samples, texts, found, reader, ours, strict=True)
    ]
    return {
        "set": given.set,
        "split": given.split,
        "unanswered": int(np.isnan(found).any(1).sum()),
        "rows": rows,
        "model_minus_reader": {"value": round(value, 2), "ci": [round(low, 2), round(high, 2)]},
        "answers": lines,
    }


def finite(value: Any) -> Any:
    """Numbers for JSON, which has none for what was not answered: null then."""
    return np.round(value, 5).tolist() if np.isfinite(value).all() else None


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the seven sets")
    parser.add_argument("--set", choices=("plain", "hard"), default="hard")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--photos", type=int, default=105, help="at most; one text of each")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--read", type=Path, metavar="FILE", help="a reader's answers, to score")
    parser.add_argument("--model", default="mini", metavar="M", help="whose localizer stands beside the reader")
    parser.add_argument("--device", help="default: a GPU if there is one, else the CPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures with every answer there, too")
    given = parser.parse_args(words)
    if given.photos < 1:
        parser.error(f"--photos is {given.photos}; allowed: 1 and more")
    with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
        try:
            # Before the photos are read, which takes a while.
            read = None if given.read is None else read_found(given.out, given.read)
            samples = drawn(given.data, given.set, given.split, given.photos, progress.show)
            if read is None:
                write_sheets(given.out, samples, [sample.text or "" for sample in samples], "rules")
                print(f"{len(samples)} texts in {given.out}: `find` is for a reader")
                return
            result = compared(given, *read, samples, progress.show)
        except (ValueError, FileNotFoundError) as error:
            parser.error(one_line(error))
    columns = {"read by": "read by", "n": "texts", "mpck": "mPCK", "pck@0.1": "PCK@0.1", "pck@0.2": "PCK@0.2"}
    print(table(result["rows"], columns))
    print(f"the model minus the reader: {result['model_minus_reader']}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
