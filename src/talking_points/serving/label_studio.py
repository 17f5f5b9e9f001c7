"""A machine-learning backend for Label Studio: a keypoint gets a description, a description gets a keypoint.

Speaks the protocol of label-studio-ml-backend (health, setup, predict); in Label Studio, give this server's address
with /label-studio behind it. The labelling interface needs an Image, a KeyPointLabels or KeyPoint, and a TextArea with
perRegion="true", all of which this reads from the project's own configuration. A description of a thing that counts as
absent gets no keypoint. Regions of other controls are left alone, and annotations that were cancelled; a region of the
keypoint's that is no keypoint, or of a rotated or another picture, is refused.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError, fromstring

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, FiniteFloat

from talking_points.annotations import check_keypoint, check_rotation, check_shape
from talking_points.pointing.prepared import Prepared
from talking_points.samples import PhotoPoint, absence
from talking_points.serving.service import Service, refusing

log = logging.getLogger(__name__)

POINT_WIDTH_PERCENT = 0.75
"""Drawn size of a keypoint that we place, of the photo's width. Ours."""
MOST_CONFIG_CHARS = 100_000
_KEYPOINTS = ("KeyPointLabels", "KeyPoint")


class Value(BaseModel):
    """Of a region; lengths in per cent of the picture."""

    model_config = ConfigDict(extra="allow")
    x: FiniteFloat | None = None
    y: FiniteFloat | None = None
    rotation: FiniteFloat | None = None
    text: list[str] | str = ""

    @property
    def words(self) -> str:
        return self.text if isinstance(self.text, str) else " ".join(self.text)


class Region(BaseModel):
    """What is drawn on a picture, or written about it."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)
    id: str = ""
    from_name: str = ""
    to_name: str | None = None
    item_index: int | None = None
    type: str | None = None
    image_rotation: FiniteFloat | None = None
    original_width: FiniteFloat | None = None
    original_height: FiniteFloat | None = None
    value: Value = Value()


class Drawn(BaseModel):
    result: list[Region] | None = None
    was_cancelled: bool | None = None


class LabelTask(BaseModel):
    id: int | str | None = None
    data: dict[str, Any]
    annotations: list[Drawn] | None = None


class Params(BaseModel):
    context: Drawn | None = None


class Predict(BaseModel):
    """What Label Studio sends to have tasks pre-filled: a region just drawn is in `params`, others are in the tasks."""

    tasks: list[LabelTask]
    label_config: str = ""
    params: Params | None = None


class Controls(NamedTuple):
    """Of a labelling interface."""

    image: Element
    keypoint: Element
    text: Element


def add_routes(app: FastAPI, service: Service) -> None:
    """The backend's routes, under /label-studio."""

    @app.get("/label-studio/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "TalkingPoints"}

    @app.post("/label-studio/setup", include_in_schema=False)
    async def setup(given: dict[str, Any]) -> dict[str, str]:
        with refusing():
            if given.get("schema"):
                read_interface(str(given["schema"]))
        return {"model_version": service.engine(None).name}

    @app.post("/label-studio/webhook", include_in_schema=False)
    async def webhook() -> dict[str, str]:
        # Label Studio tells of new annotations; nothing is trained here.
        return {}

    @app.post("/label-studio/predict", include_in_schema=False)
    async def predict(given: Predict) -> dict[str, Any]:
        name, results = service.engine(None).name, []
        with refusing():
            controls = read_interface(given.label_config)
        for task in given.tasks:
            try:
                result = await _prefill(service, controls, task, given.params.context if given.params else None)
            except HTTPException as error:
                if len(given.tasks) == 1 or error.status_code != 400:
                    raise
                # Label Studio would drop the answers to all tasks.
                log.warning("task %s: %s", task.id, error.detail)
                result = []
            results.append({"result": result, "score": 0.0, "model_version": name})
        return {"results": results, "model_version": name}


def read_interface(label_config: str) -> Controls:
    """The controls of a project's labelling interface.

    Raises:
        ValueError: no XML, or a part that is needed is not in it.
    """
    if len(label_config) > MOST_CONFIG_CHARS or "<!" in label_config.replace("<!--", ""):
        # A document type could define entities that grow without end.
        raise ValueError("the labelling interface is too long or has a document type; expected plain Label Studio XML")
    try:
        root = fromstring(label_config)
    except ParseError as error:
        raise ValueError(f"the labelling interface is no XML: {error}") from None
    named = {kind: [one for one in root.iter(kind) if one.get("name")] for kind in ("Image", "TextArea")}
    points = next((one for kind in _KEYPOINTS for one in root.iter(kind) if one.get("name")), None)
    if not named["Image"] or points is None or not named["TextArea"]:
        raise ValueError("the labelling interface needs an Image, a KeyPointLabels or KeyPoint, and a TextArea")
    image = next((one for one in named["Image"] if one.get("name") == points.get("toName")), None)
    if image is None:
        names = ", ".join(one.get("name", "") for one in named["Image"])
        raise ValueError(
            f"the keypoints of the labelling interface have toName={points.get('toName')!r:.40}; expected the name of "
            f"an Image, of {names:.80}"
        )
    texts = [one for one in named["TextArea"] if one.get("toName") == image.get("name")]
    if not texts:
        raise ValueError(f"the labelling interface has no TextArea with toName={image.get('name')!r:.40}")
    # Another may be of the whole photo.
    text = next((one for one in texts if one.get("perRegion") == "true"), texts[0])
    return Controls(image, points, text)


async def _prefill(service: Service, controls: Controls, task: LabelTask, drawn: Drawn | None) -> list[dict[str, Any]]:
    """Regions for what is missing: a text for a keypoint without one, a keypoint for a text without one."""
    image, keypoint, textarea = (control.get("name", "") for control in controls)
    annotations = [one for one in task.annotations or [] if not one.was_cancelled]
    regions = (drawn and drawn.result) or (annotations and annotations[-1].result) or []
    of_others = {one.id for one in regions if one.from_name not in (keypoint, textarea)}
    engine, photo_key = service.engine(None), controls.image.get("value", "").lstrip("$")
    with refusing():
        points, texts = (_by_id(regions, name) for name in (keypoint, textarea))
        # A text area that was emptied says nothing.
        texts = {name: one for name, one in texts.items() if one.value.words.strip()}
        photo = task.data.get(photo_key)
        if isinstance(photo, list) or controls.image.get("valueList"):
            raise ValueError(f"the Image {image!r:.40} shows a list of photos; expected one photo a task")
        if not isinstance(photo, str) or not photo:
            raise ValueError(f"the task's data has no {photo_key!r} with a photo")
        if points.keys() == texts.keys():
            return []
        # Before the photo is fetched, not after it.
        engine.check_room()
        prepared = await _prepare(service, photo)
        width, height = prepared.size_wh
        for one in (*points.values(), *texts.values()):
            _check_picture(one, image, prepared.size_wh)
        bare = [one for name, one in points.items() if name not in texts]
        places = [PhotoPoint(point_px=_point_px(one, prepared.size_wh)) for one in bare]
    result: list[dict[str, Any]] = []

    def add(name: str, control: str, kind: str, value: dict[str, Any]) -> None:
        frame = {"original_width": width, "original_height": height, "image_rotation": 0}
        result.append({"id": name, "from_name": control, "to_name": image, "type": kind, **frame, "value": value})

    described = await service.answer("describe", engine, prepared, places) if places else []
    for point, answer in zip(bare, described, strict=True):
        result.append(point.model_dump(exclude_unset=True))
        shape = point.value.model_dump(include={"x", "y", "width"}, exclude_none=True)
        add(point.id, textarea, "textarea", {**shape, "text": [answer.words]})
    kind, labels = controls.keypoint.tag.lower(), [one.get("value") for one in controls.keypoint.iter("Label")][:1]
    lonely = [one for name, one in texts.items() if name not in points]
    words = [PhotoPoint(text=one.value.words) for one in lonely]
    found = await service.answer("localize", engine, prepared, words) if words else []
    for text, answer in zip(lonely, found, strict=True):
        if absence(answer.there) or answer.found_px is None:
            continue
        x, y = answer.found_px
        shape = {"x": 100 * x / width, "y": 100 * y / height, "width": POINT_WIDTH_PERCENT}
        # A text of the whole photo has an id of its own; the new region takes another.
        # So does the text of another control's region, such as a box.
        own = text.value.x is not None and text.id not in of_others
        name = text.id if own else uuid.uuid4().hex[:10]
        add(name, keypoint, kind, {**shape, kind: labels} if labels else shape)
        add(name, textarea, "textarea", {**shape, "text": [answer.words]})
    return result


async def _prepare(service: Service, photo: str) -> Prepared:
    """A task's photo; a path is one of Label Studio's own."""
    engine = service.engine(None)
    if not photo.startswith("/"):
        return await service.prepare(engine, photo)
    if service.settings.label_studio is None:
        raise ValueError("the task's photo lies in Label Studio; start the server with --label-studio URL")
    token = os.environ.get("LABEL_STUDIO_API_KEY")
    headers = {"Authorization": f"Token {token}"} if token else {}
    return await service.prepare(engine, service.settings.label_studio.rstrip("/") + photo, trusted_headers=headers)


def _by_id(regions: list[Region], control: str) -> dict[str, Region]:
    """A control's regions by their ids; a ValueError where two have the same."""
    own = [one for one in regions if one.from_name == control]
    found = {one.id: one for one in own}
    if len(found) < len(own):
        ids = [one.id for one in own]
        twice = next(one for one in ids if ids.count(one) > 1)
        raise ValueError(f"two regions of {control!r} have the id {twice!r:.40}; which is meant?")
    return found


def _check_picture(region: Region, image: str, size_wh: tuple[int, int]) -> None:
    """ValueError where a region is of another picture than the photo that the Image `image` shows, or a rotated one."""
    with _naming(region):
        if region.to_name not in (None, "", image):
            raise ValueError(f"it is on {region.to_name!r:.40}; only regions on {image!r:.40} are read")
        if region.item_index:
            raise ValueError(f"its item_index is {region.item_index}; a task has one photo here, 0")
        check_rotation(region.image_rotation)
        if region.original_width is not None and region.original_height is not None:
            check_shape((region.original_width, region.original_height), size_wh)


def _point_px(region: Region, size_wh: tuple[int, int]) -> tuple[float, float]:
    """Where a keypoint is, in pixels; a ValueError where it is another shape, or rotated."""
    value = region.value
    with _naming(region):
        check_keypoint(region.type, value.model_dump(exclude_unset=True))
        if value.x is None or value.y is None:
            raise ValueError("it is a keypoint without x and y in per cent")
    return value.x / 100 * size_wh[0], value.y / 100 * size_wh[1]


@contextmanager
def _naming(region: Region) -> Iterator[None]:
    """Puts the region's id before what is said of it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"region {region.id!r:.40}: {error}") from None
