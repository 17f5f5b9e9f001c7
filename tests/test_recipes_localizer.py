from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from recipes.mini.examples import HEAT, LOCALIZER_DIALECTS, Example, Maker, Names, Wanted
from recipes.mini.learn import KINDS, draw_examples, target_of
from recipes.mini.localizer import WANTED, LocalizerBatches, interpolate
from talking_points.dataset.scene import Scene
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
    maker = Maker(scenes, free, [], Names.of([person] * 6), points=4, wanted=WANTED, dialects=LOCALIZER_DIALECTS)
    settings = LocalizerSettings(base="mini", out=tmp_path, steps=3, photos=4, seed=1)
    return LocalizerBatches(maker, settings)


def test_a_step_is_the_same_however_many_share_it(batches: LocalizerBatches) -> None:
    whole, halves = batches.part(1, 0, 1), [batches.part(1, k, 2) for k in (0, 1)]
    texts = [whole.texts[k : k + WANTED] for k in range(0, 4 * WANTED, WANTED)]
    assert [halves[k % 2].texts[k // 2 * WANTED :][:WANTED] for k in range(4)] == texts
    targets = whole.targets_PN.split(WANTED)
    assert all(torch.equal(halves[k % 2].targets_PN[k // 2 * WANTED :][:WANTED], targets[k]) for k in range(4))
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

    draw_examples(cast("Maker", Recorder()), 4, (1, 2), shares=(0.4, 0.3, 0.3))
    assert sorted(drawn) == [(1, 2, k) for k in range(4)]
    kinds = np.random.default_rng([1, 2, 4]).choice(3, size=4, p=(0.4, 0.3, 0.3))
    assert [drawn[1, 2, k] for k in range(4)] == [KINDS[k] for k in kinds]
