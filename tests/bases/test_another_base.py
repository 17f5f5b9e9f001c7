"""A base that shares nothing with the paper's network but a Llama: nobody outside asks which it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from talking_points import TalkingPoints
from talking_points.bases.base import Base
from talking_points.evaluation.samples import Sample
from talking_points.training.batches import PointBatch, PointBatches
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.objectives import descriptor_objective, localizer_objective
from talking_points.training.policy import Policy
from talking_points.training.reinforce import CachedBase, grpo_objective
from talking_points.training.roles import role_parameters
from talking_points.training.settings import GRPOSettings
from tests.bases.fake import FakeBase

pytestmark = pytest.mark.usefixtures("short_texts")

PHOTOS = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]


def settings() -> GRPOSettings:
    told: dict[str, Any] = {"keypoints": Path("unused"), "descriptor": "mini", "localizer": "mini", "blocks": 1}
    return GRPOSettings(**told, out=Path("unused"), steps=1, photos=2, points=1)


@pytest.fixture
def batch() -> PointBatch:
    samples = [
        Sample(
            sample_id=f"{n}",
            photo_id=f"{n}",
            open_photo=partial(photo.copy),
            size_wh=photo.size,
            point_px=(9.0, 9.0 + n),
            text="the left shoe",
        )
        for n, photo in enumerate(PHOTOS)
    ]
    return PointBatches(samples, settings(), side=FakeBase.side)[0]


def test_it_describes_and_finds() -> None:
    tp = TalkingPoints.over(FakeBase())
    texts = tp.describe_many([(PHOTOS[0], (3.0, 4.0)), (PHOTOS[1], (20.0, 9.0)), (PHOTOS[0], (30.0, 9.0))])
    assert len(texts) == 3 and all(isinstance(text, str) for text in texts)
    found = tp.locate_many([(PHOTOS[1], "the left shoe"), (PHOTOS[0], "the hood")])
    assert all(0 <= x <= 40 and 0 <= y <= 30 for x, y in (one.point_px for one in found))
    assert found[0].confidence is found[0].there is None


@pytest.mark.parametrize(
    ("role", "objective"), [("descriptor", descriptor_objective), ("localizer", localizer_objective)]
)
def test_its_roles_take_a_step(role: str, objective: Callable[..., Any], batch: PointBatch, tmp_path: Path) -> None:
    base = FakeBase()
    vision = FrozenVision(base, role, FeatureCache(tmp_path, 10**6))
    loss, _ = objective(base, batch, vision)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in role_parameters(base, role).values() if p.grad is not None)


def test_localization_rewards_it(batch: PointBatch) -> None:
    base: Base = FakeBase()
    policy = Policy(base, blocks=1)
    loss, metrics = grpo_objective(policy, batch, CachedBase(base), CachedBase(base), settings())
    loss.backward()
    assert all(p.grad is not None for p in policy.parameters.values()) and metrics["kl"] == pytest.approx(0, abs=1e-6)
