from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talking_points import TalkingPoints
from talking_points.evaluation.contestants import OurModels
from talking_points.evaluation.run import (
    PHOTO_CENTRE,
    TRAINING_POINTS,
    SampleSet,
    check_models,
    sets_of_data,
    sets_of_sources,
    without_skipped,
)
from talking_points.evaluation.sets import make_set
from talking_points.evaluation.settings import EvaluationSettings
from talking_points.evaluation.written import WrittenTexts, texts_of_data
from talking_points.model.checkpoint import save_checkpoint
from tests.evaluation.test_protocol import SCENES
from tests.tiny import tiny_network

pytestmark = pytest.mark.usefixtures("short_texts")


def no_problem(problem: str) -> None:
    raise AssertionError(problem)


def test_a_limit_takes_of_every_source_and_a_file_knows_no_constant(tmp_path: Path) -> None:
    lines = []
    for source, count in (("first", 30), ("second", 30)):
        for number in range(count):
            name = f"{source}{number}.png"
            Image.new("RGB", (4, 4)).save(tmp_path / name)
            line = {"photo_path": name, "point_px": [3, 3], "size_wh": [4, 4], "text": "a corner", "source": source}
            lines.append(json.dumps(line))
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(lines))
    settings = EvaluationSettings(out=tmp_path, data=(file,), limit=10)
    (one,) = sets_of_data(settings, no_problem)
    assert Counter(sample.source for sample in one.samples) == {"first": 5, "second": 5}
    # Not (0.75, 0.75), where all points of the file are.
    assert one.mean_unit.tolist() == [0.5, 0.5] and one.mean_of == PHOTO_CENTRE != TRAINING_POINTS


def test_two_files_with_lines_of_the_same_numbers_keep_their_own_texts(tmp_path):
    """Both count from line 1, and texts are looked up by the sample's id."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    for name, text in (("long", "the whole story"), ("short", "the gist")):
        line = {"photo_path": "a.png", "point_px": [1, 2], "size_wh": [40, 30], "text": text}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    files = (tmp_path / "long.jsonl", tmp_path / "short.jsonl")
    sets = sets_of_data(EvaluationSettings(out=tmp_path, data=files), no_problem)
    assert [one.samples[0].sample_id for one in sets] == ["long.jsonl line 1", "short.jsonl line 1"]
    samples = [sample for one in sets for sample in one.samples]
    texts = texts_of_data(samples, "--table 1").texts
    assert [texts[sample.sample_id] for sample in samples] == ["the whole story", "the gist"]
    # One file alone keeps the ids that its lines have.
    (alone,) = sets_of_data(EvaluationSettings(out=tmp_path, data=files[:1]), no_problem)
    assert alone.samples[0].sample_id == "line 1"


def test_a_limit_holds_for_part_labelled_photos_and_their_reading_is_told(
    tmp_path: Path, label_map_writer: Any
) -> None:
    names = [f"p{k}" for k in range(6)]
    label_map_writer(tmp_path / "people", names[:3], names[3:])
    told: list[tuple[str, int, int]] = []
    source = (f"label-map={tmp_path / 'people'}",)
    settings = EvaluationSettings(out=tmp_path / "out", source=source, split="test", points=4, limit=5)
    sets = sets_of_sources(settings, lambda *told_of: told.append(told_of))
    assert [len(one.samples) for one in sets] == [5] * len(sets) and len(sets) > 1
    assert ("photos of label-map, test", 3, 3) in told
    # Why photos are read that are not scored.
    assert ("photos of label-map, train (for the constant: the mean of its points)", 3, 3) in told


def test_what_somebody_skipped_is_left_out_for_all() -> None:
    samples = make_set("plain", SCENES[:1], points=4, seed=0)
    one = SampleSet(name="plain", samples=samples, mean_unit=np.array([0.5, 0.5]))
    ids = [sample.sample_id for sample in samples]

    def skips(*skipped: str) -> WrittenTexts:
        return WrittenTexts(where="a file", texts={}, skipped=frozenset(skipped))

    # Points of other sets may be in a file, too.
    files = {"file:a=Ann": skips(ids[1], "hard/0/0"), "file:b=Ben": skips(ids[3], ids[1]), "file:c": skips()}
    left = without_skipped(one, files)
    assert left.samples == [samples[0], samples[2]]
    assert left.skipped == {"Ann": [ids[1]], "Ben": [ids[1], ids[3]]}
    assert without_skipped(one, {"file:c": skips()}).samples == samples
    with pytest.raises(ValueError, match="plain has nothing to score: 4 points are in no row: Ann skipped 4"):
        without_skipped(one, {"file:a=Ann": skips(*ids)})


def test_who_chooses_among_texts_needs_both_roles(tmp_path: Path) -> None:
    save_checkpoint(tiny_network(roles=("descriptor",)), tmp_path / "alone")
    check_models("mini", ["chosen", f"descriptor:{tmp_path / 'alone'}"])
    with pytest.raises(ValueError, match="has no localizer"):
        check_models("mini", [f"chosen:{tmp_path / 'alone'}"])
    with pytest.raises(ValueError, match="chosen is of a checkpoint of ours; endpoint:http://h:1/v1,m gives"):
        check_models("endpoint:http://h:1/v1,m", ["chosen"])


def test_chosen_texts_are_a_row_of_their_own(tmp_path: Path) -> None:
    """Beside the likeliest: what `describe --choose` answers."""
    network = tiny_network()
    save_checkpoint(network, tmp_path / "tiny")
    models = OurModels(str(tmp_path / "tiny"), "cpu", None, None)
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 70, 3), dtype=np.uint8))
    pairs = [(photo, (3.5, 4.0)), (photo, (35.0, 20.0))]
    texts = {name: models[name].describe_many(pairs) for name in ("descriptor", "chosen")}
    assert texts["descriptor"] == TalkingPoints.over(network).describe_many(pairs)
    assert texts["chosen"] == TalkingPoints.over(network, choose=True).describe_many(pairs) != texts["descriptor"]
    assert models[f"chosen:{tmp_path / 'tiny'}"].describe_many(pairs) == texts["chosen"]
