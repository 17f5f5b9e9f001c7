from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from talking_points.labels.problems import LabelError
from talking_points.sample_files import read_points

Content = dict[str, Any]


def content_of_two_photos() -> Content:
    return {
        "images": [
            {"id": k, "file_name": f"{name}.png", "width": 30, "height": 20} for k, name in ((1, "a"), (2, "b"))
        ],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "left_eye"]}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [4, 5, 2, 8, 7, 1], "bbox": [1, 2, 10, 10]},
            {"id": 2, "image_id": 2, "category_id": 1, "keypoints": [6, 3, 2, 0, 0, 0], "bbox": [0, 0, 9, 9]},
        ],
    }


def written(folder: Path, edit: Callable[[Content], Any] = lambda c: None, *, orientation: int = 1) -> Path:
    """A file of two photos, `edit`ed; a.png is stored in this orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a", "b"):
        if not (folder / f"{name}.png").exists():
            Image.new("RGB", (30, 20)).save(folder / f"{name}.png", exif=exif if name == "a" else None)
    content = content_of_two_photos()
    edit(content)
    path = folder / "k.json"
    path.write_text(json.dumps(content))
    return path


def read(path: Path) -> tuple[list[tuple[Any, ...]], list[str], list[str]]:
    """Photo, point and part of each point; the problems; the notes."""
    problems: list[str] = []
    notes: list[str] = []
    points = read_points(path, on_problem=problems.append, on_note=notes.append)
    return [(one.photo, one.point_px, one.part_name) for one in points], problems, notes


NOSE, EYE = ("a.png", (4.5, 5.5), "nose"), ("a.png", (8.5, 7.5), "left eye")
OTHER = ("b.png", (6.5, 3.5), "nose")


def all_images(**changes: Any) -> Callable[[Content], Any]:
    return lambda content: [one.update(changes) for one in content["images"]]


def all_annotations(**changes: Any) -> Callable[[Content], Any]:
    return lambda content: [one.update(changes) for one in content["annotations"]]


def as_urls(content: Content) -> None:
    for one in content["images"]:
        one["coco_url"] = f"http://images.org/train/{one.pop('file_name')}"


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: None,
        as_urls,
        lambda c: [one.update(id=str(one["id"])) for one in c["images"]],
        lambda c: [one.update(file_name=f"x\\{one['file_name']}") for one in c["images"]],
        lambda c: [one.update(file_name=f"train2017/{one['file_name']}") for one in c["images"]],
        lambda c: [one.update(file_name=one["file_name"].upper()) for one in c["images"]],
        all_annotations(iscrowd="0"),
        all_annotations(iscrowd="false", ignore=0),
    ],
)
def test_files_of_other_tools_are_read(tmp_path: Path, edit: Callable[[Content], Any]) -> None:
    assert read(written(tmp_path, edit)) == ([NOSE, EYE, OTHER], [], [])


def test_a_photo_lies_where_the_file_says(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    path = written(folder, lambda c: c["images"][0].update(file_name="../elsewhere.png"))
    (folder / "a.png").rename(tmp_path / "elsewhere.png")
    assert [photo for photo, *_ in read(path)[0]] == ["../elsewhere.png"] * 2 + ["b.png"]
    (tmp_path / "images").mkdir()
    (folder / "b.png").rename(tmp_path / "images" / "b.png")
    assert [photo for photo, *_ in read(path)[0]] == ["../elsewhere.png"] * 2 + ["../images/b.png"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda c: c["images"][1].update(id=1), "images a.png and b.png: have one id, 1"),
        (lambda c: c["categories"].append({"id": 1, "name": "dog"}), 'category 1: has two names, "cat" and "dog"'),
        (lambda c: c["categories"][0].pop("name"), "expected a number as id and a name"),
        (lambda c: c["images"][0].pop("file_name"), r'image 1: needs a "file_name" \(or "coco_url"\)'),
        (lambda c: c["images"][0].update(width=-1), "has width -1 and height 20"),
    ],
)
def test_a_file_that_is_unsure_is_refused(tmp_path: Path, edit: Callable[[Content], Any], said: str) -> None:
    with pytest.raises(LabelError, match=f"k.json: .*{said}"):
        read(written(tmp_path, edit))


def first(**changes: Any) -> Callable[[Content], Any]:
    return lambda content: content["annotations"][0].update(changes)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (first(category_id=9), "annotation 1 of a.png: has category 9, which the file lacks; known are 1"),
        (first(image_id=99), "image_id 99: an annotation is of image_id 99, which the file lacks"),
        (first(bbox=["1", "2", "3", "4"]), "annotation 1 of a.png: its bbox is .'1'.*; give x, y, width, height"),
        (first(bbox=[1, 2, 3]), "annotation 1 of a.png: its bbox is"),
        (first(bbox=[1, 2, 3, 10**400]), "annotation 1 of a.png: its bbox is"),
        (first(keypoints=[4, 5, 2]), "annotation 1 of a.png: it has 1 keypoints, its category names 2"),
        (first(keypoints=[10**400, 5, 2, 8, 7, 1]), "annotation 1 of a.png: int too large"),
        (first(keypoints={"nose": [1, 2]}), "annotation 1 of a.png: .*; give x, y and visibility of each"),
    ],
)
def test_an_annotation_that_cannot_be_read_is_one_problem(
    tmp_path: Path, edit: Callable[[Content], Any], said: str
) -> None:
    path = written(tmp_path, edit)
    with pytest.raises(ValueError, match=f"^{path}, line 1: {said}"):
        read_points(path)
    points, problems, _ = read(path)
    assert points == [OTHER] and len(problems) == 1 and "\n" not in problems[0]


def test_names_of_keypoints_that_are_none(tmp_path: Path) -> None:
    _, problems, _ = read(written(tmp_path, lambda c: c["categories"][0].update(keypoints="nose")))
    assert len(problems) == 2 and 'category "cat": its keypoints are no list of names' in problems[0]


def test_what_is_assumed_is_noted(tmp_path: Path) -> None:
    points, _, [note] = read(written(tmp_path, all_images(width=None, height=None)))
    assert points == [NOSE, EYE, OTHER] and "whose width and height the labels do not say" in note
    points, _, [note] = read(written(tmp_path, lambda c: c.pop("categories")))
    assert [part for *_, part in points] == [None] * 3 and "no names of them; no part is told" in note


@pytest.mark.parametrize("flag", ["iscrowd", "ignore"])
def test_regions_of_crowds_have_no_points(tmp_path: Path, flag: str) -> None:
    assert read(written(tmp_path, first(**{flag: 1})))[0] == [OTHER]


@pytest.mark.parametrize(
    ("orientation", "said", "nose"),
    [
        (3, "stored", (25.5, 14.5)),
        (3, "upright", (4.5, 5.5)),
        # The sizes tell.
        (6, None, (14.5, 4.5)),
        (6, "stored", (14.5, 4.5)),
    ],
)
def test_points_are_of_the_frame_that_was_labelled(
    tmp_path: Path, orientation: int, said: str | None, nose: tuple[float, float]
) -> None:
    path = written(tmp_path, lambda c: c.update(labels_frame=said), orientation=orientation)
    points, problems, notes = read(path)
    assert points[0] == ("a.png", nose, "nose") and points[-1] == OTHER and not problems
    assert [note.partition(": ")[2] for note in notes] == (
        [] if said == "upright" else ["labels of a photo's stored pixels, turned upright with it"]
    )


def test_boxes_and_sizes_are_turned_with_the_points(tmp_path: Path) -> None:
    point = read_points(written(tmp_path, orientation=6))[0]
    assert point.size_wh == (20, 30) and point.object_box_xyxy == (8, 1, 18, 11)


def test_a_frame_that_nothing_tells_is_refused_once_a_photo(tmp_path: Path) -> None:
    path = written(tmp_path, orientation=3)
    points, [problem], _ = read(path)
    assert points == [OTHER]
    assert problem.startswith(f"{path}, line 1: {tmp_path / 'a.png'}: the photo has EXIF orientation 3")
    assert problem.endswith(f'write "labels_frame": "stored" or "labels_frame": "upright" into {path}')


def test_a_photo_of_another_size_and_one_that_is_missing(tmp_path: Path) -> None:
    _, problems, _ = read(written(tmp_path, all_images(width=60, height=40)))
    assert len(problems) == 3 and "of a 60x40 photo, the photo is 30x20 upright" in problems[0]
    points, [problem], _ = read(written(tmp_path, lambda c: c["images"][1].update(file_name="gone.png")))
    assert points == [NOSE, EYE] and f"no such photo: {tmp_path / 'gone.png'}" in problem
