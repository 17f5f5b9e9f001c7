"""Photos with points and texts, for `talking-points train`: `python -m recipes.mini.points`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recipes.mini.examples import READ_DIALECTS, SIDE, Maker, Names, read_lines, sentence_case
from recipes.mini.names import encode
from recipes.mini.scenes import read
from talking_points.dataset.facts import PointFacts, facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS, Place
from talking_points.dataset.scene import Scene
from talking_points.dataset.scene_edits import mirror
from talking_points.dataset.wordings import KINDS
from talking_points.evaluation.composing import compose
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.part_sides import has_side, without_side
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
HUES_TURNED = 0.8
"""Of a descriptor's photos without people. Few cars are green, and a descriptor that has hardly written "green" of one
writes "red", whatever it is told."""
QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a descriptor is told of one point by its base."""

    names: frozenset[str]
    """A part, or all its sides; where none is sure, a wider part; else the object, or several that it may be."""
    holds: frozenset[str]
    """Of a part that is told with all its sides, the names that are parts of it."""
    colour: str | None


@torch.no_grad()
def told_at(network: PointNetwork, scene: Scene, points_px: Sequence[tuple[float, float]]) -> list[Told]:
    """What a network that knows names says of points, in their order; in pixels of the scene's photo."""
    config = network.config
    names, colours = config.point_names, (*config.point_colours, None)
    numbers_PF = network.encode_points(*encode(network.segmenter, scene, points_px))[0]
    told: list[Told] = []
    for shares in numbers_PF[:, -len(names) - len(colours) :].tolist():
        found = frozenset(name for name, share in zip(names, shares[: len(names)], strict=True) if share)
        # A wider part is told with all its sides.
        plain = {without_side(name) for name in found}
        has_all_sides = found == {name for name in names if without_side(name) in plain}
        holds = {
            name for name, wider in zip(names, config.point_wider, strict=True) if has_all_sides and plain <= {*wider}
        }
        colour = colours[shares[len(names) :].index(1.0)]
        told.append(Told(names=found, holds=frozenset(holds), colour=colour))
    return told


def as_told(facts: PointFacts, told: Told) -> PointFacts | None:
    """The facts less the part and the side that are not told, with the colour that is; None where they say otherwise.

    Of a nose that is told as the face they say the face: the two ways to tell it, as a wider part where no name is sure
    and as a name that is, look the same.

    What these eyes cannot tell, such as a cow's left from its right leg, is better left out than guessed. And what they
    do tell is said: of texts that say something else a descriptor would learn to trust itself, which it should not. Of
    a colour that the label sees, the shade is the one told.
    """
    part, look, colour = facts.part_name, facts.look, told.colour
    if without_side(part) in {without_side(name) for name in told.names}:
        if told.names != {part} and len(told.names) == 1 and has_side(*told.names):
            return None
        if has_side(part) and told.names != {part}:
            # Which of several it is was counted among those of its side.
            facts = replace(facts, part_name=without_side(part), part_order=None)
    elif part in told.holds:
        # Where the wider part ends is labelled nowhere: the point stands for it.
        here, middle = facts.place_in_object, Place(dx=0.0, dy=0.0)
        wider = without_side(min(told.names))
        facts = replace(facts, part_name=wider, part_order=None, part_place=here, point_place=middle)
    elif facts.object_name in told.names:
        # The part that is the object itself has the object's frame.
        whole = Place(dx=0.0, dy=0.0, span_x=1.0, span_y=1.0)
        facts = replace(
            facts, part_name=facts.object_name, part_order=None, part_place=whole, point_place=facts.place_in_object
        )
    else:
        return None
    # Of a dog's nose alone it is true that it is black: its fur may not be.
    if without_side(part) != without_side(facts.part_name) and not KINDS["bare"].isdisjoint(part.split(" ")):
        colour = None
    if colour is None:
        look = replace(look, colour_share=0.0)
    elif colour.split(" ")[-1] in {one.split(" ")[-1] for one in (look.colour, look.second_colour) if one is not None}:
        look = replace(look, colour=colour, second_colour=None, colour_share=1.0)
    else:
        return None
    # An arm or a face of skin's colour is called bare, and a forearm may be in a sleeve, an eye is no skin.
    is_bare = facts.object_name in KINDS["people"] and look.colour in KINDS["skin_colours"]
    if is_bare and facts.part_name in KINDS["skin"] - {"hand"} and without_side(part) not in KINDS["skin"]:
        return None
    return replace(facts, look=look)


def turn_hues(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with all hues turned by one random angle, about 30 degrees at least either way."""
    hsv = np.asarray(Image.fromarray(scene.photo).convert("HSV")).copy()
    hsv[..., 0] += np.uint8(rng.integers(21, 235))
    return replace(scene, photo=np.asarray(Image.fromarray(hsv, "HSV").convert("RGB")))


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
    parser.add_argument("--base", type=Path, help="checkpoint that knows names: texts say what it tells")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True, help="folder of photos and points.jsonl")
    given = parser.parse_args()
    if given.base is not None and given.texts:
        parser.error("--base is for a descriptor's texts and --texts for a localizer's; give one of them")
    try:
        network = None if given.base is None else load_checkpoint(given.base, roles=())
        if network is not None and network.segmenter.point_names is None:
            raise ValueError(f"--base {given.base} knows no names; give a checkpoint of recipes.mini.names")
        if given.out.exists():
            raise ValueError(f"{given.out} is there already; choose another --out")
        scenes = [scene for path in given.scenes for scene in read(path)]
        of_set: dict[str, list[Scene]] = defaultdict(list)
        for scene in scenes:
            of_set[scene.source].append(scene)
        turns = [name for name, count in TURNS.items() for _ in range(count)]
        if given.count and (missing := set(turns) - of_set.keys()):
            raise ValueError(f"--scenes have no photo of {', '.join(sorted(missing))}; give scenes of all seven sets")
        maker = Maker(scenes, read_lines(given.texts), [], Names.of(scenes)) if given.texts else None
        given.out.mkdir(parents=True)
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    rng = np.random.default_rng(given.seed)
    order = {name: rng.permutation(len(some)) for name, some in of_set.items()}
    taken: dict[str, int] = defaultdict(int)
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
            has_people = any(thing.name in KINDS["people"] for thing in scene.objects)
            if network is not None and not has_people and rng.random() < HUES_TURNED:
                scene = turn_hues(scene, rng)
            # Of the descriptor's those are left out that contradict what it is told.
            drawn = sample_points(scene, given.points if given.texts else 2 * given.points, rng, sift_share=0.3)
            lines: list[tuple[float, float, str]] = []
            vaguer: list[tuple[float, float, str]] = []
            points_px = [(one.x, one.y) for one in drawn]
            told = [None] * len(drawn) if network is None or not drawn else told_at(network, scene, points_px)
            for one, facts, some in zip(drawn, facts_of_points(scene, points_px), told, strict=True):
                said = facts if some is None else as_told(facts, some)
                if said is not None:
                    dialect = READ_DIALECTS[int(rng.integers(len(READ_DIALECTS)))] if given.texts else WRITTEN
                    line = (one.x, one.y, sentence_case(write_point_text(said, dialect, rng)))
                    is_same = without_side(said.part_name) == without_side(facts.part_name)
                    (lines if is_same else vaguer).append(line)
            # On photos that the heads have learned of, few points are told less than the label says: they come first.
            lines = vaguer + lines
            write(f"{k:05d}.jpg", scene, lines[: given.points])
            progress.show("photos", k + 1, given.count)
        if maker is not None:
            for k, (key, free) in enumerate(maker.free.items()):
                scene = maker.of_photo[key]
                fx, fy = scene.size_wh[0] / free[0]["width"], scene.size_wh[1] / free[0]["height"]
                texts = [(one["x"] * fx, one["y"] * fy, one[length]) for one in free for length in ("long", "short")]
                write(f"free-{k:05d}.jpg", scene, texts)
    print(f"{given.out}: {given.count} photos")


if __name__ == "__main__":
    main()
