"""Train, join, evaluate and use, by the command line, on a few generated photos: every arrow once."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from talking_points.cli import main
from talking_points.model.checkpoint import save_checkpoint
from talking_points.training import roles
from tests.shades import shade_photos
from tests.tiny import tiny_network

pytestmark = pytest.mark.usefixtures("short_texts")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return int(exit_.value.code or 0)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, label_map_writer) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("data") / "people"
    label_map_writer(folder, [f"{n:04d}" for n in range(24)], ["0900", "0901"])
    shade_photos(folder / "photos")
    return folder


def test_from_photos_to_a_model_that_answers(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ("--source", f"label-map={people}")
    small = ("--photos", 2, "--points", 2, "--lora-rank", 4)
    base, built = tmp_path / "base", tmp_path / "set"
    save_checkpoint(tiny_network(roles=()), base)
    dialects = ("--dialect", "paper", "--dialect", "short")
    assert run("build-dataset", *source, "--points-per-photo", 2, *dialects, "--out", built) == 0
    data = ("--data", built)
    for role, extra in (("descriptor", ()), ("localizer", ()), ("localizer", ("--blind",))):
        out = tmp_path / (role + "".join(extra))
        assert run("train", role, *data, "--base", base, "--out", out, "--steps", 1, *small, *extra) == 0
    # The ablations of the paper's Tables 3 and 4.
    region = ("--region", "predicted-mask", "--out", tmp_path / "without")
    assert run("train", "descriptor", *data, "--base", base, *region, "--steps", 1, *small) == 0
    frozen = ("--frozen-language-model", "--out", tmp_path / "frozen")
    assert run("train", "localizer", *data, "--base", base, *frozen, "--steps", 1, *small) == 0
    for head in ("regression", "mixture"):
        other = ("--head", head, "--out", tmp_path / head, "--steps", 1)
        assert run("train", "localizer", *data, "--base", base, *other, *small) == 0
        config = json.loads((tmp_path / head / "checkpoint" / "config.json").read_text())
        assert config["coordinate_head"] == head
    vision = json.loads((tmp_path / "without" / "checkpoint" / "config.json").read_text())["vision"]
    assert vision["region"] == "predicted-mask"
    adapter = load_file(tmp_path / "frozen" / "checkpoint" / "localizer" / "adapter_model.safetensors")
    assert not any(tensor.any() for name, tensor in adapter.items() if ".lora_B." in name)
    # A role that is there is trained further, as it is.
    held = tmp_path / "descriptor" / "checkpoint"
    further = ("--base", held, "--further", "--out", tmp_path / "further", "--steps", 1, *small[:4])
    assert run("train", "descriptor", *data, *further, "--learning-rate", 1e-5) == 0
    before, after = (
        load_file(folder / "descriptor" / "adapter_model.safetensors")
        for folder in (held, tmp_path / "further" / "checkpoint")
    )
    assert before.keys() == after.keys()
    assert "\nlora_rank = 4\n" in (tmp_path / "further" / "settings.toml").read_text()
    moved = [float((after[name] - tensor).abs().max()) for name, tensor in before.items()]
    assert 0 < max(moved) < 1e-4 < max(float(tensor.abs().max()) for tensor in before.values())
    capsys.readouterr()
    assert run("train", "descriptor", *data, *further, "--dry-run") == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["trained_weights"] == sum(tensor.numel() for tensor in before.values())
    assert planned["lora_rank"] == 4
    for dry in ((), ("--dry-run",)):
        assert run("train", "localizer", *data, "--base", base, *further[2:], *dry) == 2
        assert f"{base} has no localizer to train further; leave out --further" in capsys.readouterr().err
    # A run that began from nothing, or from another state of the role, is another run.
    assert run("train", "descriptor", *data, *further[:3], "--out", tmp_path / "descriptor", *further[5:]) == 2
    assert "use another --out" in capsys.readouterr().err
    mini = tmp_path / "mini"
    joined = ("--descriptor", tmp_path / "descriptor/checkpoint", "--localizer", tmp_path / "localizer/checkpoint")
    assert run("train", "join", *joined, "--out", mini) == 0

    # The same again is done again; what is of other parts is left as it is.
    assert run("train", "join", *joined, "--out", mini) == 0
    before = sorted((path, path.read_bytes()) for path in mini.rglob("*") if path.is_file())
    capsys.readouterr()
    for other, said in ((tmp_path / "regression/checkpoint", "whose localizer is not that of"), ("mini", "whose desc")):
        parts = (*joined[:3], other) if other != "mini" else ("--descriptor", other, "--localizer", other)
        assert run("train", "join", *parts, "--out", mini) == 2
        error = capsys.readouterr().err.strip()
        assert f"{mini} holds a checkpoint {said}" in error and error.endswith("; give another --out")
    one = tmp_path / "descriptor" / "checkpoint"
    assert run("train", "join", *joined, "--out", one) == 2
    assert f"{one} holds a checkpoint without a localizer; give another" in capsys.readouterr().err
    assert sorted((path, path.read_bytes()) for path in mini.rglob("*") if path.is_file()) == before

    assert run("train", "calibrate", *data, "--model", mini, "--out", mini) == 0
    fitted = json.loads(capsys.readouterr().out)
    assert fitted["points"] >= 2 and 0 <= fitted["error"] <= 1 and fitted["temperature"] > 0
    heads = load_file(mini / "localizer" / "heads.safetensors")
    assert float(heads["head.temperature"]) == pytest.approx(fitted["temperature"], rel=2e-3)
    # Again over what was calibrated, but over no other checkpoint.
    assert run("train", "calibrate", *data, "--model", mini, "--out", mini) == 0
    again = ("--base", mini, "--further", "--steps", 1, *small[:4], "--out", tmp_path / "again")
    assert run("train", "localizer", *data, *again) == 0
    # Trained on, a localizer is sure of itself as one that was not calibrated.
    further_heads = load_file(tmp_path / "again" / "checkpoint" / "localizer" / "heads.safetensors")
    assert further_heads.keys() == heads.keys() and float(further_heads["head.temperature"]) == 1
    for other, said in (("localizer", "without a descriptor"), ("descriptor", "without a localizer")):
        assert run("train", "calibrate", *data, "--model", mini, "--out", tmp_path / other / "checkpoint") == 2
        assert f"holds a checkpoint {said}; give another --out" in capsys.readouterr().err
    assert run("train", "calibrate", *data, "--model", tmp_path / "localizer/checkpoint", "--out", mini) == 2
    assert "with a descriptor, which would be lost; give another --out" in capsys.readouterr().err
    blind = ("--localizer", "localizer", "--localizer", f"blind:{tmp_path / 'localizer--blind' / 'checkpoint'}")
    captions = [part for name in ("object", "region") for part in ("--describer", f"{name}-caption")]
    said = ("--describer", "ground-truth", "--describer", "descriptor", *captions)
    scored = (*said, "--split", "test", "--set", "plain", "--points", 1, "--json", "--out", tmp_path / "scores")
    assert run("evaluate", *source, "--model", mini, *blind, *scored) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "scores" / "report.json").read_text())
    names = {(row["describer"], row["localizer"]) for row in report["rows"]}
    assert {("ground-truth", "localizer"), ("descriptor", "localizer"), ("ground-truth", "blind")} <= names
    assert {("object-caption", "localizer"), ("region-caption", "blind")} <= names
    assert all(row["n"] == 2 for row in report["rows"])
    samples = pq.read_table(tmp_path / "scores" / "samples.parquet").to_pylist()
    assert len(samples) == 2 * len(names) and {line["error"] for line in samples if line["localizer"] == "oracle"} == {
        0
    }
    page = (tmp_path / "scores" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 and "<svg" in page and 'src="http' not in page
    # The same command again has nothing left to ask a model.
    answers = (tmp_path / "scores" / "answers.jsonl").read_bytes()
    assert run("evaluate", *source, "--model", mini, *blind, *scored) == 0
    assert json.loads(capsys.readouterr().out) == report
    assert run("compare", tmp_path / "scores", tmp_path / "scores") == 0
    assert "plain: none -> oracle: 100.0 -> 100.0, +0.0" in capsys.readouterr().out
    assert run("compare", tmp_path / "scores", tmp_path) == 2
    assert "holds no evaluation" in capsys.readouterr().err
    assert (tmp_path / "scores" / "answers.jsonl").read_bytes() == answers

    sighted = f"blind:{tmp_path / 'localizer' / 'checkpoint'}"
    assert run("evaluate", *source, "--model", mini, "--localizer", sighted, "--out", tmp_path / "sighted") == 2
    assert "sees photos; give a localizer of `train localizer --blind`" in capsys.readouterr().err

    # The paper's Table 4, with the blind localizer's place taken by another checkpoint, in all styles.
    other = ("--localizer", f"localizer:{tmp_path / 'localizer' / 'checkpoint'}")
    table = ("--table", 4, *other, "--styles", "--set", "mirrored", "--split", "test", "--points", 1)
    assert run("evaluate", *source, "--model", mini, *table, "--out", tmp_path / "table") == 0
    assert capsys.readouterr().out == (tmp_path / "table" / "report.md").read_text()
    report = json.loads((tmp_path / "table" / "report.json").read_text())
    assert [row["row"] for row in report["paper"]] == ["language model not adapted", "adapted"]
    assert set(report["sha256"]) == {"model", other[1]}
    panel = report["styles"]["mirrored"]
    assert set(panel["spread"]) == {"localizer", other[1]} and "telegraphic" in panel["matrix"]["ground-truth"]
    page = (tmp_path / "table" / "report.html").read_text()
    assert "telegraphic" in page and "Beside the paper" in page
    assert run("compare", tmp_path / "table", tmp_path / "table") == 0
    capsys.readouterr()

    # Ray gives the same answers.
    if importlib.util.find_spec("ray") is not None:
        spread = (*blind, *scored[:-1], tmp_path / "ray", "--engine", "ray", "--workers", 1)
        assert run("evaluate", *source, "--model", mini, *spread) == 0
        capsys.readouterr()
        for one, other in zip(samples, pq.read_table(tmp_path / "ray" / "samples.parquet").to_pylist(), strict=True):
            assert (one["sample"], one["localizer"]) == (other["sample"], other["localizer"])
            if one["describer"] == "ground-truth":  # the same text; photos one by one round otherwise
                assert other["found_x"] == pytest.approx(one["found_x"], abs=0.5)

    photo = next((people / "photos").iterdir())
    assert run("localize", photo, "the left shoe", "--model", mini, "--json") == 0
    [point] = json.loads(capsys.readouterr().out)["points"]
    assert point["found_x"] >= 0 and point["found_y"] >= 0 and 0 <= point["confidence"] <= 1


EVALUATE = ("evaluate", "--source", "label-map={people}", "--out", "x")
LOCALIZER = ("train", "localizer", "--base", "mini", "--out", "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*LOCALIZER, "--data", "{people}", "--steps", "0"), "steps is 0; allowed: at least 1"),
        ((*LOCALIZER, "--data", "{people}", "--steps", "1", "--epochs", "1"), "give steps or epochs, one of them"),
        ((*LOCALIZER, "--data", "/nowhere"), "--data /nowhere: no such file or folder"),
        (
            (*LOCALIZER, "--data", "{people}", "--head", "votes"),
            "head is 'votes'; allowed: regression, mixture, heatmap, pointer",
        ),
        (
            (*LOCALIZER, "--data", "{people}", "--further", "--head", "pointer"),
            "head is 'pointer'; with further the localizer keeps its own: leave out one of them",
        ),
        ((*LOCALIZER, "--data", "{people}", "--config", "x.toml"), "no such file of settings: x.toml"),
        (("train", "localizer", "--data", "{people}", "--base", "maxi", "--out", "x"), "unknown model 'maxi'"),
        (("train", "calibrate", "--model", "mini", "--data", "/nowhere", "--out", "x"), "no such file or folder"),
        ((*EVALUATE, "--model", "maxi"), "unknown model 'maxi'"),
        ((*EVALUATE, "--model", "mini", "--localizer", "localizer:a/b/c"), "no such folder: a/b/c"),
        ((*EVALUATE, "--model", "mini", "--describer", "descriptor:maxi"), "unknown model 'maxi'"),
        ((*EVALUATE, "--model", "mini", "--localizer", "endpoint:here"), "needs an address and a model"),
        ((*EVALUATE, "--model", "mini", "--describer", "file:no.jsonl"), "no.jsonl"),
        ((*EVALUATE, "--model", "{base}"), "train join --descriptor mini --localizer DIR --out DIR"),
        ((*EVALUATE, "--model", "mini", "--localizer", "localizer:{base}"), "{base} has no localizer"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    people: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("photos were read first")

    monkeypatch.setattr("talking_points.evaluation.run.load_scenes", read)
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"format_version": 2}')
    assert run(*(a.format(here=tmp_path, people=people, base=base) for a in arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert message.format(base=base) in error and "\n" not in error


@pytest.mark.parametrize(("finished", "status"), [(True, 0), (False, 143)])
def test_flags_go_before_the_file_and_sigterm_has_its_status(
    finished: bool, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr("talking_points.training.data.read_texts", lambda settings: [])
    monkeypatch.setattr(roles, "train_role", lambda settings, data: given.append(settings) or finished)
    (tmp_path / "mine.toml").write_text('data = "set"\nepochs = 3\nobjects = ["car"]\nblind = true\n')
    config = ("--config", tmp_path / "mine.toml", "--object", "person", "--object", "dog", "--photos", 2)
    assert run(*LOCALIZER, *config) == status
    assert ("wrote x/checkpoint" in capsys.readouterr().err) == finished
    [one] = given
    assert (one.data, one.epochs, one.objects, one.blind, one.photos) == (Path("set"), 3, ("person", "dog"), True, 2)
    # The recipe of mini's base stands beneath: it says steps, which the file's epochs replace.
    assert (one.steps, one.lora_rank, one.out) == (None, 32, Path("x"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("descriptor --base mini --out x --data {here}/none.jsonl", "none.jsonl: no such file or folder"),
        ("localizer --base mini --out x --data {here}/bad.jsonl", "bad.jsonl, line 1: "),
        ("grpo --descriptor mini --localizer mini --out x --keypoints {here}/none.jsonl", "none.jsonl"),
    ],
)
def test_wrong_data_is_told_before_torch_is_imported(command: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"photo": "a.jpg", "x": 1}\n')
    code = "import sys; sys.modules['torch'] = None; from talking_points.cli import main; main(sys.argv[1:])"
    words = ["train", *command.format(here=tmp_path).split()]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1], done.stderr


def test_an_interrupted_training_says_what_becomes_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("talking_points.training.data.read_texts", lambda settings: [])
    monkeypatch.setattr(roles, "train_role", interrupted)
    asked = ("--data", tmp_path / "none.jsonl", "--base", "mini", "--out", tmp_path / "out")
    assert run("train", "descriptor", *asked) == 130
    said = "interrupted; the same command begins anew: no state was kept yet"
    assert capsys.readouterr().err.splitlines()[-1] == said
    for step in (9, 20):
        (tmp_path / "out" / "training").mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / "training" / f"state-{step:08d}.pt").touch()
    assert run("train", "descriptor", *asked) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; the same command goes on from step 20"
