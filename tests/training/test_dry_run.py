"""What a dry run says of the 7B, of which there is nothing but its configs; and how near its estimates are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import LlamaConfig

from talking_points.cli import main
from talking_points.model.config import ModelConfig
from talking_points.model.heads import Heatmap, ReadTexts, kept_numbers
from talking_points.model.mask_decoder import DecoderInputs
from talking_points.training.dry_run import paper_hours
from tests.tiny import tiny_naming_network, tiny_network, tiny_tokenizer

POINTS = 160


@pytest.fixture(scope="module")
def seven_b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 7B's folder as `import-omg-llava` names its sizes, without a weight; its tokenizer's words do not matter."""
    folder = tmp_path_factory.mktemp("bases") / "omg-llava-7b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(ModelConfig(name="7b").to_dict()))
    llama = LlamaConfig(
        vocab_size=92550,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    llama.save_pretrained(folder / "language_model")
    tiny_tokenizer().save_pretrained(str(folder / "language_model"))
    return folder


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points")
    photos = [f"{n}.jpg" for n in range(POINTS // 10)]
    for name in photos:
        Image.new("RGB", (64, 48), "grey").save(folder / name)
    text = "the point is on the left shoe of the person, near the top edge of the shoe"
    lines = [
        json.dumps({"photo": name, "x": 3.5 + 5 * k, "y": 9.5, "text": text, "object": "dog"})
        for name in photos
        for k in range(10)
    ]
    (folder / "points.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "points.jsonl"


def planned(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main([*map(str, arguments), "--dry-run"])
    said = capsys.readouterr()
    assert exit_.value.code in (0, None), said.err
    return json.loads(said.out)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("role", "epochs", "rate", "adapter", "beside", "hours"),
    [
        # benchmarks/results/sizes.json has the weights.
        ("descriptor", 10, 2e-4, 1391660032, 0, 0.1),
        ("localizer", 15, 1e-5, 1342177280, 89155584 + 2426242, 0.6),
    ],
)
def test_the_papers_training_of_a_role(
    role: str,
    epochs: int,
    rate: float,
    adapter: int,
    beside: int,
    hours: float,
    seven_b: Path,
    points: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command of docs/training.md, without a setting: the base's size says the recipe."""
    out = tmp_path / "out"
    plan = planned(capsys, "train", role, "--data", points, "--base", seven_b, "--out", out)
    assert plan["samples_a_step"] == 8 and plan["steps"] == epochs * POINTS / 8
    assert plan["highest_learning_rate"] == rate
    told = [plan[name] for name in ("epochs", "lora_rank", "lora_alpha", "lora_dropout", "precision", "quantize")]
    assert told == [epochs, 512, 256, 0.05, "bf16", None]
    # A text-to-vision MLP and a regression are 2,426,242 weights, temperature and all.
    assert plan["trained_weights"] == pytest.approx(adapter + beside, rel=1e-6)
    memory = plan["memory_gb"]
    # bf16, but for what computes coordinates, which is fp32.
    assert memory["frozen_weights"] == pytest.approx(2 * (7.7378 + 0.0892) + 4 * 0.2261, abs=0.01)
    assert memory["trained_weights_gradients_moments"] == pytest.approx(16 * (adapter + beside) / 1e9, abs=0.01)
    assert plan["fits_80_gb"] and memory["all"] < 72
    assert plan["hours_on_one_h100"] == hours and plan["hours_are"].startswith("an estimate: the paper's")
    assert not out.exists()


def test_the_papers_reinforcement(
    seven_b: Path, points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ("--descriptor", seven_b, "--localizer", seven_b, "--out", tmp_path / "out")
    grpo = ("train", "grpo", "--keypoints", points, *models, "--held-out-points", 10)
    plan = planned(capsys, *grpo)
    assert (plan["samples_a_step"], plan["texts_a_step"]) == (10, 30)
    assert plan["steps"] == 3 * (POINTS - 10) / 10
    assert plan["highest_learning_rate"] == 5e-6
    # Two of 32 blocks: rank times what goes in and out of each linear layer, q, k, v, o, gate, up and down.
    assert plan["trained_weights"] == 2 * 512 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert plan["bases_in_memory"] == 1 and plan["fits_80_gb"]
    memory = plan["memory_gb"]
    both = 2 * (1391660032 + 1342177280 + 89155584 + 2426242) / 1e9
    assert memory["frozen_weights"] == pytest.approx(2 * (7.7378 + 0.0892) + 4 * 0.2261 + both, abs=0.02)
    assert plan["hours_on_one_h100"] == paper_hours("grpo", 3 * (POINTS - 10)) == 0.1
    quarter = planned(capsys, *grpo, "--quantize", "nf4")["memory_gb"]["frozen_weights"]
    # Features of 15 photos of 16, one of them held out: 97 MB each; and no more than there is room for on the device.
    photo = 4 * (256 * 6656 + 300 * 512 + 256 * (256**2 + 128**2 + 64**2 + 32**2)) + 300 * 256
    assert planned(capsys, *grpo, "--device", "cuda")["memory_gb"]["photos_kept"] == round(15 * photo / 1e9, 3) == 1.45
    assert planned(capsys, *grpo, "--device", "cpu")["memory_gb"]["photos_kept"] == round(2**30 / 1e9, 3)
    assert plan["memory_is"].startswith("an upper bound")
    assert memory["frozen_weights"] - quarter == pytest.approx(6.979 * (2 - 0.5625), abs=0.01)
    assert planned(capsys, *grpo, "--precision", "fp32")["memory_gb"]["all"] > memory["all"] + 15
    assert not (tmp_path / "out").exists()


def test_what_is_kept_of_a_photo() -> None:
    for network in (tiny_network(), tiny_naming_network()):
        assert network.encode_photos(torch.zeros(1, 3, network.side, network.side)).bytes == network.sizes.photo_bytes


def test_hours_are_the_papers_for_the_papers_points() -> None:
    assert paper_hours("descriptor", 17_000 * 10) == 11
    assert paper_hours("localizer", 17_000 * 15) == 64
    assert paper_hours("grpo", 22_600 * 3) == 22.5
    assert paper_hours("grpo", 17_000 * 3) == pytest.approx(16.8, abs=0.2)  # A.5, Canidae


def test_a_heatmaps_memory_is_counted(
    seven_b: Path, points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ("train", "localizer", "--data", points, "--base", seven_b, "--out", tmp_path)
    plain, heatmap = (planned(capsys, *usual, "--head", head)["memory_gb"] for head in ("regression", "heatmap"))
    assert plain["coordinate_head"] == 0
    # 16 texts, of which 8 are absent ones, times 86 vectors of 160 fp32 numbers for each of 64 x 64 cells.
    assert heatmap["coordinate_head"] == pytest.approx(16 * 86 * 160 * 4 * 64 * 64 / 1e9, abs=0.001)


def test_a_step_larger_than_the_set_opens_no_photo(
    seven_b: Path, points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talking_points.training.batches.prepare_photo", lambda *_: pytest.fail("opened"))
    usual = ("train", "localizer", "--data", points, "--base", seven_b, "--out", tmp_path)
    few, many = (planned(capsys, *usual, "--photos", photos) for photos in (2, 4000))
    assert many["samples_a_step"] == 4000 and many["tokens_a_text"] == few["tokens_a_text"]


def test_what_is_wrong_with_a_training_is_said_by_its_dry_run(
    seven_b: Path, points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = points.read_text().splitlines()
    long = points.with_name("long.jsonl")
    long.write_text("\n".join([lines[0], lines[1].replace("the left", "the left " * 600)]))
    usual = ("train", "localizer", "--base", seven_b, "--out", tmp_path, "--dry-run", "--data")
    for more, said in (
        ((long,), "long.jsonl, line 2: the text has"),
        (
            (points, "--photos", 2, "--accumulate", 9),
            "accumulate is 9, which times 1 processes are more parts than the 2",
        ),
    ):
        with pytest.raises(SystemExit) as exit_:
            main([*map(str, usual), *map(str, more)])
        assert exit_.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]


def test_what_a_heatmap_keeps() -> None:
    """Counted by what autograd holds, on a square of 160 px."""
    head, side = Heatmap(16, 32), 160
    cells = [(side // stride) ** 2 for stride in (32, 16, 8)]
    inputs = DecoderInputs(
        mask_feature_BCHW=torch.zeros(0),
        cells=[torch.randn(1, count, 16) for count in cells],
        cell_positions=[torch.randn(count, 16) for count in cells],
        sizes_hw=[(side // stride,) * 2 for stride in (32, 16, 8)],
    )
    texts = ReadTexts(
        seg_PF=torch.randn(4, 32),
        states_PSD=torch.randn(4, 20, 32),
        is_read_PS=torch.ones(4, 20, dtype=torch.bool),
        photo_P=torch.zeros(4, dtype=torch.long),
    )
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in head.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = head(texts, inputs)
    numbers = sum(size for place, size in kept.items() if place not in weights) / 4 / 4
    assert answer.logits_Phw.requires_grad
    assert kept_numbers("heatmap", middle=(side // 16) ** 2, fine=(side // 8) ** 2) == pytest.approx(numbers, rel=0.1)
