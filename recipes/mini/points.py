"""Points with the rules' texts, for `talking-points train descriptor`: `python -m recipes.mini.points`."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.mini.examples import PAPER, sentence_case
from recipes.mini.scenes import read
from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.scene import Scene

PHOTOS = {
    "clothing_parts": 130,
    "car_parts": 120,
    "coco_people": 150,
    "coco_objects": 150,
    "livestock": 60,
    "pets": 50,
    "facades": 60,
}
"""Of each set: what most people show has most photos, and few herds are enough."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets, whose photos are named")
    parser.add_argument("--points", type=int, default=16, help="of each photo")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    of_set: dict[str, list[Scene]] = defaultdict(list)
    for path in given.scenes:
        for scene in read(path):
            of_set[scene.source].append(scene)
    rng = np.random.default_rng(given.seed)
    count = 0
    with given.out.open("w") as out:
        for name, most in PHOTOS.items():
            for k in rng.permutation(len(of_set[name]))[:most]:
                scene = of_set[name][k]
                photo = photo_path(given.data, scene)
                with Image.open(photo) as opened:
                    scale = opened.width / scene.size_wh[0], opened.height / scene.size_wh[1]
                drawn = sample_points(scene, given.points, rng, sift_share=0.3)
                for one, known in zip(drawn, facts_of_points(scene, [(d.x, d.y) for d in drawn]), strict=True):
                    text = sentence_case(write_point_text(known, PAPER, rng))
                    x, y = round(one.x * scale[0], 2), round(one.y * scale[1], 2)
                    out.write(json.dumps({"photo": str(photo.resolve()), "x": x, "y": y, "text": text}) + "\n")
                    count += 1
    print(f"{given.out}: {count} points")


def photo_path(data: Path, scene: Scene) -> Path:
    """The photo's file in its set."""
    stem = scene.photo_id.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    folders = ["photos"] if scene.source == "clothing_parts" else ["train/images", "test/images"]
    found = [path for folder in folders for path in (data / scene.source / folder).glob(f"{stem}.*")]
    if len(found) != 1:
        raise FileNotFoundError(f"{scene.source} has {len(found)} photos called {stem}; expected one")
    return found[0]


if __name__ == "__main__":
    main()
