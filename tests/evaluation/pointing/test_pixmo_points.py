from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from talking_points.evaluation.pointing.benchmarks import LAYOUTS, read_tasks
from tests.evaluation.pointing.layouts import (
    LEFT,
    RIGHT,
    SIZE_WH,
    mask_of,
    pixmo_photos,
    pixmo_row,
    write_pixmo,
    write_pixmo_points,
)


def no_problem(problem: str) -> None:
    raise AssertionError(problem)


def test_rows_become_tasks(tmp_path: Path) -> None:
    write_pixmo_points(tmp_path)
    one, two, nothing, beside = read_tasks(tmp_path, "pixmo-points", no_problem)
    assert [task.category for task in (one, two, nothing)] == ["one thing", "several things", "nothing there"]
    assert one.text == "red box" and one.photo_id == two.photo_id != beside.photo_id
    assert one.open_photo().size == one.size_wh == SIZE_WH
    # Points are in percent of 60x40.
    assert two.labelled_px == ((12, 20), (pytest.approx(46.8), 10)) and two.perfect_px == two.labelled_px
    assert all(np.array_equal(m.pixels(), mask_of(box)) for m, box in zip(two.masks, (LEFT, RIGHT), strict=True))
    assert nothing.perfect_px == () == nothing.masks and np.isnan(nothing.point_px).all()
    # (46.8, 20) lies below the mask, whose last row is 14.
    assert beside.perfect_px == ((47, 14),)
    scores = LAYOUTS["pixmo-points"].scores
    assert scores(two, [(12, 20)])["recall"] == 50 and scores(nothing, np.zeros((0, 2)))["f1"] == 100


def test_a_wrong_row_is_named_and_passed_over(tmp_path: Path) -> None:
    one, two, three = pixmo_photos(tmp_path)
    good = pixmo_row(one, "red box", {(20, 50): LEFT})
    (tmp_path / "images" / f"{two}.jpg").write_bytes(b"something else")
    other_size = mask_of(LEFT, size_wh=(40, 60)).tolist()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"image_sha256": "f" * 64}, "images/ has no file ffff"),
        ({"image_sha256": None}, "images/ has no file None"),
        ({"image_sha256": "../../etc/passwd"}, r"images/ has no file \.\./"),
        ({"image_sha256": two}, "another file than was labelled"),
        ({"label": " "}, '"label" must be a text'),
        ({"label": None}, '"label" must be a text'),
        ({"label": "box " * 300}, '"label" has 1,200 characters'),
        ({"points": None}, "expected a list of points"),
        ({"points": [None]}, "expected a list of points"),
        ({"points": [{"x": 20, "y": 101}]}, "points must have x and y from 0 to 100"),
        ({"points": [{"x": float("nan"), "y": 1}]}, "points must have x and y from 0 to 100"),
        ({"points": [{"x": 20, "y": None}]}, "points must have x and y from 0 to 100"),
        ({"points": [{"x": 20, "y": 50}] * 2}, "2 points and 1 masks"),
        ({"masks": None}, "there are no masks"),
        ({"masks": []}, "1 points and 0 masks"),
        ({"masks": [None]}, "mask 0: expected rows of one length"),
        ({"masks": [[]]}, "mask 0: expected rows of one length"),
        ({"masks": [[[True], [True, False]]]}, "mask 0: expected rows of one length"),
        ({"masks": [[[True], [None]]]}, "mask 0: a pixel is null"),
        ({"masks": [other_size]}, "mask 0: the mask is 40x60, the photo 60x40"),
        ({"masks": [np.zeros((40, 60), bool).tolist()]}, "mask 0: the mask is empty"),
        # The masks in the other order: whatever is matched by distance falls beside its mask.
        (pixmo_row(three, "boxes", {(20, 50): RIGHT, (78, 25): LEFT}), "no answer would be right"),
    ]
    write_pixmo(tmp_path, [good, *({**good, **changes} for changes, _ in wrong), good])
    problems: list[str] = []
    tasks = read_tasks(tmp_path, "pixmo-points", problems.append)
    assert [task.sample_id for task in tasks] == [f"test-00000-of-00001/{n}" for n in (0, len(wrong) + 1)]
    assert len(problems) == len(wrong)
    for number, (problem, (_, message)) in enumerate(zip(problems, wrong, strict=True), start=1):
        with pytest.raises(ValueError, match=rf"\.parquet, row {number}: .*{message}"):
            raise ValueError(problem)


def test_another_layout_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="data holds no Parquet file"):
        read_tasks(tmp_path, "pixmo-points", no_problem)
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "test-0.parquet"
    file.write_bytes(b"PAR1")
    with pytest.raises(FileNotFoundError, match="no such folder: .*images"):
        read_tasks(tmp_path, "pixmo-points", no_problem)
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match=r"test-0\.parquet is no Parquet file"):
        read_tasks(tmp_path, "pixmo-points", no_problem)
    columns = {name: pa.array(["a"]) for name in ("image_url", "image_sha256", "label", "points")}
    pq.write_table(pa.table(columns), file)
    with pytest.raises(ValueError, match="has no column masks; expected image_url, "):
        read_tasks(tmp_path, "pixmo-points", no_problem)
    pq.write_table(pa.table({**columns, "masks": pa.array(["a"])}), file)
    with pytest.raises(ValueError, match="masks are string; expected lists"):
        read_tasks(tmp_path, "pixmo-points", no_problem)
