"""What a file is that is not what it should be, by its first bytes, and the way out."""

from __future__ import annotations

HEAD_BYTES = 512
"""So many of a file's first bytes tell what it is."""

_RAW = "a camera's raw file"
_UNPACK = "unpack it"
_CUT = "give one of its frames, as JPEG or PNG"
_ANEW = "download the file itself"

# Place, bytes, what it is, what to do; "" of pictures, which may be converted.
_KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a pointer of Git LFS", "get the file itself: git lfs pull"),
    (0, b"\xff\x0a", "JPEG XL", ""),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL", ""),
    (0, b"8BPS", "Photoshop's PSD", ""),
    (8, b"CR\x02", f"CR2, {_RAW}", ""),
    (4, b"ftypcrx ", f"CR3, {_RAW}", ""),
    (0, b"FUJIFILMCCD-RAW", f"RAF, {_RAW}", ""),
    (0, b"IIR", f"ORF, {_RAW}", ""),
    (0, b"IIU\0", f"RW2, {_RAW}", ""),
    (0, b"%PDF", "PDF", ""),
    (0, b"%!PS", "PostScript", ""),
    (0, b"\0\0\x01\0", "ICO, an icon", ""),
    (0, b"DDS ", "DDS", ""),
    (0, b"\x76\x2f\x31\x01", "OpenEXR", ""),
    (0, b"#?RADIANCE", "Radiance HDR", ""),
    (0, b"\x01\xda", "SGI", ""),
    (4, b"ftypmp4", "a video", _CUT),
    (4, b"ftypisom", "a video", _CUT),
    (4, b"ftypqt  ", "a video", _CUT),
    (0, b"\x1a\x45\xdf\xa3", "a video", _CUT),
    (0, b"\x1f\x8b", "packed by gzip", _UNPACK),
    (0, b"PK\x03\x04", "a ZIP archive", _UNPACK),
)
_TAGS = (
    (b"<svg", "SVG, a drawing", ""),
    (b"<html", "a web page", _ANEW),
    (b"<!doctype html", "a web page", _ANEW),
)
# Of TGA only the last bytes tell.
_TGA_ENDING = b"TRUEVISION-XFILE.\0"


def kind_of(head: bytes, tail: bytes = b"") -> tuple[str, str] | None:
    """What a file is, and what to do, by its first `HEAD_BYTES` and its last bytes; None where they do not tell.

    Known are files that people give in a photo's, a label map's or a JSON file's place; nothing that is read here is.
    Of pictures in other formats, what to do is "": to write them in one that is read, which the caller knows.

    Example:
        >>> kind_of(b"")
        ('empty', 'copy it anew')
        >>> kind_of(b"8BPS and more")
        ("Photoshop's PSD", '')
    """
    if not head:
        return "empty", "copy it anew"
    for place, magic, what, remedy in _KINDS:
        if head.startswith(magic, place):
            return what, remedy
    if tail.endswith(_TGA_ENDING):
        return "TGA", ""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        return next(((what, remedy) for tag, what, remedy in _TAGS if tag in text), None)
    return None
