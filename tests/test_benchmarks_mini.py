"""What `mini` is measured by, on small drawn photos, with a describer and a localizer whose answers are known."""

from __future__ import annotations

import doctest
import importlib
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recipes.mini.examples import PHRASE_KINDS as RECIPE_PHRASE_KINDS
from recipes.mini.names import WIDER
from recipes.mini.scenes import SETS as RECIPE_SETS
from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scene import make_scene
from talking_points.dataset.sources import open_source
from talking_points.evaluation.samples import Sample
from talking_points.evaluation.sets import make_set
from talking_points.model.checkpoint import save_checkpoint
from talking_points.progress import unheard
from talking_points.samples import FoundPoint
from tests.benchmark_modules import refused
from tests.conftest import write_coco, write_label_map
from tests.shared import SHARED, needs_photos
from tests.tiny import tiny_network

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks/ is not beside the tests")
LABELS = {
    "clothing_parts": {
        "person": ["hair", "left shoe", "right shoe", "shoes", "jeans", "left hand", "skin", "top", "tie"]
    },
    "car_parts": {"car": ["wheel", "left headlight", "front left door", "hood"]},
    "coco_people": {"person": ["left upper arm", "tip of the right thumb", "nose"]},
    "pets": {"dog": ["head"]},
    "coco_objects": {"tie": [], "person": [], "handbag": [], "dog": []},
}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The files of the benchmark as modules."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("mini_claims", "mini_data", "mini_scores", "mini_models", "mini_sheets", "mini")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


# What a text claims


def claimed(claims: ModuleType, text: str) -> tuple[str, str]:
    claim = claims.Vocabulary(LABELS, {"pug": "dog"}).claim(text)
    said = [
        ", ".join(sorted(f"{one.side} {one.base}".strip() for one in names)) for names in (claim.object, claim.part)
    ]
    return said[0], said[1]


@pytest.mark.parametrize(
    ("text", "thing", "part"),
    [
        ("the point is on the person, more exactly on their left shoe, touching the jeans.", "person", "left shoe"),
        # What the person wears is no claim, nor is what the point is close to.
        ("the point is on the woman in blue jeans, on her hair, close to the skin below it.", "person", "hair"),
        (
            "The point is on the car. It is on the car's own left headlight, near the top edge of the car.",
            "car",
            "left headlight",
        ),
        # Two mentions: the first one counts.
        ("the point is on the car, on the hood, and within the left headlight it is toward the top.", "car", "hood"),
        ("the point is on the car, on the left front door", "car", "left front door"),
        ("the tip of the left thumb of the person", "person", "left tip of the thumb"),
        # A place in the thing and the garment are both a top.
        ("the point is near the top edge of the person, at the top of the person", "person", "person"),
        ("the point is on the person, specifically on their top, toward the left", "person", "top"),
        ("the point is on the dog, on black hair, with the outline of the dog below", "dog", "dog"),
        ("the point is on the pug, and it lies near the left edge", "dog", "dog"),
        ("the center of the tie of the person", "person", "tie"),
        ("a point somewhere", "", ""),
    ],
)
def test_the_claim_alone_is_read(benchmark: SimpleNamespace, text: str, thing: str, part: str) -> None:
    said = claimed(benchmark.mini_claims, text)
    assert said == (thing, part)


@pytest.mark.parametrize(
    ("where", "label", "text", "wanted"),
    [
        ("clothing_parts", "person/left shoe", "on the person, on their left shoe", (True, "right")),
        # The side is missing, the other one, or not in the label.
        ("clothing_parts", "person/left shoe", "on the person, on their shoe", (True, "vaguer")),
        ("clothing_parts", "person/left shoe", "on the person, on their right shoe", (True, "wrong")),
        ("clothing_parts", "person/shoes", "on the person, on their left shoe", (True, "right")),
        ("clothing_parts", "person/left hand", "on the person", (True, "vaguer")),
        # A thumb is finer than the labels here, and finer than the claim there.
        ("clothing_parts", "person/left hand", "on the person, on their left thumb", (True, "right")),
        ("coco_people", "person/tip of the right thumb", "on the person, on their right hand", (True, "vaguer")),
        ("coco_people", "person/tip of the right thumb", "on the person, on their left hand", (True, "wrong")),
        ("car_parts", "car/front left door", "on the car, on its left front door", (True, "right")),
        ("car_parts", "car/front left door", "on the car, on the door", (True, "vaguer")),
        ("car_parts", "car/hood", "on the dog, on its head", (False, "wrong")),
        # Paws are not labelled: the claim is as good as "the dog". Heads are.
        ("pets", "dog/dog", "on the dog, on its left ear", (True, "wrong")),
        ("pets", "dog/dog", "on the dog, on its hind leg", (True, "right")),
        ("pets", "dog/head", "on the dog, on its left ear", (True, "right")),
        # On a person alone is on no upper arm, and so on no arm; legs are not labelled.
        ("coco_people", "person/person", "on the person, on their upper arm", (True, "wrong")),
        ("coco_people", "person/person", "on the person, on the person's arm", (True, "wrong")),
        ("coco_people", "person/person", "on the person, on the person's leg", (True, "right")),
        ("coco_people", "person/left upper arm", "on the person, on the person's arm", (True, "vaguer")),
        ("coco_objects", "tie/tie", "on the tie of the person", (True, "right")),
        ("coco_objects", "dog/dog", "", (False, "wrong")),
    ],
)
def test_verdicts_count_sides_at_the_finest_labelled_level(
    benchmark: SimpleNamespace, where: str, label: str, text: str, wanted: tuple[bool, str]
) -> None:
    vocabulary = benchmark.mini_claims.Vocabulary(LABELS, {"pug": "dog"})
    thing, _, part = label.partition("/")
    assert vocabulary.verdicts(vocabulary.claim(text), where, thing, part) == wanted


@pytest.mark.parametrize(("part", "wider"), [(part, one) for part, some in WIDER.items() for one in some])
def test_the_wider_parts_that_mini_says_are_vaguer(benchmark: SimpleNamespace, part: str, wider: str) -> None:
    vocabulary = benchmark.mini_claims.Vocabulary({"people": {"person": [part]}}, {})
    claim = vocabulary.claim(f"on the person, on the person's {wider}")
    assert vocabulary.verdicts(claim, "people", "person", part) == (True, "vaguer")


def test_all_that_the_rules_write_is_right(benchmark: SimpleNamespace, tmp_path: Path) -> None:
    write_label_map(tmp_path / "people", ["a"], ["b"])
    write_coco(tmp_path / "cars", ["c"])
    labels = {"people": {"person": ["hair", "skin", "shirt", "jeans", "shoes", "bag", "shoe"]}}
    labels |= {"cars": {"car": ["wheel", "front left door", "left mirror", "rear window"]}}
    vocabulary = benchmark.mini_claims.Vocabulary(labels, {})
    rng = np.random.default_rng(0)
    for name, kind, photo in (("people", "label-map", "b"), ("cars", "coco-parts", "c")):
        scene = open_source(kind, tmp_path / name, "test").read(photo)
        for sample in make_set("plain", [scene], points=20, seed=0):
            [facts] = facts_of_points(scene, [sample.point_px])
            for dialect in DIALECTS.values():
                text = write_point_text(facts, dialect, rng)
                claim = vocabulary.claim(text)
                thing, part = sample.object_name, sample.part_name
                assert vocabulary.verdicts(claim, name, thing, part) == (True, "right"), text


# Figures


def test_figures(benchmark: SimpleNamespace) -> None:
    scores = benchmark.mini_scores
    for module in (scores, benchmark.mini_claims):
        assert doctest.testmod(module).failed == 0
    # Two sets: 100% of three points, and 0% of one.
    hits, photos, sets = [True, True, True, False], ["a", "a", "b", "c"], ["x", "x", "x", "y"]
    assert scores.share(hits, photos)["value"] == 75.0
    assert scores.share(hits, photos, sets)["value"] == 50.0
    assert scores.share([], []) == scores.NO_FIGURE
    assert np.isnan(scores.auroc([1.0], []))
    told = scores.auroc_figure([0.9, 0.8, 0.1, 0.2], [True, True, False, False], ["a", "b", "a", "b"])
    assert told == {"value": 1.0, "ci": [1.0, 1.0]}
    assert told == scores.auroc_figure([0.9, 0.8, 0.1, 0.2], [True, True, False, False], ["a", "b", "a", "b"])
    # Sure by 0.5 where half are right: nothing is wrong with that; by 0.9 it is 40 points.
    assert scores.equal_mass_error([0.5] * 10, [True, False] * 5) == 0.0
    assert scores.equal_mass_error([0.9] * 10, [True, False] * 5) == 40.0
    row = {"set": "a", "mpck": {"value": 61.25, "ci": [50.0, 70.0]}, "inside": scores.NO_FIGURE}
    assert scores.table([row], {"set": "set", "mpck": "mPCK", "inside": "in"}).splitlines()[-1] == (
        "| a | 61.2 (50.0 to 70.0) |  |"
    )


def test_photos_are_drawn_evenly_of_all_sets(benchmark: SimpleNamespace) -> None:
    some = benchmark.mini_data.some_photos
    photos = [f"a/{k}" for k in range(9)] + ["b/0"]
    drawn = some(photos, 4)
    assert drawn == some(reversed(photos), 4) and Counter(one[0] for one in drawn) == {"a": 3, "b": 1}
    assert some(photos, None) == set(photos)


# The commands


def a_model(*, there: bool = True) -> Any:
    """Says that every point is on jeans; finds texts at the middle of the photo, those with "away" in its corner."""

    def locate_many(pairs: list[tuple[Image.Image, str]]) -> list[FoundPoint]:
        return [
            FoundPoint(
                point_px=(0.5, 0.5) if "away" in text else (photo.width / 2, photo.height / 2),
                confidence=0.25 if "away" in text else 0.75,
                runner_up_px=None,
                there=(0.1 if "away" in text else 0.9) if there else None,
            )
            for photo, text in pairs
        ]

    return SimpleNamespace(
        network=SimpleNamespace(prompts=SimpleNamespace(is_readable=lambda text: "%" not in text)),
        locate_many=locate_many,
        describe_many=lambda pairs: ["The point is on the person, on their blue jeans."] * len(pairs),
    )


@pytest.mark.parametrize("localizer_only", [False, True])
def test_a_real_model_is_asked(benchmark: SimpleNamespace, tmp_path: Path, localizer_only: bool) -> None:
    save_checkpoint(tiny_network(), tmp_path / "tiny")
    model = benchmark.mini_models.load_model(str(tmp_path / "tiny"), localizer_only=localizer_only, device="cpu")
    photo = Image.new("RGB", (40, 30))
    sample = Sample(sample_id="a", photo_id="a", open_photo=photo.copy, size_wh=photo.size, point_px=(3.5, 4.5))
    found = benchmark.mini_models.located(model, [sample] * 2, ["the hood", " "], unheard, "texts")
    assert found[0] is not None and found[1] is None


@pytest.fixture
def data(tmp_path: Path, benchmark: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two people, 60 x 120, and a car, 100 x 60, with two texts; and the model above."""
    folder = tmp_path / "data"
    write_label_map(folder / "clothing_parts", ["a"], ["b", "c"])
    write_coco(folder / "car_parts", ["d"])
    for name in set(benchmark.mini_data.SETS) - {"clothing_parts", "car_parts"}:
        monkeypatch.delitem(benchmark.mini_data.SETS, name)
    monkeypatch.setattr(benchmark.mini, "load_model", lambda *_, **__: a_model())
    people = {"set": "clothing_parts", "split": "test", "width": 60, "height": 120}
    car = {"set": "car_parts", "split": "test", "width": 100, "height": 60}
    lines = [
        # On the jeans, and so is the middle; on the shirt, near the middle but not on it.
        people | {"photo": "b.jpg", "x": 30.5, "y": 100.5, "long": "jeans", "short": "jeans"},
        people | {"photo": "c.jpg", "x": 30.5, "y": 58.5, "long": "away", "short": "shirt"},
        # On nothing, 1 px from the middle; and a text that cannot be read.
        car | {"photo": "d.jpg", "x": 64.5, "y": 30.5, "long": "%", "short": "beside the car"},
    ]
    (folder / "texts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def result_of(benchmark: SimpleNamespace, tmp_path: Path, *words: object) -> dict[str, Any]:
    out = tmp_path / "result.json"
    benchmark.mini.main([*map(str, words), "--json", str(out)])
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def rows_of(result: dict[str, Any], key: str = "set") -> dict[Any, dict[str, Any]]:
    return {tuple(row[one] for one in key.split()) if " " in key else row[key]: row for row in result["rows"]}


def test_free_texts(benchmark: SimpleNamespace, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("free", "--texts", data / "texts.jsonl", "--data", data, "--model", "m")
    result = result_of(benchmark, tmp_path, *words, "--localizer-only")
    printed = capsys.readouterr().out
    assert json.loads(printed[: printed.index("\n\n|")])["points"] == 3 and "| short | all | 3 |" in printed
    rows = rows_of(result, "texts set")
    assert set(rows) == {
        (t, s) for t in ("long", "short") for s in ("all", "mean over sets", "clothing_parts", "car_parts")
    }
    # Long: the first is a third of the height away, the second in the corner, the third unreadable.
    assert rows["long", "all"]["mpck"]["value"] == 0.0 and result["unreadable"] == {"long": 1, "short": 0}
    # Short: the shirt's point is 1.5 px away, the car's 14.5% of the width.
    assert rows["short", "all"]["pck@0.2"]["value"] == 66.67
    assert rows["short", "mean over sets"]["pck@0.2"]["value"] == 75.0
    # But the middle is on the jeans: right for the first, wrong for the second; the third is on nothing, too far.
    assert rows["short", "all"]["inside"]["value"] == 33.33 and "inside" not in rows["long", "all"]
    assert rows["short", "all"]["in discs"]["value"] == 33.33
    # Right within a tenth of the longer side: of six answers the short one on the shirt.
    assert result["calibration"]["long and short"]["n"] == 6
    assert result["answers"] and {line["texts"] for line in result["answers"]} == {"long", "short"}
    again = result_of(benchmark, tmp_path, *words)
    assert {row["texts"] for row in again["rows"]} == {"long", "short", "own"}
    assert again["rows"][: len(result["rows"])] == result["rows"]


def test_absent_things(
    benchmark: SimpleNamespace,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [
        {"set": "clothing_parts", "split": "test", "photo": "b.jpg", "kind": "absent", "text": "a cat far away"},
        {"set": "clothing_parts", "split": "test", "photo": "b.jpg", "kind": "wrong", "text": "the red jeans"},
    ]
    absent = tmp_path / "absent.jsonl"
    absent.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words = ("absent", "--texts", data / "texts.jsonl", "--data", data, "--model", "m", "--absent", absent)
    result = result_of(benchmark, tmp_path, *words)
    rows = rows_of(result, "against")
    # The photo's true texts are there by 0.9, as the wrong one is.
    assert rows["absent things"]["auroc"]["value"] == 1.0 and rows["absent things"]["said absent"]["value"] == 100.0
    assert rows["wrong part or look"]["auroc"]["value"] == 0.5 and rows["wrong part or look"]["true"] == 2
    assert rows["texts of other photos"]["negatives"] == 6 and "a sample of these" not in rows
    # On other photos: "a cat far away" is not there by its words, the wrong one is as likely there as true short ones.
    worded = {row["against"]: row for row in result["by_words"]}
    moved = {line["kind"]: line for line in result["answers"] if line["kind"].endswith(", moved")}
    assert len(moved) == 2 and not any(line["photo"].endswith("b.jpg") for line in moved.values())
    assert worded["absent things"]["auroc of short"]["value"] == 1.0
    assert worded["wrong part or look"]["auroc of short"]["value"] == 0.5
    borrowed = [line for line in result["answers"] if line["kind"] == "other photo"]
    looked_at = [
        {"photo": line["photo"], "text": line["text"], "there": verdict}
        for line, verdict in zip(borrowed[:3], ("no", "yes", "elsewhere"), strict=True)
    ]
    fitting = tmp_path / "fitting.jsonl"
    fitting.write_text("".join(f"{json.dumps(line)}\n" for line in looked_at))
    monkeypatch.setattr(benchmark.mini, "FITTING", fitting)
    rows = rows_of(result_of(benchmark, tmp_path, *words), "against")
    assert rows["a sample of these"]["negatives"] == 3
    only = rows["of the sample, those not there by a reader"]
    assert (only["negatives"], only["said absent"]["value"]) == (1, 100.0 * (borrowed[0]["there"] < 0.5))
    fitting.write_text(json.dumps(looked_at[0] | {"there": "maybe"}))
    with refused(capsys, "there is 'maybe'; allowed: no, elsewhere, yes"):
        result_of(benchmark, tmp_path, *words)
    monkeypatch.setattr(benchmark.mini, "FITTING", benchmark.mini_data.FITTING)
    monkeypatch.setattr(benchmark.mini, "load_model", lambda *_, **__: a_model(there=False))
    with refused(capsys, "does not tell whether a thing is there"):
        result_of(benchmark, tmp_path, *words)


def test_parts(benchmark: SimpleNamespace, data: Path, tmp_path: Path) -> None:
    result = result_of(benchmark, tmp_path, "parts", "--data", data, "--model", "m", "--points", "8")
    rows = rows_of(result)
    jeans = [line for line in result["answers"] if line["part"] == "jeans"]
    assert jeans and all(line["verdict"] == "right" and line["colour_named"] for line in jeans)
    people = [line for line in result["answers"] if line["set"] == "clothing_parts"]
    assert rows["clothing_parts"]["part"]["value"] == round(100 * len(jeans) / len(people), 2)
    assert rows["clothing_parts"]["object"]["value"] == 100.0 and rows["car_parts"]["object"]["value"] == 0.0
    assert rows["mean over sets"]["object"]["value"] == 50.0
    assert result == {
        **result_of(benchmark, tmp_path, "parts", "--data", data, "--model", "m", "--points", "8"),
        "date": result["date"],
    }


def test_whoever_looks_names_points(
    benchmark: SimpleNamespace, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, answers = tmp_path / "points", tmp_path / "names.jsonl"
    words = ("parts", "--data", data, "--points", 8, "--out", out)
    count = result_of(benchmark, tmp_path, *words)["points"]
    asked = [json.loads(line) for line in (out / "points.jsonl").read_text().splitlines()]
    assert [one["n"] for one in asked] == list(range(count)) and all((out / one["sheet"]).is_file() for one in asked)
    assert not any({"object", "part"} & one.keys() for one in asked)
    truths = result_of(benchmark, tmp_path, "parts", "--data", data, "--model", "m", "--points", 8)["answers"]
    said = [
        {"n": k, "object": one["object"], "part": None if one["part"] == one["object"] else one["part"]}
        for k, one in enumerate(truths)
    ]
    answers.write_text("".join(f"{json.dumps(line)}\n" for line in said[1:]) + json.dumps({"n": 0, "object": None}))
    result = result_of(benchmark, tmp_path, *words, "--read", answers)
    assert [line["verdict"] for line in result["answers"]] == ["wrong"] + ["right"] * (count - 1)
    assert all(line["object_right"] for line in result["answers"][1:])
    for lines, message in (
        ([{"n": count, "object": "person"}], f"allowed: 0 to {count - 1}, each once"),
        ([said[0], said[0]], "line 2: n is 0"),
        ([said[0] | {"object": "persn"}], "names of .*names.json"),
        ([said[0] | {"part": "left sho"}], "names of .*names.json"),
    ):
        answers.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with refused(capsys, message):
            result_of(benchmark, tmp_path, *words, "--read", answers)
    with refused(capsys, "are of other points; give --split, --photos"):
        result_of(benchmark, tmp_path, *words[:3], "--points", 7, "--out", out, "--read", answers)
    with refused(capsys, "is not empty"):
        result_of(benchmark, tmp_path, *words)
    for more in ((), ("--model", "m", "--out", out)):
        with refused(capsys, "parts needs either --model, or --out"):
            result_of(benchmark, tmp_path, *words[:5], *more)


def test_own_texts_are_drawn_and_read(
    benchmark: SimpleNamespace, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, answers = tmp_path / "own", tmp_path / "answers.jsonl"
    words = ("own", "--data", data, "--model", "m", "--out", out, "--photos", 2)
    assert result_of(benchmark, tmp_path, *words)["texts"] == 2
    key = [json.loads(line) for line in (out / "key.jsonl").read_text().splitlines()]
    # One of each set. Who finds sees texts and sheets, and no point.
    assert {one["photo"].partition("/")[0] for one in key} == {"clothing_parts", "car_parts"}
    assert "point" not in (out / "find" / "texts.jsonl").read_text().replace("The point", "")
    assert {path.name for path in (out / "find").iterdir()} == {"000.png", "001.png", "TASK.md", "texts.jsonl"}
    found = [
        {
            "n": one["n"],
            "x": 100 * one["point_px"][0] / one["size_wh"][0],
            "y": 100 * one["point_px"][1] / one["size_wh"][1],
        }
        for one in key
    ]
    read = ("own", "--out", out, "--read", answers)
    answers.write_text("".join(f"{json.dumps(line)}\n" for line in found))
    result = result_of(benchmark, tmp_path, *read)
    assert result["found"][0]["mpck"]["value"] == 100.0 and "judged" not in result
    # What is not answered is a miss; who sees the points says what is wrong.
    lines = [found[0], {"n": 0, "wrong": ["side"], "colour": True}, {"n": 1, "wrong": [], "colour": False}]
    answers.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = result_of(benchmark, tmp_path, *read)
    assert result["found"][0]["mpck"]["value"] == 50.0 and result["found"][0]["unanswered"] == 1
    assert result["judged"]["nothing_wrong"]["value"] == 50.0 and result["judged"]["wrong"]["side"]["value"] == 50.0
    assert result["judged"]["names_a_colour"]["value"] == 50.0 and result["judged"]["colour_right"]["value"] == 100.0
    for line, message in (
        ({"n": 2, "x": 1, "y": 1}, "allowed: 0 to 1"),
        ({"n": 0, "x": 101, "y": 1}, "per cent of the photo"),
        ({"n": 0, "wrong": ["hue"]}, "allowed: name, side"),
        ({"n": 0, "wrong": [["side"]]}, "allowed: name, side"),
        ({"n": 0, "wrong": []}, "judges 1 of 2 sheets; the first without is 1"),
        ({"n": 0}, "answers nothing"),
    ):
        answers.write_text(json.dumps(line))
        with refused(capsys, message):
            result_of(benchmark, tmp_path, *read)
    with refused(capsys, "holds sheets already"):
        result_of(benchmark, tmp_path, *words)


def test_the_point_is_ringed_for_the_judge_alone(benchmark: SimpleNamespace) -> None:
    photo = Image.new("RGB", (200, 100), "gray")
    find, judge = (
        np.asarray(one)
        for one in (benchmark.mini_sheets.find_sheet(photo), benchmark.mini_sheets.judge_sheet(photo, (50, 25)))
    )
    red = np.array([227, 18, 11])
    assert not (find == red).all(axis=-1).any() and (judge == red).all(axis=-1).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"set": "cats"}, "line 1: set is 'cats'; allowed: clothing_parts"),
        ({"photo": "z.jpg"}, "line 1: .* has no photo 'z.jpg'"),
        ({"x": 61}, "line 1: .*outside the 60x120 photo"),
        ({"long": None}, "line 1: 'long' is missing"),
        ({"width": 120}, "b.jpg is 60x120, its points are of a 120x120 photo"),
    ],
)
def test_wrong_lines_are_named(
    benchmark: SimpleNamespace,
    data: Path,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = json.loads((data / "texts.jsonl").read_text().splitlines()[0]) | change
    (data / "texts.jsonl").write_text(json.dumps({key: value for key, value in line.items() if value is not None}))
    with refused(capsys, message):
        result_of(benchmark, tmp_path, "free", "--texts", data / "texts.jsonl", "--data", data, "--model", "m")


def test_phrases(
    benchmark: SimpleNamespace,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = {"set": "clothing_parts", "split": "test", "width": 60, "height": 120}
    lines = [
        # The middle is found, 0.5 px from the first, 58 px from the second; the cat is not there, the red jeans are.
        photo | {"photo": "b.jpg", "kind": "true", "text": "the shirt", "x": 30.5, "y": 60.5},
        photo | {"photo": "c.jpg", "kind": "true", "text": "a shoe", "x": 30.5, "y": 118.5},
        photo | {"photo": "b.jpg", "kind": "absent", "text": "a cat far away"},
        photo | {"photo": "c.jpg", "kind": "wrong", "text": "the red jeans"},
        photo | {"photo": "c.jpg", "kind": "implausible", "text": "a comet far away"},
    ]
    phrases = tmp_path / "phrases.jsonl"

    def told(*changed: dict[str, Any]) -> dict[str, Any]:
        phrases.write_text("".join(f"{json.dumps(line)}\n" for line in (*lines, *changed)))
        return result_of(benchmark, tmp_path, "phrases", "--phrases", phrases, "--data", data, "--model", "m")

    result = told()
    rows = rows_of(result)
    assert set(rows) == {"all", "mean over sets", "clothing_parts"}
    assert (rows["all"]["n"], rows["all"]["pck@0.05"]["value"], rows["all"]["mpck"]["value"]) == (2, 50.0, 50.0)
    there = {(row["set"], row["against"]): row for row in result["there"]}
    assert set(there) == {("clothing_parts", "absent or wrong")} | {
        ("all", against)
        for against in ("absent things", "a wrong part or look", "implausible things", "absent or wrong")
    }
    assert there["all", "absent things"]["auroc"]["value"] == 1.0
    assert there["all", "a wrong part or look"]["auroc"]["value"] == 0.5
    assert there["all", "implausible things"]["said absent"]["value"] == 100.0
    both = there["all", "absent or wrong"]
    assert (both["n"], both["true said absent"]["value"], both["said absent"]["value"]) == (4, 0.0, 50.0)
    assert [line["kind"] for line in result["answers"]] == ["true", "true", "absent", "wrong", "implausible"]
    with refused(capsys, "line 6: kind is 'fits'; allowed: true, absent, wrong, implausible"):
        told(lines[0] | {"kind": "fits"})
    with refused(capsys, "line 6: 'x' is missing"):
        told(lines[2] | {"kind": "true"})
    phrases.write_text(json.dumps(lines[2]))
    with refused(capsys, "phrases.jsonl has no phrase that fits a photo; give some of kind true"):
        result_of(benchmark, tmp_path, "phrases", "--phrases", phrases, "--data", data, "--model", "m")
    told()
    monkeypatch.setattr(benchmark.mini, "load_model", lambda *_, **__: a_model(there=False))
    assert told()["there"] == []
    read = tmp_path / "read.jsonl"
    # A reader who finds the shirt alone, 6 px away.
    answers = [{"photo": f"clothing_parts/{one['photo']}", "text": one["text"], "there": False} for one in lines]
    answers[0] |= {"there": True, "x": 30.5, "y": 66.5}
    read.write_text("".join(f"{json.dumps(line)}\n" for line in answers))
    words = ("phrases", "--phrases", phrases, "--data", data, "--read", read)
    result = result_of(benchmark, tmp_path, *words)
    assert rows_of(result)["all"]["pck@0.1"]["value"] == 50.0
    assert [set(line) >= {"there", "found_px"} for line in result["answers"]] == [True, False, False, False, False]
    assert result["there"][3]["true said absent"]["value"] == 50.0 and result["there"][3]["auroc"]["value"] == 0.75
    read.write_text(json.dumps(answers[0]))
    with refused(capsys, "has no answer to 'a shoe'"):
        result_of(benchmark, tmp_path, *words)
    for wrong, message in ((answers[1] | {"there": "no"}, "line 2: there is 'no'"), (answers[0], "line 2: a second")):
        read.write_text(f"{json.dumps(answers[0])}\n{json.dumps(wrong)}")
        with refused(capsys, message):
            result_of(benchmark, tmp_path, *words)


def test_a_joints_disc_is_told_by_name_and_size(benchmark: SimpleNamespace) -> None:
    """A disc's diameter is 6% of the square root of its object's box: 6 px, here."""
    labels = np.zeros((100, 100), np.int16)
    labels[:] = 1
    for number, size in ((2, 6), (3, 20), (4, 6)):
        labels[20 * number : 20 * number + size, 10 : 10 + size] = number
    names = ["person", "left knee", "right knee", "left eyebrow"]
    scene = make_scene(np.zeros((100, 100, 3), np.uint8), labels, names, [0] * 4, ["person"], source="s", photo_id="p")
    assert [benchmark.mini_data.is_joint_disc(scene, k) for k in range(4)] == [False, True, False, False]


# What is committed


def test_the_sets_are_those_of_the_recipe(benchmark: SimpleNamespace) -> None:
    assert benchmark.mini_data.SETS == RECIPE_SETS and benchmark.mini_data.PHRASE_KINDS == RECIPE_PHRASE_KINDS
    labels, breeds = benchmark.mini_data.read_labels()
    assert set(labels) == set(RECIPE_SETS) and breeds["pug"] == "dog"


def test_texts_that_do_not_fit_are_as_many_of_each_set_and_kind(benchmark: SimpleNamespace) -> None:
    lines = benchmark.mini_data.read_lines(benchmark.mini_data.ABSENT)
    counts = Counter((line["set"], line["kind"]) for line in lines)
    assert counts == {(name, kind): 22 for name in RECIPE_SETS for kind in ("absent", "wrong")}
    assert {line["split"] for line in lines} == {"test"}


def test_phrases_are_as_many_of_each_set(benchmark: SimpleNamespace) -> None:
    lines = benchmark.mini_data.read_lines(benchmark.mini_data.PHRASES)
    counts = Counter((line["set"], line["kind"]) for line in lines)
    assert counts == {
        (name, kind): n
        for name in RECIPE_SETS
        for kind, n in (("true", 88), ("absent", 44), ("wrong", 44), ("implausible", 44))
    }
    assert {line["split"] for line in lines} == {"test"}
    assert all(("x" in line) == line["there"] == (line["kind"] == "true") for line in lines)
    assert max(Counter((line["set"], line["photo"]) for line in lines).values()) == 10
    answers = benchmark.mini_data.read_answers(benchmark.mini_data.PHRASES.with_name("phrases_read.jsonl"))
    assert set(answers) == {(f"{line['set']}/{line['photo']}", line["text"]) for line in lines}


def test_implausible_things_are_others_than_those_learned_from(benchmark: SimpleNamespace) -> None:
    lines = benchmark.mini_data.read_lines(benchmark.mini_data.PHRASES)
    learned = benchmark.mini_data.read_lines(BENCHMARKS.parent / "recipes/mini/texts/implausible.jsonl")
    measured = [line for line in lines if line["kind"] == "implausible"]
    assert all(line["thing"].lower() in line["text"].lower() for line in (*measured, *learned))
    things, seen = ({line["thing"] for line in some} for some in (measured, learned))
    assert (len(things), len(seen), things & seen) == (167, 370, set())


def test_texts_that_may_fit_were_all_looked_at(benchmark: SimpleNamespace) -> None:
    verdicts = benchmark.mini_data.read_fitting(benchmark.mini_data.FITTING)
    assert Counter(verdicts.values()) == {"no": 292, "yes": 8}
    assert {photo.partition("/")[0] for photo, _ in verdicts} == set(RECIPE_SETS)


@needs_photos
def test_their_photos_are_there(benchmark: SimpleNamespace) -> None:
    found = benchmark.mini_data.read_absent(benchmark.mini_data.ABSENT, SHARED / "data")
    assert len({sample.photo_id for _, sample in found}) == 77
    texts = benchmark.mini_data.read_free_texts(SHARED / "data" / "texts" / "test.jsonl", SHARED / "data")
    assert {sample.photo_id for _, sample in found} <= {text.where.photo_id for text in texts}
    assert all(isinstance(text.where, Sample) for text in texts)
    phrases = benchmark.mini_data.read_phrases(benchmark.mini_data.PHRASES, SHARED / "data")
    assert {sample.photo_id for _, sample in phrases} > {sample.photo_id for _, sample in found}
