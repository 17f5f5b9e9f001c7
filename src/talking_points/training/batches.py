"""Training batches from scenes. A batch is a function of the seed and the step, so a resumed run sees the same ones."""

# B photos, P points or texts a photo, G targets of one photo, S side of the square

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from talking_points.dataset.keypoints import PointSample, sample_points
from talking_points.dataset.relations import DIALECTS, Dialect
from talking_points.dataset.scene import Scene, compose
from talking_points.dataset.synthesis import facts_of_points, region_caption, region_phrase, write_point_text
from talking_points.images import letterbox
from talking_points.points import photo_to_square
from talking_points.training.segmentation import MaskTargets

MASK_STRIDE = 4
WHOLE_SHARE = 0.3
"""Of the scenes that the base and the roles are shown, whole photos; crops and mosaics of them are the others."""
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
class BaseBatch:
    """What the base learns from: masks with class words, captions of marked regions, phrases that point at regions,
    and texts about points, to be written and to be found."""

    pixels_B3SS: Tensor
    targets: list[MaskTargets]
    dense: DenseTargets
    points_BP2: Tensor
    """A point in each captioned region, [0, 1]^2 of the square."""
    captions: list[list[str]]
    phrases: list[list[str]]
    phrase_masks_BPHW: Tensor
    text_points_BP2: Tensor
    """The points that the texts are about, [0, 1]^2 of the square."""
    texts: list[list[str]]
    point_places_BP4: Tensor
    """Places of the points, those of captions first, then those of texts; as `DenseTargets.places_B4HW` of cells."""
    point_masks_BPHW: Tensor
    """The parts that the points are on, those of captions first, then those of texts; at stride 4."""
    point_classes_BP: Tensor
    record_ids: list[str]

    def to(self, device: torch.device) -> BaseBatch:
        """The batch on a device."""
        return replace(
            self,
            pixels_B3SS=self.pixels_B3SS.to(device),
            targets=[
                MaskTargets(masks_GHW=t.masks_GHW.to(device), classes_G=t.classes_G.to(device)) for t in self.targets
            ],
            dense=self.dense.to(device),
            points_BP2=self.points_BP2.to(device),
            phrase_masks_BPHW=self.phrase_masks_BPHW.to(device),
            text_points_BP2=self.text_points_BP2.to(device),
            point_places_BP4=self.point_places_BP4.to(device),
            point_masks_BPHW=self.point_masks_BPHW.to(device),
            point_classes_BP=self.point_classes_BP.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingBatch:
    """What a base learns to read from: texts alone."""

    texts: list[str]
    places_P4: Tensor
    """As `DenseTargets.places_B4HW` of cells, of the points that the texts are about."""
    record_ids: list[str]

    def to(self, device: torch.device) -> ReadingBatch:
        """The batch on a device."""
        return replace(self, places_P4=self.places_P4.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class PointBatch:
    """What the adapters learn from: points and their texts."""

    pixels_B3SS: Tensor
    photo_keys: list[bytes]
    """Hashes of the squares: equal ones look the same."""
    points_BP2: Tensor
    """[0, 1]^2 of the square."""
    texts: list[list[str]]
    record_ids: list[str]

    def to(self, device: torch.device) -> PointBatch:
        """The batch on a device."""
        return replace(self, pixels_B3SS=self.pixels_B3SS.to(device), points_BP2=self.points_BP2.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSizes:
    """How much goes into one step."""

    photos: int = 8
    """Scenes a step."""
    points: int = 8
    """Points (or phrases, captions and texts) of each scene."""

    def __post_init__(self) -> None:
        for name in ("photos", "points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: at least 1")


def scene_pixels(scene: Scene, side: int) -> Tensor:
    """(3, side, side) letterboxed, normalised."""
    return torch.from_numpy(letterbox(Image.fromarray(scene.photo), side))


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


class TrunkBatches(Dataset[TrunkBatch]):
    """Step -> batch for the trunk."""

    def __init__(
        self, scenes: Sequence[Scene], class_names: Sequence[str], *, side: int, photos: int, seed: int, steps: int
    ) -> None:
        self.scenes, self.side, self.photos, self.seed, self.steps = scenes, side, photos, seed, steps
        self.class_of = {name: index for index, name in enumerate(class_names)}

    def __str__(self) -> str:
        return f"{len(self.scenes)} photos at {self.side} px, {self.photos} a step, seed {self.seed}"

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> TrunkBatch:
        # A stream apart from the base's and the adapters'.
        rng = np.random.default_rng([self.seed, step, 2])
        scenes = [compose(self.scenes, rng, self.side) for _ in range(self.photos)]
        part_maps = [part_map_on_square(scene, self.side // MASK_STRIDE) for scene in scenes]
        return TrunkBatch(
            pixels_B3SS=torch.stack([scene_pixels(scene, self.side) for scene in scenes]),
            dense=dense_targets(scenes, part_maps, self.class_of),
            record_ids=[scene.photo_id for scene in scenes],
        )


class BaseBatches(Dataset[BaseBatch]):
    """Step -> batch for the base."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        class_names: Sequence[str],
        *,
        dialects: Sequence[str],
        side: int,
        sizes: BatchSizes,
        seed: int,
        steps: int,
    ) -> None:
        self.scenes, self.side, self.sizes, self.seed, self.steps = scenes, side, sizes, seed, steps
        self.class_of = {name: index for index, name in enumerate(class_names)}
        self.dialects: list[Dialect] = [DIALECTS[name] for name in dialects]

    def __str__(self) -> str:
        return (
            f"{len(self.scenes)} photos at {self.side} px, {self.sizes.photos} x {self.sizes.points} a step, "
            f"seed {self.seed}"
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> BaseBatch:
        rng = np.random.default_rng([self.seed, step])
        # One dialect a step: its texts are of one length, and little is padding.
        dialect = self.dialects[int(rng.integers(len(self.dialects)))]
        rows = [self._photo(dialect, rng) for _ in range(self.sizes.photos)]
        return BaseBatch(
            pixels_B3SS=torch.stack([r["pixels"] for r in rows]),
            targets=[r["targets"] for r in rows],
            dense=dense_targets([r["scene"] for r in rows], [r["part_map"] for r in rows], self.class_of),
            points_BP2=torch.stack([r["points"] for r in rows]),
            captions=[r["captions"] for r in rows],
            phrases=[r["phrases"] for r in rows],
            phrase_masks_BPHW=torch.stack([r["phrase_masks"] for r in rows]),
            text_points_BP2=torch.stack([r["text_points"] for r in rows]),
            texts=[r["texts"] for r in rows],
            point_places_BP4=torch.stack([r["point_places"] for r in rows]),
            point_masks_BPHW=torch.stack([r["point_masks"] for r in rows]),
            point_classes_BP=torch.stack([r["point_classes"] for r in rows]),
            record_ids=[r["scene"].photo_id for r in rows],
        )

    def _photo(self, dialect: Dialect, rng: np.random.Generator) -> dict[str, Any]:
        for _ in range(MAX_DRAWS):
            scene = compose(self.scenes, rng, self.side, whole_share=WHOLE_SHARE)
            cells = self.side // MASK_STRIDE
            part_map = part_map_on_square(scene, cells)
            regions = self._regions(scene, part_map)
            named = self._phrases(scene, regions, rng)
            if regions and named:
                break
        else:
            raise ValueError(f"{MAX_DRAWS} composed scenes in a row have no region to name; do the photos have labels?")
        captioned = draw_points(scene, self.sizes.points, rng)
        captions = [region_caption(scene, part_index=sample.part_index, rng=rng) for sample in captioned]
        described = draw_points(scene, self.sizes.points, rng)
        parts = [sample.part_index for sample in captioned + described]
        return {
            "scene": scene,
            "part_map": part_map,
            "pixels": scene_pixels(scene, self.side),
            "targets": MaskTargets(
                masks_GHW=torch.from_numpy(np.stack([m for _, _, m in regions]).astype(np.float32)),
                classes_G=torch.tensor([self.class_of[self._name(scene, kind, i)] for kind, i, _ in regions]),
            ),
            "points": square_tensor([(one.x, one.y) for one in captioned], scene),
            "captions": captions,
            "phrases": [phrase for phrase, _ in named],
            "phrase_masks": torch.from_numpy(np.stack([m for _, m in named]).astype(np.float32)),
            "text_points": square_tensor([(one.x, one.y) for one in described], scene),
            "texts": [
                write_point_text(facts, dialect, rng)
                for facts in facts_of_points(scene, [(one.x, one.y) for one in described])
            ],
            "point_places": torch.tensor([place_in_boxes(scene, one) for one in captioned + described]),
            "point_masks": torch.from_numpy(np.stack([part_map == k + 1 for k in parts]).astype(np.float32)),
            "point_classes": torch.tensor([self.class_of[scene.parts[k].name] for k in parts]),
        }

    @staticmethod
    def _name(scene: Scene, kind: str, index: int) -> str:
        return scene.objects[index].name if kind == "object" else scene.parts[index].name

    @staticmethod
    def _regions(scene: Scene, part_map: NDArray[np.int16]) -> list[tuple[str, int, NDArray[np.bool_]]]:
        """Every object and part that covers a cell: kind, index, mask."""
        owner = np.array([-1, *(p.object_index for p in scene.parts)])[part_map]
        objects = [("object", i, owner == i) for i in range(len(scene.objects))]
        parts = [("part", i, part_map == i + 1) for i in range(len(scene.parts))]
        return [(kind, i, mask) for kind, i, mask in objects + parts if mask.any()]

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


class ReadingBatches(Dataset[ReadingBatch]):
    """Step -> texts with the places that they speak of, for a base that is to learn to read them."""

    def __init__(
        self, scenes: Sequence[Scene], *, dialects: Sequence[str], side: int, sizes: BatchSizes, seed: int, steps: int
    ) -> None:
        self.scenes, self.side, self.sizes, self.seed, self.steps = scenes, side, sizes, seed, steps
        self.dialects: list[Dialect] = [DIALECTS[name] for name in dialects]

    def __str__(self) -> str:
        return (
            f"{len(self.scenes)} photos, texts of {self.sizes.photos} x {self.sizes.points} points a step, "
            f"seed {self.seed}"
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> ReadingBatch:
        # A stream apart from the others'.
        rng = np.random.default_rng([self.seed, step, 3])
        dialect = self.dialects[int(rng.integers(len(self.dialects)))]
        scenes = [compose(self.scenes, rng, self.side, whole_share=WHOLE_SHARE) for _ in range(self.sizes.photos)]
        texts, places = [], []
        for scene in scenes:
            drawn = draw_points(scene, self.sizes.points, rng)
            facts = facts_of_points(scene, [(one.x, one.y) for one in drawn])
            texts += [write_point_text(known, dialect, rng) for known in facts]
            places += [place_in_boxes(scene, one) for one in drawn]
        return ReadingBatch(
            texts=texts, places_P4=torch.tensor(places), record_ids=[scene.photo_id for scene in scenes]
        )


class PointBatches(Dataset[PointBatch]):
    """Step -> batch for the adapters, of composed scenes."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        *,
        dialects: Sequence[str],
        side: int,
        sizes: BatchSizes,
        seed: int,
        steps: int,
        fixed: int | None = None,
    ) -> None:
        """
        Args:
            scenes: to compose from.
            dialects: of the texts, drawn for each step.
            side: of the square, in pixels.
            seed: with the step, all that a batch depends on.
            fixed: so many scenes and their points are composed, and come again in a new order each time, with new
                texts: what a feature cache needs. None: every scene is new.
        """
        if fixed is not None and fixed < 1:
            raise ValueError(f"scenes is {fixed}; allowed: at least 1")
        self.scenes, self.side, self.sizes, self.seed, self.steps = scenes, side, sizes, seed, steps
        self.fixed = fixed
        self.dialects: list[Dialect] = [DIALECTS[name] for name in dialects]
        self.samples, self.most_parts = sizes.photos * sizes.points, sizes.photos

    def __str__(self) -> str:
        again = "" if self.fixed is None else f" as {self.fixed} scenes"
        return (
            f"{len(self.scenes)} photos{again} at {self.side} px, {self.sizes.photos} x {self.sizes.points} a step, "
            f"seed {self.seed}, dialects {', '.join(d.name for d in self.dialects)}"
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> PointBatch:
        return self.part(step, 0, 1)

    def part(self, step: int, index: int, of: int) -> PointBatch:
        """Every `of`-th photo of a step, from photo `index` on; each is a function of seed, step and its number."""
        dialect = self.dialects[int(np.random.default_rng([self.seed, step, 1]).integers(len(self.dialects)))]
        shown, points, texts = [], [], []
        for number in range(index, self.sizes.photos, of):
            rng = np.random.default_rng([self.seed, step, 1, number])
            scene, places = self._scene(step * self.sizes.photos + number, rng)
            shown.append(scene)
            points.append(square_tensor(places, scene))
            texts.append([write_point_text(facts, dialect, rng) for facts in facts_of_points(scene, places)])
        return point_batch(
            [scene_pixels(scene, self.side) for scene in shown], points, texts, [scene.photo_id for scene in shown]
        )

    def _scene(self, turn: int, rng: np.random.Generator) -> tuple[Scene, list[tuple[float, float]]]:
        """The scene that is shown at a turn, and its points in pixels."""
        if self.fixed is not None:
            epoch, place = divmod(turn, self.fixed)
            order = np.random.default_rng([self.seed, epoch, 4]).permutation(self.fixed)
            # Streams apart from those of steps: they have another length.
            rng = np.random.default_rng([self.seed, 3, int(order[place]), 0, 0])
        scene = compose(self.scenes, rng, self.side, whole_share=WHOLE_SHARE)
        return scene, [(one.x, one.y) for one in draw_points(scene, self.sizes.points, rng)]


def point_batch(
    pixels: Sequence[Tensor], points: Sequence[Tensor], texts: list[list[str]], record_ids: list[str]
) -> PointBatch:
    """Photos with as many points each, together."""
    return PointBatch(
        pixels_B3SS=torch.stack(list(pixels)),
        photo_keys=[hashlib.blake2b(one.numpy().data, digest_size=16).digest() for one in pixels],
        points_BP2=torch.stack(list(points)),
        texts=texts,
        record_ids=record_ids,
    )


def draw_points(scene: Scene, count: int, rng: np.random.Generator) -> list[PointSample]:
    """Exactly `count` points; a scene with fewer gives some twice."""
    samples = sample_points(scene, count, rng)
    return [samples[k % len(samples)] for k in range(count)]


def square_tensor(points_px: Sequence[tuple[float, float]], scene: Scene) -> Tensor:
    """(P, 2) float32 in the square's [0, 1]^2."""
    return torch.tensor(photo_to_square(points_px, scene.size_wh), dtype=torch.float32)


def first_of(batch: list[Any]) -> Any:
    """Collate for datasets whose items are batches already."""
    return batch[0]


def batches_from(dataset: Dataset[Any], start: int, *, workers: int) -> DataLoader[Any]:
    """Items start, start + 1, ..., made ahead of time by worker processes."""
    steps = range(start, len(dataset))  # type: ignore[arg-type]
    return DataLoader(
        dataset,
        batch_size=1,
        sampler=list(steps),
        num_workers=workers,
        collate_fn=first_of,
        prefetch_factor=4 if workers else None,
        # A generator of its own: drawing from torch's would make a resumed run's dropout differ.
        generator=torch.Generator(),
    )
