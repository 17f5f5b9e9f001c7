from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.store import write_split
from talking_points.model.prompts import Prompts
from talking_points.training.data import check_learnt, read_points, read_texts
from talking_points.training.settings import DescriptorSettings, GRPOSettings, LocalizerSettings
from tests.dataset.records import a_record
from tests.tiny import tiny_tokenizer


def write_lines(folder: Path, counts: list[int], *, texts: bool = True) -> Path:
    """A file of lines with so many points on each photo."""
    folder.mkdir(exist_ok=True)
    lines = []
    for number, count in enumerate(counts):
        noise = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
        for k in range(count):
            line = {"photo": f"{number}.png", "x": 4.0 * k, "y": 3.0}
            lines.append(line | ({"text": f"{number} and {k}"} if texts else {}))
    (folder / "own.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder / "own.jsonl"


def texts_of(data: Path | None, **changes: tuple[str, ...]) -> list[str | None]:
    settings = LocalizerSettings(base="mini", out=Path("unused"), steps=1, data=data, **changes)  # type: ignore[arg-type]
    return [sample.text for sample in read_texts(settings)]


def points_of(keypoints: Path, **changes: object):  # type: ignore[no-untyped-def]
    told = {"keypoints": keypoints, "descriptor": "mini", "localizer": "mini", "out": Path("unused"), "steps": 1}
    return read_points(GRPOSettings(**{**told, **changes}))  # type: ignore[arg-type]


@pytest.fixture
def animals(tmp_path: Path, ap_10k_writer) -> Path:  # type: ignore[no-untyped-def]
    """In each of nine photos an antelope with two visible points and dogs with five."""
    ap_10k_writer(tmp_path / "ap10k", {"train": [f"{k:012d}" for k in range(1, 10)]})
    return tmp_path / "ap10k" / "annotations" / "ap10k-train-split1.json"


def test_lines_and_tables_of_points_with_texts(tmp_path: Path) -> None:
    assert texts_of(write_lines(tmp_path, [1, 2])) == ["0 and 0", "1 and 0", "1 and 1"]
    (tmp_path / "own.csv").write_text("photo,x,y,text\n0.png,3,4,here\n")
    assert texts_of(tmp_path / "own.csv") == ["here"]


def test_points_without_a_text_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_lines(tmp_path, [3])
    with caplog.at_level("INFO", "talking_points.training.data"):
        texts_of(file)
        assert not caplog.records
        file.write_text(file.read_text().replace('"0 and 1"', "null"))
        assert texts_of(file) == ["0 and 0", "0 and 2"]
    assert [record.message for record in caplog.records] == [f"{file}: 1 point without a text left out"]


def test_a_text_that_cannot_be_read_is_named_with_its_sample(tmp_path: Path) -> None:
    file = write_lines(tmp_path, [4])
    content = file.read_text()
    file.write_text(content.replace("0 and 1", "left " * 600).replace("0 and 3", "left " * 700))
    roles: list[type[LocalizerSettings | DescriptorSettings]] = [LocalizerSettings, DescriptorSettings]
    localizer, descriptor = (kind(base="mini", out=Path("unused"), steps=1, data=file) for kind in roles)
    prompts = Prompts(tiny_tokenizer())
    said = r"own\.jsonl, line 2: the text has \d+ tokens, the model reads 512; shorten it, and 1 more$"
    with pytest.raises(ValueError, match=said):
        check_learnt(read_texts(localizer), prompts, localizer)
    check_learnt(read_texts(descriptor), prompts, descriptor)
    file.write_text(content.replace("0 and 2", "the [SEG] of it"))
    with pytest.raises(ValueError, match=r"own\.jsonl, line 3: the text holds \[SEG\], which is reserved .*out$"):
        check_learnt(read_texts(descriptor), prompts, descriptor)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", '"photo" must be a path'),
        ('{"photo": "9.png", "x": 1, "y": 2, "text": "here"}', "9.png"),
        ('{"photo": "0.png", "x": 1, "y": 2}', "no point of .* has a text"),
    ],
)
def test_a_bad_line_stops_a_training(line: str, message: str, tmp_path: Path) -> None:
    file = write_lines(tmp_path, [1], texts=False)
    file.write_text(f"{line}\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        texts_of(file)


def test_a_built_set_gives_the_objects_and_parts_that_are_asked_for(tmp_path: Path) -> None:
    shown = [
        ("person", "shoe", "left"),
        ("person", "shirt", "on it"),
        ("car", "wheel", "round"),
        ("car", "door", None),
    ]
    records = [a_record(n, object_name=thing, part_name=part, text=text) for n, (thing, part, text) in enumerate(shown)]
    write_split(tmp_path, "train", records, None)
    assert texts_of(tmp_path) == ["left", "on it", "round"]
    assert texts_of(tmp_path, objects=("person",), parts=("shoe",)) == ["left"]
    with pytest.raises(ValueError, match="split train, has nothing of part door; it has car, person, shirt"):
        texts_of(tmp_path, parts=("door",))


def test_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="no built set with a train split; build one with talking-points build-dataset$"
    ):
        texts_of(tmp_path)
    with pytest.raises(FileNotFoundError, match="own.csv: no such file or folder"):
        texts_of(tmp_path / "own.csv")
    with pytest.raises(ValueError, match="--data is missing"):
        texts_of(None)


def test_the_papers_direction(animals: Path) -> None:
    learning, held_out = points_of(animals, objects=("Bovidae",), held_out_objects=("Canidae",), held_out_points=10)
    assert {s.object_name for s in learning} == {"antelope"} and {s.object_name for s in held_out} == {"dog"}
    # Of nine photos two are held out, ten points in all; a photo with both families is not learnt from either.
    assert len(held_out) == 10 and len({s.photo_id for s in held_out}) == 2
    assert len(learning) == 2 * 7 and not {s.photo_id for s in held_out} & {s.photo_id for s in learning}
    assert {s.text for s in learning} == {None}


def test_a_species_and_a_part(animals: Path) -> None:
    learning, held_out = points_of(animals, objects=("antelope",), parts=("tail",))
    assert [(s.object_name, s.part_name) for s in learning] == [("antelope", "root of the tail")] * 8
    assert len(held_out) == 1 and held_out[0].part_name == "root of the tail"
    with pytest.raises(ValueError, match="nothing of object Felidae; it has Bovidae, Canidae, antelope, dog"):
        points_of(animals, objects=("Felidae",))
    with pytest.raises(ValueError, match="held_out_split is 'val', and a file has no splits: .*split1.json"):
        points_of(animals, held_out_split="val")


def test_another_split_of_a_set_is_watched_by(tmp_path: Path) -> None:
    for first, split in ((0, "train"), (100, "test")):
        records = [a_record(first + n, object_name=split) for n in range(3)]
        write_split(tmp_path, split, records, None)
    learning, held_out = points_of(tmp_path, held_out_split="test")
    assert {s.object_name for s in learning} == {"train"} and {s.object_name for s in held_out} == {"test"}


def test_of_a_file_some_photos_are_held_out(tmp_path: Path) -> None:
    file = write_lines(tmp_path, [2, 2, 2, 2])
    # A fifth at most, in whole photos: the default must not take all of a small file.
    for most in (2, 100):
        learning, held_out = points_of(file, held_out_points=most)
        assert len(learning) == 6 and len(held_out) == 2 and {s.text for s in learning} == {None}
    with pytest.raises(ValueError, match="the photos of all 2 points are held out; hold out those of another"):
        points_of(write_lines(tmp_path, [2]))
