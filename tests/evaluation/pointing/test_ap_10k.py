from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from talking_points.evaluation.pointing.benchmarks import LAYOUTS, read_tasks


@pytest.fixture
def labels(tmp_path: Path, ap_10k_writer: Callable[..., None]) -> Path:
    ap_10k_writer(tmp_path, {"test": ["3", "4"]})
    return tmp_path / "annotations" / "ap10k-test-split1.json"


def test_keypoints_become_tasks_hidden_ones_too(labels: Path) -> None:
    tasks = read_tasks(labels, "ap-10k", lambda problem: pytest.fail(problem))
    assert [task.text for task in tasks[:5]] == [
        "the left eye of the antelope",
        "the root of the tail of the antelope",
        "the left eye of the dog",
        "the right eye of the dog",
        "the root of the tail of the dog",
    ]
    assert {task.category for task in tasks} == {"left eye", "right eye", "root of the tail"}
    # Without the animal that has no box. The other box is cut at the photo's edge.
    assert len(tasks) == 10 and tasks[4].object_box_xyxy == (50, 5, 100, 65)
    # The box is 40x30: 3 px are 0.075 of its longer side.
    first = tasks[0]
    assert first.point_px == (10.5, 20.5) and first.object_box_xyxy == (5, 10, 45, 40)
    assert LAYOUTS["ap-10k"].scores(first, [(13.5, 20.5)]) == {"pck@0.1": 100, "pck@0.05": 0, "pck@0.2": 100}
    assert LAYOUTS["ap-10k"].mean_of_categories


def test_a_wrong_photo_is_named_and_passed_over(labels: Path) -> None:
    (labels.parent.parent / "data" / "3.jpg").unlink()
    problems: list[str] = []
    tasks = read_tasks(labels, "ap-10k", problems.append)
    assert {task.photo_id for task in tasks} == {"../data/4.jpg"}
    assert len(problems) == 8 and problems[0].startswith(f"{labels}, line 1: no such photo")


def test_a_folder_is_asked_for_its_file(labels: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; give a file of annotations, such as annotations/ap10k-test"):
        read_tasks(labels.parent.parent, "ap-10k", lambda problem: None)
