"""People with label maps: `photos/*.jpg`, `labels/*.png` whose pixels index `labels.json`, and `splits.json`.

The labels of clothing (Clothing Co-Parsing) are plural and say "skin" for all that is bare; here they become
the words that people use for one thing: "shoe" twice, "jeans" once, "face", "arm", "leg".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from talking_points.dataset.scene import Scene, make_scene
from talking_points.dataset.sources.landmarks import NOTHING_FOUND, PhotoLandmarks, person_parts, read_landmarks
from talking_points.dataset.sources.reading import (
    of_split,
    present_labels,
    read_json,
    read_labels,
    read_photo,
    split_blobs,
)
from talking_points.dataset.sources.source import Source

BACKGROUND = 0
SKIN = "skin"
PERSON = "person"

CLOTHING_WORDS = {
    "accessories": "accessory",
    "clogs": "shoes",
    "flats": "shoes",
    "heels": "shoes",
    "intimate": "underwear",
    "loafers": "shoes",
    "panties": "underwear",
    "pumps": "shoes",
    "purse": "bag",
    "wedges": "shoes",
}
"""Labels that are said with another word: annotators used them for the same things. All others stay."""

SINGULAR = {
    "boots": "boot",
    "bracelet": "bracelet",
    "earrings": "earring",
    "gloves": "glove",
    "sandals": "sandal",
    "shoes": "shoe",
    "sneakers": "sneaker",
    "socks": "sock",
}
"""Things worn in pairs: two separate blobs are two parts of the singular name, one blob keeps the plural."""


def open_label_map(folder: Path, split: str) -> Source:
    """One labelled object a photo, its parts as an index image, as people lay out their own data.

        photos/ID.jpg
        labels/ID.png      8 or 16 bits a pixel, each an index into labels.json; 0 is background
        labels.json        {"names": ["null", "hair", ...], "object": "person"}; the object is person if not said
        splits.json        {"train": ["ID", ...], "test": [...]}; "val" is held out of "train"

    Raises:
        ValueError: one of the JSON files is not as above.
        FileNotFoundError: one of them is missing.
    """
    names_file = read_json(folder / "labels.json")
    splits_file = read_json(folder / "splits.json")
    if not isinstance(names_file, dict) or not isinstance(names_file.get("names"), list):
        raise ValueError(f'{folder / "labels.json"}: expected an object with a list "names"')
    wanted = "test" if split == "test" else "train"
    if not isinstance(splits_file, dict) or not isinstance(splits_file.get(wanted), list):
        raise ValueError(f'{folder / "splits.json"}: expected an object with a list "{wanted}"')
    object_name = names_file.get("object", PERSON)
    if not all(isinstance(name, str) for name in [object_name, *names_file["names"], *splits_file[wanted]]):
        raise ValueError(f"{folder}: labels.json and splits.json may name things by texts only")
    return Source(
        name="label-map",
        folder=folder,
        split=split,
        photo_ids=tuple(sorted({name for name in splits_file[wanted] if of_split(name, split)})),
        read=partial(_read_scene, folder, names_file["names"], object_name, read_landmarks(folder / "landmarks.json")),
        photo_path=partial(_photo_path, folder),
    )


def _photo_path(folder: Path, photo_id: str) -> Path:
    return folder / "photos" / f"{photo_id}.jpg"


def _read_scene(
    folder: Path,
    label_names: Sequence[str],
    object_name: str,
    landmarks: Mapping[str, PhotoLandmarks],
    photo_id: str,
) -> Scene:
    photo = read_photo(_photo_path(folder, photo_id))
    path = folder / "labels" / f"{photo_id}.png"
    labels = read_labels(path, photo)
    if int(labels.max()) >= len(label_names):
        raise ValueError(f"{path} holds label {int(labels.max())}, labels.json names 0 to {len(label_names) - 1}")

    masks: dict[str, np.ndarray] = {}
    for label in present_labels(labels):
        if label != BACKGROUND:
            name = label_names[label].replace("_", " ")
            if object_name == PERSON:
                name = CLOTHING_WORDS.get(name, name)
            mask = labels == label
            masks[name] = masks[name] | mask if name in masks else mask

    parts = list(masks.items())
    if object_name == PERSON:
        parts = [part for name, mask in parts for part in _parts_of_label(name, mask, masks)]
        parts = person_parts(parts, landmarks.get(f"{photo_id}.jpg", NOTHING_FOUND))
    part_map = np.zeros(labels.shape, dtype=np.int16)
    for number, (_, part_mask) in enumerate(parts, start=1):
        part_map[part_mask] = number
    part_names = [name for name, _ in parts]
    return make_scene(
        photo,
        part_map,
        part_names,
        [0] * len(part_names),
        [object_name],
        source=folder.name,
        photo_id=photo_id,
    )


def _parts_of_label(name: str, mask: np.ndarray, masks: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    if name in SINGULAR:
        blobs = split_blobs(mask)
        # More than a pair is one thing in pieces (straps of a sandal, a trouser leg in front of it).
        return [(SINGULAR[name], blob) for blob in blobs] if len(blobs) == 2 else [(name, mask)]
    if name == SKIN:
        return _parts_of_skin(mask, masks)
    return [(name, mask)]


def _parts_of_skin(skin: np.ndarray, masks: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Name the blobs of bare skin of a standing person from where they are; "skin" where that is unclear.

    The heights are shares of the person's height, head 0 and feet 1. Only a person seen from head to shoes
    (hair or hat above, shoes below) has such heights; others keep "skin" for all but the face.
    """
    rows, columns = np.nonzero(np.logical_or.reduce(list(masks.values())))
    top, bottom = int(rows.min()), int(rows.max()) + 1
    height = bottom - top
    tall = height > 1.5 * (int(columns.max()) + 1 - int(columns.min()))
    head = [masks[name] for name in ("hair", "hat") if name in masks]
    footwear = any(name in masks for name in ("shoes", "boots", "sandals", "sneakers"))
    whole: dict[str, np.ndarray] = {}
    parts: list[tuple[str, np.ndarray]] = []
    for blob in split_blobs(skin):
        blob_rows = np.nonzero(blob)[0]
        start = (blob_rows.min() - top) / height
        end = (blob_rows.max() + 1 - top) / height
        middle = (blob_rows.mean() - top) / height
        name = SKIN
        if tall and head and footwear:
            if middle < 0.2 and end < 0.3:
                name = "face"
            elif start > 0.85:
                name = "foot"
            elif start > 0.45 and end > 0.72 and end - start > 0.08:
                name = "leg"
            elif start > 0.2 and 0.25 < middle < 0.65 and end < 0.72:
                name = "arm" if end - start > 0.12 else "hand"
        if name in ("face", SKIN):
            # Sunglasses cut a face in two; it is one all the same.
            whole[name] = whole[name] | blob if name in whole else blob
        else:
            parts.append((name, blob))
    legs = [part for part in parts if part[0] == "leg"]
    if len(legs) == 1:
        # One blob may be one leg or two that touch; the plural is what a person says of most of these.
        parts = [("legs" if name == "leg" else name, blob) for name, blob in parts]
    return parts + list(whole.items())
