from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from talking_points.evaluation.pointing.benchmarks import LAYOUTS, read_tasks
from tests.evaluation.pointing.layouts import LEFT, SIZE_WH, mask_of, write_refspatial_bench


def no_problem(problem: str) -> None:
    raise AssertionError(problem)


def test_entries_become_tasks_of_the_folders_that_are_there(tmp_path: Path) -> None:
    write_refspatial_bench(tmp_path)
    tasks = read_tasks(tmp_path, "refspatial-bench", no_problem)
    assert [task.category for task in tasks] == ["Location"] * 2 + ["Placement"] * 2 + ["Unseen"] * 2
    assert len({task.photo_id for task in tasks}) == 6
    # What is to be pointed at, without the request for coordinates.
    assert tasks[1].text == "the box that is number 1 from the left"
    # Any value above 0 is the mask's, 1 as well.
    for task in tasks[:2]:
        assert task.open_photo().size == task.size_wh == SIZE_WH
        assert np.array_equal(task.masks[0].pixels(), mask_of(LEFT))
    assert LAYOUTS["refspatial-bench"].scores(tasks[0], [(12, 20), (0, 0)]) == {"accuracy": 50}
    shutil.rmtree(tmp_path / "Unseen")
    assert len(read_tasks(tmp_path, "refspatial-bench", no_problem)) == 4


def test_a_wrong_entry_is_named_and_passed_over(tmp_path: Path) -> None:
    write_refspatial_bench(tmp_path)
    path = tmp_path / "Location" / "question.json"
    good, other = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            [
                {**good, "object": None},
                {**good, "rgb_path": "image/gone.png"},
                {**good, "mask_path": "../Unseen/mask/0.png"},
                [],
                other,
            ]
        )
    )
    problems: list[str] = []
    tasks = read_tasks(tmp_path, "refspatial-bench", problems.append)
    assert [task.sample_id for task in tasks if task.category == "Location"] == ["Location/4"]
    assert [problem.partition("question.json, ")[2][:7] for problem in problems] == [f"entry {n}" for n in range(4)]
    for problem, words in zip(
        problems, ('"object" must be', "no such photo", "must be a path below", "got list"), strict=True
    ):
        assert words in problem


def test_another_layout_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds none of the folders Location, Placement, Unseen"):
        read_tasks(tmp_path, "refspatial-bench", no_problem)
    (tmp_path / "Placement").mkdir()
    with pytest.raises(FileNotFoundError, match=r"question\.json is missing"):
        read_tasks(tmp_path, "refspatial-bench", no_problem)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_tasks(tmp_path / "nothing", "refspatial-bench", no_problem)
    with pytest.raises(ValueError, match="layout is 'where2place'; allowed: pixmo-points, point-bench, "):
        read_tasks(tmp_path, "where2place", no_problem)
