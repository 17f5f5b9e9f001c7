"""The commands of docs/training.md, on a few generated photos and a tiny base."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from talking_points.cli import main
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from tests.processes import launch
from tests.shades import shade_photos
from tests.tiny import tiny_network
from tests.training.test_loop import losses

pytestmark = pytest.mark.usefixtures("short_texts")

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "training.md"
FEWER = ["--steps", "2", "--photos", "2", "--points", "2", "--lora-rank", "4"]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return int(exit_.value.code or 0)


def commands() -> list[str]:
    """The guide's shell lines, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, label_map_writer) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("own")
    label_map_writer(folder / "people", [f"{n:04d}" for n in range(12)], ["0900", "0901"])
    shade_photos(folder / "people" / "photos")
    save_checkpoint(tiny_network(roles=()), folder / "tiny")
    photos = sorted(one.relative_to(folder).as_posix() for one in (folder / "people" / "photos").iterdir())
    triplets = [{"img": photo, "keypoint": [9.5, 8.5], "caption": "the point is on the dark shoe"} for photo in photos]
    (folder / "triplets.json").write_text(json.dumps(triplets))
    build = ("--source", f"label-map={folder / 'people'}", "--points-per-photo", 2, "--out", folder / "built")
    assert run("build-dataset", *build) == 0
    return folder


def test_every_command_of_the_guide_runs(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not GUIDE.is_file():
        pytest.skip("docs/ is not beside the tests")
    monkeypatch.chdir(workplace)
    told = commands()
    assert len(told) >= 10
    Path("llama-point-in-part").symlink_to("people-set")  # of the 7B, whose plans are asked for once that is built
    for command in told:
        words = shlex.split(command)
        if "--base" in words:  # a smaller one, to be fast
            words[words.index("--base") + 1] = "tiny"
        if words[0] == "accelerate":  # as its processes start; what it launches is tested below
            words = words[words.index("-m") + 1 :]
        training = words[1] == "train" and words[2] in ("descriptor", "localizer") and "--dry-run" not in words
        fewer = FEWER[4 if "--epochs" in words else 0 :] if training else []
        if "--epochs" in words and "--photos" not in words:
            fewer = ["--photos", "2", *fewer]
        assert run(*words[1:], *fewer) == 0, command
        said = capsys.readouterr()
        if "--dry-run" in words:
            plan = json.loads(said.out)
            assert plan["trained_weights"] > 0 and plan["memory_gb"]["all"] > 0 and plan["tokens_in_all"] > 0
            assert not (workplace / "runs" / "7b").exists()
    assert (workplace / "people-model" / "descriptor").is_dir() and (workplace / "people-model" / "localizer").is_dir()
    assert (workplace / "people-scores" / "report.json").is_file()
    # The second run over the same photos did nothing that the first had done.
    again = [*shlex.split(next(c for c in told if "runs/cached " in c))[1:], "--photos", "2", "--points", "2"]
    again[again.index("mini")], again[again.index("runs/cached")] = "tiny", "runs/cached-again"
    assert run(*again, "--lora-rank", 4) == 0


def test_a_dry_run_reads_no_weights(workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outline = tmp_path / "outline"
    shutil.copytree(workplace / "tiny", outline, ignore=shutil.ignore_patterns("*.safetensors"))
    data = ("--data", workplace / "built")
    out = tmp_path / "out"
    settings = ("--recipe", "mini", "--lora-rank", 4, "--points", 2)
    assert run("train", "localizer", *data, "--base", outline, "--out", out, *settings, "--dry-run") == 0
    plan = json.loads(capsys.readouterr().out)
    network = tiny_network(roles=("localizer",))
    assert network.localizer is not None
    own = [p.numel() for n, p in network.language.named_parameters() if ".lora_" in n]
    assert plan["trained_weights"] == sum(own) + sum(p.numel() for p in network.localizer.parameters())
    assert plan["steps"] == 400 and plan["samples_a_step"] == 16
    assert not out.exists()


def test_a_training_killed_anywhere_ends_as_one_that_was_not(workplace: Path, tmp_path: Path) -> None:
    def command(out: str) -> list[str]:
        short = tmp_path / "short.toml"
        short.write_text(
            "steps = 12\nlearning_rate = 1e-2\nphotos = 2\npoints = 2\nlora_rank = 4\nlora_alpha = 4\n"
            "lora_dropout = 0.1\nsave_every = 2\nlog_every = 1\nworkers = 0\n"
        )
        where = ["--base", str(workplace / "tiny"), "--out", str(tmp_path / out), "--device", "cpu"]
        return ["train", "descriptor", "--config", str(short), "--data", str(workplace / "built"), *where]

    def told(out: str) -> list[dict[str, float]]:
        return [json.loads(line) for line in (tmp_path / out / "training" / "metrics.jsonl").read_text().splitlines()]

    assert run(*command("whole")) == 0
    metrics = tmp_path / "cut" / "training" / "metrics.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-m", "talking_points", *command("cut")], env=environment, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") >= 5):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert run(*command("cut")) == 0
    assert told("cut") == told("whole") and len(told("whole")) == 12
    one, other = (tmp_path / out / "checkpoint/descriptor/adapter_model.safetensors" for out in ("cut", "whole"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("role", "over"), [("descriptor", []), ("localizer", ["--frozen-language-model"])])
def test_over_shards_a_role_is_trained_as_in_one_process(
    role: str, over: list[str], workplace: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.toml"
    short.write_text(
        "steps = 10\nlearning_rate = 1e-3\nphotos = 3\npoints = 2\nlora_rank = 4\nlora_alpha = 4\n"
        "lora_dropout = 0.0\nlog_every = 1\nworkers = 0\n"
    )
    settings = ["train", role, "--config", str(short), "--data", str(workplace / "built")]
    settings += ["--base", str(workplace / "tiny"), "--device", "cpu", *over, "--out"]
    assert run(*settings, tmp_path / "one") == 0
    launch(2, main, [*settings, str(tmp_path / "two"), "--shard"])
    one, two = (losses(tmp_path / out / "training") for out in ("one", "two"))
    assert len(one) == 10 and two == pytest.approx(one, abs=1e-4)
    # Of shards, too, the checkpoint is a whole one.
    trained = load_checkpoint(tmp_path / "two" / "checkpoint")
    base = load_checkpoint(workplace / "tiny", roles=())
    kept = {name.replace(".base_layer", ""): weight for name, weight in trained.llama.state_dict().items()}
    for name, weight in base.llama.state_dict().items():
        assert torch.equal(kept[name], weight), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--recipe", "maxi"], "recipe is 'maxi'; allowed: 7b, mini"),
        (["--precision", "fp16"], "precision is 'fp16'; allowed: fp32, bf16"),
        (["--schedule", "linear"], "schedule is 'linear'; allowed: cosine, constant"),
        (["--steps", "2", "--epochs", "2"], "give steps or epochs"),
        (["--lora-dropout", "1"], "lora_dropout is 1.0"),
        (["--data", "nowhere"], "--data nowhere: no such file or folder"),
        (["--data", "{here}"], "holds no built set with a train split"),
        (["--object", "cat"], "has nothing of object cat; it has person"),
        (["--feature-cache-gb", "0"], "feature_cache_gb is 0.0; allowed"),
        (["--accumulate", "9", "--steps", "1", "--photos", "2"], "more parts than the 2 photos of a step"),
        (["--tracker", "mlflow"], "tracker is 'mlflow'"),
        (["--shard", "--quantize", "nf4"], "shard goes without quantize, which is 'nf4'"),
        (["--shard"], "shard is for several processes, and this is the only one"),
        (["--base", "{here}"], "is no checkpoint: it has no config.json"),
    ],
)
def test_bad_settings_are_one_line(
    changes: list[str], message: str, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", workplace / "built")
    where = ("--base", workplace / "tiny", "--out", tmp_path / "out", "--lora-rank", 4)
    assert run("train", "localizer", *data, *where, *(word.format(here=tmp_path) for word in changes)) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1] and error[-1].startswith("error: ")


def test_a_descriptor_has_a_projector_of_its_own_where_it_is_asked_for(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ("--data", workplace / "built", "--base", workplace / "tiny", *FEWER, "--learning-rate", "0.01")
    asked = ("train", "descriptor", *usual, "--train-projector")
    capsys.readouterr()
    trained = []
    for arguments in (("train", "descriptor", *usual), asked):
        assert run(*arguments, "--out", tmp_path / "dry", "--dry-run") == 0
        trained.append(json.loads(capsys.readouterr().out)["trained_weights"])
    network = tiny_network(roles=())
    assert trained[1] - trained[0] == sum(p.numel() for p in network.projector.parameters())

    assert run("train", "descriptor", *usual, "--out", tmp_path / "frozen") == 0
    assert not (tmp_path / "frozen" / "checkpoint" / "descriptor" / "projector.safetensors").exists()
    assert run(*asked, "--out", tmp_path / "own") == 0
    own = load_file(tmp_path / "own" / "checkpoint" / "descriptor" / "projector.safetensors")
    base = load_file(workplace / "tiny" / "vision.safetensors")
    after = load_file(tmp_path / "own" / "checkpoint" / "vision.safetensors")
    assert all(torch.equal(tensor, after[name]) for name, tensor in base.items())
    for name, tensor in own.items():
        # Every part of it learns: photo tokens, separator and the keypoint's token.
        assert not torch.equal(tensor, base[f"projector.{name}"]), name
    # It is read back, and stays with the descriptor in a joined checkpoint.
    assert run("train", "localizer", *usual, "--out", tmp_path / "localizer") == 0
    roles = [f"--{role}={tmp_path / out / 'checkpoint'}" for role, out in (("descriptor", "own"), ("localizer",) * 2)]
    assert run("train", "join", *roles, "--out", tmp_path / "joined") == 0
    joined = load_checkpoint(tmp_path / "joined")
    assert joined.descriptor_projector is not None and joined.projector_of("descriptor") is joined.descriptor_projector
    for name, tensor in joined.descriptor_projector.state_dict().items():
        assert torch.allclose(tensor, own[name], atol=1e-3), name


def test_a_training_says_what_it_does_from_the_start(
    workplace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where stderr is no terminal: data, base, steps, the first photos, the first step, the last."""
    caplog.set_level("INFO", logger="talking_points.training")
    usual = ("--data", workplace / "built", "--base", workplace / "tiny", "--out", tmp_path / "out", *FEWER)
    assert run("train", "descriptor", *usual, "--steps", "3", "--log-every", "100") == 0
    said = [record.getMessage() for record in caplog.records]
    expected = (
        "reading ",
        "reading the base in ",
        "encoding the first photos",
        "step 1/3 ",
        "step 3/3 ",
    )
    places = [next(n for n, line in enumerate(said) if line.startswith(begins)) for begins in expected]
    assert places == sorted(places)
    assert any("an epoch is" in line and "there are 3;" in line and "weights learn" in line for line in said)
    # Of a warm-up of 50, in a training of three.
    assert any(line.startswith("the learning rate rises over 1 step, ") for line in said)
