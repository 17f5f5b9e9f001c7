from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from recipes.mini.examples import HEAT, LOCALIZER_DIALECTS, Example, Maker, Names, Wanted, mirrored_text, misspelt
from recipes.mini.learn import draw_examples, target_of
from recipes.mini.localizer import WANTED, LocalizerBatches, interpolate
from talking_points.dataset.scene import Scene
from talking_points.points import square_padding
from talking_points.training.settings import LocalizerSettings


@pytest.fixture
def batches(person: Scene, tmp_path: Path) -> LocalizerBatches:
    scenes = [replace(person, photo_id=name) for name in ("one", "two")]
    width, height = person.size_wh
    place = {"set": person.source, "x": width / 2, "y": height / 2, "width": width, "height": height, "voice": "plain"}
    free = [
        {**place, "photo": f"{scene.photo_id}.jpg", "long": f"Photo {scene.photo_id}, amid all.", "short": "amid all"}
        for scene in scenes
    ]
    phrases = [
        {**place, "photo": f"{scene.photo_id}.jpg", "there": there, "kind": kind, "text": f"a {kind} thing"}
        for scene in scenes
        for there, kind in ((True, "true"), (False, "absent"), (False, "wrong"))
    ]
    names = Names.of([person] * 6)
    maker = Maker(scenes, free, [], names, phrases=phrases, points=4, wanted=WANTED, dialects=LOCALIZER_DIALECTS)
    settings = LocalizerSettings(base="mini", out=tmp_path, steps=3, photos=4, seed=1)
    return LocalizerBatches(maker, settings)


def test_a_step_is_the_same_however_many_share_it(batches: LocalizerBatches) -> None:
    whole, halves = batches.part(1, 0, 1), [batches.part(1, k, 2) for k in (0, 1)]
    for photo in range(4):
        asked, half = whole.photo_P == photo, halves[photo % 2]
        asked_of_half = half.photo_P == photo // 2
        texts = [text for text, is_asked in zip(whole.texts, asked, strict=True) if is_asked]
        assert [text for text, is_asked in zip(half.texts, asked_of_half, strict=True) if is_asked] == texts
        assert torch.equal(half.targets_PN[asked_of_half], whole.targets_PN[asked])
    assert batches.part(2, 0, 1).texts != whole.texts


def test_what_is_not_there_has_no_place_and_is_not_sought(batches: LocalizerBatches) -> None:
    batch = batches.part(0, 0, 1)
    there_P = batch.there_P.bool()
    assert there_P.any() and not there_P.all()
    assert torch.allclose(batch.targets_PN[there_P].sum(-1), torch.ones(int(there_P.sum())))
    assert not batch.targets_PN[~there_P].any() and not batch.weight_P[~there_P].any()
    assert set(batch.weight_P[there_P].tolist()) == {0.5, 1.0}


def test_a_point_is_its_targets_brightest_cell() -> None:
    target = target_of(Wanted(text="the shoe", point=(10.5 / HEAT, 30.5 / HEAT)))
    assert np.unravel_index(target.argmax(), target.shape) == (30, 10)
    assert target.sum() == pytest.approx(1, abs=1e-5)


def test_a_share_of_the_way_is_kept_and_none_of_what_says_there() -> None:
    start = {"head.mlp.weight": torch.tensor([0.0, 2.0]), "head.there.weight": torch.tensor([1.0])}
    learned = {name: torch.nn.Parameter(values + 4) for name, values in start.items()}
    interpolate(learned, start, 0.25)
    assert learned["head.mlp.weight"].tolist() == [1.0, 3.0]
    assert learned["head.there.weight"].tolist() == [1.0]


def test_what_is_drawn_of_a_photo_does_not_depend_on_its_kind(batches: LocalizerBatches) -> None:
    """Kinds and photos have seeds of their own."""
    drawn: dict[tuple[int, ...], str] = {}

    class Recorder:
        def draw(self, seed: Sequence[int], kind: str) -> Example:
            drawn[tuple(seed)] = kind
            return batches.maker.draw(seed, kind)

    shares = {"free": 0.4, "whole": 0.3, "composed": 0.3}
    draw_examples(cast("Maker", Recorder()), 4, (1, 2), shares=shares)
    assert sorted(drawn) == [(1, 2, k) for k in range(4)]
    kinds = np.random.default_rng([1, 2, 4]).choice(3, size=4, p=(0.4, 0.3, 0.3))
    assert [drawn[1, 2, k] for k in range(4)] == [list(shares)[k] for k in kinds]


def test_phrases_are_asked_as_they_are_meant(person: Scene) -> None:
    """A mirrored photo has mirrored phrases and points; of what does not fit no place is wanted."""
    width, height = person.size_wh
    photo = {"set": person.source, "photo": f"{person.photo_id}.jpg", "width": 2 * width, "height": 2 * height}
    phrases = [
        {**photo, "there": True, "kind": "true", "text": "the right cuff", "x": 0.5 * width, "y": 0.4 * height},
        {**photo, "there": False, "kind": "absent", "text": "a hat"},
        {**photo, "there": False, "kind": "wrong", "text": "red left shoe"},
    ]
    maker = Maker([person], [], [], Names.of([person] * 6), phrases=phrases, cuts=False)
    pad_x, pad_y, long_side = square_padding(person.size_wh)
    places = {
        side: ((pad_x + share * width) / long_side, (pad_y + 0.2 * height) / long_side)
        for side, share in (("right", 0.25), ("left", 0.75))
    }
    slips: Counter[bool] = Counter()
    for k in range(200):
        first, *others = maker.draw((3, k), "phrases").wanted
        # A slip of the keys is not mirrored: the side is what the letters stand for.
        side = "left" if "left" in first.text else "right"
        slips[first.text not in ("the left cuff", "the right cuff")] += 1
        assert first.there and first.point == pytest.approx(places[side])
        assert first.text == "the left cuff" or side == "right"
        assert not any(one.there or one.point or one.cells is not None for one in others)
    assert 5 < slips[True] < 60


def test_a_slip_of_the_keys_is_in_one_longer_word() -> None:
    rng = np.random.default_rng(0)
    slips = {misspelt("the red wheel", rng) for _ in range(60)}
    swapped, left_out, doubled = {"hweel", "wehel", "whele"}, {"weel", "whel"}, {"whheel", "wheeel"}
    assert {text.removeprefix("the red ") for text in slips} <= swapped | left_out | doubled | {"wheel"}
    assert len(slips) > 4 and all(text.startswith("the red w") for text in slips)
    assert misspelt("her hat", rng) == "her hat"


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("Her left leg, right in the photo.", "Her right leg, left in the photo."),
        ("the leg farthest right in the picture", "the leg farthest left in the picture"),
        ("a horse facing right in the shed, at right", "a horse facing left in the shed, at left"),
        ("center-right in the photo: just right of it", "center-left in the photo: just left of it"),
        ("the left and right at the edge", "the right and left at the edge"),
        ("right at the edge of the left shoe", "right at the edge of the right shoe"),
        ("and right beside the window", "and right beside the window"),
        ("Go right down to the left edge", "Go right down to the right edge"),
        ("at right angles to the left wall", "at right angles to the right wall"),
        ("upper left, at one to two o'clock", "upper right, at eleven to ten o'clock"),
        ("at 12 o'clock, not at 4 o'clock", "at 12 o'clock, not at 8 o'clock"),
    ],
)
def test_a_mirrored_text_keeps_right_where_it_is_no_side(text: str, mirrored: str) -> None:
    assert mirrored_text(text) == mirrored


def test_what_would_not_be_labelled_is_not_drawn_as_absent(person: Scene) -> None:
    """Of a person that is shown a detector finds some parts only."""
    sources = {person.source: frozenset({"hand", "shoe", "eye", "dog"}), "coco_people": frozenset({"hand", "person"})}
    classes = ("shoe", "hand", "eye", "dog", "person")
    names = Names(classes=classes, sided=("shoe",), objects=("person", "dog"), known=sources)
    maker = Maker([person], [], [], names)
    assert maker._told_if_shown(person) == {"shoe", "dog"}
