"""Small drawn scenes, and writers of datasets in each layout that the sources read: photos are generated."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from talking_points.dataset.scene import Scene, make_scene

# How long an example takes says more of the machine than of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights end no text: they write as many tokens as they may."""
    from talking_points.pointing import descriptor
    from talking_points.training import policy

    for module in (descriptor, policy):
        monkeypatch.setattr(module, "MAX_NEW_TOKENS", 12)


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
            "categories": [
                {"id": k, "name": name, "supercategory": "car"} for k, name in enumerate(CATEGORIES, start=1)
            ],
        }
        (folder / split / "annotations.json").write_text(json.dumps(content))
    return folder / "train" / "annotations.json"


def noisy_photo(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """A photo in which each label has its own colour, and a little noise: real photos are never flat."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(30, 220, (int(labels.max()) + 1, 3))
    return np.clip(colours[labels] + rng.integers(-6, 7, (*labels.shape, 3)), 0, 255).astype(np.uint8)


def fill(labels: np.ndarray, x0: int, y0: int, x1: int, y1: int, value: int) -> None:
    labels[y0:y1, x0:x1] = value


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **({"quality": 95} if path.suffix in (".jpg", ".JPEG") else {}))


def write_pascal(folder: Path, train_ids: list[str], val_ids: list[str]) -> None:
    """PascalPart116: two dogs 120x60, the left one behind a post, and a chair.

    Odd cases: macOS files beside the real ones, object pixels without a part, and a patch where the part map says
    dog and the object map person.
    """
    dog, chair, person = 11, 8, 14
    head, torso, leg = 61, 63, 65
    objects = np.full((60, 120), 255, dtype=np.uint8)
    parts = objects.copy()
    for left in (4, 66):
        fill(objects, left, 10, left + 48, 56, dog)
        fill(parts, left, 12, left + 14, 28, head)
        fill(parts, left + 14, 12, left + 48, 40, torso)
        fill(parts, left + 16, 42, left + 22, 56, leg)
        fill(parts, left + 40, 42, left + 46, 56, leg)
    for labels in (objects, parts):
        fill(labels, 32, 0, 35, 60, 255)  # the post: it cuts the torso, not between head and torso
    fill(objects, 70, 14, 76, 20, person)
    fill(objects, 116, 20, 120, 56, chair)
    for own, photo_ids in (("train", train_ids), ("val", val_ids)):
        for photo_id in photo_ids:
            save(noisy_photo(parts), folder / "images" / own / f"{photo_id}.jpg")
            save(objects, folder / "annotations_detectron2_obj" / own / f"{photo_id}.png")
            save(parts, folder / "annotations_detectron2_part" / own / f"{photo_id}.png")
            (folder / "images" / own / f"._{photo_id}.jpg").write_bytes(b"macOS")
            (folder / "annotations_detectron2_part" / own / f"._{photo_id}.png").write_bytes(b"macOS")
        (folder / "images" / own).mkdir(parents=True, exist_ok=True)
        for kind in ("obj", "part"):
            (folder / f"annotations_detectron2_{kind}" / own).mkdir(parents=True, exist_ok=True)


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths: down the columns, background first."""
    flat = mask.T.ravel().astype(int)
    ends = [*np.flatnonzero(np.diff(flat)) + 1, len(flat)]
    return ([0] if flat[0] else []) + [int(n) for n in np.diff([0, *ends])]


def compressed(runs: list[int]) -> str:
    """COCO's compressed text of run lengths."""
    text = ""
    for k, run in enumerate(runs):
        value = run - runs[k - 2] if k > 2 else run
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(bits + (32 if more else 0) + 48)
    return text


def write_ade(folder: Path, train_ids: list[str], val_ids: list[str]) -> None:
    """ADE20KPart234: three chairs 120x60, the third without a labelled part, behind a lamp.

    One chair is a polygon, one run lengths, one compressed run lengths. Odd cases: a crowd, a polygon of two
    corners, a part that no object covers, 16-bit labels.
    """
    chair, lamp = 8, 21
    seat, leg, shade = 49, 48, 37
    parts = np.full((60, 120), 65535, dtype=np.uint16)
    masks = []
    for left in (4, 44, 84):
        mask = np.zeros(parts.shape, dtype=bool)
        mask[20:50, left : left + 30] = True
        masks.append(mask)
        if left != 84:
            fill(parts, left + 2, 22, left + 28, 32, seat)
            fill(parts, left + 2, 34, left + 8, 50, leg)
            fill(parts, left + 22, 34, left + 28, 50, leg)
    fill(parts, 86, 2, 98, 12, shade)
    fill(parts, 2, 2, 12, 12, seat)  # no chair is there
    size = [60, 120]
    chairs = [
        [rectangle(4, 20, 34, 50), [1.0, 2.0, 3.0, 4.0]],
        {"size": size, "counts": run_lengths(masks[1])},
        {"size": size, "counts": compressed(run_lengths(masks[2]))},
    ]
    for own, json_name, photo_ids in (("training", "train", train_ids), ("validation", "val", val_ids)):
        images, annotations = [], []
        for number, photo_id in enumerate(photo_ids, start=1):
            shown = np.where(parts == 65535, 0, parts)
            save(noisy_photo(shown), folder / "images" / own / f"{photo_id}.jpg")
            save(parts, folder / "annotations_detectron2_part" / own / f"{photo_id}.png")
            images.append({"id": number, "file_name": f"{photo_id}.jpg", "width": 120, "height": 60})
            things = [(chair, one, 0) for one in chairs]
            things += [(lamp, [rectangle(84, 0, 100, 14)], 0), (lamp, [[5.0, 5.0, 9.0, 9.0]], 0)]
            things += [(chair, [rectangle(0, 0, 120, 60)], 1)]
            for category_id, segmentation, crowd in things:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category_id,
                        "iscrowd": crowd,
                        "segmentation": segmentation,
                    }
                )
        for name in ("images", "annotations_detectron2_part"):
            (folder / name / own).mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": annotations}
        (folder / f"ade20k_instance_{json_name}.json").write_text(json.dumps(content))


def bottle_labels() -> np.ndarray:
    """(80, 40) a bottle in PartImageNet's numbers: mouth 38, body 39, background 40."""
    labels = np.full((80, 40), 40, dtype=np.uint8)
    fill(labels, 15, 4, 25, 20, 38)
    fill(labels, 8, 20, 32, 76, 39)
    return labels


def write_part_imagenet_ood(folder: Path, photo_ids: dict[str, list[str]]) -> None:
    """PartImageNet_OOD: a bottle 40x80 whose body an occluder cuts in two polygons; photos in class folders.

    Odd cases: a polygon of two corners, an annotation without area.
    """
    for split, names in photo_ids.items():
        images, annotations = [], []
        for number, name in enumerate(names, start=1):
            save(noisy_photo(bottle_labels()), folder / split / name.split("_")[0] / f"{name}.JPEG")
            # No folder in the file name.
            images.append({"id": number, "file_name": f"{name}.JPEG", "width": 40, "height": 80})
            for category_id, polygons in (
                (38, [rectangle(15, 4, 25, 20), [1.0, 2.0]]),
                (39, [rectangle(8, 20, 32, 40)]),
                (39, [rectangle(8, 50, 32, 76)]),
                (39, [[8.0, 20.0, 9.0, 21.0]]),
            ):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category_id,
                        "segmentation": polygons,
                    }
                )
        categories = [
            {"id": 38, "name": "Bottle Mouth", "supercategory": "Bottle"},
            {"id": 39, "name": "Bottle Body", "supercategory": "Bottle"},
        ]
        (folder / f"{split}.json").write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )


def write_part_imagenet_seg(folder: Path, photo_ids: dict[str, list[str]]) -> None:
    """PartImageNet_Seg: the same bottle as maps, with the whole's map in ImageNet's own numbers, and an ignored rim."""
    for split, names in photo_ids.items():
        for name in names:
            labels = bottle_labels()
            whole = np.where(labels == 40, 158, 77).astype(np.uint8)
            fill(whole, 10, 70, 30, 80, 77)  # a foot that is no part
            labels[:, 0] = 255
            save(noisy_photo(bottle_labels()), folder / "images" / split / f"{name}.JPEG")
            save(labels, folder / "annotations" / split / f"{name}.png")
            save(whole, folder / "annotations" / f"{split}_whole" / f"{name}.png")
            (folder / "annotations" / split / f"{name}.json").write_text('{"imgHeight": 80, "imgWidth": 40}')


AP_10K_NAMES = ["left_eye", "right_eye", "root_of_tail"]


def write_ap_10k(folder: Path, photo_ids: dict[str, list[str]]) -> None:
    """AP-10K: two animals 100x80 of two families, three keypoints each.

    Odd cases: ids that do not count from 1, an animal without labelled points, one without a box, a crowd, a
    point that is not labelled and one that is hidden.
    """
    (folder / "annotations").mkdir(parents=True)
    for split, names in photo_ids.items():
        images, annotations = [], []
        for name in names:
            save(noisy_photo(np.zeros((80, 100), np.uint8)), folder / "data" / f"{name}.jpg")
            number = int(name)
            images.append({"id": number, "file_name": f"{name}.jpg", "width": 100, "height": 80, "background": 1})
            for category_id, box, keypoints, crowd in (
                (1, [5, 10, 40, 30], [10, 20, 2, 0, 0, 0, 40, 30, 2], 0),
                (8, [50, 5, 60, 60], [60, 20, 2, 66, 20, 1, 100, 40, 2], 0),
                (8, [5, 5, 20, 20], [0] * 9, 0),
                (8, [5, 5, 0, 20], [6, 6, 2, 7, 7, 2, 8, 8, 2], 0),
                (8, [5, 5, 20, 20], [6, 6, 2, 7, 7, 2, 8, 8, 2], 1),
            ):
                annotations.append(
                    {
                        "id": 500 + len(annotations),
                        "image_id": number,
                        "category_id": category_id,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": crowd,
                        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
                        "keypoints": keypoints,
                    }
                )
        categories = [
            {"id": 1, "name": "antelope", "supercategory": "Bovidae", "keypoints": AP_10K_NAMES, "skeleton": [[1, 2]]},
            {"id": 8, "name": "dog", "supercategory": "Canidae", "keypoints": AP_10K_NAMES, "skeleton": [[1, 2]]},
        ]
        (folder / "annotations" / f"ap10k-{split}-split1.json").write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )


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


@pytest.fixture(scope="session")
def pascal_writer() -> Callable[[Path, list[str], list[str]], None]:
    return write_pascal


@pytest.fixture(scope="session")
def ade_writer() -> Callable[[Path, list[str], list[str]], None]:
    return write_ade


@pytest.fixture(scope="session")
def part_imagenet_ood_writer() -> Callable[[Path, dict[str, list[str]]], None]:
    return write_part_imagenet_ood


@pytest.fixture(scope="session")
def part_imagenet_seg_writer() -> Callable[[Path, dict[str, list[str]]], None]:
    return write_part_imagenet_seg


@pytest.fixture(scope="session")
def ap_10k_writer() -> Callable[[Path, dict[str, list[str]]], None]:
    return write_ap_10k
