"""Opening a photo safely, and letterboxing it for the model."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from talking_points.file_kinds import HEAD_BYTES, kind_of
from talking_points.points import square_padding

MAX_PIXELS = 100_000_000
"""Largest photo that `open_photo` decodes unless it is told otherwise, in pixels."""

CLIP_MEAN_RGB = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD_RGB = (0.26862954, 0.26130258, 0.27577711)

# Formats of photos only: Pillow would hand other files (EPS, say) to programs outside this process.
PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")

# What a HEIC file says it is, in bytes 8 to 12, behind "ftyp".
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})

_EXIF_ORIENTATION = 0x0112
_NEW_SUBFILE_TYPE = 0x00FE
_DNG_VERSION = 0xC612
_PAGES = 8
"""So many pages of a TIFF are looked at for one larger than the first."""

_DARK = 16
"""A photo of 16 bits a channel that is darker than this everywhere, of 255, does not use its range. Ours."""

# What Pillow's decoders raise on damaged files; it has no one class for them.
_DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError),
    *(AttributeError, RuntimeError, struct.error),
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation, what turns the stored pixels upright."""


def open_photo(photo: str | Path | Image.Image | NDArray[Any], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a photo as 8-bit RGB, the way a viewer shows it: upright, and on white where it is transparent.

    Greyscale, palette, CMYK, 16-bit and transparent photos are converted; of an animation, the first frame is
    taken. The EXIF orientation is applied, so width and height are those of the upright photo, and points are
    pixels of that.

    Args:
        photo: a file; or a Pillow image; or an array, (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, of
            uint8, or of uint16 over the full 0-65535.
        max_pixels: largest width x height to accept; of a file, the header is checked before any pixel.

    Returns:
        A Pillow image of mode "RGB", independent of the argument.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder, a file that is no photo, one that is truncated or damaged, one of more than
            `max_pixels`, a camera's raw file or a TIFF that begins with a thumbnail, 16 bits of which only the darkest
            sixteenth is used, an array of another shape or type, or HEIC where pillow-heif is not installed.
    """
    if isinstance(photo, np.ndarray):
        image, name = _image_of_array(photo), "the array"
        _check_pixels(image.size, max_pixels, name)
        return _upright_rgb(image, name)[0]
    if isinstance(photo, Image.Image):
        name = "the image"
        _check_pixels(photo.size, max_pixels, name)
        return _upright_rgb(photo, name)[0]
    return open_turned_photo(photo, max_pixels=max_pixels)[0]


def open_turned_photo(photo: str | Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, int]:
    """`open_photo` of a file, and how its stored pixels were turned for that.

    Returns:
        The upright photo; and the EXIF orientation that was applied, 1 to 8: 1 is none, 3 half a turn, 6 and 8 a
        quarter turn, the others are mirrored.
    """
    path = Path(photo)
    if not path.exists():
        raise FileNotFoundError(f"no such photo: {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; expected a photo such as a JPEG or PNG")
    return _decode(path, str(path), max_pixels)


def decode_photo(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """`open_photo` of a file's bytes; errors speak of "the photo"."""
    return _decode(io.BytesIO(data), "the photo", max_pixels)[0]


def photo_size(photo: Path) -> tuple[int, int]:
    """Width and height of a photo file, upright, by its header; errors as of `open_photo`."""
    return photo_header(photo)[0]


def photo_header(photo: Path) -> tuple[tuple[int, int], int]:
    """`photo_size`, and how the stored pixels are turned upright, see `open_turned_photo`."""
    try:
        with _opened(photo, str(photo)) as image:
            orientation = _stated_orientation(image)
            # Pillow says the upright size of a TIFF by itself, where its own tag and not XMP tells.
            known = isinstance(image, TiffImageFile) and _EXIF_ORIENTATION in image.tag_v2
            return image.size[::-1] if orientation >= 5 and not known else image.size, orientation
    except _DECODING_ERRORS:
        # An EXIF block that cannot be read, or no photo: opening it tells.
        opened, orientation = open_turned_photo(photo)
        return opened.size, orientation


def _decode(source: Path | io.BytesIO, name: str, max_pixels: int) -> tuple[Image.Image, int]:
    with _opened(source, name, max_pixels) as image:
        _check_pixels(image.size, max_pixels, name)
        return _upright_rgb(image, name)


@contextmanager
def _opened(source: Path | io.BytesIO, name: str, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """A photo whose header is read and none of its pixels; what is none, or holds it as a thumbnail, a ValueError."""
    head, tail = _ends(source)
    # Asked first: Pillow takes some cameras' raw files for a TIFF.
    if (known := kind_of(head, tail)) is not None:
        raise _unreadable(name, *known)
    formats = ("HEIF",) if _is_heic(head, name) else PHOTO_FORMATS
    # Pillow warns of large photos and of odd metadata. Here the first is an error at `max_pixels`, and the
    # second does not change the pixels.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(source, formats=formats)
        except UnidentifiedImageError:
            raise ValueError(f"{name} is not a photo; expected a JPEG, PNG, WebP, TIFF or the like") from None
        except Image.DecompressionBombError:
            # Pillow's own limit, about 179 megapixels, holds as well.
            allowed = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
            raise ValueError(f"{name} has more pixels than the {allowed:,} allowed") from None
        except _DECODING_ERRORS as error:
            raise ValueError(f"{name} cannot be read as a photo: {error}") from None
        with image:
            if isinstance(image, TiffImageFile):
                _check_first_page(image, source, name)
            yield image


def _unreadable(name: str, what: str, remedy: str = "") -> ValueError:
    remedy = remedy or "convert it to JPEG or PNG"
    return ValueError(f"{name} is not a photo that can be read: it is {what}; {remedy}")


def _check_first_page(image: TiffImageFile, source: Path | io.BytesIO, name: str) -> None:
    """Refuse a TIFF whose first page, which is what would be opened, is a small picture of the photo."""
    tags = image.tag_v2
    if _DNG_VERSION in tags:
        raise _unreadable(name, "DNG, a camera's raw file")
    kind = tags.get(_NEW_SUBFILE_TYPE)
    if isinstance(kind, int) and kind & 1:
        raise _unreadable(name, "a TIFF that begins with a thumbnail, as cameras' raw files (NEF, ARW) do")
    if not getattr(image, "is_animated", False):
        return
    larger = None
    # Opened once more, as a page that cannot be read would leave its tags with the first.
    with Image.open(source, formats=("TIFF",)) as pages:
        try:
            for number in range(1, _PAGES):
                pages.seek(number)
                if larger is None and pages.width * pages.height > image.width * image.height:
                    larger = f"page {number + 1}, {pages.width}x{pages.height}"
        except _DECODING_ERRORS:
            # The last page was that, or the next one is damaged, which is not read.
            pass
    if larger:
        what = f"a TIFF whose first page, {image.width}x{image.height}, is smaller than {larger}"
        raise _unreadable(name, what, "save the page that is meant as a file of its own")


def _ends(source: Path | io.BytesIO) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file."""
    if isinstance(source, io.BytesIO):
        data = source.getvalue()
        return data[:HEAD_BYTES], data[-HEAD_BYTES:]
    try:
        with source.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(0, file.seek(0, io.SEEK_END) - HEAD_BYTES))
            return head, file.read()
    except OSError as error:
        raise ValueError(f"{source} cannot be read as a photo: {error}") from None


def _is_heic(head: bytes, name: str) -> bool:
    """Whether a file is HEIC, as iPhones write it: then pillow-heif is there, or it is a ValueError."""
    # Of AVIF, which Pillow reads by itself, the first name may be the general one, too.
    first = head[:64]
    if first[4:8] != b"ftyp" or first[8:12] not in _HEIC_BRANDS or b"avif" in first or b"avis" in first:
        return False
    try:
        import pillow_heif  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ValueError(f"{name} is HEIC: pip install pillow-heif, or convert it to JPEG") from None
    pillow_heif.register_heif_opener()
    return True


def encode_photo(photo: Image.Image, form: str = "JPEG", *, quality: int = 90) -> bytes:
    """A photo as a file: form "JPEG" or "PNG". Equal photos give equal bytes."""
    stream = io.BytesIO()
    photo.save(stream, form, quality=quality)
    return stream.getvalue()


def scaled_size(size_wh: tuple[int, int], scale: float) -> tuple[int, int]:
    """Width and height, times a scale, in whole pixels, at least one.

    Example:
        >>> scaled_size((200, 1), 0.25)
        (50, 1)
    """
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))


def letterbox(
    photo: Image.Image,
    side: int,
    mean_rgb: tuple[float, float, float] = CLIP_MEAN_RGB,
    std_rgb: tuple[float, float, float] = CLIP_STD_RGB,
) -> NDArray[np.float32]:
    """Make the model's square from a photo: centred on padding of the mean colour, resized, normalised.

    `points.photo_to_square` maps points the same way: a point at (u, v) there is at (u * side, v * side)
    here, to within a pixel. The photo is resized before it is padded, so that a very long one needs no more
    memory than itself, and its shorter side never falls below one pixel.

    Args:
        photo: an RGB photo, as `open_photo` gives it.
        side: side of the square, in pixels.
        mean_rgb: colour of the padding, subtracted from the photo's values in [0, 1]; CLIP's unless given.
        std_rgb: what the difference is divided by; CLIP's unless given.

    Returns:
        (3, side, side) float32; exactly 0 on the padding.

    Raises:
        ValueError: `photo` is not RGB, or `side` is less than 1.
    """
    if photo.mode != "RGB":
        raise ValueError(f"expected an RGB photo, got mode {photo.mode}: open it with open_photo")
    if side < 1:
        raise ValueError(f"side must be at least 1 pixel, got {side}")
    pad_x, pad_y, long_side = square_padding(photo.size)
    left, right = _span(pad_x, photo.width, side / long_side)
    top, bottom = _span(pad_y, photo.height, side / long_side)

    resized = photo.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    values_HW3 = np.asarray(resized, dtype=np.float32) / 255
    square_3HW = np.zeros((3, side, side), dtype=np.float32)
    normalised_HW3 = (values_HW3 - np.array(mean_rgb, np.float32)) / np.array(std_rgb, np.float32)
    square_3HW[:, top:bottom, left:right] = normalised_HW3.transpose(2, 0, 1)
    return square_3HW


def _span(pad: int, length: int, scale: float) -> tuple[int, int]:
    start = round(pad * scale)
    return start, max(start + 1, round((pad + length) * scale))


def _check_pixels(size_wh: tuple[int, int], max_pixels: int, name: str) -> None:
    width, height = size_wh
    if width < 1 or height < 1:
        raise ValueError(f"{name} is {width}x{height}; expected a photo of at least 1x1 pixels")
    if width * height > max_pixels:
        raise ValueError(f"{name} is {width}x{height}, {width * height:,} pixels; at most {max_pixels:,} are allowed")


def _image_of_array(array: NDArray[Any]) -> Image.Image:
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected an array of uint8 or uint16, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise ValueError(f"expected an array of shape (H, W) or (H, W, 1, 3 or 4), got {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"expected a photo of at least 1x1 pixels, got an array of shape {array.shape}")
    if array.dtype == np.uint16:
        return Image.fromarray(_eight_bits(array, "the array"))
    return Image.fromarray(np.ascontiguousarray(array))


def _stated_orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8. Other numbers, which some cameras write, mean nothing and turn nothing."""
    stated = image.getexif().get(_EXIF_ORIENTATION, 1)
    return int(stated) if stated in range(1, 9) else 1


def _upright_rgb(image: Image.Image, name: str) -> tuple[Image.Image, int]:
    """The photo upright as 8-bit RGB, and the EXIF orientation that was applied."""
    orientation = 1
    # Known before the pixels are: of those Pillow keeps 8 bits where there are several channels.
    is_deep = ";16" in str(getattr(image, "tile", ""))
    is_tiff = isinstance(image, TiffImageFile)
    try:
        # Pillow turns a TIFF while it loads it, and forgets how. A PNG may say it behind the pixels.
        before = _stated_orientation(image) if is_tiff else 1
        if isinstance(image, TiffImageFile):
            # Without a name Pillow maps no file: it would map one that is to be turned in the turned size.
            image.filename = ""
        image.load()
    except _DECODING_ERRORS as error:
        raise ValueError(f"{name} is truncated or damaged: {error}") from None
    try:
        # Not by `ImageOps.exif_transpose`, which fails on any other tag that it cannot write back.
        left = _stated_orientation(image)
        image = image.copy() if left == 1 else image.transpose(_UPRIGHT[left])
        orientation = before if is_tiff else left
        if left != 1:
            # Else whoever opens the result turns it once more.
            for key in ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"):
                image.info.pop(key, None)
    except _DECODING_ERRORS:
        # The pixels are fine and the EXIF block is not: the photo is shown as it was stored.
        image = image.copy()

    if image.mode == "F":
        raise ValueError(f"{name} has floating-point pixels; expected 8 or 16 bits a channel")
    clear = image.info.get("transparency")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow's own conversion cuts at 255 instead of scaling.
        values = np.asarray(image)
        image = Image.fromarray(np.where(values == clear, np.uint8(255), _eight_bits(values, name)))
    elif is_deep:
        if isinstance(clear, tuple):
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        _check_range(np.asarray(image.convert("RGB")), name)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, colour)
    return (image if image.mode == "RGB" else image.convert("RGB")), orientation


def _eight_bits(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Scale 0-65535 to 0-255, as viewers do: 65535 / 257 = 255. Values of another range are a ValueError."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"{name} has pixels from {low} to {high}; scale them to 0-65535, or to 0-255 with 8 bits")
    scaled = np.round(values / 257).astype(np.uint8)
    _check_range(scaled[..., :3] if scaled.ndim == 3 else scaled, name)
    return scaled


def _check_range(values: NDArray[np.uint8], name: str) -> None:
    """Refuse what was scaled from 16 bits and is black: its numbers are 8, 10 or 12 bits written into 16."""
    if values.max() < _DARK:
        found = f"has over 8 bits a channel and uses the darkest 1/{256 // _DARK} of 0-65535 alone: it would be black"
        raise ValueError(f"{name} {found}; scale its values to 0-65535, or save it with 8 bits a channel")
