"""What the sources share: photos and label maps, whose split a photo is of, telling blobs apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from talking_points.dataset.wordings import NAMES
from talking_points.file_kinds import HEAD_BYTES, kind_of
from talking_points.files import read_table
from talking_points.labels.finding import file_names
from talking_points.labels.frames import LabelFrame, frame_of_labels
from talking_points.labels.problems import LabelError, refuse
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


def read_photo(path: Path) -> SourcePhoto:
    """Open a photo; a bad file is an error naming it, see `open_photo`."""
    photo, orientation = open_turned_photo(path)
    return SourcePhoto(path=path, pixels=np.asarray(photo), orientation=orientation)


def read_labels(
    path: Path, photo: SourcePhoto, *, said: str | None = None, where: Path | None = None
) -> tuple[np.ndarray, LabelFrame]:
    """Read the label map of a photo, (H, W) uint8, uint16 or int32 in the upright photo's frame, and how it was turned.

    Values are never scaled, cut or looked up in a palette. `said` and `where` are those of `frame_of_labels`. What is
    no label map, or of another size than the photo, is a LabelError.
    """
    labels = _open_labels(path)
    own_wh = (labels.shape[1], labels.shape[0])
    frame = frame_of_labels(photo.size_wh, photo.orientation, own_wh, file=path, said=said, where=where)
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


def stems(folder: Path, ending: str) -> set[str]:
    """Names without ending of the files in a folder that has to be there: FileNotFoundError."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    return {name[: -len(ending)] for name in file_names(folder) if name.endswith(ending)}
