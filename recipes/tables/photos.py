"""Photos as the stages of `base` see them: what frozen eyes say, and what is labelled."""

# N photos, M cells a side of the mask feature, K classes, P points a photo

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from recipes.mini.examples import Names, class_of, on_square
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.scene import Scene
from talking_points.dataset.wordings import ways_to_say, with_article
from talking_points.model.network import PointNetwork
from talking_points.photos import letterbox
from talking_points.points import photo_to_square

POINTS = 8
"""Of a photo, for the prompt stage."""
COLOUR_CELL = 8
"""Pixels a side over which a colour is the mean."""
TOLD_PARTS = 6
"""Of an object, in a caption."""
FORMS = ("{n}", "the {n}", "the {n} of the {o}", "the {o}'s {n}")


@dataclass(kw_only=True)
class Seen:
    """N photos; what is kept of the eyes is in half precision."""

    scenes: Sequence[Scene]
    side: int
    last_NCHW: Tensor
    """The trunk's last stage."""
    mask_feature_NCMM: Tensor
    memories: list[Tensor]
    colour_N3HW: Tensor
    """Mean colours, normalised as the network's input."""
    classes_NMM: Tensor
    """0 is nothing labelled, k + 1 is class k."""
    parts_NMM: Tensor
    """0 is background, k + 1 is the scene's part k."""
    known_NK: Tensor
    """bool: the class would be labelled if it were shown."""
    points_NP2: Tensor
    """In [0, 1]^2 of the square."""
    part_NP: Tensor
    """Index of the scene's part that the point is on."""
    sided_NP: Tensor
    object_NP: Tensor
    """Index into the names; -1: not among them."""

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def image_hw(self) -> tuple[int, int]:
        return self.side, self.side

    def eyes(self, photos: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Of some photos, what `Segmenter.segment_seen` takes."""
        memories = [one[photos].float() for one in self.memories]
        return self.last_NCHW[photos].float(), self.mask_feature_NCMM[photos].float(), memories


@torch.no_grad()
def see(network: PointNetwork, scenes: Sequence[Scene], names: Names, rng: np.random.Generator) -> Seen:
    """Trunk and pixel decoder on each photo, once; points are drawn."""
    segmenter, side = network.segmenter, network.side
    cells = side // 4
    index = {name: k for k, name in enumerate(names.classes)}
    sided = {name: k for k, name in enumerate(names.sided)}
    things = {name: k for k, name in enumerate(names.objects)}
    rows: dict[str, list[Tensor]] = {}
    levels: list[list[Tensor]] = []
    kept = []
    for scene in scenes:
        drawn = sample_points(scene, POINTS, rng, sift_share=0.3)
        if not drawn:
            continue
        kept.append(scene)
        pixels = torch.from_numpy(letterbox(Image.fromarray(scene.photo), side))[None]
        stages = segmenter.trunk(pixels)
        mask_feature, memories = segmenter.pixel_decoder(stages)
        levels.append([one[0].half() for one in memories])
        table = np.array([0, *(index.get(class_of(part.name), -1) + 1 for part in scene.parts)], np.int16)
        classes = on_square(table[scene.part_map], cells, "nearest")
        known = np.zeros(len(names.classes), bool)
        known[[index[name] for name in names.known[scene.source]]] = True
        owners = [scene.objects[scene.parts[one.part_index].object_index].name for one in drawn]
        points = photo_to_square([(one.x, one.y) for one in drawn], scene.size_wh)
        row = {
            "last_NCHW": stages[-1][0].half(),
            "mask_feature_NCMM": mask_feature[0].half(),
            "colour_N3HW": F.avg_pool2d(pixels, COLOUR_CELL)[0],
            "classes_NMM": torch.from_numpy(classes),
            "parts_NMM": torch.from_numpy(on_square(scene.part_map, cells, "nearest")),
            "known_NK": torch.from_numpy(known),
            "points_NP2": torch.from_numpy(np.asarray(points, np.float32)),
            "part_NP": torch.tensor([one.part_index for one in drawn]),
            "sided_NP": torch.tensor([sided.get(scene.parts[one.part_index].name, -1) for one in drawn]),
            "object_NP": torch.tensor([things.get(name, -1) for name in owners]),
        }
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    stacked = {name: torch.stack(some) for name, some in rows.items()}
    memories = [torch.stack(some) for some in zip(*levels, strict=True)]
    return Seen(scenes=kept, side=side, memories=memories, **stacked)  # type: ignore[arg-type]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """What the photo shows, and no word of where: "A photo of a person with a shirt, a hat and jeans."."""
    told = []
    for k, thing in enumerate(scene.objects[:2]):
        mine = [part for part in scene.parts if part.object_index == k and part.name != thing.name]
        names = list(dict.fromkeys(class_of(part.name) for part in sorted(mine, key=lambda part: -part.area_px)))
        names = names[:TOLD_PARTS]
        of_parts = [with_article(name, name) for name in rng.permutation(names).tolist()]
        told.append(with_article(thing.name, thing.name) + (f" with {_joined(of_parts)}" if of_parts else ""))
    return f"A photo of {_joined(told)}."


def name_of_part(scene: Scene, k: int, rng: np.random.Generator) -> tuple[str, list[int]]:
    """How somebody would call part k, and all parts that the name fits."""
    part = scene.parts[k]
    owner = scene.objects[part.object_index].name
    called = part.name if rng.random() < 0.5 else class_of(part.name)
    fits = [j for j, other in enumerate(scene.parts) if called in (other.name, class_of(other.name))]
    ways = ways_to_say(called)
    form = FORMS[int(rng.integers(len(FORMS)))] if called != owner else "the {n}"
    return form.format(n=ways[int(rng.integers(len(ways)))], o=owner), fits


def _joined(some: Sequence[str]) -> str:
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"
