"""Against cvat-sdk where it is installed, else against what stands in for the part of it that is used."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import FoundPoint
from talking_points.serving.cvat import DetectionFunction, create
from tests.tiny import TEXTS

LABELS = {"shoe": TEXTS[0], "hood": TEXTS[1]}
PHOTO = Image.linear_gradient("L").resize((70, 40)).convert("RGB")


@pytest.fixture(autouse=True)
def sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("cvat_sdk"):
        return
    package, module = ModuleType("cvat_sdk"), ModuleType("cvat_sdk.auto_annotation")

    def label_spec(name: str, id: int, *, type: str) -> Any:
        return SimpleNamespace(name=name, id=id, type=type)

    def shape(label_id: int, *, type: str, points: list[float]) -> Any:
        assert all(isinstance(number, float) for number in points)
        return SimpleNamespace(label_id=label_id, frame=0, type=type, points=points)

    for name, made in (("label_spec", label_spec), ("shape", shape), ("DetectionFunctionSpec", SimpleNamespace)):
        setattr(module, name, made)
    package.auto_annotation = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cvat_sdk", package)
    monkeypatch.setitem(sys.modules, "cvat_sdk.auto_annotation", module)


@pytest.fixture
def function(tp: TalkingPoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DetectionFunction:
    monkeypatch.setattr(TalkingPoints, "from_pretrained", lambda name, roles: tp)
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    return create(labels=str(tmp_path / "labels.json"))


def context(conf_threshold: float | None = None) -> Any:
    return SimpleNamespace(frame_name="a.jpg", conf_threshold=conf_threshold, conv_mask_to_poly=False)


def test_it_says_which_labels_it_knows(function: DetectionFunction) -> None:
    labels = [(one.name, one.id, str(one.type)) for one in function.spec.labels]
    assert labels == [("shoe", 0, "points"), ("hood", 1, "points")]


def test_a_label_gets_a_point(function: DetectionFunction, tp: TalkingPoints) -> None:
    shapes = function.detect(context(), PHOTO)
    assert [(one.label_id, one.frame, str(one.type)) for one in shapes] == [(0, 0, "points"), (1, 0, "points")]
    for one, expected in zip(shapes, tp.localize(PHOTO, list(LABELS.values())), strict=True):
        assert one.points == pytest.approx(expected, abs=0.01)


def test_a_threshold(function: DetectionFunction, tp: TalkingPoints) -> None:
    sure = [one.confidence * one.there for one in tp.locate(PHOTO, list(LABELS.values()))]  # type: ignore[operator]
    between = sum(sure) / 2
    expected = [place for place, score in enumerate(sure) if score >= between]
    assert len(expected) == 1
    assert [one.label_id for one in function.detect(context(between), PHOTO)] == expected


def test_what_is_not_there_gets_none(function: DetectionFunction, nothing_is_there: FoundPoint) -> None:
    assert function.detect(context(), PHOTO) == []
