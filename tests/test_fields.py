"""Files whose records call photo, point and text something else, through every command that reads files of points."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from talking_points.cli import main
from talking_points.fields import Fields
from talking_points.model.checkpoint import save_checkpoint
from talking_points.sample_files import count_samples, read_points, read_samples
from tests.tiny import TEXTS, tiny_network

Run = Callable[..., tuple[int, str, str]]
SAID = "image=img,point=kp,text=caption"
SIZE = (64, 48)
POINTS = [(20.5, 30.0), (40.0, 10.0), (3.0, 3.5), (60.0, 40.0)]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exited:
            main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return int(exited.value.code or 0), out, err

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        Image.radial_gradient("L").convert("RGB").resize(SIZE).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def triplets(form: Callable[[float, float], Any] = lambda x, y: [x, y]) -> list[dict[str, Any]]:
    return [
        {"id": n, "img": f"photos/{n % 2}.png", "kp": form(*point), "caption": TEXTS[n % 2], "photo": "not this"}
        for n, point in enumerate(POINTS)
    ]


def written(path: Path, records: list[dict[str, Any]]) -> Path:
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, records)) if lines else json.dumps(records, indent=1))
    return path


def ours(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"photo": one["img"], "x": x, "y": y, "text": one["caption"], "id": one["id"]}
        for one, (x, y) in zip(records, POINTS, strict=True)
    ]


@pytest.mark.parametrize(
    ("said", "parsed"),
    [
        (SAID, Fields(image="img", point=("kp",), text="caption")),
        ("image=a, x=b, y=c", Fields(image="a", point=("b", "c"))),
        ("text=t,image=a", Fields(image="a", text="t")),
        ("image=a,point=b,scale=1", Fields(image="a", point=("b",), scale="1")),
    ],
)
def test_what_can_be_said(said: str, parsed: Fields) -> None:
    assert Fields.parse(said) == parsed


@pytest.mark.parametrize(
    "said",
    ["", "img", "point=kp", "image=", "image=a,point=b,x=c", "image=a,x=b", "image=a,y=b", "image=a,colour=b"]
    + ["image=a,image=b", "image=a,point=b,scale=2", "image=a,point=b,x=c,y=d"],
)
def test_what_cannot(said: str) -> None:
    with pytest.raises(ValueError, match="--fields is .*; expected image=NAME,point=NAME,text=NAME"):
        Fields.parse(said)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "list.jsonl"])
@pytest.mark.parametrize("form", [lambda x, y: [x, y], lambda x, y: {"x": x, "y": y}], ids=["list", "object"])
def test_lists_and_lines_of_both_forms_of_points(photos: Path, name: str, form: Callable[..., Any]) -> None:
    path = written(photos / name, triplets(form))
    if name == "list.jsonl":
        path.write_text(json.dumps(triplets(form)))
    notes: list[str] = []
    fields = Fields.parse(SAID)
    assert [line.record for line in read_samples(path, fields=fields, on_note=notes.append)] == ours(triplets())
    assert notes == [
        f'{path}: "img" as the photo, "kp" as the point, "caption" as the text is read; other fields: id, photo'
    ]
    assert count_samples(path, fields=fields) == 4
    points = read_points(path, fields=fields)
    assert [(one.point_px, one.text) for one in points] == [(p, TEXTS[n % 2]) for n, p in enumerate(POINTS)]


def test_two_fields_and_tables(photos: Path) -> None:
    records = [
        {"id": str(one["id"]), "img": one["img"], "caption": one["caption"], "col": x, "row": y}
        for one, (x, y) in zip(triplets(), POINTS, strict=True)
    ]
    fields = Fields.parse("image=img,x=col,y=row,text=caption")
    wanted = [{**one, "id": str(one["id"])} for one in ours(triplets())]
    table = pa.Table.from_pylist(records)
    pq.write_table(table, photos / "a.parquet")
    rows = ["id,img,caption,col,row"] + [
        f'{r["id"]},{r["img"]},"{r["caption"]}",{r["col"]},{r["row"]}' for r in records
    ]
    (photos / "a.csv").write_text("\n".join(rows))
    for path in (written(photos / "a.json", records), photos / "a.parquet", photos / "a.csv"):
        assert [line.record for line in read_samples(path, fields=fields)] == wanted
        assert count_samples(path, fields=fields) == 4
    (photos / "b.csv").write_text('img,kp\nphotos/0.png,"[3, 4.5]"\n')
    [line] = read_samples(photos / "b.csv", fields=Fields.parse("image=img,point=kp"))
    assert line.record == {"photo": "photos/0.png", "x": 3, "y": 4.5}


def test_normalised_points_are_refused_unless_they_are_said_to_be(photos: Path) -> None:
    path = written(photos / "a.json", triplets(lambda x, y: [x / SIZE[0], y / SIZE[1]]))
    with pytest.raises(
        ValueError, match=r"a\.json, line 1: the point \[0\.3203125, 0\.625\] looks normalised; add scale=1"
    ):
        next(read_samples(path, fields=Fields.parse(SAID)))
    scaled = [one.point_px for one in read_points(path, fields=Fields.parse(f"{SAID},scale=1"))]
    assert [pytest.approx(point) for point in scaled] == POINTS
    thousand = written(photos / "b.json", triplets(lambda x, y: [1000 * x / SIZE[0], 1000 * y / SIZE[1]]))
    scaled = [one.point_px for one in read_points(thousand, fields=Fields.parse(f"{SAID},scale=1000"))]
    assert [pytest.approx(point) for point in scaled] == POINTS
    corner = written(photos / "c.json", [{"img": "photos/0.png", "kp": [0.5, 0.5]}])
    [point] = read_points(corner, fields=Fields.parse("image=img,point=kp,scale=pixels"))
    assert point.point_px == (0.5, 0.5)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": "a.png", "point": [1, 2]}, 'line 1: no field "img" .--fields.; there are image, point'),
        ({"img": "photos/0.png", "point": [1, 2]}, 'line 1: no field "kp" .--fields.; there are img, point'),
        ({"img": "photos/0.png", "kp": [0.2, 0.3]}, "looks normalised"),
        ({"img": "photos/0.png", "kp": [0.4, 1.0001]}, r"the point \[0.4, 1.0001\] looks normalised; add scale=1"),
    ],
)
def test_a_file_of_other_fields_is_an_error_at_its_first_record(photos: Path, record: Any, message: str) -> None:
    for name in ("a.json", "a.jsonl"):
        with pytest.raises(ValueError, match=message) as error:
            next(read_samples(written(photos / name, [record]), fields=Fields.parse(SAID)))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_a_text_of_a_name_that_no_record_has_is_an_error(photos: Path, run: Run, name: str) -> None:
    fields = Fields.parse("image=img,x=x,y=y,text=captionn")
    records = [{"img": one["img"], "x": 9.5, "y": 8.5, "caption": one["caption"]} for one in triplets()]
    path = photos / name
    if path.suffix == ".csv":
        path.write_text("img,x,y,caption\n" + "".join(f"{one['img']},9.5,8.5,a shoe\n" for one in records))
    else:
        written(path, records)
    said = 'no field "captionn" (--fields); there are img, x, y, caption'
    with pytest.raises(ValueError, match=re.escape(said)):
        next(read_samples(path, fields=fields))
    given = ("--data", path, "--fields", "image=img,x=x,y=y,text=captionn", "--base", "mini", "--out", photos / "o")
    status, _, err = run("train", "localizer", *given, "--dry-run")
    assert status == 2 and said in err


def test_a_text_may_be_missing_from_the_first_records_and_under_our_name_from_all(photos: Path) -> None:
    records = [{"img": one["img"], "kp": one["kp"]} for one in triplets()]
    late = written(photos / "a.json", [*records, triplets()[0]])
    assert [line.record.get("text") for line in read_samples(late, fields=Fields.parse(SAID))] == [
        *[None] * 4,
        TEXTS[0],
    ]
    plain = written(photos / "b.jsonl", [{"photo": one["img"], "x": 0.5, "y": 0.5} for one in records])
    assert len(list(read_samples(plain, fields=Fields.parse("scale=1")))) == 4


def test_later_records_that_are_wrong_are_problems(photos: Path) -> None:
    bad = [{"img": 3}, {"img": "photos/0.png", "kp": "here"}, {"img": "photos/0.png", "kp": [1, 2, 3]}, 7]
    bad += [{"img": "photos/0.png", "kp": [True, 2]}, {"img": "photos/0.png", "kp": {"x": 1}}]
    bad += [{"img": "photos/0.png", "kp": [10**400, 2]}]
    path = written(photos / "a.json", triplets() + bad)  # type: ignore[operator]
    lines = list(read_samples(path, fields=Fields.parse(SAID)))
    assert [line.problem is None for line in lines] == [True] * 4 + [False] * 7
    assert 'no field "kp"' in (lines[4].problem or "") and "expected an object" in (lines[7].problem or "")
    assert all('"kp" must be [x, y] or {"x": x, "y": y}, got' in (lines[n].problem or "") for n in (5, 6, 8, 9, 10))
    missing = written(photos / "b.json", [{"img": "none.png", "kp": [0.5, 0.5]}])
    [line] = read_samples(missing, fields=Fields.parse("image=img,point=kp,scale=1"))
    assert "none.png" in (line.problem or "")


def test_coco_keypoints_have_names_of_their_own(photos: Path) -> None:
    (photos / "a.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(ValueError, match="looks like COCO's JSON, which is read without --fields"):
        next(read_samples(photos / "a.json", fields=Fields.parse(SAID)))


@pytest.mark.parametrize("content", ["{", "[1, 2", '[{"img": "a", "img": "b"}]', "[" * 100_000, b"[\xe9]"])
def test_broken_json_is_one_line(photos: Path, content: str | bytes) -> None:
    (photos / "a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    lines = iter(read_samples(photos / "a.json", fields=Fields.parse(SAID)))
    try:
        said = next(lines).problem or ""
    except ValueError as error:
        said = str(error)
    assert said and "\n" not in said


def test_asked_and_answered(photos: Path, run: Run) -> None:
    """--input: the answers are those to the same points under our names."""
    save_checkpoint(tiny_network(), photos / "model")
    path, plain = written(photos / "a.json", triplets()), written(photos / "a.jsonl", ours(triplets()))
    asked = ("localize", "--model", photos / "model")
    status, out, err = run(*asked, "--input", path, "--fields", SAID, "--out", photos / "a.out")
    assert (status, out) == (0, "") and '"kp" as the point' in err and "4 lines answered" in err
    assert run(*asked, "--input", plain, "--out", photos / "b.out")[0] == 0
    assert (photos / "a.out").read_text() == (photos / "b.out").read_text()
    assert (
        "0 lines answered, 4 were done before"
        in run(*asked, "--input", path, "--fields", SAID, "--out", photos / "a.out")[2]
    )
    status, _, err = run(*asked, "--input", path, "--fields", "image=file", "--out", photos / "c.out")
    assert status == 2 and 'no field "file" (--fields); there are id, img, kp, caption, photo' in err
    assert "or say with --fields" in run(*asked, "--input", path, "--out", photos / "c.out")[2]
    status, _, err = run("localize", photos / "photos/0.png", "the ear", "--fields", SAID)
    assert (status, err) == (
        2,
        "error: --fields, --out, --strict, --engine and --workers are for --input, and there is none\n",
    )


def test_trained_and_scored(photos: Path, run: Run) -> None:
    """train and evaluate: the same set as under our names."""
    save_checkpoint(tiny_network(), photos / "model")
    save_checkpoint(tiny_network(roles=()), photos / "base")
    path, plain = written(photos / "a.json", triplets()), written(photos / "a.jsonl", ours(triplets()))
    for role in ("descriptor", "localizer"):
        small = ("--base", photos / "base", "--out", photos / role, "--steps", 1, "--photos", 2, "--lora-rank", 2)
        plans = []
        for data in ((path, "--fields", SAID), (plain,)):
            status, out, _ = run("train", role, *small, "--dry-run", "--data", *data)
            assert status == 0
            plans.append(json.loads(out))
        assert plans[0] == plans[1]
        status, _, err = run("train", role, *small, "--dry-run", "--data", path, "--fields", "image=img,point=point")
        assert status == 2 and 'line 1: no field "point" (--fields); there are id, img, kp' in err
    assert run("train", "localizer", *small, "--data", path, "--fields", SAID)[0] == 0
    scores = []
    for data in ((path, "--fields", SAID), (plain,)):
        out = photos / f"scores-{len(scores)}"
        options = ("--model", photos / "model", "--describer", "ground-truth", "--out", out, "--json")
        status, said, _ = run("evaluate", "--data", *data, *options)
        assert status == 0
        scores.append([row["mpck"] for row in json.loads(said)["rows"]])
    assert scores[0] == scores[1] and len(scores[0]) > 1
    (photos / "set").mkdir()
    for options in (("--data", photos / "set"), ("--source", "label-map=x")):
        status, _, err = run("evaluate", *options, "--fields", SAID, "--out", photos / "no")
        assert status == 2 and "--fields is said of the records of" in err
