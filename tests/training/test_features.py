from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from talking_points.dataset.scene import Scene
from talking_points.model.config import REGIONS
from talking_points.training.batches import PointBatches
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.objectives import descriptor_objective, localizer_objective
from tests.tiny import tiny_network
from tests.training.drawn import drawn_batches

ROOM = 10**9


def batches(scenes: list[Scene]) -> PointBatches:
    """Four steps over four photos: all of them have been seen after two."""
    return drawn_batches(scenes, photos=2, points=2)


def test_what_was_put_is_what_comes_back(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, ROOM)
    tensors = {"a": torch.randn(2, 3), "b": torch.tensor([True, False]), "c": torch.ones(3, dtype=torch.bfloat16)}
    assert cache.get("ab12") is None
    cache.put("ab12", tensors)
    for one in (cache, FeatureCache(tmp_path, ROOM)):  # another run finds it, too
        found = one.get("ab12")
        assert found is not None and found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        assert one.bytes == sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("left", [0, 40])
def test_a_file_that_is_cut_short_is_named_and_made_anew(
    left: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FeatureCache(tmp_path, ROOM)
    cache.put("ab12", {"a": torch.arange(100.0)})
    [file] = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:left])
    assert cache.get("ab12") is None
    assert f"{file} is broken" in caplog.text
    cache.put("ab12", {"a": torch.ones(2)})
    assert cache.get("ab12") is not None


def test_a_full_cache_keeps_what_it_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(tmp_path, 2000)
    for number in range(5):
        cache.put(f"k{number}", {"a": torch.zeros(200)})
    assert cache.get("k0") is not None and cache.get("k4") is None
    assert cache.bytes <= 2000 and caplog.text.count("is full") == 1


@pytest.mark.parametrize(
    ("role", "objective", "head"),
    [
        ("descriptor", descriptor_objective, "heatmap"),
        ("localizer", localizer_objective, "heatmap"),
        ("localizer", localizer_objective, "pointer"),
        ("localizer", localizer_objective, "regression"),
    ],
)
def test_a_second_epoch_does_no_vision_work_and_has_the_same_losses(  # type: ignore[no-untyped-def]
    role: str, objective, head: str, scenes: list[Scene], tmp_path: Path
) -> None:
    network, drawn = tiny_network(head=head), batches(scenes)
    vision, plain = FrozenVision(network, role, FeatureCache(tmp_path, ROOM)), FrozenVision(network, role)
    with network.acting_as(role), torch.no_grad():
        for step in range(4):
            loss, _ = objective(network, drawn[step], vision)
            torch.testing.assert_close(loss, objective(network, drawn[step], plain)[0], rtol=1e-4, atol=1e-5)
            # All four photos have been seen after two steps, each of them once.
            assert vision.encoded == min(2 * (step + 1), 4)
        assert vision.work_said() == f"4 passes of a photo through the vision encoder; the rest came from {tmp_path}"
        # Without a cache a photo that comes again counts again, and it is passes that are told, not photos.
        assert plain.work_said().startswith(
            "8 passes of a photo through the vision encoder, as a photo goes through anew"
        )
        # Another run shares it; another encoder does not.
        other = FrozenVision(network, role, FeatureCache(tmp_path, ROOM))
        objective(network, drawn[0], other)
        assert other.encoded == 0
        network.segmenter.mask_decoder.query_feat.weight.add_(1)
        changed = FrozenVision(network, role, FeatureCache(tmp_path, ROOM))
        objective(network, drawn[0], changed)
        assert changed.encoded > 0


@torch.no_grad()
def test_a_photo_that_fills_a_step_again_goes_through_once(scenes: list[Scene], tmp_path: Path) -> None:
    network, batch = tiny_network(), drawn_batches(scenes, photos=len(scenes), points=2)[0]
    order = [0, 1, 0, 1, 1]
    repeated = replace(
        batch,
        pixels_B3SS=batch.pixels_B3SS[order],
        photo_keys=[batch.photo_keys[k] for k in order],
        points_BP2=batch.points_BP2[order],
    )
    whole, whole_points = FrozenVision(network, "descriptor").photos_and_points(batch)
    for cache in (None, FeatureCache(tmp_path, ROOM)):
        vision = FrozenVision(network, "descriptor", cache)
        features, points = vision.photos_and_points(repeated)
        assert vision.encoded == 2
        torch.testing.assert_close(points, whole_points[order], rtol=1e-4, atol=1e-5)
        wanted = whole.image_tokens_BNC[order]
        torch.testing.assert_close(features.image_tokens_BNC, wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_training_with_another_region_makes_its_own_numbers(scenes: list[Scene], tmp_path: Path) -> None:
    network, batch = tiny_network(), batches(scenes)[0]
    for region in REGIONS:
        network.change(region=region)
        cached, plain = (
            FrozenVision(network, "descriptor", FeatureCache(tmp_path, ROOM)),
            FrozenVision(network, "descriptor"),
        )
        _, numbers = cached.photos_and_points(batch)
        assert cached.encoded > 0
        torch.testing.assert_close(numbers, plain.photos_and_points(batch)[1], rtol=1e-4, atol=1e-5)
    # Each of them is still there.
    for region in REGIONS:
        network.change(region=region)
        cached = FrozenVision(network, "descriptor", FeatureCache(tmp_path, ROOM))
        cached.photos_and_points(batch)
        assert cached.encoded == 0
