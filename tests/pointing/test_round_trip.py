from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from talking_points.model.generation import generate
from talking_points.model.language import embed_suffixes
from talking_points.model.shared_prefix import read_prefix
from talking_points.pointing import pairs, role
from talking_points.pointing.prepared import prepare_photo
from talking_points.pointing.pretrained import choose_device, find_base, find_checkpoint, find_model, load_network
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import PhotoPoint, answer_as_json
from tests.tiny import HEADS, tiny_network

pytestmark = pytest.mark.usefixtures("short_texts")


@pytest.fixture(scope="module")
def tp() -> TalkingPoints:
    return TalkingPoints.over(tiny_network())


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 70, 3), dtype=np.uint8))


POINTS = [(3.5, 4.0), (69.9, 39.9), (35.0, 20.0)]
TEXTS = ["the left shoe", "the point is near the top edge of the hood of the car", "a"]


def test_many_points_in_one_call_are_the_points_one_by_one(tp: TalkingPoints, photo: Image.Image) -> None:
    together = tp.describe(photo, POINTS)
    assert together == [tp.describe(photo, [p])[0] for p in POINTS]
    assert len(set(together)) > 1


def test_many_texts_in_one_call_are_the_texts_one_by_one(tp: TalkingPoints, photo: Image.Image) -> None:
    together = np.array(tp.localize(photo, TEXTS))
    alone = np.array([tp.localize(photo, [t])[0] for t in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-3)
    assert (together >= 0).all() and (together <= (70, 40)).all()


@torch.no_grad()
def test_shared_prefix_decoding_is_transformers_greedy_decoding(tp: TalkingPoints) -> None:
    """Token for token, prompts on two photos with prefixes of unequal length."""
    network = tp.descriptor.network
    llama, prompts = network.llama, network.prompts
    prefixes = [torch.randn(7, 32), torch.randn(4, 32)]
    photo_of_prompt = torch.tensor([0, 1, 1])
    suffix = embed_suffixes([prompts.describe()] * 3, network.embedding, prompts.mark_id, torch.randn(3, 32))
    with network.acting_as("descriptor"):
        ours = generate(
            llama,
            read_prefix(llama, pad_sequence(prefixes, batch_first=True), [7, 4])[1],
            photo_of_prompt,
            suffix,
            end_id=prompts.end_id,
            max_new_tokens=12,
        )
        for p, b in enumerate(photo_of_prompt.tolist()):
            theirs = llama.generate(
                inputs_embeds=torch.cat([prefixes[b], suffix[p]])[None],
                attention_mask=torch.ones(1, len(prefixes[b]) + suffix.shape[1], dtype=torch.long),
                do_sample=False,
                max_new_tokens=12,
                eos_token_id=prompts.end_id,
            )[0].tolist()
            assert ours[p][0].ids == [t for t in theirs if t != prompts.end_id]


def test_texts_are_told_as_they_are_written(tp: TalkingPoints, photo: Image.Image) -> None:
    """Over two photos and batches of two prompts: the last that is told of each point is its whole text."""
    mixed = [(photo, POINTS[0]), (photo.rotate(90, expand=True), (1.0, 2.0)), (photo, POINTS[1]), (photo, POINTS[2])]
    small = TalkingPoints.over(tp.descriptor.network, memory_bytes=1)
    told: dict[int, list[str]] = {}
    texts = small.describe_many(mixed, on_text=lambda place, text: told.setdefault(place, []).append(text))
    assert texts == tp.describe_many(mixed)
    for point, text in enumerate(texts):
        assert told[point][-1] == text
        assert all(more.startswith(less) for less, more in zip(told[point], told[point][1:], strict=False))


def test_round_trip_error_is_in_normalised_coordinates(tp: TalkingPoints, photo: Image.Image) -> None:
    [trip] = tp.round_trip(photo, [(35.0, 20.0)])
    assert trip.found_px is not None
    dx, dy = (trip.found_px[0] - 35.0) / 70, (trip.found_px[1] - 20.0) / 40
    assert trip.error == pytest.approx((dx**2 + dy**2) ** 0.5)


def test_photos_together_are_photos_alone(tp: TalkingPoints, photo: Image.Image) -> None:
    """Photos of other sizes, mixed, unequally often."""
    other = photo.resize((20, 20))
    points = [(photo, POINTS[0]), (other, (1.0, 2.0)), (photo, POINTS[1]), (photo, POINTS[2]), (other, (19.0, 7.0))]
    assert tp.describe_many(points) == [tp.describe(one, [point])[0] for one, point in points]
    texts = [(photo, TEXTS[1]), (other, TEXTS[0]), (photo, TEXTS[0]), (photo, TEXTS[2])]
    alone = [tp.localize(one, [text])[0] for one, text in texts]
    np.testing.assert_allclose([found.point_px for found in tp.locate_many(texts)], alone, atol=1e-3)
    assert all(found.there is not None and 0 <= found.there <= 1 for found in tp.locate_many(texts))


@pytest.mark.parametrize("head", HEADS)
def test_a_head_says_whether_the_thing_is_there_and_a_regression_does_not_know(head: str, photo: Image.Image) -> None:
    tp = TalkingPoints.over(tiny_network(head=head))
    found = tp.locate(photo, TEXTS)
    [trip] = tp.round_trip(photo, POINTS[:1])
    answers = [answer_as_json(PhotoPoint(text=TEXTS[0]).answered(one, photo.size)) for one in found]
    answers.append(answer_as_json(trip.as_point()))
    there = [one.there for one in found] + [trip.there]
    assert [answer["there"] for answer in answers] == there
    if head == "regression":
        assert there == [None] * 4 and not any("confidence" in answer for answer in answers)
    else:
        assert all(one is not None and 0 <= one <= 1 for one in there) and len(set(there)) > 1


def test_photos_of_one_content_and_two_sizes_keep_their_own_pixels(tp: TalkingPoints) -> None:
    small, large = (Image.new("RGB", (side, side), "red") for side in (20, 200))
    [one, ten] = tp.locate_many([(small, "a"), (large, "a")])
    assert ten.point_px == pytest.approx([10 * value for value in one.point_px], abs=1e-3)


def test_photos_are_opened_once_and_only_so_many_at_a_time(
    tp: TalkingPoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.new("RGB", (20 + number, 20), "red").save(path)
    mixed = [(paths[n % 3], (1.0, 1.0 + n)) for n in range(7)]
    whole = tp.describe_many(mixed)
    reads, described = [], []
    monkeypatch.setattr(role, "prepare_photo", lambda photo, side: reads.append(photo) or prepare_photo(photo, side))
    monkeypatch.setattr(role, "OPENED_BYTES", 1)
    work = pairs.in_batches
    monkeypatch.setattr(pairs, "in_batches", lambda some, *rest: described.append(len(some)) or work(some, *rest))
    assert tp.describe_many(mixed) == whole
    assert reads == paths and described == [3, 2, 2]


def test_one_instead_of_a_list_is_said(tp: TalkingPoints, photo: Image.Image) -> None:
    for ask in (tp.describe, tp.round_trip):
        with pytest.raises(TypeError, match=r"points_px is one point, \(3.0, 4.0\); expected a list of points"):
            ask(photo, (3.0, 4.0))
    for find in (tp.localize, tp.locate):
        with pytest.raises(TypeError, match="texts is one text, 'the left shoe'; expected a list of texts"):
            find(photo, "the left shoe")


def test_what_is_no_pair_is_said(tp: TalkingPoints, photo: Image.Image) -> None:
    for ask in (tp.describe_many, tp.round_trip_many):
        with pytest.raises(TypeError, match=r"pair 2 is Image; expected \(photo, \(x, y\)\)"):
            ask([(photo, (1.0, 1.0)), photo])
        with pytest.raises(ValueError, match=r"pair 2: the point \[71.0, 1.0\] is outside the 70x40 photo"):
            ask([(photo, (1.0, 1.0)), (photo, (71, 1))])
    with pytest.raises(TypeError, match=r"pair 1 is str; expected \(photo, text\)"):
        tp.locate_many(["the left shoe"])
    with pytest.raises(TypeError, match="pair 1: expected a text, got tuple"):
        tp.locate_many([(photo, (1, 2))])
    with pytest.raises(ValueError, match="pair 2: the text is empty"):
        tp.locate_many([(photo, "a"), (photo, " ")])
    with pytest.raises(ValueError, match="the photo was prepared at 7 px"):
        tp.locate_many([(prepare_photo(photo, 7), "a")])


def test_a_description_without_words_or_of_too_many_is_not_looked_for(
    tp: TalkingPoints, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tp.descriptor, "describe_many", lambda pairs, **_: ["...", "left " * 600, "the left shoe"])
    nothing, too_long, trip = tp.round_trip(photo, [(1, 1), (2, 2), (3, 3)])
    assert nothing.found_px is too_long.found_px is nothing.problem is trip.problem is None
    assert trip.found_px is not None and str(too_long.problem).endswith("the model reads 512; shorten it")


def test_no_points_no_texts(tp: TalkingPoints, photo: Image.Image) -> None:
    assert tp.describe(photo, []) == []
    assert tp.localize(photo, []) == []
    assert tp.round_trip(photo, []) == []
    assert tp.describe_many([]) == tp.locate_many([]) == tp.round_trip_many([]) == []


@pytest.mark.parametrize("size", [(1, 1), (2000, 1), (1, 2000)])
def test_photos_of_any_shape(tp: TalkingPoints, size: tuple[int, int]) -> None:
    [trip] = tp.round_trip(Image.new("RGB", size, "red"), [(size[0] / 2, size[1] / 2)])
    assert trip.found_px is not None
    assert 0 <= trip.found_px[0] <= size[0] and 0 <= trip.found_px[1] <= size[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  ", "text 2: the text is empty"),
        ("\0", "text 2: the text is empty"),
        ("?!..", "text 2: the text is empty"),
        ("left " * 600, "text 2: the text has .* tokens, the model reads 512; shorten it"),
        ("look [SEG] here", r"text 2: the text holds \[SEG\], which is reserved"),
    ],
)
def test_a_bad_text_is_named(tp: TalkingPoints, photo: Image.Image, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tp.localize(photo, ["fine", text])


def test_a_point_outside_is_named(tp: TalkingPoints, photo: Image.Image) -> None:
    with pytest.raises(ValueError, match=r"point 2 \[71\.0, 3\.0\] is outside the 70x40 photo"):
        tp.describe(photo, [(1, 1), (71, 3)])


def test_save_and_load(tp: TalkingPoints, photo: Image.Image, tmp_path: Path) -> None:
    tp.save_pretrained(tmp_path / "model", dtype=torch.float32)
    again = TalkingPoints.from_pretrained(tmp_path / "model", device="cpu")
    assert again.describe(photo, POINTS) == tp.describe(photo, POINTS)
    np.testing.assert_allclose(again.localize(photo, TEXTS), tp.localize(photo, TEXTS), atol=1e-4)


def test_unknown_models_and_devices(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown model 'maxi': 'mini', a checkpoint folder, or a Hub id"):
        load_network("maxi")
    with pytest.raises(ValueError, match=r"a Hub id \(owner/name\), or endpoint:URL,MODEL$"):
        find_model("maxi")
    for find in (find_base, find_checkpoint):
        with pytest.raises(ValueError, match=r"'maxi': 'mini', a checkpoint folder, or a Hub id \(owner/name\)$"):
            find("maxi")
    # These can be nothing but folders.
    for name in ("maxi/", "./maxi", "../maxi", "/maxi", "~/maxi", "runs/maxi/checkpoint", "runs/maxi/"):
        for find in (find_model, find_base, find_checkpoint):
            with pytest.raises(
                ValueError, match=f"^no such folder: {name}; give a checkpoint folder, 'mini', or a Hub"
            ):
                find(name)
    with pytest.raises(ValueError, match="is no checkpoint: it has no config.json"):
        load_network(tmp_path)
    with pytest.raises(ValueError, match="device 'quantum' cannot be used"):
        choose_device("quantum")


@pytest.mark.parametrize("head", [head for head in HEADS if head != "regression"])
def test_half_precision_finds_a_thing_as_likely_there(head: str, photo: Image.Image) -> None:
    full, half = (TalkingPoints.over(tiny_network(head=head)) for _ in range(2))
    half.descriptor.network.place("cpu", torch.bfloat16)
    said, meant = ([one.there for one in tp.locate(photo, TEXTS)] for tp in (half, full))
    assert said == pytest.approx(meant, abs=0.05)


def test_half_precision_answers_nearly_alike(photo: Image.Image) -> None:
    """What a GPU runs: bf16 words, fp32 coordinates. Only the language model may round.

    A regression: the answers of other heads jump between places that are nearly as likely.
    """
    full, half = (TalkingPoints.over(tiny_network(head="regression")) for _ in range(2))
    half.descriptor.network.place("cpu", torch.bfloat16)
    assert half.descriptor.network.llama.dtype == torch.bfloat16
    assert {p.dtype for p in half.descriptor.network.segmenter.parameters()} == {torch.float32}
    np.testing.assert_allclose(half.localize(photo, TEXTS), full.localize(photo, TEXTS), atol=1.5)
    assert len(half.describe(photo, POINTS)) == 3
