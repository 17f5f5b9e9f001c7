from __future__ import annotations

import re

import pytest

from talking_points.evaluation.paper import TABLES, beside_paper, contestants_of


def test_contestants_of_tables() -> None:
    describers = ["object-caption", "region-caption", "descriptor", "ground-truth"]
    assert contestants_of("1", [], []) == (describers, ["localizer"])
    assert contestants_of("3", ["descriptor:x"], []) == (["descriptor", "descriptor:x"], ["localizer"])
    assert contestants_of("4", [], ["localizer:y"]) == (["ground-truth"], ["localizer", "localizer:y"])
    assert contestants_of("figure", ["file:people.jsonl"], []) == (
        ["descriptor", "ground-truth", "file:people.jsonl"],
        ["localizer"],
    )
    with pytest.raises(ValueError, match="--table is '2'; allowed: 1, 3, 4, figure"):
        contestants_of("2", [], [])
    with pytest.raises(ValueError, match="give --describer descriptor:DIR"):
        contestants_of("3", ["descriptor"], [])
    with pytest.raises(ValueError, match="give --localizer localizer:DIR"):
        contestants_of("4", [], [])


def test_rows_of_the_paper_stand_beside_ours() -> None:
    ours = {"set": "plain", "localizer": "localizer", "pck@0.1": 1.0, "pck@0.2": 3.0, "mpck": 2.0, "n": 9}
    ours["mpck_ci"] = [1.0, 3.0]
    rows = [{**ours, "describer": "descriptor"}, {**ours, "describer": "descriptor", "style": "short"}]
    rows += [{**ours, "describer": "descriptor:runs/x"}, {**ours, "describer": "none"}]
    found = beside_paper("3", rows)
    assert [(one["row"], one["describer"]) for one in found] == [
        ("without the Gaussian mask", "descriptor:runs/x"),
        ("with it", "descriptor"),
    ]
    assert found[0]["paper"]["mpck"] == 23.63 and found[0]["ours"]["mpck"] == 2.0
    rows = [{**ours, "describer": "people"}, {**ours, "describer": "none"}]
    assert [one["row"] for one in beside_paper("figure", rows, of_files=["people"])] == ["people"]


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
