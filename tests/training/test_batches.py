from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from talking_points.evaluation.samples import Sample
from talking_points.points import photo_to_square
from talking_points.training.batches import PointBatches
from talking_points.training.settings import TrainingSettings


def some_samples(counts: list[int]) -> list[Sample]:
    """So many points on each of some photos, their texts of many lengths."""
    made = []
    for number, count in enumerate(counts):
        noise = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        made += [
            Sample(
                sample_id=f"{number}/{k}",
                photo_id=str(number),
                open_photo=lambda noise=noise: Image.fromarray(noise),
                size_wh=(40, 30),
                point_px=(4.0 * k, 3.0),
                text=f"{number} and {k} " * (k + 1),
            )
            for k in range(count)
        ]
    return made


def batches_of(counts: list[int], **changes: int) -> PointBatches:
    settings = {"photos": 2, "points": 4, "seed": 1, "epochs": 1, **changes}
    return PointBatches(some_samples(counts), TrainingSettings(out=Path("unused"), **settings), side=64)  # type: ignore[arg-type]


def test_what_batches_are_of_in_words() -> None:
    assert batches_of([3, 2]).shown == "5 points of 2 photos at 64 px, 2 x 4 a step, seed 1"
    assert batches_of([1]).shown.startswith("1 point of 1 photo at 64 px")


def test_a_kept_state_is_told_by_words_that_stay() -> None:
    assert str(batches_of([3, 2])) == "5 triplets of 2 photos at 64 px, 2 x 4 a step, seed 1"


def test_every_point_comes_once_an_epoch() -> None:
    batches = batches_of([1] * 8 + [2] * 4 + [4, 7], epochs=3)
    assert len(batches) == 3 * batches.epoch_steps
    orders = []
    for epoch in range(3):
        seen: list[str] = []
        for step in range(epoch * batches.epoch_steps, (epoch + 1) * batches.epoch_steps):
            batch = batches[step]
            assert batch.points_BP2.shape[:2] == (len(batch.texts), len(batch.texts[0]))
            assert sum(len(row) for row in batch.texts) == 8
            seen += batch.record_ids
        assert set(seen) == {sample.sample_id for sample in batches.points}
        # 8 singles and one of the seven fill a batch and begin another; nothing else comes twice.
        assert sum(Counter(seen).values()) - len(set(seen)) <= 2 * 8
        orders.append(seen)
    assert orders[0] != orders[1]


def test_parts_of_a_step_are_the_step() -> None:
    batches = batches_of([1] * 9, photos=4, points=1)
    whole, parts = batches[1], [batches.part(1, index, 2) for index in range(2)]
    assert sorted(whole.record_ids) == sorted(parts[0].record_ids + parts[1].record_ids)
    assert batches[1].texts == whole.texts  # and again


def test_absent_texts_are_of_other_photos_and_the_same_in_parts() -> None:
    batches = batches_of([1] * 9 + [2] * 3, photos=4, points=2)
    for step in range(len(batches)):
        whole = batches[step]
        photos = [row.partition(" and ")[0] for row, *_ in whole.texts]
        for k, photo in enumerate(photos):
            # Its first text, and of the next other photo, around the end: three photos fill a batch of four.
            others = [row[0] for row in (*whole.texts[k + 1 :], *whole.texts[:k]) if not row[0].startswith(f"{photo} ")]
            assert whole.absent_texts[k] == others[0]
        parts = [batches.part(step, index, 3) for index in range(3)]
        assert len(parts[2].texts) == len(parts[2].absent_texts) < len(parts[0].texts)
        assert [part.absent_texts for part in parts] == [whole.absent_texts[index::3] for index in range(3)]


def test_one_photo_has_no_absent_text() -> None:
    # Its four points and its last two are groups of two sizes; of the two, both groups of a batch are the same.
    batches = batches_of([6])
    assert {len(batches[step].texts) for step in range(len(batches))} == {2, 4}
    assert not any(batches[step].absent_texts for step in range(len(batches)))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    one, same, other = batches_of([3] * 9)[2], batches_of([3] * 9)[2], batches_of([3] * 9, seed=2)[2]
    assert one.record_ids == same.record_ids and one.seed == same.seed
    assert other.seed != one.seed and batches_of([3] * 9)[1].seed != one.seed


def test_a_batch_holds_its_points_in_both_frames_and_its_photos_as_they_are_sought_on() -> None:
    batch = batches_of([2, 2])[0]
    for n, photo in enumerate(batch.photos):
        assert photo.size_wh == (40, 30) and photo.key == batch.photo_keys[n]
        assert torch.equal(torch.from_numpy(photo.square_3SS), batch.pixels_B3SS[n])
        square = photo_to_square(batch.points_px_BP2[n].double().numpy(), photo.size_wh)
        torch.testing.assert_close(batch.points_BP2[n], torch.tensor(square, dtype=torch.float32))


def test_a_fingerprint_is_of_photos_points_and_texts() -> None:
    settings = TrainingSettings(out=Path("unused"), epochs=1)
    samples = some_samples([2, 1])

    def fingerprint(changed: Sample, watched: Sequence[Sample] = ()) -> str:
        return PointBatches([*samples[:2], changed], settings, side=64, watched=watched).fingerprint

    last = samples[2]
    own = fingerprint(last)
    assert own == fingerprint(replace(last, sample_id="another")) == fingerprint(replace(last, alike=2))
    others = [{"photo_id": "9"}, {"size_wh": (41, 30)}, {"point_px": (0.0, 4.0)}, {"text": "another"}, {"text": None}]
    found = {own, fingerprint(last, [last]), *(fingerprint(replace(last, **other)) for other in others)}
    assert len(found) == 2 + len(others)


def test_a_step_that_is_larger_than_the_set_is_said(caplog: pytest.LogCaptureFixture) -> None:
    batches_of([3, 4], photos=2, points=3)
    assert not caplog.records
    batches_of([3, 2], photos=2, points=3)
    assert [record.message for record in caplog.records] == [
        "a step takes 6 points, and there are 5, repeated to fill it; give fewer --photos or --points"
    ]


def test_nothing_to_learn_from() -> None:
    with pytest.raises(ValueError, match="there is no point to learn from"):
        batches_of([])
