"""Points as annotation tools export them: Label Studio's JSON and CVAT's XML ("CVAT for images 1.1").

What comes out are records in the form of `samples`, in pixels of the upright photo, each with the reason why it could
not be read where that is so. A shape that is no point, and a photo of another size than the one that was labelled, are
such reasons; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring

from talking_points.labels.finding import is_file
from talking_points.photos import photo_size

Found = tuple[dict[str, Any], str | None]
"""A record, and why there is none."""
MOST_XML_BYTES = 64 * 2**20
"""A larger file is not read: all of it is in memory at once. Ours."""
ASPECT_TOLERANCE = 0.02
"""A photo may have another size than the labelled one where its shape is the same, to this share. Ours."""
_FOLDERS = ("", "images/", "../images/", "photos/")
"""Where, seen from the file, photos are sought."""
_KEYPOINTS = ("keypoint", "keypointlabels")
_OTHER_SHAPES = frozenset(
    ("height", "radiusX", "radiusY", "points", "vertices", "rle", "imageDataURL", "sequence", "ranges")
)
"""What a Label Studio region's value holds of shapes that are no keypoints."""
_SAID = ("textarea", "choices", "rating", "number", "datetime", "taxonomy", "labels")
"""Label Studio's types of what is said of a region: their values repeat its shape."""
_PHOTO_ENDING = re.compile(
    r"\.(jpe?g?|jfif|png|webp|tiff?|bmp|gif|p[bgnp]m|jp2|j2k|avif|hei[cf])(\?.*)?$", re.IGNORECASE
)


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
        ValueError: it is another export of Label Studio, or no keypoint is in it; says what is.
    """
    for task in content:
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or "annotations" not in task:
            raise ValueError(
                f'{path} is no Label Studio export of the kind "JSON", whose tasks have "data" and "annotations"; '
                "export the project as JSON, not as JSON-MIN"
            )
    addresses = (one for task in content for some in _addresses_in(task["data"]).values() for one in some)
    photos = _Photos(path.parent, [_names_of(one) for one in addresses if not _is_data_url(one)])
    left_out = dict.fromkeys(("cancelled annotations", "predictions", "drafts"), 0)
    found_any = False
    for task in content:
        where = f"task {task.get('id')}"
        for kind in ("predictions", "drafts"):
            left_out[kind] += len(task.get(kind) or ())
        for annotation in _objects(task["annotations"], f"{path}, {where}: annotations"):
            if annotation.get("was_cancelled"):
                left_out["cancelled annotations"] += 1
                continue
            regions = _objects(annotation.get("result"), f"{path}, {where}: result")
            for region in regions:
                record, problem = {}, None
                try:
                    point = _label_studio_point(region, task["data"], photos)
                    if point is None:
                        continue
                    record = {**point, **_text_of(region, regions)}
                except (ValueError, OSError) as error:
                    problem = f"{where}, region {region.get('id')!r:.40}: {error}"
                found_any = True
                yield record, problem
    if not found_any:
        left = ", ".join(f"{kind} ({count})" for kind, count in left_out.items() if count)
        left = f"; left out: {left}; submit them in Label Studio and export again" if left else ""
        raise ValueError(f"{path} has no points: no keypoint is in a submitted annotation of its tasks{left}")


def _label_studio_point(region: dict[str, Any], data: dict[str, Any], photos: _Photos) -> dict[str, Any] | None:
    """A region's record; None for what is drawn nowhere, such as a choice. A ValueError for any other shape."""
    kind, value = str(region.get("type")), region.get("value") or {}
    if not isinstance(value, dict):
        raise ValueError(f"value is {value!r:.40}; expected an object")
    if kind not in _KEYPOINTS and (kind in _SAID or not ({"x"} | _OTHER_SHAPES) & value.keys()):
        return None
    check_keypoint(kind, value)
    check_rotation(region.get("image_rotation"))
    shares = [_number(value.get(name), name) / 100 for name in ("x", "y")]
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"({value['x']}, {value['y']}) per cent is outside the photo")
    labelled_wh = [_number(region.get(f"original_{side}"), f"original_{side}") for side in ("width", "height")]
    photo = photos.find(_names_of(_address_of(region, data)))
    width, height = photos.size(photo)
    check_shape((labelled_wh[0], labelled_wh[1]), (width, height))
    labels = value.get("keypointlabels") or []
    labels = [labels] if isinstance(labels, str) else labels
    return {
        "photo": photo,
        "x": shares[0] * width,
        "y": shares[1] * height,
        "annotation_id": region.get("id"),
        **({"label": ", ".join(map(str, labels))} if labels else {}),
    }


def _text_of(region: dict[str, Any], regions: list[dict[str, Any]]) -> dict[str, str]:
    """What a text area says of a region, where one does."""
    same = [one for one in regions if one.get("id") == region.get("id")]
    texts = [one for one in same if one.get("type") == "textarea" and _text(one)]
    if not texts:
        return {}
    if len(texts) > 1:
        areas = ", ".join(str(one.get("from_name")) for one in texts)
        raise ValueError(f"it has {len(texts)} texts ({areas:.80}); which is meant? Leave one")
    if sum(one.get("type") in _KEYPOINTS for one in same) > 1:
        raise ValueError("another region has the same id; whose is the text?")
    return {"text": _text(texts[0])}


def check_keypoint(kind: str | None, value: Mapping[str, Any]) -> None:
    """ValueError where a Label Studio region, of this type (None: not known), is another shape, or rotated."""
    drawn = sorted(_OTHER_SHAPES & value.keys())
    if kind not in (None, *_KEYPOINTS) or drawn:
        has = f" with {', '.join(drawn)}" if drawn and kind in (None, *_KEYPOINTS) else ""
        raise ValueError(f"it is of the type {kind}{has}; only keypoints are points")
    if _number(value.get("rotation") or 0, "rotation") % 360:
        raise ValueError("it is rotated; a keypoint has no rotation")


def check_rotation(image_rotation: Any) -> None:
    """ValueError where a Label Studio region is of the picture rotated by so many degrees, but for whole turns."""
    degrees = _number(image_rotation or 0, "image_rotation")
    if degrees % 360:
        raise ValueError(f"the picture was rotated by {degrees:g} degrees; rotate it back, or save it upright")


def check_shape(labelled_wh: tuple[float, float], size_wh: tuple[int, int]) -> None:
    """ValueError where the labelled picture had another shape than the upright photo: it may have been its stored
    pixels."""
    labelled_w, labelled_h = labelled_wh
    ratio = (labelled_w / labelled_h) / (size_wh[0] / size_wh[1]) if labelled_w > 0 and labelled_h > 0 else 0.0
    if abs(ratio - 1) > ASPECT_TOLERANCE:
        raise ValueError(
            f"a {labelled_w:g}x{labelled_h:g} picture was labelled, the photo is {size_wh[0]}x{size_wh[1]} upright: "
            "its EXIF orientation may say so; save the photo upright and label that"
        )


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    """A list of objects; null is an empty one."""
    if not isinstance(value or [], list) or not all(isinstance(one, dict) for one in value or []):
        raise ValueError(f"{name} is {value!r:.40}; expected a list of objects")
    return value or []


def _addresses_in(data: dict[str, Any], also: Any = None) -> dict[str, list[str]]:
    """The addresses of photos in a task's data: under "image" and one other name, and what else names a photo."""
    found = {}
    for key, value in data.items():
        some = value if isinstance(value, list) else [value]
        if some and all(isinstance(one, str) and one for one in some):
            named = all(_is_data_url(one) or _PHOTO_ENDING.search(one) for one in some)
            if named or key in ("image", also):
                found[key] = some
    return found


def _address_of(region: dict[str, Any], data: dict[str, Any]) -> str:
    """The address of the photo that a region is drawn on.

    An export names the interface's Image, not the data that it shows: of several photos it is the one of that name.
    """
    name, index = region.get("to_name"), region.get("item_index")
    photos = _addresses_in(data, name)
    if not photos:
        raise ValueError(f'the task\'s data ({", ".join(data):.80}) names no photo; expected "image": "a.jpg"')
    if name not in photos and len(photos) > 1:
        raise ValueError(
            f"the task's data names photos as {', '.join(photos):.80}, and the region is on {name!r:.40}; give the "
            "Image and its data one name, or leave one photo"
        )
    some = photos[name] if name in photos else next(iter(photos.values()))
    if index is None and len(some) == 1:
        index = 0
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(some):
        raise ValueError(f"item_index is {index!r:.40}; expected a place, from 0, in the task's {len(some)} photo(s)")
    if _is_data_url(some[index]):
        raise ValueError("the photo lies in the task itself, as a data: URL; save it as a file and name that instead")
    return some[index]


def _is_data_url(address: str) -> bool:
    return address[:5].lower() == "data:"


def _names_of(address: str) -> list[str]:
    """What the photo of an address may be called: LABEL_STUDIO/data/upload/1/0123abcd-a.jpg is uploaded from a.jpg."""
    try:
        parts = urlsplit(address)
    except ValueError:
        # Such as "http://[a.jpg"; then it is no URL but a name.
        return [address]
    # /data/local-files/?d=folder/a.jpg
    told = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    name = told.rpartition("/")[2]
    uploaded = re.sub(r"^[0-9a-f]{8}-", "", name) if "upload/" in told else name
    whole = told.lstrip("/")
    return [f"{parts.netloc}/{whole}" if parts.netloc else whole, whole, name, uploaded]


def _text(region: dict[str, Any]) -> str:
    value = region.get("value")
    said = (value.get("text") if isinstance(value, dict) else None) or []
    texts = [said] if isinstance(said, str) else said
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"its text is {said!r:.40}; expected a text, or a list of texts")
    return " ".join(texts)


def cvat_points(path: Path) -> Iterator[Found]:
    """The points of CVAT's XML, those of skeletons too. Its pixels are those of the photo as it shows it, upright.

    Raises:
        ValueError: it is no such XML, of a video, larger than `MOST_XML_BYTES`, or it declares entities.
    """
    root = _parse(path)
    if root.tag != "annotations":
        raise ValueError(
            f"{path} is XML of another kind, <{root.tag[:40]}>; expected CVAT for images 1.1, <annotations>"
        )
    if root.find("track") is not None:
        raise ValueError(f'{path} is CVAT\'s XML of a video; export the task as "CVAT for images 1.1"')
    photos = _Photos(path.parent, [_cvat_names(image) for image in root.iter("image")])
    found_any = False
    for image in root.iter("image"):
        for shape in image:
            for drawn, of_object in _points_of(shape):
                found_any = True
                try:
                    photo = photos.find(_cvat_names(image))
                    for x, y in _cvat_pixels(drawn, image, photos.size(photo)):
                        thing = {"object_name": of_object} if of_object else {}
                        yield {"photo": photo, "x": x, "y": y, **thing, "label": drawn.get("label")}, None
                except (ValueError, OSError) as error:
                    where = f"image {image.get('name') or ''!r:.80}, {drawn.tag} {drawn.get('label')!r:.40}"
                    yield {}, f"{where}: {error}"
    if not found_any:
        raise ValueError(f"{path} has no points: its images have no shapes, or only such that are outside")


def _cvat_names(image: Element) -> list[str]:
    """What an image's photo may be called: a project's photos lie in folders by their subsets."""
    name, subset = image.get("name") or "", image.get("subset")
    return [*([f"{subset}/{name}"] if subset else []), name, name.rpartition("/")[2]]


def _points_of(shape: Element) -> Iterator[tuple[Element, str | None]]:
    """Shapes to be read, those of a skeleton with its label. Those outside the picture, and tags, are none."""
    if shape.get("outside") in ("1", "true", "True"):
        return
    if shape.tag == "skeleton":
        for part in shape:
            for drawn, _ in _points_of(part):
                yield drawn, shape.get("label")
    elif shape.tag not in ("tag", "attribute"):
        yield shape, None


def _cvat_pixels(drawn: Element, image: Element, size_wh: tuple[int, int]) -> list[tuple[float, float]]:
    if drawn.tag != "points":
        raise ValueError("only points are read; label the thing with points")
    if _number(drawn.get("rotation") or 0, "rotation") % 360:
        raise ValueError("they are rotated; points have no rotation")
    labelled_wh = (_number(image.get("width"), "width"), _number(image.get("height"), "height"))
    check_shape(labelled_wh, size_wh)
    found = []
    for pair in (drawn.get("points") or "").split(";"):
        numbers = pair.split(",")
        if len(numbers) != 2:
            raise ValueError(f"expected points as x,y;x,y, got {pair!r:.40}")
        x, y = _number(numbers[0], "x"), _number(numbers[1], "y")
        if not (0 <= x <= labelled_wh[0] and 0 <= y <= labelled_wh[1]):
            raise ValueError(f"({x:g}, {y:g}) is outside the {labelled_wh[0]:g}x{labelled_wh[1]:g} photo")
        found.append((x * size_wh[0] / labelled_wh[0], y * size_wh[1] / labelled_wh[1]))
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


class _Photos:
    """Photos beside a file, and how large they are."""

    def __init__(self, folder: Path, names: Iterable[list[str]]) -> None:
        """
        Args:
            folder: of the file.
            names: of every photo that the file names: what it may be called, the whole name first.
        """
        self._folder = folder
        self._size = cache(photo_size)
        self._found: dict[str, str | None] = {}
        self._named: dict[str, set[str]] = {}
        for one in names:
            if one[0] not in self._found:
                self._found[one[0]] = found = self._sought(one)
                if found is not None:
                    self._named.setdefault(found, set()).add(one[0])

    def _sought(self, names: list[str]) -> str | None:
        return next((at + one for one in names for at in _FOLDERS if one and is_file(self._folder / (at + one))), None)

    def find(self, names: list[str]) -> str:
        """Where the photo that may be called so lies, seen from the folder.

        Raises:
            FileNotFoundError: there is no such photo.
            ValueError: it is there without its folder, and may be another of the file's photos.
        """
        whole = names[0]
        found = self._found[whole] if whole in self._found else self._sought(names)
        if found is None:
            raise FileNotFoundError(f"no such photo beside the file: {names[-1]:.100}")
        others = self._named.get(found, set()) - {whole}
        if others and found != whole:
            raise ValueError(
                f"{found:.100} beside the file may be {whole:.100} or {min(others):.100}; keep both in their folders"
            )
        return found

    def size(self, photo: str) -> tuple[int, int]:
        """Width and height of the upright photo."""
        return self._size(self._folder / photo)


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r:.40}; expected a number") from None
    if not math.isfinite(number) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r:.40}; expected a number")
    return number
