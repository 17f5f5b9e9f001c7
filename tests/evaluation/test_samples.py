from __future__ import annotations

from collections import Counter

from PIL import Image

from talking_points.evaluation.samples import Sample, drawn_evenly


def samples_of(**photos: int) -> list[Sample]:
    """Three samples of each photo, the sources one after the other."""
    return [
        Sample(
            sample_id=f"{source}/{photo}/{number}",
            photo_id=f"{source}/{photo}",
            open_photo=lambda: Image.new("RGB", (9, 9)),
            size_wh=(9, 9),
            point_px=(number, 1),
            source=source,
        )
        for source, count in photos.items()
        for photo in range(count)
        for number in range(3)
    ]


def counts(samples: list[Sample]) -> dict[str, int]:
    return dict(Counter(sample.source for sample in samples))


def test_each_source_gives_as_many() -> None:
    samples = samples_of(a=40, b=40, c=40)
    drawn = drawn_evenly(samples, 30, seed=0)
    assert counts(drawn) == {"a": 10, "b": 10, "c": 10}
    # In the order of the samples, and whole photos but for the last one.
    assert drawn == [sample for sample in samples if sample in drawn]
    assert sorted(Counter(s.photo_id for s in drawn if s.source == "a").values()) == [1, 3, 3, 3]


def test_it_is_chance_and_not_the_first_photos() -> None:
    samples = samples_of(a=40)
    drawn = drawn_evenly(samples, 30, seed=0)
    assert drawn == drawn_evenly(samples, 30, seed=0) != drawn_evenly(samples, 30, seed=1)
    assert drawn != samples[:30] and len({s.photo_id for s in drawn} - {s.photo_id for s in samples[:30]}) > 3


def test_a_small_source_gives_all_and_others_more() -> None:
    assert counts(drawn_evenly(samples_of(a=40, b=1, c=40), 31, seed=0)) == {"a": 14, "b": 3, "c": 14}
    uneven = counts(drawn_evenly(samples_of(a=9, b=9, c=9), 11, seed=0))
    assert sorted(uneven.values()) == [3, 4, 4]


def test_few_are_enough_and_many_are_all() -> None:
    samples = samples_of(a=2, b=2)
    assert drawn_evenly(samples, 99, seed=0) == samples
    assert len(drawn_evenly(samples, 1, seed=0)) == 1
