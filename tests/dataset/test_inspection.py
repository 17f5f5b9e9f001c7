import pytest

from talking_points.dataset.inspection import find_suspects, inspect_dataset, inspect_records
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
