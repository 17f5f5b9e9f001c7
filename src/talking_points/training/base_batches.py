"""Batches of scenes for the stages of mini's base. Each is a function of the seed and the step."""

# B photos, P points or texts a photo, G targets of one photo, S side of the square

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from talking_points.dataset.keypoints import PointSample
from talking_points.dataset.relations import DIALECTS, Dialect
from talking_points.dataset.scene import Scene, compose
from talking_points.dataset.synthesis import facts_of_points, region_caption, region_phrase, write_point_text
from talking_points.training.batches import WHOLE_SHARE, BatchSizes, draw_points, scene_pixels, square_tensor
from talking_points.training.segmentation import MaskTargets

MASK_STRIDE = 4
MAX_DRAWS = 20
"""Scenes drawn before giving up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseTargets:
    """What every stride-4 cell of B squares shows."""

    classes_BHW: Tensor
    """Class of the cell's part; -1 on the background."""
    places_B4HW: Tensor
    """x, y in the part's box, then x, y in the object's box, each in [0, 1]; 0 on the background."""

    def to(self, device: torch.device) -> DenseTargets:
        """The targets on a device."""
        return DenseTargets(classes_BHW=self.classes_BHW.to(device), places_B4HW=self.places_B4HW.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkBatch:
    """What the trunk learns from before anything else: what each cell shows, and where on it the cell is."""

    pixels_B3SS: Tensor
    dense: DenseTargets
    record_ids: list[str]

    def to(self, device: torch.device) -> TrunkBatch:
        """The batch on a device."""
        return replace(self, pixels_B3SS=self.pixels_B3SS.to(device), dense=self.dense.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionBatch:
    """What the vision encoder learns from: masks with class words, places, and points that know where they are."""

    pixels_B3SS: Tensor
    targets: list[MaskTargets]
    dense: DenseTargets
    points_BP2: Tensor
    """[0, 1]^2 of the square."""
    point_places_BP4: Tensor
    """As `DenseTargets.places_B4HW` of cells."""
    point_masks_BPHW: Tensor
    """The parts that the points are on, at stride 4."""
    point_classes_BP: Tensor
    """Of these parts."""
    record_ids: list[str]

    def to(self, device: torch.device) -> VisionBatch:
        """The batch on a device."""
        return replace(
            self,
            pixels_B3SS=self.pixels_B3SS.to(device),
            targets=[
                MaskTargets(masks_GHW=t.masks_GHW.to(device), classes_G=t.classes_G.to(device)) for t in self.targets
            ],
            dense=self.dense.to(device),
            points_BP2=self.points_BP2.to(device),
            point_places_BP4=self.point_places_BP4.to(device),
            point_masks_BPHW=self.point_masks_BPHW.to(device),
            point_classes_BP=self.point_classes_BP.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PointFactNumbers:
    """What a text about a point says in words, as far as masks say it."""

    places_P6: Tensor
    """x, y in the box of the part, in that of the object, and in the square, each in [0, 1]."""
    part_classes_P: Tensor
    object_classes_P: Tensor

    def to(self, device: torch.device) -> PointFactNumbers:
        """The numbers on a device."""
        return PointFactNumbers(
            places_P6=self.places_P6.to(device),
            part_classes_P=self.part_classes_P.to(device),
            object_classes_P=self.object_classes_P.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseBatch:
    """What the base learns from: what its encoder does, captions of marked regions, phrases that point at regions, and
    texts about points, to be written and to be found."""

    vision: VisionBatch
    """Its points: one in each captioned region, then those that the texts are about."""
    captions: list[list[str]]
    phrases: list[list[str]]
    phrase_masks_BPHW: Tensor
    written: list[list[str]]
    """Texts about the points in the dialect that descriptors write."""
    read: list[list[str]]
    """Texts about the same points in one of the dialects that localizers read."""
    point_facts: PointFactNumbers
    """Of the points that the texts are about."""

    @property
    def record_ids(self) -> list[str]:
        return self.vision.record_ids

    def to(self, device: torch.device) -> BaseBatch:
        """The batch on a device."""
        return replace(
            self,
            vision=self.vision.to(device),
            phrase_masks_BPHW=self.phrase_masks_BPHW.to(device),
            point_facts=self.point_facts.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageBatch:
    """What a base's language model learns from without photos: texts and the facts that they put in words."""

    facts: PointFactNumbers
    """Of P points."""
    read: list[str]
    """A text about each, in one of the dialects that localizers read."""
    written: list[str]
    """A text about some, in the dialect that descriptors write."""
    written_about: Tensor
    """Indices of these points."""
    record_ids: list[str]

    def to(self, device: torch.device) -> LanguageBatch:
        """The batch on a device."""
        return replace(self, facts=self.facts.to(device), written_about=self.written_about.to(device))


def part_map_on_square(scene: Scene, cells: int) -> NDArray[np.int16]:
    """The scene's part map seen in (cells, cells) of the square; 0 on background and padding."""
    x, y = _cell_centres_px(scene, cells)
    width, height = scene.size_wh
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    inside = ((row >= 0) & (row < height))[:, None] & ((column >= 0) & (column < width))[None]
    seen = scene.part_map[np.clip(row, 0, height - 1)[:, None], np.clip(column, 0, width - 1)[None]]
    return np.where(inside, seen, 0).astype(np.int16)


def places_on_square(scene: Scene, part_map: NDArray[np.int16]) -> NDArray[np.float32]:
    """(4, cells, cells): x, y in the box of each cell's part and in that of its object, in [0, 1].

    part_map: from `part_map_on_square`.
    """
    x, y = _cell_centres_px(scene, len(part_map))
    nothing = (0.0, 0.0, 1.0, 1.0)
    part_boxes = np.array([nothing, *(part.box_xyxy for part in scene.parts)], dtype=np.float32)
    object_boxes = np.array(
        [nothing, *(scene.objects[part.object_index].box_xyxy for part in scene.parts)], dtype=np.float32
    )
    places = []
    for boxes in (part_boxes, object_boxes):
        x0, y0, x1, y1 = np.moveaxis(boxes[part_map], -1, 0)
        places += [(x[None] - x0) / (x1 - x0), (y[:, None] - y0) / (y1 - y0)]
    return np.where(part_map > 0, np.stack(places), 0).clip(0, 1).astype(np.float32)


def place_in_boxes(scene: Scene, sample: PointSample) -> tuple[float, float, float, float]:
    """x, y of a point in the box of its part, then in that of its object, in [0, 1]."""
    part = scene.parts[sample.part_index]
    places: list[float] = []
    for x0, y0, x1, y1 in (part.box_xyxy, scene.objects[part.object_index].box_xyxy):
        places += [(sample.x - x0) / (x1 - x0), (sample.y - y0) / (y1 - y0)]
    x, y, object_x, object_y = (min(1.0, max(0.0, place)) for place in places)
    return x, y, object_x, object_y


def _cell_centres_px(scene: Scene, cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x of the columns and y of the rows of the square's cells, in pixels of the scene's photo."""
    width, height = scene.size_wh
    long_side = max(width, height)
    centre = (np.arange(cells) + 0.5) * long_side / cells
    return centre - (long_side - width) // 2, centre - (long_side - height) // 2


def dense_targets(
    scenes: Sequence[Scene], part_maps: Sequence[NDArray[np.int16]], class_of: Mapping[str, int]
) -> DenseTargets:
    """Targets of scenes, from their part maps on the square."""
    classes = [
        np.array([-1, *(class_of[part.name] for part in scene.parts)])[part_map]
        for scene, part_map in zip(scenes, part_maps, strict=True)
    ]
    places = [places_on_square(scene, part_map) for scene, part_map in zip(scenes, part_maps, strict=True)]
    return DenseTargets(classes_BHW=torch.from_numpy(np.stack(classes)), places_B4HW=torch.from_numpy(np.stack(places)))


class _StageBatches(Dataset[Any]):
    """Step -> batch of composed scenes; each scene is a function of the seed, the step and its number in it."""

    stream: ClassVar[int]
    """Keeps the scenes of one stage apart from another's."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        class_names: Sequence[str],
        *,
        side: int,
        sizes: BatchSizes,
        seed: int,
        steps: int,
    ) -> None:
        self.scenes, self.side, self.sizes, self.seed, self.steps = scenes, side, sizes, seed, steps
        self.class_of = {name: index for index, name in enumerate(class_names)}
        self.most_parts = sizes.photos

    def __str__(self) -> str:
        return (
            f"{len(self.scenes)} photos at {self.side} px, {self.sizes.photos} x {self.sizes.points} a step, "
            f"seed {self.seed}"
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Any:
        return self.part(step, 0, 1)

    def part(self, step: int, index: int, of: int) -> Any:
        """Every `of`-th scene of a step, from scene `index` on."""
        raise NotImplementedError

    def _generators(self, step: int, index: int, of: int) -> list[np.random.Generator]:
        return [
            np.random.default_rng([self.seed, step, self.stream, number])
            for number in range(index, self.sizes.photos, of)
        ]

    def _dialect(self, step: int, dialects: Sequence[str]) -> Dialect:
        """One a step: its texts are of one length, and little is padding."""
        rng = np.random.default_rng([self.seed, step, self.stream])
        return DIALECTS[dialects[int(rng.integers(len(dialects)))]]

    def _scene(self, rng: np.random.Generator) -> Scene:
        return compose(self.scenes, rng, self.side, whole_share=WHOLE_SHARE)


class TrunkBatches(_StageBatches):
    """Step -> `TrunkBatch`."""

    stream = 2

    def part(self, step: int, index: int, of: int) -> TrunkBatch:
        scenes = [compose(self.scenes, rng, self.side) for rng in self._generators(step, index, of)]
        part_maps = [part_map_on_square(scene, self.side // MASK_STRIDE) for scene in scenes]
        return TrunkBatch(
            pixels_B3SS=torch.stack([scene_pixels(scene, self.side) for scene in scenes]),
            dense=dense_targets(scenes, part_maps, self.class_of),
            record_ids=[scene.photo_id for scene in scenes],
        )


class VisionBatches(_StageBatches):
    """Step -> `VisionBatch`."""

    stream = 5

    def part(self, step: int, index: int, of: int) -> VisionBatch:
        return vision_batch([self._photo(rng) for rng in self._generators(step, index, of)], self.class_of)

    def _photo(self, rng: np.random.Generator) -> _Seen:
        for _ in range(MAX_DRAWS):
            scene = self._scene(rng)
            seen = _seen(scene, self.side, draw_points(scene, self.sizes.points, rng))
            if seen.regions:
                return seen
        raise ValueError(f"{MAX_DRAWS} composed scenes in a row have no region; do the photos have labels?")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A scene of a `VisionBatch`."""

    scene: Scene
    side: int
    part_map: NDArray[np.int16]
    """On the square, at stride 4."""
    regions: list[tuple[str, int, NDArray[np.bool_]]]
    """Every object and part that covers a cell: kind, index, mask."""
    points: list[PointSample]


def _seen(scene: Scene, side: int, points: list[PointSample]) -> _Seen:
    part_map = part_map_on_square(scene, side // MASK_STRIDE)
    owner = np.array([-1, *(p.object_index for p in scene.parts)])[part_map]
    objects = [("object", i, owner == i) for i in range(len(scene.objects))]
    parts = [("part", i, part_map == i + 1) for i in range(len(scene.parts))]
    regions = [(kind, i, mask) for kind, i, mask in objects + parts if mask.any()]
    return _Seen(scene=scene, side=side, part_map=part_map, regions=regions, points=points)


def vision_batch(rows: Sequence[_Seen], class_of: Mapping[str, int]) -> VisionBatch:
    """Scenes together."""

    def name(scene: Scene, kind: str, index: int) -> str:
        return scene.objects[index].name if kind == "object" else scene.parts[index].name

    parts = [[point.part_index for point in row.points] for row in rows]
    return VisionBatch(
        pixels_B3SS=torch.stack([scene_pixels(row.scene, row.side) for row in rows]),
        targets=[
            MaskTargets(
                masks_GHW=torch.from_numpy(np.stack([m for _, _, m in row.regions]).astype(np.float32)),
                classes_G=torch.tensor([class_of[name(row.scene, kind, i)] for kind, i, _ in row.regions]),
            )
            for row in rows
        ],
        dense=dense_targets([row.scene for row in rows], [row.part_map for row in rows], class_of),
        points_BP2=torch.stack([square_tensor([(p.x, p.y) for p in row.points], row.scene) for row in rows]),
        point_places_BP4=torch.tensor([[place_in_boxes(row.scene, p) for p in row.points] for row in rows]),
        point_masks_BPHW=torch.from_numpy(
            np.stack([np.stack([row.part_map == k + 1 for k in of]) for row, of in zip(rows, parts, strict=True)])
        ).float(),
        point_classes_BP=torch.tensor(
            [[class_of[row.scene.parts[k].name] for k in of] for row, of in zip(rows, parts, strict=True)]
        ),
        record_ids=[row.scene.photo_id for row in rows],
    )


def fact_numbers(scene: Scene, points: Sequence[PointSample], class_of: Mapping[str, int]) -> PointFactNumbers:
    """Facts of points of one scene."""
    parts = [scene.parts[one.part_index] for one in points]
    square_P2 = square_tensor([(one.x, one.y) for one in points], scene)
    return PointFactNumbers(
        places_P6=torch.cat([torch.tensor([place_in_boxes(scene, one) for one in points]), square_P2], dim=-1),
        part_classes_P=torch.tensor([class_of[part.name] for part in parts]),
        object_classes_P=torch.tensor([class_of[scene.objects[part.object_index].name] for part in parts]),
    )


def joined_facts(rows: Sequence[PointFactNumbers]) -> PointFactNumbers:
    """Facts of points of several scenes, one scene after the other."""
    return PointFactNumbers(
        places_P6=torch.cat([one.places_P6 for one in rows]),
        part_classes_P=torch.cat([one.part_classes_P for one in rows]),
        object_classes_P=torch.cat([one.object_classes_P for one in rows]),
    )


class BaseBatches(_StageBatches):
    """Step -> `BaseBatch`."""

    stream = 6

    def __init__(
        self,
        scenes: Sequence[Scene],
        class_names: Sequence[str],
        *,
        written: str,
        read: Sequence[str],
        side: int,
        sizes: BatchSizes,
        seed: int,
        steps: int,
    ) -> None:
        """
        Args:
            written: dialect that descriptors write.
            read: dialects that localizers read, each as often as it is named.
        """
        super().__init__(scenes, class_names, side=side, sizes=sizes, seed=seed, steps=steps)
        self.written, self.read = DIALECTS[written], read

    def part(self, step: int, index: int, of: int) -> BaseBatch:
        dialect = self._dialect(step, self.read)
        rows = [self._photo(dialect, rng) for rng in self._generators(step, index, of)]
        return BaseBatch(
            vision=vision_batch([r["seen"] for r in rows], self.class_of),
            captions=[r["captions"] for r in rows],
            phrases=[r["phrases"] for r in rows],
            phrase_masks_BPHW=torch.stack([r["phrase_masks"] for r in rows]),
            written=[r["written"] for r in rows],
            read=[r["read"] for r in rows],
            point_facts=joined_facts([r["facts"] for r in rows]),
        )

    def _photo(self, dialect: Dialect, rng: np.random.Generator) -> dict[str, Any]:
        for _ in range(MAX_DRAWS):
            scene = self._scene(rng)
            captioned = draw_points(scene, self.sizes.points, rng)
            described = draw_points(scene, self.sizes.points, rng)
            seen = _seen(scene, self.side, captioned + described)
            named = self._phrases(scene, seen.regions, rng)
            if named:
                break
        else:
            raise ValueError(f"{MAX_DRAWS} composed scenes in a row have no region to name; do the photos have labels?")
        facts = facts_of_points(scene, [(one.x, one.y) for one in described])
        return {
            "seen": seen,
            "captions": [region_caption(scene, part_index=sample.part_index, rng=rng) for sample in captioned],
            "phrases": [phrase for phrase, _ in named],
            "phrase_masks": torch.from_numpy(np.stack([m for _, m in named]).astype(np.float32)),
            "written": [write_point_text(known, self.written, rng) for known in facts],
            "read": [write_point_text(known, dialect, rng) for known in facts],
            "facts": fact_numbers(scene, described, self.class_of),
        }

    def _phrases(
        self, scene: Scene, regions: list[tuple[str, int, NDArray[np.bool_]]], rng: np.random.Generator
    ) -> list[tuple[str, NDArray[np.bool_]]]:
        """`points` phrases, each with the mask it points at; fewer regions are named more than once."""
        named: list[tuple[str, NDArray[np.bool_]]] = []
        for _ in range(2):
            for k in rng.permutation(len(regions)):
                kind, index, mask = regions[int(k)]
                phrase = (
                    region_phrase(scene, object_index=index, rng=rng)
                    if kind == "object"
                    else region_phrase(scene, part_index=index, rng=rng)
                )
                if phrase is not None:
                    named.append((phrase, mask))
        while named and len(named) < self.sizes.points:
            named = named + named
        return named[: self.sizes.points]


class LanguageBatches(_StageBatches):
    """Step -> `LanguageBatch`. Every point has a text to be read, every second one a text to be written."""

    stream = 3

    def __init__(
        self,
        scenes: Sequence[Scene],
        class_names: Sequence[str],
        *,
        written: str,
        read: Sequence[str],
        side: int,
        sizes: BatchSizes,
        seed: int,
        steps: int,
    ) -> None:
        """Arguments as of `BaseBatches`."""
        super().__init__(scenes, class_names, side=side, sizes=sizes, seed=seed, steps=steps)
        self.written, self.read = DIALECTS[written], read

    def part(self, step: int, index: int, of: int) -> LanguageBatch:
        dialect = self._dialect(step, self.read)
        record_ids, numbers, read, written = [], [], [], []
        about: list[int] = []
        for rng in self._generators(step, index, of):
            scene = self._scene(rng)
            drawn = draw_points(scene, self.sizes.points, rng)
            facts = facts_of_points(scene, [(one.x, one.y) for one in drawn])
            record_ids.append(scene.photo_id)
            numbers.append(fact_numbers(scene, drawn, self.class_of))
            read += [write_point_text(one, dialect, rng) for one in facts]
            # Of every second one: writing costs several times as much to learn from as reading.
            about += range(len(read) - len(facts), len(read), 2)
            written += [write_point_text(one, self.written, rng) for one in facts[::2]]
        return LanguageBatch(
            facts=joined_facts(numbers),
            read=read,
            written=written,
            written_about=torch.tensor(about),
            record_ids=record_ids,
        )
