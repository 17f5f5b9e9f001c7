"""What the sources share: JSON, photos, label maps and in which frame they are; finding files; telling blobs apart."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from talking_points.dataset.problems import LabelError, refuse
from talking_points.dataset.wordings import NAMES
from talking_points.file_kinds import HEAD_BYTES, kind_of
from talking_points.files import read_table
from talking_points.photos import PHOTO_FORMATS, open_turned_photo
from talking_points.progress import one_line

VAL_PERCENT = 8
"""Share of a training split that is held out as "val"."""

PHOTO_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".heic", ".heif", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".jp2"}
)
"""Of files that are taken for photos, in small letters."""

_LOSSY = {"JPEG": "a JPEG", "MPO": "a JPEG", "JPEG2000": "a JPEG 2000", "WEBP": "a WebP", "AVIF": "an AVIF"}
_LOSSY_IN_TIFF = ("jpeg", "tiff_jpeg", "webp")

MIN_BLOB_SHARE = 0.15
"""A blob counts as a thing of its own from this share of the largest blob's area on."""
MIN_BLOB_PX = 30

FRAMES = ("stored", "upright")
"""What "labels_frame" may say."""
TURNED_NOTE = "labels of a photo's stored pixels, turned upright with it"

_AXES = {1: "", 2: "x", 3: "xy", 4: "y", 5: "", 6: "y", 7: "xy", 8: "x"}
"""Axes that are reversed by each EXIF orientation; from 5 on they are exchanged after that."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourcePhoto:
    """A photo as it was opened."""

    path: Path
    pixels: np.ndarray
    """(H, W, 3) uint8 RGB, upright."""
    orientation: int
    """EXIF's, by which the stored pixels were turned."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the upright photo, in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def is_held_out(photo_id: str) -> bool:
    """Whether a photo of a training split belongs to "val": fixed by its name, for all time."""
    return int(hashlib.sha1(photo_id.encode()).hexdigest(), 16) % 100 < VAL_PERCENT


def of_split(photo_id: str, split: str) -> bool:
    """Whether a photo of the files' own training or test split belongs to `split`."""
    return split == "test" or is_held_out(photo_id) == (split == "val")


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8 or UTF-16, with a byte order mark or without; what is no JSON is a LabelError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    data = path.read_bytes()
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        known = kind_of(data.strip()[:HEAD_BYTES])
        if known is not None:
            what, remedy = known[0], known[1] or "give the file of the labels"
            raise refuse(path, "", f"is not valid JSON: it is {what}", remedy) from None
        if isinstance(error, UnicodeDecodeError):
            raise refuse(path, "", "is not valid JSON: its text is not UTF-8", "save it as UTF-8") from None
        start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
        found, remedy = str(error), "mend it, or export the labels again"
        if start.startswith(b"<"):
            found = "it looks like XML, as PASCAL VOC's and CVAT's own files are"
            remedy = "export the labels as COCO JSON"
        elif start.startswith(b"{") and "Extra data" in found:
            found = f"it looks like JSON lines, one record a line ({error})"
            remedy = "expected one JSON object in the whole file"
        raise refuse(path, "", f"is not valid JSON: {found}", remedy) from None


def read_photo(path: Path) -> SourcePhoto:
    """Open a photo; a bad file is an error naming it, see `open_photo`."""
    photo, orientation = open_turned_photo(path)
    return SourcePhoto(path=path, pixels=np.asarray(photo), orientation=orientation)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFrame:
    """How labels are turned into the frame of the upright photo."""

    orientation: int
    """EXIF's number of the turn, 1 to 8; 1 where the labels are of the upright photo already."""
    size_wh: tuple[int, int]
    """Of the upright photo, in pixels."""

    @property
    def own_wh(self) -> tuple[int, int]:
        """Size of the photo as the labels see it."""
        return self.size_wh[::-1] if self.orientation >= 5 else self.size_wh

    @property
    def notes(self) -> tuple[str, ...]:
        """For `Scene.notes`: what was done, if anything."""
        return () if self.orientation == 1 else (TURNED_NOTE,)

    def turn_map(self, labels: np.ndarray) -> np.ndarray:
        """An (h, w) map of the labels' frame, such as a mask, as the (H, W) map of the upright photo."""
        axes = _AXES[self.orientation]
        labels = labels[:: -1 if "y" in axes else 1, :: -1 if "x" in axes else 1]
        return np.ascontiguousarray(labels.T if self.orientation >= 5 else labels)

    def turn_points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) points of the labels' frame as points of the upright photo; both in pixels from the corner."""
        x, y = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
        width, height = self.own_wh
        x = width - x if "x" in _AXES[self.orientation] else x
        y = height - y if "y" in _AXES[self.orientation] else y
        return np.stack((y, x) if self.orientation >= 5 else (x, y), axis=1)


def frame_of_labels(
    photo: SourcePhoto,
    own_wh: tuple[int, int] | None,
    *,
    file: Path | None = None,
    said: str | None = None,
    where: Path | None = None,
    tolerance: float = 0.0,
) -> LabelFrame:
    """In which frame a photo's labels are: as somebody says, or as the sizes tell; else it is a LabelError.

    A camera held on its side stores the photo as its sensor saw it, and an EXIF orientation of how to show it. Photos
    are opened upright here; some tools label the one, some the other. Whether `own_wh` fits the frame is the caller's
    to check.

    Args:
        own_wh: size of the photo as the labels say it; None where they do not.
        file: what to name in the error, if it is not the photo.
        said: what "labels_frame" says, which can be said in the file `where`; None where nothing is said.
        tolerance: shapes are equal whose aspect ratios agree within this share.
    """
    orientation, size_wh = photo.orientation, photo.size_wh
    upright, stored = (LabelFrame(orientation=number, size_wh=size_wh) for number in (1, orientation))
    if orientation == 1 or said is not None:
        return stored if said == "stored" else upright
    if own_wh is not None and orientation >= 5:
        # Of an almost square photo, only the exact size tells.
        for share in (0.0, tolerance):
            fits = [same_shape(own_wh, frame.own_wh, share) for frame in (stored, upright)]
            if fits[0] != fits[1]:
                return stored if fits[0] else upright
        if not any(fits):
            return upright
    found = (
        f"the photo has EXIF orientation {orientation}, and the sizes do not tell whether its labels are of the stored "
        "or of the upright pixels"
    )
    remedy = "save the photo without EXIF orientation, in the labels' frame"
    raise refuse(file or photo.path, "", found, say_frame(where) if where else remedy)


def say_frame(where: Path) -> str:
    """The remedy: where to say what the frame is."""
    return f'write "labels_frame": "stored" or "labels_frame": "upright" into {where}'


def read_said_frame(value: object, where: Path) -> str | None:
    """What "labels_frame" says: "stored", "upright" or None; anything else is a LabelError."""
    if value is None or value in FRAMES:
        return None if value is None else str(value)
    raise refuse(where, "labels_frame", f"is {value!r}", 'expected "stored" or "upright"')


def same_shape(one_wh: tuple[int, int], other_wh: tuple[int, int], tolerance: float) -> bool:
    """Whether two sizes are equal, or their aspect ratios agree within a share."""
    if tolerance == 0:
        return one_wh == other_wh
    return abs((one_wh[0] / one_wh[1]) / (other_wh[0] / other_wh[1]) - 1) <= tolerance


def read_labels(
    path: Path, photo: SourcePhoto, *, said: str | None = None, where: Path | None = None
) -> tuple[np.ndarray, LabelFrame]:
    """Read the label map of a photo, (H, W) uint8, uint16 or int32 in the upright photo's frame, and how it was turned.

    Values are never scaled, cut or looked up in a palette. `said` and `where` are those of `frame_of_labels`. What is
    no label map, or of another size than the photo, is a LabelError.
    """
    labels = _open_labels(path)
    own_wh = (labels.shape[1], labels.shape[0])
    frame = frame_of_labels(photo, own_wh, file=path, said=said, where=where)
    if own_wh != frame.own_wh:
        found = f"is {own_wh[0]}x{own_wh[1]}, its photo is {frame.own_wh[0]}x{frame.own_wh[1]}"
        raise refuse(path, "", found, "give a label map of the photo's own size")
    return frame.turn_map(labels), frame


def _open_labels(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        with path.open("rb") as file:
            known = kind_of(file.read(HEAD_BYTES))
        if known:
            raise refuse(path, "", f"is not a label map: it is {known[0]}", known[1] or "write it anew as a PNG")
        with Image.open(path, formats=PHOTO_FORMATS) as image:
            lossy = _LOSSY.get(image.format or "")
            if image.format == "TIFF" and image.info.get("compression") in _LOSSY_IN_TIFF:
                lossy = "a TIFF with lossy compression"
            if lossy:
                remedy = "write the labels anew as a PNG; converting this file does not bring them back"
                raise refuse(path, "", f"is {lossy}, which changes labels", remedy)
            labels = np.asarray(image)
    except LabelError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        found = f"cannot be read as a label map: {one_line(error)}"
        raise refuse(path, "", found, "write it anew as a PNG") from None
    if labels.dtype == np.bool_:
        labels = labels.astype(np.uint8)
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16, np.int32):
        found = f"expected one 8- or 16-bit label a pixel, got {labels.dtype} of shape {labels.shape}"
        raise refuse(path, "", found, "write each pixel's index into the names as a grey level or a palette's index")
    if labels.dtype == np.int32 and labels.size and labels.min() < 0:
        raise refuse(path, "", f"holds label {labels.min()}, labels are never negative", "write it anew")
    return labels


def present_labels(labels: np.ndarray) -> list[int]:
    """Sorted values of a map of unsigned labels."""
    if labels.size and labels.max() > np.iinfo(np.uint16).max:
        return [int(label) for label in np.unique(labels)]
    # Many times faster than np.unique, which sorts all pixels; but it counts all labels up to the largest.
    return [int(label) for label in np.flatnonzero(np.bincount(labels.ravel()))]


def check_labels(labels: np.ndarray, path: Path, count: int, unlabelled: int) -> None:
    """Raise a ValueError for a label that is none of 0 to `count` - 1 and not `unlabelled`."""
    unknown = [label for label in present_labels(labels) if label >= count and label != unlabelled]
    if unknown:
        raise ValueError(f"{path} holds label {unknown[0]}, known are 0 to {count - 1} and {unlabelled}")


def split_blobs(mask: np.ndarray) -> list[np.ndarray]:
    """Separate blobs of an (H, W) bool mask that are big enough to be things of their own, from left to right.

    Crumbs join the nearest big blob, so that the masks' union is `mask`.
    """
    pixels = mask.view(np.uint8)
    x, y, width, height = cv2.boundingRect(pixels)
    window = slice(y, y + height), slice(x, x + width)
    if not width:
        return []
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(pixels[window], connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    big = np.flatnonzero(areas >= min(max(MIN_BLOB_PX, MIN_BLOB_SHARE * areas.max()), areas.max())) + 1
    big = big[np.argsort(centroids[big, 0], kind="stable")]
    owner = np.zeros(count, dtype=np.int32)
    for label in range(1, count):
        distances = np.linalg.norm(centroids[big] - centroids[label], axis=1)
        owner[label] = int(np.argmin(distances)) + 1
    owner[big] = np.arange(1, len(big) + 1)
    owned = np.zeros(mask.shape, dtype=np.int32)
    owned[window] = owner[labels]
    return [owned == number for number in range(1, len(big) + 1)]


def means_nothing(name: str, *, is_first: bool = False) -> bool:
    """Whether a class is none, by its name: "_background_", "void"; that of label 0 may be "null", too."""
    labels = read_table(NAMES)["labels"]
    return name.strip(" _").casefold() in labels["nothing"] + (labels["nothing_as_first"] if is_first else [])


def is_name(value: object) -> bool:
    """Whether something is a text that names a thing: one with a letter in it. Others cannot be said in a sentence."""
    return isinstance(value, str) and any(letter.isalpha() for letter in value)


def composed(name: str) -> str:
    """A name with its accents composed: macOS writes them apart, and most files do not."""
    return unicodedata.normalize("NFC", name)


def file_names(folder: Path) -> list[str]:
    """Sorted names of what is in a folder, without the "._" files of macOS; none where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("._"))
    except OSError:
        return []


def stems(folder: Path, ending: str) -> set[str]:
    """Names without ending of the files in a folder that has to be there: FileNotFoundError."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    return {name[: -len(ending)] for name in file_names(folder) if name.endswith(ending)}


def find_photos(folder: Path, wanted: Mapping[str, str]) -> dict[str, Path]:
    """The files of photos in a folder, by id; no file is given twice.

    `wanted` is id to file name as written by somebody: with folders that may not be here, on a machine that does not
    tell capital letters apart, with accents in another form, or with "%20" for a blank. Found is the file with just
    that name, else the one that differs only so; where there is none, or where several differ so, the path is that of
    the name as written, which is no file.
    """
    listed: dict[Path, dict[str, list[str]]] = {}
    exact: dict[str, Path] = {}
    others: dict[str, list[Path]] = {}
    for photo_id, written in wanted.items():
        # Inside the folder in any case.
        parts = [part for part in written.split("/") if part not in ("", ".", "..")] or [written]
        places = [folder.joinpath(*parts), folder / parts[-1]]
        for place in places:
            if place.parent not in listed:
                listed[place.parent] = defaultdict(list)
                for name in file_names(place.parent):
                    listed[place.parent][_alike(name)].append(name)
        found = [
            place.parent / name
            for place in dict.fromkeys(places)
            for key in dict.fromkeys((_alike(place.name), _alike(unquote(place.name))))
            for name in listed[place.parent].get(key, [])
        ]
        same = [place for place in places if place in found]
        exact[photo_id] = same[0] if same else places[-1]
        if not same:
            others[photo_id] = found
    taken = set(exact.values())
    claimed: dict[Path, list[str]] = defaultdict(list)
    for photo_id, found in others.items():
        if len(found) == 1:
            claimed[found[0]].append(photo_id)
    return exact | {ids[0]: path for path, ids in claimed.items() if len(ids) == 1 and path not in taken}


def _alike(name: str) -> str:
    return composed(name).casefold()
