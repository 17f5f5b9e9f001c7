"""Names and colours of what points are on, learned over the frozen base: `python -m recipes.mini.names`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.mini.layers import learn_layers
from recipes.mini.scenes import read
from recipes.mini.seed import read_names
from talking_points.dataset.colours import COLOURS
from talking_points.dataset.grammar import has_clear_colour
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.looks import look_at
from talking_points.dataset.scene import Scene
from talking_points.dataset.scene_edits import mirror
from talking_points.memory import keep_freed_memory
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.model.point_names import PointNames
from talking_points.model.segmenter import ImageFeatures, Segmenter
from talking_points.part_sides import without_side
from talking_points.photos import letterbox
from talking_points.points import photo_to_square
from talking_points.progress import Progress

PARTS = {"epochs": 15, "rate": 1e-3, "dropout": 0.3, "smoothing": 0.05}
COLOURED = {"epochs": 15, "rate": 1e-2, "dropout": 0.0, "smoothing": 0.0}
"""Colours are read of twelve numbers, none of which can be spared."""

FINGERS = ("thumb", "index finger", "middle finger", "ring finger", "little finger")
WIDER: Mapping[str, tuple[str, ...]] = {
    **{name: ("hand", "arm") for finger in FINGERS for name in (finger, f"tip of the {finger}")},
    **dict.fromkeys(("hand", "wrist", "forearm", "left elbow", "right elbow", "upper arm"), ("arm",)),
    **dict.fromkeys(("thigh", "knee", "lower leg", "ankle"), ("leg",)),
    # Farm animals', whose elbows have no side in the labels.
    "elbow": ("leg",),
    **dict.fromkeys(("front foot", "front knee", "lower foreleg", "upper foreleg"), ("leg",)),
    **dict.fromkeys(("hind foot", "hind knee", "hock", "lower hind leg", "upper hind leg"), ("leg",)),
    **dict.fromkeys(("eye", "eyebrow", "nose", "mouth", "cheek", "chin", "forehead"), ("face",)),
    **dict.fromkeys(("tip of the nose", "corner of the mouth"), ("face",)),
}
"""A name, mostly without its side, and the wider parts that it is a part of."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Points drawn in labelled parts."""

    seen_NS: Tensor
    looks_NL: Tensor
    parts: list[str]
    colours_N: Tensor
    """Index of the colour that is clear at the point; the number of colours where none is."""
    sets: list[str]


@torch.no_grad()
def look(segmenter: Segmenter, scenes: Sequence[Scene], points: int, seed: int, *, mirrored: bool) -> Looked:
    """Draw points and see what is there. mirrored: every other photo, at random."""
    rng = np.random.default_rng(seed)
    seen: list[tuple[Tensor, Tensor]] = []
    parts: list[str] = []
    colours: list[int] = []
    sets: list[str] = []
    with Progress(lambda line: print(line, flush=True)) as progress:
        for done, given in enumerate(scenes, 1):
            scene = mirror(given) if mirrored and rng.random() < 0.5 else given
            drawn = sample_points(scene, points, rng, sift_share=0.3)
            if drawn:
                points_px = [(one.x, one.y) for one in drawn]
                features, points_1P2 = encode(segmenter, scene, points_px)
                seen.append(segmenter.seen_at(features, segmenter.encode_keypoints(features, points_1P2), points_1P2))
                parts += [scene.parts[one.part_index].name for one in drawn]
                colours += [_clear_colour(scene, point_px) for point_px in points_px]
                sets += [scene.source] * len(drawn)
            progress.show("photos", done, len(scenes))
    seen_NS, looks_NL = (torch.cat([one[k][0] for one in seen]) for k in (0, 1))
    return Looked(seen_NS=seen_NS, looks_NL=looks_NL, parts=parts, colours_N=torch.tensor(colours), sets=sets)


def encode(
    segmenter: Segmenter, scene: Scene, points_px: Sequence[tuple[float, float]]
) -> tuple[ImageFeatures, Tensor]:
    """A scene's features, and points in pixels of its photo as (1, P, 2) of the square."""
    photo = Image.fromarray(scene.photo)
    features = segmenter(torch.from_numpy(letterbox(photo, segmenter.config.image_size))[None])
    return features, torch.from_numpy(photo_to_square(points_px, photo.size)).float()[None]


def _clear_colour(scene: Scene, point_px: tuple[float, float]) -> int:
    """Index of what the `clear` dialect calls a clear colour, skin's as well; the number of colours where none is."""
    seen = look_at(scene, point_px)
    return COLOURS.index(seen.colour) if has_clear_colour(seen) else len(COLOURS)


def learn(
    mlp: nn.Sequential, read_NS: Tensor, wanted_N: Tensor, sets: Sequence[str], *, smoothing: float, **how: Any
) -> None:
    """Teach two layers to tell classes. A set weighs as the root of its points, so that large ones are not all.

    how: of `learn_layers`.
    """
    counts = Counter(sets)
    weight_N = torch.tensor([counts[one] ** -0.5 for one in sets])
    weight_N /= weight_N.mean()

    def loss(out: Tensor, some: Tensor) -> Tensor:
        each = F.cross_entropy(out, wanted_N[some], label_smoothing=smoothing, reduction="none")
        return (each * weight_N[some]).mean()

    learn_layers(mlp, read_NS, loss, **how)


def wider_of(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """`ModelConfig.point_wider` of names: those of `WIDER` that are among them."""
    plain = {without_side(name) for name in names}
    wider = (WIDER.get(name, WIDER.get(without_side(name), ())) for name in names)
    return tuple(tuple(one for one in some if one in plain) for some in wider)


def objects_of(scenes: Sequence[Scene], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """`ModelConfig.point_objects`: of what each name is a part in the scenes; where that has no name, of itself."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for scene in scenes:
        for part in scene.parts:
            thing = scene.objects[part.object_index].name
            if part.name in found and thing in found:
                found[part.name].add(thing)
    return tuple(tuple(sorted(found[name] or {name})) for name in names)


def with_names(
    network: PointNetwork, parts: Sequence[str], objects: Sequence[tuple[str, ...]], colours: Sequence[str]
) -> PointNames:
    """Let a network know names, of which it has learned nothing yet. objects: of each part."""
    vision = replace(network.config.vision, num_point_names=len(parts), num_point_colours=len(colours))
    network.config = replace(
        network.config,
        vision=vision,
        point_names=tuple(parts),
        point_wider=wider_of(parts),
        point_objects=tuple(objects),
        point_colours=tuple(colours),
    )
    network.segmenter.config = vision
    network.segmenter.point_names = PointNames(vision)
    return network.segmenter.point_names


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="checkpoint whose base is to know names")
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--validation", type=Path, nargs="*", default=[], help="scenes to tell how often it is right")
    parser.add_argument("--points", type=int, default=16, help="of each photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint, with the localizer of the first")
    given = parser.parse_args()
    try:
        network = load_checkpoint(given.start, roles=("localizer",))
        scenes, validation = ([s for path in paths for s in read(path)] for paths in (given.scenes, given.validation))
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"names: {error}") from None
    torch.manual_seed(given.seed)
    names = read_names().sided
    head = with_names(network, names, objects_of(scenes, names), COLOURS)
    looked = look(network.segmenter, scenes, given.points, given.seed, mirrored=True)
    known = [k for k, name in enumerate(looked.parts) if name in names]
    parts_N = torch.tensor([names.index(looked.parts[k]) for k in known])
    learn(head.parts, looked.seen_NS[known], parts_N, [looked.sets[k] for k in known], **PARTS)
    learn(head.colours, looked.looks_NL, looked.colours_N, looked.sets, **COLOURED)
    save_checkpoint(network, given.out, dtype=torch.float16)
    print(f"{given.out}: {len(names)} names from {len(known)} points of {len(scenes)} photos")
    if validation:
        asked = look(network.segmenter, validation, given.points, given.seed, mirrored=False)
        with torch.no_grad():
            said = head.parts(asked.seen_NS).argmax(1).tolist()
            colour_right = (head.colours(asked.looks_NL).argmax(1) == asked.colours_N).tolist()
        part_right = [names[k] == name for k, name in zip(said, asked.parts, strict=True)]
        no_colour = (asked.colours_N == len(COLOURS)).tolist()
        sets = sorted(set(asked.sets))
        rows = []
        for one in sets:
            of_set = [k for k, name in enumerate(asked.sets) if name == one]
            shares = [
                100 * sum(held[k] for k in of_set) / len(of_set) for held in (part_right, colour_right, no_colour)
            ]
            rows.append((f"{one}, {len(of_set)} points", shares))
        rows.append(("mean over sets", [sum(shares[k] for _, shares in rows) / len(sets) for k in range(3)]))
        for title, (part, colour, constant) in rows:
            print(f"{title}: part right {part:.1f}%, sides counted; colour {colour:.1f}%, always none {constant:.1f}%")


if __name__ == "__main__":
    main()
