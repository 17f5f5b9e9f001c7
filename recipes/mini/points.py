"""Photos with points and texts, for `talking-points train`: `python -m recipes.mini.points`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recipes.mini.examples import READ_DIALECTS, SIDE, Maker, Names, read_lines, sentence_case
from recipes.mini.names import encode
from recipes.mini.scenes import read
from talking_points.dataset.checks import words_of
from talking_points.dataset.colours import COLOURS
from talking_points.dataset.facts import PointFacts, facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS, Place, has_side, mirror_words, without_side
from talking_points.dataset.scene import Scene
from talking_points.dataset.scene_edits import mirror
from talking_points.dataset.wordings import KINDS
from talking_points.evaluation.composing import compose
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.progress import Progress, one_line

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
COLOURLESS_LEFT_OUT = 0.6
"""Of the points whose text has no word for a colour (skin has none), so that more of what is learned has one."""
COLOUR_WORDS = frozenset(word for colour in COLOURS for word in colour.split(" ")) - {"light", "dark"}
SURE_NAME, SURE_SIDE, SURE_COLOUR = 0.3, 0.65, 0.4
"""What a text says where `--base` is given has at least these chances: of all names the likeliest, both sides together;
of the part's own name the likelier side; of all colours, and of none, the likeliest."""
QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a base that knows names and colours makes of one point."""

    names: dict[str, float]
    """Chances of parts and things, which sum to 1."""
    colour: float
    """Chance of the likeliest colour, or of none, whichever is more."""

    @property
    def likeliest(self) -> float:
        """Chance of the likeliest name, both sides together."""
        chances: Counter[str] = Counter()
        for name, chance in self.names.items():
            chances[without_side(name)] += chance
        return max(chances.values())


@torch.no_grad()
def known_at(network: PointNetwork, scene: Scene, points_px: Sequence[tuple[float, float]]) -> list[Known]:
    """What a network that knows names makes of points, in their order; in pixels of the scene's photo."""
    names = network.config.point_names
    told = len(names) + len(network.config.point_colours) + 1
    chances_PK = network.segmenter.encode_points(*encode(network.segmenter, scene, points_px))[0, :, -told:]
    return [
        Known(names=dict(zip(names, parts, strict=True)), colour=max(colours))
        for parts, colours in zip(
            chances_PK[:, : len(names)].tolist(), chances_PK[:, len(names) :].tolist(), strict=True
        )
    ]


def only_sure(facts: PointFacts, known: Known) -> PointFacts:
    """The facts without the part, the part's side and the point's colour that a base is not sure of.

    What these eyes cannot tell, such as a cow's left from its right leg, is better left out than guessed.
    """
    part = facts.part_name
    says_colour = known.colour >= SURE_COLOUR
    if known.likeliest < SURE_NAME and not facts.is_whole:
        # The part that is the object itself has the object's frame.
        whole = Place(dx=0.0, dy=0.0, span_x=1.0, span_y=1.0)
        facts = replace(
            facts, part_name=facts.object_name, part_order=None, part_place=whole, point_place=facts.place_in_object
        )
        # Of a dog's nose alone it is true that it is black: its fur may not be.
        says_colour = says_colour and KINDS["bare"].isdisjoint(part.split(" "))
    elif has_side(part):
        sides = [known.names.get(name, 0.0) for name in (part, mirror_words(part))]
        if max(sides) <= SURE_SIDE * (sum(sides) + known.names.get(without_side(part), 0.0)):
            # Which of several it is was counted among those of its side.
            facts = replace(facts, part_name=without_side(part), part_order=None)
    return facts if says_colour else replace(facts, look=replace(facts.look, colour_share=0.0))


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
    parser.add_argument("--base", type=Path, help="checkpoint that knows names: what it is not sure of is left out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True, help="folder of photos and points.jsonl")
    given = parser.parse_args()
    if given.base is not None and given.texts:
        parser.error("--base is for a descriptor's texts and --texts for a localizer's; give one of them")
    try:
        network = None if given.base is None else load_checkpoint(given.base, roles=())
        if network is not None and network.segmenter.point_names is None:
            raise ValueError(f"--base {given.base} knows no names; give a checkpoint of recipes.mini.names")
        scenes = [scene for path in given.scenes for scene in read(path)]
        if given.out.exists():
            raise ValueError(f"{given.out} is there already; choose another --out")
        given.out.mkdir(parents=True)
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    of_set: dict[str, list[Scene]] = defaultdict(list)
    for scene in scenes:
        of_set[scene.source].append(scene)
    rng = np.random.default_rng(given.seed)
    order = {name: rng.permutation(len(some)) for name, some in of_set.items()}
    taken: dict[str, int] = defaultdict(int)
    turns = [name for name, count in TURNS.items() for _ in range(count)]
    with (
        (given.out / "points.jsonl").open("w") as out,
        Progress(lambda line: print(line, file=sys.stderr, flush=True)) as progress,
    ):

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
            points_px = [(one.x, one.y) for one in drawn]
            facts = facts_of_points(scene, points_px)
            if network is not None and facts:
                facts = [only_sure(*each) for each in zip(facts, known_at(network, scene, points_px), strict=True)]
            for one, said in zip(drawn, facts, strict=True):
                dialect = READ_DIALECTS[int(rng.integers(len(READ_DIALECTS)))] if given.texts else WRITTEN
                text = write_point_text(said, dialect, rng)
                if given.texts or not COLOUR_WORDS.isdisjoint(words_of(text)) or rng.random() >= COLOURLESS_LEFT_OUT:
                    lines.append((one.x, one.y, sentence_case(text)))
            write(f"{k:05d}.jpg", scene, lines[: given.points])
            progress.show("photos", k + 1, given.count)
        if given.texts:
            maker = Maker(scenes, read_lines(given.texts), [], Names.of(scenes))
            for k, (key, free) in enumerate(maker.free.items()):
                scene = maker.of_photo[key]
                fx, fy = scene.size_wh[0] / free[0]["width"], scene.size_wh[1] / free[0]["height"]
                texts = [(one["x"] * fx, one["y"] * fy, one[length]) for one in free for length in ("long", "short")]
                write(f"free-{k:05d}.jpg", scene, texts)
    print(f"{given.out}: {given.count} photos")


if __name__ == "__main__":
    main()
