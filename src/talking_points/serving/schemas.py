"""What goes in and comes out of the API, as OpenAPI shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, Strict, WithJsonSchema

from talking_points.points import Point
from talking_points.samples import ABSENT_BELOW, PhotoPoint

ModelName = Annotated[str | None, Field(description="One of those served; the first when left out.")]
PHOTO = "The photo's file as base64, plain or as a data URL; or, where the server allows it, an http(s) address."
POINTS = (
    "x and y of each, in pixels of the upright photo from its top left corner; the centre of pixel (i, j) is "
    "(i + 0.5, j + 0.5)."
)
PhotoSource = Annotated[str, Field(min_length=1, description=PHOTO, examples=["data:image/jpeg;base64,/9j/4AAQ..."])]
Pixels = Annotated[FiniteFloat, Strict()]


def _split(text: Any) -> Point:
    if not isinstance(text, str):
        raise ValueError("a point is X,Y such as 120,45.5, not a file")
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"a point is X,Y such as 120,45.5, got {text[:100]!r}") from None
    return x, y


FormPoint = Annotated[
    tuple[float, float],
    BeforeValidator(_split),
    WithJsonSchema({"type": "string", "description": "X,Y in pixels, such as 212.5,140.5"}),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    model: ModelName = None
    photo: str | UploadFile


class _Points(_Request):
    points: list[Point]

    def points_or_texts(self) -> list[PhotoPoint]:
        return [PhotoPoint(point_px=point) for point in self.points]


class _Texts(_Request):
    texts: list[str]

    def points_or_texts(self) -> list[PhotoPoint]:
        return [PhotoPoint(text=text) for text in self.texts]


class PointsRequest(_Points):
    """Points of one photo."""

    photo: PhotoSource
    points: Annotated[
        list[tuple[Pixels, Pixels]],
        Field(min_length=1, description=POINTS, examples=[[[212.5, 140.5], [305.0, 388.0]]]),
    ]


class PointsForm(_Points):
    """The same as a form, as `curl -F photo=@street.jpg -F point=120,45.5` sends it; `point` is repeatable."""

    photo: UploadFile
    points: Annotated[list[FormPoint], Field(min_length=1, alias="point")]


class TextsRequest(_Texts):
    """Texts about one photo."""

    photo: PhotoSource
    texts: Annotated[list[str], Field(min_length=1, description="Each describes one point.")]


class TextsForm(_Texts):
    """The same as a form, as `curl -F photo=@street.jpg -F "text=the left shoe"` sends it; `text` is repeatable."""

    photo: UploadFile
    texts: Annotated[list[str], Field(min_length=1, alias="text")]


Question = PointsRequest | PointsForm | TextsRequest | TextsForm


class PhotoSize(BaseModel):
    """Of the upright photo, in pixels."""

    width: int
    height: int


class PointAnswer(BaseModel):
    """One point, in pixels of the upright photo. What is not known is null or left out."""

    x: FiniteFloat | None = Field(None, description="As asked.")
    y: FiniteFloat | None = None
    text: str | None = Field(None, description="As asked.")
    description: str | None = None
    found_x: FiniteFloat | None = Field(
        description="Where the text leads; null where it was not looked for, or where the model gives no point. Of an "
        "absent thing the likeliest place."
    )
    found_y: FiniteFloat | None
    confidence: FiniteFloat | None = Field(
        None,
        description="How likely the point meant is within a tenth of the photo's longer side of the one found, if the "
        "thing is in the photo; places that fit the words equally well share it.",
    )
    runner_up_x: FiniteFloat | None = Field(None, description="Another place that fits the words nearly as well.")
    runner_up_y: FiniteFloat | None = None
    there: FiniteFloat | None = Field(
        description="How likely the thing named is in the photo at all; null where the model does not know. "
        f"Below {ABSENT_BELOW} it counts as absent."
    )
    error: FiniteFloat | None = Field(
        None, description="Distance of the two in the photo's normalised coordinates (x / width, y / height)."
    )
    problem: str | None = Field(None, description="Why there is no answer, such as one that could not be read.")


class PointsAnswer(BaseModel):
    """One answer for each point or text, in their order."""

    model: str
    photo: PhotoSize
    points: list[PointAnswer]


class Problem(BaseModel):
    """What went wrong, in one line."""

    message: str
    type: str


class ErrorAnswer(BaseModel):
    """The shape of every error."""

    error: Problem


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    models: list[str]


class ServedModel(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When this server has loaded it, in seconds of Unix time.")
    owned_by: str = "talking-points"
    knows: list[str] = Field(description="Objects and parts that it was taught by name; empty where that is not known.")


class ModelList(BaseModel):
    """In OpenAI's form."""

    object: Literal["list"] = "list"
    data: list[ServedModel]
