"""The embedded checkpoint: small enough, honest about itself, and able to do what its card says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib
import pytest

import talking_points
from talking_points import TalkingPoints
from talking_points.dataset.sources.loading import load_scenes
from talking_points.evaluation.metrics import mpck, normalised_errors
from talking_points.evaluation.protocol import localize_texts
from talking_points.evaluation.report import markdown_tables
from talking_points.evaluation.sets import make_set
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.generation import GREEDY
from tests.shared import SHARED, needs_photos

MINI = Path(talking_points.__file__).parent / "pretrained" / "mini"
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def mini() -> TalkingPoints:
    return TalkingPoints.from_pretrained("mini", device="cpu")


def test_size() -> None:
    assert sum(f.stat().st_size for f in MINI.rglob("*")) < 40e6


def test_the_card_tells_the_measured_scores() -> None:
    report = json.loads((MINI / "report.json").read_text())
    assert report["split"] == "test"
    assert markdown_tables(report) in (MINI / "README.md").read_text()


def test_a_photo_that_everybody_has(mini: TalkingPoints) -> None:
    """A point of the uniform's jacket: a text of the rules' kind, a place on the photo, and the same again."""
    [trip] = mini.round_trip(HOPPER, [(160.0, 450.0)])
    assert "point" in trip.description and 8 < len(trip.description.split()) < 120
    assert trip.found_px is not None and trip.error is not None
    assert [trip] == mini.round_trip(HOPPER, [(160.0, 450.0)])


def test_a_person_is_called_a_person(mini: TalkingPoints) -> None:
    assert "person" in mini.describe(HOPPER, [(160.0, 450.0)])[0]


def test_words_of_anybody_lead_there_and_what_is_not_there_is_told(mini: TalkingPoints) -> None:
    """Of 512 x 600 pixels, by eye. `there` is a chance, fitted to texts and phrases of which half do not fit."""
    nose, ear, zebra = mini.locate(HOPPER, ["her nose", "Where is her left ear?", "a zebra"])
    assert math.dist(nose.point_px, (265, 230)) < 40 and math.dist(ear.point_px, (367, 205)) < 40
    assert nose.there is not None and ear.there is not None and zebra.there is not None
    assert zebra.there < 0.2 and nose.there > 0.75 and ear.there > 0.55


def test_texts_and_places_are_those_of_transformers_and_peft(mini: TalkingPoints) -> None:
    """mini_answers.json: what transformers and PEFT said (greedily) and found. A new mini says something else.

    Made on one machine; elsewhere a text that hangs by a hair's breadth might differ.
    """
    rows = json.loads((Path(__file__).parent / "mini_answers.json").read_text())
    assert len(rows) == 7
    for row in rows:
        photo = HOPPER if row["photo"] == HOPPER.name else SHARED / "data" / row["photo"]
        if not photo.is_file():
            continue  # ../shared/data is not everywhere
        [[said]] = mini.descriptor.sample(photo, [row["point_px"]], GREEDY)
        assert said.text == row["text"]
        assert sum(said.logprobs) == pytest.approx(row["logprob"], abs=1e-3)
        assert math.dist(mini.localize(photo, [said.text])[0], row["found_px"]) < 0.01


@needs_photos
def test_it_finds_points_of_photos_it_was_not_trained_on(mini: TalkingPoints) -> None:
    """Far below the card's figure, far above a constant's: a broken prompt, adapter or coordinate would show."""
    sources = {"label-map": SHARED / "data" / "clothing_parts", "coco-parts": SHARED / "data" / "car_parts"}
    scenes = load_scenes(sources, "val")[::8]
    samples = make_set("plain", scenes, points=4, seed=1)
    found = localize_texts(mini, samples, [s.text or "" for s in samples])
    errors = normalised_errors(found, [s.point_px for s in samples], [s.size_wh for s in samples])
    assert mpck(errors) > FLOOR


FLOOR = 88.0
"""94.3 when this was written."""


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_a_quantized_base_says_much_the_same(mini: TalkingPoints, quantize: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    small = TalkingPoints.from_pretrained("mini", device="cpu", quantize=quantize)
    whole_llama = load_checkpoint(MINI).llama
    assert small.descriptor.network.llama.get_memory_footprint() < 0.7 * whole_llama.get_memory_footprint()
    [whole], [lossy] = mini.round_trip(HOPPER, [(115.5, 430.5)]), small.round_trip(HOPPER, [(115.5, 430.5)])
    shared = set(whole.description.split()) & set(lossy.description.split())
    assert len(shared) > 0.7 * len(set(whole.description.split()))
    # The same text leads to much the same place; another text may lead elsewhere.
    [found_px] = small.localize(HOPPER, [whole.description])
    assert whole.found_px is not None and math.dist(whole.found_px, found_px) < 50
    with pytest.raises(ValueError, match="cannot be saved"):
        small.save_pretrained(tmp_path / "small")


def test_an_unknown_quantization_is_told() -> None:
    with pytest.raises(ValueError, match="quantize is 'q4'; allowed: nf4, int8"):
        TalkingPoints.from_pretrained("mini", device="cpu", quantize="q4")
