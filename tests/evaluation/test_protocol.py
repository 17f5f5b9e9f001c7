from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import Scene, make_scene
from talking_points.evaluation.protocol import (
    box_centres,
    describe_samples,
    localize_texts,
    mean_training_point,
    named_shares,
    score,
    swapped,
)
from talking_points.evaluation.sets import make_set


def scene(index: int) -> Scene:
    part_map = np.zeros((50, 100), np.int16)
    part_map[10:30, 10 + 5 * index : 50 + 5 * index] = 1
    part_map[30:45, 10 + 5 * index : 50 + 5 * index] = 2
    photo = np.full((50, 100, 3), 40 * index + 20, np.uint8)
    return make_scene(photo, part_map, ["coat", "pants"], [0, 0], ["person"], source="made", photo_id=f"photo{index}")


SCENES = [scene(i) for i in range(5)]


class Oracle:
    """Says the point's coordinates and reads them back; knows which photo it saw by its brightness."""

    def describe(self, photo: Image.Image, points_px: list[tuple[float, float]]) -> list[str]:
        return [f"{photo.getpixel((0, 0))[0]} {x} {y}" for x, y in points_px]  # type: ignore[index]

    def localize(self, photo: Image.Image, texts: list[str]) -> list[tuple[float, float]]:
        answers = []
        for text in texts:
            shade, x, y = map(float, text.split())
            assert shade == photo.getpixel((0, 0))[0]  # type: ignore[index]
            answers.append((x, y))
        return answers


@pytest.mark.parametrize("name", ["plain", "hard"])
def test_an_oracle_scores_100(name: str) -> None:
    samples = make_set(name, SCENES, points=3, seed=1)
    oracle = Oracle()
    texts = describe_samples(oracle, samples)
    row = score("oracle", "oracle", samples, texts, localize_texts(oracle, samples, texts)).summary()
    assert row["mpck"] == 100.0 and row["mpck_ci"] == [100.0, 100.0] and row["n"] == len(samples)


def test_sets_are_equal_under_a_seed_and_texts_name_the_part() -> None:
    one, two = make_set("plain", SCENES, points=3, seed=1), make_set("plain", SCENES, points=3, seed=1)
    assert [s.text for s in one] == [s.text for s in two]
    assert [s.text for s in make_set("plain", SCENES, points=3, seed=2)] != [s.text for s in one]
    for sample in one:
        x, y = sample.point_px
        assert sample.scene.part_map[int(y), int(x)] == sample.part_index + 1


def test_unknown_set() -> None:
    with pytest.raises(ValueError, match="set is 'easy'; allowed: plain, hard"):
        make_set("easy", SCENES, points=1, seed=0)


def test_an_empty_text_is_a_miss_not_an_error() -> None:
    samples = make_set("plain", SCENES[:1], points=2, seed=0)
    texts = describe_samples(Oracle(), samples)
    found = localize_texts(Oracle(), samples, [" ", texts[1]])
    row = score("d", "l", samples, texts, found)
    assert np.isnan(found[0]).all() and row.errors[0] == np.inf and row.errors[1] == 0


def test_named_shares_by_hand() -> None:
    samples = make_set("plain", SCENES[:1], points=2, seed=0)
    part = SCENES[0].parts[samples[0].part_index].name
    assert named_shares(samples, [s.text for s in samples]) == {"names_object": 100.0, "names_part": 100.0}
    texts = [f"on the {part} of a woman", "on a car"]
    assert named_shares(samples, texts) == {"names_object": 50.0, "names_part": 50.0}


def test_references_by_hand() -> None:
    samples = make_set("plain", SCENES[:1], points=4, seed=0)
    boxes = {(30.0, 20.0), (30.0, 37.5)}  # centres of the coat (10..50, 10..30) and of the pants (10..50, 30..45)
    assert {tuple(c) for c in box_centres(samples).tolist()} <= boxes
    mean = mean_training_point(SCENES[:2], lambda s: [(10.0, 10.0), (30.0, 20.0)])
    assert mean == pytest.approx([0.2, 0.3])


def test_swapped_shows_another_photo_and_keeps_the_rest() -> None:
    samples = make_set("plain", SCENES, points=2, seed=0)
    others = swapped(samples, seed=3)
    for mine, other in zip(samples, others, strict=True):
        assert other.scene.photo_id != mine.scene.photo_id
        assert (other.text, other.point_px) == (mine.text, mine.point_px)
