from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talking_points.evaluation.pointing.benchmarks import LAYOUTS, read_tasks
from tests.evaluation.pointing.layouts import LEFT, SIZE_WH, mask_of, save_mask, write_point_bench


def no_problem(problem: str) -> None:
    raise AssertionError(problem)


def test_entries_become_tasks(tmp_path: Path) -> None:
    write_point_bench(tmp_path)
    spatial, counting = read_tasks(tmp_path, "point-bench", no_problem)
    assert (spatial.category, spatial.text, spatial.photo_id) == ("spatial", "left box", "spatial/a.png")
    assert spatial.open_photo().size == spatial.size_wh == SIZE_WH and spatial.count is None
    assert np.array_equal(spatial.masks[0].pixels(), mask_of(LEFT))
    assert counting.count == 2 == len(counting.perfect_px)
    scores = LAYOUTS["point-bench"].scores
    assert scores(counting, [(12, 20), (47, 10)]) == {"success": 100} != scores(counting, [(12, 20)])


def test_a_mask_is_what_is_above_127_in_any_channel(tmp_path: Path) -> None:
    write_point_bench(tmp_path)
    colours = np.zeros((*SIZE_WH[::-1], 3), np.uint8)
    colours[0, 0], colours[0, 1], colours[0, 2] = (0, 0, 128), (127, 127, 127), (255, 0, 0)
    Image.fromarray(colours).save(tmp_path / "selected_masks" / "spatial" / "a_mask.png")
    mask = read_tasks(tmp_path, "point-bench", no_problem)[0].masks[0].pixels()
    assert np.argwhere(mask).tolist() == [[0, 0], [0, 2]]


def test_a_wrong_entry_is_named_and_passed_over(tmp_path: Path) -> None:
    write_point_bench(tmp_path)
    path = tmp_path / "data.json"
    good, counting = json.loads(path.read_text())
    save_mask(tmp_path / "selected_masks" / "spatial" / "small.png", mask_of(LEFT, size_wh=(30, 40)))
    save_mask(tmp_path / "selected_masks" / "spatial" / "empty.png", mask_of())
    (tmp_path / "selected_masks" / "spatial" / "broken.png").write_bytes(b"\x89PNG no more")
    wrong: list[tuple[Any, str]] = [
        ("left box", "expected an object, got str"),
        ({k: v for k, v in good.items() if k != "mask_filename"}, "there is no mask_filename"),
        ({**good, "image_filename": "gone.png"}, r"no such photo: .*spatial/gone\.png"),
        ({**good, "mask_filename": "gone.png"}, r"no such mask: .*spatial/gone\.png"),
        ({**good, "mask_filename": "small.png"}, r"small\.png: the mask is 30x40, the photo 60x40"),
        ({**good, "mask_filename": "empty.png"}, r"empty\.png: the mask is empty"),
        ({**good, "mask_filename": "broken.png"}, r"broken\.png is not a photo"),
        ({**good, "user_input": ""}, '"user_input" must be a text'),
        ({**good, "category": 3}, '"category" must be a text'),
        ({**good, "category": "../.."}, '"category" must be a path below'),
        ({**good, "image_filename": "/etc/passwd"}, '"image_filename" must be a path below'),
        ({**good, "image_filename": "../spatial/a.png"}, '"image_filename" must be a path below'),
        ({**good, "image_filename": "a\0.png"}, '"image_filename" must be a path below'),
        ({**counting, "count": 0}, '"count" must be a number of points'),
        ({**counting, "count": True}, '"count" must be a number of points'),
        ({**counting, "count": 10**12}, '"count" must be a number of points'),
    ]
    path.write_text(json.dumps([good, *(entry for entry, _ in wrong), counting]))
    problems: list[str] = []
    tasks = read_tasks(tmp_path, "point-bench", problems.append)
    assert [task.sample_id for task in tasks] == ["0", str(len(wrong) + 1)]
    assert len(problems) == len(wrong)
    for number, (problem, (_, message)) in enumerate(zip(problems, wrong, strict=True), start=1):
        with pytest.raises(ValueError, match=rf"data\.json, entry {number}: .*{message}"):
            raise ValueError(problem)
    path.write_text(json.dumps([wrong[0][0]]))
    with pytest.raises(ValueError, match="holds nothing to score; the first problem is .* entry 0: expected an object"):
        read_tasks(tmp_path, "point-bench", problems.append)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}", "expected a list of entries, got dict"), ("[", "not valid JSON"), ("[" * 100_000, "not valid JSON")],
)
def test_another_layout_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.json is missing"):
        read_tasks(tmp_path, "point-bench", no_problem)
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_tasks(tmp_path, "point-bench", no_problem)
