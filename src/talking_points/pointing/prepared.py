"""A photo, opened once, in the form in which a model looks at it."""

# S side of the square

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talking_points.photos import letterbox, open_photo


class Prepared(Protocol):
    """What is known of an opened photo, whatever the model."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Of the photo as opened."""

    @property
    def key(self) -> bytes:
        """Hash of what the model sees: photos are equal by content, whatever their path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedPhoto:
    """A photo as the paper's network sees it."""

    size_wh: tuple[int, int]
    square_3SS: NDArray[np.float32]
    """Letterboxed, normalised."""
    key: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class UprightPhoto:
    """A photo as it was opened, upright and RGB: stock models resize it themselves."""

    size_wh: tuple[int, int]
    picture: Image.Image
    key: bytes


Photo = str | Path | Image.Image | NDArray[Any] | PreparedPhoto | UprightPhoto
"""A path, a Pillow image, an array, or what a model's `prepare` made of one of these."""


def prepare_photo(photo: Photo, side: int) -> PreparedPhoto:
    """Open and letterbox a photo; one that is prepared comes back as it is. Runs in any thread.

    Raises:
        ValueError, FileNotFoundError: it cannot be read, see `open_photo`; or it was prepared for another side.
    """
    if isinstance(photo, PreparedPhoto):
        if photo.square_3SS.shape[-1] != side:
            raise ValueError(f"the photo was prepared at {photo.square_3SS.shape[-1]} px, this network sees {side} px")
        return photo
    opened = photo.picture if isinstance(photo, UprightPhoto) else open_photo(photo)
    square = letterbox(opened, side)
    return PreparedPhoto(size_wh=opened.size, square_3SS=square, key=_hash(square.tobytes()))


def upright_photo(photo: Photo) -> UprightPhoto:
    """Open a photo as it is; one that is opened comes back. Runs in any thread.

    Raises:
        ValueError, FileNotFoundError: it cannot be read, see `open_photo`; or it was letterboxed for another model.
    """
    if isinstance(photo, UprightPhoto):
        return photo
    if isinstance(photo, PreparedPhoto):
        raise ValueError("the photo was letterboxed for another model; give the photo itself")
    opened = open_photo(photo)
    return UprightPhoto(size_wh=opened.size, picture=opened, key=_hash(repr(opened.size).encode() + opened.tobytes()))


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
