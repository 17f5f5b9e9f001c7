"""Texts of files: their lines, and what their rows are called."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from talking_points.evaluation.sets import make_set
from talking_points.evaluation.written import path_and_name, row_names, texts_of_data, texts_of_file
from tests.evaluation.test_protocol import SCENES


def test_texts_of_a_file(tmp_path: Path) -> None:
    samples = make_set("plain", SCENES[:1], points=3, seed=0)
    path = tmp_path / "texts.jsonl"
    lines = [json.dumps({"sample": s.sample_id, "description": f"text {n}"}) for n, s in enumerate(samples)]
    path.write_text("\n".join(lines))
    found = texts_of_file(f"file:{path}")
    found.expect_all(samples, "write them")
    assert list(found.texts.values()) == ["text 0", "text 1", "text 2"] and not found.skipped
    for kept, said in ((2, "1 sample, 'plain/0/2'"), (1, "2 samples, the first of them 'plain/0/1'")):
        path.write_text("\n".join(lines[:kept]))
        with pytest.raises(ValueError, match=f"{re.escape(str(path))} has no text for {said}: write them"):
            texts_of_file(f"file:{path}").expect_all(samples, "write them")
    path.write_text('{"sample": 1}')
    with pytest.raises(ValueError, match=r"texts\.jsonl, line 1: expected"):
        texts_of_file(f"file:{path}")
    path.write_text("\n".join([*lines, json.dumps({"sample": samples[0].sample_id, "description": "better"})]))
    assert texts_of_file(f"file:{path}=people").texts[samples[0].sample_id] == "better"
    path.write_text("\n".join([*lines, json.dumps({"sample": samples[0].sample_id, "skipped": True})]))
    found = texts_of_file(f"file:{path}")
    assert found.skipped == {samples[0].sample_id} and list(found.texts.values()) == ["text 1", "text 2"]
    (tmp_path / "texts.csv").write_text("sample,description\na,b\n")
    with pytest.raises(ValueError, match=r'texts\.csv is not JSON lines; expected {"sample": ID, .*named \.jsonl'):
        texts_of_file(f"file:{tmp_path / 'texts.csv'}")
    with pytest.raises(FileNotFoundError, match="no such file: nowhere"):
        texts_of_file("file:nowhere")


def test_texts_that_are_not_scored_are_said(tmp_path: Path) -> None:
    samples = make_set("plain", SCENES[:1], points=2, seed=0)
    path, ids = tmp_path / "texts.jsonl", [sample.sample_id for sample in samples]
    lines = [{"sample": one, "description": "a text"} for one in ids]
    path.write_text("\n".join(map(json.dumps, [{"sample": ids[0], "skipped": True}, *lines])))
    assert texts_of_file(f"file:{path}").left_over(samples) == []
    others = [{"sample": f"other {n}", "description": "a text"} for n in range(3)]
    path.write_text("\n".join(map(json.dumps, [*lines, *others, lines[1]])))
    assert texts_of_file(f"file:{path}").left_over(samples) == [
        f"{path}: earlier texts of 1 sample, of which the last one holds, such as 'plain/0/1'",
        f"{path}: texts of 3 samples, not among those that are scored, such as 'other 0'",
    ]


def test_texts_of_the_data() -> None:
    samples = make_set("plain", SCENES[:1], points=2, seed=0)
    assert list(texts_of_data(samples, "--table 1").texts.values()) == [sample.text for sample in samples]
    with pytest.raises(ValueError, match="the data has no text for 1 sample, .* give every point a text, or leave out"):
        texts_of_data([samples[0], replace(samples[1], text=None)], "--table 1")


def test_texts_of_a_file_have_a_name(tmp_path: Path) -> None:
    assert path_and_name("file:a/people.jsonl=people") == (Path("a/people.jsonl"), "people")
    assert path_and_name("file:people.jsonl") == (Path("people.jsonl"), "file:people.jsonl")
    odd = tmp_path / "lr=2.jsonl"
    odd.touch()
    # A file of such a name was read before there were names.
    assert path_and_name(f"file:{odd}") == (odd, f"file:{odd}")
    assert path_and_name(f"file:{odd}=ours") == (odd, "ours")
    assert row_names(["descriptor", "file:a=DAM", "file:b"]) == {
        "descriptor": "descriptor",
        "file:a=DAM": "DAM",
        "file:b": "file:b",
    }


@pytest.mark.parametrize(
    ("describers", "said"),
    [
        (["file:a="], "allowed: file:PATH, or file:PATH=NAME"),
        (["file:=people"], "allowed: file:PATH, or file:PATH=NAME"),
        (["file:a=descriptor"], "rows of 'descriptor' are others'; choose another name"),
        (["file:a=shuffled"], "rows of 'shuffled' are others'"),
        (["file:a=file:b"], "rows of 'file:b' are others'"),
        (["file:a=people", "file:b=people"], "describers file:a=people and file:b=people have the same name"),
    ],
)
def test_names_that_are_not_allowed(describers: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        row_names(describers)
