"""People with label maps: `photos/*.jpg`, `labels/*.png` whose pixels index `labels.json`, and `splits.json`.

The labels of clothing (Clothing Co-Parsing) are plural and say "skin" for all that is bare; here they become
the words that people use for one thing: "shoe" twice, "jeans" once, "face", "arm", "leg".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from talking_points.dataset.scene import Scene, make_scene
from talking_points.dataset.sources.reading import (
    check_split,
    fitted_size,
    of_split,
    read_json,
    read_photo,
    shrink_photo,
    split_blobs,
)

BACKGROUND = "null"
SKIN = "skin"

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


def load_label_map(folder: Path | str, split: str, *, object_name: str = "person", max_side: int = 384) -> list[Scene]:
    """Load one split of a dataset of one labelled object a photo, its parts as an index image.

    Args:
        folder: holds `photos/`, `labels/`, `labels.json` and `splits.json`.
        split: "train" (without what "val" holds out), "val" or "test".
        object_name: the class word of the whole.
        max_side: photos are scaled down to at most this long side, in pixels.

    Raises:
        ValueError: a file is missing or broken, a label has no name, a label map is of another size than its
            photo; the message names the file.
    """
    check_split(split)
    folder = Path(folder)
    names_file = read_json(folder / "labels.json")
    splits_file = read_json(folder / "splits.json")
    if not isinstance(names_file, dict) or not isinstance(names_file.get("names"), list):
        raise ValueError(f'{folder / "labels.json"}: expected an object with a list "names"')
    wanted = "test" if split == "test" else "train"
    if not isinstance(splits_file, dict) or not isinstance(splits_file.get(wanted), list):
        raise ValueError(f'{folder / "splits.json"}: expected an object with a list "{wanted}"')
    scenes = []
    for photo_id in splits_file[wanted]:
        if of_split(photo_id, split):
            scene = _read_scene(folder, photo_id, names_file["names"], object_name, max_side)
            if scene.parts:
                scenes.append(scene)
    return scenes


def _read_scene(folder: Path, photo_id: str, label_names: Sequence[str], object_name: str, max_side: int) -> Scene:
    photo = read_photo(folder / "photos" / f"{photo_id}.jpg")
    label_path = folder / "labels" / f"{photo_id}.png"
    labels = _read_labels(label_path)
    if labels.shape != photo.shape[:2]:
        raise ValueError(
            f"{label_path} is {labels.shape[1]}x{labels.shape[0]}, its photo is {photo.shape[1]}x{photo.shape[0]}"
        )
    if int(labels.max()) >= len(label_names):
        raise ValueError(f"{label_path} holds label {int(labels.max())}, labels.json names 0 to {len(label_names) - 1}")
    size_wh = fitted_size(photo.shape[1::-1], max_side)
    labels = cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST)

    masks: dict[str, np.ndarray] = {}
    for label in np.unique(labels):
        name = label_names[label]
        if name != BACKGROUND:
            name = CLOTHING_WORDS.get(name, name.replace("_", " "))
            mask = labels == label
            masks[name] = masks[name] | mask if name in masks else mask

    part_map = np.zeros(labels.shape, dtype=np.int16)
    part_names: list[str] = []
    for name, mask in masks.items():
        for part_name, part_mask in _parts_of_label(name, mask, masks):
            part_names.append(part_name)
            part_map[part_mask] = len(part_names)
    return make_scene(
        shrink_photo(photo, size_wh),
        part_map,
        part_names,
        [0] * len(part_names),
        [object_name],
        source=folder.name,
        photo_id=photo_id,
    )


def _read_labels(path: Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a label map: {error}") from None
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"{path}: expected one 8-bit label a pixel, got {labels.dtype} of shape {labels.shape}")
    return labels


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
