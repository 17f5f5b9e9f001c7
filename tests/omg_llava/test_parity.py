"""Our network computes upstream's numbers.

The files were made by running OMG-LLaVA's own modules (OMG-Seg encoder and head, projector, InternLM2,
text-to-vision MLP) at small sizes on random weights, fp32, CPU; see the README beside them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from talking_points.omg_llava.parity import TOLERANCE, run_parity
from tests.shared import SHARED, needs_parity

FOLDER = SHARED / "parity"
STAGES = ("backbone", "pixel_decoder", "encoder", "projector", "prompt", "llm", "text2vision")


@needs_parity
def test_every_output_is_upstreams() -> None:
    report = run_parity(FOLDER)
    assert report["passed"] and report["query_mask_equal"]
    assert max(report["outputs"].values()) <= TOLERANCE
    assert {name.split(".")[0] for name in report["outputs"]} == set(STAGES)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("config.json", "omg_seg", "class_embed", "omg_llava", "inputs", "outputs"):
        file = name if name.endswith("json") else f"{name}.safetensors"
        shutil.copyfile(FOLDER / file, tmp_path / file)
    return tmp_path


def _edit(path: Path, change) -> None:  # type: ignore[no-untyped-def]
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@needs_parity
def test_a_wrong_number_fails(copy: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["prompt.gaussian_mask"][0, 0] += 0.01

    _edit(copy / "outputs.safetensors", spoil)
    report = run_parity(copy)
    assert not report["passed"]
    assert report["outputs"]["prompt.gaussian_mask"] == pytest.approx(0.01, rel=0.01)


@needs_parity
def test_one_wrong_cell_of_the_query_mask_fails(copy: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder.query_absent_mask"][0, 0, 0] ^= True

    _edit(copy / "outputs.safetensors", spoil)
    report = run_parity(copy)
    assert not report["query_mask_equal"] and not report["passed"]


@needs_parity
@pytest.mark.parametrize(
    ("file", "name", "message"),
    [
        ("omg_seg", "panoptic_head.pos_linear.bias", "missing keypoint_prompt.position.bias"),
        ("omg_llava", "llm.model.norm.weight", "missing model.norm.weight"),
    ],
)
def test_a_missing_weight_is_named(copy: Path, file: str, name: str, message: str) -> None:
    _edit(copy / f"{file}.safetensors", lambda tensors: tensors.pop(name))
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        run_parity(copy)


@needs_parity
def test_an_unknown_weight_is_named(copy: Path) -> None:
    _edit(copy / "omg_seg.safetensors", lambda t: t.update({"panoptic_head.new_thing": torch.zeros(1)}))
    with pytest.raises(ValueError, match=r"unknown tensor 'panoptic_head\.new_thing'"):
        run_parity(copy)


@needs_parity
def test_a_misshaped_weight_is_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["num_queries"] += 1
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"misshaped mask_decoder\.query_embed\.weight"):
        run_parity(copy)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        run_parity(tmp_path)
