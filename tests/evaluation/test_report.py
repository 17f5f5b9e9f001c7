from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from talking_points.evaluation.answers import KeptAnswers
from talking_points.evaluation.compare import compare
from talking_points.evaluation.differs import _of_role
from talking_points.evaluation.protocol import Row, localize_texts, true_points
from talking_points.evaluation.report import (
    FEW_PHOTOS,
    _samples,
    _shown,
    markdown_tables,
    pairing_said,
    write_samples,
)
from talking_points.evaluation.run import SampleSet, evaluate
from talking_points.evaluation.samples import Sample
from talking_points.pointing.pretrained import find_model
from talking_points.samples import NOWHERE, FoundPoint

NO_TABLE: dict[str, list[object]] = {"paper": [], "paper_gains": [], "differs": []}


def test_table() -> None:
    row = {
        "set": "plain",
        "describer": "ground-truth",
        "localizer": "blind",
        "n": 7,
        "pck@0.05": 1.25,
        "pck@0.1": 50.0,
        "pck@0.2": 75.0,
        "mpck": 62.5,
        "mpck_ci": [60.0, 65.04],
    }
    texts = {"plain": {"descriptor": {"names_object": 99.25, "names_part": 60.0}}}
    rows = [row, {**row, "localizer": "oracle"}, {**row, "style": "short"}]
    lines = markdown_tables({"rows": rows, "texts": texts, **NO_TABLE, "styles": {}}).splitlines()
    assert lines[0] == "**plain** (7 points)"
    named = (
        "Texts that name the right object, and the right part, by the last word of what the labels call them or by a "
    )
    named += "synonym"
    assert lines[-1] == f"{named}: descriptor 99.2% and 60.0%."
    assert lines[-3] == "| ground-truth | blind | 1.2 | 50.0 | 75.0 | 62.5 | 60.0 to 65.0 |"


def test_of_one_photo_no_interval_is_told() -> None:
    row = {"set": "plain", "describer": "d", "localizer": "l", "n": 3, "pck@0.05": 1.0, "pck@0.1": 50.0}
    row |= {"pck@0.2": 75.0, "mpck": 62.5, "mpck_ci": None}
    lines = markdown_tables({"rows": [row], "texts": {"plain": {}}, **NO_TABLE, "styles": {}}).splitlines()
    assert "| d | l | 1.0 | 50.0 | 75.0 | 62.5 | one photo: no interval |" in lines
    check = {"oracle_mpck": 100.0, "passed": False, "texts_of": "people", "photos": 1, "lost_by_shuffling_ci": None}
    check |= {"shuffled_mpck": 33.33, "constant_mpck": 44.44, "lost_by_shuffling": 5.56}
    assert "on their own photos +5.6 (one photo: no interval). With 1 photo it may be chance." in pairing_said(check)


def test_of_a_role_without_an_account_of_its_training_the_card_is_named(tmp_path: Path) -> None:
    for name in ("config.json", "localizer/adapter_config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((find_model("mini") / name).read_bytes())
    told = {model: _of_role("localizer", model)[-1] for model in ("mini", str(tmp_path))}
    assert told["mini"][0] == "localizer of mini: trained"
    assert told["mini"][2] == "see its card, README.md of mini (no training.json beside its adapter)"
    assert told[str(tmp_path)][2] == "not known (no training.json beside its adapter)"


def test_the_pairing_is_told_with_its_figures_and_whose_texts_were_shuffled() -> None:
    check = {"oracle_mpck": 100.0, "passed": False, "texts_of": "people", "photos": FEW_PHOTOS - 1}
    check |= {"shuffled_mpck": 33.33, "constant_mpck": 44.44, "lost_by_shuffling": 5.56}
    check |= {"lost_by_shuffling_ci": [-16.67, 27.78]}
    told = (
        "Pairing of photos and texts: fail. True points score 100. The rows swapped-photo and shuffled show the texts "
        "of people: shuffled they score 33.3 (a constant 44.4), on their own photos +5.6 (95% interval -16.7 to +27.8, "
        "must be above 0)."
    )
    assert pairing_said(check) == f"{told} With 19 photos it may be chance."
    # With enough photos it is none, nor is it where the true points themselves are off.
    assert pairing_said({**check, "photos": FEW_PHOTOS}) == told
    off = pairing_said({**check, "oracle_mpck": 97.5})
    assert "True points score 97.5, and must score 100. The rows" in off and "chance" not in off
    assert pairing_said({**check, "passed": True}) == told.replace("fail", "pass")
    only = pairing_said({"oracle_mpck": 100.0, "passed": True})
    assert only == "Pairing of photos and texts: pass. True points score 100."


def test_the_paper_and_the_styles_stand_below() -> None:
    row = {"set": "plain", "describer": "descriptor", "localizer": "localizer", "n": 7, "pck@0.05": 1.0}
    row |= {"pck@0.1": 50.0, "pck@0.2": 75.0, "mpck": 62.5, "mpck_ci": [60.0, 65.0]}
    paper = {**row, "row": "Talking Points", "ours": row, "paper": {"pck@0.1": None, "pck@0.2": 92.33, "mpck": 78.13}}
    panel = {"matrix": {"descriptor": {"as written": {"localizer": 62.5}, "short": {"localizer": 60.0}}}}
    panel |= {"describers": {"descriptor": 62.5}, "spread": {"localizer": {"descriptor": 2.5}}}
    gain = {"set": "plain", "row": "ground truth", "over": "DAM", "paper": 35.96, "ours": -2.5, "ci": [-4.0, 1.0]}
    table = {"paper": [paper], "paper_gains": [gain], "differs": [{"what": "head", "paper": "one", "here": "other"}]}
    lines = markdown_tables({"rows": [row], "texts": {"plain": {}}, **table, "styles": {"plain": panel}})
    assert "| ground truth | DAM | +36.0 | -2.5 | -4.0 to +1.0 |" in lines
    assert "\n\n| what differs | paper | here |\n|---|---|---|\n| head | one | other |\n" in lines
    assert "| Talking Points | paper |  | 92.3 | 78.1 |  |" in lines
    assert "| descriptor -> localizer | ours | 50.0 | 75.0 | 62.5 | 60.0 to 65.0 |" in lines
    assert "| descriptor | short | 60.0 |\n| descriptor | *best - worst* | 2.5 |\n" in lines


class Knowing:
    """Finds everything at one place; a unicorn is in no photo, and of a hat it does not know."""

    def locate_many(self, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
        there = {"a unicorn": 0.04, "a shoe": 0.9, "a hat": None}
        return [
            FoundPoint(point_px=(3.0, 4.0), confidence=0.5, runner_up_px=None, there=there[text]) for _, text in pairs
        ]


def test_answers_say_what_is_not_in_the_photo_and_are_scored_as_ever(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 30), "red")
    texts = ["a unicorn", "a shoe", "a hat", " "]
    samples = [
        Sample(sample_id=str(n), photo_id="p", size_wh=photo.size, point_px=(3.0, 7.0), open_photo=lambda: photo)
        for n in range(4)
    ]
    for _ in range(2):
        # The second time they are read, not asked for.
        with KeptAnswers(tmp_path, {"of": "this"}) as answers:
            found = answers.points("stage", Knowing(), samples, texts)
    found_px, there = found.points_px, found.there
    assert found.unreadable.tolist() == [False] * 4
    assert found_px[:3].tolist() == [[3.0, 4.0]] * 3 == localize_texts(Knowing(), samples, texts)[:3].tolist()
    row = Row(
        set_name="set",
        describer="d",
        localizer="l",
        samples=samples,
        texts=texts,
        found_px=found_px,
        true_px=true_points(samples),
        there=there,
    )
    write_samples(tmp_path / "samples.parquet", [row])
    lines = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    assert [line["there"] for line in lines] == [0.04, 0.9, None, None]
    assert [line["found_x"] for line in lines] == [3.0, 3.0, 3.0, None]
    captions = [_shown(row, index, "best")["off"] for index in range(4)]
    assert captions == [
        "not in the photo, says the localizer; its likeliest place is 10.0% of the photo off",
        "10.0% of the photo off",
        "10.0% of the photo off",
        "no answer",
    ]


class Refusing:
    """Finds everything at one place, and gives no readable answer to one text."""

    def __init__(self, refused: str) -> None:
        self.refused = refused

    def locate_many(self, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
        found = FoundPoint(point_px=(3.0, 7.0), confidence=0.5, runner_up_px=None)
        return [replace(NOWHERE, problem="no JSON") if text == self.refused else found for _, text in pairs]


def test_what_could_not_be_read_is_in_no_picture_of_a_report_and_is_not_compared(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 30), "red")
    samples = [
        Sample(sample_id=str(n), photo_id=f"p{n}", size_wh=photo.size, point_px=(3.0, 7.0), open_photo=lambda: photo)
        for n in range(3)
    ]
    one = SampleSet(name="set", samples=samples, mean_unit=np.array([0.5, 0.5]))
    texts = {"0": "the first", "1": "the second", "2": "the third"}
    for refused in ("the second", "the third"):
        out = tmp_path / refused
        evaluate([one], {"mine": texts}, {"judge": Refusing(refused)}, out, settings={}, seed=0)
        page = (out / "report.html").read_text()
        assert [text for text in texts.values() if text not in page] == [refused]
    [row] = [row for row in compare(tmp_path / "the second", tmp_path / "the third") if row["describer"] == "mine"]
    # The first alone was read in both.
    assert (row["n"], row["mpck"]) == (1, [100.0, 100.0])


@pytest.mark.parametrize(
    ("count", "kinds"),
    [
        (1, ["best"]),
        (2, ["best", "worst"]),
        (4, ["best", "median", "worst"]),
        (20, ["best"] * 3 + ["median"] * 3 + ["worst"] * 3),
    ],
)
def test_each_sample_is_shown_once_with_its_text_as_text(count: int, kinds: list[str]) -> None:
    photo = Image.new("RGB", (40, 30), "red")
    samples = [
        Sample(sample_id=f"s{n}", photo_id="p", size_wh=photo.size, point_px=(3.0, 7.0), open_photo=lambda: photo)
        for n in range(count)
    ]
    texts = [f"text <{n}>" for n in range(count)]
    found_px = np.array([(3.0 + n, 7.0) for n in range(count)])
    row = Row(
        set_name="set",
        describer="descriptor",
        localizer="localizer",
        samples=samples,
        texts=texts,
        found_px=found_px,
        true_px=true_points(samples),
        there=None,
    )
    shown = _samples([row])
    assert [one["kind"] for one in shown] == kinds
    assert len({one["sample_id"] for one in shown}) == len(kinds)
    assert shown[0]["text"] == "text <0>" and (count == 1 or shown[-1]["text"] == f"text <{count - 1}>")
    # The picture is the photo with its marks, without words that nobody could read at its size.
    picture = Image.open(io.BytesIO(base64.b64decode(shown[0]["jpeg"])))
    assert picture.width / picture.height == pytest.approx(40 / 30, abs=0.01)
