"""People with label maps: `photos/*`, `labels/*.png` whose pixels index `labels.json`, and `splits.json`.

The labels of clothing (Clothing Co-Parsing) are plural and say "skin" for all that is bare; here they become
the words that people use for one thing: "shoe" twice, "jeans" once, "face", "arm", "leg".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from talking_points.dataset.problems import LabelError, Problem, refuse
from talking_points.dataset.scene import Scene, make_scene
from talking_points.dataset.sources.frames import read_said_frame
from talking_points.dataset.sources.landmarks import NOTHING_FOUND, PhotoLandmarks, person_parts, read_landmarks
from talking_points.dataset.sources.reading import (
    PHOTO_ENDINGS,
    composed,
    file_names,
    means_nothing,
    of_split,
    present_labels,
    read_framed_labels,
    read_json,
    read_turned_photo,
    split_blobs,
)
from talking_points.dataset.sources.source import Source

BACKGROUND = 0
NO_NAMES = frozenset(
    (
        "",
        "0",
        "background",
        "bg",
        "ignore",
        "ignored",
        "n/a",
        "na",
        "nil",
        "no label",
        "none",
        "not labelled",
        "nothing",
    )
    + ("null", "other", "unknown", "unlabeled", "unlabelled", "void")
)
"""How labels.json may call label 0 without meaning a part."""
VOID = (255, 65535)
"""Labels that many tools write where nothing is labelled: background, unless labels.json names them."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelNames:
    """What labels.json says."""

    file: Path
    names: tuple[str, ...]
    """Of each label."""
    object_name: str
    ignored: frozenset[int]
    """Labels that mean that nothing is labelled."""
    frame: str | None
    """"stored", "upright" or None; see `frame_of_labels`."""


def open_label_map(folder: Path, split: str) -> Source:
    """One labelled object a photo, its parts as an index image, as people lay out their own data.

        photos/ID.jpg      or .jpeg, .png, .webp, .heic, ..., in small or capital letters
        labels/ID.png      8 or 16 bits a pixel, each an index into labels.json; 0 is background
        labels.json        {"names": ["null", "hair", ...], "object": "person"}; the object is person if not said
        splits.json        {"train": ["ID", ...], "test": [...]}; "val" is held out of "train"

    labels.json may also say "ignore", labels that mean nothing (255 does unless it is named), and "labels_frame",
    "stored" or "upright", for photos with an EXIF orientation where the label map's size does not tell.

    Raises:
        LabelError: one of the JSON files is not as above, a photo is in both splits, or two have one ID.
        FileNotFoundError: one of the JSON files is missing.
    """
    names = _read_names(folder)
    splits_path = folder / "splits.json"
    splits = read_json(splits_path)
    wanted = "test" if split == "test" else "train"
    if not isinstance(splits, dict) or not isinstance(splits.get(wanted), list):
        raise refuse(splits_path, "", f'expected an object with a list "{wanted}"', "add it")
    if not all(isinstance(name, str) for name in splits[wanted]):
        raise _texts_only(folder)
    files: dict[str, list[str]] = defaultdict(list)
    for name in file_names(folder / "photos"):
        if Path(name).suffix.casefold() in PHOTO_ENDINGS:
            files[composed(Path(name).stem)].append(name)
    listed = {_id_of(name, files) for name in splits[wanted]}
    other = splits.get("train" if wanted == "test" else "test")
    others = {_id_of(name, files) for name in (other if isinstance(other, list) else []) if isinstance(name, str)}
    problems = [
        Problem(
            file=str(splits_path),
            record=f'photo "{photo_id}"',
            problem='is in both "train" and "test"',
            remedy="leave it in one",
        )
        for photo_id in sorted(listed & others)
    ]
    problems += [
        Problem(
            file=str(folder / "photos"),
            record=" and ".join(files[photo_id]),
            problem=f'are both photo "{photo_id}"',
            remedy="rename or remove one",
        )
        for photo_id in sorted(listed)
        if len(files.get(photo_id, ())) > 1
    ]
    photos = {photo_id: folder / "photos" / files.get(photo_id, [f"{photo_id}.jpg"])[0] for photo_id in listed}
    maps = {
        composed(Path(name).stem): name for name in file_names(folder / "labels") if name.casefold().endswith(".png")
    }
    return Source(
        name="label-map",
        folder=folder,
        split=split,
        photo_ids=tuple(sorted(photo_id for photo_id in listed if of_split(photo_id, split))),
        read=partial(_read_scene, folder, names, photos, maps, read_landmarks(folder / "landmarks.json")),
        photo_path=photos.__getitem__,
        refused=tuple(problems),
    )


def _read_names(folder: Path) -> LabelNames:
    path = folder / "labels.json"
    said = read_json(path)
    if not isinstance(said, dict) or not isinstance(said.get("names"), list):
        raise refuse(path, "", 'expected an object with a list "names"', "list the name of each label, from 0 on")
    object_name = said.get("object", PERSON)
    if not all(isinstance(name, str) for name in [object_name, *said["names"]]):
        raise _texts_only(folder)
    ignored = said.get("ignore", [])
    ignored = ignored if isinstance(ignored, list) else [ignored]
    if not all(isinstance(label, int) and not isinstance(label, bool) and label >= 0 for label in ignored):
        raise refuse(path, '"ignore"', f"is {str(said['ignore'])[:40]}", "expected labels as numbers, such as [255]")
    return LabelNames(
        file=path,
        names=tuple(said["names"]),
        object_name=object_name,
        ignored=frozenset(ignored),
        frame=read_said_frame(said.get("labels_frame"), path),
    )


def _texts_only(folder: Path) -> LabelError:
    return refuse(folder, "", "labels.json and splits.json may name things by texts only", 'write "5" for 5')


def _id_of(name: str, files: dict[str, Any]) -> str:
    """A photo's id; splits.json may name its file."""
    name = composed(name.strip())
    if name in files:
        return name
    last = PurePosixPath(name.replace("\\", "/"))
    return last.stem if last.suffix.casefold() in PHOTO_ENDINGS and last.stem in files else name


def _read_scene(
    folder: Path,
    known: LabelNames,
    photos: dict[str, Path],
    maps: dict[str, str],
    landmarks: Mapping[str, PhotoLandmarks],
    photo_id: str,
) -> Scene:
    photo, orientation = read_turned_photo(photos[photo_id])
    path = folder / "labels" / maps.get(photo_id, f"{photo_id}.png")
    labels, frame = read_framed_labels(path, photo, orientation, said=known.frame, where=known.file)
    notes = list(frame.notes)
    labels, void = _without_void(labels, known, path)
    notes += [f"label {label} taken as no label" for label in void]
    label_names, object_name = known.names, known.object_name
    first = label_names[BACKGROUND] if label_names else ""
    if first.strip(" _").casefold() not in NO_NAMES:
        notes.append(f'label 0 taken as background, though labels.json calls it "{first}"')

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
        notes=notes,
    )


def _without_void(labels: np.ndarray, known: LabelNames, path: Path) -> tuple[np.ndarray, list[int]]:
    """The map with background where nothing is labelled, and the labels that were taken to mean that unsaid."""
    present = present_labels(labels)
    beyond = [label for label in present if label >= len(known.names) and label not in known.ignored]
    void = [label for label in beyond if label in VOID]
    unknown = [label for label in beyond if label not in VOID]
    if unknown:
        found = f"holds label {unknown[-1]}, labels.json names 0 to {len(known.names) - 1}"
        raise refuse(path, "", found, 'name it, or list it under "ignore" in labels.json')
    if void and not set(present) - {BACKGROUND, *void, *known.ignored}:
        found = f"holds label {void[0]} and no other but background, labels.json names 0 to {len(known.names) - 1}"
        remedy = f'write the index of the name in its place, or say "ignore": [{void[0]}] in labels.json'
        raise refuse(path, "", found, remedy)
    # A first name of "null" is usual, and another label's is not.
    void += [label for label in present if 0 < label < len(known.names) and means_nothing(known.names[label])]
    nothing = [label for label in present if label in known.ignored or label in void]
    return (np.where(np.isin(labels, nothing), BACKGROUND, labels) if nothing else labels), void


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
