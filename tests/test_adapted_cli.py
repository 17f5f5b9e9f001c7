"""Roles over a Qwen3-VL by the commands: trained, joined, calibrated, asked; and what published sizes would take."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from talking_points.cli import main
from talking_points.evaluation.differs import _base
from talking_points.evaluation.differs import _of_role as _of_checkpoint
from talking_points.training import watching
from tests.bases.tiny_qwen import write_tiny
from tests.shades import shade_photos

pytestmark = pytest.mark.usefixtures("short_texts")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
GUIDE = Path(__file__).resolve().parents[1] / "docs" / "qwen3-vl.md"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main([*map(str, arguments)])
    said = capsys.readouterr()
    return int(exit_.value.code or 0), said.out, said.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, label_map_writer) -> Path:  # type: ignore[no-untyped-def]
    """A tiny base, a built set, two photos, and a file of their points."""
    folder = tmp_path_factory.mktemp("adapted")
    write_tiny(folder / "base")
    label_map_writer(folder / "people", [f"{n:04d}" for n in range(12)], [f"{n:04d}" for n in range(900, 908)])
    shade_photos(folder / "people" / "photos")
    build = ("--source", f"label-map={folder / 'people'}", "--points-per-photo", "2", "--out", str(folder / "set"))
    with pytest.raises(SystemExit) as exit_:
        main(["build-dataset", *build])
    assert not exit_.value.code
    lines = []
    for n, colour in enumerate(("red", "blue")):
        Image.new("RGB", (90, 60), colour).save(folder / f"{n}.png")
        lines += [
            json.dumps({"photo": f"{n}.png", "x": 20.5 + 30 * k, "y": 30.5, "text": f"the {colour} place {k}"})
            for k in range(2)
        ]
    (folder / "points.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_the_commands_of_the_guide(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a stock model to answers and scores, in fewer steps."""
    if not GUIDE.is_file():
        pytest.skip("docs/ is not beside the tests")
    monkeypatch.setattr(watching, "MAX_BROKEN", 1.0)  # random weights end no text
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "set", "set")
    Path("base").symlink_to(folder / "base")
    for name in ("points.jsonl", "0.png", "1.png"):
        shutil.copy(folder / name, name)
    block = re.search(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert block is not None
    for line in block[1].splitlines():
        words = shlex.split(line.replace("Qwen/Qwen3-VL-4B-Instruct", "base"))[1:]
        if words[:2] in (["train", "descriptor"], ["train", "localizer"]):
            words += ["--side", "64", "--lora-rank", "4"]
        if words[0] == "train" and words[1] not in ("join", "calibrate"):
            words += ["--steps", "2", "--photos", "2", "--points", "2", "--precision", "fp32", "--workers", "0"]
        if words[:2] == ["train", "grpo"]:
            words += ["--held-out-points", "2"]
        code, _, err = run(capsys, *words, *([] if "join" in words else ["--device", "cpu"]))
        assert code == 0, (line, err)
    asked = ("localize", "0.png", "the red place", "--model", "q-sure", "--device", "cpu", "--json")
    code, out, err = run(capsys, *asked)
    assert code == 0, err
    [found] = json.loads(out)["points"]
    x, y = found["found_x"], found["found_y"]
    assert 0 <= x <= 90 and 0 <= y <= 60 and 0 <= found["there"] <= 1 and 0 <= found["confidence"] <= 1
    assert Path("scores/report.json").is_file()
    folder = Path("q-sure").resolve()
    told = dict([_of_checkpoint("localizer", str(folder))[1][::2], ("base", _base(folder))])
    assert told == {
        f"localizer of {folder}: head": "pointer",
        "base": f"{(tmp_path / 'base').resolve()} with adapters of ours, a square of 64 px",
    }
    code, out, err = run(
        capsys, "train", "grpo", "--keypoints", "points.jsonl", "--held-out-points", 2, "--out", "other",
        "--descriptor", "q", "--localizer", "q-sure", "--dry-run",
    )  # fmt: skip
    assert code == 0 and json.loads(out)["bases_in_memory"] == 1, err


def test_what_does_not_fit_is_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ("train", "descriptor", "--data", folder / "points.jsonl", "--out", tmp_path / "out", "--device", "cpu")
    for arguments, said in (
        (("--base", folder / "base", "--side", 100), "side is 100; allowed: a multiple of 32 px"),
        (("--base", folder / "base", "--side", 64, "--region", "content"), "region is 'content'"),
        (("--base", folder / "base", "--side", 64, "--train-projector"), "no projector to train"),
        (("--base", "mini", "--side", 64), "side is 64; mini sees squares of"),
        (("--base", "endpoint:http://localhost:1/v1,x"), "is an endpoint; a role is trained over"),
    ):
        code, _, err = run(capsys, *train, *arguments, "--steps", 1)
        assert code == 2 and said in err, err
        assert [line.startswith("error: ") for line in err.splitlines()][-1] and "Traceback" not in err


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not beside the tests")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("plans")


@pytest.mark.parametrize(
    ("size", "card", "frozen", "trained"),
    [("2b", 24, 4.255, 78651392), ("4b", 80, 8.876, 145893376), ("8b", 80, 17.534, 209207296)],
)
def test_what_a_published_size_takes(
    plans: ModuleType,
    size: str,
    card: int,
    frozen: float,
    trained: int,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of its recipe, without a setting: memory for the card that the recipe is for, hours marked as estimates."""
    base = plans.published(size, tmp_path / size)
    for role in ("descriptor", "localizer"):
        own = ("--head", "pointer") if role == "localizer" else ()
        data = ("--data", folder / "points.jsonl", "--base", base, "--out", tmp_path / "out")
        code, out, err = run(capsys, "train", role, *data, *own, "--dry-run")
        assert code == 0, err
        plan = json.loads(out)
        assert plan["tokens_a_photo"] >= 1024 and plan["lora_rank"] == 64 and plan["samples_a_step"] == 32
        assert plan["memory_gb"]["all"] < 0.9 * card and plan["memory_gb"]["frozen_weights"] == frozen
        assert role == "localizer" or plan["trained_weights"] == trained
        assert plan["hours_on_one_h100"] is not None and plan["hours_are"].startswith("an estimate")
    weights = {"2b": 2127532032, "4b": 4437815808, "8b": 8767123696}[size]
    assert plan["weights"] == weights
