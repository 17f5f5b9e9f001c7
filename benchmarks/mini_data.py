"""The photos, labels and texts that `mini` is measured on. They lie outside the repository, in one folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from talking_points.dataset.scene import Scene, box_area
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.skeletons import JOINT_SHARE
from talking_points.dataset.sources.source import Source
from talking_points.evaluation.samples import Sample
from talking_points.evaluation.sets import make_set
from talking_points.labels.coco import read_coco
from talking_points.part_sides import without_side
from talking_points.photos import open_photo
from talking_points.points import check_point
from talking_points.samples import FoundPoint

SETS = {
    "clothing_parts": "label-map",
    "car_parts": "coco-parts",
    "coco_people": "coco.people",
    "coco_objects": "coco.objects",
    "livestock": "coco.livestock",
    "pets": "coco.pets",
    "facades": "coco.facades",
}
"""Folder in the data to the source that reads it, as `recipes/mini` has them."""
LABELS = Path(__file__).with_name("data") / "labels.json"
ABSENT = Path(__file__).with_name("data") / "absent.jsonl"
KINDS = ("absent", "wrong")
"""Of texts that do not fit: a thing that the photo does not show; a thing that it shows, with a wrong part or look."""
PHRASE_KINDS = ("true", *KINDS, "implausible")
"""Of phrases: true ones fit; an implausible one names a thing that hardly any photo shows."""
FITTING = Path(__file__).with_name("data") / "fitting.jsonl"
PHRASES = Path(__file__).with_name("data") / "phrases.jsonl"
VERDICTS = ("no", "elsewhere", "yes")
"""Of a text on another photo: nothing there is meant by it; the thing is there, but not where it says; it fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeText:
    """A point of a photo, described freely by somebody who looked."""

    where: Sample
    """Set and photo make the photo's id; without a text."""
    photo_id: str
    """Of the photo in its source."""
    split: str
    long: str
    short: str


JOINTS = frozenset(
    ("nose", "eye", "ear", "mouth", "neck", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "hock", "front knee")
    + ("hind knee", "front foot", "hind foot", "base of the tail", "side of the chest")
)
"""Parts that are discs in sets with skeletons, where no limb or landmark of the name is drawn."""


def is_joint_disc(scene: Scene, part_index: int) -> bool:
    """Whether a part is no more than the disc that is drawn around a joint, by its name and its size."""
    part = scene.parts[part_index]
    thing = scene.objects[part.object_index]
    x0, y0, x1, y1 = part.box_xyxy
    diameter = 2 * JOINT_SHARE * math.sqrt(box_area(thing.box_xyxy)) + 1
    return without_side(part.name) in JOINTS and max(x1 - x0, y1 - y0) <= diameter


@cache
def source_of(data: Path, name: str, split: str) -> Source:
    """One split of a set, listed once.

    Raises:
        ValueError, FileNotFoundError: there is no such set, split or folder; says which.
    """
    if name not in SETS:
        raise ValueError(f"set is {name!r}; allowed: {', '.join(SETS)}")
    return open_source(SETS[name], data / name, split)


@cache
def _ids_by_file(data: Path, name: str, split: str) -> Mapping[str, str]:
    return {path.name: photo_id for photo_id, path in source_of(data, name, split).paths.items()}


def photo_id_of(data: Path, name: str, split: str, photo: str) -> str:
    """A photo's id in its source by its file's name; ValueError where the set has none of that name."""
    found = _ids_by_file(data, name, split).get(photo)
    if found is None:
        raise ValueError(f"{data / name} has no photo {photo!r} in its {split} split; give the folder that has it")
    return found


def open_at_size(path: Path, size_wh: tuple[int, int]) -> Image.Image:
    """A photo, ValueError where it has another size than the points that are asked of it."""
    photo = open_photo(path)
    if photo.size != size_wh:
        found, stated = ("{}x{}".format(*size) for size in (photo.size, size_wh))
        raise ValueError(f"{path} is {found}, its points are of a {stated} photo; give the photos at that size")
    return photo


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or a line is no object; says which.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    lines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            lines.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}") from None
    return lines


@contextmanager
def named_line(path: Path, number: int) -> Iterator[None]:
    """Errors in what a line holds say which line it is, as ValueError."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path}, line {number}: {error.args[0]!r} is missing") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}, line {number}: {error}") from None


def read_free_texts(path: Path, data: Path) -> list[FreeText]:
    """Free texts about points: lines of `set`, `split`, `photo`, `width`, `height`, `x`, `y`, `long`, `short`.

    Raises:
        FileNotFoundError, ValueError: a file or photo is missing, or a line is not so; says which.
    """
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        with named_line(path, number):
            name, split, photo = (str(line[key]) for key in ("set", "split", "photo"))
            size_wh = int(line["width"]), int(line["height"])
            point = check_point((float(line["x"]), float(line["y"])), size_wh)
            long, short = (str(line[key]) for key in ("long", "short"))
            photo_id = photo_id_of(data, name, split, photo)
        where = Sample(
            sample_id=f"line {number}",
            photo_id=f"{name}/{photo}",
            open_photo=partial(open_at_size, source_of(data, name, split).paths[photo_id], size_wh),
            size_wh=size_wh,
            point_px=point,
            source=name,
        )
        found.append(FreeText(where=where, photo_id=photo_id, split=split, long=long, short=short))
    return found


def read_absent(path: Path, data: Path) -> list[tuple[str, Sample]]:
    """Kinds, and samples with their texts, of things that are not in a photo.

    The file has lines of `set`, `split`, `photo`, `kind` and `text`. The samples' points and sizes mean nothing. Errors
    as `read_free_texts`.
    """
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        with named_line(path, number):
            name, split, photo, kind, text = (str(line[key]) for key in ("set", "split", "photo", "kind", "text"))
            if kind not in KINDS:
                raise ValueError(f"kind is {kind!r}; allowed: {', '.join(KINDS)}")
            photo_path = source_of(data, name, split).paths[photo_id_of(data, name, split, photo)]
        sample = Sample(
            sample_id=f"absent {number}",
            photo_id=f"{name}/{photo}",
            open_photo=partial(open_photo, photo_path),
            size_wh=(1, 1),
            point_px=(0.5, 0.5),
            text=text,
            source=name,
        )
        found.append((kind, sample))
    return found


def read_phrases(path: Path, data: Path) -> list[tuple[str, Sample]]:
    """Kinds, of `PHRASE_KINDS`, and samples with their texts, of phrases that fit a photo or not.

    The file has lines of `set`, `split`, `photo`, `width`, `height`, `kind`, `text` and, of true ones, `x` and `y`. The
    other samples' points mean nothing. Errors as `read_free_texts`.
    """
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        with named_line(path, number):
            name, split, photo, kind, text = (str(line[key]) for key in ("set", "split", "photo", "kind", "text"))
            if kind not in PHRASE_KINDS:
                raise ValueError(f"kind is {kind!r}; allowed: {', '.join(PHRASE_KINDS)}")
            size_wh = int(line["width"]), int(line["height"])
            point = check_point((float(line["x"]), float(line["y"])), size_wh) if kind == "true" else (0.5, 0.5)
            photo_path = source_of(data, name, split).paths[photo_id_of(data, name, split, photo)]
        sample = Sample(
            sample_id=f"phrase {number}",
            photo_id=f"{name}/{photo}",
            open_photo=partial(open_at_size, photo_path, size_wh),
            size_wh=size_wh,
            point_px=point,
            text=text,
            source=name,
        )
        found.append((kind, sample))
    return found


def read_answers(path: Path) -> dict[tuple[str, str], FoundPoint]:
    """What a reader who looked answered to phrases, by photo id and text: `there`, and `x`, `y` where it is true."""
    found = {}
    for number, line in enumerate(read_lines(path), start=1):
        with named_line(path, number):
            key, is_there = (str(line["photo"]), str(line["text"])), line["there"]
            if not isinstance(is_there, bool):
                raise ValueError(f"there is {is_there!r}; allowed: true, false")
            if key in found:
                raise ValueError(f"a second answer to {key[1]!r} of {key[0]}; give one")
            at = (float(line["x"]), float(line["y"])) if is_there else (math.nan, math.nan)
            found[key] = FoundPoint(point_px=at, confidence=None, runner_up_px=None, there=float(is_there))
    return found


def read_fitting(path: Path) -> dict[tuple[str, str], str]:
    """A reader's verdict (`VERDICTS`) on texts that stand on other photos than their own, by photo id and text."""
    verdicts = {(str(line["photo"]), str(line["text"])): str(line["there"]) for line in read_lines(path)}
    if wrong := set(verdicts.values()) - set(VERDICTS):
        raise ValueError(f"{path}: there is {min(wrong)!r}; allowed: {', '.join(VERDICTS)}")
    return verdicts


def some_photos(photos: Iterable[str], most: int | None, seed: int = 0) -> set[str]:
    """At most so many photos, in turn one of each set, drawn at random; equal seeds draw equally.

    photos: their ids, "SET/PHOTO".
    """
    of_set: dict[str, list[str]] = {}
    for photo in sorted(set(photos)):
        of_set.setdefault(photo.partition("/")[0], []).append(photo)
    rng = np.random.default_rng(seed)
    shuffled = [[some[int(k)] for k in rng.permutation(len(some))] for some in of_set.values()]
    turns = [photo for turn in range(max(map(len, shuffled), default=0)) for photo in _turn(shuffled, turn)]
    return set(turns if most is None else turns[:most])


def _turn(of_set: Sequence[Sequence[str]], turn: int) -> list[str]:
    return [some[turn] for some in of_set if turn < len(some)]


def labelled_sets(
    data: Path, split: str, *, points: int, photos: int | None, seed: int = 0
) -> Iterator[tuple[str, list[Sample]]]:
    """Each set with points drawn in its labelled parts, as `evaluate --source` draws them, without texts.

    Photos are as they are on disk. The samples' source is the set, their photo id "SET/PHOTO". A photo without a
    labelled part gives none.

    Args:
        points: of a photo.
        photos: at most so many of all sets together.
    """
    listed = {name: source_of(data, name, split).photo_ids for name in SETS}
    wanted = some_photos((f"{name}/{photo}" for name, ids in listed.items() for photo in ids), photos, seed)
    for name, ids in listed.items():
        source = source_of(data, name, split)
        scenes = [source.read(photo) for photo in ids if f"{name}/{photo}" in wanted]
        drawn = make_set("plain", scenes, points=points, seed=seed)
        yield name, [_placed(sample, name, scenes) for sample in drawn]


def _placed(sample: Sample, name: str, scenes: Sequence[Scene]) -> Sample:
    """A sample of `make_set` with the names of its set."""
    _, scene, point = sample.sample_id.split("/")
    photo = f"{name}/{scenes[int(scene)].photo_id}"
    return replace(sample, sample_id=f"{photo}/{point}", photo_id=photo, source=name, text=None)


def read_labels(path: Path = LABELS) -> tuple[dict[str, dict[str, list[str]]], dict[str, str]]:
    """Sets to objects to their labelled parts, and breeds to animals, as `labels_of` gave them."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["labels"], content["breeds"]


def labels_of(data: Path) -> dict[str, Any]:
    """What is labelled in the train and test photos of the sets, and which breeds of animals the files name."""
    labels: dict[str, dict[str, set[str]]] = {}
    breeds: dict[str, str] = {}
    for name in SETS:
        of_set = labels.setdefault(name, {})
        for split in ("train", "test"):
            source = source_of(data, name, split)
            for photo_id in source.photo_ids:
                scene = source.read(photo_id)
                for thing in scene.objects:
                    of_set.setdefault(thing.name, set())
                for part in scene.parts:
                    thing_name = scene.objects[part.object_index].name
                    of_set[thing_name] |= {part.name} - {thing_name}
            annotations = data / name / split / "annotations.json"
            breeds |= _breeds(annotations) if annotations.is_file() else {}
    sets = {name: {thing: sorted(parts) for thing, parts in sorted(of.items())} for name, of in labels.items()}
    return {"labels": sets, "breeds": dict(sorted(breeds.items()))}


def _breeds(path: Path) -> dict[str, str]:
    coco = read_coco(path)
    return {
        str(photo.record["breed"]).lower(): str(coco.category_of(one)["name"])
        for photo in coco.photos.values()
        if photo.record.get("breed")
        for one in photo.annotations
        if coco.category_of(one).get("supercategory") != "part"
    }
