from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from talking_points.evaluation.pointing.benchmarks import LAYOUTS, read_tasks


@pytest.fixture
def folder(tmp_path: Path, ap_10k_writer: Callable[..., None]) -> Path:
    ap_10k_writer(tmp_path, {"train": ["1"], "val": ["2"], "test": ["3", "4"]})
    return tmp_path


def test_keypoints_become_tasks_hidden_ones_too(folder: Path) -> None:
    tasks = read_tasks(folder, "ap-10k", lambda problem: pytest.fail(problem))
    assert [task.text for task in tasks[:5]] == [
        "the left eye of the antelope",
        "the root of the tail of the antelope",
        "the left eye of the dog",
        "the right eye of the dog",
        "the root of the tail of the dog",
    ]
    assert {task.category for task in tasks} == {"left eye", "right eye", "root of the tail"}
    # The box is 40x30: 3 px are 0.075 of its longer side.
    first = tasks[0]
    assert first.point_px == (10.5, 20.5) and first.object_box_xyxy == (5, 10, 45, 40)
    assert LAYOUTS["ap-10k"].scores(first, [(13.5, 20.5)]) == {"pck@0.1": 100, "pck@0.05": 0, "pck@0.2": 100}
    assert LAYOUTS["ap-10k"].mean_of_categories


def test_a_wrong_photo_is_named_and_passed_over(folder: Path) -> None:
    (folder / "data" / "3.jpg").unlink()
    problems: list[str] = []
    tasks = read_tasks(folder, "ap-10k", problems.append)
    assert {task.photo_id for task in tasks} == {"4"}
    assert len(problems) == 1 and problems[0].startswith("photo 3: no such photo")
