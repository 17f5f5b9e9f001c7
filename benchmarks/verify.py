"""How well `verify` tells what lies at a pixel from what does not, on texts that the model never saw.

    python benchmarks/verify.py --texts DATA/texts/test.jsonl --data DATA --photos 100 > benchmarks/results/verify.json

asks of every text, the long ones and the short ones, four kinds of points of its photo: its own point ("true"); the
point of another text of the photo, and a point drawn at random ("other", "far"), both at least 0.2 of the longer side
from its own; and points drawn at random anywhere in the photo. Of the first three it says what was answered. Of the
last, which have nothing to do with the text, it says how often the point meant was within a tenth of the longer side,
beside the probabilities given: that is calibration by what `probability` claims. Where true pairs are more frequent
than by chance, "yes" is right more often than it says.

DATA is as for mini.py. Intervals are 95% bootstraps over photos. Equal arguments give equal figures.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from mini_data import FreeText, read_free_texts, some_photos
from mini_scores import share, table

from talking_points.evaluation.run import versions
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.pointing.verify import NEAR, Verdict, verify
from talking_points.points import Point
from talking_points.progress import Progress, one_line

APART = 0.2
"""Of a false pair's point from the one meant, in the photo's longer side."""
ANYWHERE = 8
"""Points drawn anywhere for each text."""
EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
ANSWERS = ("yes", "maybe", "no", "not in the photo")


def away(one: Point, other: Point, size_wh: tuple[int, int]) -> float:
    """Distance in the photo's longer side."""
    return math.dist(one, other) / max(size_wh)


def questions(text: FreeText, others: Sequence[FreeText], rng: np.random.Generator) -> Iterator[tuple[str, Point]]:
    """Kinds of points and the points to ask about a text."""
    true, size_wh = text.where.point_px, text.where.size_wh
    yield "true", true
    for other in others:
        if away(other.where.point_px, true, size_wh) >= APART:
            yield "other", other.where.point_px
    drawn = [(float(x), float(y)) for x, y in rng.random((1000, 2)) * size_wh]
    yield "far", next(point for point in drawn if away(point, true, size_wh) >= APART)
    yield from (("anywhere", point) for point in drawn[-ANYWHERE:])


def asked_of_photo(tp: TalkingPoints, texts: Sequence[FreeText], words: str, seed: int) -> list[dict[str, Any]]:
    """A row a question about the texts of one photo. words: "long" or "short"."""
    rng = np.random.default_rng(seed)
    asked = [
        (kind, point, text)
        for text in texts
        for kind, point in questions(text, [one for one in texts if one is not text], rng)
    ]
    photo = tp.prepare(texts[0].where.open_photo())
    verdicts = verify(tp.localizer, photo, [(point, getattr(text, words)) for _, point, text in asked])
    return [
        _row(verdict, kind, words, text, away(point, text.where.point_px, text.where.size_wh))
        for verdict, (kind, point, text) in zip(verdicts, asked, strict=True)
    ]


def _row(verdict: Verdict, kind: str, words: str, text: FreeText, distance: float) -> dict[str, Any]:
    return {
        "photo": text.where.photo_id,
        "texts": words,
        "kind": kind,
        "answer": verdict.answer,
        "probability": verdict.probability,
        "near": distance < NEAR,
    }


def answers_by_kind(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was answered to each kind of pairs, in percent."""
    found = []
    for words in ("long", "short"):
        for kind in ("true", "other", "far"):
            some = [row for row in rows if (row["texts"], row["kind"]) == (words, kind)]
            photos = [row["photo"] for row in some]
            shares = {answer: share([row["answer"] == answer for row in some], photos) for answer in ANSWERS}
            found.append({"texts": words, "pairs": kind, "n": len(some), **shares})
    return found


def accuracy(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Percentage of pairs judged rightly, true and false ones weighing the same, for two readings of "maybe"."""
    found = []
    for words in ("long", "short"):
        some = [row for row in rows if row["texts"] == words and row["kind"] != "anywhere"]
        photos, is_true = [row["photo"] for row in some], [row["kind"] == "true" for row in some]
        groups = ["true" if true else "false" for true in is_true]
        figures = {}
        for name, yes in (("yes alone", ("yes",)), ("yes or maybe", ("yes", "maybe"))):
            right = [(row["answer"] in yes) == true for row, true in zip(some, is_true, strict=True)]
            figures[name] = share(right, photos, groups)
        found.append({"texts": words, "n": len(some), **figures})
    return found


def calibration(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of points drawn anywhere: probabilities given, and how often the point meant was near, in percent."""
    found = []
    some = [row for row in rows if row["kind"] == "anywhere" and row["probability"] is not None]
    for low, high in zip(EDGES, EDGES[1:], strict=False):
        within = [row for row in some if low <= row["probability"] < high or row["probability"] == high == 1.0]
        given = [100 * row["probability"] for row in within]
        near = share([row["near"] for row in within], [row["photo"] for row in within])
        bounds = f"{100 * low:.0f} to {100 * high:.0f}%"
        mean = round(float(np.mean(given)), 1) if given else None
        found.append({"probability": bounds, "n": len(within), "given": mean, "near": near})
    return found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="lines as mini.py reads them")
    parser.add_argument("--data", type=Path, required=True, help="the sets")
    parser.add_argument("--photos", type=int, help="at most so many, in turn one of each set")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device")
    given = parser.parse_args(words)
    try:
        texts = read_free_texts(given.texts, given.data)
    except (OSError, ValueError) as error:
        parser.error(one_line(error))
    wanted = some_photos((text.where.photo_id for text in texts), given.photos)
    tp = TalkingPoints.from_pretrained(given.model, device=given.device, roles=("localizer",))
    rows: list[dict[str, Any]] = []
    with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
        for done, photo in enumerate(sorted(wanted), start=1):
            of_photo = [text for text in texts if text.where.photo_id == photo]
            rows += [row for kind in ("long", "short") for row in asked_of_photo(tp, of_photo, kind, seed=done)]
            progress.show("photos", done, len(wanted))
    result = {"answers": answers_by_kind(rows), "accuracy": accuracy(rows), "calibration": calibration(rows)}
    header = {
        "command": " ".join(["verify.py", *(sys.argv[1:] if words is None else words)]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "versions": versions(),
        "photos": len(wanted),
    }
    print(json.dumps(header | result, indent=1))
    columns = [
        {"texts": "texts", "pairs": "pairs", "n": "n", **{answer: f"{answer}, %" for answer in ANSWERS}},
        {"texts": "texts", "n": "n", "yes alone": 'right if "yes"', "yes or maybe": 'right if "yes" or "maybe"'},
        {"probability": "probability", "n": "n", "given": "mean given, %", "near": "meant there, %"},
    ]
    tables = [table(some, titles) for some, titles in zip(result.values(), columns, strict=True)]
    print("\n\n".join(tables), file=sys.stderr)


if __name__ == "__main__":
    main()
