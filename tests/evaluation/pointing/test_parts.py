"""Part-level sets: PACO, InstructPart, CrossPoint-Bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talking_points.evaluation.pointing.benchmarks import LAYOUTS, read_tasks
from tests.evaluation.pointing.layouts import (
    LEFT,
    RIGHT,
    mask_in_base64,
    mask_of,
    save_mask,
    write_crosspoint_bench,
    write_instruct_part,
    write_paco,
)


def no_problem(problem: str) -> None:
    raise AssertionError(problem)


def edited(path: Path, edit: Any) -> Path:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def test_paco_asks_for_kinds_of_parts(tmp_path: Path) -> None:
    path = write_paco(tmp_path)
    tasks = {task.sample_id: task for task in read_tasks(path, "paco", no_problem)}
    # By photo and category: whole objects, kinds that are not exhaustive, and what was taken back are none.
    assert {one: task.text for one, task in tasks.items()} == {
        "000000000001/2100": "the handle of the mug",
        "000000000001/2101": "the left button of the mouse",
        "000000000002/2100": "the handle of the mug",
    }
    assert [task.category for task in tasks.values()] == ["mug", "mouse", "mug"]
    two = tasks["000000000002/2100"]
    assert np.array_equal(two.masks[0].pixels(), mask_of(LEFT, RIGHT))
    scores = LAYOUTS["paco"].scores
    # Either handle is right; of several points the first one counts.
    assert scores(two, [(12, 20)]) == scores(two, [(47, 10), (0, 0)]) == {"on_part": 100}
    assert scores(two, [(30, 20), (12, 20)]) == scores(two, []) == {"on_part": 0}
    assert scores(tasks["000000000001/2100"], [(47, 10)]) == {"on_part": 0}


def test_an_object_that_is_not_exhaustive_has_no_tasks(tmp_path: Path) -> None:
    path = edited(write_paco(tmp_path), lambda c: c["images"][1]["not_exhaustive_category_ids"].append(708))
    assert [task.sample_id for task in read_tasks(path, "paco", no_problem)] == [
        "000000000001/2100",
        "000000000001/2101",
    ]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["images"][0].update(width=61), "is 60x40, but paco_lvis_v1_test.json says 61x40"),
        (lambda c: c["annotations"][4].update(segmentation={"size": [40, 60], "counts": [5]}), "run lengths sum to 5"),
        (lambda c: c["images"][0].update(not_exhaustive_category_ids="all"), '"not_exhaustive_category_ids" must be'),
        (lambda c: c["images"][0].update(file_name="val2017/gone.jpg"), "no such photo"),
        (lambda c: c["annotations"].append({"id": 99, "image_id": 77, "category_id": 2100}), "which the file lacks"),
    ],
)
def test_a_wrong_photo_of_paco_is_named_and_passed_over(tmp_path: Path, edit: Any, message: str) -> None:
    path = edited(write_paco(tmp_path), edit)
    problems: list[str] = []
    tasks = read_tasks(path, "paco", problems.append)
    assert {task.photo_id for task in tasks} >= {"train2017/000000000002.jpg"}
    assert len(problems) == 1 and message in problems[0] and "\n" not in problems[0]


def test_instruct_part_asks_twice(tmp_path: Path) -> None:
    write_instruct_part(tmp_path)
    tasks = read_tasks(tmp_path, "instruct-part", no_problem)
    assert [(task.sample_id, task.category, task.text) for task in tasks] == [
        ("0/0/task", "task", "task of the handle"),
        ("0/0/part", "part", "phrase of the handle"),
        ("1/0/task", "task", "task of the blade"),
        ("1/0/part", "part", "phrase of the blade"),
    ]
    assert tasks[2].photo_id == "photo1-kitchen_knife-blade.jpg"
    # A mask of 1s is one of 255s.
    assert np.array_equal(tasks[2].masks[0].pixels(), mask_of(RIGHT))
    assert LAYOUTS["instruct-part"].scores(tasks[0], [(12, 20)]) == {"on_part": 100}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c[0].update(part_list=[]), '"part_list" must be a list of parts, got []'),
        (lambda c: c[0]["part_list"][0].update(instruction=["one"]), '"instruction" must be a list of 6 texts'),
        (lambda c: c[0]["part_list"][0].update(object="a/../../../b"), "must be a path below"),
        (lambda c: c[0]["part_list"][0].update(part="lid"), "no such photo"),
        (lambda c: c[0]["part_list"][0].pop("object"), '"object" must be a text, got None'),
    ],
)
def test_a_wrong_entry_of_instruct_part_is_named_and_passed_over(tmp_path: Path, edit: Any, message: str) -> None:
    write_instruct_part(tmp_path)
    edited(tmp_path / "data_test.json", edit)
    problems: list[str] = []
    assert len(read_tasks(tmp_path, "instruct-part", problems.append)) == 2
    assert len(problems) == 1 and message in problems[0] and "data_test.json, entry 0" in problems[0]


def test_a_mask_of_instruct_part_that_is_missing_or_of_another_size_is_named(tmp_path: Path) -> None:
    write_instruct_part(tmp_path)
    (tmp_path / "masks" / "photo0-mug-handle.png").unlink()
    save_mask(tmp_path / "masks" / "photo1-kitchen_knife-blade.png", np.ones((4, 6), bool))
    problems: list[str] = []
    with pytest.raises(ValueError, match="holds nothing to score; the first problem is .*no such mask: "):
        read_tasks(tmp_path, "instruct-part", problems.append)
    assert "blade.png: the mask is 6x4, the photo 60x40" in problems[1]


def test_crosspoint_bench_asks_about_one_photo(tmp_path: Path) -> None:
    write_crosspoint_bench(tmp_path)
    tasks = read_tasks(tmp_path, "crosspoint-bench", no_problem)
    assert [(task.sample_id, task.category, task.text) for task in tasks] == [
        ("1", "object", "Locate the object to pull."),
        ("2", "part", "Locate the part to pull."),
    ]
    assert np.array_equal(tasks[1].masks[0].pixels(), mask_of(LEFT)) and tasks[1].photo_id == "origin_image/scene/1.png"
    scores = LAYOUTS["crosspoint-bench"].scores
    # The fraction of a pixel is cut off, as there.
    assert scores(tasks[1], [(19.9, 20)]) == {"accuracy": 100} and scores(tasks[1], [(20.0, 20)]) == {"accuracy": 0}
    assert scores(tasks[1], [(4.9, 20), (12, 20)]) == scores(tasks[1], []) == {"accuracy": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "Level 5"}, "\"type\" is 'Level 5', expected one of Fine-grained Grounding, Visibility"),
        ({"images": []}, '"images" must be a list of one photo, got []'),
        ({"images": ["../secret.png"]}, "must be a path below"),
        ({"images": ["origin_image/gone.png"]}, "no such photo"),
        ({"answer": "no base64!"}, '"answer" is no base64'),
        ({"answer": "AAAA"}, '"answer" is no picture'),
        ({"answer": None}, '"answer" must be the mask'),
        ({"answer": mask_in_base64(np.zeros((40, 60), bool))}, "the mask is empty"),
        ({"answer": mask_in_base64(np.ones((4, 6), bool))}, "the mask is 6x4, the photo 60x40"),
        ({"question": " "}, '"question" must be a text'),
    ],
)
def test_a_wrong_line_of_crosspoint_bench_is_named_and_passed_over(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_crosspoint_bench(tmp_path)
    path = tmp_path / "CrossPoint-Bench.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **changes}), *others, "", "{"]) + "\n")
    problems: list[str] = []
    assert len(read_tasks(tmp_path, "crosspoint-bench", problems.append)) == 1
    assert message in problems[0] and "CrossPoint-Bench.jsonl, line 1: " in problems[0]
    assert "line 7: not valid JSON" in problems[1] and len(problems) == 2


def test_another_layout_is_one_line(tmp_path: Path) -> None:
    for layout, message in (
        ("paco", "is a folder; give a file of annotations, such as annotations/paco_lvis_v1_test.json"),
        ("instruct-part", "must hold one data_*.json, as InstructPart's test/ does; found: none"),
        ("crosspoint-bench", "CrossPoint-Bench.jsonl is missing"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message.replace("*", r"\*")):
            read_tasks(tmp_path, layout, no_problem)
    path = edited(write_paco(tmp_path), lambda c: c.update(categories=c["categories"][:1]))
    with pytest.raises(ValueError, match='has no category like "mug:handle"'):
        read_tasks(path, "paco", no_problem)
