from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from PIL import Image

from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.encoding import PhotoCache, encode_photos
from talking_points.pointing.pairs import in_batches
from talking_points.pointing.prepared import prepare_photo
from talking_points.pointing.round_trip import TalkingPoints
from tests.tiny import tiny_network

PHOTO = Image.effect_noise((70, 40), 80).convert("RGB")
OTHER = Image.new("RGB", (30, 50), "green")


class Block:
    bytes = 10


def test_the_cache_drops_what_was_unused_for_longest() -> None:
    cache, blocks = PhotoCache(25), [Block(), Block(), Block()]
    cache.put("features", b"0", blocks[0])
    cache.put("features", b"1", blocks[1])
    assert cache.get("features", b"0") is blocks[0]
    cache.put("features", b"2", blocks[2])
    assert cache.get("features", b"1") is None
    assert cache.get("features", b"0") is blocks[0] and cache.get("features", b"2") is blocks[2]
    assert cache.get("localizer", b"0") is None
    assert cache.bytes == 20
    cache.put("localizer", b"0", Block())
    assert cache.get("features", b"0") is None  # the oldest makes room
    assert cache.bytes == 20 and cache.get("localizer", b"0") is not None
    with pytest.raises(ValueError, match="max_bytes is -1"):
        PhotoCache(-1)


def test_a_photo_is_encoded_once_whatever_its_path(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both roles, two calls, a copy under another name: one pass through the vision encoder."""
    tp = TalkingPoints.over(tiny_network())
    passes = []
    forward = tp.descriptor.network.segmenter.forward
    monkeypatch.setattr(
        tp.descriptor.network.segmenter, "forward", lambda pixels: passes.append(len(pixels)) or forward(pixels)
    )
    for name in ("a.png", "b.png"):
        PHOTO.save(tmp_path / name)
    first = tp.round_trip(tmp_path / "a.png", [(3.0, 4.0), (60.0, 30.0)])
    again = tp.round_trip_many([(tmp_path / "b.png", (3.0, 4.0)), (OTHER, (1.0, 1.0)), (PHOTO, (60.0, 30.0))])
    assert passes == [1, 1]
    assert [trip.description for trip in first] == [again[0].description, again[2].description]
    for one, other in zip(first, (again[0], again[2]), strict=True):
        assert one.error == pytest.approx(other.error, abs=1e-4)


def test_without_room_nothing_is_kept_and_answers_are_the_same() -> None:
    network = tiny_network()
    points = [(3.0, 4.0), (60.0, 30.0)]
    none, some = PhotoCache(0), PhotoCache()
    assert PointDescriptor(network, cache=none).describe(PHOTO, points) == PointDescriptor(
        network, cache=some
    ).describe(PHOTO, points)
    assert none.bytes == 0 and some.bytes > 0


def test_equal_photos_in_one_call_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    side = network.config.vision.image_size
    photos = [prepare_photo(photo, side) for photo in (PHOTO, OTHER, PHOTO)]
    with torch.inference_mode():
        encoded = encode_photos(network, photos, PhotoCache(0))
    tokens = encoded.features.image_tokens_BNC
    assert len(tokens) == 3 and torch.equal(tokens[0], tokens[2]) and not torch.equal(tokens[0], tokens[1])


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    seen = []

    def work(some: Sequence[int]) -> list[int]:
        seen.append(len(some))
        if len(some) > 3:
            raise torch.OutOfMemoryError("too much")
        return [value * value for value in some]

    assert in_batches(range(10), 8, work) == [n * n for n in range(10)]
    assert seen == [8, 4, 2, 2, 2, 2, 2]

    def never(some: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("too much")

    # As Apple's chips say it.
    def once(items: list[int]) -> list[int]:
        if len(items) > 2:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")
        return items

    assert in_batches([1, 2, 3, 4, 5], 5, once) == [1, 2, 3, 4, 5]
    with pytest.raises(torch.OutOfMemoryError):
        in_batches(range(4), 4, never)


def test_the_memory_budget_picks_the_batch() -> None:
    network = tiny_network()
    assert PointDescriptor(network, memory_bytes=1).prompts_at_once(200) == 1
    small, large = (PointDescriptor(network, memory_bytes=2**n).prompts_at_once(200) for n in (22, 23))
    assert 1 < small < large <= 2 * small + 1
    tp = TalkingPoints.over(network, memory_bytes=1)
    points = [(3.0, 4.0), (60.0, 30.0), (20.0, 10.0)]
    assert tp.describe(PHOTO, points) == TalkingPoints.over(network).describe(PHOTO, points)
