"""Reinforce, evaluate and go on, by the command line, with the embedded model and generated points."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from talking_points.cli import main
from talking_points.model.checkpoint import load_checkpoint
from talking_points.model.generation import Sampling
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.training.policy import Policy


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


def test_on_a_base_of_four_bits(animals: Path, tmp_path: Path) -> None:
    """What is written stands on the base as it is on disk."""
    pytest.importorskip("bitsandbytes", reason="quantizes")
    few = ("--steps", 1, "--photos", 1, "--points", 1, "--group-size", 2, "--held-out-points", 1, "--blocks", 1)
    out = ("--out", tmp_path / "run", "--warmup-steps", 0, "--learning-rate", 0.01)
    models = ("--descriptor", "mini", "--localizer", "mini", "--quantize", "nf4", "--precision", "fp32")
    assert run("train", "grpo", *models, "--keypoints", animals, *few, *out) == 0
    before, after = (load_checkpoint(folder) for folder in (find_checkpoint("mini"), tmp_path / "run" / "checkpoint"))
    assert after.roles == ("descriptor", "localizer")
    theirs = before.base_weights()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in after.base_weights().items())


def test_gradients_come_through_a_base_of_four_bits() -> None:
    """As through the same weights in fp32: on some CPUs bitsandbytes lets none through, and says nothing."""
    functional = pytest.importorskip("bitsandbytes.functional", reason="quantizes")
    quantized = load_checkpoint(find_checkpoint("mini"), quantize="nf4")
    plain = load_checkpoint(find_checkpoint("mini"))
    layers = dict(quantized.language.named_modules())
    for name, layer in plain.language.named_modules():
        if type(layers[name]).__name__ == "Linear4bit":
            packed = layers[name].get_parameter("weight")
            weight = functional.dequantize_4bit(packed.data, packed.quant_state)  # type: ignore[attr-defined]
            layer.get_parameter("weight").data = weight.float()
    gradients = []
    for network in (quantized, plain):
        policy = Policy(network, blocks=2)
        pixels = torch.randn(1, 3, network.side, network.side, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            features = network.encode_photos(pixels)
        rollout = policy.sample(features, torch.tensor([[[0.3, 0.4], [0.6, 0.5]]]), Sampling(), None)
        policy.logprobs(rollout).mean().backward()
        gradients.append({name: p.grad for name, p in policy.parameters.items()})
    one, other = gradients
    assert one.keys() == other.keys() and len(one) == 2 * 2 * 7
    for name, gradient in other.items():
        assert gradient is not None and one[name] is not None
        assert torch.nn.functional.cosine_similarity(one[name].flatten(), gradient.flatten(), dim=0) > 0.99, name


def test_table_2_is_the_papers(
    ap_10k_writer: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training of examples/table_2.sh, as a dry run: batches and epochs are counted in points."""
    script = Path(__file__).resolve().parents[1] / "examples" / "table_2.sh"
    if not script.is_file():
        pytest.skip("examples/ is not beside the tests")
    ap_10k_writer(tmp_path / "ap10k", {"train": [f"{k:012d}" for k in range(1, 141)]})
    [command] = re.findall(r"talking-points (train grpo .*?)\n", script.read_text().replace("\\\n", " "))
    points = tmp_path / "ap10k" / "annotations" / "ap10k-train-split1.json"
    said = {
        '"$POINTS"': points,
        '"$1"': "Bovidae",
        '"$2"': "Canidae",
        '"$MODEL"': "mini",
        "${GRPO:-}": "",
        '"$OUT/$1-to-$2"': tmp_path / "x",
    }
    for word, value in said.items():
        command = command.replace(word, str(value))
    capsys.readouterr()
    assert run(*command.split(), "--dry-run") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["samples_a_step"], plan["texts_a_step"]) == (10, 30)
    learnt_on = int(plan["data"].split()[0])
    # Three epochs; the last batch of those of one and of two points a photo is filled up.
    assert learnt_on >= 20 and 3 * learnt_on <= plan["steps"] * 10 < 3 * (learnt_on + 20)
    told = [plan[name] for name in ("epochs", "group_size", "kl_weight", "blocks", "reward", "precision")]
    assert told == [3, 3, 0.1, 2, "mse", "bf16"]


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
