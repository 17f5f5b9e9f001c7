"""Reinforce, evaluate and go on, by the command line, with the embedded model and generated points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talking_points.cli import main


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return int(exit_.value.code or 0)


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory, ap_10k_writer) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("data") / "ap10k"
    ap_10k_writer(folder, {"train": [f"{k:012d}" for k in range(1, 5)]})
    return folder / "annotations" / "ap10k-train-split1.json"


def test_the_papers_direction_and_its_score(animals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ("--descriptor", "mini", "--localizer", "mini", "--out", tmp_path / "run")
    points = ("--keypoints", animals, "--object", "Bovidae", "--held-out-object", "Canidae")
    points += ("--held-out-points", 5)
    steps = ("--steps", 2, "--evaluate-every", 2, "--photos", 1, "--points", 1, "--group-size", 2)
    assert run("train", "grpo", *models, *points, *steps) == 0
    assert capsys.readouterr().err.endswith(f"wrote {tmp_path / 'run' / 'checkpoint'}\n")
    table = (tmp_path / "run" / "evaluations" / "000002.md").read_text()
    assert "5 held-out points" in table and table.count("| dog ") == 5
    assert len((tmp_path / "run" / "training" / "metrics.jsonl").read_text().splitlines()) == 1

    scored = ("--data", animals, "--object", "Canidae", "--part", "left eye", "--describer", "descriptor")
    scored += ("--model", tmp_path / "run" / "checkpoint", "--out", tmp_path / "scores")
    assert run("evaluate", *scored, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["only"] == "object Canidae, part left eye"
    assert {row["n"] for row in report["rows"] if row["describer"] == "descriptor"} == {8}

    assert run("train", "grpo", *models, *points, *steps, "--reward", "distance") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "reward mse" in error and "reward distance" in error and "use another --out" in error


GRPO = ("train", "grpo", "--descriptor", "mini", "--localizer", "mini", "--out", "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (GRPO, "--keypoints is missing"),
        ((*GRPO, "--keypoints", "{animals}", "--group-size", "1"), "group_size is 1; allowed: 2 or more"),
        ((*GRPO, "--keypoints", "{animals}", "--reward", "iou"), "reward is 'iou'; allowed: mse, distance"),
        ((*GRPO, "--keypoints", "/nowhere"), "no such file or folder: /nowhere"),
        ((*GRPO, "--keypoints", "{animals}", "--object", "Felidae"), "it has Bovidae, Canidae, antelope, dog"),
        ((*GRPO, "--keypoints", "{animals}", "--blocks", "99"), "blocks is 99; allowed: at most"),
        ((*GRPO, "--keypoints", "{animals}", "--unseen-localizer", "maxi"), "unknown model 'maxi'"),
        ((*GRPO, "--keypoints", "{animals}", "--evaluate-every", "0"), "evaluate_every is 0; allowed: at least 1"),
        ((*GRPO, "--keypoints", "{animals}", "--held-out-points", "0"), "held_out_points is 0; allowed: at least 1"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    animals: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*(a.format(animals=animals) for a in arguments)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "x" / "checkpoint").exists()
