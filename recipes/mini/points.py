"""Photos with points and texts, for `talking-points train`: `python -m recipes.mini.points`."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.mini.examples import READ_DIALECTS, SIDE, Maker, Names, read_lines, sentence_case
from recipes.mini.scenes import read
from talking_points.dataset.checks import words_of
from talking_points.dataset.colours import COLOURS
from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scene import Scene
from talking_points.dataset.scene_edits import mirror
from talking_points.evaluation.composing import compose

TURNS = {
    "clothing_parts": 4,
    "car_parts": 3,
    "coco_people": 4,
    "coco_objects": 3,
    "livestock": 2,
    "pets": 2,
    "facades": 2,
}
"""How often each set has its turn: what most people show comes most, and few herds are enough."""
WRITTEN = DIALECTS["clear"]
"""What the descriptor learns to write."""
COMPOSED = 0.35
"""Of the photos are crops and mosaics."""
COLOURLESS_LEFT_OUT = 0.3
"""Of the points whose text has no word for a colour (skin has none), so that more of what is learned has one."""
COLOUR_WORDS = frozenset(word for colour in COLOURS for word in colour.split(" ")) - {"light", "dark"}
QUALITY = 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=4000, help="photos")
    parser.add_argument("--points", type=int, default=12, help="of each photo, at most")
    parser.add_argument(
        "--texts",
        type=Path,
        nargs="*",
        help="free texts; with them the rules' are of every dialect, for a localizer",
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True, help="folder of photos and points.jsonl")
    given = parser.parse_args()
    of_set: dict[str, list[Scene]] = defaultdict(list)
    for path in given.scenes:
        for scene in read(path):
            of_set[scene.source].append(scene)
    rng = np.random.default_rng(given.seed)
    order = {name: rng.permutation(len(scenes)) for name, scenes in of_set.items()}
    taken: dict[str, int] = defaultdict(int)
    turns = [name for name, count in TURNS.items() for _ in range(count)]
    given.out.mkdir(parents=True)
    with (given.out / "points.jsonl").open("w") as out:

        def write(name: str, scene: Scene, lines: Iterable[tuple[float, float, str]]) -> None:
            Image.fromarray(scene.photo).save(given.out / name, quality=QUALITY)
            for x, y, text in lines:
                line = {"photo": name, "x": round(x, 2), "y": round(y, 2), "text": text}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")

        for k in range(given.count):
            name = turns[k % len(turns)]
            if rng.random() < COMPOSED:
                scene = compose(of_set[name], rng, SIDE)
            else:
                scene = of_set[name][order[name][taken[name] % len(order[name])]]
                scene = mirror(scene) if rng.random() < 0.5 else scene
                taken[name] += 1
            # Of the descriptor's some are left out.
            drawn = sample_points(scene, given.points if given.texts else 2 * given.points, rng, sift_share=0.3)
            lines: list[tuple[float, float, str]] = []
            for one, known in zip(drawn, facts_of_points(scene, [(d.x, d.y) for d in drawn]), strict=True):
                dialect = READ_DIALECTS[int(rng.integers(len(READ_DIALECTS)))] if given.texts else WRITTEN
                text = write_point_text(known, dialect, rng)
                if given.texts or not COLOUR_WORDS.isdisjoint(words_of(text)) or rng.random() >= COLOURLESS_LEFT_OUT:
                    lines.append((one.x, one.y, sentence_case(text)))
            write(f"{k:05d}.jpg", scene, lines[: given.points])
        if given.texts:
            scenes = [scene for some in of_set.values() for scene in some]
            maker = Maker(scenes, read_lines(given.texts), [], Names.of(scenes))
            for k, (key, said) in enumerate(maker.free.items()):
                scene = maker.of_photo[key]
                fx, fy = scene.size_wh[0] / said[0]["width"], scene.size_wh[1] / said[0]["height"]
                texts = [(one["x"] * fx, one["y"] * fy, one[length]) for one in said for length in ("long", "short")]
                write(f"free-{k:05d}.jpg", scene, texts)
    print(f"{given.out}: {given.count} photos")


if __name__ == "__main__":
    main()
