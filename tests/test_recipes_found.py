from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.mini import found
from recipes.mini.found import Answer, answers_of, texts_of, told
from talking_points.dataset.scene import Scene
from talking_points.pointing.localizer import PointLocalizer
from talking_points.progress import unheard
from tests.benchmark_modules import refused
from tests.tiny import tiny_network


def test_texts_stand_by_their_photos_in_its_pixels(person: Scene) -> None:
    """Of two sets with a photo of the same name each has its own, half as large as the line's photo was."""
    width, height = person.size_wh
    scenes = [replace(person, source=source, photo_id="a/1.jpg") for source in ("cars", "pets", "cows")]
    line = {"photo": "1.png", "x": width, "y": height / 2, "width": 2 * width, "height": 2 * height}
    free = [{**line, "set": "cars", "long": "A long one.", "short": "short", "voice": "photographer"}]
    phrase = {**line, "set": "pets", "text": "her nose", "kind": "true", "there": True}
    absent = {"set": "pets", "photo": "1.png", "text": "a bell", "kind": "absent", "there": False}
    [(car, cars), (pet, pets)] = texts_of(scenes, free, [absent, phrase])
    assert (car.source, pet.source) == ("cars", "pets")
    assert [(one.kind, one.text) for one in cars] == [("long", "A long one."), ("short", "short")]
    assert [(one.kind, one.point_px) for one in pets] == [("absent", None), ("true", (width / 2, height / 4))]


def test_answers_of_a_localizer(person: Scene) -> None:
    localizer = PointLocalizer(tiny_network(roles=("localizer",)))
    line = {"set": person.source, "photo": person.photo_id, "x": 1, "y": 1, "width": 10, "height": 10}
    phrases = [
        {**line, "text": "the left eye", "kind": "true", "there": True},
        {**line, "text": "a bell", "kind": "absent", "there": False},
    ]
    answers = answers_of(localizer, texts_of([person], [], phrases), "tiny", unheard)
    assert [one.kind for one in answers] == ["true", "absent"]
    assert 0 <= answers[0].error < 1.5 and math.isnan(answers[1].error) and 0 < answers[1].there < 1


def test_a_localizer_that_cannot_say_so_is_refused(person: Scene) -> None:
    localizer = PointLocalizer(tiny_network(roles=("localizer",), head="regression"))
    phrase = {"set": person.source, "photo": person.photo_id, "text": "a bell", "kind": "absent", "there": False}
    with pytest.raises(ValueError, match="tiny does not tell whether a thing is there"):
        answers_of(localizer, texts_of([person], [], [phrase]), "tiny", unheard)


def test_bad_input_is_one_line(
    person: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is no model, and lines of `absent.jsonl` where phrases are wanted."""
    lines, none = tmp_path / "lines.jsonl", tmp_path / "none.jsonl"
    line = {"set": person.source, "photo": person.photo_id, "text": "a bell", "kind": "true"}
    none.write_text("")
    monkeypatch.setattr(found, "read", lambda _: [person])
    words = ["found", "--scenes", "s", "--texts", str(none), "--phrases", str(lines), "--model", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    place = {"there": True, "x": 1, "y": 1, "width": 10, "height": 10}
    for more, message in (({}, "has no 'there'"), (place, "is no checkpoint: it has no config.json")):
        lines.write_text(json.dumps(line | more))
        with refused(capsys, message):
            found.main()


def test_figures_by_hand() -> None:
    """Of four phrases one is found within 0.1, another within 0.2; two are taken for absent."""
    errors = [(0.05, 0.9), (0.15, 0.4), (0.5, 0.8), (0.6, 0.2)]
    answers = [Answer(photo="a", kind="true", error=error, there=there) for error, there in errors]
    answers += [Answer(photo="a", kind="absent", error=math.nan, there=there) for there in (0.3, 0.85)]
    phrases, absent = told(answers)
    assert phrases.startswith("true: mPCK 37.5 (") and phrases.endswith(
        "within 0.1 25.0%, said to be absent 50.0% of 4"
    )
    assert absent == "absent: AUROC 0.500, said to be absent 50.0% of 2"
