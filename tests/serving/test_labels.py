from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import FoundPoint
from talking_points.serving.labels import LabelFinder
from tests.tiny import TEXTS

LABELS = {"shoe": TEXTS[0], "hood": TEXTS[1]}


def answering(*answers: FoundPoint) -> TalkingPoints:
    left = list(answers)
    return SimpleNamespace(  # type: ignore[return-value]
        check_text=lambda text: None, locate_many=lambda pairs: [left.pop(0) for _ in pairs]
    )


def found(confidence: float | None, there: float | None, problem: str | None = None) -> FoundPoint:
    return FoundPoint(point_px=(7.0, 8.0), confidence=confidence, runner_up_px=None, there=there, problem=problem)


def test_each_label_is_found_by_its_text(tp: TalkingPoints) -> None:
    photos = [Image.new("RGB", (70, 40), colour) for colour in ("red", "blue")]
    both = LabelFinder(tp, LABELS).find(photos)
    for photo, points in zip(photos, both, strict=True):
        assert [(one.label, one.text) for one in points] == list(LABELS.items())
        for one, answer in zip(points, tp.locate(photo, list(LABELS.values())), strict=True):
            assert one.point_px == pytest.approx(answer.point_px, abs=0.01)
            assert one.score == pytest.approx(answer.confidence * answer.there, abs=1e-4)  # type: ignore[operator]
    assert LabelFinder(tp, LABELS).find([]) == []


def test_what_is_not_there_has_no_point() -> None:
    # absent, and unreadable; the photo with no label stays in its place
    answers = found(0.9, 0.49), found(None, None, "no point in it"), found(0.9, 0.5), found(None, 0.0)
    first, second = LabelFinder(answering(*answers), LABELS).find(["a.jpg", "b.jpg"])
    assert first == [] and [one.label for one in second] == ["shoe"]


@pytest.mark.parametrize(
    ("confidence", "there", "score"), [(0.8, 0.5, 0.4), (0.8, None, 0.8), (None, 1.0, None), (None, None, None)]
)
def test_how_sure(confidence: float | None, there: float | None, score: float | None) -> None:
    def scores(least: float | None) -> list[float | None]:
        finder = LabelFinder(answering(found(confidence, there)), {"shoe": "x"})
        return [one.score for one in finder.find(["a.jpg"], least)[0]]

    assert scores(None) == scores(0.4) == [score]
    # what a model does not know leaves nothing out
    assert scores(0.81) == ([score] if score is None else [])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, "no labels"),
        ({" ": "the shoe"}, "' ' has 'the shoe'"),
        ({"shoe": 3}, "'shoe' has 3"),
        ({"shoe": " "}, "label 'shoe': "),
    ],
)
def test_labels_that_will_not_do(tp: TalkingPoints, labels: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LabelFinder(tp, labels)


def test_labels_of_a_file(tp: TalkingPoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TalkingPoints, "from_pretrained", lambda name, roles: tp)
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    assert LabelFinder.load(tmp_path / "labels.json", "mini").texts == LABELS
    (tmp_path / "list.json").write_text(json.dumps([*LABELS]))
    with pytest.raises(ValueError, match=r"list\.json holds list, expected an object"):
        LabelFinder.load(tmp_path / "list.json", "mini")
