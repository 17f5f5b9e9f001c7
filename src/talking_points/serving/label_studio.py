"""A machine-learning backend for Label Studio: a keypoint gets a description, a description gets a keypoint.

Speaks the protocol of label-studio-ml-backend (health, setup, predict); in Label Studio, give this server's address
with /label-studio behind it. The labelling interface needs an Image, a KeyPointLabels or KeyPoint, and a TextArea with
perRegion="true", all of which this reads from the project's own configuration. Regions of other controls are left
alone; a region of the keypoint's that is no keypoint, or of a rotated or another picture, is refused.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import Annotated, Any
from xml.etree import ElementTree

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from talking_points.samples import PhotoPoint
from talking_points.serving.bodies import read_body
from talking_points.serving.engine import Engine, Point
from talking_points.serving.service import Service, bad_request

POINT_WIDTH_PERCENT = 0.75
"""Drawn size of a keypoint that we place, of the photo's width. Ours."""
MOST_CONFIG_CHARS = 100_000
KEYPOINT_TYPES = ("keypoint", "keypointlabels")
ASPECT_TOLERANCE = 0.02
"""The photo's size may differ from the one that a region is of, by no more than this share in shape."""


class Setup(BaseModel):
    """What Label Studio sends when a project is connected."""

    schema_: Annotated[str, Field(alias="schema")] = ""


class Predict(BaseModel):
    """What Label Studio sends to have tasks pre-filled."""

    tasks: list[dict[str, Any]]
    label_config: str = ""
    params: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """Names of a labelling interface's parts."""

    image: str
    photo_key: str
    """Of a task's data."""
    keypoint: str
    keypoint_type: str
    """"keypointlabels" or "keypoint"."""
    labels: tuple[str, ...]
    text: str


def read_interface(label_config: str) -> Interface:
    """A project's labelling interface.

    Raises:
        ValueError: no XML, or a part that is needed is not in it.
    """
    if len(label_config) > MOST_CONFIG_CHARS or "<!" in label_config.replace("<!--", ""):
        # A document type could define entities that grow without end.
        raise ValueError("the labelling interface is too long or has a document type; expected plain Label Studio XML")
    try:
        root = ElementTree.fromstring(label_config)
    except ElementTree.ParseError as error:
        raise ValueError(f"the labelling interface is no XML: {error}") from None
    image = next((one for one in root.iter("Image") if one.get("name")), None)
    points = next((one for kind in ("KeyPointLabels", "KeyPoint") for one in root.iter(kind) if one.get("name")), None)
    text = next((one for one in root.iter("TextArea") if one.get("name")), None)
    if image is None or points is None or text is None:
        raise ValueError("the labelling interface needs an Image, a KeyPointLabels or KeyPoint, and a TextArea")
    return Interface(
        image=image.get("name", ""),
        photo_key=image.get("value", "").lstrip("$"),
        keypoint=points.get("name", ""),
        keypoint_type=points.tag.lower(),
        labels=tuple(label.get("value", "") for label in points.iter("Label")),
        text=text.get("name", ""),
    )


def add_routes(app: FastAPI, service: Service) -> None:
    """The backend's routes, under /label-studio."""

    @app.get("/label-studio/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "TalkingPoints"}

    @app.post("/label-studio/setup", include_in_schema=False)
    async def setup(request: Request) -> dict[str, str]:
        given = await read_body(request, Setup)
        try:
            if given.schema_:
                read_interface(given.schema_)
        except ValueError as error:
            raise bad_request(error) from None
        return {"model_version": service.engine(None).name}

    @app.post("/label-studio/webhook", include_in_schema=False)
    async def webhook() -> dict[str, str]:
        # Label Studio tells of new annotations; nothing is trained here.
        return {}

    @app.post("/label-studio/predict", include_in_schema=False)
    async def predict(request: Request) -> dict[str, Any]:
        given = await read_body(request, Predict)
        engine = service.engine(None)
        try:
            interface = read_interface(given.label_config)
            drawn = ((given.params or {}).get("context") or {}).get("result") or []
            asked = [_asked_of(task, drawn, interface) for task in given.tasks]
        except (ValueError, AttributeError, TypeError) as error:
            raise bad_request(ValueError(f"this is no request of Label Studio: {error}")) from None
        results = [await _prefill(service, engine, interface, photo, regions) for photo, regions in asked]
        return {"results": results, "model_version": engine.name}


def _asked_of(
    task: dict[str, Any], drawn: list[dict[str, Any]], interface: Interface
) -> tuple[str, list[dict[str, Any]]]:
    """A task's photo, and the regions to complete: those just drawn, or those of its last annotation."""
    photo = task["data"].get(interface.photo_key) if isinstance(task.get("data"), dict) else None
    if not isinstance(photo, str) or not photo:
        raise ValueError(f"the task's data has no {interface.photo_key!r} with a photo")
    annotations = task.get("annotations") or [{}]
    regions = drawn or annotations[-1].get("result") or []
    if not all(isinstance(region, dict) and isinstance(region.get("value"), dict) for region in regions):
        raise ValueError("a region without a value")
    return photo, regions


async def _prefill(
    service: Service, engine: Engine, interface: Interface, photo: str, regions: list[dict[str, Any]]
) -> dict[str, Any]:
    """Regions for what is missing: a text for a keypoint without one, a keypoint for a text without one."""
    points = {str(one.get("id")): one for one in regions if one.get("from_name") == interface.keypoint}
    texts = {str(one.get("id")): one for one in regions if one.get("from_name") == interface.text}
    own_controls = (interface.keypoint, interface.text)
    of_others = {str(one.get("id")) for one in regions if one.get("from_name") not in own_controls}
    bare_points = [name for name in points if name not in texts]
    bare_texts = [name for name in texts if name not in points]
    answer: dict[str, Any] = {"result": [], "score": 0.0, "model_version": engine.name}
    if not bare_points and not bare_texts:
        return answer
    prepared = await service.prepared(photo, engine, label_studio=True)
    size_wh = prepared.size_wh
    try:
        for drawn in regions:
            if drawn.get("from_name") in own_controls:
                _check_picture(drawn, size_wh)
        for name in bare_points:
            _check_keypoint(points[name])
    except ValueError as error:
        raise bad_request(error) from None
    try:
        points_px = [_point_px(points[name]["value"], size_wh) for name in bare_points]
        words = [_words(texts[name]["value"]) for name in bare_texts]
    except (KeyError, TypeError, ValueError):
        raise bad_request(ValueError("a keypoint without x and y in percent, or a text without words")) from None
    result = answer["result"]
    if points_px:
        described = await service.answer("describe", engine, prepared, points_px=points_px)
        for name, one in zip(bare_points, described.answers, strict=True):
            result.append(points[name])
            result.append(_text_region(name, one, points[name]["value"], interface, size_wh))
    if words:
        found = await service.answer("localize", engine, prepared, texts=words)
        for name, one in zip(bare_texts, found.answers, strict=True):
            place = _place(one, size_wh)
            value: dict[str, Any] = {**place}
            if interface.labels:
                value[interface.keypoint_type] = list(interface.labels[:1])
            # A text of the whole photo has an id of its own; the new region takes another.
            # So does the text of another control's region, such as a box.
            own = texts[name]["value"].get("x") is not None and name not in of_others
            region = name if own else uuid.uuid4().hex[:10]
            result.append(_region(region, interface.keypoint, interface.keypoint_type, value, interface, size_wh))
            result.append(_text_region(region, one, place, interface, size_wh))
    return answer


def _check_picture(region: dict[str, Any], size_wh: tuple[int, int]) -> None:
    """ValueError where a region's percentages are of a picture that is rotated or shaped otherwise than the photo."""
    name = f"region {region.get('id')!r}"
    rotation = _number(region.get("image_rotation") or 0, f"{name}: image_rotation")
    if rotation % 360:
        raise ValueError(
            f"{name} is of the picture rotated by {rotation:g} degrees: rotate it back, or save it upright"
        )
    stated = region.get("original_width"), region.get("original_height")
    if None in stated:
        return
    width, height = (_number(side, f"{name}: original_width and original_height") for side in stated)
    if not (width > 0 and height > 0) or abs(width / height / (size_wh[0] / size_wh[1]) - 1) > ASPECT_TOLERANCE:
        raise ValueError(
            f"{name} is of a {width:g}x{height:g} picture, the photo is {size_wh[0]}x{size_wh[1]} upright: its EXIF "
            "orientation may say so; save the photo upright and label that"
        )


def _check_keypoint(region: dict[str, Any]) -> None:
    """ValueError where a region of the keypoint's control is a box or another shape, or rotated."""
    kind, value = region.get("type"), region["value"]
    name = f"region {region.get('id')!r}"
    if kind not in (None, *KEYPOINT_TYPES) or "height" in value or "points" in value:
        raise ValueError(f"{name} is no keypoint but {kind}: only keypoints are described")
    if _number(value.get("rotation") or 0, f"{name}: rotation") % 360:
        raise ValueError(f"{name} is rotated: a keypoint has no rotation")


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{what}: expected a number, got {str(value)[:40]}")
    return number


def _point_px(value: dict[str, Any], size_wh: tuple[int, int]) -> Point:
    x, y = float(value["x"]), float(value["y"])
    return x / 100 * size_wh[0], y / 100 * size_wh[1]


def _words(value: dict[str, Any]) -> str:
    text = value["text"]
    return text if isinstance(text, str) else " ".join(str(line) for line in text)


def _place(answer: PhotoPoint, size_wh: tuple[int, int]) -> dict[str, float]:
    assert answer.found_px is not None
    (x, y), (width, height) = answer.found_px, size_wh
    return {"x": 100 * x / width, "y": 100 * y / height, "width": POINT_WIDTH_PERCENT}


def _text_region(
    name: str, answer: PhotoPoint, place: dict[str, Any], interface: Interface, size_wh: tuple[int, int]
) -> dict[str, Any]:
    shape: dict[str, Any] = {key: place[key] for key in ("x", "y", "width") if key in place}
    return _region(name, interface.text, "textarea", {**shape, "text": [answer.words]}, interface, size_wh)


def _region(
    name: str, control: str, kind: str, value: dict[str, Any], interface: Interface, size_wh: tuple[int, int]
) -> dict[str, Any]:
    return {
        "id": name,
        "from_name": control,
        "to_name": interface.image,
        "type": kind,
        "original_width": size_wh[0],
        "original_height": size_wh[1],
        "image_rotation": 0,
        "value": value,
    }
