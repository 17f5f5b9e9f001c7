"""Our network computes upstream's numbers.

They were made by running OMG-LLaVA's own modules at small sizes on random weights, fp32, CPU; see parity/README.md.
The small files run in every clone, the full ones where they lie beside the project.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from talking_points.omg_llava.parity import TOLERANCE, compare, compute_outputs, run_parity
from tests.omg_llava.small_parity import FILES, SMALL, check_weights, draw_weights, ends, sample, write_parity_folder
from tests.shared import SHARED, needs_parity

STAGES = ("backbone", "pixel_decoder", "encoder", "projector", "prompt", "llm", "text2vision")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parity folder of the small set's weights and inputs, with our own outputs."""
    folder = tmp_path_factory.mktemp("parity")
    write_parity_folder(folder)
    files = {name: load_file(folder / f"{name}.safetensors") for name in (*FILES, "inputs")}
    outputs = compute_outputs(json.loads((folder / "config.json").read_text()), files, source=folder)
    ids = {name: tensor for name, tensor in files["inputs"].items() if name.startswith("input_ids")}
    save_file({name: tensor.contiguous() for name, tensor in (outputs | ids).items()}, folder / "outputs.safetensors")
    return folder


def test_the_seeds_give_upstreams_weights() -> None:
    stored = load_file(SMALL / "outputs.safetensors")
    for name, drawn in ends(draw_weights()).items():
        message = f"this torch draws other numbers from a seed than those of {name} in parity/outputs.safetensors"
        torch.testing.assert_close(drawn, stored[name], rtol=1e-6, atol=1e-7, msg=message)


def test_every_output_is_upstreams_where_it_was_sampled(whole: Path) -> None:
    stored = load_file(SMALL / "outputs.safetensors")
    expected = {name: tensor for name, tensor in stored.items() if not name.startswith("weights.")}
    outputs = load_file(whole / "outputs.safetensors")
    ours = {name: sample(tensor) for name, tensor in outputs.items() if not name.startswith("input_ids")}
    report = compare(ours, expected, source=SMALL)
    assert report["passed"] and report["query_mask_equal"]
    assert {name.split(".")[0] for name in report["outputs"]} == set(STAGES)


@needs_parity
def test_every_output_is_upstreams() -> None:
    report = run_parity(SHARED / "parity")
    assert report["passed"] and report["query_mask_equal"]
    assert max(report["outputs"].values()) <= TOLERANCE
    assert {name.split(".")[0] for name in report["outputs"]} == set(STAGES)


@needs_parity
def test_the_small_files_are_the_full_ones() -> None:
    check_weights(SHARED / "parity")
    outputs = load_file(SHARED / "parity" / "outputs.safetensors")
    for name, stored in load_file(SMALL / "outputs.safetensors").items():
        assert name.startswith("weights.") or torch.equal(stored, sample(outputs[name]))


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "parity"))


def test_a_folder_that_agrees_passes(copy: Path) -> None:
    report = run_parity(copy)
    assert report["passed"] and max(report["outputs"].values()) <= 1e-6


def _edit(path: Path, change) -> None:  # type: ignore[no-untyped-def]
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_wrong_number_fails(copy: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["prompt.gaussian_mask"][0, 0] += 0.01

    _edit(copy / "outputs.safetensors", spoil)
    report = run_parity(copy)
    assert not report["passed"]
    assert report["outputs"]["prompt.gaussian_mask"] == pytest.approx(0.01, rel=0.01)


def test_one_wrong_cell_of_the_query_mask_fails(copy: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder.query_absent_mask"][0, 0, 0] ^= True

    _edit(copy / "outputs.safetensors", spoil)
    report = run_parity(copy)
    assert not report["query_mask_equal"] and not report["passed"]


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


def test_an_unknown_weight_is_named(copy: Path) -> None:
    _edit(copy / "omg_seg.safetensors", lambda t: t.update({"panoptic_head.new_thing": torch.zeros(1)}))
    with pytest.raises(ValueError, match=r"unknown tensor 'panoptic_head\.new_thing'"):
        run_parity(copy)


def test_a_misshaped_weight_is_named(copy: Path) -> None:
    def cut(tensors: dict[str, torch.Tensor]) -> None:
        tensors["panoptic_head.query_embed.weight"] = tensors["panoptic_head.query_embed.weight"][1:].clone()

    _edit(copy / "omg_seg.safetensors", cut)
    with pytest.raises(ValueError, match=r"misshaped mask_decoder\.query_embed\.weight"):
        run_parity(copy)


def test_a_missing_setting_is_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["gaussian"]["sigma_px"]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'sigma_px' is missing from config.json"):
        run_parity(copy)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        run_parity(tmp_path)
