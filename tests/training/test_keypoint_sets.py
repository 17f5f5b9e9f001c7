from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from talking_points.dataset.selection import EVERYTHING, Selection
from talking_points.training.batches import BatchSizes
from talking_points.training.keypoint_sets import PRESETS, KeypointBatches, KeypointSet, learning_and_held_out
from tests.shades import shade_photos
from tests.shared import SHARED

SIZES = BatchSizes(photos=2, points=3)


@pytest.fixture
def animals(tmp_path: Path, ap_10k_writer) -> Path:  # type: ignore[no-untyped-def]
    """In each photo an antelope with two visible points and a dog with two."""
    names = {split: [f"{k:012d}" for k in range(first, first + 4)] for split, first in (("train", 1), ("val", 11))}
    ap_10k_writer(tmp_path / "ap10k", {**names, "test": ["000000000021"]})
    return tmp_path / "ap10k"


@pytest.fixture
def people(tmp_path: Path, label_map_writer) -> Path:  # type: ignore[no-untyped-def]
    label_map_writer(tmp_path / "people", [f"{n:04d}" for n in range(24)], ["0900"])
    shade_photos(tmp_path / "people" / "photos")
    return tmp_path / "people"


def both(keypoints: KeypointSet, learn: Selection, watch: Selection, *, split: str = "train", points: int = 4):  # type: ignore[no-untyped-def]
    return learning_and_held_out(
        keypoints,
        split=split,
        selection=learn,
        held_out_split=None,
        held_out_selection=watch,
        held_out_points=points,
        seed=0,
    )


def test_the_papers_direction(animals: Path) -> None:
    one, other = (Selection(objects=(family,)) for family in PRESETS["bovidae-to-canidae"])
    learning, held_out = both(KeypointSet(path=animals), one, other, split="all")
    assert {s.object_name for s in learning} == {"antelope"} and {s.object_name for s in held_out} == {"dog"}
    # Of nine photos two are held out, four points in all; a photo with both families is not learnt from either.
    assert len(held_out) == 4 and len({s.photo_id for s in held_out}) == 2
    assert len(learning) == 2 * 7 and not {s.photo_id for s in held_out} & {s.photo_id for s in learning}
    assert {s.text for s in learning} == {None}


def test_a_species_or_a_part(animals: Path) -> None:
    dogs = KeypointSet(path=animals).read("train", Selection(objects=("dog",), parts=("tail",)))
    assert [(s.object_name, s.part_name) for s in dogs] == [("dog", "root of the tail")] * 4
    with pytest.raises(ValueError, match="nothing of object Felidae; it has Bovidae, Canidae, antelope, dog"):
        KeypointSet(path=animals).read("train", Selection(objects=("Felidae",)))


@pytest.mark.skipif(not (SHARED / "data" / "ap10k_sample").is_dir(), reason="needs ../shared/data/ap10k_sample")
def test_the_sample_that_the_authors_publish() -> None:
    found = KeypointSet(path=SHARED / "data" / "ap10k_sample").read("test", Selection(objects=("Bovidae",)))
    assert {s.object_name for s in found} == {"antelope"} and 10 < len(found) <= 16
    assert found[0].open_photo().size == found[0].size_wh


def test_points_of_labelled_photos_have_no_texts(people: Path) -> None:
    keypoints = KeypointSet(sources={"label-map": people}, set_name="hard", points=3)
    learning, held_out = both(keypoints, Selection(parts=("shoe",)), EVERYTHING, points=3)
    assert {s.part_name for s in learning} == {"shoe"} and len(held_out) >= 3
    assert {s.text for s in learning + held_out} == {None}


def test_of_a_file_some_photos_are_held_out(people: Path, tmp_path: Path) -> None:
    lines = [
        f'{{"photo_path": "people/photos/{n:04d}.jpg", "point_px": [{x}, 60], "size_wh": [60, 120]}}'
        for n in range(4)
        for x in (20, 30)
    ]
    (tmp_path / "points.jsonl").write_text("\n".join(lines))
    keypoints = KeypointSet(path=tmp_path / "points.jsonl")
    learning, held_out = both(keypoints, EVERYTHING, EVERYTHING, points=2)
    assert len(learning) == 6 and len(held_out) == 2
    # A fifth at most, in whole photos: the default of a hundred must not take all of a small file.
    learning, held_out = both(keypoints, EVERYTHING, EVERYTHING, points=100)
    assert len(learning) == 6 and len(held_out) == 2
    keypoints = KeypointSet(path=tmp_path / "one.jsonl")
    (tmp_path / "one.jsonl").write_text("\n".join(lines[:2]))
    with pytest.raises(ValueError, match="the photos of all 2 points are held out; hold out those of another"):
        both(keypoints, EVERYTHING, EVERYTHING)


def test_every_point_comes_once_an_epoch_in_an_order_of_its_own(animals: Path) -> None:
    samples = KeypointSet(path=animals).read("train", EVERYTHING)  # four photos of four points: two groups each
    batches = KeypointBatches(samples, side=64, sizes=SIZES, seed=3, steps=8)
    assert batches.groups_an_epoch == 8
    epochs = [[batches[step].record_ids for step in range(first, first + 4)] for first in (0, 4)]
    for epoch in epochs:
        assert Counter(one for ids in epoch for one in ids) == Counter(s.sample_id for s in samples)
    assert epochs[0] != epochs[1]
    assert all(len(points) <= 3 for step in range(8) for points in batches[step].points_px)


def test_a_batch_is_a_function_of_seed_and_step(animals: Path) -> None:
    samples = KeypointSet(path=animals).read("train", EVERYTHING)

    def make(seed: int) -> KeypointBatches:
        return KeypointBatches(samples, side=64, sizes=SIZES, seed=seed, steps=8)

    one, same, other = make(1)[5], make(1)[5], make(2)[5]
    assert one.record_ids == same.record_ids and one.seed == same.seed and one.points_px == same.points_px
    assert one.seed != other.seed and make(1)[4].seed != one.seed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "give --keypoints, a set of keypoints, or --source"),
        ({"path": Path("x"), "sources": {"label-map": Path("x")}}, "one of them"),
        ({"path": Path("x"), "points": 0}, "points is 0"),
        ({"path": Path("x"), "set_name": "easy"}, "set is 'easy'"),
    ],
)
def test_bad_sets_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeypointSet(**changes)  # type: ignore[arg-type]


def test_a_split_that_there_is_not(animals: Path) -> None:
    with pytest.raises(ValueError, match="split is 'dev'; allowed: train, val, test, all"):
        KeypointSet(path=animals).read("dev", EVERYTHING)
