import csv
import math

import pytest
from PIL import Image

from talking_points.dataset.audit import AuditResult, read_audit, write_audit
from tests.dataset.records import NAMED, a_record, photo_bytes


def rows_of(folder):
    with (folder / "audit/answers.csv").open(newline="") as file:
        return list(csv.reader(file))


def answer(folder, rows):
    with (folder / "audit/answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_share_of_the_test_split_is_asked_and_answers_come_back(tmp_path):
    records = [a_record(number, split="test" if number % 2 else "train") for number in range(80)]
    records += [a_record(999, split="test", **NAMED)]
    assert write_audit(tmp_path, records, photo_bytes, share=0.1, seed=0) == 4
    rows = rows_of(tmp_path)
    assert rows[0] == ["record_id", "found"] and [row[1] for row in rows[1:]] == [""] * 4
    asked = {record.record_id: record for record in records}
    assert all(asked[row[0]].split == "test" and asked[row[0]].text for row in rows[1:])
    page = (tmp_path / "audit/index.html").read_text()
    for number, (record_id, _) in enumerate(rows[1:]):
        assert asked[record_id].text in page
        with Image.open(tmp_path / f"audit/photos/{number:05d}.jpg") as photo:
            assert photo.size == (60, 120)
    assert read_audit(tmp_path) == AuditResult(asked=4, answered=0, found=0)
    answer(tmp_path, [rows[0], [rows[1][0], "yes"], [rows[2][0], "No "], [rows[3][0], "yes"], rows[4]])
    result = read_audit(tmp_path)
    assert result == AuditResult(asked=4, answered=3, found=2)
    assert result.share == pytest.approx(2 / 3)
    # Answers are never overwritten.
    assert write_audit(tmp_path, records, photo_bytes, share=0.5, seed=1) == 4
    assert read_audit(tmp_path) == result


def test_texts_cannot_break_out_of_the_page(tmp_path):
    write_audit(tmp_path, [a_record(0, text='<script>alert("x")</script> & more')], photo_bytes, share=1, seed=0)
    page = (tmp_path / "audit/index.html").read_text()
    assert "&lt;script&gt;alert" in page and '<script>alert("x")' not in page


def test_the_point_is_where_it_is_in_the_photo(tmp_path):
    write_audit(tmp_path, [a_record(0, point_px=(15.0, 90.0))], photo_bytes, share=1, seed=0)
    assert 'style="left:25.000%;top:75.000%"' in (tmp_path / "audit/index.html").read_text()


def test_wilson_s_interval():
    # By hand: 91 of 100.
    low, high = AuditResult(asked=100, answered=100, found=91).interval
    assert (low, high) == pytest.approx((0.8377, 0.9519), abs=5e-4)
    assert AuditResult(asked=5, answered=0, found=0).interval == (0.0, 1.0)
    assert math.isnan(AuditResult(asked=5, answered=0, found=0).share)


def test_nothing_to_ask(tmp_path):
    assert write_audit(tmp_path, [a_record(0, **NAMED)], photo_bytes, share=0.5, seed=0) == 0
    assert read_audit(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"answers.csv:1: expected the columns record_id,found"),
        ("id,answer\n", r"answers.csv:1: expected the columns"),
        ("record_id,found\na,maybe\n", r"answers.csv:2: expected a record's id and yes, no or nothing, got a,maybe"),
        ("record_id,found\na,yes\na,no\n", r"answers.csv:3: a is there twice"),
        ("record_id,found\n\na\n", r"answers.csv:3: expected a record's id"),
    ],
)
def test_answers_that_cannot_be_read(tmp_path, content, message):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/answers.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_audit(tmp_path)
