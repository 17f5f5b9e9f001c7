"""Who describes a point's object and its surroundings: rules, a model that is asked in words, or a Point Descriptor.

A model is told nothing of the labels (paper 3.1: it "receives the image and keypoint", or "processes a Gaussian-masked
region"): what it says is its own, and only the writer gets the names and the relations.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from talking_points.dataset.grammar import write_local_text, write_object_text
from talking_points.dataset.language import OpenPhoto, PointTask, fill_prompt
from talking_points.dataset.windows import CUT_SIDE_PX, cut_out
from talking_points.endpoint import Endpoint, RequestRefusedError
from talking_points.pointing.interfaces import Describer
from talking_points.pointing.pictures import ringed_photo
from talking_points.pointing.prepared import upright_photo
from talking_points.pointing.stock import Asker, Question, Refusal
from talking_points.points import Point
from talking_points.progress import one_line

Level = Literal["object", "local"]
"""What a describer speaks of: the object, from the whole photo with the point; or the surroundings of the point."""

LONGEST_ANSWER_TOKENS = 220
"""Of a stock model in this process. Ours."""


def describe_by_rules(level: Level, open_photo: OpenPhoto, tasks: Sequence[PointTask]) -> list[str]:
    """Describe from facts alone; the photo is not opened."""
    # The level is part of the seed: the two texts about a point choose their words apart.
    if level == "object":
        return [write_object_text(t.facts, t.dialect, np.random.default_rng([t.seed, 1])) for t in tasks]
    return [write_local_text(t.facts, np.random.default_rng([t.seed, 2])) for t in tasks]


def shown(level: Level, photo: Image.Image, point_px: Point, side_px: int) -> Image.Image:
    """All that a model is shown of a point: the ringed photo, its long side at most side_px, or the faded cut-out."""
    return ringed_photo(photo, point_px, side_px) if level == "object" else cut_out(photo, point_px)


def describe_by_endpoint(
    level: Level, endpoint: Endpoint, open_photo: OpenPhoto, tasks: Sequence[PointTask]
) -> list[str | Refusal]:
    """Ask a model with vision behind an endpoint; errors as `Endpoint.ask`."""
    photo = open_photo()
    said: list[str | Refusal] = []
    for task in tasks:
        picture = shown(level, photo, task.facts.point_px, endpoint.config.photo_side_px)
        try:
            said.append(one_line(endpoint.ask(fill_prompt(level), [picture], seed=task.seed)))
        except RequestRefusedError as refusal:
            said.append(Refusal(str(refusal)))
    return said


def describe_by_stock_model(
    level: Level, asker: Asker, side_px: int, turn: threading.Lock, open_photo: OpenPhoto, tasks: Sequence[PointTask]
) -> list[str | Refusal]:
    """Ask a stock model in this process what an endpoint is asked; threads take turns.

    A photo of a shape that the model does not see is refused.
    """
    photo = open_photo()
    pictures = [upright_photo(shown(level, photo, task.facts.point_px, side_px)) for task in tasks]
    said: list[str | Refusal] = []
    with turn:
        for picture in pictures:
            try:
                asker.shown_wh(picture.size_wh)
            except ValueError as error:
                said.append(Refusal(str(error)))
                continue
            question = Question(photo=picture, pictures=(), words=fill_prompt(level), longest=LONGEST_ANSWER_TOKENS)
            [answer] = asker.ask([question])
            said.append(one_line(answer) if isinstance(answer, str) else answer)
    return said


def describe_by_descriptor(
    level: Level, describer: Describer, turn: threading.Lock, open_photo: OpenPhoto, tasks: Sequence[PointTask]
) -> list[str]:
    """Ask a model in this process, such as our own Point Descriptor; threads take turns.

    At the local level the model sees the faded cut-out only.
    """
    photo, points_px = open_photo(), [task.facts.point_px for task in tasks]
    with turn:
        if level == "object":
            return [*describer.describe(photo, points_px)]
        middle = CUT_SIDE_PX / 2
        return [describer.describe(cut_out(photo, point), [(middle, middle)])[0] for point in points_px]
