from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.build import build
from talking_points.dataset.selection import Selection
from talking_points.dataset.settings import BuildSettings
from talking_points.evaluation.data import mean_training_point, read_samples
from tests.shared import SHARED


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
    said = ["gone.png", "outside", '"text" must be a text', "the point is of a 20x40 photo", "Expecting"]
    for problem, word in zip(problems, said, strict=True):
        assert word in problem
    file.write_text(json.dumps({name: value for name, value in good.items() if name != "text"}))
    assert [one.text for one in read_samples(file, "test", no_problem)] == [None]
    new = {"photo": "a.png", "x": 3, "y": 4, "object_name": "wall", "own": [1], "part_name": None}
    file.write_text(json.dumps(new) + "\n" + json.dumps({**new, "text": "red"}))
    one, two = read_samples(file, "test", no_problem)
    assert (one.text, two.text, two.object_name, two.part_name) == (None, "red", "wall", None)
    assert two.point_unit == (3 / 40, 0.2) and two.size_wh == (40, 20)
    file.write_text(lines[1])
    with pytest.raises(ValueError, match="holds no points; the first problem is .* 1: .*gone.png"):
        read_samples(file, "test", problems.append)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_samples(tmp_path / "nothing", "test", no_problem)


def test_a_built_set_is_what_was_built(label_map_writer: Callable[..., None], tmp_path: Path) -> None:
    people = tmp_path / "people"
    label_map_writer(people, [], [f"{n:04d}" for n in range(24)])
    build(
        BuildSettings(
            sources=(f"label-map={people}",), out=tmp_path / "set", split="test", points_per_photo=4, per_part=2
        ),
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
    expected = np.mean([sample.point_unit for sample in samples], axis=0)
    assert mean_training_point(tmp_path / "set", Selection()) == pytest.approx(expected)


def test_coco_keypoints(ap_10k_writer: Callable[..., None], tmp_path: Path) -> None:
    """Of AP-10K: an antelope and two dogs in each photo, no texts, families; without what something hides."""
    ap_10k_writer(tmp_path / "ap", {"test": ["3", "4"]})
    labels = tmp_path / "ap" / "annotations" / "ap10k-test-split1.json"
    samples = read_samples(labels, "test", no_problem)
    assert [(s.object_name, s.part_name) for s in samples[:4]] == [
        ("antelope", "left eye"),
        ("antelope", "root of the tail"),
        ("dog", "left eye"),
        ("dog", "root of the tail"),
    ]
    assert {s.object_category for s in samples} == {"Bovidae", "Canidae"} and {s.text for s in samples} == {None}
    assert samples[0].open_photo().size == (100, 80) and samples[0].point_px == (10.5, 20.5)
    assert len(samples) == 2 * 7 and len({s.photo_id for s in samples}) == 2
    assert mean_training_point(labels, Selection()) is None
    # Where each is marked as hidden, that says nothing.
    labels.write_text(labels.read_text().replace(", 2", ", 1"))
    assert len(read_samples(labels, "test", no_problem)) == 2 * 8
    with pytest.raises(ValueError, match="holds neither a built set nor SPair-71k; of AP-10K and other COCO keypoints"):
        read_samples(tmp_path / "ap", "test", no_problem)


def test_keypoints_in_pairs(tmp_path: Path, ap_10k_writer: Callable[..., None]) -> None:
    ap_10k_writer(tmp_path / "ap", {"test": ["000000000007", "000000000009"]})
    labels = tmp_path / "ap" / "annotations" / "ap10k-test-split1.json"
    alone = read_samples(labels, "test", no_problem)
    paired = read_samples(labels, "test", no_problem, cross_photo=True)
    assert 0 < len(paired) <= len(alone)
    for sample in paired:
        other = sample.described
        assert other is not None and other.photo_id != sample.photo_id
        assert (other.object_name, other.part_name) == (sample.object_name, sample.part_name)
        assert sample.text == other.text
    (tmp_path / "t.jsonl").write_text('{"photo": "ap/data/000000000007.jpg", "x": 1, "y": 2}')
    with pytest.raises(ValueError, match="shows no part_name of an object_name on two photos"):
        read_samples(tmp_path / "t.jsonl", "test", no_problem, cross_photo=True)


@pytest.mark.skipif(not (SHARED / "data" / "ap10k_sample").is_dir(), reason="needs ../shared/data/ap10k_sample")
def test_the_published_sample_of_ap_10k() -> None:
    samples = read_samples(SHARED / "data" / "ap10k_sample" / "test_ap10k.json", "test", no_problem)
    assert {s.object_category for s in samples} == {"Bovidae", "Felidae"} and len(samples) == 32
    for sample in samples:
        x0, y0, x1, y1 = sample.object_box_xyxy or (0, 0, 0, 0)
        x, y = sample.point_px
        assert x0 - 20 <= x <= x1 + 20 and y0 - 20 <= y <= y1 + 20


def test_the_constant_of_pairs_and_of_a_file(tmp_path: Path) -> None:
    path = write_spair(tmp_path)
    assert mean_training_point(tmp_path, Selection()) is None
    (tmp_path / "PairAnnotation" / "trn").mkdir()
    path.rename(tmp_path / "PairAnnotation" / "trn" / path.name)
    assert mean_training_point(tmp_path, Selection()) == pytest.approx([8.5 / 30, 9.5 / 30])
    assert mean_training_point(tmp_path / "JPEGImages" / "cat" / "a.jpg", Selection()) is None


def write_spair(folder: Path, **changes: object) -> Path:
    pair = {"category": "cat", "src_imname": "a.jpg", "trg_imname": "b.jpg", "kps_ids": ["0", "2"]}
    pair |= {"src_imsize": [40, 20, 3], "trg_imsize": [30, 30, 3], "src_bndbox": [1, 1, 30, 19]}
    pair |= {"trg_bndbox": [2, 2, 22, 12], "src_kps": [[3, 4], [5, 6]], "trg_kps": [[7, 8], [9, 10]], **changes}
    (folder / "PairAnnotation" / "test").mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages" / "cat").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20), "red").save(folder / "JPEGImages" / "cat" / "a.jpg")
    Image.new("RGB", (30, 30), "blue").save(folder / "JPEGImages" / "cat" / "b.jpg")
    path = folder / "PairAnnotation" / "test" / "000001-a-b:cat.json"
    path.write_text(json.dumps(pair))
    return path


def test_spair_71k(tmp_path: Path) -> None:
    path = write_spair(tmp_path)
    one, two = read_samples(tmp_path, "test", no_problem)
    assert (one.point_px, two.point_px) == ((7.5, 8.5), (9.5, 10.5)) and one.size_wh == (30, 30)
    assert one.described is not None and one.described.point_px == (3.5, 4.5)
    assert one.described.open_photo().size == (40, 20) and one.open_photo().size == (30, 30)
    assert one.object_box_xyxy == (2, 2, 22, 12) and one.object_name == "cat"
    with pytest.raises(ValueError, match="has the splits train, val, test"):
        read_samples(tmp_path, "trn", no_problem)
    for bad, word in (
        ({"src_imsize": [4, 4, 3]}, "the pair says"),
        ({"trg_kps": [[99, 1], [1, 1]]}, "outside"),
        ({"trg_kps": [[1, 1]]}, "2 points and 1"),
        ({"src_imname": "gone.jpg"}, "gone.jpg"),
        ({"src_bndbox": None}, "not iterable"),
    ):
        write_spair(tmp_path, **bad)
        problems: list[str] = []
        with pytest.raises(ValueError, match="holds no points"):
            read_samples(tmp_path, "test", problems.append)
        assert problems[0].startswith(str(path)) and word in problems[0]
