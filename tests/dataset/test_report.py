import csv
import math

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.figures import draw_composition, draw_contact_sheet, write_figures
from talking_points.dataset.report import (
    AuditResult,
    find_suspects,
    inspect_dataset,
    inspect_records,
    read_audit,
    write_audit,
    write_card,
)
from talking_points.dataset.store import write_split
from tests.dataset.records import NAMED, a_record, photo_bytes


def test_counts_and_lengths():
    texts = ["one red shirt of a person", "the shirt", "the shirt"]
    records = [a_record(number, text=text) for number, text in enumerate(texts)]
    records.append(a_record(5, split="test", source="animals", object_category="dog", **NAMED))
    found = inspect_records(records)
    assert found.records == {"train": {"people": 3}, "test": {"animals": 1}}
    assert found.photos == 2
    assert found.objects == {"person": 3, "dog": 1}
    assert found.parts == {"person's shirt": 3, "dog's left eye": 1}
    assert found.kinds == {"sift": 3, "named": 1}
    assert found.written_by == {"rules": 3}
    assert found.lengths is not None
    assert (found.lengths.least, found.lengths.median, found.lengths.mean, found.lengths.most) == (2, 2, 3.3, 6)
    # one, red, shirt, of, a, person, the
    assert found.vocabulary == 7
    assert found.repeated == 2
    assert found.semantic == 1.0


def test_records_that_look_wrong():
    good = a_record(0)
    suspects = find_suspects(
        [
            good,
            a_record(1, point_px=(45.5, 40.5)),
            a_record(2, text="on the left of the jeans of the person"),
            a_record(4, part_name="jeans", text="the jeans"),
            a_record(5, point_px=(3.5, 3.5), part_box_xyxy=(0, 0, 9, 9)),
            a_record(3, point_px=good.point_px, text=good.text),
        ]
    )
    assert [(one.record_id[-9:], one.reason) for one in suspects] == [
        ("00000/001", "its point lies outside its part, the shirt"),
        ("00000/002", "its text does not name its part, the shirt, but the jeans"),
        ("00001/001", "its point lies outside its object, the person"),
        ("00000/003", "its point is that of people/00000/000, too"),
        ("00000/003", "its text is that of people/00000/000, too"),
    ]
    assert inspect_records([good, a_record(1, point_px=(45.5, 40.5))]).semantic == 0.5


def test_a_set_on_disk(tmp_path):
    write_split(tmp_path, "train", [a_record(number) for number in range(8)], photo_bytes)
    write_split(tmp_path, "test", [a_record(9, split="test")], photo_bytes)
    found, audit = inspect_dataset(tmp_path)
    assert found.records == {"train": {"people": 8}, "test": {"people": 1}}
    assert (found.suspects, audit) == ([], None)


def test_no_set(tmp_path):
    with pytest.raises(ValueError, match="holds no built set"):
        inspect_dataset(tmp_path)


def rows_of(folder):
    with (folder / "audit/answers.csv").open(newline="") as file:
        return list(csv.reader(file))


def answer(folder, rows):
    with (folder / "audit/answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_share_of_the_test_split_is_asked_and_answers_come_back(tmp_path):
    records = [a_record(number, split="test" if number % 2 else "train") for number in range(80)]
    records += [a_record(999, split="test", **NAMED)]
    write_audit(tmp_path, records, photo_bytes, share=0.1, seed=0)
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
    write_audit(tmp_path, records, photo_bytes, share=0.5, seed=1)
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
    write_audit(tmp_path, [a_record(0, **NAMED)], photo_bytes, share=0.5, seed=0)
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


REPORT = {
    "rejected": {"it is empty": 2},
    "skipped": [("people", "a", "broken")],
    "look_alikes": [("cars", "b", "looks like test photo c of cars"), ("cars", "d", "looks like test photo c of cars")],
    "empty": {"cars": "2 photos left out as look-alikes"},
    "not_chosen": 7,
    "spent": {"requests": 1234, "tokens": 56789},
}
SETTINGS = {"sources": {"people": "/secret/place", "animals": "/photos"}, "seed": 0, "points_per_photo": 3}


def some_records():
    records = [a_record(number, split="test" if number > 7 else "train") for number in range(12)]
    return [*records, a_record(40, source="animals", object_category="dog|wolf", **NAMED)]


def test_the_card_has_the_counts(tmp_path):
    (tmp_path / "audit").mkdir()
    answers = "".join(f"{k},{['yes', 'no', ''][(k > 8) + (k > 9)]}\n" for k in range(20))
    (tmp_path / "audit/answers.csv").write_text(f"record_id,found\n{answers}")
    write_card(tmp_path, inspect_records(some_records()), report=REPORT, settings=SETTINGS)
    card = (tmp_path / "README.md").read_text()
    assert "  - split: train\n    path: data/train-*.parquet\n  - split: test\n" in card
    for line in (
        "| split | animals | people |",
        "| train | 1 | 8 |",
        "| test | 0 | 4 |",
        "| dog\\|wolf | 1 |",
        "- points_per_photo: `3`",
        "- it is empty: 2",
        "1,234 answers of 56,789 tokens",
        "Skipped: 1 photo. Left out as look-alikes: 2 photos. Both are listed in `report.json`. Points not needed: 7.",
        "cars: no record; 2 photos left out as look-alikes.",
        "9 (90.0%, 95% interval 59.6 to 98.2)",
    ):
        assert line in card, line
    # A set of one's own is not the paper's; it is called as its folder or repository is.
    assert "LlamaPointInPart" not in card
    # Where somebody keeps their photos is nobody's business.
    assert "/secret/place" not in card


def test_the_card_of_an_empty_set(tmp_path):
    write_card(tmp_path, inspect_records([]), report=REPORT, settings=SETTINGS)
    assert "0 records" in (tmp_path / "README.md").read_text()


def test_both_figures_are_written_whole(tmp_path):
    write_figures(tmp_path / "figures", some_records(), photo_bytes, seed=0)
    for name in ("composition", "examples"):
        with Image.open(tmp_path / f"figures/{name}.png") as figure:
            assert figure.width > 500
    assert not list(tmp_path.rglob("*.part"))


def test_figures_are_equal_for_equal_records():
    records = some_records()
    for draw in (draw_composition, lambda records: draw_contact_sheet(records, photo_bytes, seed=3)):
        one, other = (draw(records) for _ in range(2))
        for figure in (one, other):
            figure.canvas.draw()
        assert np.array_equal(np.asarray(one.canvas.buffer_rgba()), np.asarray(other.canvas.buffer_rgba()))


def test_rings_count_sources_inside_and_names_outside():
    figure = draw_composition(some_records())
    of_objects, of_parts = figure.axes
    # Two sources and three objects, or parts: one more wedge for each name.
    assert len(of_objects.patches) == 2 + 2
    assert len(of_parts.patches) == 2 + 2
    assert [text.get_text() for text in of_objects.get_legend().get_texts()] == ["animals: 1", "people: 12"]
    assert of_objects.get_title() == "(a) 2 object categories"
