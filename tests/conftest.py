"""Small drawn scenes, and writers of datasets in the two layouts that the loaders read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import Scene, make_scene

LABELS = ["null", "hair", "skin", "shirt", "jeans", "shoes", "bag"]


def person_labels() -> np.ndarray:
    """(120, 60) a person in LABELS' numbers: hair, face, shirt, two arms, jeans, two shoes, a bag."""
    labels = np.zeros((120, 60), dtype=np.uint8)
    labels[6:12, 24:36] = 1
    labels[12:22, 25:35] = 2
    labels[22:60, 20:40] = 3
    labels[30:58, 16:20] = 2
    labels[30:58, 40:44] = 2
    labels[60:104, 21:39] = 4
    labels[104:112, 18:27] = 5
    labels[104:112, 33:42] = 5
    labels[60:76, 44:54] = 6
    return labels


COLOURS = np.array(
    [
        [200, 205, 200],
        [90, 55, 35],
        [225, 190, 165],
        [200, 30, 36],
        [30, 40, 90],
        [15, 15, 15],
        [40, 130, 60],
    ],
    dtype=np.uint8,
)


def write_label_map(folder: Path, photo_ids: list[str], test_ids: list[str]) -> None:
    for name in ("photos", "labels"):
        (folder / name).mkdir(parents=True)
    for photo_id in [*photo_ids, *test_ids]:
        labels = person_labels()
        Image.fromarray(COLOURS[labels]).save(folder / "photos" / f"{photo_id}.jpg", quality=95)
        Image.fromarray(labels).save(folder / "labels" / f"{photo_id}.png")
    (folder / "labels.json").write_text(json.dumps({"names": LABELS}))
    (folder / "splits.json").write_text(json.dumps({"train": photo_ids, "test": test_ids}))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


CATEGORIES = ["_background_", "wheel", "front_left_door", "left_mirror", "back_glass"]


def write_coco(folder: Path, photo_ids: list[str]) -> Path:
    """A car 100x60 seen from its left: a door, a mirror over it, two wheels in one annotation, rear glass.

    One more photo, "empty", has no annotations. Returns the path of the train split's annotations.
    """
    for split in ("train", "test"):
        (folder / split / "images").mkdir(parents=True)
        images, annotations = [], []
        for number, photo_id in enumerate([*photo_ids, "empty"], start=1):
            photo = np.full((60, 100, 3), 150, dtype=np.uint8)
            photo[10:45, 20:60] = (30, 60, 170)
            Image.fromarray(photo).save(folder / split / "images" / f"{photo_id}.jpg")
            images.append({"id": number, "file_name": f"{photo_id}.jpg", "width": 100, "height": 60})
            if photo_id == "empty":
                continue
            shapes = [
                # The small mirror comes first in the file, and yet must not be painted over by the door.
                ("left_mirror", [rectangle(25, 15, 33, 21)]),
                ("front_left_door", [rectangle(20, 10, 60, 45)]),
                ("wheel", [rectangle(10, 46, 22, 58), rectangle(70, 46, 82, 58)]),
                ("back_glass", [rectangle(70, 12, 90, 24)]),
                ("_background_", [rectangle(0, 0, 100, 60)]),
            ]
            for name, polygons in shapes:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": CATEGORIES.index(name) + 1,
                        "segmentation": polygons,
                    }
                )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": k, "name": name} for k, name in enumerate(CATEGORIES, start=1)],
        }
        (folder / split / "annotations.json").write_text(json.dumps(content))
    return folder / "train" / "annotations.json"


def drawn_person(shift: int = 0) -> Scene:
    """A 60x120 scene of one person, the shoes as two parts; `shift` moves the person sideways."""
    labels = np.roll(person_labels(), shift, axis=1)
    part_map = labels.astype(np.int16)
    middle = 30 + shift
    right_shoe = part_map == 5
    right_shoe[:, :middle] = False
    part_map[right_shoe] = 7
    # A little noise: real photos are never flat.
    noise = np.random.default_rng(0).integers(-6, 7, (*labels.shape, 3))
    photo = np.clip(COLOURS[labels].astype(np.int64) + noise, 0, 255).astype(np.uint8)
    names = ["hair", "face", "shirt", "jeans", "shoe", "bag", "shoe"]
    return make_scene(photo, part_map, names, [0] * 7, ["person"], source="drawn", photo_id=f"person{shift}")


def drawn_car() -> Scene:
    part_map = np.zeros((60, 100), dtype=np.int16)
    for k, (x0, y0, x1, y1) in enumerate(
        [(20, 10, 60, 45), (60, 15, 90, 40), (10, 46, 22, 58), (70, 46, 82, 58), (25, 15, 33, 21)], start=1
    ):
        part_map[y0:y1, x0:x1] = k
    noise = np.random.default_rng(1).integers(-6, 7, (60, 100, 3))
    tyre = (part_map == 3) | (part_map == 4)
    base = np.where(tyre[..., None], np.array([25, 25, 25]), np.array([30, 70, 160]))
    photo = np.clip(base + noise, 0, 255).astype(np.uint8)
    names = ["front left door", "back left door", "wheel", "wheel", "left mirror"]
    return make_scene(photo, part_map, names, [0] * 5, ["car"], source="cars", photo_id="car")


@pytest.fixture(scope="session")
def person() -> Scene:
    return drawn_person()


@pytest.fixture(scope="session")
def car() -> Scene:
    return drawn_car()


@pytest.fixture(scope="session")
def pool() -> list[Scene]:
    return [drawn_person(), drawn_person(4), drawn_person(-5), drawn_car()]


@pytest.fixture(scope="session")
def label_map_writer() -> Callable[[Path, list[str], list[str]], None]:
    return write_label_map


@pytest.fixture(scope="session")
def coco_writer() -> Callable[[Path, list[str]], Path]:
    return write_coco
