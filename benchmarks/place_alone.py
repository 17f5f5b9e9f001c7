"""What the place in the photo that a text names says by itself, without the photo; and what the text says without it.

    python benchmarks/mini.py free --texts TEXTS --data DATA --model mini --json free.json
    python benchmarks/place_alone.py free.json --texts TEXTS --data DATA --model mini --json place_alone.json

Own texts of the `clear` dialect name where in the photo their point is. "Alone" answers with the middle of the field
that is named ("toward the left of the photo, slightly below the center") and sees no photo; a text that names none is
answered with the photo's middle. "Without it" are the texts less this clause, read by the model's localizer. Intervals
are 95% bootstraps over photos.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

from mini_data import read_free_texts
from mini_models import errors_of, load_model, located
from mini_scores import located_figures, table

from talking_points.dataset.places import STEP_LIMITS
from talking_points.dataset.wordings import PHRASES
from talking_points.evaluation.metrics import normalised_errors
from talking_points.progress import Progress, one_line

_STARTS = (*STEP_LIMITS[7], (0.5, ""))
OFFSETS = {"center": 0.0, **{name: (_STARTS[k][0] + _STARTS[k + 1][0]) / 2 for k, (_, name) in enumerate(_STARTS[:-1])}}
"""Middles of the fields of seven steps an axis, in units of the photo's extent from its middle."""
Place = tuple[float, float]


def said_places() -> dict[str, Place]:
    """Ways to say a place in a photo, and the middle of what each means, from the photo's middle.

    Example:
        >>> said_places()["near the left edge of the photo, toward the top"]
        (-0.43, -0.26)
    """
    said: dict[str, Place] = {}
    for name, options in PHRASES.items():
        kind, _, degrees = name.partition(" ")
        if kind != "place":
            continue
        across, down = degrees.split(" ")
        words = (("left", "right"), ("top", "bottom"), *(PHRASES[one] for one in ("near", "center", "photo")))
        for side, level, near, center, photo in itertools.product(*words):
            upper, above = ("upper", "above") if level == "top" else ("lower", "below")
            at = (OFFSETS[across] * (-1 if side == "left" else 1), OFFSETS[down] * (-1 if level == "top" else 1))
            for option in options:
                filled = {"side": side, "level": level, "near": near, "center": center, "upper": upper, "above": above}
                said[option.format(**filled, of=f" of the {photo}")] = at
    return said


def split_place(text: str, said: dict[str, Place], pattern: re.Pattern[str]) -> tuple[Place | None, str]:
    """The place in the photo that a text names, None where it names none, and the text without that clause."""
    match = pattern.search(text)
    return (None, text) if match is None else (said[match[1]], text[: match.start()] + text[match.end() :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path, help="what `mini.py free --json` wrote")
    parser.add_argument("--texts", type=Path, required=True, help="whose points it described")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini", help="whose localizer reads")
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path, help="figures, as JSON")
    given = parser.parse_args()
    try:
        result = measure(given)
    except (ValueError, FileNotFoundError) as error:
        parser.error(one_line(error))
    columns = {"read": "read", "n": "points", "mpck": "mPCK", "pck@0.05": "PCK@0.05", "pck@0.1": "PCK@0.1"}
    print(f"{result['name_a_place']} of {result['texts']} texts name a place in the photo")
    print(table(result["rows"], columns))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Both kinds of answers beside those to the whole texts."""
    said = said_places()
    longest_first = "|".join(re.escape(one) for one in sorted(said, key=len, reverse=True))
    pattern = re.compile(rf", ({longest_first})(?=[,.])")
    answers = json.loads(given.answers.read_text())
    if "answers" not in answers:
        raise ValueError(f"{given.answers} has no answers; give what `mini.py free --json` wrote")
    lines = [line for line in answers["answers"] if line["texts"] == "own"]
    samples = [text.where for text in read_free_texts(given.texts, given.data)]
    points, sizes = [s.point_px for s in samples], [s.size_wh for s in samples]
    if points != [tuple(line["point_px"]) for line in lines]:
        raise ValueError(f"{given.answers} is not of the points of {given.texts}; give the file that it was made with")
    texts = [line["text"] for line in lines]
    named = [split_place(text, said, pattern) for text in texts]
    middles = [place or (0.0, 0.0) for place, _ in named]
    alone = [((0.5 + dx) * w, (0.5 + dy) * h) for (dx, dy), (w, h) in zip(middles, sizes, strict=True)]
    model = load_model(given.model, localizer_only=True, device=given.device)
    with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
        errors = {
            read: errors_of(samples, located(model, samples, some, progress.show, read))
            for read, some in (("whole texts", texts), ("texts without their place", [rest for _, rest in named]))
        }
    errors["the place alone, no photo"] = normalised_errors(alone, points, sizes)
    photos = [sample.photo_id for sample in samples]
    rows = [{"read": kind, "n": len(samples), **located_figures(some, photos, None)} for kind, some in errors.items()]
    return {"texts": len(lines), "name_a_place": sum(place is not None for place, _ in named), "rows": rows}


if __name__ == "__main__":
    main()
