"""What a keypoint tells through each region: scores by hand, and the command over a tiny base."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from talking_points.model.checkpoint import save_checkpoint
from tests.benchmark_modules import load_benchmark, needs_benchmarks, refused
from tests.conftest import write_label_map
from tests.shades import shade_photos
from tests.tiny import tiny_network

pytestmark = needs_benchmarks
recipe = pytest.importorskip("recipes.tables.base", reason="recipes/ is not beside the tests")


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "prompt_stages")


class OnePhoto(SimpleNamespace):
    def __len__(self) -> int:
        return 1


def test_names_and_masks_by_hand(stages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = torch.zeros(1, 4, 4, dtype=torch.long)
    parts[0, :2, :2], parts[0, 3, :] = 1, 2
    # Of the first the mask is right; of the second it is the whole square, 4 of 16 cells; of the third nothing.
    masks = torch.full((1, 3, 4, 4), -1.0)
    masks[0, 0, :2, :2], masks[0, 1] = 1.0, 1.0
    seen = OnePhoto(
        points_NP2=torch.zeros(1, 3, 2),
        parts_NMM=parts,
        part_NP=torch.tensor([[0, 1, 1]]),
        sided_NP=torch.tensor([[2, 0, -1]]),
    )
    decoder = SimpleNamespace(mask_logits=lambda query, inputs: masks)
    segmenter = SimpleNamespace(encode_points=lambda features, points: torch.zeros(1, 3, 8), mask_decoder=decoder)
    network = SimpleNamespace(segmenter=segmenter, config=SimpleNamespace(vision=SimpleNamespace(width=4)))
    probes = SimpleNamespace(part=lambda numbers: torch.tensor([0.0, 0.0, 1.0]).expand(1, 3, 3))
    monkeypatch.setattr(stages, "features_of", lambda *_: SimpleNamespace(decoder_inputs=None))
    of = stages.told(network, probes, seen)
    assert of["named"][:2].tolist() == [1.0, 0.0] and np.isnan(of["named"][2])
    assert of["iou"].tolist() == [1.0, 0.25, 0.0]


def test_rows_by_hand(stages: ModuleType) -> None:
    first = {"named": np.array([1.0, 0.0, np.nan, 0.0]), "iou": np.array([0.5, 0.5, 0.5, 0.0])}
    other = {"named": np.array([1.0, 1.0, np.nan, 0.0]), "iou": np.array([0.5, 0.75, 0.25, 0.0])}
    everything, thin, compact = stages.scored(
        "content", other, first, np.array([0.1, 0.2, 0.24, 0.5]), ["a", "a", "b", "c"]
    )
    assert (everything["named"]["value"], everything["named n"]) == (66.67, 3)
    assert everything["named minus"]["value"] == 33.33 and everything["iou minus"]["value"] == 0.0
    assert (thin["named"]["value"], thin["named n"], thin["iou"]["value"], thin["iou n"]) == (100.0, 2, 50.0, 3)
    assert (compact["named"]["value"], compact["iou minus"]["value"]) == (0.0, 0.0)
    assert "named minus" not in stages.scored("gaussian", first, None, np.full(4, 0.5), list("aabc"))[0]


def test_the_command(stages: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_label_map(tmp_path / "people", [f"{n:04d}" for n in range(14)], ["0900"])
    shade_photos(tmp_path / "people" / "photos")
    save_checkpoint(tiny_network(roles=()), tmp_path / "eyes")
    source = ["--source", f"label-map={tmp_path / 'people'}"]
    eyes = [word for name in ("--eyes", "--words") for word in (name, str(tmp_path / "eyes"))]
    few = ["--vision-steps=1", "--language-steps=1", "--prompt-steps=1", "--side", "64", "--batch", "2"]
    recipe.main([*source, *eyes, *few, "--region", "gaussian", "--out", str(tmp_path / "bases")])
    asked = [*source, "--base", str(tmp_path / "bases" / "common"), "--batch", "2", "--steps", "2"]
    figures = tmp_path / "figures.json"
    stages.main([*asked, "--region", "gaussian", "--region", "content", "--json", str(figures)])
    assert capsys.readouterr().out.count("\n| content |") == 3
    written = json.loads(figures.read_text())
    assert written["photos"]["val"] and not any(k in written["rows"][0] for k in ("named minus", "iou minus"))
    for rows in (written["rows"][:3], written["rows"][3:]):
        everything, *some = (row.get("iou n", 0) for row in rows)
        assert everything == sum(some) == 8 * written["photos"]["val"]
    with refused(capsys, "learned other parts than these photos show; give its --source and --photos"):
        stages.main([*asked[:4], "--photos", "3"])
