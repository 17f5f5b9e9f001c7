"""Against FiftyOne where it is installed, else against what stands in for the part of it that is used."""

from __future__ import annotations

import copy
import importlib.util
import math
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import FoundPoint
from talking_points.serving.fiftyone import describe_keypoints, find_labels
from tests.tiny import TEXTS

LABELS = {"shoe": TEXTS[0], "hood": TEXTS[1]}
PHOTO = np.random.default_rng(0).integers(0, 255, (40, 70, 3), dtype=np.uint8)


class Label(SimpleNamespace):
    """Keypoint and Keypoints: fields by name, also those that are ours."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def copy(self) -> Label:
        return copy.deepcopy(self)


class Model:
    """As `fiftyone.core.models.Model`: what a model must say of itself."""

    ragged_batches: bool
    media_type: str


class SamplesMixin:
    needs_fields: dict[str, str]


@pytest.fixture(autouse=True)
def fiftyone(monkeypatch: pytest.MonkeyPatch) -> Any:
    if importlib.util.find_spec("fiftyone"):
        import fiftyone

        return fiftyone
    package, core, models = map(ModuleType, ("fiftyone", "fiftyone.core", "fiftyone.core.models"))
    package.Keypoint, package.Keypoints = Label, Label  # type: ignore[attr-defined]
    models.Model, models.SamplesMixin = Model, SamplesMixin  # type: ignore[attr-defined]
    for one in (package, core, models):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    return package


@pytest.fixture(autouse=True)
def loaded(tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TalkingPoints, "from_pretrained", lambda name, roles: tp)


def test_labels_get_points(tp: TalkingPoints) -> None:
    model = find_labels(LABELS)
    assert (model.media_type, model.ragged_batches) == ("image", False)
    alone, [first, second] = model.predict(PHOTO), model.predict_all([PHOTO, PHOTO[:20]])
    assert [one.label for one in alone.keypoints] == [one.label for one in second.keypoints] == ["shoe", "hood"]
    answers = tp.locate(PHOTO, list(LABELS.values()))
    for one, again, answer, text in zip(alone.keypoints, first.keypoints, answers, TEXTS, strict=True):
        [(x, y)] = one.points
        assert (70 * x, 40 * y) == pytest.approx(answer.point_px, abs=0.01)
        assert one.confidence == pytest.approx([answer.confidence * answer.there], abs=1e-4)  # type: ignore[operator]
        assert one["text"] == text and again.points[0] == pytest.approx(one.points[0], abs=1e-4)


def test_a_threshold_and_what_is_not_there(nothing_is_there: FoundPoint) -> None:
    model = find_labels(LABELS)
    assert model.predict(PHOTO).keypoints == []
    object.__setattr__(nothing_is_there, "there", 0.8)
    assert len(model.predict(PHOTO).keypoints) == 2
    # FiftyOne sets it for as long as it applies the model
    model.config.confidence_thresh = 0.41
    assert model.predict(PHOTO).keypoints == []


def test_keypoints_are_described(fiftyone: Any, tp: TalkingPoints) -> None:
    model = describe_keypoints()
    model.needs_fields = {"points": "clicks"}
    points = [(0.5, 0.25), (math.nan, math.nan), (1.0, 1.0)]
    drawn = fiftyone.Keypoints(keypoints=[fiftyone.Keypoint(label="cat", points=points)])
    described = model.predict(PHOTO, sample={"clicks": drawn})
    [one] = described.keypoints
    first, third = tp.describe(PHOTO, [(35.0, 10.0), (70.0, 40.0)])
    assert one["description"] == [first, None, third] and one.label == "cat"
    assert not hasattr(drawn.keypoints[0], "description")
    assert model.predict(PHOTO, sample={"clicks": None}) is None
    assert model.predict(PHOTO, sample={"clicks": fiftyone.Keypoints(keypoints=[])}).keypoints == []


def test_a_field_is_needed() -> None:
    model = describe_keypoints()
    model.needs_fields = {}
    with pytest.raises(ValueError, match="points="):
        model.predict(PHOTO, sample={"clicks": None})


def test_what_the_documentation_shows(fiftyone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "annotation.md"
    if not page.is_file():
        pytest.skip("docs/ is not beside the tests")
    [code] = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)

    class Dataset:
        """Of one photo; applies a model as FiftyOne's does."""

        made: Dataset
        sample: dict[str, Any] = {}

        @classmethod
        def from_images_dir(cls, folder: str) -> Dataset:
            cls.made = cls()
            return cls.made

        def apply_model(self, model: Any, label_field: str, **options: Any) -> None:
            if "points" in options:
                model.needs_fields = {"points": options["points"]}
                self.sample[label_field] = model.predict(PHOTO, sample=self.sample)
            else:
                model.config.confidence_thresh = options["confidence_thresh"]
                [self.sample[label_field]] = model.predict_all([PHOTO] * options["batch_size"])[:1]

    monkeypatch.setattr(fiftyone, "Dataset", Dataset, raising=False)
    exec(code, {})
    sample = Dataset.made.sample
    assert [one["text"] for one in sample["described"].keypoints] == [one["text"] for one in sample["found"].keypoints]
    assert all(len(one["description"]) == 1 for one in sample["described"].keypoints)
