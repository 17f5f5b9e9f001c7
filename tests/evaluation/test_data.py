from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from talking_points.dataset.build import BuildConfig, build
from talking_points.evaluation.data import read_samples


def no_problem(problem: str) -> None:
    raise AssertionError(problem)


def test_triplets_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.png")
    good = {"photo_path": "a.png", "point_px": [3, 4], "size_wh": [40, 20], "text": "red", "object_name": "wall"}
    lines = [
        json.dumps(good),
        json.dumps({**good, "photo_path": "gone.png"}),
        json.dumps({**good, "point_px": [41, 4]}),
        json.dumps({**good, "text": " "}),
        json.dumps({**good, "size_wh": [20, 40], "point_px": [1, 1]}),
        "{",
    ]
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(lines))
    problems: list[str] = []
    [sample] = read_samples(file, "test", problems.append)
    assert sample.point_unit == (3 / 40, 0.2) and sample.open_photo().size == (40, 20) and sample.text == "red"
    assert [problem.split(":")[0].rpartition(" ")[2] for problem in problems] == ["2", "3", "4", "5", "6"]
    for problem, word in zip(
        problems, ["gone.png", "outside", "text is empty", "the line says", "Expecting"], strict=True
    ):
        assert word in problem
    file.write_text(lines[1])
    with pytest.raises(ValueError, match="holds nothing to score"):
        read_samples(file, "test", problems.append)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_samples(tmp_path / "nothing", "test", no_problem)


def test_a_built_set_is_what_was_built(label_map_writer: Callable[..., None], tmp_path: Path) -> None:
    people = tmp_path / "people"
    label_map_writer(people, [f"{n:04d}" for n in range(24)], ["0900"])
    build(
        BuildConfig(sources={"label-map": people}, out=tmp_path / "set", points_per_photo=4, per_part=2),
        lambda *_: None,
    )
    # Drawn photos look alike, and all go to one split.
    samples = read_samples(tmp_path / "set", "train", no_problem)
    for sample in samples:
        assert sample.text and sample.object_name == "person" and sample.alike >= 1
        assert sample.open_photo().size == sample.size_wh
        x0, y0, x1, y1 = sample.part_box_xyxy or (0, 0, 0, 0)
        assert x0 <= sample.point_px[0] <= x1 and y0 <= sample.point_px[1] <= y1
    with pytest.raises(ValueError, match="has the splits train, test, not 'val'"):
        read_samples(tmp_path / "set", "val", no_problem)


def test_named_keypoints_have_no_texts(ap_10k_writer: Callable[..., None], tmp_path: Path) -> None:
    ap_10k_writer(tmp_path / "ap", {"train": ["1"], "val": ["2"], "test": ["3", "4"]})
    samples = read_samples(tmp_path / "ap", "test", no_problem)
    assert {s.kind for s in samples} == {"named"} and all(s.text is None and s.part_name for s in samples)
