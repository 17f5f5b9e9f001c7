"""Stock models in the two roles: what they are shown and told, how their answers are read, in frames of all kinds."""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from talking_points import TalkingPoints
from talking_points.bases.qwen3_vl import Qwen3VL
from talking_points.endpoint import Endpoint, parse_endpoint
from talking_points.photos import letterbox
from talking_points.pointing.forms import FORMS
from talking_points.pointing.pictures import CLOSE_UP_SIDE_PX, close_up
from talking_points.pointing.prepared import PreparedPhoto, prepare_photo, upright_photo
from talking_points.pointing.pretrained import find_checkpoint, load_roles, over_endpoint
from talking_points.pointing.stock import Question, Refusal, StockDescriptor, StockLocalizer
from talking_points.pointing.stock_model import StockAsker
from talking_points.points import look_normalised
from tests.bases.tiny_qwen import write_tiny
from tests.endpoint_server import Reply, completion, prompt_of, serving


class Told:
    """Answers as it is told, and remembers what it was asked. It sees photos at half their size, in whole pixels."""

    name, shares_photos, ring_side_px = "told", False, 512

    def __init__(self, answer: Callable[[Question], str | Refusal]) -> None:
        self.answer = answer
        self.questions: list[Question] = []

    def shown_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        return max(1, size_wh[0] // 2), max(1, size_wh[1] // 2)

    def ask(self, questions: Sequence[Question], *, on_text: object = None) -> list[str | Refusal]:
        self.questions += questions
        return [self.answer(one) for one in questions]


WRITTEN = {
    "qwen": '```json\n[{{"point_2d": [{x}, {y}], "label": "point"}}]\n```',
    "qwen-pixels": '[{{"point_2d": [{x}, {y}]}}]',
    "molmo": '<point x="{x}" y="{y}" alt="a">a</point>',
    "molmo2": '<points coords="1 1 {x} {y}">a</points>',
    "gemini": '[{{"point": [{y}, {x}], "label": "a"}}]',
    "internvl": "<ref>a</ref><box>[[{x}, {y}, {x}, {y}]]</box>",
    "moondream": '{{"points": [{{"x": {x}, "y": {y}}}]}}',
    "pixels": '{{"x": {x}, "y": {y}}}',
}


@given(
    form=st.sampled_from(sorted(FORMS)),
    size_wh=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    unit=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_an_answer_is_a_pixel_of_the_photo(form: str, size_wh: tuple[int, int], unit: tuple[float, float]) -> None:
    """For photos of every shape and in every form: what the model writes about its picture is found on the photo."""
    asker = Told(lambda question: WRITTEN[form].format(x=x, y=y))
    shown_w, shown_h = asker.shown_wh(size_wh)
    full_w, full_h = (FORMS[form].full or shown_w), (FORMS[form].full or shown_h)
    x, y = round(unit[0] * full_w, 3), round(unit[1] * full_h, 3)
    # Fractions below 1 of a pixel or a thousandth are told to be shares.
    assume(form == "moondream" or not look_normalised([(x, y)], (full_w, full_h)))
    [found] = StockLocalizer(asker, form).locate(Image.new("RGB", size_wh), ["the left shoe"])
    assert found.point_px == pytest.approx((x / full_w * size_wh[0], y / full_h * size_wh[1]), abs=1e-6)
    assert (found.there, found.problem, found.confidence) == (1.0, None, None)


def test_not_there_unreadable_and_refused_are_three_answers(caplog: pytest.LogCaptureFixture) -> None:
    said = {
        "sombrero": "[]",
        "tractor": "I would rather\nnot.",
        "kitten": Refusal("refused by the content filter of m"),
    }
    asker = Told(lambda question: next((a for w, a in said.items() if w in question.words), '{"x": 3, "y": 4}'))
    with caplog.at_level(logging.WARNING):
        found = StockLocalizer(asker, "pixels").locate(
            Image.new("RGB", (40, 30)), ["a sombrero", "a tractor", "a kitten", "it"]
        )
    hat, car, cat, it = found
    assert hat.there == 0.0 and hat.problem is None and math.isnan(hat.point_px[0])
    assert car.there is None and car.problem == "the answer holds no JSON: 'I would rather not.'"
    assert cat.problem == "refused by the content filter of m" and it.point_px == (6.0, 8.0)
    [line] = caplog.messages
    assert "told: no answer to 2 of 4 questions; the first: the answer holds no JSON" in line


def test_of_several_points_the_second_is_the_runner_up() -> None:
    asker = Told(lambda question: '[{"point_2d": [500, 500]}, {"point_2d": [250, 1000]}]')
    [found] = StockLocalizer(asker, "qwen").locate(Image.new("RGB", (40, 20)), ["a wheel"])
    assert (found.point_px, found.runner_up_px) == ((20.0, 10.0), (10.0, 20.0))


def test_a_point_is_shown_with_a_ring_enlarged_and_in_the_models_numbers() -> None:
    asker = Told(lambda question: "  on a\nwall ")
    photo = Image.new("RGB", (2000, 1000), "gray")
    assert StockDescriptor(asker, "qwen").describe(photo, [(1000.0, 250.0), (3.0, 4.0)]) == ["on a wall"] * 2
    question = asker.questions[0]
    ringed, enlarged = question.pictures
    assert question.photo is None and ringed.size == (512, 256) and enlarged.size == (CLOSE_UP_SIDE_PX,) * 2
    assert "The ring is at [500, 250], counted from 0 to 1000" in question.words and "$" not in question.words
    assert "The first picture is a photo with a thin red ring" in question.words
    # The surroundings are 600 px wide and begin at the photo's top.
    for picture, middle in ((ringed, (256, 64)), (enlarged, (224, 250 / 600 * 448))):
        values = np.asarray(picture).astype(int)
        rows, columns = np.nonzero((values[..., 0] > 200) & (values[..., 1] < 60))
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(middle, abs=1.5)


def test_pixels_are_those_of_the_picture_with_the_ring() -> None:
    asker = Told(lambda question: "x")
    StockDescriptor(asker, "pixels").describe(Image.new("RGB", (2048, 1024)), [(1000.0, 500.0)])
    assert "The ring is at x = 250, y = 125 pixels from the top left corner." in asker.questions[0].words


@pytest.mark.parametrize("point", [(0.0, 0.0), (300.0, 200.0), (150.0, 100.0)])
@pytest.mark.parametrize("size_wh", [(300, 200), (301, 30)])
def test_the_surroundings_stay_inside_the_photo_where_they_can(
    size_wh: tuple[int, int], point: tuple[float, float]
) -> None:
    point = min(point[0], size_wh[0]), min(point[1], size_wh[1])
    values = np.asarray(close_up(Image.new("RGB", size_wh, (0, 0, 255)), point)).astype(int)
    gray = (abs(values - 128) < 20).all(-1).mean()
    assert gray < 0.02 if size_wh[1] == 200 else 0.3 < gray < 0.7
    assert ((values[..., 0] > 200) & (values[..., 1] < 60)).any()


def test_bad_texts_and_photos_are_told() -> None:
    localizer = StockLocalizer(Told(lambda question: "[]"), "qwen")
    photo = Image.new("RGB", (40, 20))
    with pytest.raises(ValueError, match="text 2: the text is empty"):
        localizer.locate(photo, ["a", "\0."])
    with pytest.raises(ValueError, match=r"pair 1: the text has 5,000 characters; at most 4,000"):
        localizer.locate_many([(photo, "x" * 5000)])
    letterboxed = prepare_photo(photo, 32)
    with pytest.raises(ValueError, match="letterboxed for another model"):
        localizer.prepare(letterboxed)
    # The other way round, the paper's network takes what a stock model opened.
    again = prepare_photo(upright_photo(photo), 32)
    assert isinstance(again, PreparedPhoto) and np.array_equal(again.square_3SS, letterbox(photo, 32))


def test_requests_side_by_side_come_back_in_their_order() -> None:
    def reply(asked: dict[str, Any], number: int) -> Reply:
        wanted = re.search(r"window (\d+)", prompt_of(asked))
        assert wanted is not None
        return completion(json.dumps([{"point_2d": [int(wanted[1]), 500]}]))

    photo = Image.new("RGB", (1000, 100))
    with serving(reply) as server:
        found = [
            over_endpoint(Endpoint(parse_endpoint(f"endpoint:{server.url},qwen")), concurrency=many).locate(
                photo, [f"window {n}" for n in range(40)]
            )
            for many in (1, 8)
        ]
    assert found[0] == found[1] and [one.point_px[0] for one in found[0]] == list(range(40))


def test_who_asks_an_endpoint_imports_no_torch() -> None:
    program = (
        "import sys\nfrom PIL import Image\nfrom talking_points.pointing.pretrained import load_roles\n"
        "tp, photo = load_roles(sys.argv[1]), Image.new('RGB', (40, 20))\n"
        "print(tp.locate(photo, ['a shoe'])[0].point_px, tp.describe(photo, [(3, 4)]), 'torch' in sys.modules)"
    )
    with serving(lambda asked, number: completion('[{"point_2d": [500, 500]}]')) as server:
        command = [sys.executable, "-c", program, f"endpoint:{server.url},qwen3-vl"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "(20.0, 10.0) ['[{\"point_2d\": [500, 500]}]'] False\n"


# --- a random model of the real classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("qwen") / "tiny")


@pytest.fixture
def tp(folder: Path) -> TalkingPoints:
    return TalkingPoints.from_pretrained(folder, device="cpu")


def noise(seed: int, width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def asker_of(tp: TalkingPoints) -> StockAsker:
    assert isinstance(tp.descriptor, StockDescriptor) and isinstance(tp.descriptor.asker, StockAsker)
    return tp.descriptor.asker


POINTS = [(20.0, 30.0), (100.0, 50.0), (140.0, 90.0)]


def test_a_photo_is_encoded_once_across_points_roles_and_calls(
    tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[bool, int]] = []
    look = Qwen3VL.look
    monkeypatch.setattr(
        Qwen3VL, "look", lambda self, some, *, whole: looked.append((whole, len(some))) or look(self, some, whole=whole)
    )
    photo = noise(0, 140, 90)
    texts = tp.describe(photo, POINTS)
    tp.locate(photo, ["the hood", "a hat"])
    tp.round_trip(photo, POINTS[:1])
    assert [count for whole, count in looked if whole] == [1]
    # The ring and the surroundings of each point: 3 and 1.
    assert sum(count for whole, count in looked if not whole) == 8
    assert len(texts) == 3 and all(isinstance(text, str) for text in texts)


def test_points_together_are_points_alone_whatever_the_memory(tp: TalkingPoints) -> None:
    photos = [noise(0, 140, 90), noise(1, 90, 200)]
    pairs = [(photos[0], POINTS[0]), (photos[1], (9.0, 9.0)), (photos[0], POINTS[1]), (photos[1], (80.0, 190.0))]
    told: dict[int, list[str]] = {}
    together = tp.describe_many(pairs, on_text=lambda n, text: told.setdefault(n, []).append(text))
    asker = asker_of(tp)
    small = StockAsker(asker.base, memory_bytes=1)
    alone = StockDescriptor(small, "qwen").describe_many(pairs)
    assert together == alone and len(set(together)) > 1
    assert [told[n][-1] for n in range(4)] == together
    texts = [(photo, f"the {n}th window") for n, photo in enumerate([*photos, *photos])]
    assert [one.problem for one in tp.locate_many(texts)] == [
        one.problem for one in StockLocalizer(small, "qwen").locate_many(texts)
    ]


def test_loading_says_what_it_needs(folder: Path) -> None:
    with pytest.raises(ValueError, match="is a stock model .qwen3_vl., which describes and finds as it is; here a"):
        find_checkpoint(folder)
    with pytest.raises(ValueError, match="style is 'yolo'; allowed: qwen"):
        load_roles(folder, style="yolo")
    with pytest.raises(ValueError, match="mini is a checkpoint of ours; style is for stock models and endpoints"):
        load_roles("mini", style="qwen")
    with pytest.raises(ValueError, match="is an endpoint, which has its own device"):
        load_roles("endpoint:http://127.0.0.1:1/v1,m", device="cpu")
    with pytest.raises(ValueError, match="no checkpoint of ours to save"):
        load_roles("endpoint:http://127.0.0.1:1/v1,m").save_pretrained("nowhere")
