"""Points as annotation tools export them: Label Studio's JSON and CVAT's XML ("CVAT for images 1.1").

What comes out are records in the form of `samples`, in pixels of the upright photo, each with the reason why it could
not be read where that is so. A shape that is no point, and a photo of another size than the one that was labelled, are
such reasons; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring

from talking_points.photos import photo_size

Found = tuple[dict[str, Any], str | None]
"""A record, and why there is none."""
MOST_XML_BYTES = 64 * 2**20
"""A larger file is not read: all of it is in memory at once. Ours."""
ASPECT_TOLERANCE = 0.02
"""A photo may have another size than the labelled one where its shape is the same, to this share. Ours."""
_FOLDERS = ("", "images/", "../images/", "photos/")
"""Where, seen from the file, photos are sought."""
_SHAPES = ("box", "polygon", "polyline", "mask", "cuboid", "ellipse")
"""Of CVAT, those that are no points."""


def is_label_studio(content: Any) -> bool:
    """Whether JSON is a list of Label Studio's tasks, or of one of its short forms."""
    first = content[0] if isinstance(content, list) and content else None
    known = {"data", "annotations", "annotation_id"}
    return isinstance(first, dict) and "id" in first and bool(known & first.keys())


def label_studio_points(path: Path, content: list[Any]) -> Iterator[Found]:
    """The keypoints of Label Studio's export "JSON", with the text that a text area gives one.

    Args:
        path: of the file; photos are sought beside it by their names, without the prefix that an upload gets.
        content: of the file.

    Raises:
        ValueError: it is another export of Label Studio.
    """
    sizes = _Sizes(path.parent)
    for task in content:
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or "annotations" not in task:
            raise ValueError(
                f'{path} is no Label Studio export of the kind "JSON", whose tasks have "data" and "annotations"; '
                "export the project as JSON, not as JSON-MIN"
            )
        photo = sizes.find(_names_of(_image_of(task["data"])))
        for annotation in task["annotations"]:
            regions = [] if annotation.get("was_cancelled") else annotation.get("result") or []
            texts = {one.get("id"): _text(one) for one in regions if one.get("type") == "textarea"}
            for region in regions:
                where = f"task {task.get('id')}, region {region.get('id')!r:.40}"
                try:
                    point = _label_studio_point(region, sizes, photo)
                except (ValueError, OSError) as error:
                    yield {}, f"{where}: {error}"
                    continue
                if point is not None:
                    text = texts.get(region.get("id"))
                    yield {"photo": photo, **point, **({"text": text} if text else {})}, None


def _label_studio_point(region: dict[str, Any], sizes: _Sizes, photo: str) -> dict[str, Any] | None:
    """A region's point; None for what is drawn nowhere, such as a choice. A ValueError for any other shape."""
    kind, value = str(region.get("type")), region.get("value") or {}
    if kind not in ("keypoint", "keypointlabels"):
        if "x" in value or "points" in value or "rle" in value:
            if kind == "textarea":
                return None
            raise ValueError(f"it is of the type {kind}; only keypoints are points")
        return None
    if region.get("image_rotation"):
        raise ValueError(
            f"the picture was rotated by {region['image_rotation']} degrees; rotate it back and export again"
        )
    shares = [_number(value.get(name), name) / 100 for name in ("x", "y")]
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"({100 * shares[0]:g}, {100 * shares[1]:g}) per cent is outside the photo")
    labelled_wh = [_number(region.get(f"original_{side}"), f"original_{side}") for side in ("width", "height")]
    width, height = sizes.same_shape(photo, (labelled_wh[0], labelled_wh[1]))
    labels = value.get("keypointlabels") or []
    return {
        "x": shares[0] * width,
        "y": shares[1] * height,
        "annotation_id": region.get("id"),
        **({"label": ", ".join(map(str, labels))} if labels else {}),
    }


def _image_of(data: dict[str, Any]) -> str:
    """The address of a task's photo: under "image", or the only text that names one."""
    if isinstance(data.get("image"), str):
        return str(data["image"])
    named = [one for one in data.values() if isinstance(one, str) and re.search(r"\.\w{3,4}(\?.*)?$", one)]
    if len(named) != 1:
        raise ValueError(f'a task has {len(named)} addresses of photos; expected one, or one named "image"')
    return named[0]


def _names_of(address: str) -> list[str]:
    """What the photo of an address may be called: LABEL_STUDIO/data/upload/1/0123abcd-a.jpg is uploaded from a.jpg."""
    parts = urlsplit(address)
    # /data/local-files/?d=folder/a.jpg
    told = unquote(parse_qs(parts.query).get("d", [parts.path])[0])
    name = told.rpartition("/")[2]
    return [told.lstrip("/"), name, re.sub(r"^[0-9a-f]{8}-", "", name)]


def _text(region: dict[str, Any]) -> str:
    said = (region.get("value") or {}).get("text") or ""
    return " ".join(map(str, said)) if isinstance(said, list) else str(said)


def cvat_points(path: Path) -> Iterator[Found]:
    """The points of CVAT's XML, those of skeletons too. Its pixels are those of the photo as it shows it, upright.

    Raises:
        ValueError: it is no such XML, of a video, larger than `MOST_XML_BYTES`, or it declares entities.
    """
    root, sizes = _parse(path), _Sizes(path.parent)
    if root.tag != "annotations":
        raise ValueError(
            f"{path} is XML of another kind, <{root.tag[:40]}>; expected CVAT for images 1.1, <annotations>"
        )
    if root.find("track") is not None:
        raise ValueError(f'{path} is CVAT\'s XML of a video; export the task as "CVAT for images 1.1"')
    for image in root.iter("image"):
        name = image.get("name") or ""
        photo = sizes.find([name, name.rpartition("/")[2]])
        for shape in image:
            for drawn, of_object in _points_of(shape):
                try:
                    for x, y in _cvat_pixels(drawn, image, sizes, photo):
                        thing = {"object_name": of_object} if of_object else {}
                        yield {"photo": photo, "x": x, "y": y, **thing, "label": drawn.get("label")}, None
                except (ValueError, OSError) as error:
                    yield {}, f"image {name!r:.80}, {drawn.tag} {drawn.get('label')!r:.40}: {error}"


def _points_of(shape: Element) -> Iterator[tuple[Element, str | None]]:
    """Shapes to be read, those of a skeleton with its label. Those outside the picture, and tags, are none."""
    if shape.tag == "skeleton":
        for point in shape:
            if point.tag == "points" and point.get("outside") != "1":
                yield point, shape.get("label")
    elif shape.tag == "points" or shape.tag in _SHAPES:
        yield shape, None


def _cvat_pixels(drawn: Element, image: Element, sizes: _Sizes, photo: str) -> list[tuple[float, float]]:
    if drawn.tag != "points":
        raise ValueError("only points are read; label the thing with points")
    labelled_wh = (_number(image.get("width"), "width"), _number(image.get("height"), "height"))
    width, height = sizes.same_shape(photo, labelled_wh)
    found = []
    for pair in (drawn.get("points") or "").split(";"):
        numbers = pair.split(",")
        if len(numbers) != 2:
            raise ValueError(f"expected points as x,y;x,y, got {pair!r:.40}")
        x, y = _number(numbers[0], "x"), _number(numbers[1], "y")
        if not (0 <= x <= labelled_wh[0] and 0 <= y <= labelled_wh[1]):
            raise ValueError(f"({x:g}, {y:g}) is outside the {labelled_wh[0]:g}x{labelled_wh[1]:g} photo")
        found.append((x * width / labelled_wh[0], y * height / labelled_wh[1]))
    return found


def _parse(path: Path) -> Element:
    """The file's XML, in which nothing is declared: an entity may stand for gigabytes, or for another file."""
    if path.stat().st_size > MOST_XML_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes; at most {MOST_XML_BYTES:,} are read: export it in parts"
        )
    content = path.read_bytes()
    encoding = re.search(
        rb"""^\s*<\?xml[^>]*encoding\s*=\s*["']([^"']*)""", content[:400].removeprefix(b"\xef\xbb\xbf")
    )
    # In another encoding what is looked for below could be written otherwise.
    if encoding is not None and encoding[1].lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
        raise ValueError(f"{path} is XML in {encoding[1].decode('ascii', 'replace')}; save it as UTF-8")
    if re.search(rb"<!(?:DOCTYPE|ENTITY)", content, re.IGNORECASE):
        raise ValueError(
            f"{path} declares a document type or entities, which an export of CVAT does not; it is not read"
        )
    try:
        return fromstring(content)
    except ParseError as error:
        raise ValueError(f"{path} is not XML: {error}") from None


class _Sizes:
    """Photos beside a file, and how large they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._size = cache(photo_size)

    def find(self, names: list[str]) -> str:
        """Where the photo of one of these names lies, seen from the folder; the last name where none is there."""
        for name in names:
            for folder in _FOLDERS:
                if name and (self._folder / folder / name).is_file():
                    return folder + name
        return names[-1]

    def same_shape(self, photo: str, labelled_wh: tuple[float, float]) -> tuple[int, int]:
        """Width and height of the upright photo.

        Raises:
            ValueError: the labelled picture had another shape: it may have been the photo's stored pixels.
            FileNotFoundError: there is no such photo.
        """
        if not (self._folder / photo).is_file():
            raise FileNotFoundError(f"no such photo beside the file: {photo}")
        width, height = self._size(self._folder / photo)
        labelled_w, labelled_h = labelled_wh
        ratio = (labelled_w / labelled_h) / (width / height) if labelled_w > 0 and labelled_h > 0 else 0.0
        if abs(ratio - 1) > ASPECT_TOLERANCE:
            raise ValueError(
                f"a {labelled_w:g}x{labelled_h:g} picture was labelled, the photo is {width}x{height} upright: its "
                "EXIF orientation may say so; save the photo upright and label that"
            )
        return width, height


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r:.40}; expected a number") from None
    if not math.isfinite(number) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r:.40}; expected a number")
    return number
