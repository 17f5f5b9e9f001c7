from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from talking_points.evaluation.paper import TABLES, beside_paper, contestants_of, rows_of
from talking_points.evaluation.protocol import Row
from talking_points.evaluation.samples import Sample


def test_contestants_of_tables() -> None:
    describers = ["object-caption", "region-caption", "descriptor", "ground-truth"]
    assert contestants_of("1", [], []) == (describers, ["localizer"])
    assert contestants_of("3", ["descriptor:x"], []) == (["descriptor", "descriptor:x"], ["localizer"])
    assert contestants_of("4", [], ["localizer:y"]) == (["ground-truth"], ["localizer", "localizer:y"])
    assert contestants_of("figure", ["file:people.jsonl"], []) == (
        ["descriptor", "ground-truth", "file:people.jsonl"],
        ["localizer"],
    )
    with pytest.raises(ValueError, match="--table is '5'; allowed: 1, 2, 3, 4, figure"):
        contestants_of("5", [], [])
    before = ["descriptor:before"]
    assert contestants_of("2", before, [], ["Bovidae"]) == (["descriptor", *before], ["localizer"])
    for objects in ([], ["dog"], ["Bovidae", "Canidae"]):
        with pytest.raises(ValueError, match="one family at a time: give --object Canidae or --object Bovidae"):
            contestants_of("2", before, [], objects)
    with pytest.raises(ValueError, match="give --describer descriptor:DIR"):
        contestants_of("3", ["descriptor"], [])
    with pytest.raises(ValueError, match="give --localizer localizer:DIR"):
        contestants_of("4", [], [])


def test_texts_of_a_file_that_is_called_as_a_row_take_its_place() -> None:
    given = ["file:dam.jsonl=DAM"]
    describers, _ = contestants_of("1", given, [])
    assert describers == ["object-caption", "descriptor", "ground-truth", *given]
    rows = [row_of("DAM", "localizer", near=1), row_of("object-caption", "localizer", near=0)]
    beside, gains = beside_paper(rows_of("1"), rows, of_files=["DAM"])
    assert [(one["row"], one["describer"]) for one in beside] == [("OMG-LLaVA", "object-caption"), ("DAM", "DAM")]
    assert [(one["row"], one["over"], one["paper"], one["ours"]) for one in gains] == [
        ("DAM", "OMG-LLaVA", 11.84, 50.0)
    ]
    # Without its name it is nobody's row.
    assert beside_paper(rows_of("1"), [row_of("file:dam.jsonl", "localizer")], of_files=["file:dam.jsonl"]) == ([], [])


def row_of(describer: str, localizer: str, *, near: int = 1, style: str = "") -> Row:
    """Two samples on photos of their own, `near` of them found."""
    samples = [
        Sample(sample_id=name, photo_id=name, open_photo=Image.Image, size_wh=(10, 10), point_px=(1.0, 1.0))
        for name in ("a", "b")
    ]
    true = np.ones((2, 2))
    found = true + 8.0 * (np.arange(2) >= near)[:, None]
    names = {"set_name": "plain", "describer": describer, "localizer": localizer, "style": style}
    return Row(samples=samples, texts=["", ""], found_px=found, true_px=true, **names)


def test_rows_of_the_paper_stand_beside_ours() -> None:
    rows = [row_of("descriptor", "localizer", near=2), row_of("descriptor", "localizer", style="short")]
    rows += [row_of("descriptor:runs/x", "localizer"), row_of("none", "localizer")]
    beside, gains = beside_paper(rows_of("3"), rows)
    assert [(one["row"], one["describer"]) for one in beside] == [
        ("without the Gaussian mask", "descriptor:runs/x"),
        ("with it", "descriptor"),
    ]
    assert beside[0]["paper"]["mpck"] == 23.63 and beside[0]["ours"]["mpck"] == 50.0
    gain = {"set": "plain", "row": "with it", "over": "without the Gaussian mask", "paper": 54.5, "ours": 50.0}
    assert gains == [{**gain, "ci": [0.0, 100.0]}]
    rows = [row_of("people", "localizer"), row_of("none", "localizer")]
    beside, _ = beside_paper(rows_of("figure"), rows, of_files=["people"])
    assert [one["row"] for one in beside] == ["people"]


def test_mpck_is_the_mean_of_the_two() -> None:
    for rows in TABLES.values():
        for row in rows:
            if row.pck_01 is not None and row.pck_02 is not None:
                assert (row.pck_01 + row.pck_02) / 2 == pytest.approx(row.mpck, abs=0.011), row


def test_numbers_are_the_papers() -> None:
    from pathlib import Path

    paper = Path(__file__).parents[3] / "shared" / "paper" / "talking_points.txt"
    if not paper.is_file():
        pytest.skip("needs ../shared/paper")
    text = re.sub(r"\s+", " ", paper.read_text(encoding="utf-8", errors="replace"))
    for rows in TABLES.values():
        for row in rows:
            for number in (row.pck_01, row.pck_02):
                assert number is None or f"{number:.2f}" in text, row
