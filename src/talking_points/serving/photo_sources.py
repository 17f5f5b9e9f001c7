"""Photos as callers send them, and as they lie in files, within limits."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from PIL import Image

from talking_points.photos import decode_photo
from talking_points.serving.settings import PhotoLimits

_URL_SAFE = str.maketrans("-_", "+/")


def open_within(source: bytes | str, limits: PhotoLimits) -> Image.Image:
    """An upright RGB photo from a file's bytes, base64 or a data URL.

    Raises:
        ValueError: it is none, or larger than allowed; of one line.
    """
    data = _bytes_of(source) if isinstance(source, str) else source
    _check_bytes(len(data), limits)
    return decode_photo(data, max_pixels=limits.max_pixels)


def read_within(name: str, limits: PhotoLimits, root: Path | None) -> bytes:
    """A photo's file.

    Args:
        name: its path; a relative one is of `root`.
        root: where the file has to lie once every link is followed; None: anywhere.

    Raises:
        ValueError: there is no such file, it lies elsewhere, cannot be read or is too large; of one line. Of what lies
            elsewhere it is not told whether it is there.
    """
    shown = repr(name[:200])
    if "\0" in name:  # what Python says of it changes with its version
        raise ValueError(f"the photo {shown} cannot be read: a path holds no null byte")
    try:
        path = (root or Path()).joinpath(name).resolve()
        if root is not None and not path.is_relative_to(root.resolve()):
            raise ValueError(f"the photo {shown} is outside {root}; photos are read from that folder alone")
        if not path.is_file():
            raise ValueError(f"no such photo: {shown}; give the path of a file, or a data URL")
        _check_bytes(path.stat().st_size, limits)
        with path.open("rb") as file:
            # Some files are larger than they say.
            return file.read(limits.max_photo_bytes + 1)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise ValueError(f"the photo {shown} cannot be read: {reason}") from None


def _check_bytes(count: int, limits: PhotoLimits) -> None:
    if count > limits.max_photo_bytes:
        raise ValueError(f"the photo has {count:,} bytes; at most {limits.max_photo_bytes:,} are allowed")


def _bytes_of(source: str) -> bytes:
    if source[:5].lower() == "data:":
        head, comma, source = source.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("the photo's data URL is not like data:image/jpeg;base64,...")
    # Lines may be folded. A space within one stands where a "+" was, and without it the photo would be another.
    source = "".join(line.strip() for line in source.splitlines())
    if " " in source:
        raise ValueError("the photo's base64 holds spaces, which stand where a form lost a +; send it as JSON")
    source = source.translate(_URL_SAFE).rstrip("=")
    try:
        data = base64.b64decode(source + "=" * (-len(source) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the photo is neither base64 nor a data URL") from None
    if not data:
        raise ValueError("the photo is empty")
    return data
