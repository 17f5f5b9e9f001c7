"""Label maps: `photos/*`, `labels/*.png` whose pixels index `labels.json`, and `splits.json`.

Of people, labels of clothes become the words that people use for one thing (`names.toml`): "shoe" twice, "jeans" once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from talking_points.dataset.scene import Scene, SceneObject
from talking_points.dataset.sources.landmarks import NOTHING_FOUND, PhotoLandmarks, read_landmarks
from talking_points.dataset.sources.painting import NamedMask, Painting
from talking_points.dataset.sources.people import person_parts
from talking_points.dataset.sources.reading import (
    PHOTO_ENDINGS,
    means_nothing,
    of_split,
    present_labels,
    read_labels,
    read_photo,
    split_blobs,
)
from talking_points.dataset.sources.source import SPLITS, Source
from talking_points.dataset.wordings import NAMES, called
from talking_points.files import read_table
from talking_points.labels.finding import composed, file_names
from talking_points.labels.frames import read_said_frame
from talking_points.labels.problems import LabelError, problem_of, refuse
from talking_points.labels.reading import is_name, read_json

BACKGROUND = 0
VOID = (255, 65535)
"""Labels that many tools write where nothing is labelled: background, unless labels.json names them."""
PERSON = "person"
BELONGS = {
    "labels.json": 'write the name of each label, from 0 on: {"names": ["null", "hair", ...], "object": "person"}',
    "splits.json": 'write which photos are for what: {"train": ["0001", ...], "test": ["0002", ...]}',
}
"""What has to be in the two files beside photos and labels."""
DOCUMENTED = "docs/tutorials/own-dataset.md, Label maps"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """All that photos are read with."""

    folder: Path
    names: tuple[str, ...]
    """Of each label."""
    object_name: str
    ignored: frozenset[int]
    """Labels that mean that nothing is labelled."""
    frame: str | None
    """What is said of it, see `frame_of_labels`."""
    paths: Mapping[str, Path]
    """Of the split's photos, by id."""
    maps: Mapping[str, Path]
    """By id, those that there are."""
    landmarks: Mapping[str, PhotoLandmarks]
    """By the photos' file names."""


def open_label_map(folder: Path, split: str) -> Source:
    """One labelled object a photo, its parts as an index image, as people lay out their own data.

        photos/ID.jpg      or .jpeg, .png, .webp, .heic, ..., in small or capital letters
        labels/ID.png      8 or 16 bits a pixel, each an index into labels.json; 0 is background
        labels.json        {"names": ["null", "hair", ...], "object": "person"}; the object is person if not said
        splits.json        {"train": ["ID", ...], "test": [...]}, and "val" if you like: else it is held out of "train"

    Names of labels that no map holds may be empty. labels.json may also say "ignore", labels that mean nothing (255
    does unless it is named), and "labels_frame", "stored" or "upright", for photos with an EXIF orientation where the
    label map's size does not tell.

    Raises:
        LabelError: one of the JSON files is missing or not as above, a photo is in both splits, or two have one ID.
    """
    names_path, splits_path = folder / "labels.json", folder / "splits.json"
    missing = [folder / name for name in BELONGS if not (folder / name).is_file()]
    if missing:
        raise LabelError(
            [problem_of(path, "", "is missing", f"{BELONGS[path.name]} ({DOCUMENTED})") for path in missing]
        )
    said, splits = read_json(names_path), read_json(splits_path)
    if not isinstance(said, dict) or not isinstance(said.get("names"), list):
        raise refuse(names_path, "", 'expected an object with a list "names"', "list the name of each label, from 0 on")
    object_name, ignored = said.get("object", PERSON), said.get("ignore", [])
    ignored = ignored if isinstance(ignored, list) else [ignored]
    if not all(isinstance(label, int) and not isinstance(label, bool) and label >= 0 for label in ignored):
        found = f"is {str(said['ignore'])[:40]}"
        raise refuse(names_path, '"ignore"', found, "expected labels as numbers, such as [255]")
    has_val = isinstance(splits, dict) and "val" in splits
    wanted = split if split != "val" or has_val else "train"
    if not isinstance(splits, dict) or not isinstance(splits.get(wanted), list):
        raise refuse(splits_path, "", f'expected an object with a list "{wanted}"', "add it")
    if not all(isinstance(name, str) for name in [object_name, *said["names"], *splits[wanted]]):
        raise refuse(folder, "", "labels.json and splits.json may name things by texts only", 'write "5" for 5')
    if unknown := [key for key in splits if key not in SPLITS]:
        raise refuse(
            splits_path, f'"{unknown[0]}"', "is no split", f"call it one of {', '.join(SPLITS)}, or leave it out"
        )
    if not is_name(object_name):
        raise refuse(names_path, '"object"', f'is "{object_name}", which has no letter', "write what it is in words")
    files: dict[str, list[Path]] = defaultdict(list)
    others_of: dict[str, Path] = {}
    for name in file_names(folder / "photos"):
        path = folder / "photos" / name
        if path.suffix.casefold() in PHOTO_ENDINGS:
            files[composed(path.stem)].append(path)
        else:
            # Where there is no other, opening it tells what it is.
            others_of[composed(path.stem)] = path
    listed = {_id_of(name, files) for name in splits[wanted]}
    refused = []
    for other in (one for one in SPLITS if one != wanted and isinstance(splits.get(one), list)):
        both = " and ".join(f'"{one}"' for one in SPLITS if one in (wanted, other))
        in_other = {_id_of(name, files) for name in splits[other] if isinstance(name, str)}
        refused += [
            problem_of(splits_path, f'photo "{photo_id}"', f"is in both {both}", "leave it in one")
            for photo_id in sorted(listed & in_other)
        ]
    for photo_id in sorted(one for one in listed & files.keys() if len(files[one]) > 1):
        both = " and ".join(path.name for path in files[photo_id])
        refused.append(problem_of(folder / "photos", both, f'are both photo "{photo_id}"', "rename or remove one"))
    maps = [name for name in file_names(folder / "labels") if name.casefold().endswith(".png")]
    reading = _Reading(
        folder=folder,
        names=tuple(said["names"]),
        object_name=object_name,
        ignored=frozenset(ignored),
        frame=read_said_frame(said.get("labels_frame"), names_path),
        paths={
            one: files[one][0] if one in files else others_of.get(one, folder / "photos" / f"{one}.jpg")
            for one in listed
            if has_val or of_split(one, split)
        },
        maps={composed(Path(name).stem): folder / "labels" / name for name in maps},
        landmarks=read_landmarks(folder / "landmarks.json"),
    )
    return Source(paths=reading.paths, read=partial(_read_scene, reading), refused=tuple(refused))


def _id_of(name: str, files: Collection[str]) -> str:
    """A photo's id; splits.json may name its file."""
    name = composed(name.strip())
    if name in files:
        return name
    last = PurePosixPath(name.replace("\\", "/"))
    return last.stem if last.suffix.casefold() in PHOTO_ENDINGS and last.stem in files else name


def _read_scene(reading: _Reading, photo_id: str) -> Scene:
    photo = read_photo(reading.paths[photo_id])
    path = reading.maps.get(photo_id, reading.folder / "labels" / f"{photo_id}.png")
    labels, frame = read_labels(path, photo, said=reading.frame, where=reading.folder / "labels.json")
    labels, void = _without_void(labels, reading, path)
    notes = [*frame.notes, *(f"label {label} taken as no label" for label in void)]
    first = reading.names[BACKGROUND] if reading.names else ""
    if not means_nothing(first, is_first=True):
        notes.append(f'label 0 taken as background, though labels.json calls it "{first}"')
    masks: dict[str, np.ndarray] = {}
    of_person = reading.object_name == PERSON
    clothes = read_table(NAMES)["clothes"] if of_person else {"words": {}, "pairs": {}}
    for label in present_labels(labels):
        if label != BACKGROUND:
            name = reading.names[label].replace("_", " ")
            name = clothes["words"].get(name, name)
            mask = labels == label
            masks[name] = masks[name] | mask if name in masks else mask
    parts: list[NamedMask] = []
    for name, mask in masks.items():
        blobs = split_blobs(mask) if name in clothes["pairs"] else [mask]
        # More than a pair is one thing in pieces: straps of a sandal, a trouser leg in front of it.
        parts += [(clothes["pairs"][name], blob) for blob in blobs] if len(blobs) == 2 else [(name, mask)]
    if of_person:
        parts = person_parts(parts, reading.landmarks.get(photo.path.name, NOTHING_FOUND))
    painting = Painting(photo.size_wh)
    for name, mask in parts:
        painting.part(0, name, mask)
    thing = SceneObject(name=called(reading.object_name))
    return painting.scene(
        photo.pixels,
        [thing],
        source=reading.folder.name or reading.folder.resolve().name,
        photo_id=photo_id,
        notes=notes,
    )


def _without_void(labels: np.ndarray, known: _Reading, path: Path) -> tuple[np.ndarray, list[int]]:
    """The map with background where nothing is labelled, and the labels that were taken to mean that unsaid."""
    present = present_labels(labels)
    beyond = [label for label in present if label >= len(known.names) and label not in known.ignored]
    void = [label for label in beyond if label in VOID]
    unknown = [label for label in beyond if label not in VOID]
    if unknown:
        found = f"holds label {unknown[-1]}, labels.json names 0 to {len(known.names) - 1}"
        raise refuse(path, "", found, 'name it, or list it under "ignore" in labels.json')
    nameless = [
        label
        for label in present
        if BACKGROUND < label < len(known.names) and label not in known.ignored and not is_name(known.names[label])
    ]
    if nameless:
        found = f'holds label {nameless[0]}, whose name in labels.json, "{known.names[nameless[0]]}", has no letter'
        raise refuse(path, "", found, 'name it, or list it under "ignore" in labels.json')
    if void and not set(present) - {BACKGROUND, *void, *known.ignored}:
        found = f"holds label {void[0]} and no other but background, labels.json names 0 to {len(known.names) - 1}"
        remedy = f'write the index of the name in its place, or say "ignore": [{void[0]}] in labels.json'
        raise refuse(path, "", found, remedy)
    # A first name of "null" is usual, and another label's is not.
    void += [label for label in present if 0 < label < len(known.names) and means_nothing(known.names[label])]
    nothing = [label for label in present if label in known.ignored or label in void]
    return (np.where(np.isin(labels, nothing), BACKGROUND, labels) if nothing else labels), void
