from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.selection import Selection
from talking_points.dataset.store import write_split
from talking_points.training.batches import BatchSizes
from talking_points.training.built import TripletBatches, TripletLines, open_triplets
from tests.dataset.records import a_record


def write_lines(folder: Path, counts: list[int]) -> Path:
    """A file of lines with so many triplets on each photo."""
    folder.mkdir(exist_ok=True)
    triplets = []
    for number, count in enumerate(counts):
        noise = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
        for k in range(count):
            line = {"photo": f"{number}.png", "x": 4.0 * k, "y": 3.0, "size_wh": [40, 30]}
            triplets.append(json.dumps({**line, "text": f"{number} and {k} " * (k + 1)}))
    (folder / "own.jsonl").write_text("\n".join(triplets))
    return folder / "own.jsonl"


def test_every_triplet_comes_once_an_epoch(tmp_path: Path) -> None:
    triplets = TripletLines(write_lines(tmp_path, [1] * 8 + [2] * 4 + [4, 7]))
    batches = TripletBatches(triplets, side=64, sizes=BatchSizes(photos=2, points=4), seed=1, epochs=3)
    assert len(batches) == 3 * batches.epoch_steps
    orders = []
    for epoch in range(3):
        seen: list[str] = []
        for step in range(epoch * batches.epoch_steps, (epoch + 1) * batches.epoch_steps):
            batch = batches[step]
            assert batch.points_BP2.shape[:2] == (len(batch.texts), len(batch.texts[0]))
            assert sum(len(row) for row in batch.texts) == 8
            seen += [text for row in batch.texts for text in row]
        assert set(seen) == {triplets[k].text for k in range(len(triplets))}
        # 8 singles and one of the seven fill a batch and begin another; nothing else comes twice.
        assert sum(Counter(seen).values()) - len(set(seen)) <= 2 * 8
        orders.append(seen)
    assert orders[0] != orders[1]


def test_parts_of_a_step_are_the_step(tmp_path: Path) -> None:
    triplets = TripletLines(write_lines(tmp_path, [1] * 9))
    batches = TripletBatches(triplets, side=64, sizes=BatchSizes(photos=4, points=1), seed=1)
    whole, parts = batches[1], [batches.part(1, index, 2) for index in range(2)]
    assert sorted(whole.record_ids) == sorted(parts[0].record_ids + parts[1].record_ids)
    assert batches[1].texts == whole.texts  # and again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "own.jsonl").write_text(""), "holds no triplet"),
        (lambda folder: (folder / "own.jsonl").write_text("{}\n"), 'own.jsonl:1: "photo" must be a path'),
        (lambda folder: (folder / "0.png").unlink(), "triplet 1: no photo"),
    ],
)
def test_bad_lines_are_refused(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write_lines(tmp_path, [2])
    change(tmp_path)
    with pytest.raises(ValueError, match=message):
        open_triplets(file)


def test_a_built_set_gives_the_objects_and_parts_that_are_asked_for(tmp_path: Path) -> None:
    shown = [
        ("person", "shoe", "left"),
        ("person", "shirt", "on it"),
        ("car", "wheel", "round"),
        ("car", "door", None),
    ]
    records = [a_record(n, object_name=thing, part_name=part, text=text) for n, (thing, part, text) in enumerate(shown)]
    write_split(tmp_path, "train", records, None)
    assert [open_triplets(tmp_path)[k].text for k in range(3)] == ["left", "on it", "round"]
    people = open_triplets(tmp_path, Selection(objects=("person",), parts=("shoe",)))
    assert len(people) == 1 and people[0].text == "left"
    with pytest.raises(
        ValueError, match="split train, has nothing of part door; it has car, person, shirt, shoe, wheel"
    ):
        open_triplets(tmp_path, Selection(parts=("door",)))
    with pytest.raises(ValueError, match="choose from a built set; leave lines of own.jsonl out yourself"):
        open_triplets(write_lines(tmp_path / "own", [1]), Selection(objects=("person",)))


def test_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no built set with a train split"):
        open_triplets(tmp_path)
    with pytest.raises(ValueError, match="neither a folder that build-dataset wrote nor a file of lines"):
        open_triplets(tmp_path / "own.csv")
    file = write_lines(tmp_path, [1])
    Image.new("RGB", (10, 10)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match="its triplet says"):
        TripletLines(file).photo(0)
