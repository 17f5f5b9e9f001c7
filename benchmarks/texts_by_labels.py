"""What is wrong in a model's own texts, by labels and rules: names, colours and sides. To choose a descriptor by.

    python benchmarks/texts_by_labels.py --data DATA --split val --photos 140 --points 3 --model mini --model runs/new

A text is clean where its object is right, its part right or vaguer (as `mini.py parts` has it), and neither a colour
nor a side is wrong. A colour is wrong where it is neither of the two that the rules see at the point, nor a shade of
one or a neighbour of it. A side ("toward the lower left of the car") is wrong where the point is not at least `LEAST`
of the frame's extent from its middle on that side. Rules err, and a reader who looks is stricter and kinder at once:
these figures are for rows beside each other. Means over sets; intervals are 95% bootstraps over photos.

`--likeliest` adds what a base that knows names says by itself: the likeliest name at each point, left and right told
apart, however unsure it is. The object that a part belongs to is the label's, so that only the part is its own.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mini_claims import Vocabulary
from mini_data import labelled_sets, read_labels
from mini_models import described, errors_of, load_model, located
from mini_scores import NO_FIGURE, located_figures, share, table

from talking_points.dataset.colours import COLOURS
from talking_points.dataset.facts import PointFacts
from talking_points.evaluation.run import versions
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.photos import letterbox
from talking_points.points import photo_to_square
from talking_points.progress import OnProgress, Progress, one_line

LEAST = 0.1
"""Of the frame's extent from its middle: what is nearer to it is not on a side."""
NEIGHBOURS = frozenset(
    frozenset(pair)
    for pair in (("black", "gray"), ("white", "gray"), ("beige", "brown"), ("beige", "gray"), ("gray", "blue"))
)
"""Colours that one person calls this and another that."""
COLOUR = re.compile(rf"\b({'|'.join(sorted(COLOURS, key=len, reverse=True))})\b")
SIDE = re.compile(
    r"(?P<inner>(?:point|spot|it)(?: is| lies)[a-z ]*)?toward the (?P<level>upper |lower )?"
    r"(?P<side>left|right|top|bottom)(?: side)? of the (?!photo|image|picture)"
)


def wrong_colour(text: str, facts: PointFacts) -> bool:
    """Whether the last colour that a text names is far from what the rules see at the point."""
    said = COLOUR.findall(text.lower())
    seen = {one.split(" ")[-1] for one in (facts.look.colour, facts.look.second_colour) if one is not None}
    if not said:
        return False
    plain = said[-1].split(" ")[-1]
    return not any(plain == one or frozenset((plain, one)) in NEIGHBOURS for one in seen)


def wrong_side(text: str, facts: PointFacts, *, names_a_part: bool) -> bool:
    """Whether a side of the object, or of the part where the text names one, is not where the point is."""
    for match in SIDE.finditer(text.lower()):
        place = facts.point_place if match["inner"] and names_a_part else facts.place_in_object
        words = {match["side"], (match["level"] or "").strip()}
        signs = {"left": -place.dx, "right": place.dx, "top": -place.dy, "upper": -place.dy}
        signs |= {"bottom": place.dy, "lower": place.dy}
        if any(signs[word] < LEAST for word in words & set(signs)):
            return True
    return False


def judged(vocabulary: Vocabulary, facts: PointFacts, source: str, text: str) -> dict[str, bool]:
    """What is right and wrong in a text about a point of a set."""
    claim = vocabulary.claim(text)
    object_right, verdict = vocabulary.verdicts(claim, source, facts.object_name, facts.part_name)
    colour = wrong_colour(text, facts)
    side = wrong_side(text, facts, names_a_part=claim.part != claim.object)
    return {
        "clean": object_right and verdict != "wrong" and not colour and not side,
        "part right": verdict == "right",
        "vaguer": verdict == "vaguer",
        "names a colour": bool(COLOUR.search(text.lower())),
        "colour wrong": colour,
        "side wrong": side,
    }


def measured(model_name: str, model: Any, samples: Sequence[Sample]) -> dict[str, Any]:
    """A model's row."""
    vocabulary = Vocabulary(*read_labels())
    with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
        texts = described(model, samples, progress.show, f"texts of {model_name}")
        errors = errors_of(samples, located(model, samples, texts, progress.show, "finding them"))
    photos, sets = [s.photo_id for s in samples], [s.source for s in samples]
    return row_of(model_name, vocabulary, samples, texts) | {"found": located_figures(errors, photos, sets)["mpck"]}


def row_of(name: str, vocabulary: Vocabulary, samples: Sequence[Sample], texts: Sequence[str]) -> dict[str, Any]:
    """How often texts are right, and how often each thing is wrong."""
    found = [judged(vocabulary, s.facts, s.source, text) for s, text in zip(samples, texts, strict=True)]
    photos, sets = [s.photo_id for s in samples], [s.source for s in samples]
    return {"model": name, "n": len(samples)} | {
        key: share([one[key] for one in found], photos, sets) for key in found[0]
    }


def likeliest(model_name: str, network: Any, samples: Sequence[Sample]) -> dict[str, Any]:
    """The row of the names that a model's base finds likeliest. network: one that knows names."""
    names, breeds = read_labels()
    with Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress:
        said = names_at(network, samples, progress.show)
    texts = [name_as_text(name, s.object_name or "", names[s.source]) for name, s in zip(said, samples, strict=True)]
    row = row_of(f"{model_name}: the likeliest name", Vocabulary(names, breeds), samples, texts)
    # A name says neither a colour nor a side of the object, and leads nowhere.
    return row | dict.fromkeys(("names a colour", "colour wrong", "side wrong", "found"), NO_FIGURE)


def names_at(network: Any, samples: Sequence[Sample], show: OnProgress) -> list[str]:
    """The likeliest name at each of samples."""
    # Not at the top: torch takes seconds, and wrong arguments are to be told at once.
    import torch

    known, segmenter = network.config.point_names, network.segmenter
    said: dict[str, str] = {}
    for group in by_photo(samples):
        photo = group[0].open_photo()
        square = torch.from_numpy(letterbox(photo, segmenter.config.image_size))[None].to(network.device)
        points = torch.from_numpy(photo_to_square([s.point_px for s in group], photo.size)).float()[None]
        points = points.to(network.device)
        with torch.no_grad():
            features = segmenter(square)
            seen = segmenter.seen_at(features, segmenter.encode_keypoints(features, points), points)
            # Names come first; then colours, and that there is none.
            chances_PK = segmenter.point_names(*seen)[0, :, : len(known)]
        said |= {s.sample_id: known[k] for s, k in zip(group, chances_PK.argmax(1).tolist(), strict=True)}
        show("names", len(said), len(samples))
    return [said[s.sample_id] for s in samples]


def name_as_text(name: str, thing: str, objects: Iterable[str]) -> str:
    """A name as a text that claims it. thing: whose it is, where it is no object of the set itself."""
    return f"on the {name}" if name in objects else f"on the {thing}, on the {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--photos", type=int, default=140, help="evenly of all sets")
    parser.add_argument("--points", type=int, default=3, help="a photo")
    parser.add_argument("--model", action="append", required=True, help="once or more")
    parser.add_argument("--likeliest", action="store_true", help="also the likeliest names of each model's base alone")
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path, help="figures, as JSON")
    given = parser.parse_args()
    try:
        drawn = labelled_sets(given.data, given.split, points=given.points, photos=given.photos)
        samples = [sample for _, some in drawn for sample in some]
        rows = []
        for name in given.model:
            model = load_model(name, localizer_only=False, device=given.device)
            if given.likeliest and not model.descriptor.network.config.point_names:
                raise ValueError(f"{name} knows no names; leave out --likeliest")
            rows.append(measured(name, model, samples))
            if given.likeliest:
                rows.append(likeliest(name, model.descriptor.network, samples))
    except (ValueError, FileNotFoundError) as error:
        parser.error(one_line(error))
    print(table(rows, {key: key for key in rows[0]}))
    if given.json:
        result = {"split": given.split, "rows": rows, "versions": versions()}
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
