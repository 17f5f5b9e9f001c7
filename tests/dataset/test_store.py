import time
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from talking_points.dataset import store
from talking_points.dataset.report import inspect_records, write_card
from talking_points.dataset.store import BuiltSplit, write_split
from tests.dataset.records import NAMED, a_record, photo_bytes


def test_records_come_back_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROWS_A_FILE", 100)
    records = [a_record(number) for number in range(250)]
    records[7] = replace(records[7], **NAMED)
    files = write_split(tmp_path, "train", records, photo_bytes)
    assert [path.name for path in files] == [f"train-{k:05d}-of-00003.parquet" for k in range(3)]
    split = BuiltSplit(tmp_path, "train")
    assert len(split) == 250
    assert list(split) == records
    assert [split[k] for k in (0, 7, 99, 100, 249)] == [records[k] for k in (0, 7, 99, 100, 249)]
    for k in (0, 63, 64, 99, 100, 163, 164, 249):
        photo = split.photo(k)
        assert photo.mode == "RGB" and photo.size == (60, 120)
        assert photo.getpixel((3, 3)) == (int(records[k].photo_id),) * 3
    with pytest.raises(IndexError):
        split[250]


def test_the_columns_are_those_of_sets_that_were_built_before(tmp_path):
    (path,) = write_split(tmp_path, "train", [a_record(0)], photo_bytes)
    numbers = ["point_px", "point_unit", "object_box_xyxy", "part_box_xyxy"]
    kinds = dict.fromkeys(numbers, "list<element: double>") | {"photo": "struct<bytes: binary, path: string>"}
    kinds |= dict.fromkeys(["photo_width", "photo_height", "seed"], "int64")
    kinds |= dict.fromkeys(["sift_response", "sift_scale_px"], "double")
    names = """photo record_id source photo_id photo_width photo_height point_px point_unit object_name object_category
        object_box_xyxy part_name part_box_xyxy text draft relations object_description local_description dialect
        object_describer local_describer writer prompts_sha256 point_kind sift_response sift_scale_px seed"""
    found = [(column.name, str(column.type)) for column in pq.read_schema(path)]
    assert found == [(name, kinds.get(name, "string")) for name in names.split()]


def test_equal_records_give_equal_bytes(tmp_path):
    records = [a_record(number) for number in range(100)]
    (one,) = write_split(tmp_path / "a", "test", records, photo_bytes)
    (other,) = write_split(tmp_path / "b", "test", records, photo_bytes)
    assert one.read_bytes() == other.read_bytes()


def test_a_photo_of_many_records_is_stored_once(tmp_path):
    noise = np.random.default_rng(0).bytes(200_000)
    records = [a_record(0, record_id=f"people/0/{k:03d}") for k in range(60)]
    (path,) = write_split(tmp_path, "train", records, lambda record: noise)
    assert path.stat().st_size < 250_000


def test_photos_by_path(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(photo_bytes(a_record(0)))
    write_split(tmp_path, "train", [a_record(0, photo_path=str(path)), a_record(1, photo_path="gone.png")], None)
    split = BuiltSplit(tmp_path, "train")
    assert split.photo(0).size == (60, 120)
    with pytest.raises(FileNotFoundError, match="gone.png"):
        split.photo(1)


def test_no_records_no_file(tmp_path):
    assert write_split(tmp_path, "test", [], photo_bytes) == []
    with pytest.raises(ValueError, match="holds no built set with a test split"):
        BuiltSplit(tmp_path, "test")
    with pytest.raises(ValueError, match='split must be one of train, test, got "val"'):
        BuiltSplit(tmp_path, "val")


def test_files_of_another_kind(tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        BuiltSplit(tmp_path, "train")
    import pyarrow as pa

    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(ValueError, match="has other columns than a built set"):
        BuiltSplit(tmp_path, "train")


def test_twenty_thousand_records_open_and_give_a_batch_in_a_second(tmp_path):
    text = "the point is on the person, who fills most of the photo, on the left of their shirt, " * 3
    records = [a_record(number, text=f"{number} {text}") for number in range(20_000)]
    pixels = np.random.default_rng(0).bytes(20_000)
    photo = photo_bytes(a_record(0))
    # Bytes after the image's end are read past by every decoder.
    write_split(tmp_path, "train", records, lambda record: photo + pixels + record.photo_id.encode())
    drawn = [int(k) for k in np.random.default_rng(1).choice(20_000, 32, replace=False)]
    BuiltSplit(tmp_path, "train")[0]
    begun = time.process_time()
    split = BuiltSplit(tmp_path, "train")
    batch = [(split[k], split.photo(k)) for k in drawn]
    assert time.process_time() - begun < 1.0
    assert [record.text for record, _ in batch] == [records[k].text for k in drawn]


def test_datasets_opens_it_as_it_is(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs datasets (pip install datasets)")
    records = [a_record(number) for number in range(10)]
    records[3] = replace(records[3], **NAMED)
    records[8:] = [replace(record, split="test") for record in records[8:]]
    for split in ("train", "test"):
        write_split(tmp_path, split, [one for one in records if one.split == split], photo_bytes)
    report = {"rejected": {}, "skipped": [], "look_alikes": [], "empty": {}}
    report |= {"not_chosen": 0, "spent": {"requests": 0, "tokens": 0}}
    settings = {"sources": {"people": "/photos"}, "seed": 0}
    write_card(tmp_path, inspect_records(records), report=report, settings=settings)
    opened = datasets.load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in opened.items()} == {"train": 8, "test": 2}
    row = opened["train"][5]
    assert row["photo"].size == (60, 120)
    assert row["text"] == records[5].text and row["point_px"] == [31.5, 40.5]
    assert row["point_unit"] == [31.5 / 60, 40.5 / 120]
    assert opened["train"][3]["text"] is None and opened["train"][3]["part_box_xyxy"] is None
