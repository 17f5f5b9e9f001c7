from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import Scene, make_scene
from talking_points.evaluation.compare import compare
from talking_points.evaluation.protocol import (
    Row,
    box_centres,
    breakdowns,
    constant_points,
    describe_samples,
    localize_texts,
    named_shares,
    shuffled,
    swapped,
    true_points,
)
from talking_points.evaluation.report import pairing_said
from talking_points.evaluation.run import SampleSet, evaluate
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.evaluation.sets import CROSS_PHOTO, make_set


def scene(index: int) -> Scene:
    part_map = np.zeros((50, 100), np.int16)
    part_map[10:30, 10 + 5 * index : 50 + 5 * index] = 1
    part_map[30:45, 10 + 5 * index : 50 + 5 * index] = 2
    photo = np.full((50, 100, 3), 40 * index + 20, np.uint8)
    return make_scene(photo, part_map, ["coat", "pants"], [0, 0], ["person"], source="made", photo_id=f"photo{index}")


SCENES = [scene(i) for i in range(5)]


class Oracle:
    """Says the point's coordinates and reads them back; knows which photo it saw by its brightness."""

    asked = 0

    def describe(self, photo: Image.Image, points_px: list[tuple[float, float]]) -> list[str]:
        self.asked += 1
        return [f"{photo.getpixel((0, 0))[0]} {x} {y}" for x, y in points_px]  # type: ignore[index]

    def localize(self, photo: Image.Image, texts: list[str]) -> list[tuple[float, float]]:
        self.asked += 1
        answers = []
        for text in texts:
            shade, x, y = map(float, text.split())
            right = shade == photo.getpixel((0, 0))[0]  # type: ignore[index]
            answers.append((x, y) if right else (0.0, 0.0))
        return answers


def row_of(samples: list[Sample], texts: list[str], found: np.ndarray) -> Row:
    return Row(
        set_name="set",
        describer="d",
        localizer="l",
        samples=samples,
        texts=texts,
        found_px=found,
        true_px=true_points(samples),
    )


@pytest.mark.parametrize("name", ["plain", "hard"])
def test_an_oracle_scores_100_whatever_the_order(name: str) -> None:
    samples = make_set(name, SCENES, points=3, seed=1)
    # Samples of a photo need not stand together.
    samples = samples[::2] + samples[1::2]
    oracle = Oracle()
    texts = describe_samples(oracle, samples)
    row = row_of(samples, texts, localize_texts(oracle, samples, texts)).summary()
    assert row["mpck"] == 100.0 and row["mpck_ci"] == [100.0, 100.0] and row["n"] == len(samples)
    assert row["median_px"] == 0.0 and row["unanswered"] == 0 and row["pck@0.1_of_box"] == 100.0


def test_sets_are_equal_under_a_seed_and_texts_name_the_part() -> None:
    one, two = make_set("plain", SCENES, points=3, seed=1), make_set("plain", SCENES, points=3, seed=1)
    assert [s.text for s in one] == [s.text for s in two]
    assert [s.text for s in make_set("plain", SCENES, points=3, seed=2)] != [s.text for s in one]
    for sample in one:
        x0, y0, x1, y1 = sample.part_box_xyxy or (0, 0, 0, 0)
        assert x0 <= sample.point_px[0] <= x1 and y0 <= sample.point_px[1] <= y1
        assert sample.alike == 1 and sample.object_name == "person"


def test_unknown_set() -> None:
    with pytest.raises(ValueError, match="set is 'easy'; allowed: plain, hard, mirrored"):
        make_set("easy", SCENES, points=1, seed=0)


def test_an_empty_text_is_a_miss_not_an_error() -> None:
    samples = make_set("plain", SCENES[:1], points=2, seed=0)
    texts = describe_samples(Oracle(), samples)
    found = localize_texts(Oracle(), samples, [" .", texts[1]])
    row = row_of(samples, texts, found)
    assert np.isnan(found[0]).all() and row.errors[0] == np.inf and row.errors[1] == 0
    assert row.summary()["unanswered"] == 1


def test_named_shares_by_hand() -> None:
    samples = make_set("plain", SCENES[:1], points=2, seed=0)
    part = samples[0].part_name
    assert named_shares(samples, [s.text or "" for s in samples]) == {"names_object": 100.0, "names_part": 100.0}
    texts = [f"on the {part} of a woman", "on a car"]
    assert named_shares(samples, texts) == {"names_object": 50.0, "names_part": 50.0}
    assert named_shares([replace(samples[0], part_name=None)], ["on a car"]) == {}


def test_references_by_hand() -> None:
    samples = make_set("plain", SCENES[:1], points=4, seed=0)
    boxes = {(30.0, 20.0), (30.0, 37.5)}  # centres of the coat (10..50, 10..30) and of the pants (10..50, 30..45)
    assert {tuple(c) for c in box_centres(samples).tolist()} <= boxes
    assert constant_points(samples, np.array([0.2, 0.3])).tolist() == [[20.0, 15.0]] * 4
    assert np.isnan(box_centres([replace(samples[0], part_box_xyxy=None, object_box_xyxy=None)])).all()


def test_texts_of_others_are_of_other_photos() -> None:
    samples = make_set("plain", SCENES, points=2, seed=0)
    for others in (swapped(samples, seed=3), shuffled(samples, seed=3)):
        assert all(samples[k].photo_id != sample.photo_id for k, sample in zip(others, samples, strict=True))
    # Swapped texts of a photo come from one photo.
    for group in by_photo(samples):
        here = [k for k, s in zip(swapped(samples, seed=3), samples, strict=True) if s.photo_id == group[0].photo_id]
        assert len({samples[k].photo_id for k in here}) == 1


def test_swapped_without_another_of_its_kind_takes_any_other_photo() -> None:
    samples = make_set("plain", SCENES[:2], points=2, seed=0)
    samples[:2] = [replace(sample, object_name="dog") for sample in samples[:2]]
    assert [samples[k].photo_id != s.photo_id for k, s in zip(swapped(samples, seed=0), samples, strict=True)] == [
        True
    ] * 4
    assert swapped(samples[:2], seed=0) == [0, 1]


def test_breakdowns_by_hand() -> None:
    samples = make_set("plain", SCENES[:2], points=4, seed=0)
    found = true_points(samples)
    coats = [s.part_name == "coat" for s in samples]
    found[coats] += 50
    parts = breakdowns(row_of(samples, [""] * len(samples), found))["part"]
    assert parts["coat"]["mpck"] == 0.0 and parts["pants"]["mpck"] == 100.0
    assert parts["coat"]["n"] == sum(coats)


def test_a_run_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any beginning of the kept answers gives the same report, and what it holds is not asked again."""
    monkeypatch.setattr("talking_points.evaluation.answers.PHOTOS_AT_ONCE", 2)
    samples = make_set("plain", SCENES, points=2, seed=0)
    one = SampleSet(name="plain", samples=samples, mean_unit=np.array([0.5, 0.5]))
    texts = {s.sample_id: text for s, text in zip(samples, describe_samples(Oracle(), samples), strict=True)}

    def run(seed: int = 0) -> tuple[dict, int]:
        oracle = Oracle()
        describers = {"ground-truth": texts, "descriptor": oracle}
        report = evaluate([one], describers, {"localizer": oracle}, tmp_path, settings={"model": "m"}, seed=seed)
        return report, oracle.asked

    report, asked = run()
    scores = {(row["describer"], row["localizer"]): row["mpck"] for row in report["rows"]}
    assert scores["ground-truth", "localizer"] == scores["descriptor", "localizer"] == scores["none", "oracle"] == 100
    assert scores["shuffled", "localizer"] < 50 and scores["none", "constant"] < 100
    check = report["checks"]["plain"]
    assert check["passed"] and (check["texts_of"], check["photos"]) == ("ground-truth", len(SCENES))
    low, high = check["lost_by_shuffling_ci"]
    assert 0 < low <= check["lost_by_shuffling"] == 100 - scores["shuffled", "localizer"] <= high
    assert report["differences"][0]["mpck"] == 0.0
    kept = (tmp_path / "answers.jsonl").read_bytes()
    for cut in (0, len(kept) // 3, len(kept) - 3, len(kept)):
        (tmp_path / "answers.jsonl").write_bytes(kept[:cut])
        again, asked_again = run()
        assert again == report and (tmp_path / "answers.jsonl").read_bytes() == kept
        assert asked_again == (0 if cut == len(kept) else asked_again) and asked_again <= asked
    # What is of anything else leaves it as it is.
    with pytest.raises(ValueError, match=f"^{tmp_path} holds an evaluation with seed 0, now it is 1: repeat the"):
        run(seed=1)
    assert (tmp_path / "answers.jsonl").read_bytes() == kept


def test_a_folder_with_another_evaluation_is_refused(tmp_path: Path) -> None:
    """Whatever differs is named; the report alone is enough to know it by."""
    samples = make_set("plain", SCENES, points=2, seed=0)
    sets = [SampleSet(name=name, samples=samples, mean_unit=np.array([0.5, 0.5])) for name in ("plain", "other")]
    less = replace(sets[0], samples=samples[:4])
    of: dict = {"model": "m", "describers": ["ground-truth", "file:a"], "sha256": {"model": "aa"}}
    texts = {"ground-truth": {s.sample_id: "the coat" for s in samples}}

    def run(one: SampleSet = sets[0], **changed: object) -> None:
        evaluate([one], texts, {"judge": Corner()}, tmp_path, settings={**of, **changed}, seed=0)

    run()
    report = (tmp_path / "report.json").read_bytes()
    for _ in range(2):
        for changed, said in (
            ({"one": sets[1]}, "with data plain, now it is other: repeat the first command, or give another --out$"),
            ({"one": less}, r"with data plain \(samples 10, sha256 \w+\), now it is plain \(samples 4, sha256 \w+\):"),
            ({"model": "other"}, "with model m, now it is other:"),
            ({"describers": ["ground-truth"]}, "with describers ground-truth, file:a, now it is ground-truth:"),
            ({"sha256": {"model": "bb"}}, "with sha256 model aa, now it is model bb:"),
        ):
            with pytest.raises(ValueError, match=said):
                run(**changed)  # type: ignore[arg-type]
        (tmp_path / "answers.jsonl").unlink(missing_ok=True)
    assert (tmp_path / "report.json").read_bytes() == report
    run()
    (tmp_path / "answers.jsonl").unlink()
    (tmp_path / "report.json").write_text('{"photos": 3}')
    with pytest.raises(ValueError, match="report.json is no report of such an evaluation; give another --out"):
        run()
    (tmp_path / "answers.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="answers.jsonl holds no answers of an evaluation; give another --out"):
        run()


def test_the_checks_see_photos_paired_with_others_texts(tmp_path: Path) -> None:
    samples = make_set("plain", SCENES, points=2, seed=0)
    right = describe_samples(Oracle(), samples)
    # As one public harness did: every photo with the text of the one before.
    texts = {s.sample_id: right[n - 2] for n, s in enumerate(samples)}
    one = SampleSet(name="plain", samples=samples, mean_unit=np.array([0.5, 0.5]))
    report = evaluate([one], {"ground-truth": texts}, {"localizer": Oracle()}, tmp_path, settings={}, seed=0)
    check = report["checks"]["plain"]
    assert not check["passed"] and check["lost_by_shuffling_ci"][0] <= 0
    # In the same words wherever one looks.
    for name in ("report.md", "report.html"):
        assert pairing_said(check) in (tmp_path / name).read_text("utf-8")


class Reader(Oracle):
    """Reads no text of more than 20 characters, and none without words."""

    def check_text(self, text: str) -> None:
        if not text.strip(". "):
            raise ValueError("the text is empty")
        if len(text) > 20:
            raise ValueError("the text is too long; shorten it")


class Says(Oracle):
    """Has one text for all points."""

    def __init__(self, text: str) -> None:
        self.text = text

    def describe(self, photo: Image.Image, points_px: list[tuple[float, float]]) -> list[str]:
        return [self.text for _ in points_px]


def test_what_was_skipped_may_be_described_later_and_is_not_compared_with_it(tmp_path: Path) -> None:
    samples = make_set("plain", SCENES, points=2, seed=0)
    one = SampleSet(name="plain", samples=samples, mean_unit=np.array([0.5, 0.5]))
    skipped = {"Ann": [samples[0].sample_id]}
    less = replace(one, samples=samples[1:], whole=samples, skipped=skipped)
    texts = {"Ann": {s.sample_id: "the coat" for s in samples}}
    for name, scored in (("a", less), ("b", less), ("b", one)):
        report = evaluate([scored], texts, {"judge": Corner()}, tmp_path / name, settings={}, seed=0)
        assert {row["n"] for row in report["rows"]} == {len(scored.samples)}
        assert report["data"]["plain"]["samples"] == len(samples)
    assert not report["skipped"]
    with pytest.raises(ValueError, match="scored other samples under the name 'plain'"):
        compare(tmp_path / "a", tmp_path / "b")
    assert len(compare(tmp_path / "b", tmp_path / "b")) == len(report["rows"])


class Corner(Oracle):
    """Finds all texts in one place."""

    def localize(self, photo: Image.Image, texts: list[str]) -> list[tuple[float, float]]:
        return [(1.0, 1.0)] * len(texts)


def test_a_text_that_cannot_be_read_is_named_before_any_is_asked(tmp_path: Path) -> None:
    samples = make_set("plain", SCENES, points=2, seed=0)
    one = SampleSet(name="plain", samples=samples, mean_unit=np.array([0.5, 0.5]))
    texts = {s.sample_id: text for s, text in zip(samples, describe_samples(Oracle(), samples), strict=True)}
    texts |= {samples[n].sample_id: "x" * 21 for n in (3, 5)}
    describer, reader = Oracle(), Reader()
    named = f"{samples[3].sample_id}: the text is too long; shorten it, and 1 more$"
    for name, where in (("ground-truth", "plain"), ("file:a", "file:a")):
        with pytest.raises(ValueError, match=f"^{where}, {named}"):
            evaluate([one], {"mine": describer, name: texts}, {"judge": reader}, tmp_path, settings={}, seed=0)
    assert not describer.asked and not reader.asked


@pytest.mark.parametrize("said", ["...", "y" * 21])
def test_a_describer_that_says_nothing_or_too_much_misses_and_ends_no_evaluation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    samples = make_set("plain", SCENES, points=2, seed=0)
    one = SampleSet(name="plain", samples=samples, mean_unit=np.array([0.5, 0.5]))
    report = evaluate([one], {"mine": Says(said)}, {"judge": Reader()}, tmp_path, settings={}, seed=0)
    told = f"plain mine -> judge: {len(samples)} texts taken as missed, as unreadable; the first: the text is"
    assert (told in caplog.text) == (len(said) > 20)
    [row] = [row for row in report["rows"] if row["describer"] == "mine"]
    assert row["unanswered"] == len(samples) and row["mpck"] == 0.0


def test_rows_that_would_say_nothing_are_left_out(tmp_path: Path) -> None:
    """One photo's texts cannot be told from another's, and what has no box has no centre."""
    samples = [
        replace(s, part_box_xyxy=None, object_box_xyxy=None) for s in make_set("plain", SCENES[:1], points=2, seed=0)
    ]
    one = SampleSet(name="plain", samples=samples, mean_unit=np.array([0.5, 0.5]))
    texts = {s.sample_id: text for s, text in zip(samples, describe_samples(Oracle(), samples), strict=True)}
    report = evaluate([one], {"ground-truth": texts}, {"localizer": Oracle()}, tmp_path, settings={}, seed=0)
    assert [(row["describer"], row["localizer"]) for row in report["rows"]] == [
        ("ground-truth", "localizer"),
        ("none", "constant"),
        ("none", "oracle"),
    ]
    assert report["checks"]["plain"] == {"oracle_mpck": 100.0, "passed": True}


@pytest.mark.parametrize("name", CROSS_PHOTO)
def test_points_described_on_one_photo_are_sought_in_the_changed_one(name: str) -> None:
    plain = {s.sample_id: s for s in make_set("plain", SCENES, points=3, seed=1)}
    changed = make_set(name, SCENES, points=3, seed=1)
    assert changed and [s.sample_id for s in changed] == [s.sample_id for s in make_set(name, SCENES, points=3, seed=1)]
    for sample in changed:
        was = plain[sample.sample_id.removeprefix(f"{name}/")]
        assert sample.described is not None and sample.described.point_px == was.point_px and sample.text == was.text
        photo, (x, y) = sample.open_photo(), sample.point_px
        assert photo.size == sample.size_wh and 0 <= x <= photo.width and 0 <= y <= photo.height
        x0, y0, x1, y1 = sample.part_box_xyxy or (0, 0, 0, 0)
        assert x0 <= x <= x1 and y0 <= y <= y1
        if name == "mirrored":
            assert x == photo.width - sample.described.point_px[0] and y == sample.described.point_px[1]
    # What is described is the unchanged photo, what is searched the changed one.
    seen: list[tuple[int, int]] = []

    class Watches:
        def describe(self, photo: Image.Image, points_px: list[tuple[float, float]]) -> list[str]:
            seen.append(photo.size)
            return ["x"] * len(points_px)

    assert describe_samples(Watches(), changed) == ["x"] * len(changed)
    assert set(seen) == {(100, 50)}


def test_a_crop_keeps_its_points_where_they_were() -> None:
    for sample in make_set("cropped", SCENES, points=3, seed=1):
        assert sample.described is not None
        inside = np.asarray(sample.open_photo())
        whole = np.asarray(sample.described.open_photo())
        x, y = (int(v - 0.5) for v in sample.point_px)
        was_x, was_y = (int(v - 0.5) for v in sample.described.point_px)
        assert (inside[y, x] == whole[was_y, was_x]).all() and inside.shape != whole.shape
