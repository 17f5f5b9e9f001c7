from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from talking_points.model.network import PointNetwork
from talking_points.pointing import files
from talking_points.pointing.files import BulkReport, run_bulk
from talking_points.pointing.pretrained import load_roles
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.sample_files import Line
from tests.tiny import tiny_network

pytestmark = pytest.mark.usefixtures("short_texts")


@pytest.fixture(scope="module")
def network() -> PointNetwork:
    return tiny_network()


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """Lines of three photos, mixed, with bad ones and a blank one among them."""
    for number, size in enumerate([(70, 40), (30, 50), (40, 40)]):
        Image.effect_noise(size, 60 + number).convert("RGB").save(tmp_path / f"{number}.png")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    lines = [
        json.dumps({"photo": "0.png", "x": 3.5, "y": 4, "id": "first"}),
        json.dumps({"photo": "1.png", "x": 3, "y": 4}),
        "{not json",
        "",
        json.dumps({"photo": "0.png", "x": 60, "y": 30}),
        json.dumps({"photo": "missing.png", "x": 1, "y": 1}),
        json.dumps({"photo": "torn.jpg", "x": 1, "y": 1}),
        json.dumps({"photo": "2.png", "x": 41, "y": 1}),
        json.dumps({"photo": "2.png", "x": True, "y": 1}),
        json.dumps(["photo"]),
        json.dumps({"photo": "2.png", "x": 20, "y": 21, "description": "is said anew"}),
    ]
    file = tmp_path / "points.jsonl"
    file.write_text("\n".join(lines))
    return file


def loader(network: PointNetwork) -> Callable[[], TalkingPoints]:
    return lambda: TalkingPoints.over(network)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_line_is_answered_in_its_place(network: PointNetwork, points: Path) -> None:
    out = points.with_name("out.jsonl")
    report = run_bulk("round-trip", loader(network), points, out, model="tiny")
    assert report == BulkReport(done_before=0, answered=4, bad=6)
    answers = rows(out)
    assert [("problem" in one) for one in answers] == [False, False, True, False, *[True] * 5, False]
    for n, word in [(2, "JSON"), (4, "missing.png"), (5, "torn.jpg"), (6, "outside"), (7, '"x"'), (8, "list")]:
        assert word in answers[n]["problem"]
    assert answers[0]["id"] == "first" and answers[0]["model"] == "tiny"
    assert [one["line"] for one in answers] == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert all({"found_x", "found_y", "there", "line", "model"} <= set(one) for one in answers)
    assert answers[2] == {
        "line": 3,
        "model": "tiny",
        **dict.fromkeys(("found_x", "found_y", "there")),
        "problem": answers[2]["problem"],
    }
    tp = TalkingPoints.over(network)
    for answer in (answers[0], answers[1], answers[3], answers[9]):
        [trip] = tp.round_trip(points.parent / answer["photo"], [(answer["x"], answer["y"])])
        assert answer["description"] == trip.description
        if trip.found_px is not None:
            assert (answer["found_x"], answer["found_y"]) == pytest.approx(trip.found_px, abs=1e-3)
            assert answer["error"] == pytest.approx(trip.error, abs=1e-4)


def test_what_describe_wrote_is_what_localize_reads(network: PointNetwork, points: Path) -> None:
    described, found = points.with_name("described.jsonl"), points.with_name("found.jsonl")
    run_bulk("describe", loader(network), points, described, model="tiny")
    notes: list[str] = []
    report = run_bulk("localize", loader(network), described, found, model="tiny", on_note=notes.append)
    assert report.answered == sum(bool(one.get("description")) for one in rows(described))
    for before, after in zip(rows(described), rows(found), strict=True):
        assert after.get("description") == before.get("description") == after.get("text")
        assert (after["found_x"] is not None) == bool(before.get("description"))
    assert len(notes) == 1 and '"description" is read as the "text"' in notes[0]


def test_killed_anywhere_it_goes_on_and_ends_the_same(
    network: PointNetwork, points: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves a beginning of the answers: any beginning, to the byte."""
    monkeypatch.setattr(files, "LINES_AT_ONCE", 2)
    out = points.with_name("out.jsonl")
    run_bulk("describe", loader(network), points, out, model="tiny")
    whole = out.read_bytes()
    for cut in [0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole)]:
        out.write_bytes(whole[:cut])
        report = run_bulk("describe", loader(network), points, out, model="tiny")
        assert report.done_before == whole[:cut].count(b"\n")
        assert report.done_before + report.answered + report.bad == 10
        assert report.bad_before + report.bad == 6 and report.exit_status == 1
        assert out.read_bytes() == whole


def test_answers_to_something_else_are_not_continued(network: PointNetwork, points: Path) -> None:
    out = points.with_name("out.jsonl")
    run_bulk("describe", loader(network), points, out, model="tiny")
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:2]))
    for change in (
        lambda: run_bulk("describe", loader(network), points, out, model="other"),
        lambda: run_bulk("localize", loader(network), points, out, model="tiny"),
    ):
        with pytest.raises(ValueError, match="choose another --out"):
            change()
    points.write_text(json.dumps({"photo": "0.png", "x": 1, "y": 1}) + "\n")
    with pytest.raises(ValueError, match="choose another --out"):
        run_bulk("describe", loader(network), points, out, model="tiny")
    assert out.read_text() == "".join(lines[:2])
    for foreign in (b"my notes, without an end of line", b'{"model": "other"', b"my notes\n", b'{"a": 1}\nrest'):
        out.write_bytes(foreign)
        with pytest.raises(ValueError, match="choose another --out"):
            run_bulk("describe", loader(network), points, out, model="tiny")
        assert out.read_bytes() == foreign
    with pytest.raises(ValueError, match="the input itself"):
        run_bulk("describe", loader(network), points, points, model="tiny")


def test_a_line_that_was_changed_is_not_passed_over(network: PointNetwork, points: Path) -> None:
    out = points.with_name("out.jsonl")
    run_bulk("describe", loader(network), points, out, model="tiny")
    asked, answers = points.read_text(), out.read_bytes()
    for changed, line in (('"x": 3.5', 1), ('"x": 60', 4)):
        points.write_text(asked.replace(changed, '"x": 5'))
        with pytest.raises(ValueError, match=f"its input has changed: line {line} is no answer to .*another --out"):
            run_bulk("describe", loader(network), points, out, model="tiny")
        assert out.read_bytes() == answers
    # More lines at the end are answered as before.
    points.write_text(asked + '\n{"photo": "0.png", "x": 1, "y": 1}\n')
    assert run_bulk("describe", loader(network), points, out, model="tiny").done_before == 10


def test_strict_stops_at_the_line_and_keeps_those_before(network: PointNetwork, points: Path) -> None:
    out = points.with_name("out.jsonl")
    with pytest.raises(ValueError, match=r"points\.jsonl, line 3: not a JSON line"):
        run_bulk("describe", loader(network), points, out, model="tiny", strict=True)
    assert len(rows(out)) == 2


def test_lines_are_read_as_they_are_needed(
    network: PointNetwork, points: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the file, no more than two windows are in memory."""
    monkeypatch.setattr(files, "LINES_AT_ONCE", 3)
    read = 0

    def endless(*_: object, **__: object) -> Iterator[Line]:
        nonlocal read
        for read in itertools.count(1):
            yield Line(number=read, record={"photo": "0.png", "x": read % 70, "y": 3, "text": "a hood"})

    class Enough(Exception):
        pass

    def stop(done: int) -> None:
        assert read - done <= 2 * 3
        if done >= 9:
            raise Enough

    monkeypatch.setattr(files, "read_samples", endless)
    with pytest.raises(Enough):
        run_bulk("localize", loader(network), points, points.with_name("o"), model="tiny", on_progress=stop)


def test_the_exit_status_says_how_many_failed() -> None:
    assert BulkReport(done_before=0, answered=0, bad=0).exit_status == 0
    assert BulkReport(done_before=2, answered=0, bad=0).exit_status == 0
    assert BulkReport(done_before=2, answered=0, bad=1).exit_status == 1
    assert BulkReport(done_before=2, answered=0, bad=1, bad_before=2).exit_status == 2


def test_tables_are_inputs_too(network: PointNetwork, points: Path) -> None:
    """A CSV, a Parquet file with the photo in it, and COCO keypoints of another size than the photo."""
    folder = points.parent
    asked = [("0.png", 3.5, 4.0), ("1.png", 3.0, 4.0)]
    said = TalkingPoints.over(network).describe_many([(folder / name, (x, y)) for name, x, y in asked])
    (folder / "a.csv").write_text("photo,x,y\n" + "".join(f"{name},{x},{y}\n" for name, x, y in asked))
    built = [
        {"photo": {"bytes": (folder / name).read_bytes(), "path": "elsewhere.png"}, "point_px": [x, y]}
        for name, x, y in asked
    ]
    pq.write_table(pa.Table.from_pylist(built), folder / "a.parquet")
    images = [{"id": 0, "file_name": "0.png", "width": 70, "height": 40}]
    images += [{"id": 1, "file_name": "1.png", "width": 50, "height": 30}]
    points_of = [{"image_id": n, "keypoints": [x - 0.5, y - 0.5, 2]} for n, (_, x, y) in enumerate(asked)]
    labelled = {"images": images, "annotations": [{**one, "category_id": 1} for one in points_of]}
    (folder / "a.json").write_text(json.dumps(labelled))
    for ending in ("csv", "parquet", "json"):
        out = folder / f"{ending}.jsonl"
        report = run_bulk("describe", loader(network), folder / f"a.{ending}", out, model="tiny")
        first, second = rows(out)
        assert first["description"] == said[0] and first["x"] == 3.5
        if ending == "json":
            assert second["problem"] == "the point is of a 50x30 photo, the photo is 30x50 upright"
        else:
            assert second["description"] == said[1] and report.exit_status == 0


def test_output_is_json_whatever_is_carried_along(network: PointNetwork, points: Path) -> None:
    lines = ['{"photo": "0.png", "x": NaN, "y": 3}', '{"photo": "0.png", "x": 1, "y": 3, "score": -Infinity}']
    points.write_text("\n".join(lines))
    out = points.with_name("out.jsonl")
    assert run_bulk("describe", loader(network), points, out, model="tiny").bad == 1
    bad, good = (json.loads(line, parse_constant=pytest.fail) for line in out.read_text().splitlines())
    assert bad["x"] is None and bad["problem"] == '"x" must be a number of pixels, got None'
    assert good["score"] is None and good["description"] is not None


def test_ray_gives_the_same_answers(network: PointNetwork, points: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.undo()  # actors write texts as long as ever
    monkeypatch.setattr(files, "LINES_AT_ONCE", 2)
    TalkingPoints.over(network).save_pretrained(tmp_path / "tiny")
    load = partial(load_roles, tmp_path / "tiny", device="cpu")
    outs = [tmp_path / "local.jsonl", tmp_path / "ray.jsonl"]
    run_bulk("describe", load, points, outs[0], model="tiny")
    run_bulk("describe", load, points, outs[1], model="tiny", engine="ray", workers=2)
    assert outs[0].read_text() == outs[1].read_text()
