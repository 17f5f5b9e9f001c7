"""The paper's tables, a command each: what examples/table_*.sh call, over tiny bases and with few steps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from talking_points.cli import main
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint, write_trainings
from tests.conftest import write_label_map
from tests.shades import shade_photos
from tests.tiny import tiny_network

recipe = pytest.importorskip("recipes.tables.base", reason="recipes/ is not beside the tests")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not beside the tests")
FEW = "--recipe 7b --epochs 1 --photos 2 --points 2 --precision fp32 --workers 0"
"""The paper's recipe, once over a few texts."""


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return int(exit_.value.code or 0)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "people"
    write_label_map(folder, [f"{n:04d}" for n in range(12)], ["0900", "0901"])
    shade_photos(folder / "photos")
    return folder


@pytest.fixture(scope="module")
def bases(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every stage, two steps each; `eyes` is what they start from."""
    folder = tmp_path_factory.mktemp("bases")
    save_checkpoint(tiny_network(roles=()), folder / "eyes")
    make_bases(people, folder)
    return folder


def make_bases(people: Path, folder: Path, *more: str) -> None:
    words = ["--source", f"label-map={people}", "--eyes", str(folder / "eyes"), "--words", str(folder / "eyes")]
    steps = [f"--{stage}-steps=2" for stage in ("vision", "language", "prompt")]
    recipe.main([*words, *steps, "--side", "64", "--batch", "2", "--out", str(folder), *more])


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Runs a script with a program in place of ours that writes down how it was called, then calls ours so."""
    program = tmp_path / "bin" / "talking-points"
    program.parent.mkdir()
    write = "open('calls', 'a').write(json.dumps(sys.argv[1:]) + '\\n')"
    program.write_text(f"#!{sys.executable}\nimport json, sys\n{write}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    called: list[list[str]] = []

    def run_table(number: int, **variables: object) -> list[list[str]]:
        (tmp_path / "calls").unlink(missing_ok=True)
        known = {name: str(value) for name, value in variables.items()}
        script = str(EXAMPLES / f"table_{number}.sh")
        subprocess.run(["sh", script], cwd=tmp_path, env={**os.environ, **known}, check=True)
        words = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
        for one in words:
            # What a table before has trained is there.
            if one not in called:
                assert run(*one) == 0, one
        called.extend(words)
        return words

    return run_table


def test_stages_learn_what_they_say_and_nothing_else(people: Path, bases: Path) -> None:
    weights = {
        name: load_checkpoint(bases / name, roles=()).state_dict()
        for name in ("eyes", "vision", "common", "gaussian", "predicted-mask")
    }

    def changed(one: str, other: str) -> set[str]:
        """The parts in which two bases differ, a name's first two words."""
        pairs = ((name, weights[one][name], tensor) for name, tensor in weights[other].items() if name in weights[one])
        unlike = [name for name, mine, theirs in pairs if mine.shape != theirs.shape or not torch.equal(mine, theirs)]
        return {".".join(name.split(".")[:2]) for name in unlike}

    from_nothing = {"segmenter.mask_decoder", "segmenter.keypoint_prompt", "language.model"}
    assert from_nothing <= changed("eyes", "vision")
    assert not {"segmenter.trunk", "segmenter.pixel_decoder"} & changed("eyes", "vision")
    spoken = {"language.model", "text_to_vision.0", "text_to_vision.2"}
    assert spoken <= changed("vision", "common") <= spoken | {f"projector.{p}" for p in PROJECTOR}
    embedding = "language.model.embed_tokens.weight"
    assert torch.equal(weights["eyes"][embedding], weights["common"][embedding])
    for region in ("gaussian", "predicted-mask"):
        assert changed("common", region) == {"segmenter.keypoint_prompt"}
        assert json.loads((bases / region / "config.json").read_text())["vision"]["region"] == region
    assert changed("gaussian", "predicted-mask") == {"segmenter.keypoint_prompt"}
    config = json.loads((bases / "common" / "config.json").read_text())
    assert config["coordinate_head"] == "regression" and "shirt" in config["class_names"]


PROJECTOR = ("image_mlp", "query_proj", "query_mlp", "separator")


def test_a_finished_stage_is_not_done_again(
    people: Path, bases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in bases.rglob("*.safetensors")}
    make_bases(people, bases, "--region", "content", "--region", "gaussian")
    said = capsys.readouterr().out
    assert "content: step 2 of 2" in said and "vision:" not in said and "gaussian:" not in said
    assert all(path.read_bytes() == content for path, content in before.items())


def test_too_few_photos(people: Path, bases: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="3 photos are too few: no part is named often enough; give more --photos"):
        make_bases(people, bases, "--photos", "3", "--out", str(tmp_path / "other"))


def test_captions_and_names_say_no_place(people: Path) -> None:
    import numpy as np

    from recipes.tables.photos import caption, name_of_part
    from talking_points.dataset.sources.loading import load_scenes

    scene = load_scenes({"label-map": people}, "train")[0]
    rng = np.random.default_rng(0)
    said = caption(scene, rng)
    assert said.startswith("A photo of a person with ") and said.count(",") >= 3 and said.endswith(".")
    shoes = next(k for k, part in enumerate(scene.parts) if "shoe" in part.name)
    text, fits = name_of_part(scene, shoes, rng)
    assert shoes in fits and {scene.parts[k].name for k in fits} <= {"shoe", "left shoe", "right shoe", "shoes"}, text


def test_tables_1_3_and_4(
    people: Path,
    bases: Path,
    tables: Callable[..., list[list[str]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    built = ("--points-per-photo", 3, "--records", 16, "--test-share", 0.3, "--out", tmp_path / "set")
    assert run("build-dataset", "--source", f"label-map={people}", *built) == 0
    variables = {"SET": tmp_path / "set", "BASE": bases / "gaussian", "OUT": tmp_path / "out"}
    variables |= {"DESCRIPTOR": FEW, "LOCALIZER": FEW, "BASE_WITHOUT": bases / "predicted-mask"}
    variables["EVALUATE"] = f"--data {tmp_path / 'set'} --limit 2"

    calls = tables(1, **variables)
    assert [" ".join(words[:2]).split(" --")[0] for words in calls] == [
        "train descriptor",
        "train localizer",
        "train join",
        "evaluate",
    ]
    said = capsys.readouterr().out
    assert "| OMG-LLaVA | paper | 17.3 | 44.8 | 31.0 |  |" in said and "| ground-truth -> localizer | ours |" in said
    assert "| Talking Points | DAM | +35.3 |" in said
    joined = tmp_path / "out" / "joined"
    differs = {one["what"]: one for one in json.loads((tmp_path / "out/table-1/report.json").read_text())["differs"]}
    assert "a square of 64 px" in differs["base"]["here"] and "7B" in differs["base"]["paper"]
    trained = differs[f"localizer of {joined}: trained"]
    assert trained["paper"] == "15 epochs of 17,000 texts, 8 a step, rate 1e-5"
    assert trained["here"].startswith("1 epoch of ") and trained["here"].endswith(" texts, 4 a step, rate 1e-5")
    # The paper's head, adapter and region are no differences.
    assert not [what for what in differs if what.endswith((": head", ": LoRA", ": region"))]
    assert differs["true texts by"]["here"] == "rules" and "caption" in differs["DAM's texts"]["here"]
    assert differs["tested on"]["here"].startswith(f"{tmp_path / 'set'}, test: ")

    calls = tables(3, **variables)
    said = capsys.readouterr().out
    assert "| without the Gaussian mask | paper | 11.5 | 35.7 | 23.6 |  |" in said
    assert "| with it | without the Gaussian mask | +54.5 |" in said
    assert "without-gaussian/checkpoint: region | gaussian | predicted-mask |" in said

    del variables["EVALUATE"]
    calls = tables(4, **variables)
    said = capsys.readouterr().out
    assert "| language model not adapted | paper | 27.9 | 67.3 | 47.6 |  |" in said
    assert "| adapted | language model not adapted | +31.2 |" in said
    assert "rate 1e-5, the language model not adapted |" in said
    assert not any("descriptor" in " ".join(words) for words in calls)


def test_table_2(
    ap_10k_writer: Callable[..., None],
    tables: Callable[..., list[list[str]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ap_10k_writer(tmp_path / "ap-10k", {"train": ["1", "4"], "val": ["2"], "test": ["3"]})
    save_checkpoint(tiny_network(head="regression"), tmp_path / "model")
    told = {"steps": 7, "epochs": None, "texts": 21, "photos": 3, "points": 1, "learning_rate": 0.5}
    write_trainings({"descriptor": told, "localizer": told}, tmp_path / "model")
    few = "--steps 1 --photos 1 --points 1 --held-out-points 2 --evaluate-every 1 --precision fp32 --workers 0"
    variables = {"AP10K": tmp_path / "ap-10k", "MODEL": tmp_path / "model", "OUT": tmp_path / "out", "GRPO": few}
    calls = tables(2, EVALUATE="--limit 4", **variables)
    assert [words[0] for words in calls] == ["train", "evaluate"] * 2
    said = capsys.readouterr().out
    assert "| Canidae, zero-shot | paper | 16.0 | 43.7 | 29.9 |  |" in said
    assert "| Bovidae, reinforced on Canidae | Bovidae, zero-shot | +1.8 |" in said
    assert "| tested on | AP-10K; about 17,000 points of Canidae, 22,600 of Bovidae |" in said
    reinforced = tmp_path / "out" / "Bovidae-to-Canidae" / "checkpoint"
    for who in (f"localizer of {reinforced}", f"descriptor of {reinforced}", f"descriptor of {tmp_path / 'model'}"):
        line = next(line for line in said.splitlines() if line.startswith(f"| {who}: trained |"))
        assert line.endswith("| 7 steps of 21 texts, 3 a step, rate 5e-1 |")
    assert re.search(
        r"Bovidae-to-Canidae/checkpoint: reinforced .*\| 1 step of \d+ points, 1 a step, rate 5e-6 \|", said
    )
    evaluate = [word for word in calls[1] if word != "Canidae"]
    assert run(*evaluate[:3], "--object", "dog", *evaluate[4:]) == 2
    error = "table 2 tests one family at a time: give --object Canidae or --object Bovidae"
    assert error in capsys.readouterr().err


def test_table_2_names_what_is_missing(ap_10k_writer: Callable[..., None], tmp_path: Path) -> None:
    ap_10k_writer(tmp_path / "ap-10k", {"train": ["1"], "val": ["2"], "test": []})
    (tmp_path / "ap-10k/annotations/ap10k-test-split1.json").unlink(missing_ok=True)
    for folder, split in (("nope/", "train"), ("ap-10k", "test")):
        variables = {"AP10K": folder, "MODEL": "mini", "OUT": "out"}
        script = ["sh", str(EXAMPLES / "table_2.sh")]
        ended = subprocess.run(script, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True)
        missing = f"no such file: {folder.strip('/')}/annotations/ap10k-{split}-split1.json; "
        assert ended.returncode == 2 and ended.stderr.startswith(missing) and ended.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()
