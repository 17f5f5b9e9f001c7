from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from talking_points import sample_files
from talking_points.fields import Fields
from talking_points.sample_files import Line, count_samples, read_points, read_samples
from talking_points.samples import PhotoPoint

ONE, TWO = {"photo": "a.jpg", "x": 150, "y": 110, "id": 1}, {"photo": "a.jpg", "x": 170, "y": 300, "id": 2}
LINES = [json.dumps(ONE), json.dumps(TWO)]


def written(tmp_path: Path, content: bytes | str, name: str = "points.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def records(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [line.record for line in read_samples(path, **options)]


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ("\n".join(LINES), [1, 2]),
        ("\r\n".join([*LINES, ""]), [1, 2]),
        (b"\xef\xbb\xbf" + "\n".join(LINES).encode(), [1, 2]),
        ("\n\n" + "\n\n".join(LINES) + "\n   \n", [3, 5]),
    ],
)
def test_lines_whatever_ends_and_begins_them(tmp_path: Path, content: bytes | str, numbers: list[int]) -> None:
    path = written(tmp_path, content)
    assert list(read_samples(path)) == [Line(number=n, record=r) for n, r in zip(numbers, (ONE, TWO), strict=True)]
    assert count_samples(path) == 2


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert records(written(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("\n".join(LINES).encode("utf-16"), "a.jsonl", "a.jsonl is UTF-16; save it as UTF-8"),
        ("\n".join(LINES).encode("utf-16-le"), "a.jsonl", "looks like UTF-16 without a byte order mark"),
        (json.dumps([ONE, TWO]), "a.jsonl", "is a JSON array; expected JSON lines, one object"),
        (json.dumps([ONE, TWO], indent=1), "a.jsonl", "is a JSON array"),
        (json.dumps(ONE, indent=1), "a.jsonl", "is JSON over several lines"),
        (json.dumps([ONE, TWO]), "a.json", "is a JSON array; a .json holds COCO keypoints or Label Studio"),
        ("\n".join(LINES), "a.json", "looks like JSON lines; name it .jsonl"),
        ("{", "a.json", "is not valid JSON"),
        ('{"images": [], "annotations": [], "images": []}', "a.json", '"images" is given twice in an object'),
        ("{}", "a.json", "is no COCO file"),
        (",\n".join([*LINES, ""]), "a.jsonl", "has a comma after the object of its first line"),
        ("\r".join(LINES), "a.jsonl", "ends its lines with CR alone"),
        ("photo,x,y\na.jpg,1,2\n", "a.jsonl", "looks like CSV; name it .csv"),
        ("photo;x;y\na.jpg;1;2\n", "a.csv", "separates its columns with ';'; save it"),
        ("file,x,y\na.jpg,1,2\n", "a.csv", "has the columns file, x, y; expected photo, and x and y or text"),
        ("photo,x,x\n", "a.csv", "two columns of one name"),
        ('photo,x,y,text\na.jpg,1,2,eye\na.jpg,1,2,"the eye\na.jpg,3,4,ear\n', "a.csv", "is no CSV from line 3 on"),
        (
            'photo,x,y,text\na.jpg,1,2,"the "eye""\n',
            "a.csv",
            'line 2 on: .*; a cell in quotes ends with one, and has ""',
        ),
        ("photo,x,y\ncaf\xe9,1,2".encode("latin-1"), "a.csv", "is not UTF-8"),
        ('{"images": [], "annotations": []}', "a.jsonl", "looks like COCO's JSON; name it .json"),
        ('{"images": [], "annotations": []}', "a.json", "has no labelled keypoints"),
        (b"PAR1", "a.jsonl", "is a Parquet file; name it .parquet"),
        (b"\x1f\x8b\x08\x00", "a.jsonl", "is compressed"),
        ("{}", "a.parquet", "is no Parquet file"),
    ],
)
def test_another_kind_of_file_is_said_in_one_line(tmp_path: Path, content: Any, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        records(written(tmp_path, content, name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{not json", "not a JSON line"),
        (b"null", "expected an object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"photo": "caf\xe9.jpg", "x": 1, "y": 2}', "not UTF-8 at byte 15 of the line; save the file as UTF-8"),
        (b'{"photo": "a.jpg", "x": 150, "x": 10, "y": 1}', '"x" is given twice'),
        (b"\0\0\0", "not a JSON line"),
        (b'{"photo": "' + b"a" * 2**20 + b'"}', "longer than a line may be, 1,048,576 bytes"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_problem(tmp_path: Path, line: bytes, problem: str) -> None:
    path = written(tmp_path, LINES[0].encode() + b"\n" + line + b"\n" + LINES[1].encode())
    first, bad, last = read_samples(path)
    assert (first.record, last.record, bad.record, bad.number) == (ONE, TWO, {}, 2)
    assert bad.problem is not None and problem in bad.problem and "\n" not in bad.problem


def test_nan_is_null_and_told_once(tmp_path: Path) -> None:
    path = written(tmp_path, '{"photo": "a.jpg", "x": NaN, "y": [1e999]}\n{"photo": "b.jpg", "x": NaN}\n')
    notes: list[str] = []
    assert records(path, on_note=notes.append) == [
        {"photo": "a.jpg", "x": None, "y": [None]},
        {"photo": "b.jpg", "x": None},
    ]
    assert notes == [f"{path}: {name} is no number of JSON and is read as null" for name in ("NaN", "1e999")]


def test_the_old_forms_are_read_with_one_note_each(tmp_path: Path) -> None:
    old = {"photo_path": "a.jpg", "point_px": [1.5, 2], "size_wh": [30, 20], "source": "own"}
    path = written(tmp_path, "".join(json.dumps({**old, "description": text}) + "\n" for text in ("a", "b")))
    notes: list[str] = []
    first, _ = records(path, wants_text=True, on_note=notes.append)
    new = {"photo": "a.jpg", "x": 1.5, "y": 2, "size_wh": [30, 20], "source": "own", "description": "a"}
    assert first == {**new, "text": "a"}
    assert len(notes) == 2 and "photo_path" in notes[0] and '"description" is read as the "text"' in notes[1]
    assert "text" not in records(path)[0]


def test_csv(tmp_path: Path) -> None:
    rows = ["\ufeffphoto, x,y,text,id", 'a.jpg,1.5,2,"a, b",7', "", "b.jpg,,nan,,", "c.jpg,1", ""]
    path = written(tmp_path, "\r\n".join(rows), "a.csv")
    one, two, three = read_samples(path)
    assert one == Line(number=2, record={"photo": "a.jpg", "x": 1.5, "y": 2.0, "text": "a, b", "id": "7"})
    assert two == Line(number=4, record={"photo": "b.jpg", "x": None, "y": None, "text": None, "id": None})
    assert three.problem == "2 cells, the header has 5"
    assert count_samples(path) == 3


def test_parquet_of_columns_and_of_a_built_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_files, "ROWS_AT_ONCE", 1)
    path = tmp_path / "a.parquet"
    columns = {"photo": ["a.jpg", "b.jpg"], "x": [1, 2], "y": [0.5, float("nan")], "raw": [b"1", b"2"]}
    pq.write_table(pa.table(columns), path)
    assert records(path) == [{"photo": "a.jpg", "x": 1, "y": 0.5}, {"photo": "b.jpg", "x": 2, "y": None}]
    built = {"photo": {"bytes": b"jpeg", "path": "c.jpg"}, "photo_width": 30, "photo_height": 20}
    pq.write_table(pa.Table.from_pylist([{**built, "point_px": [1.5, 2.5], "text": "a"}]), path)
    notes: list[str] = []
    [line] = read_samples(path, wants_text=True, on_note=notes.append)
    assert line.photo_bytes == b"jpeg" and notes == []
    assert line.record == {
        "x": 1.5, "y": 2.5, "photo": "c.jpg", "photo_width": 30, "photo_height": 20, "text": "a", "size_wh": [30, 20]
    }  # fmt: skip


def test_coco_keypoints_are_lines_of_their_own(tmp_path: Path) -> None:
    names = ["nose", "left_eye", "right_eye"]
    content: dict[str, Any] = {
        "images": [{"id": 3, "file_name": "a.jpg", "width": 30, "height": 20}],
        "categories": [{"id": 1, "name": "antelope", "supercategory": "Bovidae", "keypoints": names}],
        "annotations": [
            {"id": 7, "image_id": 3, "category_id": 1, "keypoints": [4, 5, 2, 0, 0, 0, 30, 7, 1], "bbox": [1, 2, 3, 4]},
            {"id": 8, "image_id": 3, "category_id": 1, "bbox": [1, 1, 2, 2]},
            {"id": 9, "image_id": 3, "category_id": 1, "keypoints": [4, 5, 2], "iscrowd": 1},
            {"id": 10, "image_id": 3, "category_id": 1, "keypoints": [4, 5]},
        ],
    }
    (tmp_path / "data").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "data" / "a.jpg")
    (tmp_path / "annotations").mkdir()
    path = written(tmp_path / "annotations", json.dumps(content), "a.json")
    thing = {"photo": "../data/a.jpg", "annotation_id": 7, "object_name": "antelope", "object_category": "Bovidae"}
    thing |= {"size_wh": [30, 20], "object_box_xyxy": [1, 2, 4, 6]}
    eye = {"keypoint": "right_eye", "part_name": "right eye", "hidden": True}
    assert list(read_samples(path)) == [
        Line(number=1, record={**thing, "x": 4.5, "y": 5.5, "keypoint": "nose", "part_name": "nose", "hidden": False}),
        # At the width, where no pixel is: the last one is meant.
        Line(number=2, record={**thing, "x": 29.5, "y": 7.5, **eye}),
        Line(
            number=3,
            record={},
            problem="annotation 10 of a.jpg: expected COCO keypoints as one list [x, y, v] * k, got shape (2,); "
            "give x, y and visibility of each, zeros for those not labelled",
        ),
    ]
    problems: list[str] = []
    _, point = read_points(path, on_problem=problems.append)
    assert len(problems) == 1
    assert (point.object_name, point.object_category, point.part_name) == ("antelope", "Bovidae", "right eye")
    assert point.photo == "../data/a.jpg" and point.hidden
    assert point.size_wh == (30, 20) and point.object_box_xyxy == (1, 2, 4, 6)


def test_points_to_train_or_score_on(tmp_path: Path) -> None:
    """The photo's upright size, and what is known of the thing."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    one = {"photo": "a.jpg", "x": 10, "y": 29.5, "text": "a hood", "source": "own", "object_name": "car", "id": 1}
    others = [
        ({"object_box_xyxy": [1, 2, 3]}, '"object_box_xyxy" must be [x0, y0, x1, y1] in pixels, got [1, 2, 3]'),
        ({"part_box_xyxy": [3, 2, 1, 4]}, '"part_box_xyxy" is empty'),
        ({"part_name": 7}, '"part_name" must be a text, got 7'),
        ({"text": " "}, "\"text\" must be a text, got ' '"),
        ({"text": "..."}, "\"text\" must be a text, got '...'"),
        ({"x": 25}, "point [25.0, 29.5] is outside the 20x30 photo"),
        ({"size_wh": [30, 20]}, "the point is of a 30x20 photo, the photo is 20x30 upright"),
        ({"photo": "b.jpg"}, "no such photo"),
        ({"y": None}, '"y" must be a number of pixels'),
    ]
    path = written(tmp_path, "\n".join(json.dumps(one | change) for change, _ in [({}, ""), *others]))
    problems: list[str] = []
    expected = PhotoPoint(photo="a.jpg", size_wh=(20, 30), point_px=(10, 29.5), text="a hood", source="own", line=1)
    assert read_points(path, on_problem=problems.append) == [replace(expected, object_name="car")]
    assert len(problems) == len(others)
    for number, (problem, (_, said)) in enumerate(zip(problems, others, strict=True), start=2):
        assert problem.startswith(f"{path}, line {number}: ") and said in problem
    with pytest.raises(ValueError, match="points.jsonl, line 2: "):
        read_points(path)


def points_file(tmp_path: Path, points: list[tuple[float, float]], kind: str) -> Path:
    lines = [json.dumps({"photo": "a.jpg", "x": x, "y": y}) for x, y in points]
    if kind == "csv":
        lines = ["photo,x,y", *(f"a.jpg,{x},{y}" for x, y in points)]
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    return written(tmp_path, "\n".join(lines), f"points.{kind}")


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("points", [[(0.4, 0.3), (0.5, 1.0)], [(0, 1), (0.4, 1.0001)], [(0.4, 0.3)] * 150])
def test_a_file_of_normalised_points_is_refused(tmp_path: Path, points: list[tuple[float, float]], kind: str) -> None:
    path = points_file(tmp_path, points, kind)
    with pytest.raises(
        ValueError, match=r"the points look normalised, the first is \[.*; expected pixels: multip"
    ) as told:
        records(path)
    assert str(told.value).startswith(f"{path}: ") and "\n" not in str(told.value)
    with pytest.raises(ValueError, match="look normalised"):
        read_points(path)
    # What it advises.
    fields = Fields.parse("scale=1")
    assert next(read_samples(path, fields=fields)).record["x"] == pytest.approx(50 * points[0][0])


def test_an_annotation_of_normalised_keypoints_is_a_problem(tmp_path: Path) -> None:
    photo = {"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}
    labelled = [
        {"id": 1, "image_id": 1, "category_id": 3, "keypoints": [0.3, 0.4, 2, 0, 0, 0, 0.5, 1, 1]},
        {"id": 2, "image_id": 1, "category_id": 3, "keypoints": [0, 0, 2, 0.5, 12, 2]},
    ]
    coco = {"images": [photo], "annotations": labelled, "categories": [{"id": 3, "name": "cat"}]}
    path = written(tmp_path, json.dumps(coco), "points.json")
    bad, *good = read_samples(path)
    assert bad.problem is not None and len(good) == 2
    said = "annotation 1 of a.jpg: the keypoints look normalised, the first is [0.3, 0.4]; COCO's are"
    assert bad.problem.startswith(said)


def test_points_that_are_pixels_are_left_alone(tmp_path: Path) -> None:
    for points in ([(0.4, 0.3), (0.5, 0.5), (3, 0.2)], [(0, 0), (1, 1)], [(12, 30)] * 150):
        notes: list[str] = []
        path = points_file(tmp_path, points, "jsonl")
        assert [(one["x"], one["y"]) for one in records(path, on_note=notes.append)] == points and notes == []
    path = points_file(tmp_path, [(0.4, 0.3)], "jsonl")
    assert len(records(path, on_note=notes.append)) == 1
    assert notes == [f"{path}: points are in pixels; these are within the photo's top left one"]
    # Beside a text that is asked about they say nothing.
    asked = [{"photo": "a.jpg", "x": 0.4, "y": 0.3, "text": "the eye"}] * 2
    assert records(written(tmp_path, "\n".join(map(json.dumps, asked))), wants_text=True) == asked


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        records(tmp_path / "a.jsonl")


def test_csv_says_what_is_hidden_and_where_boxes_are(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    head = "photo,x,y,hidden,object_box_xyxy\n"
    lines = 'a.png,1,2,True,"[0, 0, 9, 9]"\na.png,1,2,,NaN\na.png,1,2,false,\na.png,1,2,perhaps,\n'
    problems: list[str] = []
    points = read_points(written(tmp_path, head + lines, "points.csv"), on_problem=problems.append)
    assert [(one.hidden, one.object_box_xyxy) for one in points] == [(True, (0, 0, 9, 9)), (False, None), (False, None)]
    assert len(problems) == 1 and "\"hidden\" must be true or false, got 'perhaps'" in problems[0]
