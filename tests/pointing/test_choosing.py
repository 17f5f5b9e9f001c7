"""Of several texts of a point, the one that the localizer leads back with: by hand-made texts, and over a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talking_points import TalkingPoints
from talking_points.pointing import choosing
from talking_points.pointing.choosing import _naming_alike, _pattern, most_agreed
from talking_points.pointing.pretrained import load_roles
from talking_points.pointing.verify import verify
from tests.tiny import tiny_network

pytestmark = pytest.mark.usefixtures("short_texts")

POINTS = [(3.5, 4.0), (69.9, 39.9), (35.0, 20.0)]
NAMES = ("person", "shoe", "hand", "index finger", "finger", "top", "dress")


@pytest.fixture(scope="module")
def tp() -> TalkingPoints:
    return TalkingPoints.over(tiny_network(), choose=True)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 70, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("texts", "worth", "chosen"),
    [
        # Two that say nearly the same outweigh a surer one that stands alone.
        (["near the left of the shoe", "near the left of a shoe", "on the sole"], [0.5, 0.5, 0.55], 0),
        (["near the left of the shoe", "near the left of a shoe", "on the sole"], [0.1, 0.1, 0.9], 2),
        # Of equals the first, and where none leads back the first, the likeliest.
        (["a shoe", "a shoe"], [0.4, 0.4], 0),
        (["a", "b", "c"], [0.0, 0.0, 0.0], 0),
        (["", "a shoe"], [0.0, 0.2], 1),
        (["on the sole", "Near the TOP, left.", "near the top left"], [0.4, 0.2, 0.21], 1),
    ],
)
def test_what_is_worth_most_is_agreed_with_most(texts: list[str], worth: list[float], chosen: int) -> None:
    assert most_agreed(texts, worth) == texts[chosen]


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ("On the person's left shoe, near the top edge of the shoe.", True),
        ("On the person's right shoe.", False),
        ("On the person's shoe.", False),
        ("On the person's left hand.", False),
        ("On the person's left shoe, beside a dress.", False),
    ],
)
def test_the_likeliest_text_says_what_the_point_is_on(other: str, stays: bool) -> None:
    texts = ["On the person's left shoe.", other]
    assert _naming_alike(texts, _pattern(NAMES)) == (texts if stays else texts[:1])


def test_a_name_is_found_whole_and_in_any_number() -> None:
    names = _pattern(NAMES)
    assert names is not None
    assert names.findall("the left index finger of the persons, fingers") == [
        ("left", "index finger"),
        ("", "person"),
        ("", "finger"),
    ]
    assert names.findall("handsome, shoehorn") == []


def test_names_are_found_in_any_case() -> None:
    assert _naming_alike(["on the Lid", "on the Spout"], _pattern(("Lid", "Spout"))) == ["on the Lid"]


def test_without_names_all_texts_may_be_chosen() -> None:
    assert _naming_alike(["a shoe", "a hand"], _pattern(())) == ["a shoe", "a hand"]


def test_a_points_text_does_not_depend_on_the_others(tp: TalkingPoints, photo: Image.Image) -> None:
    together = tp.describe(photo, POINTS)
    assert together == [tp.describe(photo, [point])[0] for point in POINTS]
    turned = photo.rotate(90, expand=True)
    mixed = tp.describe_many([(photo, POINTS[2]), (turned, (1.0, 2.0)), (photo, POINTS[0])])
    assert mixed == [together[2], *tp.describe(turned, [(1.0, 2.0)]), together[0]]


def test_photos_that_look_alike_keep_their_own_pixels(tp: TalkingPoints) -> None:
    """Of one colour, so that the network sees the same square."""
    small, large = Image.new("RGB", (70, 40), (9, 90, 200)), Image.new("RGB", (140, 80), (9, 90, 200))
    texts = tp.describe_many([(small, (10.0, 10.0)), (large, (20.0, 20.0)), (large, (130.0, 70.0))])
    assert texts == [*tp.describe(small, [(10.0, 10.0)]), *tp.describe(large, [(20.0, 20.0), (130.0, 70.0)])]
    assert texts[0] == texts[1]


def test_the_choice_is_among_drawn_texts_and_the_likeliest(tp: TalkingPoints, photo: Image.Image) -> None:
    """The chosen text is likelier to lead back than the likeliest one is, as a mean."""
    likeliest = TalkingPoints.over(tp.descriptor.network).describe(photo, POINTS)
    chosen = tp.describe(photo, POINTS)
    assert chosen != likeliest

    def led_back(texts: list[str]) -> float:
        found = [tp.verify(photo, point, text) for point, text in zip(POINTS, texts, strict=True)]
        return sum(one.probability or 0.0 for one in found)

    assert led_back(chosen) > led_back(likeliest)


def test_only_what_may_be_chosen_is_read(
    tp: TalkingPoints, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def kept(localizer: Any, prepared: Any, asked: Any) -> Any:
        read.extend(text for _, text in asked)
        return verify(localizer, prepared, asked)

    monkeypatch.setattr(choosing, "verify", kept)
    monkeypatch.setattr(choosing, "_naming_alike", lambda texts, names: texts[:2])
    chosen = tp.describe(photo, POINTS)
    assert set(chosen) <= set(read) and len(read) <= 2 * len(POINTS)


def test_a_text_is_told_when_it_is_chosen(tp: TalkingPoints, photo: Image.Image) -> None:
    told: dict[int, str] = {}
    pairs = [(photo, point) for point in POINTS]
    assert tp.describe_many(pairs, on_text=told.__setitem__) == [told[k] for k in range(len(POINTS))]


def test_nothing_asked_is_nothing_answered(tp: TalkingPoints) -> None:
    assert tp.describe_many([]) == []


def test_a_regression_has_nothing_to_choose_by() -> None:
    with pytest.raises(ValueError, match="does not say how sure it is, so it cannot choose"):
        TalkingPoints.over(tiny_network(head="regression"), choose=True)


def test_a_descriptor_alone_has_nothing_to_choose_by() -> None:
    with pytest.raises(ValueError, match="a descriptor and a localizer are needed; there is no localizer"):
        TalkingPoints.over(tiny_network(roles=("descriptor",)), choose=True)


def test_a_model_of_others_has_one_text() -> None:
    with pytest.raises(ValueError, match="no checkpoint of ours: it gives each point one text; leave out --choose"):
        load_roles("endpoint:http://localhost:1/v1,some", choose=True)


def test_a_checkpoint_is_told_to_choose(tp: TalkingPoints, photo: Image.Image, tmp_path: Path) -> None:
    tp.save_pretrained(tmp_path / "tiny")
    assert load_roles(tmp_path / "tiny", choose=True).describe(photo, POINTS) == tp.describe(photo, POINTS)
    assert not load_roles(tmp_path / "tiny").choose
